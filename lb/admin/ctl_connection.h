// The client's end of the control socket: blocking, one line at a time.
#pragma once

#include <expected>
#include <string>

#include "net/io/socket.h"

namespace lb {

class CtlConnection {
 public:
  // Errors name the path and the remedy.
  static std::expected<CtlConnection, std::string> Open(const std::string& path);

  std::expected<void, std::string> Send(const std::string& line);
  // Without its newline. Waits for at most two minutes.
  std::expected<std::string, std::string> ReadLine();

 private:
  CtlConnection(net::UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  net::UniqueFd fd_;
  std::string path_;
  std::string in_;
};

}  // namespace lb
