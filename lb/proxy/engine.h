// The worker threads: starts them, hands them what changes, asks them, and ends them.
//
// Used by the control thread only. Workers never wait for the control thread, so it may wait for
// them: a question takes as long as the turn of a loop.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lb/balance/warmup.h"
#include "lb/proxy/access_log.h"
#include "lb/proxy/connection_name.h"
#include "lb/proxy/proxy_worker.h"
#include "net/conn/worker_threads.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace lb {

class Engine {
 public:
  struct Options {
    uint32_t workers = 1;
    uint32_t connections_max = 100'000;  // of all workers
    uint32_t buffer_bytes = 4096;
    uint32_t buffers_max = 1024;  // of each worker: a ring's are its own
    uint32_t large_buffers = 32;  // of each worker
    int access_log_fd = -1;       // -1: no access log; stays the caller's
    AccessLog::Options access_log_options;
    uint64_t seed = 1;
    std::vector<int> cpus = {};  // of each worker; none: where the system puts them
  };
  using PassiveErrors = std::function<void(Node&, uint32_t errors, std::string how)>;

  // `budget` may be null, and must outlive the engine; `passive_errors` runs on workers' threads.
  static std::expected<std::unique_ptr<Engine>, std::string> Start(const Options& options,
                                                                   AcceptBudget* budget,
                                                                   PassiveErrors passive_errors);
  ~Engine() { Stop(); }
  // Ends all connections that are left, and the threads. What the connections use (nodes, settings)
  // must live until then. What is posted from now on is dropped.
  void Stop();

  size_t workers() const { return threads_->size(); }
  // On which a worker is pinned; -1: on none.
  int cpu(size_t index) const { return cpus_.empty() ? -1 : cpus_[index]; }
  // As asked for, or what the limit of open files allows.
  uint32_t connections_max() const { return connections_max_; }
  // Queues `task` on worker `index`, or on each.
  void Post(size_t index, std::function<void(ProxyWorker&)> task);
  void PostAll(const std::function<void(ProxyWorker&)>& task);
  // Runs `task` on each worker, one after the other, and waits.
  void AskAll(const std::function<void(ProxyWorker&)>& task);
  // Until the workers have done what was posted before.
  void Settle();

  // --- Connections, for operators.
  struct Connection {
    ConnectionName name;
    net::Address client;
    uint16_t listener = 0;
    uint16_t pool = 0;
    std::string node;  // "" before one was found
    Pair::State state{};
    uint64_t age_ms = 0;
    uint64_t idle_ms = 0;
    uint64_t bytes_in = 0;   // from the client
    uint64_t bytes_out = 0;  // to the client
  };
  // Up to `most` of those that `wanted` takes, and how many there are.
  struct Connections {
    std::vector<Connection> shown;
    uint64_t total = 0;
  };
  Connections List(const std::function<bool(const Pair&)>& wanted, size_t most);
  // False: no such connection (any more).
  bool ShutConnection(const ConnectionName& name, EndReason reason);
  // Ends up to `count` connections to that node (null: of all there are), of all workers those that
  // are idle for longest; returns how many.
  uint32_t ShutNode(const Node* node, uint32_t count, EndReason reason);

  const WorkerStats& stats(size_t index) const { return threads_->worker(index).proxy->stats(); }
  uint64_t Sum(const std::atomic<uint64_t> WorkerStats::* counter) const;
  uint64_t Ended(EndReason reason) const;
  uint64_t TakeOvers(size_t reason) const;  // a net::TlsTakeOver
  uint64_t Declined(size_t reason) const;   // a net::TlsDecline
  enum class ErrorSide : uint8_t { kConnect, kClient, kNode };
  uint64_t SocketErrors(ErrorSide side, size_t error) const;  // by errno
  // Receive buffers that the process may have: what one worker has too few of, no other lends it.
  uint64_t buffers_max() const { return buffers_max_; }
  uint64_t open() const { return Sum(&WorkerStats::open); }
  uint64_t access_log_dropped() const;
  void ReopenAccessLog(int fd);

 private:
  uint64_t SumAt(size_t index, auto from) const;  // of an array of counters

  // What lives on a thread.
  struct Worker {
    std::unique_ptr<AccessLog> access_log;  // null: none is written
    std::unique_ptr<ProxyWorker> proxy;
  };
  using Threads = net::WorkerThreads<Worker>;
  Engine() = default;
  void FitToLimits(const Options& options);
  std::expected<std::unique_ptr<Worker>, std::string> MakeWorker(net::EventLoop& loop, size_t index,
                                                                 const Options& options,
                                                                 AcceptBudget* budget,
                                                                 const PassiveErrors& errors);
  static bool EndWorker(Worker& worker);

  net::SystemClock clock_;
  ProcessShared shared_;
  uint32_t connections_max_ = 0;
  uint32_t pairs_max_ = 0;  // of each worker
  uint32_t slot_reserve_ = 0;
  uint64_t buffers_max_ = 0;
  std::vector<int> cpus_;
  std::unique_ptr<Threads> threads_;
};

}  // namespace lb
