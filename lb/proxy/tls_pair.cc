// The part of a Pair that comes to TLS: with the client before a node is chosen, with the node
// before the first byte is sent on. What a listener passes through by name is looked at here, too.

#include "lb/proxy/tls_pair.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"
#include "net/tls/context/tls_facts.h"

namespace lb {
namespace {

constexpr uint8_t kTlsHandshakeRecord = 22;
// Buffers of a client that speaks on while its handshake waits for work in a later turn.
constexpr uint32_t kHandshakeBuffers = 4;
// Beyond it a client that waits for its handshake is not read from: its hello has been said, or is
// too long to be looked at before its turn. Most are a tenth of it. What came nevertheless counts
// up to what an engine takes.
constexpr size_t kEarlyBytes = net::ClientHelloParser::kInputBytesMax;
constexpr size_t kEarlyBytesMax = net::TlsEngine::kHelloBytesMax;
static_assert(kEarlyBytes < kEarlyBytesMax);

}  // namespace

bool Pair::TakeTls() {
  DCHECK(extra_ == net::kNoIndex && !Has(kTls, 1));
  const uint32_t index = worker_.tls_pairs_.Allocate();
  if (index == net::kNoIndex) return false;
  extra_ = index;
  Set(kTls, 1);
  worker_.tls_pairs_[index].opening = std::make_unique<TlsOpening>();
  return true;
}

void Pair::FreeTls() {
  Tls& tls = TlsOf();
  for (unsigned side : {0U, 1U}) {
    if (tls.fed[side] != net::kNoIndex) worker_.feds_.Free(tls.fed[side]);
    GiveOut(side);
  }
  if (tls.prelude != net::kNoIndex) worker_.preludes_.Free(tls.prelude);
  worker_.tls_pairs_.Free(extra_);
  extra_ = net::kNoIndex;
  Clear(kTls, 1);
}

// What was needed until the node was reached.
void Pair::FreeOpening() { TlsOf().opening.reset(); }

// --- The client -------------------------------------------------------------------------------

// It may come in; what does the listener want of it?
void Pair::Welcome() {
  const ListenerSettings& listener = *worker_.ListenerOf(*this);
  if (listener.mode == ListenerMode::kTcp) {
    Choose();
    return;
  }
  if (!TakeTls()) {
    EndForLack(ENOMEM);
    return;
  }
  TlsOpening& opening = *TlsOf().opening;
  switch (listener.mode) {
    case ListenerMode::kSni:
      opening.hello = std::make_unique<net::ClientHelloParser>();
      Enter(State::kHello);
      break;
    case ListenerMode::kStartTls:
      opening.starttls_options = listener.starttls;
      opening.starttls_server =
          std::make_unique<net::StartTlsServer>(listener.starttls.get(), worker_.StreamId());
      Enter(State::kOpening);
      break;
    default:
      Enter(State::kHandshake);
  }
  Schedule(listener.handshake_timeout);
  ArmRecv(0);
  // What came together with a PROXY header. The receive in flight keeps this Pair alive.
  const Chain early = std::exchange(chain_[0], Chain{});
  bytes_[0] = 0;
  uint16_t id = early.head;
  for (uint16_t i = 0; i < early.count; ++i) {
    const uint16_t next = worker_.buffers_->Next(id);
    if (i == 0) worker_.buffers_->TrimFront(id, early.offset);
    if (Early()) {
      OnEarlyBytes(id);
    } else {
      Append(0, id);
    }
    id = next;
  }
}

void Pair::OnEarlyBytes(uint16_t buffer) {
  worker_.buffers_->SetNext(buffer, net::kNoBuffer);
  switch (state_) {
    case State::kHello:
      OnHelloBytes(buffer);
      break;
    case State::kOpening:
      OnOpeningBytes(buffer);
      break;
    default: {
      const auto& parser = TlsOf().opening->hello;
      if (parser != nullptr) parser->Feed(worker_.buffers_->Bytes(buffer));
      if (TlsOf().engine[0] != nullptr) {
        KeepEarly(buffer);
      } else if (!KeepHello(buffer)) {
        RefuseHello(EndReason::kTlsHandshakeFailed, net::TlsAlert::kIllegalParameter);
        return;
      }
      ReceiveEarly();
      OnHandshakeBytes();
    }
  }
}

// Bytes that come one by one must not take a buffer for each.
void Pair::KeepEarly(uint16_t buffer) {
  net::BufferPool& pool = *worker_.buffers_;
  if (chain_[0].count > 0 && pool.Extend(chain_[0].tail, pool.Bytes(buffer))) {
    pool.Give(buffer);
  } else {
    Append(0, buffer);
  }
}

// A crowd that waits for its handshakes must not hold the buffers that these, and all established
// connections, go on with. False: it is too much.
bool Pair::KeepHello(uint16_t buffer) {
  const std::span<const uint8_t> bytes = worker_.buffers_->Bytes(buffer);
  std::vector<uint8_t>& early = TlsOf().opening->early;
  const bool fits = early.size() + bytes.size() <= kEarlyBytesMax;
  if (fits) early.insert(early.end(), bytes.begin(), bytes.end());
  worker_.buffers_->Give(buffer);
  return fits;
}

// It has said so much that the rest waits in its socket.
bool Pair::EarlyFull() const {
  if (!Has(kTls, 1) || state_ != State::kHandshake) return false;
  const TlsOpening* opening = worker_.tls_pairs_[extra_].opening.get();
  return opening != nullptr && opening->early.size() >= kEarlyBytes;
}

void Pair::ReceiveEarly() {
  if (state_ == State::kHandshake && (chain_[0].count >= kHandshakeBuffers || EarlyFull())) {
    Pause(0);
  } else if (!InFlight(kRecv)) {
    MaybeResume(0);
  }
}

void Pair::OnHelloBytes(uint16_t buffer) {
  net::ClientHelloParser& parser = *TlsOf().opening->hello;
  const auto bytes = worker_.buffers_->Bytes(buffer);
  const net::ClientHelloStatus status = parser.Feed(bytes);
  bytes_[0] += bytes.size();
  KeepEarly(buffer);
  switch (status) {
    case net::ClientHelloStatus::kNeedMore:
      ReceiveEarly();
      return;
    case net::ClientHelloStatus::kNotTls:
      RefuseFirstWords(worker_.buffers_->Bytes(chain_[0].head)[chain_[0].offset]);
      return;
    case net::ClientHelloStatus::kMalformed:
      RefuseHello(EndReason::kNotTls, net::TlsAlert::kDecodeError);
      return;
    case net::ClientHelloStatus::kOk:
      break;
  }
  RouteBy(parser.server_name(), parser.alpn());
  worker_.NoteTls(*this, parser.version(), parser.server_name());
  FreeTls();  // from here on a plain connection
  Choose();
}

// --- The client's handshake -------------------------------------------------------------------

void Pair::OnHandshakeBytes() {
  Tls& tls = TlsOf();
  if (tls.engine[0] != nullptr) {
    if (!tls.due) {
      tls.due = true;
      worker_.HandshakeDue(*this);
    }
    return;
  }
  if (tls.waiting || tls.due) return;
  const std::vector<uint8_t>& early = tls.opening->early;
  if (early.front() != kTlsHandshakeRecord) {
    RefuseFirstWords(early.front());
    return;
  }
  const ListenerSettings& listener = *worker_.ListenerOf(*this);
  if (!worker_.HandshakesCrowded(listener) && worker_.TakeHandshakePlace(listener)) {
    tls.slot = true;
    tls.due = true;
    worker_.HandshakeDue(*this);
    return;
  }
  // In a crowd a place is for those who have said all of their hello, and those who resume, which
  // costs little, go first.
  std::unique_ptr<net::ClientHelloParser>& parser = tls.opening->hello;
  if (parser == nullptr) {
    parser = std::make_unique<net::ClientHelloParser>();
    parser->Feed(early);
  }
  if (parser->status() == net::ClientHelloStatus::kNeedMore) return;
  tls.waiting = true;
  worker_.AwaitHandshake(*this, parser->offers_resumption());
  parser.reset();
}

bool Pair::OnHandshakePlace() {
  const ListenerSettings& listener = *worker_.ListenerOf(*this);
  if (!worker_.TakeHandshakePlace(listener)) return false;
  Tls& tls = TlsOf();
  tls.waiting = false;
  tls.slot = true;
  tls.due = true;
  OnHandshakeWork();
  return true;
}

bool Pair::StartHandshake() {
  Tls& tls = TlsOf();
  const ListenerSettings& listener = *worker_.ListenerOf(*this);
  if (listener.tls == nullptr) return false;  // a reload took TLS away meanwhile
  DCHECK(tls.slot);
  if (worker_.hooks_.access_log != nullptr) {  // what it asked for, should nothing come of it
    net::ClientHelloParser parser;
    if (parser.Feed(tls.opening->early) == net::ClientHelloStatus::kOk) {
      worker_.NoteTls(*this, parser.version(), parser.server_name());
    }
  }
  tls.engine[0] = worker_.tls_->NewServer(listener.tls);
  return tls.engine[0] != nullptr;
}

void Pair::LeaveHandshakes() {
  Tls& tls = TlsOf();
  if (!std::exchange(tls.slot, false)) return;
  worker_.ListenerOf(*this)->shared->handshakes.fetch_sub(1, std::memory_order_relaxed);
}

// What was kept until there was an engine, which is no more than the hello: nothing in it is in the
// clear yet.
net::TlsFeed Pair::FeedHello() {
  Tls& tls = TlsOf();
  std::vector<uint8_t> early = std::exchange(tls.opening->early, {});
  if (early.empty()) return {};
  net::TlsPlaintext plain;
  const net::TlsFeed feed = tls.engine[0]->Feed(early, &plain);
  tls.engine[0]->Release();
  return feed;
}

void Pair::OnHandshakeWork() {
  Tls& tls = TlsOf();
  tls.due = false;
  if (tls.engine[0] == nullptr && !StartHandshake()) {
    EndForLack(ENOMEM);
    return;
  }
  net::TlsFeed feed = FeedHello();
  while (feed.state == net::TlsState::kHandshaking && chain_[0].count > 0) {
    feed = TlsFeedHead(0);
  }
  if (feed.state == net::TlsState::kFailed) {
    RefuseTls(EndReason::kTlsHandshakeFailed);
    return;
  }
  const bool done = feed.handshake_done;
  if (feed.state == net::TlsState::kPeerClosed) Set(kEof, 0);
  TlsFlush(0);
  if (done) {
    OnClientSecured();
  } else if (Has(kEof, 0)) {
    End(EndReason::kTlsHandshakeFailed);
  } else {
    ReceiveEarly();
    AwaitClient();
  }
}

// The next word of the handshake is the client's, who may never say it.
void Pair::AwaitClient() {
  Tls& tls = TlsOf();
  TlsOpening& opening = *tls.opening;
  // What is a few hundred bytes keeps nobody out: such a client may take its time.
  if (tls.engine[0]->waits_lightly()) LeaveHandshakes();
  const bool first = opening.silent_since_ms == 0;
  opening.silent_since_ms = std::max(1U, worker_.NowMs());
  if (first) {
    const net::Address source = client_.Network(32, 64);
    for (const uint8_t byte : source.ip().first(std::min<size_t>(source.ip().size(), 8))) {
      opening.half_open_source = opening.half_open_source << 8U | byte;
    }
  }
  worker_.ClientSilent(*this, opening.half_open_source, opening.silent_since_ms, first);
}

bool Pair::silent_as(uint64_t started_ms, uint32_t since_ms) const {
  if (!handshakes_as(started_ms)) return false;
  const TlsOpening* opening = worker_.tls_pairs_[extra_].opening.get();
  return opening != nullptr && opening->silent_since_ms == since_ms;
}

bool Pair::holds_handshake_place() const { return worker_.tls_pairs_[extra_].slot; }

// No longer half open, whatever came of it.
void Pair::LeaveSilence() {
  TlsOpening* opening = TlsOf().opening.get();
  if (opening == nullptr || std::exchange(opening->silent_since_ms, 0) == 0) return;
  worker_.ClientNotSilent(opening->half_open_source);
}

void Pair::OnClientSecured() {
  LeaveSilence();
  LeaveHandshakes();
  Tls& tls = TlsOf();
  TlsOpening& opening = *tls.opening;
  opening.facts = tls.engine[0]->TakeFacts();
  opening.starttls_server.reset();
  if (opening.facts != nullptr) {
    worker_.NoteTls(*this, opening.facts->version, opening.facts->sni);
  }
  if (!opening.domain.empty()) {
    RouteBy(opening.domain, {});
  } else if (opening.facts != nullptr) {
    std::string name = opening.facts->sni;
    std::ranges::transform(name, name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    RouteBy(name, {&opening.facts->alpn, 1});
  }
  ReceiveEarly();
  Choose();
}

void Pair::RouteBy(std::string_view domain, std::span<const std::string> alpn) {
  for (const Route& route : worker_.ListenerOf(*this)->routes) {
    if (!route.domain.empty() && !net::TlsNameMatches(route.domain, domain)) continue;
    if (!route.alpn.empty() && std::ranges::find(alpn, route.alpn) == alpn.end()) continue;
    pool_ = route.pool;
    return;
  }
}

// --- Refusals ---------------------------------------------------------------------------------

// The engine has an alert to say. May free the Pair.
void Pair::RefuseTls(EndReason reason) {
  LeaveSilence();
  LeaveHandshakes();
  TlsFlush(0);
  SayLastWords(reason);
}

// What came is no handshake. Said in TLS's words (RFC 8446 section 6), but not to a browser or a
// check that speaks HTTP, whose methods are capital letters. May free the Pair.
void Pair::RefuseFirstWords(uint8_t first) {
  if (first >= 'A' && first <= 'Z') {
    End(EndReason::kNotTls);
  } else {
    RefuseHello(EndReason::kNotTls, net::TlsAlert::kUnexpectedMessage);
  }
}

// There is no engine yet that would say it. May free the Pair.
void Pair::RefuseHello(EndReason reason, net::TlsAlert alert) {
  const auto record = net::PlainTlsAlert(alert);
  SendWords(0, {reinterpret_cast<const char*>(record.data()), record.size()});
  SayLastWords(reason);
}

// What is under way to the client arrives: closing at once, with its bytes unread, would make the
// system reset the connection. May free the Pair.
void Pair::SayLastWords(EndReason reason) {
  end_ = reason;
  Enter(State::kLastWords);
  Schedule(std::chrono::seconds(1));
  DropChain(0);
  if (!Has(kEof, 0) && !InFlight(kRecv)) ArmRecv(0);
  if (!InFlight(kSend + 1)) OnLastWordsSaid();
}

void Pair::OnLastWordsSaid() {
  if (Has(kEof, 0)) {
    End(end_);
    return;
  }
  worker_.ring().Shutdown(slot_[0], SHUT_WR);
}

void Pair::OnDueEarly() {
  if (state_ != State::kOpening) {
    End(EndReason::kTlsHandshakeTimeout);
    return;
  }
  std::string words;
  if (!TlsOf().opening->agreed) TlsOf().opening->starttls_server->OnTimeout(&words);
  SendWords(0, words);
  SayLastWords(EndReason::kTlsHandshakeTimeout);
}

// --- The node ---------------------------------------------------------------------------------

// Connected: first our PROXY header, then the words before TLS, then TLS. May free the Pair.
void Pair::SecureNode() {
  if (InFlight(kName)) return;  // OnNamed() comes back here
  if (!Has(kTls, 1) && !TakeTls()) {
    EndForLack(ENOMEM);
    return;
  }
  Tls& tls = TlsOf();
  const PoolSettings& settings = worker_.SettingsOf(*this);
  if (settings.send_proxy != SendProxy::kOff && !std::exchange(tls.opening->greeted, true)) {
    StartHeaderOut();
    return;
  }
  ArmRecv(1);
  if (settings.node_tls == NodeTls::kStartTls && settings.starttls != nullptr) {
    AskNodeForTls();
  } else {
    StartNodeTls();
  }
}

void Pair::StartNodeTls() {
  const PoolSettings& settings = worker_.SettingsOf(*this);
  Tls& tls = TlsOf();
  tls.opening->starttls_client.reset();
  if (settings.tls != nullptr) {
    tls.engine[1] =
        worker_.tls_->NewClient(settings.tls, {.server_name = settings.tls_sni,
                                               .verify_name = settings.tls_verify_name,
                                               .session_key = settings.name + '/' + node_->name});
  }
  if (tls.engine[1] == nullptr) {
    EndForLack(ENOMEM);  // ours, and not the node's fault
    return;
  }
  tls.more[1] = true;  // its first words come without any input
  DriveNodeTls();
}

void Pair::OnNodeBytes(uint16_t buffer) {
  const Tls& tls = TlsOf();
  if (!InFlight(kRecv + 1)) ArmRecv(1);
  if (tls.opening->starttls_client != nullptr) {
    OnNodeWords(buffer);
    return;
  }
  Append(1, buffer);
  if (tls.engine[1] != nullptr) DriveNodeTls();
}

void Pair::DriveNodeTls() {
  Tls& tls = TlsOf();
  bool done = false;
  while (!done && (chain_[1].count > 0 || tls.more[1])) {
    const net::TlsFeed feed = TlsFeedHead(1);
    if (tls.engine[1]->state() == net::TlsState::kFailed) {
      NodeRefused(tls.engine[1]->ErrorText());
      return;
    }
    if (feed.state == net::TlsState::kFailed) {
      EndForLack(ENOMEM);
      return;
    }
    done = feed.handshake_done;
    if (feed.state == net::TlsState::kPeerClosed) Set(kEof, 1);
  }
  TlsFlush(1);
  if (!done) return;
  tls.engine[1]->TakeFacts();
  Open();
  if (state_ == State::kOpen) MaybeSend(1);
}

// It took the connection and did not come to TLS with us. May free the Pair.
void Pair::NodeRefused(std::string_view how) {
  worker_.CountConnectError(*node_, error_, "TLS: " + std::string(how));
  End(EndReason::kNodeTlsFailed);
}

}  // namespace lb
