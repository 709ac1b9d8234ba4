// The functions of a MongooseIM node that scripts and upstream's own tools call by rpc, answered by
// ours. What is not here answers undef, as Erlang does for a function that there is none of.
//
// Set before the node's Start(); answers come on the node's thread. Orders that change the
// membership are answered when they have ended, by the words and codes of `operation.h`.
#pragma once

#include <functional>
#include <string>

#include "server/cluster/status_json.h"
#include "server/dist/dist_node.h"
#include "server/node/cluster_host.h"

namespace server {

struct NodeRpcFacts {
  std::string version;
  std::string commit;     // of the sources, where the build knows it
  std::string directory;  // the node's folder
  std::function<NodeLoad()> load;
  std::function<void()> stop;  // init:stop/0: in order, as SIGTERM
};

// All outlive the node's thread.
void AnswerNodeRpc(DistNode& node, ClusterHost& cluster, NodeRpcFacts facts);

// "The node mongooseim@localhost is started. Status: started. MongooseIM 6.2 is running in that
// node."
std::string StatusSentence(const ClusterStatus& status, const std::string& version);

}  // namespace server
