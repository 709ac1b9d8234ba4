// What a pool looks like, for people and metrics. Reads only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/config/config.h"
#include "lb/control/pool_node.h"
#include "lb/control/views.h"
#include "lb/health/cluster_view.h"
#include "net/base/random.h"

namespace lb {

// All of one pool that a report needs; the pool's own, for the call.
struct PoolFacts {
  const PoolConfig& config;
  const std::vector<std::unique_ptr<PoolNode>>& nodes;
  const Balancer& balancer;  // its nodes are those of `nodes`, in their order
  const SplitDecision& split;
  net::Time now;
  uint32_t queued = 0;  // of all workers
};

PoolView ViewOf(const PoolFacts& pool);
// Where a new connection from that address would go, in words.
std::string WhyFrom(const PoolFacts& pool, const net::Address& source,
                    const net::FastRandom& random);

}  // namespace lb
