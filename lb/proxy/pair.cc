#include "lb/proxy/pair.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "lb/proxy/ends.h"
#include "lb/proxy/proxy_worker.h"
#include "lb/proxy/tls_pair.h"
#include "net/io/errors.h"
#include "net/limit/source_limits.h"
#include "net/report/log.h"

namespace lb {
namespace {

// The pause before the node that just failed is tried again, as HAProxy has it.
constexpr net::Duration kRetryPause = std::chrono::seconds(1);
// Until then a connection has proven that it lasts, and its TCP timers are worth their calls.
constexpr net::Duration kTimersAfter = std::chrono::seconds(5);

// How long the client may take to read our last words.
constexpr net::Duration kLinger = std::chrono::seconds(1);

// How often a limit that is reached is told of.
constexpr net::Duration kLogLimits = std::chrono::seconds(10);

constexpr int kOn = 1;

// The wheel comes up after that at the latest: what is due later is looked at in between.
constexpr net::Duration kScheduleMax = std::chrono::hours(24 * 30);

uint32_t Milliseconds(net::Duration duration) {
  return static_cast<uint32_t>(std::min(duration, kScheduleMax) / std::chrono::milliseconds(1));
}

}  // namespace

std::string_view EndReasonName(EndReason reason) {
  switch (reason) {
    case EndReason::kNone:
      return "none";
    case EndReason::kClientClosed:
      return "client_closed";
    case EndReason::kNodeClosed:
      return "node_closed";
    case EndReason::kClientReset:
      return "client_reset";
    case EndReason::kNodeReset:
      return "node_reset";
    case EndReason::kIdle:
      return "idle";
    case EndReason::kFinTimeout:
      return "fin_timeout";
    case EndReason::kConnectFailed:
      return "connect_failed";
    case EndReason::kConnectTimeout:
      return "connect_timeout";
    case EndReason::kQueueTimeout:
      return "queue_timeout";
    case EndReason::kQueueFull:
      return "queue_full";
    case EndReason::kNoNode:
      return "no_node";
    case EndReason::kLimited:
      return "limited";
    case EndReason::kProxyHeaderBad:
      return "proxy_header_bad";
    case EndReason::kProxyHeaderTimeout:
      return "proxy_header_timeout";
    case EndReason::kShut:
      return "shut";
    case EndReason::kDrained:
      return "drained";
    case EndReason::kExhausted:
      return "exhausted";
    case EndReason::kTlsHandshakeFailed:
      return "tls_handshake_failed";
    case EndReason::kTlsHandshakeTimeout:
      return "tls_handshake_timeout";
    case EndReason::kStartTlsRefused:
      return "starttls_refused";
    case EndReason::kNotTls:
      return "not_tls";
    case EndReason::kTlsError:
      return "tls_error";
    case EndReason::kNodeTlsFailed:
      return "node_tls_failed";
    case EndReason::kClientTruncated:
      return "client_truncated";
    case EndReason::kNodeTruncated:
      return "node_truncated";
    case EndReason::kMaxAge:
      return "max_age";
    case EndReason::kClientIdle:
      return "client_idle";
    case EndReason::kNodeIdle:
      return "node_idle";
    case EndReason::kNodeDown:
      return "node_down";
  }
  return "unknown";
}

std::string_view PairStateName(Pair::State state) {
  switch (state) {
    case Pair::State::kNaming:
      return "naming";
    case Pair::State::kHeader:
      return "header";
    case Pair::State::kHello:
      return "hello";
    case Pair::State::kOpening:
      return "opening";
    case Pair::State::kHandshake:
      return "handshake";
    case Pair::State::kQueued:
      return "queued";
    case Pair::State::kConnecting:
      return "connecting";
    case Pair::State::kRetryWait:
      return "retry_wait";
    case Pair::State::kSecuring:
      return "securing";
    case Pair::State::kOpen:
      return "open";
    case Pair::State::kLastWords:
      return "last_words";
    case Pair::State::kClosing:
      return "closing";
  }
  return "unknown";
}

Pair::Pair(ProxyWorker& worker, uint16_t listener, uint16_t pool, net::Slot client)
    : worker_(worker),
      slot_{client, net::kNoSlot},
      born_(worker.Birth()),
      active_(worker.NowMs()),
      listener_(listener),
      pool_(pool) {}

void Pair::Enter(State to) {
  // From kClosing nothing leads back, and only a new Pair is in kNaming.
  DCHECK(state_ != State::kClosing && to != State::kNaming);
  state_ = to;
  active_ = Moment();
}

uint32_t Pair::Moment() const {
  return state_ == State::kOpen ? worker_.NowSlow() : worker_.NowMs();
}

uint64_t Pair::Since(uint32_t moment) const {
  const uint32_t passed = Moment() - moment;
  return state_ == State::kOpen ? uint64_t{ProxyWorker::kSlowMs} * passed : passed;
}

// --- Who is it? -------------------------------------------------------------------------------

bool Pair::NeedsNameFirst() const {
  const ListenerSettings& listener = *worker_.listener_settings_[listener_];
  const PoolSettings& pool = *worker_.pools_[pool_]->settings;
  return listener.mode != ListenerMode::kTcp || pool.node_tls != NodeTls::kOff ||
         listener.accept_proxy || listener.source_limits != nullptr || pool.hashes_source ||
         !listener.source_allow.empty() || !listener.source_deny.empty() ||
         pool.send_proxy != SendProxy::kOff || !pool.sources_v4.empty() || !pool.sources_v6.empty();
}

void Pair::Start(const net::Address* peer, int32_t name_bytes) {
  if (peer != nullptr) client_ = peer->Unmapped();
  if (peer != nullptr || name_bytes == 0) {
    Admit();
    return;
  }
  extra_ = worker_.TakeName();
  worker_.ring().PeerName(slot_[0], &worker_.NameAt(extra_), name_bytes, Begin(kName));
  if (!NeedsNameFirst()) Admit();
}

void Pair::OnNamed(int32_t result) {
  const sockaddr_in6& name = worker_.NameAt(extra_);
  if (result > 0) {
    client_ = net::Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&name),
                                         static_cast<socklen_t>(result))
                  .value_or(net::Address())
                  .Unmapped();
  }
  worker_.GiveName(extra_);
  extra_ = net::kNoIndex;
  if (state_ == State::kClosing) {
    worker_.LogEnd(*this);
    FreeIfJoined();
    return;
  }
  if (state_ == State::kNaming) {
    Admit();
    return;
  }
  // Limits that were switched on meanwhile.
  if (net::SourceLimits* limits = worker_.ListenerOf(*this)->source_limits.get()) {
    OnSourceLimits(limits);
  }
  if (state_ == State::kSecuring) {
    SecureNode();
  } else if (Has(kNoName, 1)) {
    Clear(kNoName, 1);
    StartHeaderOut();
  }
}

