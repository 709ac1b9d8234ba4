// Calls that block, for SideThread and for mongooseimctl: a host's addresses, and starting epmd.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "server/dist/dist_options.h"

namespace server {

// Addresses that a host's list may have; further ones are not tried.
inline constexpr size_t kHostAddressesMax = 8;

// The error names the host. Ports are 0.
std::expected<std::vector<net::Address>, std::string> LookUpHost(const std::string& host,
                                                                 bool ipv6);

// Starts `epmd -daemon`, listening where ERL_EPMD_ADDRESS says or the distribution does and nowhere
// else, and waits until it has gone into the background (some milliseconds).
std::expected<void, std::string> StartEpmd(const EpmdOptions& options,
                                           const net::Address& interface);

}  // namespace server
