// The control thread's view of the whole balancer: applies configurations, carries out orders, and
// answers what is going on. The admin pages (admin.h) and the control socket (ctl_server.h) are
// clients of this class and of nothing else.
//
// Control thread only, but for what it posts to the workers itself.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lb/balance/warmup.h"
#include "lb/config/config.h"
#include "lb/config/tls_setup.h"
#include "lb/control/listener_set.h"
#include "lb/control/node_drain.h"
#include "lb/control/node_registry.h"
#include "lb/control/orders.h"
#include "lb/control/pool_control.h"
#include "lb/control/rollout_board.h"
#include "lb/control/views.h"
#include "lb/proxy/engine.h"
#include "lb/proxy/runtime.h"
#include "net/dns/name_lookup.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"
#include "net/service/hand_over.h"

namespace lb {

class Control {
 public:
  // `config_path` is what Reload() reads. `loop` must outlive it.
  // `resolver` looks host names up; null: as the system does.
  Control(net::EventLoop& loop, std::string config_path,
          net::NameLookup::Resolver resolver = nullptr);
  ~Control();

  // Starts the workers and everything in `config`, or says what is in the way; then nothing has
  // been started. `inherited` may be null.
  std::expected<void, std::vector<net::ConfigError>> Start(Config config,
                                                           net::Inheritance* inherited);
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
  std::vector<AbsentNodeView> Absent() const;
  std::vector<RolloutView> Rollouts() const { return rollouts_.Views(loop_.now()); }
  WhyView Why(const net::Address& source) const;
  std::vector<CounterView> Counters() const;  // of process, listeners and workers; nodes: Pools()

  // `after`: ConnectionPage::next of the page before, or "". `node`: "" for all.
  ConnectionPage Connections(const std::string& after, const std::string& node) const;

  // --- Orders. `node` is "n2", or "pool/n2" where several pools have an n2; `pool` may be empty.
  Done Ready(const std::string& node);
  Done Maint(const std::string& node);
  Done Drain(const std::string& node, const DrainOrder& order);
  // Whether an order of that kind asks the node itself to drain, too: with a rate or a deadline,
  // where the pool's status section says how.
  bool AsksNode(const std::string& node, const DrainOrder& order) const;
  // Asks it, after a Drain() with node_is_asked, and says what it answered; its answer decides what
  // is ended from here, unless another order came meanwhile.
  struct NodeAnswer {
    bool asked = true;       // false: nobody could be
    bool drains = false;     // it says so
    bool revocable = false;  // and that it takes it back when it is asked to
    std::string words;
  };
  using NodeAnswered = std::move_only_function<void(NodeAnswer)>;
  void AskNodeToDrain(const std::string& node, const DrainOrder& order, NodeAnswered answered);
  // Whether Ready() leaves it to the node to take clients again: it was asked to drain, does, and
  // said that it takes that back.
  bool AsksNodeBack(const std::string& node) const;
  // It was, and said that it does not: Ready() alone does not bring it back.
  bool DrainsForGood(const std::string& node) const;
  // Asks it, after a Ready(). `drains`: it does not, and nothing but its restart brings it back.
  void AskNodeBack(const std::string& node, NodeAnswered answered);
  // Called when connections of a drain whose node was asked are ended from here after all, from
  // that moment on: the old process after an upgrade has some of them, too.
  void SetOnPace(std::function<void(const std::string& node, const DrainOrder& order)> on_pace) {
    on_pace_ = std::move(on_pace);
  }
  Done Shut(const std::string& node, double rate);
  Done ShutConnection(const std::string& id);
  Done SetWeight(const std::string& node, std::optional<uint32_t> weight);
  Done Prewarm(double rate);  // 0: at once to the end
  // Of rolling restarts, which others lead (rollout_board.h).
  std::expected<RolloutWanted, Refusal> ReportRollout(const RolloutReport& report);
  Done OrderRollout(const std::string& pool, RolloutOrderKind kind);
  // How far a node's drain is; nullopt: the node is unknown.
  std::optional<DrainProgress> DrainOf(const std::string& node) const;

  // --- The end. Stops accepting. Connections are left be for half of the time; from then on they
  // are ended, idle ones first, evenly until the deadline: who is thrown out all at once comes back
  // all at once. When none is left, or at the deadline, `done` is called with the number of
  // connections that had to be ended.
  void BeginDrain(net::Duration deadline, std::function<void(uint64_t)> done);
  void EndNow();  // a second signal
  ProcessState state() const { return state_; }

