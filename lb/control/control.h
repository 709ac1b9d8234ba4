// The control thread's view of the whole balancer: applies configurations, carries out orders, and
// answers what is going on. The admin pages (admin.h) and the control socket (ctl_server.h) are
// clients of this class and of nothing else.
//
// Control thread only, but for what it posts to the workers itself.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lb/balance/warmup.h"
#include "lb/config/config.h"
#include "lb/config/tls_setup.h"
#include "lb/control/pool_control.h"
#include "lb/proxy/engine.h"
#include "lb/proxy/runtime.h"
#include "net/base/hash.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace lb {

enum class ProcessState : uint8_t { kStarting, kRunning, kDraining, kStopping };
std::string_view ProcessStateName(ProcessState state);

struct ListenerView {
  std::string name;
  std::vector<std::string> binds;
  std::string mode;
  std::string pool;
  uint32_t active = 0;
  uint32_t connections_max = 0;
  uint64_t accepted = 0;
  uint64_t refused_limit = 0;   // by connections_max
  uint64_t refused_source = 0;  // by a limit per source address
};

struct ProcessView {
  ProcessState state = ProcessState::kStarting;
  std::string version;
  int pid = 0;
  double uptime_s = 0;
  size_t workers = 0;
  uint64_t connections = 0;
  uint32_t connections_max = 0;
  double accepts_per_s = 0;
  double warmup = 1;       // of the balancer itself, 0..1; 1 = warm
  double accept_rate = 0;  // while it warms up: accepts a second; 0 = no bound
  size_t nodes_up = 0;
  size_t nodes_total = 0;
  bool split = false;
  uint64_t reloads = 0;
  uint64_t reloads_failed = 0;
  std::string last_reload_error;
};

// One open connection, for `why ADDRESS` and `list --connections`.
struct ConnectionView {
  std::string client;
  std::string listener;
  std::string pool;
  std::string node;
  std::string state;
  uint64_t age_ms = 0;
  uint64_t idle_ms = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// What would happen to a new connection from an address, and why.
struct WhyPool {
  std::string pool;
  std::vector<std::string> listeners;
  std::string answer;  // in words
};
struct WhyView {
  std::string address;
  std::vector<WhyPool> pools;
  std::vector<ConnectionView> connections;  // from that address, at most kConnectionsShown
  uint64_t connections_total = 0;
};
inline constexpr size_t kConnectionsShown = 100;

// A monotonic counter for /metrics and `stats`: name as in Prometheus, with labels.
struct CounterView {
  std::string name;
  std::string help;
  bool counter = true;  // else a gauge
  struct Series {
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
  };
  std::vector<Series> series;
};

// Listening sockets and states handed from an old process to a new one; see upgrade.h.
struct Inheritance {
  struct Socket {
    std::string bind;  // as Endpoint::ToString()
    net::UniqueFd fd;
  };
  std::vector<Socket> sockets;
  std::string state;  // as Control::SaveState(true)
};

class Control {
 public:
  // `config_path` is what Reload() reads. `loop` must outlive it.
  Control(net::EventLoop& loop, std::string config_path);
  ~Control();

  // Starts the workers and everything in `config`, or says what is in the way; then nothing has
  // been started. `inherited` may be null.
  std::expected<void, std::vector<net::ConfigError>> Start(Config config, Inheritance* inherited);
  const Config& config() const { return config_; }
  // Called once, when connections are taken: each node has had its first look, or was given long
  // enough for one. Until then they wait in the listen queue. Set before Start().
  void SetOnRunning(std::function<void()> on_running) { on_running_ = std::move(on_running); }

  // Reads the file again and applies it whole or not at all. `error` texts are one a line.
  std::expected<std::string, std::vector<net::ConfigError>> Reload();

  // --- Views
  ProcessView Process() const;
  std::vector<ListenerView> Listeners() const;
  std::vector<PoolView> Pools() const;
  WhyView Why(const net::Address& source) const;
  std::vector<CounterView> Counters() const;  // of process, listeners and workers; nodes: Pools()

  // --- Orders. `node` is "n2", or "pool/n2" where several pools have an n2; `pool` may be empty.
  Done Ready(const std::string& node);
  Done Maint(const std::string& node);
  Done Drain(const std::string& node, const DrainOrder& order);
  Done Shut(const std::string& node, double rate);
  Done SetWeight(const std::string& node, std::optional<uint32_t> weight);
  Done Prewarm(double rate);  // 0: at once to the end
  // Connections left on a node that is being drained; nullopt: the node is unknown.
  std::optional<uint64_t> DrainRemaining(const std::string& node) const;