// --- May it come in? --------------------------------------------------------------------------

void Pair::Admit() {
  const ListenerSettings& listener = *worker_.ListenerOf(*this);
  const bool held = Has(kCounted);
  const uint32_t active =
      held ? 0 : listener.shared->active.fetch_add(1, std::memory_order_relaxed);
  Set(kCounted);
  // Who has waited in the listen queue has passed both.
  if (!held && listener.connections_max != 0 && active >= listener.connections_max) {
    LOG_EVERY(kLogLimits, net::LogLevel::kWarn, "lb", "at its limit; clients are refused",
              {{"listener", listener.name},
               {"connections_max", listener.connections_max},
               {"remedy", "raise it, or let clients wait: at_limit = \"wait\""}});
    listener.shared->refused_limit.fetch_add(1, std::memory_order_relaxed);
    End(EndReason::kLimited);
    return;
  }
  if (!held && listener.shared->rate.Take(worker_.loop().now(), kListenerRateBurst, 1) == 0) {
    LOG_EVERY(kLogLimits, net::LogLevel::kWarn, "lb",
              "new connections come faster than its rate; clients are refused",
              {{"listener", listener.name},
               {"rate", listener.rate},
               {"remedy", "raise it, or let clients wait: at_limit = \"wait\""}});
    listener.shared->refused_limit.fetch_add(1, std::memory_order_relaxed);
    End(EndReason::kLimited);
    return;
  }
  if (!listener.accept_proxy) {
    AdmitSource();
    return;
  }
  const auto& trusted = listener.proxy_trusted;
  const bool trust =
      trusted.empty() || std::any_of(trusted.begin(), trusted.end(),
                                     [&](const net::Cidr& c) { return c.Contains(client_); });
  if (!trust) {
    worker_.CountBadHeader(*this);
    End(EndReason::kProxyHeaderBad);
    return;
  }
  Enter(State::kHeader);
  ArmRecv(0);
  Schedule(listener.proxy_header_timeout);
}

