#include <netdb.h>

#include <memory>

#include "lb/config/config.h"
#include "net/base/text.h"

namespace lb {

std::expected<net::Endpoint, net::ConfigError> ResolveNode(const NodeConfig& node) {
  if (node.address.kind != net::Endpoint::Kind::kHost) return node.address;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int failed = getaddrinfo(node.address.name.c_str(), nullptr, &hints, &found);
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  if (failed != 0) {
    return std::unexpected(node.origin.Error(
        "host " + net::Quoted(node.address.name) + " cannot be resolved: " + gai_strerror(failed),
        "check the name and the resolver, or write the IP address"));
  }
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    auto address = net::Address::FromSockaddr(one->ai_addr, one->ai_addrlen);
    if (!address) continue;
    return net::Endpoint{.kind = net::Endpoint::Kind::kIp,
                         .address = address->WithPort(node.address.port),
                         .name = "",
                         .port = node.address.port};
  }
  return std::unexpected(
      node.origin.Error("host " + net::Quoted(node.address.name) + " has no IP address",
                        "check the name, or write the IP address"));
}

}  // namespace lb
