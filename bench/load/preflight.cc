#include "bench/load/preflight.h"

#include <algorithm>

namespace bench {
namespace {

// The loop's own: epoll, standard streams, libraries, a priming connection.
constexpr std::size_t kDescriptorsReserved = 32;

}  // namespace

std::expected<void, std::string> Preflight(const Needs& needs, const Means& means) {
  const std::size_t descriptors = needs.connections + kDescriptorsReserved;
  if (descriptors > means.descriptors) {
    return std::unexpected(std::to_string(needs.connections) + " connections need " +
                           std::to_string(descriptors) + " descriptors, the limit is " +
                           std::to_string(means.descriptors) +
                           ": raise it (ulimit -n, LimitNOFILE=) or run several generators");
  }
  const std::size_t pairs =
      std::max<std::size_t>(needs.targets, 1) * std::max<std::size_t>(needs.sources, 1);
  const std::size_t ports = pairs * means.local_ports;
  if (needs.connections > ports) {
    const std::size_t wanted =
        means.local_ports == 0 ? 0
                               : (needs.connections + means.local_ports - 1) / means.local_ports;
    return std::unexpected(
        std::to_string(needs.connections) + " connections do not fit into " +
        std::to_string(ports) + " source ports (" + std::to_string(means.local_ports) +
        " for each pair of addresses): give " + std::to_string(wanted) +
        " source addresses with --source, or widen net.ipv4.ip_local_port_range");
  }
  return {};
}

}  // namespace bench
