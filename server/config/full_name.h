// The name of this node as others call it: what vm.args says, with the host that it leaves out.
//
// Pure: host names are passed in (`hostname -s`, `hostname -f`). Whether the host can be resolved
// is asked by whoever has a resolver.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "server/config/vm_args.h"

namespace server {

struct HostNames {
  std::string short_name;  // "node1"
  std::string full_name;   // "node1.example.com"; may be the short one
};

// The error says what is wrong and the remedy.
std::expected<std::string, std::string> FullNodeName(const VmArgs& args, const HostNames& host);

}  // namespace server