bool Pair::Denied(const ListenerSettings& listener) const {
  auto holds = [this](const std::vector<net::Cidr>& networks) {
    return std::any_of(networks.begin(), networks.end(),
                       [&](const net::Cidr& c) { return c.Contains(client_); });
  };
  return holds(listener.source_deny) ||
         (!listener.source_allow.empty() && !holds(listener.source_allow));
}

void Pair::AdmitSource() {
  const ListenerSettings& listener = *worker_.ListenerOf(*this);
  if (Denied(listener)) {
    LOG_EVERY(kLogLimits, net::LogLevel::kInfo, "lb", "clients come from where none may",
              {{"listener", listener.name}, {"client", client_.IpToString()}});
    listener.shared->refused_denied.fetch_add(1, std::memory_order_relaxed);
    End(EndReason::kLimited);
    return;
  }
  if (listener.source_limits != nullptr) {
    if (!listener.source_limits->Enter(client_, worker_.loop().now())) {
      LOG_EVERY(kLogLimits, net::LogLevel::kWarn, "lb", "one source at its limit is refused",
                {{"listener", listener.name},
                 {"client", client_.IpToString()},
                 {"remedy", "source_connections_max and source_rate, if it is one of yours"}});
      listener.shared->refused_source.fetch_add(1, std::memory_order_relaxed);
      End(EndReason::kLimited);
      return;
    }
    Set(kSourced);
  }
  Welcome();
}

void Pair::OnSourceLimits(net::SourceLimits* limits) {
  Clear(kSourced);  // its table is gone
  if (limits == nullptr || state_ == State::kNaming || state_ == State::kHeader ||
      state_ == State::kClosing || InFlight(kName)) {
    return;  // it will be judged, is none any more, or OnNamed() comes back here
  }
  limits->Hold(client_, worker_.loop().now());
  Set(kSourced);
}

// --- Where does it go? ------------------------------------------------------------------------

PickResult Pair::PickNode() {
  ProxyWorker::Pool& pool = worker_.PoolOf(*this);
  const Balancer& balancer = *pool.balancer;
  PickRequest request;
  request.now = worker_.loop().now();
  if (pool.settings->hashes_source) request.source_hash = client_.HashIp(0);
  // Which nodes failed this connection stands as bits in bytes_[1], which counts only once a node
  // was found. Their meaning is the snapshot's of that moment: a snapshot that came in between
  // makes a wrong guess, never a wrong connection.
  std::array<const NodeState*, kExcludeMax> tried{};
  size_t tried_count = 0;
  if (bytes_[1] != 0) {
    for (size_t i = 0; i < balancer.nodes().size() && tried_count < tried.size(); ++i) {
      if ((bytes_[1] >> (i % 64) & 1U) != 0) tried[tried_count++] = balancer.nodes()[i].state.get();
    }
    request.exclude = std::span(tried).first(tried_count);
  }
  return balancer.Pick(request, pool.local);
}

void Pair::Choose() { Place(PickNode()); }

void Pair::Place(const PickResult& picked) {
  if (picked.node != nullptr) {
    bytes_[1] |= uint64_t{1} << (picked.index % 64);
    ConnectTo(static_cast<Node&>(*picked.node));
    return;
  }
  const PoolSettings& settings = worker_.SettingsOf(*this);
  switch (picked.failure) {
    case PickFailure::kAllFull:
      if (!worker_.Enqueue(*this)) {
        End(EndReason::kQueueFull);
        return;
      }
      Enter(State::kQueued);
      MaybeResume(0);
      Schedule(settings.queue_timeout);
      return;
    case PickFailure::kAllExcluded:
      bytes_[1] = 0;
      Enter(State::kRetryWait);
      Schedule(std::min(kRetryPause, settings.connect_timeout));
      return;
    default:
      End(retries_ > 0 ? EndReason::kConnectFailed : EndReason::kNoNode);
  }
}

