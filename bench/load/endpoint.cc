#include "bench/load/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

namespace bench {
namespace {

std::string Quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::expected<std::uint32_t, std::string> ParseV4(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) {
    return std::unexpected(Quoted(text) + " is no IPv4 address");
  }
  return ntohl(address.s_addr);
}

Endpoint FromV4(std::uint32_t address) {
  Endpoint endpoint;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  std::memcpy(&endpoint.storage, &in, sizeof(in));
  endpoint.length = sizeof(in);
  return endpoint;
}

}  // namespace

const sockaddr* Endpoint::Raw() const { return reinterpret_cast<const sockaddr*>(&storage); }

std::string Endpoint::ToString() const {
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  if (getnameinfo(Raw(), length, host, sizeof(host), service, sizeof(service),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  const std::string name(host);
  return (Family() == AF_INET6 ? "[" + name + "]" : name) + ":" + service;
}

std::expected<Endpoint, std::string> ParseEndpoint(std::string_view text, bool port_needed) {
  std::string_view host = text;
  std::string_view port = "0";
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::unexpected(Quoted(text) + " lacks a ]");
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (rest.starts_with(':')) port = rest.substr(1);
  } else if (const std::size_t colon = text.rfind(':');
             colon != std::string_view::npos && text.find(':') == colon) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (port_needed && (port == "0" || port.empty())) {
    return std::unexpected(Quoted(text) + " has no port: write ADDRESS:PORT or [V6]:PORT");
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(std::string(host).c_str(), std::string(port).c_str(), &hints, &found);
  if (error != 0) return std::unexpected(Quoted(text) + ": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  Endpoint endpoint;
  std::memcpy(&endpoint.storage, found->ai_addr, found->ai_addrlen);
  endpoint.length = found->ai_addrlen;
  return endpoint;
}

std::expected<std::vector<Endpoint>, std::string> ParseSources(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos || text.find('.') == std::string_view::npos) {
    auto one = ParseEndpoint(text, false);
    if (!one) return std::unexpected(one.error());
    return std::vector<Endpoint>{*one};
  }
  const auto first = ParseV4(text.substr(0, dash));
  const auto last = ParseV4(text.substr(dash + 1));
  if (!first) return std::unexpected(first.error());
  if (!last) return std::unexpected(last.error());
  if (*last < *first || *last - *first >= kSourcesMax) {
    return std::unexpected(Quoted(text) + ": a range rises and has at most 256 addresses");
  }
  std::vector<Endpoint> sources;
  for (std::uint32_t address = *first; address <= *last; ++address) {
    sources.push_back(FromV4(address));
  }
  return sources;
}

std::expected<int, int> Connect(const Endpoint& to, const Endpoint* from) {
  const int fd = socket(to.Family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(errno);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  bool ok = true;
  if (from != nullptr) {
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    ok = bind(fd, from->Raw(), from->length) == 0;
  }
  if (ok && connect(fd, to.Raw(), to.length) != 0) ok = errno == EINPROGRESS;
  if (ok) return fd;
  const int error = errno;
  close(fd);
  return std::unexpected(error);
}

std::expected<int, std::string> Listen(const Endpoint& at, int backlog) {
  const int fd = socket(at.Family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(std::string("socket: ") + std::strerror(errno));
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (bind(fd, at.Raw(), at.length) == 0 && listen(fd, backlog) == 0) return fd;
  const std::string error = "cannot listen on " + at.ToString() + ": " + std::strerror(errno);
  close(fd);
  return std::unexpected(error);
}

std::size_t LocalPortCount() {
  std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
  std::size_t low = 0;
  std::size_t high = 0;
  if (!(file >> low >> high) || high < low) return 28232;  // the kernel's default
  return high - low + 1;
}

std::size_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace bench
