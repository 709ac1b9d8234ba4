// What is asked of an SQL database, as both of ours understand it: parameters are $1, $2, … in the
// order in which they first stand in the text (SQLite numbers named parameters so).
//
// A write is a list of statements; of some, each must change something, and the write's error
// tells what it means when nothing did. No statement of a write breaks a constraint.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/store/store.h"

namespace server {

// A text belongs to the SqlSteps or to the write that it was made of.
using SqlValue = std::variant<int64_t, std::string_view>;

struct SqlStep {
  const char* sql = nullptr;
  std::vector<SqlValue> values;
  std::optional<StoreError> unchanged;  // the batch's error where no row was changed
};

// Statements with values of their own: what is no StoreWrite (retention, copies of whole stores).
struct SqlOwned {
  const char* sql = nullptr;
  std::vector<std::variant<int64_t, std::string>> values;
};
using SqlScript = std::vector<SqlOwned>;
std::vector<SqlValue> ValuesOf(const SqlOwned& owned);

// The statements of a write, in order. Refers to `write`.
class SqlSteps {
 public:
  explicit SqlSteps(const StoreWrite& write);
  SqlSteps(const SqlSteps&) = delete;
  SqlSteps& operator=(const SqlSteps&) = delete;

  const std::vector<SqlStep>& steps() const { return steps_; }

