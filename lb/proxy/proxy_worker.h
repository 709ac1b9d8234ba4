// One worker: a thread's share of all connections. It accepts on its listening sockets, owns its
// Pairs, their buffers and timers, and chooses nodes from snapshots that the control thread hands
// in.
//
// Everything here runs on the worker's thread; other threads reach it with EventLoop::Post. What is
// shared is counted in relaxed atomics: NodeState, ListenerShared, and this worker's Stats, which
// anyone may read.
//
// End: StopAccepting(), then wait for size() == 0 where there is time; Close(); destroy.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/balance/warmup.h"
#include "lb/proxy/access_log.h"
#include "lb/proxy/bulk.h"
#include "lb/proxy/header.h"
#include "lb/proxy/pair.h"
#include "lb/proxy/runtime.h"
#include "lb/proxy/tls_pair.h"
#include "net/base/slab.h"
#include "net/conn/output_pool.h"
#include "net/io/buffer_pool.h"
#include "net/io/errors.h"
#include "net/io/event_loop.h"
#include "net/io/timer_wheel.h"
#include "net/tls/tls_engine.h"

namespace lb {

class Listener;

// Written by the worker alone, read by anyone.
struct WorkerStats {
  using Counter = std::atomic<uint64_t>;
  Counter accepted{0};
  Counter accept_errors{0};  // EMFILE and its like
  Counter accept_pauses{0};  // no pair or slot was free
  Counter open{0};           // pairs now
  Counter bytes_to_node{0};
  Counter bytes_to_client{0};
  Counter connect_errors{0};  // by a node's fault
  Counter local_errors{0};    // a port, descriptor or memory of ours was missing
  Counter retries{0};
  Counter redispatches{0};
  Counter queued{0};
  Counter buffers{0};         // that it has by now
  Counter buffers_in_use{0};  // of them
  Counter buffer_starvations{0};
  Counter large_buffers_entered{0};  // by directions of a connection
  Counter large_buffers_missed{0};
  Counter pauses{0};        // a slow reader stopped its sender
  Counter bulk_entered{0};  // directions that turned to splice
  Counter bulk_refused{0};  // no descriptor or pipe was to be had
  Counter bulk_bytes{0};
  Counter proxy_headers_bad{0};
  // Of TLS, either side; copies of what the worker's TlsWorker counts.
  Counter tls_full{0};
  Counter tls_resumed{0};
  Counter tls_failed{0};
  Counter tls_records_failed{0};
  Counter tls_queued{0};  // handshakes that had to wait for others
  std::array<Counter, net::kTlsTakeOverValues> tls_take_over{};
  std::array<Counter, net::kTlsDeclineValues> tls_declined{};
  std::array<Counter, kEndReasons> ended{};
  // By errno: of connects, of clients' sockets, of nodes' sockets.
  std::array<Counter, net::kErrnos> connect_errnos{};
  std::array<Counter, net::kErrnos> client_errnos{};
  std::array<Counter, net::kErrnos> node_errnos{};

  static void Add(Counter& counter, uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
};

class ProxyWorker {
 public:
  struct Options {
    uint32_t pairs_max = 1024;  // what this worker has room for
    uint32_t buffer_bytes = 4096;
    uint32_t buffers_initial = 256;
    uint32_t buffers_max = 16'384;
    uint32_t large_buffers = 32;  // a power of two; 0 for none
    uint64_t seed = 1;
    uint64_t wall_start_ms = 0;       // the wall clock when the worker is made
    uint64_t (*wall_ms)() = nullptr;  // the wall clock; null: wall_start_ms and what has passed
  };
  struct Hooks {
    // A node failed for the pool's passive_errors-th time in a row, and how it did the last time.
    // Worker's thread.
    std::function<void(Node&, uint32_t errors, std::string how)> passive_errors;
    AcceptBudget* budget = nullptr;    // the balancer's own warm-up; may be null
    AccessLog* access_log = nullptr;   // this worker's; may be null
    ProcessShared* process = nullptr;  // null: this worker is all there is
  };

