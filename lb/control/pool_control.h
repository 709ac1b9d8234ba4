// A pool as the control thread sees it: its nodes, their health and warm-up, and what operators
// asked of them. Whenever something changes that bears on the choice, a new Balancer goes to the
// workers.
//
// Control thread only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/balance/drain_plan.h"
#include "lb/balance/warmup.h"
#include "lb/config/config.h"
#include "lb/health/discovery.h"
#include "lb/health/health_check.h"
#include "lb/proxy/engine.h"
#include "lb/proxy/pair.h"
#include "lb/proxy/runtime.h"
#include "net/io/event_loop.h"
#include "net/probe/check_runner.h"

namespace lb {

// A node of the file or of DNS, with the address that its name had.
struct ResolvedNode {
  std::string name;
  net::SocketName address;
  std::string address_text;
  uint32_t weight = 100;
  bool backup = false;
  uint32_t connections_max = 0;
};

// What people and metrics see of a node.
struct NodeView {
  std::string name;
  std::string address;
  std::string state;  // "up", "warming", "drain", ...; one of kNodeStates
  std::string why;
  std::string admin;  // "ready", "drain", "maint"
  uint32_t weight = 0;
  bool weight_overridden = false;
  double effective_weight = 0;
  double share_expected = 0;
  uint32_t active = 0;
  uint32_t connections_max = 0;
  double arrivals_per_s = 0;
  double warmup = 1;       // 0..1: how much of it has passed
  double warmup_rate = 0;  // connections a second that it admits now; 0 = no bound
  uint64_t arrivals = 0;
  uint64_t connects = 0;
  uint64_t connect_failures = 0;
  uint64_t forced = 0;
  uint64_t passed_warmup = 0;  // passed over for its rate or share
  uint64_t passed_full = 0;
  std::string explanation;  // of the balancer: what holds for its share
  struct Check {
    std::string type;
    std::string status;
    std::string why;
  };
  std::vector<Check> checks;
  std::string cluster_state;  // of the status API; "" when not asked
  std::string cluster_error;
  uint64_t cluster_sessions = 0;
  uint64_t drain_remaining = 0;  // while a paced drain or shut is under way
  double drain_rate = 0;
  bool drain_active = false;
};
inline constexpr const char* kNodeStates[] = {"up",    "warming",     "checking", "down",
                                              "split", "not_running", "drain",    "maint"};

struct PoolView {
  std::string name;
  std::string balance;
  std::string summary;  // of the netsplit decision, "" when all agree
  bool split = false;
  bool panic = false;
  bool on_backups = false;
  size_t candidates = 0;
  size_t nodes_up = 0;
  double arrivals_per_s = 0;
  std::vector<NodeView> nodes;
};

// An operator's request that could not be met: why, and what to do instead.
struct Refusal {
  std::string why;
  bool unknown = false;  // the name does not exist
};
using Done = std::expected<std::string, Refusal>;  // what was done, in words

struct DrainOrder {
  double rate = 0;  // connections to end a second; 0 = leave them be until the deadline
  net::Duration deadline{};
  bool force = false;
};

// Nodes that left their pool, with the time when they did. Connections that stay name them without
// owning them.
class RetiredNodes {
 public:
  void Add(net::Time now, std::shared_ptr<Node> node) { nodes_.emplace_back(now, std::move(node)); }
  void TakeAll(RetiredNodes& from) { nodes_.splice(nodes_.end(), from.nodes_); }
  // Lets go of those that no connection and no snapshot names any more.
  void Sweep(net::Time now);

 private:
  std::list<std::pair<net::Time, std::shared_ptr<Node>>> nodes_;
};

class PoolControl {
 public:
  // `engine` may be null until Publish() is first called. `id` is the workers' name for the pool.
  PoolControl(net::EventLoop& loop, Engine& engine, uint16_t id, PoolConfig config,
              const std::vector<ResolvedNode>& nodes, uint64_t seed,
              const std::vector<net::SocketName>& sources,
              std::shared_ptr<const net::TlsClientContext> tls = nullptr);
  ~PoolControl();

  const std::string& name() const { return config_.name; }
  uint16_t id() const { return id_; }
  const PoolConfig& config() const { return config_; }

  // A new configuration: nodes that stay keep their health, counts and clocks.
  void Reconfigure(PoolConfig config, const std::vector<ResolvedNode>& nodes,
                   const std::vector<net::SocketName>& sources,
                   std::shared_ptr<const net::TlsClientContext> tls = nullptr);
  // Before the end of a pool whose connections stay: all its nodes, for who outlives it.
  void HandOver(RetiredNodes& to);
  // Nodes that DNS names now, beside those of the file.
  void Discovered(const std::vector<ResolvedNode>& nodes);

