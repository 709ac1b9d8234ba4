// The part of a Conn that speaks TLS: the handshake, in its turn among others, then records.

#include <algorithm>
#include <utility>

#include "net/base/check.h"
#include "net/conn/conn.h"
#include "net/tls/client_hello.h"

namespace net {
namespace {

// An alert is read at once or never.
constexpr Duration kAlertLinger = std::chrono::seconds(1);
// Of plaintext that a small output buffer takes, with the records' overhead.
constexpr size_t kSmallPayload = OutputPool::kSmallBytes - 256;

}  // namespace

void Conn::StartTls(ConnTls tls, std::span<const uint8_t> early) {
  CHECK(state_ == State::kOpen && !secure() && !Has(kTlsNext) && tls);
  opening_ = std::make_unique<ConnOpening>();
  opening_->tls = std::move(tls);
  opening_->early.assign(early.begin(), early.end());
  Set(kTlsNext);
  if (outbox_ != kNoIndex) {
    Outbox& outbox = ground_.outboxes[outbox_];
    outbox.clear_left = outbox.queue.bytes();
  }
  AdjustRecv();
  DueAtTurnEnd(kFlushDue);
}

// The socket is there, and all that was to go in the clear has gone.
void Conn::BeginTls() {
  Clear(kTlsNext);
  Enter(State::kHandshake);
  active_ms_ = ground_.NowMs();
  ground_.Schedule(*this, ground_.options.handshake_timeout);
  ground_.TlsUsed();
  ConnTls& tls = opening_->tls;
  if (tls.client != nullptr) {
    tls_ = ground_.tls->NewClient(tls.client, tls.peer);
    if (tls_ == nullptr) {
      End(EndReason::kNoResources, ENOMEM);
      return;
    }
    AdjustRecv();
    FeedTls({});  // its hello
    return;
  }
  AdjustRecv();
  if (held_ > 0 || !opening_->early.empty()) {
    OnHandshakeInput();
  } else if (Has(kEof)) {
    End(EndReason::kPeerTlsFailed);
  }
}

// The handshake has something to read, or the peer has left it.
void Conn::OnHandshakeInput() {
  DCHECK(state_ == State::kHandshake);
  if (opening_ != nullptr && opening_->tls.client != nullptr) {
    OnHandshakeWork();
    return;
  }
  ground_.TlsUsed();
  if (Has(kAwaits | kHandshakeDue)) return;
  if (secure()) {
    Set(kHandshakeDue);
    ground_.gate.Due(index());
    return;
  }
  if (!ground_.gate.Crowded() && ground_.gate.TakePlace()) {
    Set(kPlace | kHandshakeDue);
    ground_.gate.Due(index());
    return;
  }
  // What it has said moves out of the buffers that others go on with.
  while (held_ > 0) {
    const uint16_t buffer = PopHeld();
    const std::span<const uint8_t> bytes = ground_.buffers->Bytes(buffer);
    opening_->early.insert(opening_->early.end(), bytes.begin(), bytes.end());
    ground_.buffers->Give(buffer);
  }
  ClientHelloParser hello;
  hello.Feed(opening_->early);
  if (!ground_.gate.Await(index(), hello.offers_resumption())) {
    End(EndReason::kHandshakesFull);
    return;
  }
  ConnStats::Add(ground_.stats.handshakes_waited);
  Set(kAwaits);
}

HandshakeGate::Offer Conn::OnHandshakePlace() {
  if (state_ != State::kHandshake || !Has(kAwaits)) return HandshakeGate::Offer::kGone;
  if (!ground_.gate.TakePlace()) return HandshakeGate::Offer::kNoneFree;
  Clear(kAwaits);
  Set(kPlace);
  OnHandshakeWork();
  return HandshakeGate::Offer::kTaken;
}

bool Conn::EvictIfSilent(Time since) {
  const auto since_ms =
      static_cast<uint32_t>((since - ground_.epoch) / std::chrono::milliseconds(1));
  if (state_ != State::kHandshake || !Has(kPlace) || active_ms_ != since_ms) return false;
  End(EndReason::kHandshakeTimeout);
  return true;
}

void Conn::LeavePlace() {
  if (!Has(kPlace)) return;
  Clear(kPlace);
  ground_.gate.LeavePlace();
}

void Conn::OnHandshakeWork() {
  Clear(kHandshakeDue);
  if (state_ != State::kHandshake || Has(kAwaits)) return;
  if (!secure()) {
    if (held_ == 0 && opening_->early.empty()) return;
    tls_ = ground_.tls->NewServer(opening_->tls.server);
    if (tls_ == nullptr) {
      End(EndReason::kNoResources, ENOMEM);
      return;
    }
  }
  if (opening_ != nullptr && !opening_->early.empty()) {
    std::vector<uint8_t> early = std::exchange(opening_->early, {});
    FeedTls(early);
  }
  while (held_ > 0 && state_ == State::kHandshake) {
    const uint16_t buffer = PopHeld();
    FeedTls(ground_.buffers->Bytes(buffer));
    ground_.buffers->Give(buffer);
  }
  if (EndedHere()) return;
  if (state_ == State::kHandshake) {
    if (Has(kEof)) {
      End(EndReason::kPeerTlsFailed);
      return;
    }
    // What is a few hundred bytes keeps nobody out: such a client may take its time.
    if (tls_->waits_lightly()) LeavePlace();
    if (Has(kPlace)) {
      active_ms_ = ground_.NowMs();
      ground_.gate.Silent(index(), ground_.epoch + std::chrono::milliseconds(active_ms_));
    }
    AdjustRecv();
    return;
  }
  DrainHeld();
}

// Ciphertext in, plaintext to the host. `bytes` is decrypted in place.
void Conn::FeedTls(std::span<uint8_t> bytes) {
  ground_.TlsUsed();
  TlsNext next = TlsNext::kAgain;
  while (next == TlsNext::kAgain) {
    TlsPlaintext plain;
    const TlsFeed feed = tls_->Feed(bytes, &plain);
    bytes = bytes.subspan(feed.consumed);
    next = feed.next;
    if (feed.handshake_done) OnSecured();
    for (const std::span<uint8_t> span : plain.view()) {
      if (state_ == State::kOpen || state_ == State::kSelfDone) host_->OnBytes(*this, span);
    }
    tls_->Release();
    if (EndedHere()) return;
    if (tls_->wants_output()) DueAtTurnEnd(kFlushDue);
    if (feed.state == TlsState::kFailed) {
      FailTls();
      return;
    }
    if (feed.state == TlsState::kPeerClosed) {
      OnPeerEnd(PeerEnd::kGraceful);
      return;
    }
  }
}

void Conn::OnSecured() {
  LeavePlace();
  ground_.Unschedule(*this);
  Enter(State::kOpen);
  opening_.reset();
  if (outbox_ != kNoIndex) DueAtTurnEnd(kFlushDue);
  host_->OnOpen(*this, tls_->TakeFacts());
  if (Has(kShutWanted) && state_ == State::kOpen) {
    Clear(kShutWanted);
    Shutdown();
  }
}

// The engine has an alert to say; nothing else is said any more.
void Conn::FailTls() {
  if (state_ == State::kLastWords) return;
  const bool handshake = state_ == State::kHandshake;
  LeavePlace();
  DropHeld();
  if (outbox_ != kNoIndex) ground_.outboxes[outbox_].queue.Clear(ground_.parts);
  if (end_ == EndReason::kNone) {
    end_ = handshake ? EndReason::kPeerTlsFailed : EndReason::kPeerTlsError;
  }
  Set(kGoodbye);
  Enter(State::kLastWords);
  ground_.Schedule(*this, std::min(kAlertLinger, ground_.options.linger));
  DueAtTurnEnd(kFlushDue);
  AdjustRecv();
}

// Seals some of what is queued, or what TLS itself has to say, and sends it. False: there is
// nothing.
bool Conn::SealSome() {
  const bool data = outbox_ != kNoIndex && !ground_.outboxes[outbox_].queue.empty() &&
                    state_ != State::kHandshake;
  if (!data && !tls_->wants_output()) return false;
  ground_.TlsUsed();
  if (outbox_ == kNoIndex) {
    outbox_ = ground_.outboxes.Allocate();
    if (outbox_ == kNoIndex) {
      End(EndReason::kNoResources, ENOMEM);
      return true;
    }
  }
  Outbox& outbox = ground_.outboxes[outbox_];
  const bool large = !data || outbox.queue.bytes() > kSmallPayload;
  uint8_t* buffer = ground_.outputs.Take(large);
  const std::span<uint8_t> out(buffer, OutputPool::Capacity(large));
  size_t produced = 0;
  if (data) {
    std::array<std::span<const uint8_t>, Outbox::kVectors> parts;
    const size_t count = outbox.queue.Front(parts);
    const TlsSealed sealed = tls_->Write(std::span(parts).first(count), out);
    outbox.queue.Consume(ground_.parts, sealed.consumed);
    produced = sealed.produced;
  } else {
    produced = tls_->Flush(out);
  }
  if (produced == 0) {
    ground_.outputs.Give(buffer, large);
    if (tls_->state() == TlsState::kFailed) {
      outbox.queue.Clear(ground_.parts);
      FailTls();
    }
    return false;
  }
  outbox.sealed = buffer;
  outbox.sealed_large = large;
  outbox.sealed_size = static_cast<uint32_t>(produced);
  outbox.sealed_sent = 0;
  SendSealed();
  return true;
}

}  // namespace net