  static constexpr size_t kUniqueIdMax = 40;
  // A tick of the timer wheel.
  static constexpr net::Duration kTick = std::chrono::milliseconds(50);
  // Handshake work in one turn of the loop: what is left comes in the next, after the relay.
  static constexpr net::Duration kHandshakeWork = std::chrono::microseconds(500);

  // `loop` and what the hooks name must outlive the worker.
  static std::expected<std::unique_ptr<ProxyWorker>, std::string> Create(net::EventLoop& loop,
                                                                         const Options& options,
                                                                         Hooks hooks);
  ~ProxyWorker();
  ProxyWorker(const ProxyWorker&) = delete;
  ProxyWorker& operator=(const ProxyWorker&) = delete;

  // --- Configuration, handed in by the control thread.
  void SetPool(uint16_t id, std::shared_ptr<const PoolSettings> settings,
               std::shared_ptr<const Balancer> balancer);
  void SetBalancer(uint16_t id, std::shared_ptr<const Balancer> balancer);
  // Sets or changes what holds for a listener; its connections go by it from then on.
  void SetListener(uint16_t id, std::shared_ptr<const ListenerSettings> settings);
  // Starts accepting on a listening socket; several may serve one listener. `socket_id` names it
  // for RemoveSocket.
  void AddSocket(uint16_t id, uint32_t socket_id, net::UniqueFd socket);
  void RemoveSocket(uint32_t socket_id);
  // What the kernel has accepted by then is still served.
  void StopAccepting();

  // --- Operations.
  void EndAll(EndReason reason);
  // The end: nothing is served from here on, and nothing born. Turns the loop until all operations
  // have come back. The error says what has not within `limit`; its memory must stay then.
  std::expected<void, std::string> Close(EndReason reason, net::Duration limit);
  // A connection's name among those of this worker, for ShutConnection(): its place and when it
  // began, so that another in the same place is not meant.
  static uint32_t IndexOf(const Pair& pair);
  bool ShutConnection(uint32_t index, uint64_t started_ms, EndReason reason);
  // For how long each connection to that node (null: to any, or none yet) has been idle, the
  // longest first; up to `count`.
  std::vector<uint64_t> IdleTimes(const Node* node, uint32_t count, EndReason reason);
  // Ends up to `count` connections to that node (null: to any, or none yet), those idle for longest
  // first; returns how many.
  uint32_t ShutNode(const Node* node, uint32_t count, EndReason reason);
  template <typename F>
  void ForEachPair(F&& f) {
    pairs_.ForEach([&](uint32_t, Pair& pair) { f(pair); });
  }
  uint32_t size() const { return pairs_.size(); }
  const WorkerStats& stats() const { return stats_; }
  net::BufferPool& buffers() { return *buffers_; }
  net::Ring& ring() { return loop_.ring(); }
  net::EventLoop& loop() { return loop_; }
  // Of the next connection.
  uint64_t Birth() {
    constexpr uint64_t kCount = (uint64_t{1} << Pair::kBirthBits) - 1;
    return WallMs() << Pair::kBirthBits | (++births_ & kCount);
  }
  // What the access log and the PROXY header call a connection: unique over workers, restarts and
  // machines for all practical purposes. Tells nothing of the seed.
  std::string_view UniqueId(const Pair& pair, std::span<char, kUniqueIdMax> out) const;
  // Goes on steadily from the wall clock at the start, whatever is done to that: for ages and
  // differences. What people read asks LoggedMs().
  uint64_t WallMs() const {
    return options_.wall_start_ms +
           static_cast<uint64_t>((loop_.now() - epoch_) / std::chrono::milliseconds(1));
  }
  // Since 1970, as the machine's clock has it now.
  uint64_t LoggedMs() const { return options_.wall_ms != nullptr ? options_.wall_ms() : WallMs(); }
  // Since the worker was made; wraps after 49 days. For what is over long before: how long a
  // connection has been at rest is Pair::idle_ms().
  uint32_t NowMs() const {
    return static_cast<uint32_t>((loop_.now() - epoch_) / std::chrono::milliseconds(1));
  }
  // The same in steps of kSlowMs; wraps after two years.
  static constexpr uint32_t kSlowMs = 16;
  uint32_t NowSlow() const {
    return static_cast<uint32_t>((loop_.now() - epoch_) / std::chrono::milliseconds(kSlowMs));
  }