  // --- Handing over.
  // Duplicates of all listening sockets, with their names.
  std::vector<net::Inheritance::Socket> DuplicateSockets() const { return listeners_.Duplicate(); }
  std::string SaveState(bool warm) const;  // JSON
  // A new process has it all. The file of orders is its own from here on: it knows those that are
  // not forwarded.
  void HandedOver() { keeps_state_file_ = false; }
  // After an upgrade: what the old process carries, by node; it tells the new one (JSON).
  std::string CountsElsewhere() const;
  void SetElsewhere(const std::string& counts);
  void ReopenLogs();

 private:
  // What a configuration needs before it can be applied: everything that can fail.
  struct Prepared {
    std::map<std::string, std::vector<ResolvedNode>> nodes;  // by pool
    ListenerSet::Prepared listeners;
    std::map<std::string, std::shared_ptr<const net::TlsClientContext>> clients;  // by pool
  };

  std::expected<Prepared, std::vector<net::ConfigError>> Prepare(const Config& config,
                                                                 net::Inheritance* inherited);
  void PrepareTls(const Config& config, Prepared* prepared, std::vector<net::ConfigError>* errors);
  void Commit(Config config, Prepared prepared);
  void CommitPools(const Config& config, Prepared& prepared);
  void LookAtTls();
  struct Found {
    PoolControl* pool = nullptr;   // null: of a node that is in none now
    NodeRecord* record = nullptr;  // never null
    std::string node;
  };
  std::expected<Found, Refusal> FindNode(const std::string& node) const;
  void RestoreState(const std::string& json, bool warm);
  void SaveStateFile();
  void LookAtStart(net::Time names_until, net::Time looks_until);
  void Step();
  void Measure();
  void LookAtDrain();
  Done AfterOrder(Done done);
  PoolControl::NodeAsked AskedOf(const std::string& node) const;
  void Ask(const PoolControl::NodeAsked& asked, std::string method, std::string target,
           NodeDrain::Done answered);
  NodeAnswer OnDrainAnswer(const NodeKey& key, const DrainOrder& order, uint64_t pace,
                           const std::expected<NodeDrainAnswer, std::string>& answer, bool maybe);
  void PaceAfterNode(const NodeKey& key, const DrainOrder& order, uint64_t pace, bool node_drains);

  net::EventLoop& loop_;
  const std::string config_path_;
  Config config_;
  ProcessState state_ = ProcessState::kStarting;
  net::Time started_;
  uint64_t seed_ = 0;
  net::UniqueFd access_log_;
  std::unique_ptr<AcceptBudget> budget_;
  NodeRegistry registry_;
  RolloutBoard rollouts_;
  std::list<std::unique_ptr<NodeDrain>> asked_;  // to drain or back; not answered yet
  std::function<void(const std::string& node, const DrainOrder& order)> on_pace_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for timers that outlive it
  net::NameLookup names_;
  std::unique_ptr<Engine> engine_;
  std::map<std::string, std::unique_ptr<PoolControl>> pools_;
  PoolIds pool_ids_;  // also of pools that are gone: ids are never reused
  std::map<std::string, std::shared_ptr<PoolShared>> pool_counts_;  // likewise
  ListenerSet listeners_;
  std::function<void()> on_running_;
  net::EventLoop::TimerId start_{};
  net::EventLoop::TimerId measure_{};
  net::EventLoop::TimerId step_{};
  net::EventLoop::TimerId look_at_tls_{};
  TicketKeys tickets_;
  std::map<std::string, net::Time> expiry_warned_;  // by file
  bool ktls_reported_ = false;
  uint64_t accepted_seen_ = 0;
  double accepts_per_s_ = 0;
  uint64_t reloads_ = 0;
  uint64_t reloads_failed_ = 0;
  std::string last_reload_error_;
  int64_t last_reload_at_s_ = 0;
  bool keeps_state_file_ = true;
  std::function<void(uint64_t)> drained_;
  net::Time drain_deadline_{};
  std::optional<ShutPlan> drain_plan_;
  uint64_t drain_ended_ = 0;
};

}  // namespace lb
