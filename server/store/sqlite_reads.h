// The reads of a store on an SQLite connection. Each in one short transaction, so that all that it
// answers is of one moment, and no log is kept from being copied for long.
//
// One thread at a time. The error is SQLite's code.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/backend.h"
#include "server/store/sqlite_db.h"
#include "server/store/store.h"

namespace server {

template <typename T>
using SqliteResult = std::expected<T, int>;

SqliteResult<LoadedUser> ReadUser(SqliteDb& db, const std::string& user, int64_t now_s);
SqliteResult<std::vector<OfflineEntry>> ReadOffline(SqliteDb& db, const std::string& user,
                                                    uint32_t most, int64_t now_s);
SqliteResult<ArchivePage> ReadArchive(SqliteDb& db, const ArchiveQuery& query);
SqliteResult<std::optional<LastActivity>> ReadLast(SqliteDb& db, const std::string& user);
SqliteResult<std::vector<std::string>> ReadAccounts(SqliteDb& db, const std::string& domain,
                                                    const std::string& after, uint32_t most);
// One row of one column: "" or 0 where there is none.
SqliteResult<std::string> ReadText(SqliteDb& db, const char* sql,
                                   const std::vector<SqlValue>& values);
SqliteResult<int64_t> ReadInt(SqliteDb& db, const char* sql, const std::vector<SqlValue>& values);

// What a slice of retention takes away.
struct Doomed {
  struct Range {  // ids of an owner's archive
    std::string owner;
    uint64_t first = 0;
    uint64_t last = 0;
  };
  std::vector<Range> archive;
  std::vector<std::pair<std::string, uint64_t>> offline;
  uint64_t archive_entries = 0;  // in the ranges
  bool more = false;
  std::string next_owner;
};
SqliteResult<Doomed> ReadDoomed(SqliteDb& db, const Retention& retention);

}  // namespace server
