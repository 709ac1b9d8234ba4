// The store in PostgreSQL: for nodes of several machines, beyond a primary that may fail over. One
// writer (pg_writer.h), some threads that read (sql_store.h), each with a connection to the host
// that takes writes.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "server/store/pg_writer.h"
#include "server/store/sql_store.h"

namespace server {

struct PgStoreOptions {
  PgOptions connection;
  SqlStoreOptions shared{.readers = 4};  // its name is the URL's
  PgWriter::Options writer{};            // its connection and name are these
};

class PgStore final : public SqlStore {
 public:
  // Makes the tables where they are missing, upgrades the schema where it is older. The error tells
  // operators what is wrong and what to do, and shows no password.
  static std::expected<std::unique_ptr<PgStore>, std::string> Open(PgStoreOptions options);

 private:
  PgStore(const PgStoreOptions& options, StoreIdentity identity, std::unique_ptr<PgConnection> db);
};

}  // namespace server