  // Every node is known to be up, down or out.
  bool Settled() const;
  PoolView View() const;
  bool HasNode(std::string_view node) const { return Find(node) != nullptr; }
  std::vector<std::string> NodeNames() const;

  // Where a new connection from that address would go, in words.
  std::string WhyFrom(const net::Address& source) const;
  uint64_t Active(std::string_view node) const;

  Done Ready(std::string_view node);
  Done Maint(std::string_view node);
  Done Drain(std::string_view node, const DrainOrder& order);
  Done Shut(std::string_view node, double rate);
  Done SetWeight(std::string_view node, std::optional<uint32_t> weight);

  // A worker saw a node fail several times in a row.
  void OnPassiveErrors(const Node* node, uint32_t errors);

  // What outlives this process: overrides and warm-up clocks.
  struct SavedNode {
    std::string name;
    AdminState admin = AdminState::kReady;
    std::optional<uint32_t> weight;
    NodeWarmup::Saved warmup;
    bool was_up = false;
  };
  std::vector<SavedNode> Save() const;
  // `warm`: also the clocks and health, of a process that is taken over right now.
  void Restore(const std::vector<SavedNode>& saved, bool warm);

 private:
  struct CheckRun {
    net::CheckSpec spec;
    net::SocketName address;
    net::Duration timeout{};
    std::unique_ptr<net::Probe> probe;
    net::EventLoop::TimerId timer{};
    bool scheduled = false;
  };
  // Connections being ended at a pace.
  struct Pace {
    EndReason reason = EndReason::kDrained;
    double rate = 0;
    ShutPlan plan;
    bool drain = false;  // ends when the node is ready again
  };
  struct Entry {
    ResolvedNode config;
    bool discovered = false;
    std::shared_ptr<Node> node;
    std::unique_ptr<NodeHealth> health;
    NodeWarmup warmup;
    WarmupStep step;
    std::optional<uint32_t> weight;  // an operator's
    std::vector<CheckRun> checks;
    std::unique_ptr<net::HttpFetch> fetch;
    net::EventLoop::TimerId fetch_timer{};
    bool fetch_scheduled = false;
    std::string cluster_error;
    std::optional<Pace> pace;
    uint64_t arrivals_seen = 0;
    double arrivals_per_s = 0;
  };
  using EntryPtr = std::unique_ptr<Entry>;

  Entry* Find(std::string_view node) const;
  Entry* FindOrRefuse(std::string_view node, Done& refusal) const;
  void SetNodes(const std::vector<ResolvedNode>& nodes, bool discovered);
  EntryPtr MakeEntry(const ResolvedNode& config, bool discovered);
  void SetUpHealth(Entry& entry, bool was_up, AdminState admin);
  void Retire(Entry& entry);
  void ScheduleCheck(Entry& entry, size_t index, net::Duration in);
  void RunCheck(Entry& entry, size_t index);
  void ScheduleFetch(Entry& entry, net::Duration in);
  void OnCluster(Entry& entry, std::expected<std::string, std::string> body);
  void JudgeSplit();
  void Log(const Entry& entry, const NodeHealth::Changed& changed);
  bool ObserveWarmup(Entry& entry);
  void AfterHealth(Entry& entry, NodeHealth::Changed changed);
  void StartDiscovery();
  void Tick();
  void StepWarmups();
  void StepPaces();
  void MeasureArrivals();
  void Publish(bool settings_too);
  uint32_t WeightOf(const Entry& entry) const { return entry.weight.value_or(entry.config.weight); }
  NodeView ViewOf(const Entry& entry, const NodeExplanation& explanation) const;
  NodeHealthConfig HealthConfig(bool was_up) const;

  net::EventLoop& loop_;
  Engine& engine_;
  const uint16_t id_;
  PoolConfig config_;
  std::vector<net::SocketName> sources_;
  std::shared_ptr<const net::TlsClientContext> tls_;  // null: nodes are spoken to in the clear
  net::FastRandom random_;
  std::vector<EntryPtr> entries_;
  RetiredNodes retired_;
  std::shared_ptr<const Balancer> balancer_;
  SplitFilter split_filter_{2};
  SplitDecision split_;
  net::EventLoop::TimerId tick_{};
  net::Time last_measure_{};
  net::Time last_publish_{};
  bool dirty_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what other threads post
  std::unique_ptr<Discovery> discovery_;
};

}  // namespace lb
