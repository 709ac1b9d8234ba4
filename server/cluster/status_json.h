// The answer of GET /api/cluster/status: what a node says of its cluster, for balancers and people.
//
//   {"node","incarnation","state","ready","members":[…],"running":[…],"stopped":[…],"alarms":[…],
//    "sessions","max_sessions","load"}
//
// A node that is short of memory says "draining", which all balancers know as "nobody new, who is
// there stays", with "ready":false and the reason among the alarms.
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
  bool memory_short = false;  // new sessions are refused
};

std::string StatusJson(const ClusterStatus& status, const NodeLoad& load);

}  // namespace server
