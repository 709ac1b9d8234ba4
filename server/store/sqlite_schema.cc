#include "server/store/sqlite_schema.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "server/store/random_id.h"
#include "server/store/sql.h"

namespace server {
namespace {

// Step n makes version n of version n - 1. What was released is never changed.
constexpr std::array<const char*, kSqliteSchemaVersion> kSqliteSteps = {
    // 1: accounts, what belongs to them, archives. Names and letters as the field has them.
    R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE users (
  jid TEXT PRIMARY KEY NOT NULL, domain TEXT NOT NULL,
  scram_sha1 TEXT NOT NULL, scram_sha256 TEXT NOT NULL, scram_sha512 TEXT NOT NULL,
  banned TEXT NOT NULL, created_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX users_domain ON users (domain, jid);
CREATE TABLE roster (
  owner TEXT NOT NULL, jid TEXT NOT NULL, name TEXT NOT NULL, group_names TEXT NOT NULL,
  subscription TEXT NOT NULL, ask INTEGER NOT NULL, approved INTEGER NOT NULL,
  pending_in INTEGER NOT NULL, request TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (owner, jid)) WITHOUT ROWID;
CREATE TABLE roster_version (
  owner TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blocklist (
  owner TEXT NOT NULL, jid TEXT NOT NULL, PRIMARY KEY (owner, jid)) WITHOUT ROWID;
CREATE TABLE offline (
  owner TEXT NOT NULL, id INTEGER NOT NULL, expires_s INTEGER NOT NULL, sender TEXT NOT NULL,
  xml TEXT NOT NULL, PRIMARY KEY (owner, id)) WITHOUT ROWID;
CREATE TABLE archive (
  owner TEXT NOT NULL, id INTEGER NOT NULL, peer TEXT NOT NULL, resource TEXT NOT NULL,
  outgoing INTEGER NOT NULL, origin_id TEXT NOT NULL, xml TEXT NOT NULL,
  PRIMARY KEY (owner, id)) WITHOUT ROWID;
CREATE INDEX archive_peer ON archive (owner, peer, id, resource);
CREATE TABLE archive_prefs (owner TEXT PRIMARY KEY NOT NULL, xml TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE vcard (owner TEXT PRIMARY KEY NOT NULL, xml TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE private_storage (
  owner TEXT NOT NULL, name TEXT NOT NULL, space TEXT NOT NULL, xml TEXT NOT NULL,
  PRIMARY KEY (owner, name, space)) WITHOUT ROWID;
CREATE TABLE last (
  owner TEXT PRIMARY KEY NOT NULL, seconds INTEGER NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
)sql",
    // 2: offline messages that expired are found without reading all.
    "CREATE INDEX offline_expires ON offline (expires_s) WHERE expires_s > 0;",
    // 3: rooms that stay.
    R"sql(
CREATE TABLE rooms (
  jid TEXT PRIMARY KEY NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL,
  listed INTEGER NOT NULL, config TEXT NOT NULL, subject TEXT NOT NULL, subject_by TEXT NOT NULL,
  subject_us INTEGER NOT NULL, secret TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX rooms_listed ON rooms (service, listed, jid);
CREATE TABLE room_affiliations (
  room TEXT NOT NULL, jid TEXT NOT NULL, affiliation TEXT NOT NULL, nick TEXT NOT NULL,
  reason TEXT NOT NULL, PRIMARY KEY (room, jid)) WITHOUT ROWID;
)sql",
    // 4: the nodes that find each other here.
    "CREATE TABLE discovery_nodes (node TEXT PRIMARY KEY NOT NULL, seen_s INTEGER NOT NULL) "
    "WITHOUT ROWID;",
};

std::string ReadMeta(SqliteDb& db, std::string_view name) {
  SqliteQuery query = db.Query(sql::kReadMeta);
  query.Bind(name);
  return query.Row() ? std::string(query.Text(0)) : std::string();
}

int PutMeta(SqliteDb& db, std::string_view name, std::string_view value) {
  SqliteQuery query = db.Query(sql::kPutMeta);
  query.Bind(name).Bind(value).Row();
  return query.code();
}

// 0: a new file. -1: not ours.
int VersionOf(SqliteDb& db) {
  int64_t tables = 0;
  int64_t metas = 0;
  {
    SqliteQuery query =
        db.Query("SELECT count(*), coalesce(sum(name = 'meta'), 0) FROM sqlite_schema");
    if (!query.Row()) return -1;
    tables = query.Int(0);
    metas = query.Int(1);
  }
  if (tables == 0) return 0;
  if (metas == 0) return -1;
  const std::string text = ReadMeta(db, "schema_version");
  int version = -1;
  std::from_chars(text.data(), text.data() + text.size(), version);
  return version >= 1 ? version : -1;
}

}  // namespace

std::expected<StoreIdentity, std::string> UpgradeSqlite(SqliteDb& db, const std::string& path) {
  const auto failed = [&] {
    std::string text = path + " cannot be made ready: " + db.ErrorText() +
                       "; look at the disk and at the rights of the file";
    db.Run("ROLLBACK");
    return std::unexpected(std::move(text));
  };
  if (db.Run("BEGIN IMMEDIATE") != SQLITE_OK) return failed();
  const int version = VersionOf(db);
  if (version < 0) {
    db.Run("ROLLBACK");
    return std::unexpected(path +
                           " is a database, but not one of this server's; name another file");
  }
  if (version > kSqliteSchemaVersion) {
    db.Run("ROLLBACK");
    return std::unexpected(path + " has schema version " + std::to_string(version) +
                           ", and this program knows " + std::to_string(kSqliteSchemaVersion) +
                           ": a newer one wrote it; start that one, or restore a backup of before");
  }
  for (size_t step = static_cast<size_t>(version); step < kSqliteSteps.size(); ++step) {
    if (db.Run(kSqliteSteps[step]) != SQLITE_OK) return failed();
  }
  if (version < kSqliteSchemaVersion &&
      PutMeta(db, "schema_version", std::to_string(kSqliteSchemaVersion)) != SQLITE_OK) {
    return failed();
  }
  std::string id = ReadMeta(db, "cluster_id");
  if (id.empty()) {
    id = RandomId();
    if (PutMeta(db, "cluster_id", id) != SQLITE_OK) return failed();
  }
  uint64_t opening = 0;
  const std::string before = ReadMeta(db, "openings");
  std::from_chars(before.data(), before.data() + before.size(), opening);
  ++opening;
  if (PutMeta(db, "openings", std::to_string(opening)) != SQLITE_OK) return failed();
  if (db.Run("COMMIT") != SQLITE_OK) return failed();
  return StoreIdentity{.cluster_id = std::move(id), .opening = opening};
}

}  // namespace server