 private:
  friend class Pair;
  friend class Listener;

  // A Pair in a line. When it has left, or its place was taken by another, the entry is stale.
  struct Waiting {
    uint32_t index;
    uint64_t started_ms;
  };

  struct Pool {
    std::shared_ptr<const PoolSettings> settings;
    std::shared_ptr<const Balancer> balancer;
    PickLocal local{0};
    std::deque<Waiting> queue;  // entries of pairs that left meanwhile are passed over
    uint32_t queued = 0;        // of this worker; settings->shared counts those of all
    uint32_t next_source = 0;
  };

  ProxyWorker(net::EventLoop& loop, const Options& options, Hooks hooks);

  // From a Listener: a connection, whose peer is known where `peer` is given. False: not even the
  // reserve has a Pair; the listener closes the socket.
  // With `place` it is counted in the listener already.
  bool OnAccepted(Listener& listener, net::Slot slot, const std::optional<net::Address>& peer,
                  bool place);
  // From a Pair.
  void CountBadHeader(const Pair& pair);
  void Finished(Pair& pair);  // before it is freed: log, count, wake who waits
  void LogEnd(const Pair& pair);
  // For its line in the access log. `version` is 0 where TLS passes through.
  void NoteTls(const Pair& pair, int version, std::string_view name);
  void Free(Pair& pair);
  bool Full() const;
  // One of the process's places (connections_max), which all workers share: what takes it is what
  // counts, or two of them would take the last one. False: there is none. `always`: beyond the
  // limit, where the connection would else be lost. OnAccepted() wants one; who ends gives it back.
  bool TakePlace(bool always);
  void GivePlace();
  static bool IsMeant(const Pair& pair, const Node* node, EndReason reason);
  // Settings that have been replaced hold for connections that are there, too.
  void OnPoolSettings(uint16_t id, const PoolSettings& before);
  void TimeSides(const PoolSettings& settings);
  void OnSourceLimits(uint16_t listener, const ListenerSettings* before);
  // Of a node that could not be reached or spoken to; `error` is 0 where no call failed. What is
  // our own lack is not held against the node.
  void CountConnectError(Node& node, int error, std::string_view how);
  // It failed so many times in a row, and `how` the last time: the control thread hears of it.
  void CountNodeFailure(Node& node, uint32_t in_a_row, std::string_view how);
  void CountSideError(unsigned side, int error);
  // A connection ends for want of something of ours.
  void CountLack(int error);
  bool Enqueue(Pair& pair);
  void LeftQueue(Pair& pair) {
    --PoolOf(pair).queued;
    SettingsOf(pair).shared->queued.fetch_sub(1, std::memory_order_relaxed);
  }
  void Starved(Pair& pair);
  bool IsStarved(const Waiting& waiting);
  // Handshakes: a Pair with input for one stands in line for work at the end of a turn. When so
  // many are in progress that half the places are taken, it first waits for a place.
  bool HandshakesCrowded(const ListenerSettings& listener) const;
  bool TakeHandshakePlace(const ListenerSettings& listener);
  void HandshakeDue(Pair& pair);
  void AwaitHandshake(Pair& pair, bool resumed);
  Pair* HandshakeOf(const Waiting& waiting);
  // Half-open handshakes: the client has the word. Those of OpenSSL hold places, 50 KB each: in a
  // crowd that waits for one, whoever has been silent for longest, and longer than a slow client
  // takes, gives its place up. Of one source (a /64 of IPv6) the process has no more than kHalfOpen
  // that are silent for so long, and never more than kHalfOpenMax: for a new one, the longest
  // silent of its worker ends.
  static constexpr uint32_t kSilenceMs = 2000;
  static constexpr uint32_t kHalfOpen = 512;
  static constexpr uint32_t kHalfOpenMax = 4096;
  void ClientSilent(Pair& pair, uint64_t source, uint32_t since_ms, bool first);
  void ClientNotSilent(uint64_t source);
  bool EndSilent(uint16_t listener);
  bool ServeOneHandshake();
  void ServeHandshakes();
  void PublishTls();
  std::string StreamId();
  void ScheduleAt(Pair& pair, uint32_t from_now_ms);
  void ScheduleBy(Pair& pair, uint32_t from_now_ms);  // unless it comes up sooner
  Pool& PoolOf(const Pair& pair) { return *pools_[pair.pool()]; }
  const PoolSettings& SettingsOf(const Pair& pair) { return *PoolOf(pair).settings; }
  const std::shared_ptr<const ListenerSettings>& ListenerOf(const Pair& pair) {
    return listener_settings_[pair.listener()];
  }
  // Room for a socket address that the kernel fills in; returned by index.
  uint32_t TakeName();
  sockaddr_in6& NameAt(uint32_t index) { return names_[index]; }
  void GiveName(uint32_t index) { free_names_.push_back(index); }