bool Pair::OnDequeued() {
  const PickResult picked = PickNode();
  if (picked.node == nullptr && picked.failure == PickFailure::kAllFull) return false;
  queue_time_ = ShortMs(queue_ms() + idle_ms());
  worker_.LeftQueue(*this);
  // Out of the queue's state, so that an end from here does not leave it a second time.
  Enter(State::kRetryWait);
  Place(picked);
  return true;
}

void Pair::ConnectTo(Node& node) {
  node_ = &node;
  error_ = 0;  // of an attempt before
  slot_[1] = worker_.ring().AllocateSlot();
  if (slot_[1] == net::kNoSlot) {
    EndForLack(ENFILE);  // of the ring's table, which the limit of open files bounds
    return;
  }
  Enter(State::kConnecting);
  ProxyWorker::Pool& pool = worker_.PoolOf(*this);
  const net::SocketName& address = node.address();
  net::ConnectOptions options{.address = address.get(), .address_size = address.size()};
  const auto& sources =
      address.family() == AF_INET6 ? pool.settings->sources_v6 : pool.settings->sources_v4;
  if (!sources.empty() && address.family() != AF_UNIX) {
    // Each source address brings another 64k ports towards the same node.
    const net::SocketName& source = sources[pool.next_source++ % sources.size()];
    options.source = source.get();
    options.source_size = source.size();
  }
  worker_.ring().Connect(slot_[1], options, Begin(kConnect));
  MaybeResume(0);
  // In any case: the wheel may still hold the later deadline of a header or of the queue.
  Schedule(pool.settings->connect_timeout);
}

void Pair::OnConnect(int32_t result) {
  if (state_ == State::kClosing) {
    worker_.ring().Close(slot_[1]);
    slot_[1] = net::kNoSlot;
    ReleaseNode();
    FreeIfJoined();
    return;
  }
  DCHECK(state_ == State::kConnecting);
  if (result < 0) {
    worker_.ring().Close(slot_[1]);
    slot_[1] = net::kNoSlot;
    const bool timeout = result == -ECANCELED || result == -ETIMEDOUT;
    Retry(timeout ? EndReason::kConnectTimeout : EndReason::kConnectFailed,
          timeout ? ETIMEDOUT : -result);
    return;
  }
  if (worker_.SettingsOf(*this).node_tls == NodeTls::kOff) {
    Open();
    return;
  }
  // Not by Enter(): the time limit of the connect holds until TLS stands.
  state_ = State::kSecuring;
  SecureNode();
}

void Pair::Retry(EndReason reason, int error) {
  const PoolSettings& settings = worker_.SettingsOf(*this);
  error_ = static_cast<uint8_t>(error);
  worker_.CountConnectError(*node_, error, EndReasonName(reason));
  if (retries_ >= settings.retries) {
    End(net::IsOurError(error) ? EndReason::kExhausted : reason);
    return;
  }
  ++retries_;
  WorkerStats::Add(worker_.stats_.retries);
  if (settings.redispatch) {
    WorkerStats::Add(worker_.stats_.redispatches);
    ReleaseNode();
    Choose();
  } else {
    Enter(State::kRetryWait);
    Schedule(std::min(kRetryPause, settings.connect_timeout));
  }
}

// --- Open -------------------------------------------------------------------------------------

void Pair::Open() {
  const uint64_t connect_ms = idle_ms();
  const bool greeted = state_ == State::kSecuring;
  Enter(State::kOpen);
  if (worker_.sides_timed_) worker_.QuietAt(*this) = active_;
  connect_time_ = ShortMs(connect_ms);
  bytes_[1] = 0;
  node_->OnConnected();
  // Received from since before it stood: a look is due when the timers are set.
  SetSide(kUnsure, 0);
  SetSide(kUnsure, 1);
  if (!Has(kEof, 1)) ArmRecv(1);
  if (!greeted && worker_.SettingsOf(*this).send_proxy != SendProxy::kOff) {
    StartHeaderOut();
  } else {
    if (Has(kTls, 1)) FreeOpening();
    MaybeSend(0);
  }
  if (state_ != State::kOpen) return;
  MaybeResume(0);
  const PoolSettings& settings = worker_.SettingsOf(*this);
  net::Duration first = kTimersAfter;
  const net::Duration fin = settings.fin_timeout / kLookPart;
  const net::Duration age = settings.max_age > net::Duration::zero() ? AgeLimit() : net::Duration();
  for (const net::Duration limit : {settings.idle_timeout, settings.client_idle_timeout,
                                    settings.node_idle_timeout, fin, age}) {
    if (limit > net::Duration::zero()) first = std::min(first, limit);
  }
  ScheduleBy(first);
}

