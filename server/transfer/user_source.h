// Where users come from that are to be imported: files of another server, or an export of ours.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "server/transfer/user_data.h"

namespace server {

class UserSource {
 public:
  virtual ~UserSource() = default;
  struct Failure {
    std::string what;   // with the file, and where in it
    bool last = false;  // there is no going on behind it
  };
  // The next user; nothing at the end. Reads files, blocking.
  virtual std::expected<std::optional<UserData>, Failure> Next() = 0;
};

}  // namespace server
