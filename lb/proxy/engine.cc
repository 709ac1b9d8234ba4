#include "lb/proxy/engine.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "net/base/check.h"
#include "net/report/log.h"

namespace lb {
namespace {

// Sockets beyond two a connection: those that were accepted and have no Pair yet, and those whose
// Pair waits for its operations.
constexpr uint32_t kSlotReserve = 1024;
// How many times an even part of the connections a worker has room for, and how many more than that
// at least. Slots cost the kernel 16 bytes each, whether they are used or not.
constexpr uint32_t kUneven = 2;
constexpr uint32_t kUnevenLeast = 1024;
// How long the operations of ended connections may take to come back.
constexpr net::Duration kDrainLimit = std::chrono::seconds(5);

uint64_t WallMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace

std::expected<std::unique_ptr<Engine>, std::string> Engine::Start(const Options& options,
                                                                  AcceptBudget* budget,
                                                                  PassiveErrors passive_errors) {
  CHECK(options.workers > 0);
  std::unique_ptr<Engine> engine(new Engine());
  engine->FitToLimits(options);
  engine->cpus_ = options.cpus;
  engine->buffers_max_ = uint64_t{options.buffers_max} * options.workers;
  const uint32_t slots = engine->pairs_max_ + engine->slot_reserve_;
  auto threads = Threads::Start(
      {.workers = options.workers,
       .name = "worker",
       .ring = {.submission_entries = 4096,
                .completion_entries = 16'384,
                .accept_slots = slots,
                .outgoing_slots = slots},
       .cpus = options.cpus},
      engine->clock_,
      [&engine = *engine, options, budget, passive_errors](net::EventLoop& loop, size_t index) {
        return engine.MakeWorker(loop, index, options, budget, passive_errors);
      },
      EndWorker);
  if (!threads) return std::unexpected(threads.error());
  engine->threads_ = std::move(*threads);
  return engine;
}

// A ring's table of sockets is bounded by the limit of open files, whatever else is open.
void Engine::FitToLimits(const Options& options) {
  uint32_t each = (options.connections_max + options.workers - 1) / options.workers;
  slot_reserve_ = kSlotReserve;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < UINT32_MAX) {
    const auto slots = static_cast<uint32_t>(limit.rlim_cur);
    slot_reserve_ = std::min(kSlotReserve, slots / 8);
    each = std::min(each, slots / 2 - slot_reserve_);
  }
  connections_max_ = static_cast<uint32_t>(
      std::min<uint64_t>(options.connections_max, uint64_t{each} * options.workers));
  shared_.connections_max = connections_max_;
  shared_.half_open.Seed(options.seed);
  // The limit is the process's. The kernel does not spread connections evenly, and who goes on for
  // days less so: each worker has room for more than its part.
  pairs_max_ = std::min(std::max(kUneven * each, each + kUnevenLeast), options.connections_max);
  if (limit.rlim_cur != 0 && limit.rlim_cur < UINT32_MAX) {
    pairs_max_ = std::min(pairs_max_, static_cast<uint32_t>(limit.rlim_cur) / 2 - slot_reserve_);
  }
  if (connections_max_ < options.connections_max) {
    net::Log(net::LogLevel::kWarn, "lb", "the limit of open files allows fewer connections",
             {{"connections_max", options.connections_max},
              {"allowed", connections_max_},
              {"limit", limit.rlim_cur},
              {"remedy", "LimitNOFILE=1048576 (ulimit -n), or more workers"}});
  }
}

std::expected<std::unique_ptr<Engine::Worker>, std::string> Engine::MakeWorker(
    net::EventLoop& loop, size_t index, const Options& options, AcceptBudget* budget,
    const PassiveErrors& passive_errors) {
  auto made = std::make_unique<Worker>();
  if (options.access_log_fd >= 0) {
    made->access_log =
        std::make_unique<AccessLog>(options.access_log_fd, options.access_log_options);
  }
  auto proxy = ProxyWorker::Create(loop,
                                   {.pairs_max = pairs_max_,
                                    .buffer_bytes = options.buffer_bytes,
                                    .buffers_max = options.buffers_max,
                                    .large_buffers = options.large_buffers,
                                    .seed = options.seed + index * 1'000'003,
                                    .wall_start_ms = WallMs(),
                                    .wall_ms = WallMs},
                                   {.passive_errors = passive_errors,
                                    .budget = budget,
                                    .access_log = made->access_log.get(),
                                    .process = &shared_});
  if (!proxy) return std::unexpected(proxy.error());
  made->proxy = std::move(*proxy);
  return made;
}

bool Engine::EndWorker(Worker& worker) {
  const auto closed = worker.proxy->Close(EndReason::kDrained, kDrainLimit);
  if (worker.access_log) worker.access_log->Flush(true);
  if (closed) return true;
  net::Log(net::LogLevel::kError, "lb", "a worker ends though operations have not come back",
           {{"waits_for", closed.error()}});
  return false;
}

void Engine::Stop() {
  if (threads_ != nullptr) threads_->Stop();
}

void Engine::Post(size_t index, std::function<void(ProxyWorker&)> task) {
  threads_->Post(index, [task = std::move(task)](Worker& worker) { task(*worker.proxy); });
}

void Engine::PostAll(const std::function<void(ProxyWorker&)>& task) {
  threads_->PostAll([task](Worker& worker) { task(*worker.proxy); });
}

void Engine::AskAll(const std::function<void(ProxyWorker&)>& task) {
  threads_->AskAll([&task](Worker& worker) { task(*worker.proxy); });
}

void Engine::Settle() {
  AskAll([](ProxyWorker&) {});
}

uint64_t Engine::SumAt(size_t index, auto from) const {
  uint64_t sum = 0;
  for (size_t worker = 0; worker < workers(); ++worker) {
    sum += (stats(worker).*from)[index].load(std::memory_order_relaxed);
  }
  return sum;
}

Engine::Connections Engine::List(const std::function<bool(const Pair&)>& wanted, size_t most) {
  Connections found;
  uint32_t number = 0;
  AskAll([&](ProxyWorker& worker) {
    ++number;
    worker.ForEachPair([&](Pair& pair) {
      if (pair.state() == Pair::State::kClosing || !wanted(pair)) return;
      ++found.total;
      if (found.shown.size() >= most) return;
      found.shown.push_back({.name = {.worker = number,
                                      .index = ProxyWorker::IndexOf(pair),
                                      .started_ms = pair.started_ms()},
                             .client = pair.client(),
                             .listener = pair.listener(),
                             .pool = pair.pool(),
                             .node = pair.node() == nullptr ? "" : pair.node()->name,
                             .state = pair.state(),
                             .age_ms = worker.WallMs() - pair.started_ms(),
                             .idle_ms = pair.idle_ms(),
                             .bytes_in = pair.bytes(0),
                             .bytes_out = pair.bytes(1)});
    });
  });
  return found;
}

bool Engine::ShutConnection(const ConnectionName& name, EndReason reason) {
  if (name.worker == 0 || name.worker > workers()) return false;
  bool shut = false;
  threads_->Ask(name.worker - 1, [&](Worker& worker) {
    shut = worker.proxy->ShutConnection(name.index, name.started_ms, reason);
  });
  return shut;
}

uint32_t Engine::ShutNode(const Node* node, uint32_t count, EndReason reason) {
  if (count == 0) return 0;
  std::vector<std::pair<uint32_t, size_t>> idle;  // for how long, at which worker
  size_t index = 0;
  AskAll([&](ProxyWorker& worker) {
    for (uint64_t time : worker.IdleTimes(node, count, reason)) idle.emplace_back(time, index);
    ++index;
  });
  const size_t take = std::min<size_t>(count, idle.size());
  std::partial_sort(idle.begin(), idle.begin() + static_cast<ptrdiff_t>(take), idle.end(),
                    std::greater<>());
  std::vector<uint32_t> shares(workers(), 0);
  for (size_t i = 0; i < take; ++i) ++shares[idle[i].second];
  uint32_t shut = 0;
  index = 0;
  AskAll([&](ProxyWorker& worker) {
    const uint32_t share = shares[index++];
    if (share > 0) shut += worker.ShutNode(node, share, reason);
  });
  return shut;
}

uint64_t Engine::SocketErrors(ErrorSide side, size_t error) const {
  switch (side) {
    case ErrorSide::kConnect:
      return SumAt(error, &WorkerStats::connect_errnos);
    case ErrorSide::kClient:
      return SumAt(error, &WorkerStats::client_errnos);
    case ErrorSide::kNode:
      return SumAt(error, &WorkerStats::node_errnos);
  }
  return 0;
}

uint64_t Engine::Sum(const std::atomic<uint64_t> WorkerStats::* counter) const {
  uint64_t sum = 0;
  for (size_t worker = 0; worker < workers(); ++worker) {
    sum += (stats(worker).*counter).load(std::memory_order_relaxed);
  }
  return sum;
}

uint64_t Engine::Ended(EndReason reason) const {
  return SumAt(static_cast<size_t>(reason), &WorkerStats::ended);
}
uint64_t Engine::TakeOvers(size_t reason) const {
  return SumAt(reason, &WorkerStats::tls_take_over);
}
uint64_t Engine::Declined(size_t reason) const { return SumAt(reason, &WorkerStats::tls_declined); }

uint64_t Engine::access_log_dropped() const {
  uint64_t sum = 0;
  for (size_t index = 0; index < workers(); ++index) {
    const AccessLog* log = threads_->worker(index).access_log.get();
    if (log != nullptr) sum += log->dropped();
  }
  return sum;
}

void Engine::ReopenAccessLog(int fd) {
  threads_->PostAll([fd](Worker& worker) {
    if (worker.access_log) worker.access_log->Reopen(fd);
  });
}

}  // namespace lb