void Pair::SetNodeTimers() {
  if (Has(kTimers)) return;
  Set(kTimers);
  net::Ring& ring = worker_.ring();
  const PoolSettings& settings = worker_.SettingsOf(*this);
  if (!ring.features().socket_options || node_->address().family() == AF_UNIX) return;
  if (settings.keepalive_idle_s > 0) {
    ring.SetOption(slot_[1], SOL_SOCKET, SO_KEEPALIVE, &kOn);
    ring.SetOption(slot_[1], IPPROTO_TCP, TCP_KEEPIDLE, &settings.keepalive_idle_s);
    ring.SetOption(slot_[1], IPPROTO_TCP, TCP_KEEPINTVL, &settings.keepalive_interval_s);
    ring.SetOption(slot_[1], IPPROTO_TCP, TCP_KEEPCNT, &settings.keepalive_count);
  }
  if (settings.user_timeout_ms > 0) {
    ring.SetOption(slot_[1], IPPROTO_TCP, TCP_USER_TIMEOUT, &settings.user_timeout_ms);
  }
}

// --- Time -------------------------------------------------------------------------------------

void Pair::Schedule(net::Duration from_now) {
  if (from_now <= net::Duration::zero()) return;
  worker_.ScheduleAt(*this, Milliseconds(from_now));
}

void Pair::ScheduleBy(net::Duration from_now) { worker_.ScheduleBy(*this, Milliseconds(from_now)); }

void Pair::OnTimesChanged() {
  if (state_ == State::kOpen) ScheduleBy(ProxyWorker::kTick);
}

void Pair::Touch(unsigned direction) {
  if (AnyLost()) return;
  if (worker_.sides_timed_) TouchSide(direction);
  active_ = Moment();
}

// Before active_ is set: it is the time of whoever spoke last.
void Pair::TouchSide(unsigned side) {
  if (Has(kNodeLast, 1) == (side == 1)) return;
  worker_.QuietAt(*this) = active_;
  if (side == 1) {
    Set(kNodeLast, 1);
  } else {
    Clear(kNodeLast, 1);
  }
}

uint64_t Pair::SilentMs(unsigned side) const {
  const bool last = Has(kNodeLast, 1) == (side == 1);
  return Since(last ? active_ : worker_.QuietAt(*this));
}

// True when that was the end, and the Pair may be gone. Else `next` is no later than its time.
bool Pair::EndIfSilent(unsigned side, net::Duration limit, EndReason reason, net::Duration* next) {
  if (limit <= net::Duration::zero()) return false;
  const net::Duration silent = std::chrono::milliseconds(SilentMs(side));
  if (silent >= limit) {
    End(reason);
    return true;
  }
  *next = std::min(*next, limit - silent);
  return false;
}

