// journald's own protocol, for who may write to its socket: datagrams of KEY=value lines, one an
// entry (log_target.h says what they hold).
//
// One thread at a time. Never blocks.
#pragma once

#include <sys/un.h>

#include <span>
#include <string>
#include <string_view>

#include "net/report/log.h"

namespace net {

class Journal {
 public:
  Journal() = default;
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // "", or why there is no socket to speak from. The journal itself need not be there.
  std::string Open(std::string_view program, const std::string& path);
  // `line`: the text of the entry. False: it was not taken, since the journal is away or full.
  bool Write(LogLevel level, std::string_view component, std::string_view line,
             std::span<const LogField> fields) const;

 private:
  int fd_ = -1;
  sockaddr_un address_{};
  std::string program_;
  std::string prefix_;
};

}  // namespace net