 private:
  struct Translate;
  std::vector<std::string> made_;  // columns that the write itself has not
  std::vector<SqlStep> steps_;
};

// All statements of writes that must change something, for stores that have to prepare another
// form of them.
std::vector<const char*> StepsThatMustChange();

namespace sql {

// --- What a database says of itself.
inline constexpr char kReadMeta[] = "SELECT value FROM meta WHERE name = $1";
inline constexpr char kPutMeta[] =
    "INSERT INTO meta (name, value) VALUES ($1, $2) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value";

// --- A whole user.
inline constexpr char kReadAccount[] =
    "SELECT scram_sha1, scram_sha256, scram_sha512, banned, created_s FROM users WHERE jid = $1";
inline constexpr char kReadRosterVersion[] = "SELECT version FROM roster_version WHERE owner = $1";
inline constexpr char kReadRoster[] =
    "SELECT jid, name, group_names, subscription, ask, approved, pending_in, request, version "
    "FROM roster WHERE owner = $1 ORDER BY jid";
inline constexpr char kReadBlocked[] = "SELECT jid FROM blocklist WHERE owner = $1 ORDER BY jid";
inline constexpr char kCountOffline[] =
    "SELECT count(*) FROM offline WHERE owner = $1 AND (expires_s = 0 OR expires_s > $2)";

// --- Single values.
inline constexpr char kReadOffline[] =
    "SELECT id, expires_s, sender, xml FROM offline WHERE owner = $1 AND "
    "(expires_s = 0 OR expires_s > $2) AND id > $3 ORDER BY id LIMIT $4";
inline constexpr char kReadVcard[] = "SELECT xml FROM vcard WHERE owner = $1";
inline constexpr char kReadPrivate[] =
    "SELECT xml FROM private_storage WHERE owner = $1 AND name = $2 AND space = $3";
inline constexpr char kReadLast[] = "SELECT seconds, status FROM last WHERE owner = $1";
inline constexpr char kReadArchivePrefs[] = "SELECT xml FROM archive_prefs WHERE owner = $1";
inline constexpr char kReadAccounts[] =
    "SELECT jid FROM users WHERE domain = $1 AND jid > $2 ORDER BY jid LIMIT $3";
inline constexpr char kCountAccounts[] = "SELECT count(*) FROM users WHERE domain = $1";

// --- Rooms.
inline constexpr char kReadRoom[] =
    "SELECT jid, name, listed, config, subject, subject_by, subject_us, secret FROM rooms "
    "WHERE jid = $1";
inline constexpr char kReadRoomAffiliations[] =
    "SELECT jid, affiliation, nick, reason FROM room_affiliations WHERE room = $1 ORDER BY jid";
inline constexpr char kReadListedRooms[] =
    "SELECT jid, name FROM rooms WHERE service = $1 AND listed = 1 AND jid > $2 ORDER BY jid "
    "LIMIT $3";

// --- Archives. Ids lie in [$2, $3]; the last is the limit.
inline constexpr char kArchiveHas[] = "SELECT 1 FROM archive WHERE owner = $1 AND id = $2";
#define SERVER_ARCHIVE_COLUMNS "SELECT id, peer, resource, outgoing, origin_id, xml FROM archive "
#define SERVER_ARCHIVE_ALL "WHERE owner = $1 AND id >= $2 AND id <= $3 "
// As rows, so that SQLite takes the index: told peer and id apart it reads all of the owner's. The
// bounds of id stand there before so that each parameter first appears in its turn: SQLite counts
// them by that.
#define SERVER_ARCHIVE_PEER \
  SERVER_ARCHIVE_ALL "AND (peer, id) >= ($4, $2) AND (peer, id) <= ($4, $3) "
#define SERVER_ARCHIVE_FULL SERVER_ARCHIVE_PEER "AND resource = $5 "
inline constexpr char kPage[] = SERVER_ARCHIVE_COLUMNS SERVER_ARCHIVE_ALL "ORDER BY id LIMIT $4";
inline constexpr char kPageBack[] =
    SERVER_ARCHIVE_COLUMNS SERVER_ARCHIVE_ALL "ORDER BY id DESC LIMIT $4";
inline constexpr char kPagePeer[] =
    SERVER_ARCHIVE_COLUMNS SERVER_ARCHIVE_PEER "ORDER BY peer, id LIMIT $5";
inline constexpr char kPagePeerBack[] =
    SERVER_ARCHIVE_COLUMNS SERVER_ARCHIVE_PEER "ORDER BY peer DESC, id DESC LIMIT $5";
inline constexpr char kPageFull[] =
    SERVER_ARCHIVE_COLUMNS SERVER_ARCHIVE_FULL "ORDER BY peer, id LIMIT $6";
inline constexpr char kPageFullBack[] =
    SERVER_ARCHIVE_COLUMNS SERVER_ARCHIVE_FULL "ORDER BY peer DESC, id DESC LIMIT $6";
inline constexpr char kCount[] = "SELECT count(*) FROM archive " SERVER_ARCHIVE_ALL;
inline constexpr char kCountPeer[] = "SELECT count(*) FROM archive " SERVER_ARCHIVE_PEER;
inline constexpr char kCountFull[] = "SELECT count(*) FROM archive " SERVER_ARCHIVE_FULL;
#undef SERVER_ARCHIVE_FULL
#undef SERVER_ARCHIVE_PEER
#undef SERVER_ARCHIVE_ALL
#undef SERVER_ARCHIVE_COLUMNS

// --- Nodes that find each other.
inline constexpr char kPutNode[] =
    "INSERT INTO discovery_nodes (node, seen_s) VALUES ($1, $2) "
    "ON CONFLICT (node) DO UPDATE SET seen_s = excluded.seen_s";
inline constexpr char kForgetNodes[] = "DELETE FROM discovery_nodes WHERE seen_s < $1";
inline constexpr char kReadNodes[] =
    "SELECT node FROM discovery_nodes WHERE seen_s >= $1 ORDER BY node LIMIT $2";

// --- Retention: owners one behind the other, then what may go of each.
inline constexpr char kNextOwner[] =
    "SELECT owner FROM archive WHERE owner > $1 ORDER BY owner LIMIT 1";
inline constexpr char kNewestButN[] =
    "SELECT id FROM archive WHERE owner = $1 ORDER BY id DESC LIMIT 1 OFFSET $2";
inline constexpr char kIdsBelow[] =
    "SELECT id FROM archive WHERE owner = $1 AND id < $2 ORDER BY id LIMIT $3";
inline constexpr char kDeleteArchive[] =
    "DELETE FROM archive WHERE owner = $1 AND id >= $2 AND id <= $3";
inline constexpr char kExpired[] =
    "SELECT owner, id FROM offline WHERE expires_s > 0 AND expires_s <= $1 LIMIT $2";
inline constexpr char kDeleteOffline[] = "DELETE FROM offline WHERE owner = $1 AND id = $2";

}  // namespace sql

// A page of an archive as statements of the above: one text and its values.
struct ArchiveSql {
  const char* page = nullptr;
  std::vector<SqlValue> values;
  const char* count = nullptr;
  std::vector<SqlValue> count_values;
};
inline constexpr uint32_t kArchivePageMax =
    1'000;  // entries; a query that asks for more gets these
// Refers to `query`. One entry more than asked for: it tells whether the page is the last.
ArchiveSql PageSql(const ArchiveQuery& query);
uint32_t PageLimit(const ArchiveQuery& query);

}  // namespace server
