// Two nodes never open one data folder: a lock on data/lock, which holds the pid of its holder and
// ends with the process, however that ends.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>

#include "net/io/socket.h"

namespace server {

class NodeLock {
 public:
  // The error names who holds it, and the remedy.
  static std::expected<NodeLock, std::string> Take(const std::string& path);
  // Of whoever holds it now; 0: nobody.
  static pid_t Holder(const std::string& path);

 private:
  explicit NodeLock(net::UniqueFd fd) : fd_(std::move(fd)) {}
  net::UniqueFd fd_;
};

}  // namespace server
