// The reads of a store. Each of one moment, so that all that it answers fits together, and in one
// round trip where there are such (all but a slice of retention, which walks from owner to owner).
//
// One thread at a time for a source. Nothing: the source tells what went wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/backend.h"
#include "server/store/sql_source.h"
#include "server/store/store.h"

namespace server {

template <typename T>
using ReadResult = std::optional<T>;

ReadResult<LoadedUser> ReadUser(SqlSource& db, const std::string& user, int64_t now_s);
ReadResult<OfflinePage> ReadOffline(SqlSource& db, const std::string& user, uint64_t after,
                                    uint32_t most, int64_t now_s);
ReadResult<ArchivePage> ReadArchive(SqlSource& db, const ArchiveQuery& query);
ReadResult<std::optional<LastActivity>> ReadLast(SqlSource& db, const std::string& user);
ReadResult<std::vector<std::string>> ReadAccounts(SqlSource& db, const std::string& domain,
                                                  const std::string& after, uint32_t most);
// Without an address: there is none.
ReadResult<StoredRoom> ReadRoom(SqlSource& db, const std::string& room);
ReadResult<std::vector<RoomName>> ReadListedRooms(SqlSource& db, const std::string& service,
                                                  const std::string& after, uint32_t most);
ReadResult<std::vector<std::string>> ReadNodes(SqlSource& db, int64_t seen_from_s);
// One row of one column: "" or 0 where there is none.
ReadResult<std::string> ReadText(SqlSource& db, const SqlAsk& asked);
ReadResult<int64_t> ReadInt(SqlSource& db, const SqlAsk& asked);

// What a slice of retention takes away.
struct Doomed {
  SqlScript script;
  Retired retired;  // once it ran
};
ReadResult<Doomed> ReadDoomed(SqlSource& db, const Retention& retention);

}  // namespace server
