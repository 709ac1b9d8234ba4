// Nodes that left their pool, with the time when they did. Connections that stay name them without
// owning them.
//
// Control thread only.
#pragma once

#include <list>
#include <memory>
#include <utility>

#include "lb/proxy/runtime.h"
#include "net/base/clock.h"

namespace lb {

class RetiredNodes {
 public:
  void Add(net::Time now, std::shared_ptr<Node> node) { nodes_.emplace_back(now, std::move(node)); }
  void TakeAll(RetiredNodes& from) { nodes_.splice(nodes_.end(), from.nodes_); }
  // Lets go of those that no connection and no snapshot names any more.
  void Sweep(net::Time now);

 private:
  std::list<std::pair<net::Time, std::shared_ptr<Node>>> nodes_;
};

}  // namespace lb
