#include "server/c2s/home_directory.h"

#include "net/base/hash.h"
#include "net/base/random.h"

namespace server {

HomeDirectory::HomeDirectory(std::string self)
    : self_(std::move(self)), self_hash_(net::StableHash(self_)) {}

void HomeDirectory::NodeUp(NodeNumber node, const std::string& name) {
  nodes_[node] = {name, net::StableHash(name)};
}

// What it had done meanwhile is not known.
std::vector<std::string> HomeDirectory::NodeDown(NodeNumber node, net::Time now) {
  nodes_.erase(node);
  std::vector<std::string> lost;
  std::erase_if(records_, [&](const auto& record) {
    if (record.second.node != node) return false;
    lost.push_back(record.first);
    return true;
  });
  std::erase_if(grants_, [node](const auto& grant) { return grant.second.node == node; });
  all_touched_until_ = now + kTouchedTime;
  return lost;
}

const std::string& HomeDirectory::NameOf(NodeNumber node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? self_ : found->second.name;
}

std::optional<NodeNumber> HomeDirectory::Find(std::string_view name) const {
  if (name == self_) return 0;
  for (const auto& [number, node] : nodes_) {
    if (node.name == name) return number;
  }
  return std::nullopt;
}

void HomeDirectory::Recorded(const std::string& bare, NodeNumber node, uint64_t stamp) {
  if (!nodes_.contains(node)) return;
  const auto [it, fresh] = records_.try_emplace(bare, Record{node, stamp});
  // Two homes that met: the later one stays, on all nodes.
  if (!fresh && (it->second.node == node || it->second.stamp < stamp)) it->second = {node, stamp};
  grants_.erase(bare);
}

void HomeDirectory::Erased(const std::string& bare, NodeNumber node, net::Time now) {
  const auto it = records_.find(bare);
  if (it == records_.end() || it->second.node != node) return;
  records_.erase(it);
  Touch(bare, now);
}

void HomeDirectory::Moved(const std::string& bare, NodeNumber node, net::Time now) {
  if (!nodes_.contains(node)) return;
  records_.try_emplace(bare, Record{node, 0}).first->second.node = node;
  grants_.erase(bare);
  Touch(bare, now);
}

std::optional<NodeNumber> HomeDirectory::RecordedAt(const std::string& bare) const {
  const auto it = records_.find(bare);
  if (it == records_.end()) return std::nullopt;
  return it->second.node;
}

uint64_t HomeDirectory::StampOf(const std::string& bare) const {
  const auto it = records_.find(bare);
  return it == records_.end() ? 0 : it->second.stamp;
}

void HomeDirectory::Touch(const std::string& bare, net::Time now) {
  if (touched_order_.size() >= kTouchedMax) {
    all_touched_until_ = now + kTouchedTime;
    touched_.clear();
    touched_order_.clear();
  }
  touched_[bare] = now + kTouchedTime;
  touched_order_.emplace_back(bare, now + kTouchedTime);
}

void HomeDirectory::Grant(const std::string& bare, NodeNumber node, net::Time now) {
  grants_[bare] = {node, now + kGrantTime};
}

std::optional<NodeNumber> HomeDirectory::HomeOf(const std::string& bare, net::Time now) const {
  if (mine_.contains(bare)) return 0;
  if (nodes_.empty()) return std::nullopt;
  if (const auto it = records_.find(bare); it != records_.end()) return it->second.node;
  if (const auto it = grants_.find(bare); it != grants_.end() && now < it->second.until) {
    return it->second.node;
  }
  return std::nullopt;
}

NodeNumber HomeDirectory::WardenOf(std::string_view bare) const {
  if (nodes_.empty()) return 0;
  const uint64_t user = net::StableHash(bare);
  const auto weight = [user](uint64_t node) { return net::FastRandom::Mix(user ^ node); };
  NodeNumber best = 0;
  uint64_t most = weight(self_hash_);
  for (const auto& [number, node] : nodes_) {
    const uint64_t one = weight(node.hash);
    if (one < most) continue;
    best = number;
    most = one;
  }
  return best;
}

bool HomeDirectory::Touched(const std::string& bare, net::Time now) {
  return now < all_touched_until_ || touched_.contains(bare);
}

void HomeDirectory::Tick(net::Time now) {
  std::erase_if(grants_, [now](const auto& grant) { return grant.second.until <= now; });
  while (!touched_order_.empty() && touched_order_.front().second <= now) {
    const auto& [bare, until] = touched_order_.front();
    const auto it = touched_.find(bare);
    if (it != touched_.end() && it->second == until) touched_.erase(it);
    touched_order_.pop_front();
  }
}

}  // namespace server
