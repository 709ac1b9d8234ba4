// The part of a Conn that moves bytes: receive into lent buffers, hand them out, give them back;
// send what is queued.

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "net/base/check.h"
#include "net/conn/conn.h"

namespace net {
namespace {

// A handshake's words are few; who says more before it was answered waits.
constexpr uint8_t kEarlyBuffers = 4;

}  // namespace

// --- In ---------------------------------------------------------------------------------------

bool Conn::WantsInput() const {
  if (Has(kEof)) return false;
  switch (state_) {
    case State::kHandshake:
      return !Has(kAwaits) && held_ < kEarlyBuffers;
    case State::kOpen:
    case State::kSelfDone:
      return !Has(kPaused | kTlsNext);
    case State::kLastWords:
      return true;
    default:
      return false;
  }
}

void Conn::AdjustRecv() {
  const bool wants = WantsInput();
  if (wants == InFlight(kRecv)) return;
  if (!wants) {
    ground_.ring().Cancel({this, kRecv});
  } else if (!Has(kStarved)) {
    // At once: who was paused has something to say as a rule, and only so is a reset told that
    // stands behind it.
    ground_.ring().RecvMultishot(slot_, ground_.buffers->group(), true, Begin(kRecv));
  }
}

void Conn::OnRecv(Completion completion) {
  BufferPool& pool = *ground_.buffers;
  const int32_t result = completion.result;
  // An end or a failure may hold a buffer all the same: nothing is in it, but it was lent.
  if (completion.has_buffer()) {
    pool.Took(completion.buffer(), static_cast<uint32_t>(std::max(result, 0)));
    if (result <= 0 || EndedHere()) pool.Give(completion.buffer());
  }
  if (EndedHere()) {
    LeaveIfJoined();
    return;
  }
  if (result > 0) {
    active_ms_ = ground_.NowMs();
    ConnStats::Add(ground_.stats.bytes_in, static_cast<uint64_t>(result));
    const bool keeps = held_ > 0 || state_ == State::kHandshake || Has(kTlsNext) ||
                       (Has(kPaused) && state_ != State::kLastWords);
    if (keeps) {
      Keep(completion.buffer());
      if (state_ == State::kHandshake) OnHandshakeInput();
    } else {
      Take(completion.buffer());
    }
  } else if (result == 0) {
    Set(kEof);
    // A TLS peer that had said good-bye has told its end already, and its state is another.
    if (held_ == 0) {
      OnPeerEnd(secure() ? PeerEnd::kTruncated : PeerEnd::kGraceful);
    } else if (state_ == State::kHandshake) {
      OnHandshakeInput();
    }
  } else if (result == -ENOBUFS) {
    Set(kStarved);
    ConnStats::Add(ground_.stats.buffer_starvations);
    ground_.Starved(*this);
  } else if (result != -ECANCELED && result != -EINTR) {
    EndBySocket(-result);
  }
  if (!EndedHere()) AdjustRecv();
}

void Conn::OnBuffersAvailable() {
  Clear(kStarved);
  if (!EndedHere()) AdjustRecv();
}

// Behind what is kept already. A receive that is being cancelled may still bring all that the
// socket held; the pool bounds it.
void Conn::Keep(uint16_t buffer) {
  BufferPool& pool = *ground_.buffers;
  if (held_ > 0 && pool.Extend(held_tail_, pool.Bytes(buffer))) {
    pool.Give(buffer);
    return;
  }
  if (held_ == 0) {
    held_head_ = buffer;
  } else {
    pool.SetNext(held_tail_, buffer);
  }
  held_tail_ = buffer;
  if (held_ < kManyHeld) ++held_;
}

uint16_t Conn::PopHeld() {
  const uint16_t buffer = held_head_;
  held_head_ = ground_.buffers->Next(buffer);
  if (buffer == held_tail_) {
    held_ = 0;
  } else if (held_ < kManyHeld) {
    --held_;
  }
  return buffer;
}

void Conn::DropHeld() {
  while (held_ > 0) ground_.buffers->Give(PopHeld());
}

// Hands one buffer's bytes out, and gives it back.
void Conn::Take(uint16_t buffer) {
  const std::span<uint8_t> bytes = ground_.buffers->Bytes(buffer);
  if (state_ == State::kOpen || state_ == State::kSelfDone) {
    if (secure()) {
      FeedTls(bytes);
    } else {
      host_->OnBytes(*this, bytes);
    }
  }
  ground_.buffers->Give(buffer);
}

void Conn::DrainHeld() {
  while (held_ > 0 && (state_ == State::kOpen || state_ == State::kSelfDone) &&
         !Has(kPaused | kTlsNext)) {
    Take(PopHeld());
  }
  if (state_ == State::kLastWords || state_ == State::kPeerDone) DropHeld();
  const bool may_end = state_ == State::kOpen || state_ == State::kSelfDone;
  if (held_ == 0 && Has(kEof) && may_end && !Has(kPaused | kTlsNext)) {
    OnPeerEnd(secure() ? PeerEnd::kTruncated : PeerEnd::kGraceful);
  }
  if (!EndedHere()) AdjustRecv();
}

void Conn::Pause() {
  if (EndedHere() || Has(kPaused)) return;
  Set(kPaused);
  if (state_ == State::kOpen || state_ == State::kSelfDone) AdjustRecv();
}

void Conn::Resume() {
  if (EndedHere() || !Has(kPaused)) return;
  Clear(kPaused);
  if (state_ != State::kOpen && state_ != State::kSelfDone) return;
  // Not from inside the host's own call.
  DueAtTurnEnd(kTakeDue);
}

// --- Out --------------------------------------------------------------------------------------

size_t Conn::queued() const {
  if (outbox_ == kNoIndex) return 0;
  const Outbox& outbox = ground_.outboxes[outbox_];
  return outbox.queue.bytes() + outbox.sealed_size - outbox.sealed_sent;
}

Outbox* Conn::OutboxOf() {
  const bool ours = state_ == State::kSelfDone || state_ == State::kLastWords || EndedHere();
  if (ours || Has(kShutWanted)) return nullptr;
  if (outbox_ == kNoIndex) {
    outbox_ = ground_.outboxes.Allocate();
    if (outbox_ == kNoIndex) {
      End(EndReason::kNoResources, ENOMEM);
      return nullptr;
    }
  }
  return &ground_.outboxes[outbox_];
}

Conn::Sent Conn::Send(std::span<const uint8_t> bytes) {
  Outbox* outbox = OutboxOf();
  if (outbox == nullptr) return Sent::kClosed;
  if (Overflows(bytes.size())) return Sent::kClosed;
  outbox->queue.Add(ground_.parts, bytes);
  return AfterSend();
}

Conn::Sent Conn::Send(const SharedBytes& bytes) {
  Outbox* outbox = OutboxOf();
  if (outbox == nullptr) return Sent::kClosed;
  if (Overflows(bytes.size())) return Sent::kClosed;
  outbox->queue.Add(ground_.parts, bytes);
  return AfterSend();
}

bool Conn::Overflows(size_t more) {
  if (queued() + more <= ground_.options.send_queue_bytes_max) return false;
  End(EndReason::kPeerSlow);
  return true;
}

Conn::Sent Conn::AfterSend() {
  const size_t waiting = queued();
  if (!InFlight(kSend)) DueAtTurnEnd(kFlushDue);
  if (waiting < ground_.options.send_queue_bytes_high) return Sent::kQueued;
  if (!Has(kCongested)) ConnStats::Add(ground_.stats.congestions);
  Set(kCongested);
  return Sent::kFull;
}

// Begins the next send, if there is something to send and none is under way.
void Conn::Flush() {
  if (InFlight(kSend) || EndedHere() || state_ < State::kHandshake) return;
  if (outbox_ != kNoIndex) {
    Outbox& outbox = ground_.outboxes[outbox_];
    if (outbox.sealed != nullptr) {
      SendSealed();
      return;
    }
    if (Has(kTlsNext) && outbox.clear_left > 0) {
      SendClear(outbox.clear_left);
      return;
    }
    if (!secure() && state_ != State::kHandshake && !Has(kTlsNext) && !outbox.queue.empty()) {
      SendClear(SIZE_MAX);
      return;
    }
  }
  if (Has(kTlsNext)) {
    BeginTls();
    return;
  }
  if (secure() && SealSome()) return;
  if (EndedHere()) return;
  FreeOutboxIfEmpty();
  if (state_ == State::kSelfDone || state_ == State::kLastWords) SayEnd();
}

void Conn::SendClear(size_t limit) {
  Outbox& outbox = ground_.outboxes[outbox_];
  std::array<std::span<const uint8_t>, Outbox::kVectors> parts;
  size_t count = outbox.queue.Front(parts);
  for (size_t i = 0; i < count; ++i) {
    parts[i] = parts[i].first(std::min(parts[i].size(), limit));
    limit -= parts[i].size();
    if (limit == 0) count = i + 1;
  }
  if (count == 1) {
    ground_.ring().Send(slot_, parts[0], Begin(kSend));
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    outbox.vectors[i] = {.iov_base = const_cast<uint8_t*>(parts[i].data()),
                         .iov_len = parts[i].size()};
  }
  outbox.message = {};
  outbox.message.msg_iov = outbox.vectors.data();
  outbox.message.msg_iovlen = count;
  ground_.ring().SendParts(slot_, &outbox.message, Begin(kSend));
}

void Conn::SendSealed() {
  const Outbox& outbox = ground_.outboxes[outbox_];
  ground_.ring().Send(
      slot_,
      std::span<const uint8_t>(outbox.sealed, outbox.sealed_size).subspan(outbox.sealed_sent),
      Begin(kSend));
}

void Conn::OnSent(int32_t result) {
  if (result <= 0) {
    EndBySocket(result < 0 ? -result : EPIPE);
    return;
  }
  CountSent(static_cast<uint32_t>(result));
  Flush();
  if (!EndedHere()) TellWritable();
}

void Conn::CountSent(uint32_t sent) {
  ConnStats::Add(ground_.stats.bytes_out, sent);
  Outbox& outbox = ground_.outboxes[outbox_];
  if (outbox.sealed != nullptr) {
    outbox.sealed_sent += sent;
    if (outbox.sealed_sent >= outbox.sealed_size) {
      ground_.outputs.Give(std::exchange(outbox.sealed, nullptr), outbox.sealed_large);
      outbox.sealed_size = outbox.sealed_sent = 0;
    }
  } else {
    outbox.queue.Consume(ground_.parts, sent);
    outbox.clear_left -= std::min<size_t>(outbox.clear_left, sent);
  }
}

void Conn::TellWritable() {
  if (!Has(kCongested) || queued() > ground_.options.send_queue_bytes_low) return;
  Clear(kCongested);
  if (state_ == State::kOpen || state_ == State::kPeerDone) host_->OnWritable(*this);
}

void Conn::FreeOutboxIfEmpty() {
  if (outbox_ == kNoIndex || queued() > 0 || InFlight(kSend)) return;
  ground_.outboxes.Free(std::exchange(outbox_, kNoIndex));
}

// All is sent; now our end.
void Conn::SayEnd() {
  if (Has(kFinSaid)) return;
  if (secure() && !Has(kGoodbye)) {
    Set(kGoodbye);
    tls_->Shutdown();
    if (tls_->wants_output()) {
      Flush();
      return;
    }
  }
  Set(kFinSaid);
  if (state_ == State::kLastWords && Has(kEof)) {
    End(end_ == EndReason::kNone ? EndReason::kClosed : end_);
  } else {
    ground_.ring().Shutdown(slot_, SHUT_WR);
  }
}

}  // namespace net
