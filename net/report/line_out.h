// Lines into a descriptor without ever waiting for who reads: a full pipe, a socket whose reader
// stands still or a stopped terminal takes none of them. (Only a disk can make a writer wait.)
//
// Not thread-safe: one writer at a time. The descriptor stays the caller's.
#pragma once

#include <cstddef>
#include <string_view>

namespace net {

// How much of `bytes` was taken at once, from their beginning.
size_t WriteNow(int fd, std::string_view bytes);

class LineOut {
 public:
  LineOut() = default;
  explicit LineOut(int fd) : fd_(fd) {}

  int fd() const { return fd_; }
  // False: it was not taken, or in part. What follows a part begins a line of its own.
  bool Write(std::string_view line);

 private:
  int fd_ = -1;
  bool torn_ = false;
};

}  // namespace net
