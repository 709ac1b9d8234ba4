// -proto_dist inet_tls: the contexts out of -ssl_dist_opt and -ssl_dist_optfile, as Erlang names its keys
// (server_certfile, client_cacertfile, …; without server_ or client_ for both).
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "server/config/vm_args.h"
#include "server/dist/dist_options.h"
#include "server/program/node_folder.h"

namespace server {

std::expected<DistTls, std::vector<std::string>> MakeDistTls(const VmArgs& args,
                                                             const NodeFolder& folder);

}  // namespace server
