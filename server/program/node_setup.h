// All that a node is told before it starts: vm.args and vm.dist.args, mongooseim.toml, and the
// environment that wins over them, put together and judged.
//
// Used at the start, by the node and by mongooseimctl. All mistakes are told at once.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "server/config/node_config.h"
#include "server/config/vm_args.h"
#include "server/dist/dist_options.h"
#include "server/dist/rpc_client.h"
#include "server/program/node_folder.h"

namespace server {

struct NodeSetup {
  NodeFolder folder;
  NodeConfig config;
  VmArgs args;
  MaxPorts max_ports;
  DistOptions dist;                   // names the node; holds the cookie
  std::string drain_credentials;      // USER:PASSWORD of http.drain_file; ""
  std::vector<std::string> warnings;  // for the log
};

using SetupErrors = std::vector<std::string>;

// For the node: also what only a start needs.
std::expected<NodeSetup, SetupErrors> ReadNodeSetup(const NodeFolder& folder);

// For who calls a node of this folder. `time` is for the whole way to it.
RpcClient::Options ClientOptionsOf(const NodeSetup& setup, net::Duration time);

// "inet_tcp": what `status` prints.
std::string_view ToString(ProtoDist proto);

}  // namespace server
