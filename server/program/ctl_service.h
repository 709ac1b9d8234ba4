// The node's side of mongooseimctl: what ctl_wire.h names, answered.
//
// Set before the node's Start(); answers come on the node's thread.
#pragma once

#include <functional>

#include "server/ctl/node_api.h"
#include "server/dist/dist_node.h"
#include "server/node/cluster_host.h"
#include "server/program/ctl_wire.h"

namespace server {

struct CtlService {
  std::function<NodeFacts()> facts;
  // `done` on the node's thread, now or later.
  std::function<void(std::move_only_function<void(NodeStats)> done)> stats;
  std::function<std::vector<std::string>()> discovered;
  std::function<void(bool again)> stop;  // in order, as SIGTERM; `again`: and start anew
  // `done` on the node's thread.
  std::function<void(AccountRequest request, std::move_only_function<void(AccountResult)> done)>
      account;
  std::function<void(XmppRequest request, std::move_only_function<void(CtlAnswer)> done)> xmpp;
};

// All outlive the node's thread.
void AnswerCtl(DistNode& node, ClusterHost& cluster, CtlService service);

}  // namespace server
