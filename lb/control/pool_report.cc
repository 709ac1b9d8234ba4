#include "lb/control/pool_report.h"

#include <algorithm>
#include <cmath>

namespace lb {
namespace {

NodeView NodeViewOf(const PoolFacts& pool, const PoolNode& entry,
                    const NodeExplanation& explanation) {
  const Node& node = *entry.node;
  NodeView view;
  view.name = entry.config.name;
  view.address = entry.config.address_text;
  view.state = NodeConditionName(entry.health->condition());
  if (entry.health->choosable() && entry.warmup.warming()) view.state = "warming";
  view.why = entry.health->why();
  if (!entry.health->not_checked().empty()) {
    view.why += "; checks cannot be made here: " + entry.health->not_checked();
  }
  view.admin = AdminStateName(entry.health->admin());
  view.weight = entry.Weight();
  view.weight_overridden = entry.record->weight.has_value();
  view.effective_weight = explanation.effective_weight;
  view.share_expected = explanation.share_expected;
  view.active = node.active();
  view.elsewhere = entry.record->elsewhere;
  view.connections_max = node.connections_max();
  view.arrivals_per_s = entry.arrivals_per_s;
  if (entry.warmup.warming()) {
    view.warmup = std::clamp(net::Seconds(entry.warmup.Elapsed(pool.now)) /
                                 std::max(net::Seconds(pool.config.warmup.duration), 1e-9),
                             0.0, 1.0);
    if (entry.step.rate < net::kRateUnlimited) view.warmup_rate = entry.step.rate;
  }
  view.arrivals = node.arrivals();
  view.connects = node.connects();
  view.connect_failures = node.connect_failures();
  view.forced = node.forced();
  view.passed_warmup = node.passed_no_token() + node.passed_share_cap();
  view.passed_full = node.passed_full() + node.passed_bound();
  view.explanation = explanation.why;
  for (size_t i = 0; i < entry.health->checks(); ++i) {
    const HealthState& check = entry.health->check(i);
    view.checks.push_back({std::string(net::CheckTypeName(pool.config.checks[i].type)),
                           std::string(HealthStatusName(check.status())), check.why()});
  }
  if (pool.config.status) {
    const auto& cluster = entry.health->cluster();
    view.cluster_state = cluster ? ClusterStateName(cluster->state) : "unknown";
    view.cluster_sessions = cluster ? cluster->sessions : 0;
    view.cluster_error = entry.cluster_error;
    view.incarnation = entry.health->incarnation();
  }
  if (entry.record->pace) {
    view.drain_active = true;
    view.drain_remaining = node.active();
    view.drain_rate = entry.record->pace->rate();
  }
  return view;
}

}  // namespace

PoolView ViewOf(const PoolFacts& pool) {
  PoolView view;
  view.name = pool.config.name;
  view.balance = PolicyName(pool.config.balance);
  view.split = pool.split.split;
  if (pool.split.split) view.summary = pool.split.summary;
  view.panic = pool.balancer.panic();
  view.on_backups = pool.balancer.on_backups();
  view.candidates = pool.balancer.candidates();
  view.queued = pool.queued;
  for (const auto& entry : pool.nodes) view.arrivals_per_s += entry->arrivals_per_s;
  const auto explanations = pool.balancer.Explain(pool.now, view.arrivals_per_s);
  for (size_t i = 0; i < pool.nodes.size(); ++i) {
    view.nodes.push_back(NodeViewOf(pool, *pool.nodes[i], explanations[i]));
    if (pool.nodes[i]->health->choosable()) ++view.nodes_up;
  }
  return view;
}

std::string WhyFrom(const PoolFacts& pool, const net::Address& source,
                    const net::FastRandom& random) {
  PickLocal local(random.Peek());
  local.Adopt(pool.balancer);
  const PickResult picked =
      pool.balancer.Peek({.source_hash = source.HashIp(0), .now = pool.now}, local);
  if (picked.node == nullptr) {
    return "nowhere: " + std::string(PickFailureName(picked.failure));
  }
  const std::string node = pool.nodes[picked.index]->config.name;
  if (pool.config.balance == Policy::kSource || pool.config.balance == Policy::kMaglev) {
    return "to " + node + ": " + std::string(PolicyName(pool.config.balance)) +
           " sends this address there while it is up and not over its bound";
  }
  std::string shares;
  for (const NodeExplanation& one : pool.balancer.Explain(pool.now, ViewOf(pool).arrivals_per_s)) {
    if (!one.candidate) continue;
    shares += (shares.empty() ? "" : ", ") + one.name + " " +
              std::to_string(static_cast<int>(std::round(100 * one.share_expected))) + "%";
  }
  return "to " + node + " by " + std::string(PolicyName(pool.config.balance)) +
         ", this time; the chances are " + shares;
}

}  // namespace lb