  // --- The end. Stops accepting; when no connection is left, or at the deadline, `done` is called
  // with the number of connections that had to be ended.
  void BeginDrain(net::Duration deadline, std::function<void(uint64_t)> done);
  void EndNow();  // a second signal
  ProcessState state() const { return state_; }

  // --- Handing over.
  // Duplicates of all listening sockets, with their names.
  std::vector<Inheritance::Socket> DuplicateSockets() const;
  std::string SaveState(bool warm) const;  // JSON
  void ReopenLogs();

 private:
  struct Socket {
    uint32_t id = 0;
    size_t worker = 0;
    net::UniqueFd fd;  // ours; the worker has a duplicate
    bool accepting = false;
  };
  struct ListenerControl {
    uint16_t id = 0;
    ListenerConfig config;
    std::shared_ptr<ListenerShared> shared;
    std::shared_ptr<net::SourceLimits> limits;
    std::map<std::string, std::vector<Socket>> sockets;  // by bind
    std::shared_ptr<const net::TlsServerContext> tls;
  };
  // What a configuration needs before it can be applied: everything that can fail.
  struct Prepared {
    std::map<std::string, std::vector<ResolvedNode>> nodes;     // by pool
    std::map<std::string, std::vector<net::UniqueFd>> sockets;  // by bind; those that are new
    std::map<std::string, std::shared_ptr<const net::TlsServerContext>> servers;  // by listener
    std::map<std::string, std::shared_ptr<const net::TlsClientContext>> clients;  // by pool
  };

  std::expected<Prepared, std::vector<net::ConfigError>> Prepare(const Config& config,
                                                                 Inheritance* inherited);
  void PrepareTls(const Config& config, Prepared* prepared, std::vector<net::ConfigError>* errors);
  void Commit(Config config, Prepared prepared);
  void CommitPools(const Config& config, Prepared& prepared);
  void CommitListeners(const Config& config, Prepared& prepared);
  std::shared_ptr<const ListenerSettings> SettingsFor(const ListenerConfig& listener,
                                                      const ListenerControl& control) const;
  void AddTlsCounters(std::vector<CounterView>* views) const;
  void LookAtTls();
  std::shared_ptr<net::SourceLimits> LimitsFor(const ListenerConfig& config,
                                               std::shared_ptr<net::SourceLimits> present);
  net::ListenOptions ListenOptionsFor(const Config& config, const ListenerConfig& listener) const;
  struct Found {
    PoolControl* pool = nullptr;
    std::string node;
  };
  std::expected<Found, Refusal> FindNode(const std::string& node) const;
  void RestoreState(const std::string& json, bool warm);
  void SaveStateFile();
  void LookAtStart(net::Time give_up);
  void StartAccepting();
  void Measure();
  void LookAtDrain();
  Done AfterOrder(Done done);

  net::EventLoop& loop_;
  const std::string config_path_;
  Config config_;
  ProcessState state_ = ProcessState::kStarting;
  net::Time started_;
  net::HashKey limits_key_;
  uint64_t seed_ = 0;
  net::UniqueFd access_log_;
  std::unique_ptr<AcceptBudget> budget_;
  std::unique_ptr<Engine> engine_;
  std::map<std::string, std::unique_ptr<PoolControl>> pools_;
  RetiredNodes retired_;                      // of pools that are gone
  std::map<std::string, uint16_t> pool_ids_;  // also of pools that are gone: ids are never reused
  std::map<std::string, std::unique_ptr<ListenerControl>> listeners_;
  std::map<std::string, uint16_t> listener_ids_;
  uint32_t next_socket_id_ = 1;
  std::function<void()> on_running_;
  net::EventLoop::TimerId start_{};
  net::EventLoop::TimerId measure_{};
  net::EventLoop::TimerId look_at_tls_{};
  TicketKeys tickets_;
  std::map<std::string, net::Time> expiry_warned_;  // by file
  bool ktls_reported_ = false;
  uint64_t accepted_seen_ = 0;
  double accepts_per_s_ = 0;
  uint64_t reloads_ = 0;
  uint64_t reloads_failed_ = 0;
  std::string last_reload_error_;
  std::function<void(uint64_t)> drained_;
  net::Time drain_deadline_{};
};

}  // namespace lb
