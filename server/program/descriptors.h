// Descriptors: each connection takes one, and the limit is often 1024. What the configuration needs
// is compared with it at the start, and the remedy is the page's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace server {

// Beside the connections: logs, the data folder, the ring, standard streams.
inline constexpr uint64_t kDescriptorsReserved = 64;

struct DescriptorLimit {
  uint64_t usable = 0;  // for connections
  std::optional<std::string> warning;
};

// Raises the soft limit as far as is needed and allowed.
DescriptorLimit RaiseDescriptorLimit(uint32_t max_ports, const std::string& origin);

// Pure: what to say where `limit` is less than what `max_ports` connections need.
std::string DescriptorRemedy(uint64_t limit, uint32_t max_ports, const std::string& origin,
                             const std::string& user);

}  // namespace server
