// Addresses, and the nonblocking sockets of the generator and the sink. Plain system calls and
// epoll on purpose: the witness shares no code with what it measures.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* Raw() const;
  int Family() const { return storage.ss_family; }
  std::string ToString() const;
};

// "127.0.0.1:5222", "[::1]:5222" or, resolved by the system, "host:5222". With `port_needed`
// false a bare address is taken with port 0. The error says what is wrong.
std::expected<Endpoint, std::string> ParseEndpoint(std::string_view text, bool port_needed = true);

// Source addresses: "127.0.1.1", "::1" or an IPv4 range "127.0.1.1-127.0.1.8" (at most
// kSourcesMax).
inline constexpr std::size_t kSourcesMax = 256;
std::expected<std::vector<Endpoint>, std::string> ParseSources(std::string_view text);

// A nonblocking socket on its way to `to`, from `from` when not null (bound with
// IP_BIND_ADDRESS_NO_PORT, so that the port is chosen for the pair and not for the address alone).
// The error is an errno.
std::expected<int, int> Connect(const Endpoint& to, const Endpoint* from);

// A listening nonblocking socket. The error says what is in the way.
std::expected<int, std::string> Listen(const Endpoint& at, int backlog);

// How many local ports the kernel may choose from.
std::size_t LocalPortCount();

// Raises the soft limit of descriptors to the hard one and returns it.
std::size_t RaiseDescriptorLimit();

}  // namespace bench