  uint64_t Tick() const { return static_cast<uint64_t>((loop_.now() - epoch_) / kTick); }
  void ArmTick();
  void OnTick();
  void OnTurnEnd();
  void ServeQueue(Pool& pool);

  net::EventLoop& loop_;
  const Options options_;
  Hooks hooks_;
  std::unique_ptr<ProcessShared> own_process_;  // where the hooks name none
  const net::Time epoch_;
  WorkerStats stats_;
  std::unique_ptr<net::BufferPool> buffers_;
  net::Slab<Pair> pairs_;
  net::Slab<Bulk, 64> bulks_;
  net::Slab<Prelude, 64> preludes_;
  std::unique_ptr<net::TlsWorker> tls_;
  net::Slab<Tls> tls_pairs_;
  net::Slab<Fed, 64> feds_;
  net::OutputPool outputs_;
  std::deque<Waiting> handshakes_due_;
  std::deque<Waiting> handshakes_waiting_[2];  // full ones, resumed ones
  struct Silent {
    Waiting pair;
    uint64_t source;  // 0: not known
    uint32_t since_ms;
  };
  Pair* SilentOf(const Silent& silent);
  std::deque<Silent> handshakes_silent_;  // the longest first
  bool tls_used_ = false;                 // in this turn
  net::TimerWheel<> wheel_{0};
  bool tick_armed_ = false;
  bool closed_ = false;
  std::vector<std::unique_ptr<Pool>> pools_;                                // by id
  std::vector<std::shared_ptr<const ListenerSettings>> listener_settings_;  // by id
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::deque<Waiting> starved_;  // those that found no buffer, in order
  std::deque<sockaddr_in6> names_;
  std::vector<uint32_t> free_names_;
  // Replaced settings that operations of this turn, or of the one before, may still read.
  std::vector<std::shared_ptr<const PoolSettings>> retiring_;
  std::vector<std::shared_ptr<const PoolSettings>> retired_;
  bool queues_waiting_ = false;  // a connection ended while some waited
  bool places_waiting_ = false;  // likewise, for those in a listen queue
  uint64_t unique_id_ = 0;
  uint64_t births_ = 0;
  // When the side of each connection that did not speak last had spoken, by index; kept from the
  // moment on that a pool has a time of silence for one side. An idle connection needs no more room
  // without.
  uint32_t& QuietAt(const Pair& pair);
  bool sides_timed_ = false;
  std::vector<uint32_t> quiet_at_;
  // What the access log says of TLS, by index; nothing without a log.
  struct TlsNote {
    int version = 0;
    std::string name;
  };
  std::unordered_map<uint32_t, TlsNote> tls_notes_;
  const uint64_t public_id_;  // names this worker's run to nodes; tells nothing of the seed
};

}  // namespace lb
