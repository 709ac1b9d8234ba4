#include "net/tls/ktls_probe.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#ifndef TCP_ULP
#define TCP_ULP 31
#endif

namespace net {

KtlsSupport ProbeKtls() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {.detail = std::string("no TCP socket to ask with: ") + std::strerror(errno)};
  int result = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3);
  int error = result == 0 ? 0 : errno;
  close(fd);
  // A kernel that has the module says that the socket is not connected yet.
  if (error == 0 || error == ENOTCONN) {
    return {.available = true, .detail = "the kernel offers the tls ULP"};
  }
  if (error == ENOENT) return {.detail = "the kernel has no tls module (CONFIG_TLS)"};
  return {.detail = std::string("TCP_ULP: ") + std::strerror(error)};
}

}  // namespace net
