#include "server/program/stop_node.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "net/io/socket.h"

namespace server {
namespace {

constexpr int kStepMs = 30'000;

}  // namespace

int ForceStop(pid_t pid) {
  // By its descriptor, so that a number that was given to another process meanwhile is not hit.
  const net::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0U)));
  if (!process) return errno == ESRCH ? 0 : 1;
  for (const int number : {SIGTERM, SIGTERM, SIGKILL}) {
    if (syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0U) != 0) {
      if (errno == ESRCH) return 0;
      std::fprintf(stderr, "mongooseim: process %d: %s\n", static_cast<int>(pid),
                   std::strerror(errno));
      return 1;
    }
    pollfd wait{.fd = process.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, kStepMs) > 0) return 0;
    std::printf("Waiting for %d for %d seconds\n", static_cast<int>(pid),
                (number == SIGKILL ? 3 : 1) * kStepMs / 1000);
  }
  return 1;
}

}  // namespace server
