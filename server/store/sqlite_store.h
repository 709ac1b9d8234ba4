// The store in an SQLite file: the default, for a node or for the nodes of one machine, which share
// the file. One writer thread (sqlite_writer.h), a few reader threads with a read-only connection
// each (sql_store.h).
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "server/store/sql_store.h"
#include "server/store/sqlite_writer.h"

namespace server {

struct SqliteOptions {
  std::string path;
  SqlStoreOptions shared;          // its name is the path
  SqliteWriter::Options writer{};  // its path is this one's
};

class SqliteStore final : public SqlStore {
 public:
  // Makes the file where it is missing, upgrades the schema where it is older. The error tells
  // operators what is wrong and what to do.
  static std::expected<std::unique_ptr<SqliteStore>, std::string> Open(SqliteOptions options);

 private:
  struct Locks {
    std::unique_ptr<FileLock> file;
    std::unique_ptr<FileLock> checkpoint;
  };
  SqliteStore(const SqliteOptions& options, StoreIdentity identity, std::unique_ptr<SqliteDb> db,
              Locks locks);
};

}  // namespace server
