// The store that an operator's URL names, and copies of it that are whole.
//
//   sqlite:data/mongooseim.db              relative to the node's folder
//   postgresql://user@host/database        libpq's, several hosts allowed
//
// Blocking: for the start of a process and for commands. The errors tell operators what to do, and
// show no password.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "server/store/backend.h"

namespace server {

struct StoreOptions {
  std::string url;
  std::string folder;  // of the node, in front of a relative file; "": the working directory
  net::Duration patience = std::chrono::seconds(20);  // for calls that nobody has begun
  size_t readers = 0;  // connections that read; 0: two of SQLite, four of PostgreSQL
};
std::expected<std::unique_ptr<StoreBackend>, std::string> OpenStore(const StoreOptions& options);

// Copies an SQLite store as it is at one moment into a new file, while others go on to use it. What
// is there under that name stays untouched: then it is an error, as is an unfinished copy.
std::expected<void, std::string> BackupSqlite(const std::string& file, const std::string& to);
// Puts such a copy in the place of `file`, which nobody may use meanwhile. What stood there stays
// under another name, which is returned; "" where nothing did.
std::expected<std::string, std::string> RestoreSqlite(const std::string& from,
                                                      const std::string& file);

}  // namespace server
