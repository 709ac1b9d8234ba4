// The client's end of the control socket: blocking, one line at a time.
#pragma once

#include <expected>
#include <string>

#include "net/io/socket.h"

namespace net {

class CtlConnection {
 public:
  // `program`: "mongooselb", for errors, which name the path and the remedy.
  static std::expected<CtlConnection, std::string> Open(const std::string& program,
                                                        const std::string& path);

  std::expected<void, std::string> Send(const std::string& line);
  // Without its newline. Waits for at most two minutes.
  std::expected<std::string, std::string> ReadLine();

 private:
  CtlConnection(UniqueFd fd, std::string peer) : fd_(std::move(fd)), peer_(std::move(peer)) {}

  UniqueFd fd_;
  std::string peer_;  // "mongooselb at /run/..."
  std::string in_;
};

}  // namespace net
