#include "server/config/full_name.h"

#include "net/base/text.h"
#include "server/dist/node_name.h"

namespace server {

std::expected<std::string, std::string> FullNodeName(const VmArgs& args, const HostNames& host) {
  std::string name = args.name;
  if (name.find('@') == std::string::npos) {
    const std::string& own = args.long_names ? host.full_name : host.short_name;
    // Long names need a domain; without one Erlang refuses to start, too.
    if (args.long_names && own.find('.') == std::string::npos) {
      return std::unexpected("-name " + name + ": this machine's full host name is " +
                             net::Quoted(own) + ", which has no domain; write -name " + name +
                             "@HOST.DOMAIN, or take -sname");
    }
    name += '@' + own;
  }
  if (!IsNodeName(name)) {
    return std::unexpected("the node would be called " + net::Quoted(name) +
                           "; write the host into vm.args: NAME@HOST");
  }
  const std::string_view at_host = SplitNodeName(name).host;
  if (!args.long_names && at_host.find('.') != std::string_view::npos) {
    return std::unexpected("-sname " + name +
                           ": a short name has no dot behind the @; take -name on all nodes");
  }
  return name;
}

}  // namespace server
