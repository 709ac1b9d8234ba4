#include "lb/proxy/proxy_worker.h"

#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>

#include "lb/proxy/lack.h"
#include "lb/proxy/listener.h"
#include "net/base/check.h"
#include "net/limit/source_limits.h"
#include "net/limit/source_table.h"
#include "net/report/log.h"

namespace lb {
namespace {

// Pairs beyond pairs_max, for those that the kernel has accepted before a full worker could stop
// it.
constexpr uint32_t kPairsReserve = 512;
// What a worker that does not come to its end names of what it waits for.
constexpr size_t kWaitedForMax = 1024;
// Entries of connections that left, beyond those that a line may hold, before it is swept.
constexpr size_t kStaleMax = 64;

// A keyed hash with the seed as its key: who knows it knows nothing of the seed.
uint64_t PublicId(uint64_t seed) {
  net::SourceKey text{};
  text[15] = 3;  // StreamId() has 1 and 2
  return net::KeyedHash(net::HashKey{seed, ~seed}, text);
}

std::string_view TlsName(int version) {
  switch (version) {
    case 0x0304:
      return "TLSv1.3";
    case 0x0303:
      return "TLSv1.2";
    case 0x0302:
      return "TLSv1.1";
    case 0x0301:
      return "TLSv1";
    default:
      return "";
  }
}

bool LeftByItself(EndReason reason) {
  return reason == EndReason::kClientClosed || reason == EndReason::kClientReset ||
         reason == EndReason::kClientTruncated;
}

}  // namespace

std::expected<std::unique_ptr<ProxyWorker>, std::string> ProxyWorker::Create(net::EventLoop& loop,
                                                                             const Options& options,
                                                                             Hooks hooks) {
  std::unique_ptr<ProxyWorker> worker(new ProxyWorker(loop, options, std::move(hooks)));
  auto buffers = net::BufferPool::Create(
      loop.ring(), {.buffer_bytes = options.buffer_bytes,
                    .initial = std::min(options.buffers_initial, options.buffers_max),
                    .maximum = options.buffers_max,
                    .large = options.large_buffers});
  if (!buffers) return std::unexpected(buffers.error());
  worker->buffers_ = std::move(*buffers);
  auto tls = net::TlsWorker::Create();
  if (!tls) return std::unexpected(tls.error());
  worker->tls_ = std::move(*tls);
  loop.SetTurnEnd([raw = worker.get()] { raw->OnTurnEnd(); });
  return worker;
}

ProxyWorker::ProxyWorker(net::EventLoop& loop, const Options& options, Hooks hooks)
    : loop_(loop),
      options_(options),
      hooks_(std::move(hooks)),
      epoch_(loop.now()),
      pairs_(options.pairs_max + kPairsReserve),
      bulks_(options.pairs_max + kPairsReserve),
      preludes_(options.pairs_max + kPairsReserve),
      tls_pairs_(options.pairs_max + kPairsReserve),
      feds_(2 * (options.pairs_max + kPairsReserve)),
      public_id_(PublicId(options.seed)) {
  if (hooks_.process != nullptr) return;
  own_process_ = std::make_unique<ProcessShared>();
  hooks_.process = own_process_.get();
}

ProxyWorker::~ProxyWorker() {
  CHECK(pairs_.size() == 0);
  loop_.SetTurnEnd({});
}

// --- Configuration ----------------------------------------------------------------------------

void ProxyWorker::SetPool(uint16_t id, std::shared_ptr<const PoolSettings> settings,
                          std::shared_ptr<const Balancer> balancer) {
  if (pools_.size() <= id) pools_.resize(id + 1U);
  if (!pools_[id]) {
    pools_[id] = std::make_unique<Pool>();
    pools_[id]->local = PickLocal(options_.seed + id);
  }
  Pool& pool = *pools_[id];
  const auto before = std::exchange(pool.settings, std::move(settings));
  TimeSides(*pool.settings);
  if (before) {
    retiring_.push_back(before);
    OnPoolSettings(id, *before);
  }
  SetBalancer(id, std::move(balancer));
}

void ProxyWorker::TimeSides(const PoolSettings& settings) {
  const bool wanted = settings.client_idle_timeout > net::Duration::zero() ||
                      settings.node_idle_timeout > net::Duration::zero();
  if (sides_timed_ || !wanted) return;
  // Of who is there it is not known: they count from now on.
  sides_timed_ = true;
  pairs_.ForEach([this](uint32_t, Pair& pair) { QuietAt(pair) = pair.Moment(); });
}

uint32_t& ProxyWorker::QuietAt(const Pair& pair) {
  const uint32_t index = IndexOf(pair);
  if (quiet_at_.size() <= index) quiet_at_.resize(index + size_t{1});
  return quiet_at_[index];
}

void ProxyWorker::OnPoolSettings(uint16_t id, const PoolSettings& before) {
  Pool& pool = *pools_[id];
  const PoolSettings& now = *pool.settings;
  if (now.shared != before.shared) {  // who waits is counted where it will be counted out
    before.shared->queued.fetch_sub(pool.queued, std::memory_order_relaxed);
    now.shared->queued.fetch_add(pool.queued, std::memory_order_relaxed);
  }
  if (now.idle_timeout == before.idle_timeout && now.fin_timeout == before.fin_timeout &&
      now.max_age == before.max_age && now.client_idle_timeout == before.client_idle_timeout &&
      now.node_idle_timeout == before.node_idle_timeout) {
    return;
  }
  pairs_.ForEach([&](uint32_t, Pair& pair) {
    if (pair.pool() == id) pair.OnTimesChanged();
  });
}

void ProxyWorker::SetBalancer(uint16_t id, std::shared_ptr<const Balancer> balancer) {
  CHECK(id < pools_.size() && pools_[id]);
  Pool& pool = *pools_[id];
  pool.local.Adopt(*balancer);
  pool.balancer = std::move(balancer);
  ServeQueue(pool);
}

void ProxyWorker::SetListener(uint16_t id, std::shared_ptr<const ListenerSettings> settings) {
  if (listener_settings_.size() <= id) listener_settings_.resize(id + 1U);
  settings->shared->rate.SetRate(settings->rate > 0 ? settings->rate : net::kRateUnlimited,
                                 loop_.now(), kListenerRateBurst);
  const auto before = std::exchange(listener_settings_[id], std::move(settings));
  OnSourceLimits(id, before.get());
  for (const auto& listener : listeners_) {
    if (listener->id() == id) listener->OnSettings();
  }
}

// Another table, or the first one, or none from now on: it counts those who are there.
void ProxyWorker::OnSourceLimits(uint16_t listener, const ListenerSettings* before) {
  net::SourceLimits* now = listener_settings_[listener]->source_limits.get();
  if (before == nullptr || before->source_limits.get() == now) return;
  pairs_.ForEach([&](uint32_t, Pair& pair) {
    if (pair.listener() == listener) pair.OnSourceLimits(now);
  });
}

void ProxyWorker::AddSocket(uint16_t id, uint32_t socket_id, net::UniqueFd socket) {
  CHECK(id < listener_settings_.size() && listener_settings_[id]);
  listeners_.push_back(std::make_shared<Listener>(*this, id, socket_id, std::move(socket)));
  listeners_.back()->Start();
}

void ProxyWorker::RemoveSocket(uint32_t socket_id) {
  std::erase_if(listeners_, [&](const std::shared_ptr<Listener>& listener) {
    if (listener->socket_id() != socket_id) return false;
    listener->Stop();
    return true;
  });
}

void ProxyWorker::StopAccepting() {
  for (const auto& listener : listeners_) listener->Stop();
  listeners_.clear();
}

// --- Connections ------------------------------------------------------------------------------

bool ProxyWorker::Full() const {
  return pairs_.size() >= options_.pairs_max ||
         hooks_.process->connections.load(std::memory_order_relaxed) >=
             hooks_.process->connections_max;
}

bool ProxyWorker::TakePlace(bool always) {
  std::atomic<uint32_t>& connections = hooks_.process->connections;
  if (connections.fetch_add(1, std::memory_order_relaxed) < hooks_.process->connections_max) {
    return true;
  }
  if (always) return true;
  connections.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void ProxyWorker::GivePlace() {
  hooks_.process->connections.fetch_sub(1, std::memory_order_relaxed);
}

bool ProxyWorker::OnAccepted(Listener& listener, net::Slot slot,
                             const std::optional<net::Address>& peer, bool place) {
  if (closed_) return false;
  const uint16_t pool = listener_settings_[listener.id()]->pool;
  const uint32_t index = pairs_.Allocate(*this, listener.id(), pool, slot);
  if (index == net::kNoIndex) return false;
  WorkerStats::Add(stats_.accepted);
  stats_.open.store(pairs_.size(), std::memory_order_relaxed);
  listener_settings_[listener.id()]->shared->accepted.fetch_add(1, std::memory_order_relaxed);
  if (place) pairs_[index].HoldsPlace();
  pairs_[index].Start(peer.has_value() ? &*peer : nullptr, listener.name_bytes());
  return true;
}

uint32_t ProxyWorker::IndexOf(const Pair& pair) { return net::Slab<Pair>::IndexOf(pair); }

void ProxyWorker::CountBadHeader(const Pair& pair) {
  WorkerStats::Add(stats_.proxy_headers_bad);
  ListenerOf(pair)->shared->refused_header.fetch_add(1, std::memory_order_relaxed);
}

void ProxyWorker::Finished(Pair& pair) {
  wheel_.Remove(IndexOf(pair),
                [this](uint32_t i) -> net::WheelNode& { return pairs_[i].wheel_node(); });
  const ListenerSettings& listener = *ListenerOf(pair);
  if (pair.counted()) {
    listener.shared->active.fetch_sub(1, std::memory_order_relaxed);
    if (listener.wait_at_limit) places_waiting_ = true;
  }
  if (pair.sourced() && listener.source_limits) {
    listener.source_limits->Leave(pair.client());
  }
  WorkerStats::Add(stats_.ended[static_cast<size_t>(pair.end_reason())]);
  const bool open = pair.state() == Pair::State::kOpen;
  if (open) {
    WorkerStats::Add(stats_.bytes_to_node, pair.bytes(0));
    WorkerStats::Add(stats_.bytes_to_client, pair.bytes(1));
  }
}

void ProxyWorker::LogEnd(const Pair& pair) {
  if (hooks_.access_log == nullptr) return;
  const bool open = pair.state() == Pair::State::kOpen;
  const ListenerSettings& listener = *ListenerOf(pair);
  const auto note = tls_notes_.find(IndexOf(pair));
  std::array<char, kUniqueIdMax> id;
  hooks_.access_log->Write(
      {.ended_ms = LoggedMs(),
       .listener = listener.name,
       .pool = SettingsOf(pair).name,
       .node = pair.node() == nullptr ? "" : pair.node()->name,
       .client = pair.client(),
       .queue_ms = pair.queue_ms(),
       .connect_ms = pair.connect_ms(),
       .duration_ms = WallMs() - pair.started_ms(),
       .bytes_in = open ? pair.bytes(0) : 0,
       .bytes_out = open ? pair.bytes(1) : 0,
       .retries = pair.retries(),
       .end = EndReasonName(pair.end_reason()),
       .error = net::ErrnoName(pair.error()),
       .tls = note == tls_notes_.end() ? "" : TlsName(note->second.version),
       .sni = note == tls_notes_.end() ? "" : std::string_view(note->second.name),
       .id = UniqueId(pair, id),
       .probe = pair.bytes(0) == 0 && LeftByItself(pair.end_reason())});
}

void ProxyWorker::NoteTls(const Pair& pair, int version, std::string_view name) {
  if (hooks_.access_log == nullptr) return;
  tls_notes_[IndexOf(pair)] = {version, std::string(name)};
}

std::string_view ProxyWorker::UniqueId(const Pair& pair, std::span<char, kUniqueIdMax> out) const {
  char* const last = out.data() + out.size();
  char* end = std::to_chars(out.data(), last, public_id_, 16).ptr;
  *end++ = '-';
  end = std::to_chars(end, last, pair.birth(), 16).ptr;
  return {out.data(), end};
}

void ProxyWorker::CountConnectError(Node& node, int error, std::string_view how) {
  if (error > 0 && static_cast<size_t>(error) < net::kErrnos) {
    WorkerStats::Add(stats_.connect_errnos[static_cast<size_t>(error)]);
  }
  if (net::IsOurError(error)) {
    WorkerStats::Add(stats_.local_errors);
    LogNoConnect(node, error);
    return;
  }
  WorkerStats::Add(stats_.connect_errors);
  CountNodeFailure(node, node.OnConnectFailed(), how);
}

void ProxyWorker::CountNodeFailure(Node& node, uint32_t in_a_row, std::string_view how) {
  const auto pool = std::ranges::find_if(
      pools_, [&](const auto& one) { return one && one->settings->name == node.pool; });
  if (pool == pools_.end()) return;
  const uint32_t limit = (*pool)->settings->passive_errors;
  // Again with as many more: what could not be done for it then, since others were down, may be
  // now.
  if (limit == 0 || in_a_row % limit != 0 || !hooks_.passive_errors) return;
  hooks_.passive_errors(node, in_a_row, std::string(how));
}

void ProxyWorker::CountSideError(unsigned side, int error) {
  if (error <= 0 || static_cast<size_t>(error) >= net::kErrnos) return;
  auto& counters = side == 0 ? stats_.client_errnos : stats_.node_errnos;
  WorkerStats::Add(counters[static_cast<size_t>(error)]);
  if (net::IsOurError(error)) CountLack(error);
}

void ProxyWorker::CountLack(int error) {
  WorkerStats::Add(stats_.local_errors);
  LogCutShort(error);
}

void ProxyWorker::Free(Pair& pair) {
  const uint16_t pool = pair.pool();
  wheel_.Remove(IndexOf(pair),
                [this](uint32_t i) -> net::WheelNode& { return pairs_[i].wheel_node(); });
  if (!tls_notes_.empty()) tls_notes_.erase(IndexOf(pair));
  pairs_.Free(IndexOf(pair));
  GivePlace();
  stats_.open.store(pairs_.size(), std::memory_order_relaxed);
  if (pools_[pool]->queued > 0) queues_waiting_ = true;
}

void ProxyWorker::EndAll(EndReason reason) {
  pairs_.ForEach([&](uint32_t, Pair& pair) { pair.End(reason); });
}

std::expected<void, std::string> ProxyWorker::Close(EndReason reason, net::Duration limit) {
  closed_ = true;
  StopAccepting();
  EndAll(reason);
  const net::Time end = loop_.now() + limit;
  while (pairs_.size() > 0 || !loop_.Held().empty()) {
    const net::Duration left = end - loop_.now();
    if (left > net::Duration::zero()) {
      loop_.RunOnce(left);
      continue;
    }
    std::string what = loop_.Held();
    pairs_.ForEach([&](uint32_t index, Pair& pair) {
      if (what.size() > kWaitedForMax) return;
      what += (what.empty() ? "" : ", ") + std::string("connection ") + std::to_string(index) +
              " with " + pair.Waiting();
    });
    return std::unexpected(std::move(what));
  }
  return {};
}

bool ProxyWorker::ShutConnection(uint32_t index, uint64_t started_ms, EndReason reason) {
  if (!pairs_.Live(index)) return false;
  Pair& pair = pairs_[index];
  if (pair.started_ms() != started_ms || pair.state() == Pair::State::kClosing) return false;
  pair.End(reason);
  return true;
}

// Who is still on the way to a node that is down will be sent elsewhere.
bool ProxyWorker::IsMeant(const Pair& pair, const Node* node, EndReason reason) {
  if (node != nullptr && pair.node() != node) return false;
  return reason == EndReason::kNodeDown ? pair.state() == Pair::State::kOpen
                                        : pair.state() != Pair::State::kClosing;
}

std::vector<uint64_t> ProxyWorker::IdleTimes(const Node* node, uint32_t count, EndReason reason) {
  std::vector<uint64_t> times;
  pairs_.ForEach([&](uint32_t, Pair& pair) {
    if (IsMeant(pair, node, reason)) {
      times.push_back(pair.idle_ms());
    }
  });
  const size_t take = std::min<size_t>(count, times.size());
  std::partial_sort(times.begin(), times.begin() + static_cast<ptrdiff_t>(take), times.end(),
                    std::greater<>());
  times.resize(take);
  return times;
}

uint32_t ProxyWorker::ShutNode(const Node* node, uint32_t count, EndReason reason) {
  std::vector<std::pair<uint64_t, uint32_t>> found;  // idle for, index
  pairs_.ForEach([&](uint32_t index, Pair& pair) {
    if (IsMeant(pair, node, reason)) {
      found.emplace_back(pair.idle_ms(), index);
    }
  });
  const size_t take = std::min<size_t>(count, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<ptrdiff_t>(take), found.end(),
                    std::greater<>());
  for (size_t i = 0; i < take; ++i) pairs_[found[i].second].End(reason);
  return static_cast<uint32_t>(take);
}

// --- Waiting for a node -----------------------------------------------------------------------

bool ProxyWorker::Enqueue(Pair& pair) {
  Pool& pool = PoolOf(pair);
  std::atomic<uint32_t>& queued = pool.settings->shared->queued;
  if (queued.fetch_add(1, std::memory_order_relaxed) >= pool.settings->queue_max) {
    queued.fetch_sub(1, std::memory_order_relaxed);
    LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "lb",
              "all nodes are full and so is the queue; clients are refused",
              {{"pool", pool.settings->name},
               {"queue_max", pool.settings->queue_max},
               {"remedy", "add nodes, or raise their connections_max or the pool's queue_max"}});
    return false;
  }
  // While its first one waits, those that left the queue must not add up behind it.
  if (pool.queue.size() > 2 * size_t{pool.queued} + kStaleMax) {
    std::erase_if(pool.queue, [this](const Waiting& waiting) {
      return !pairs_.Live(waiting.index) || !pairs_[waiting.index].queued_as(waiting.started_ms);
    });
  }
  ++pool.queued;
  pool.queue.push_back({IndexOf(pair), pair.started_ms()});
  WorkerStats::Add(stats_.queued);
  ArmTick();
  return true;
}

void ProxyWorker::ServeQueue(Pool& pool) {
  while (!pool.queue.empty()) {
    const Waiting waiting = pool.queue.front();
    Pair* pair = pairs_.Live(waiting.index) ? &pairs_[waiting.index] : nullptr;
    if (pair != nullptr && pair->queued_as(waiting.started_ms) && !pair->OnDequeued()) return;
    pool.queue.pop_front();
  }
}

// --- Handshakes -------------------------------------------------------------------------------

bool ProxyWorker::HandshakesCrowded(const ListenerSettings& listener) const {
  if (!handshakes_waiting_[0].empty() || !handshakes_waiting_[1].empty()) return true;
  return listener.handshakes_max != 0 &&
         listener.shared->handshakes.load(std::memory_order_relaxed) >= listener.handshakes_max / 2;
}

bool ProxyWorker::TakeHandshakePlace(const ListenerSettings& listener) {
  std::atomic<uint32_t>& active = listener.shared->handshakes;
  const uint32_t before = active.fetch_add(1, std::memory_order_relaxed);
  if (listener.handshakes_max == 0 || before < listener.handshakes_max) return true;
  active.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void ProxyWorker::HandshakeDue(Pair& pair) {
  handshakes_due_.push_back({IndexOf(pair), pair.started_ms()});
}

void ProxyWorker::AwaitHandshake(Pair& pair, bool resumed) {
  std::deque<Waiting>& line = handshakes_waiting_[resumed];
  if (line.size() > 2 * size_t{pairs_.size()} + kStaleMax) {
    std::erase_if(line, [this](const Waiting& waiting) { return HandshakeOf(waiting) == nullptr; });
  }
  line.push_back({IndexOf(pair), pair.started_ms()});
  WorkerStats::Add(stats_.tls_queued);
  ArmTick();
}

Pair* ProxyWorker::HandshakeOf(const Waiting& waiting) {
  if (!pairs_.Live(waiting.index)) return nullptr;
  Pair& pair = pairs_[waiting.index];
  return pair.handshakes_as(waiting.started_ms) ? &pair : nullptr;
}

Pair* ProxyWorker::SilentOf(const Silent& silent) {
  Pair* pair = HandshakeOf(silent.pair);
  return pair != nullptr && pair->silent_as(silent.pair.started_ms, silent.since_ms) ? pair
                                                                                     : nullptr;
}

void ProxyWorker::ClientSilent(Pair& pair, uint64_t source, uint32_t since_ms, bool first) {
  std::deque<Silent>& line = handshakes_silent_;
  while (!line.empty() && SilentOf(line.front()) == nullptr) line.pop_front();
  if (line.size() > 2 * size_t{pairs_.size()} + kStaleMax) {
    std::erase_if(line, [this](const Silent& silent) { return SilentOf(silent) == nullptr; });
  }
  line.push_back({{IndexOf(pair), pair.started_ms()}, source, since_ms});
  if (!first || source == 0) return;
  const uint32_t half_open = hooks_.process->half_open.Enter(source);
  if (half_open <= kHalfOpen) return;
  for (const Silent& silent : line) {
    if (half_open <= kHalfOpenMax && NowMs() - silent.since_ms < kSilenceMs) return;
    Pair* longest = silent.source == source ? SilentOf(silent) : nullptr;
    if (longest == nullptr) continue;
    longest->End(EndReason::kTlsHandshakeTimeout);
    return;
  }
}

void ProxyWorker::ClientNotSilent(uint64_t source) {
  if (source != 0) hooks_.process->half_open.Leave(source);
}

// Somebody waits for a place at this listener. False: all who hold one here are at work, or have
// only just been answered.
bool ProxyWorker::EndSilent(uint16_t listener) {
  for (const Silent& silent : handshakes_silent_) {
    if (NowMs() - silent.since_ms < kSilenceMs) return false;
    Pair* longest = SilentOf(silent);
    if (longest == nullptr || longest->listener() != listener ||
        !longest->holds_handshake_place()) {
      continue;
    }
    longest->End(EndReason::kTlsHandshakeTimeout);
    return true;
  }
  return false;
}

// False when there is nothing to do, or no place for those who wait.
bool ProxyWorker::ServeOneHandshake() {
  if (!handshakes_due_.empty()) {
    const Waiting waiting = handshakes_due_.front();
    handshakes_due_.pop_front();
    if (Pair* pair = HandshakeOf(waiting)) pair->OnHandshakeWork();
    return true;
  }
  for (const bool resumed : {true, false}) {
    std::deque<Waiting>& line = handshakes_waiting_[resumed];
    if (line.empty()) continue;
    const Waiting waiting = line.front();
    Pair* pair = HandshakeOf(waiting);
    if (pair != nullptr && !pair->OnHandshakePlace()) return EndSilent(pair->listener());
    line.pop_front();
    return true;
  }
  return false;
}

// A bounded time of it, so that the relay goes on during a storm of new connections.
void ProxyWorker::ServeHandshakes() {
  const net::Clock& clock = loop_.clock();
  const net::Time begin = clock.Now();
  while (ServeOneHandshake()) {
    if (clock.Now() - begin < kHandshakeWork) continue;
    if (!handshakes_due_.empty() || !handshakes_waiting_[0].empty() ||
        !handshakes_waiting_[1].empty()) {
      loop_.After({}, [this] { tls_used_ = true; });  // lets the loop turn at once
    }
    return;
  }
}

void ProxyWorker::PublishTls() {
  auto set = [](WorkerStats::Counter& counter, uint64_t value) {
    counter.store(value, std::memory_order_relaxed);
  };
  const net::TlsCounters& counters = tls_->counters();
  set(stats_.tls_full, counters.handshakes_full);
  set(stats_.tls_resumed, counters.handshakes_resumed);
  set(stats_.tls_failed, counters.handshakes_failed);
  set(stats_.tls_records_failed, counters.records_failed);
  for (size_t i = 0; i < counters.take_over.size(); ++i) {
    set(stats_.tls_take_over[i], counters.take_over[i]);
  }
  for (size_t i = 0; i < counters.declined.size(); ++i) {
    set(stats_.tls_declined[i], counters.declined[i]);
  }
}

// Unlike any other, and not to be guessed: a keyed hash of a count.
std::string ProxyWorker::StreamId() {
  net::SourceKey count{};
  const uint64_t number = ++unique_id_;
  std::memcpy(count.data(), &number, sizeof number);
  const net::HashKey key{options_.seed, ~options_.seed};
  std::array<char, 33> text;
  count[15] = 1;
  auto end =
      std::to_chars(text.data(), text.data() + text.size(), net::KeyedHash(key, count), 16).ptr;
  count[15] = 2;
  end = std::to_chars(end, text.data() + text.size(), net::KeyedHash(key, count), 16).ptr;
  return {text.data(), end};
}

// --- Buffers and time -------------------------------------------------------------------------

void ProxyWorker::Starved(Pair& pair) {
  WorkerStats::Add(stats_.buffer_starvations);
  // Without a free buffer nobody is taken out of line; those that left meanwhile must not add up.
  if (starved_.size() > 2 * size_t{pairs_.size()} + kStaleMax) {
    std::erase_if(starved_, [this](const Waiting& waiting) { return !IsStarved(waiting); });
  }
  starved_.push_back({IndexOf(pair), pair.started_ms()});
  ring().Hurry();  // buffers of what has been sent are with us
}

bool ProxyWorker::IsStarved(const Waiting& waiting) {
  return pairs_.Live(waiting.index) && pairs_[waiting.index].starved_as(waiting.started_ms);
}

uint32_t ProxyWorker::TakeName() {
  if (free_names_.empty()) {
    names_.emplace_back();
    return static_cast<uint32_t>(names_.size() - 1);
  }
  const uint32_t index = free_names_.back();
  free_names_.pop_back();
  return index;
}

void ProxyWorker::ScheduleAt(Pair& pair, uint32_t from_now_ms) {
  auto node_of = [this](uint32_t i) -> net::WheelNode& { return pairs_[i].wheel_node(); };
  const uint32_t index = IndexOf(pair);
  const uint32_t tick_ms = static_cast<uint32_t>(kTick / std::chrono::milliseconds(1));
  wheel_.Remove(index, node_of);
  wheel_.Insert(index, Tick() + (from_now_ms + tick_ms - 1) / tick_ms, node_of);
  ArmTick();
}

void ProxyWorker::ScheduleBy(Pair& pair, uint32_t from_now_ms) {
  const uint32_t tick_ms = static_cast<uint32_t>(kTick / std::chrono::milliseconds(1));
  const net::WheelNode& node = pair.wheel_node();
  if (node.in() && wheel_.TicksLeft(node) <= (from_now_ms + tick_ms - 1) / tick_ms) return;
  ScheduleAt(pair, from_now_ms);
}

void ProxyWorker::ArmTick() {
  if (tick_armed_) return;
  tick_armed_ = true;
  loop_.After(kTick, [this] { OnTick(); });
}

void ProxyWorker::OnTick() {
  tick_armed_ = false;
  wheel_.Advance(
      Tick(), [this](uint32_t i) -> net::WheelNode& { return pairs_[i].wheel_node(); },
      [this](uint32_t i) { pairs_[i].OnDue(); });
  bool waiting = false;
  for (const auto& pool : pools_) {
    if (!pool || pool->queued == 0) continue;
    // Other workers' connections end, too, and nobody tells us.
    ServeQueue(*pool);
    waiting |= pool->queued > 0;
  }
  // Other workers' handshakes end, too.
  if (!handshakes_waiting_[0].empty() || !handshakes_waiting_[1].empty()) {
    ServeHandshakes();
    waiting = true;
  }
  if (tls_->HeapTrimDue()) malloc_trim(0);
  if (hooks_.access_log != nullptr) hooks_.access_log->Flush(true);
  if (wheel_.size() > 0 || waiting) ArmTick();
}

void ProxyWorker::OnTurnEnd() {
  // What was queued before they were replaced is with the kernel by the next turn's end.
  if (!retired_.empty() || !retiring_.empty()) retired_ = std::exchange(retiring_, {});
  if (queues_waiting_) {
    queues_waiting_ = false;
    for (const auto& pool : pools_) {
      if (pool && pool->queued > 0) ServeQueue(*pool);
    }
  }
  if (std::exchange(places_waiting_, false)) {
    for (const auto& listener : listeners_) listener->OnPlace();
  }
  if (tls_used_) {
    ServeHandshakes();
    tls_->EndTurn();
    PublishTls();
    tls_used_ = !handshakes_due_.empty();
  }
  // First, since it may add buffers: who waits must not wait for the next turn then.
  buffers_->Publish();
  stats_.buffers.store(buffers_->provided(), std::memory_order_relaxed);
  stats_.buffers_in_use.store(buffers_->in_use(), std::memory_order_relaxed);
  // One waiter for each free buffer, in order: more would only come back empty-handed.
  for (uint32_t room = buffers_->free(); room > 0 && !starved_.empty();) {
    const Waiting waiting = starved_.front();
    starved_.pop_front();
    if (!IsStarved(waiting)) continue;
    pairs_[waiting.index].OnBuffersAvailable();
    --room;
  }
  // Those who were woken may need none after all; the next ones get their turn soon.
  if (!starved_.empty() && buffers_->free() > 0) ArmTick();
  if (hooks_.access_log != nullptr) {
    hooks_.access_log->Flush(false);
    if (hooks_.access_log->waiting()) ArmTick();
  }
}

}  // namespace lb
