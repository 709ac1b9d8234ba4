// Plain blocking sockets on loopback, for the far side in tests.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>

#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace net::test {

inline sockaddr_in Loopback(uint16_t port = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

inline const sockaddr* Plain(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

inline sockaddr_in BoundAddress(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return address;
}

inline UniqueFd ListenLoopback() {
  sockaddr_in any = Loopback();
  auto fd = Listen(Plain(any), sizeof any, {});
  EXPECT_TRUE(fd.has_value()) << fd.error();
  return std::move(*fd);
}

inline UniqueFd Dial(const sockaddr_in& address) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(fd.get(), Plain(address), sizeof address), 0) << std::strerror(errno);
  return fd;
}

// Turns the loop until `done`, at most ten seconds.
inline bool RunUntil(EventLoop& loop, const std::function<bool()>& done) {
  SystemClock clock;
  const Time end = clock.Now() + std::chrono::seconds(10);
  while (!done()) {
    if (clock.Now() > end) return false;
    loop.RunOnce(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace net::test
