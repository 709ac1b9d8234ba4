// The answer of GET /api/cluster/status: what a node says of its cluster, for balancers and people.
//
//   {"node","incarnation","state","ready","members":[…],"running":[…],"stopped":[…],"alarms":[…],
//    "sessions","max_sessions","load"}
//
// mongooselb reads it (lb/health/cluster_view.h); its keys are a contract.
#pragma once

#include <cstdint>
#include <string>

#include "server/cluster/cluster.h"

namespace server {

struct NodeLoad {
  uint64_t sessions = 0;
  uint64_t max_sessions = 0;
  double load = 0;  // of the processor, 0 to 1
  bool draining = false;
};

std::string StatusJson(const ClusterStatus& status, const NodeLoad& load);

}  // namespace server
