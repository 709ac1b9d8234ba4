// Which errors of a socket are our own lack, and no word about the peer.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace net {

// Errnos are below it (Linux has 133).
inline constexpr size_t kErrnos = 134;

// No port, descriptor, memory or right of ours was left: the peer was not even asked.
inline bool IsOurError(int error) {
  switch (error) {
    case EADDRNOTAVAIL:  // all ports towards that address are in use, or the source is not ours
    case EADDRINUSE:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EPERM:  // a firewall of this machine
    case EACCES:
    case EBADF:
    case EAFNOSUPPORT:
      return true;
    default:
      return false;
  }
}

// "ECONNRESET"; "" for 0.
inline std::string_view ErrnoName(int error) {
  const char* name = error == 0 ? nullptr : strerrorname_np(error);
  return name == nullptr ? std::string_view() : std::string_view(name);
}

// "setuid: Operation not permitted", by errno.
inline std::string CallFailed(std::string_view call) {
  return std::string(call) + ": " + std::strerror(errno);
}

inline const char* OurErrorRemedy(int error) {
  switch (error) {
    case EADDRNOTAVAIL:
    case EADDRINUSE:
      return "add source addresses (source_addresses), widen net.ipv4.ip_local_port_range, or "
             "correct the source address";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n, LimitNOFILE=1048576, fs.file-max)";
    case ENOBUFS:
    case ENOMEM:
      return "give the machine or the cgroup more memory (net.ipv4.tcp_mem, MemoryMax)";
    case EPERM:
    case EACCES:
      return "look at this machine's firewall and the rights of the process";
    default:
      return "";
  }
}

}  // namespace net
