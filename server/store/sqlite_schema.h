// The tables of an SQLite store, and how those of older versions become today's.
#pragma once

#include <expected>
#include <string>

#include "server/store/backend.h"
#include "server/store/sqlite_db.h"

namespace server {

// What a file of this program has. Raised with each step that is added to the list.
inline constexpr int kSqliteSchemaVersion = 4;

// Brings the file to this version in one transaction and returns its cluster_id, which a new file
// gets at random, and the number of this opening. Under the FileLock. The error tells operators
// what to do.
std::expected<StoreIdentity, std::string> UpgradeSqlite(SqliteDb& db, const std::string& path);

}  // namespace server
