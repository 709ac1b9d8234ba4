// A pool as the control thread sees it: its nodes, their health and warm-up, and what operators
// asked of them. Whenever something changes that bears on the choice, a new Balancer goes to the
// workers.
//
// Control thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/config/config.h"
#include "lb/control/node_registry.h"
#include "lb/control/orders.h"
#include "lb/control/pool_node.h"
#include "lb/control/pool_report.h"
#include "lb/control/views.h"
#include "lb/health/discovery.h"
#include "lb/proxy/engine.h"
#include "net/dns/name_lookup.h"
#include "net/io/event_loop.h"

namespace lb {

class PoolControl {
 public:
  // What the whole balancer shares; outlives the pool.
  struct Shared {
    net::EventLoop& loop;
    Engine& engine;
    NodeRegistry& registry;
    net::NameLookup& names;
    std::shared_ptr<PoolShared> counts;  // of the pool's name
  };
  // `id` is the workers' name for the pool.
  PoolControl(const Shared& shared, uint16_t id, PoolConfig config,
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
  // Nodes that DNS names now, beside those of the file.
  void Discovered(const std::vector<ResolvedNode>& nodes);

  // Names have been looked up and DNS has been asked, or their time ran out.
  bool NamesKnown() const;
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
  // How the node itself would be asked to drain; null where the configuration does not say, or
  // there is no address.
  struct NodeAsked {
    net::SocketName address;
    const StatusConfig* status = nullptr;
  };
  NodeAsked AskedToDrain(std::string_view node) const;
  // How fast the others can take over from a node that drains so, a second.
  double SafeRate(std::string_view node, const DrainOrder& order) const;
  // Of what its status API said last; "" where it does not.
  std::string Incarnation(std::string_view node) const;
  Done Shut(std::string_view node, double rate);
  Done SetWeight(std::string_view node, std::optional<uint32_t> weight);

  // A worker saw a node fail several times in a row.
  void OnPassiveErrors(const Node* node, uint32_t errors, std::string_view how);

  // What outlives this process: overrides and warm-up clocks.
  struct SavedNode {
    std::string name;
    AdminState admin = AdminState::kReady;
    std::optional<uint32_t> weight;
    NodeWarmup::Saved warmup;
    bool was_up = false;
    uint32_t active = 0;        // of a process that goes on with them
    std::string address = "";   // of a node that DNS brought: where it was
    uint32_t dns_weight = 100;  // and with what
    bool dns_backup = false;
    std::optional<SelfDrain> self_drain = {};
  };
  std::vector<SavedNode> Save() const;
  // `warm`: also the clocks and health, of a process that is taken over right now.
  void Restore(const std::vector<SavedNode>& saved, bool warm);

 private:
  using EntryPtr = std::unique_ptr<PoolNode>;

  PoolNode* Find(std::string_view node) const;
  DrainVerdict JudgeDrain(const PoolNode& entry, const DrainRequest& request) const;
  PoolNode* FindOrRefuse(std::string_view node, Done& refusal) const;
  void SetNodes(std::vector<ResolvedNode> nodes, bool discovered);
  void Leave(PoolNode& entry);
  void StartChecks(PoolNode& entry);
  void LookUp(PoolNode& entry);
  void OnLookedUp(const std::string& node, const std::string& host, net::NameLookup::Result found);
  void OnAddress(PoolNode& entry, const net::Address& address);
  EntryPtr MakeEntry(const ResolvedNode& config, bool discovered);
  void SetUpHealth(PoolNode& entry, bool was_up, AdminState admin);
  void OnCluster(PoolNode& entry, std::expected<std::string, std::string> body);
  void JudgeSplit();
  void Log(const PoolNode& entry, const NodeHealth::Changed& changed);
  bool ObserveWarmup(PoolNode& entry);
  void SetAdmin(PoolNode& entry, AdminState admin);
  void AfterHealth(PoolNode& entry, NodeHealth::Changed changed);
  void StartDiscovery();
  void Tick();
  void StepWarmups();
  void StepPaces();
  void StepDown(PoolNode& entry);
  void MeasureArrivals();
  void Publish(bool settings_too);
  PoolFacts Facts() const;
  net::CheckTls TlsOfChecks();
  NodeHealthConfig HealthConfig(bool was_up) const;

  net::EventLoop& loop_;
  Engine& engine_;
  NodeRegistry& registry_;
  net::NameLookup& names_;
  const std::shared_ptr<PoolShared> counts_;
  const uint16_t id_;
  PoolConfig config_;
  std::vector<net::SocketName> sources_;
  std::shared_ptr<const net::TlsClientContext> tls_;  // null: nodes are spoken to in the clear
  std::shared_ptr<net::TlsWorker> check_tls_;         // made when the first check wants it
  net::FastRandom random_;
  std::vector<EntryPtr> entries_;
  std::shared_ptr<const Balancer> balancer_;
  SplitFilter split_filter_{2};
  SplitDecision split_;
  net::EventLoop::TimerId tick_{};
  net::Time last_measure_{};
  net::Time last_publish_{};
  bool dirty_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what other threads post
  std::unique_ptr<Discovery> discovery_;
  bool discovery_answered_ = true;        // or failed, or is off
  std::vector<ResolvedNode> discovered_;  // what DNS said last
};

}  // namespace lb