void Pair::OnDue() {
  const PoolSettings& settings = worker_.SettingsOf(*this);
  // Comes back when this much has passed since active_; true when it has.
  auto passed = [&](net::Duration limit) {
    if (limit <= net::Duration::zero()) return false;
    const uint64_t elapsed = idle_ms();
    if (elapsed >= Milliseconds(limit)) return true;
    Schedule(limit - std::chrono::milliseconds(elapsed));
    return false;
  };
  switch (state_) {
    case State::kHeader:
      if (passed(worker_.ListenerOf(*this)->proxy_header_timeout)) {
        worker_.CountBadHeader(*this);
        End(EndReason::kProxyHeaderTimeout);
      }
      break;
    case State::kHello:
    case State::kOpening:
    case State::kHandshake:
      if (passed(worker_.ListenerOf(*this)->handshake_timeout)) OnDueEarly();
      break;
    case State::kSecuring:
      if (passed(settings.connect_timeout)) NodeRefused("no answer in time");
      break;
    case State::kLastWords:
      if (passed(kLinger)) End(end_);
      break;
    case State::kQueued:
      if (passed(settings.queue_timeout)) End(EndReason::kQueueTimeout);
      break;
    case State::kConnecting:
      if (passed(settings.connect_timeout)) {
        worker_.ring().Cancel({this, kConnect});
        Schedule(kCancelAgain);
      }
      break;
    case State::kRetryWait:
      if (!passed(std::min(kRetryPause, settings.connect_timeout))) break;
      if (node_ != nullptr) {
        ConnectTo(*node_);
      } else {
        Choose();
      }
      break;
    case State::kOpen:
      OnDueOpen();
      break;
    case State::kClosing:
      if (!InFlight(kConnect)) break;
      worker_.ring().Cancel({this, kConnect});
      Schedule(kCancelAgain);
      break;
    case State::kNaming:
      break;
  }
}

void Pair::OnDueOpen() {
  const PoolSettings& settings = worker_.SettingsOf(*this);
  if (Has(kTls, 1) && TlsOf().failed) {
    End(EndReason::kTlsError);
    return;
  }
  if (AnyLost()) {
    OnDueLost();
    return;
  }
  SetNodeTimers();
  if (bytes_[1] > 0) node_->OnSpoke();
  LookAtSides();
  const net::Duration elapsed = std::chrono::milliseconds(idle_ms());
  net::Duration next = net::Duration::max();
  if (settings.idle_timeout > net::Duration::zero()) {
    if (elapsed >= settings.idle_timeout) {
      End(EndReason::kIdle);
      return;
    }
    next = settings.idle_timeout - elapsed;
  }
  if (EndIfSilent(0, settings.client_idle_timeout, EndReason::kClientIdle, &next) ||
      EndIfSilent(1, settings.node_idle_timeout, EndReason::kNodeIdle, &next)) {
    return;
  }
  if (Ending() && settings.fin_timeout > net::Duration::zero()) {
    if (elapsed >= settings.fin_timeout) {
      End(EndReason::kFinTimeout);
      return;
    }
    next = std::min(next, settings.fin_timeout - elapsed);
  }
  if (settings.max_age > net::Duration::zero()) {
    const net::Duration age = std::chrono::milliseconds(worker_.WallMs() - started_ms());
    const net::Duration limit = AgeLimit();
    if (age >= limit) {
      End(EndReason::kMaxAge);
      return;
    }
    next = std::min(next, limit - age);
  }
  if (SideHas(kUnsure, 0) || SideHas(kUnsure, 1)) next = std::min(next, LookSoon(settings));
  if (Has(kBulk, 0) || Has(kBulk, 1)) {
    next = std::min<net::Duration>(next, std::chrono::milliseconds(kBulkIdleMs));
  }
  if (next != net::Duration::max()) Schedule(next);
  CheckBulkIdle();
}

// --- Completions ------------------------------------------------------------------------------

void Pair::OnCompletion(unsigned op, net::Completion completion) {
  if (!completion.more()) Done(op);
  switch (op) {
    case kRecv:
    case kRecv + 1:
      OnRecv(op - kRecv, completion);
      break;
    case kSend:
    case kSend + 1:
      OnSend(op - kSend, completion.result);
      break;
    case kConnect:
      OnConnect(completion.result);
      break;
    case kName:
      OnNamed(completion.result);
      break;
    case kHeaderOut:
      OnHeaderOut(completion.result);
      break;
    case kLocal:
      if (SideHas(kAsked, 0)) {
        OnUnsent(completion.result);
      } else {
        OnLocalFd(completion.result);
      }
      break;
    case kWatch:
    case kWatch + 1:
      OnWatched(op - kWatch, completion.result);
      break;
    case kPollIn:
    case kPollIn + 1:
      OnPolled(op - kPollIn, true);
      break;
    case kPollOut:
    case kPollOut + 1:
      OnPolled(op - kPollOut, false);
      break;
    default:
      OnInstalled(op - kInstall, completion.result);
  }
}

}  // namespace lb
