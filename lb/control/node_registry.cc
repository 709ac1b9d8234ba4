#include "lb/control/node_registry.h"

#include <algorithm>

#include "net/report/log.h"

namespace lb {
namespace {

// Operations that name a node's address have long been submitted by then.
constexpr net::Duration kForgetAfter = std::chrono::seconds(5);

std::string Connections(uint64_t count) {
  return std::to_string(count) + (count == 1 ? " connection" : " connections");
}

}  // namespace

bool SameAddress(const net::SocketName& a, const net::SocketName& b) {
  return a.size() == b.size() &&
         net::AddressText(a.get(), a.size()) == net::AddressText(b.get(), b.size());
}

NodeRecord& NodeRegistry::Take(const std::string& pool, const std::string& name,
                               const net::SocketName& address, uint32_t weight,
                               uint32_t connections_max) {
  std::unique_ptr<NodeRecord>& record = records_[{pool, name}];
  if (!record) record = std::make_unique<NodeRecord>();
  if (!record->node) {
    record->node = std::make_shared<Node>(pool, name, address, weight, connections_max);
    record->node->AddElsewhere(record->elsewhere);
  } else {
    if (address.size() > 0 && !SameAddress(record->node->address(), address)) {
      record->node->SetAddress(address);
    }
    record->node->SetConnectionsMax(connections_max);
    record->node->ResetErrors();
  }
  record->present = true;
  return *record;
}

void NodeRegistry::Leave(NodeRecord& record, net::Time now) {
  record.present = false;
  record.left = now;
}

NodeRecord* NodeRegistry::Find(const std::string& pool, const std::string& name) const {
  const auto found = records_.find({pool, name});
  return found == records_.end() ? nullptr : found->second.get();
}

NodeRecord& NodeRegistry::FindOrMake(const std::string& pool, const std::string& name,
                                     net::Time now) {
  std::unique_ptr<NodeRecord>& record = records_[{pool, name}];
  if (!record) {
    record = std::make_unique<NodeRecord>();
    record->node = std::make_shared<Node>(pool, name, net::SocketName(), 0, 0);
    record->left = now;
  }
  return *record;
}

std::vector<const NodeRecord*> NodeRegistry::Absent() const {
  std::vector<const NodeRecord*> absent;
  for (const auto& [key, record] : records_) {
    if (!record->present && (record->node->active() > 0 || record->wanted())) {
      absent.push_back(record.get());
    }
  }
  return absent;
}

NodeRecord* NodeRegistry::FindAbsent(const std::string& pool, const std::string& name) const {
  NodeRecord* found = nullptr;
  for (const auto& [key, record] : records_) {
    if (record->present || key.second != name || (!pool.empty() && key.first != pool)) continue;
    if (record->node->active() == 0 && !record->wanted()) continue;
    if (found != nullptr) return nullptr;
    found = record.get();
  }
  return found;
}

Done NodeRegistry::OrderAbsent(NodeRecord& record, AdminState admin, const DrainOrder& order,
                               net::Time now) {
  const Node& node = *record.node;
  const std::string who = "node " + node.name + " is in no pool now; ";
  if (order.dry_run) return who + Connections(node.active()) + " stay; nothing was done";
  record.admin = admin;
  record.left = now;
  record.NewPace();
  record.EndPace();
  if (admin == AdminState::kMaint && record.self_drain) record.self_drain->maybe_over = true;
  if (admin == AdminState::kReady) return who + "it will be ready when it returns";
  if (order.paced() && !order.node_is_asked) {
    // Nobody can say who will carry them: the order's own pace holds.
    record.pace = DrainPace::ForDrain({.rate = order.rate, .deadline = order.deadline},
                                      node.active(), net::kRateUnlimited, now);
  }
  return who + Connections(node.active()) + " stay" + (record.pace ? ", and are ended" : "") +
         "; it will be in " + std::string(AdminStateName(admin)) + " when it returns";
}

Done NodeRegistry::ShutAbsent(NodeRecord& record, double rate, net::Time now) {
  record.NewPace();
  record.pace = DrainPace::ForShut(rate, record.node->active(), now);
  return "ending " + Connections(record.node->active()) + " to " + record.node->name +
         ", which is in no pool now";
}

void NodeRegistry::SetElsewhere(const NodeCounts& counts, net::Time now) {
  size_t made = 0;
  for (const auto& [key, count] : counts) {
    const bool known = records_.contains(key);
    if (!known && ++made > kAbsentWillsMax) continue;
    NodeRecord& record = FindOrMake(key.first, key.second, now);
    if (count > record.elsewhere) record.node->AddElsewhere(count - record.elsewhere);
    if (count < record.elsewhere) record.node->SubElsewhere(record.elsewhere - count);
    record.elsewhere = count;
  }
  for (const auto& [key, record] : records_) {
    if (record->elsewhere == 0 || counts.contains(key)) continue;
    record->node->SubElsewhere(record->elsewhere);
    record->elsewhere = 0;
  }
}

NodeCounts NodeRegistry::Counts() const {
  NodeCounts counts;
  for (const auto& [key, record] : records_) {
    if (record->node->active() > 0) counts[key] = record->node->active();
  }
  return counts;
}

uint64_t NodeRegistry::elsewhere() const {
  uint64_t sum = 0;
  for (const auto& [key, record] : records_) sum += record->elsewhere;
  return sum;
}

void NodeRegistry::Step(Engine& engine, net::Time now) {
  for (const auto& [key, record] : records_) {
    if (record->present || !record->pace) continue;
    const bool done = record->pace->Step(*record->node, engine, now);
    if (done || record->node->active() == 0) record->EndPace();
  }
  Forget(now);
}

void NodeRegistry::Forget(net::Time now) {
  std::vector<std::pair<net::Time, NodeKey>> wills;
  std::erase_if(records_, [&](const auto& entry) {
    const NodeRecord& record = *entry.second;
    if (record.present || now - record.left <= kForgetAfter) return false;
    if (record.node.use_count() != 1 || !record.node->unused()) return false;
    if (!record.wanted() && !record.warmup) return true;
    wills.emplace_back(record.left, entry.first);
    return false;
  });
  if (wills.size() <= kAbsentWillsMax) return;
  std::ranges::sort(wills);
  wills.resize(wills.size() - kAbsentWillsMax);
  for (const auto& [left, key] : wills) {
    net::Log(net::LogLevel::kWarn, "lb", "too many absent nodes; an order for one is forgotten",
             {{"pool", key.first}, {"node", key.second}});
    records_.erase(key);
  }
}

}  // namespace lb
