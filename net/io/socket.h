// Making sockets: the few system calls around the ring, with errors that name the remedy.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "net/base/clock.h"

namespace net {

// Owns a plain descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset();
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct ListenOptions {
  int backlog = 4096;
  bool reuse_port = false;  // several sockets on one address, one a worker
  // Inherited by the accepted sockets; 0 leaves the system's default.
  int keepalive_idle_s = 0;
  int keepalive_interval_s = 0;
  int keepalive_count = 0;
  int user_timeout_ms = 0;
  uint32_t unix_mode = 0600;    // of a Unix socket's file
  std::string unix_user = {};   // its owner; "" = who the process is
  std::string unix_group = {};  // "" = the user's
  // How long one that answers at a Unix socket's file may take to be gone. For programs that start:
  // the ring of a process that was killed listens on until the kernel has taken it apart, which may
  // be after the next process's start.
  Duration unix_patience{};
};

// A listening socket, close-on-exec, blocking (the ring polls for itself), TCP_NODELAY. A Unix
// socket's stale file is replaced when nobody answers there; when somebody does it is an error.
std::expected<UniqueFd, std::string> Listen(const sockaddr* address, socklen_t size,
                                            const ListenOptions& options);

// Gives the file of a Unix socket that listens already the mode and owner of these options; does
// nothing where it has them, and for an abstract one. "" or why not.
std::string RefitSocketFile(const sockaddr* address, const ListenOptions& options);

// How long a listener waits before it accepts again, when descriptors have run out or a limit is
// reached: long enough not to spin, short enough not to be felt.
inline constexpr Duration kAcceptPause = std::chrono::milliseconds(100);

// The size of the socket address of whoever is accepted on `listener`; the kernel wants it exact. 0
// on a Unix socket.
int32_t PeerNameBytes(int listener);

// "127.0.0.1:5222", "[::1]:5222", "unix:/run/x.sock".
std::string AddressText(const sockaddr* address, socklen_t size);

}  // namespace net
