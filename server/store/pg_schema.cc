#include "server/store/pg_schema.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "server/store/random_id.h"
#include "server/store/sql.h"

namespace server {
namespace {

// Step n makes version n of version n - 1. What was released is never changed. Texts are compared
// byte by byte, as SQLite does it, whatever the database's language is.
constexpr std::array<const char*, kPgSchemaVersion> kPgSteps = {
    R"sql(
CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE users (
  jid text COLLATE "C" PRIMARY KEY, domain text COLLATE "C" NOT NULL,
  scram_sha1 text NOT NULL, scram_sha256 text NOT NULL, scram_sha512 text NOT NULL,
  banned text NOT NULL, created_s bigint NOT NULL);
CREATE INDEX users_domain ON users (domain, jid);
CREATE TABLE roster (
  owner text COLLATE "C" NOT NULL, jid text COLLATE "C" NOT NULL, name text NOT NULL,
  group_names text NOT NULL, subscription text NOT NULL, ask bigint NOT NULL,
  approved bigint NOT NULL, pending_in bigint NOT NULL, request text NOT NULL,
  version bigint NOT NULL, PRIMARY KEY (owner, jid));
CREATE TABLE roster_version (owner text COLLATE "C" PRIMARY KEY, version bigint NOT NULL);
CREATE TABLE blocklist (
  owner text COLLATE "C" NOT NULL, jid text COLLATE "C" NOT NULL, PRIMARY KEY (owner, jid));
CREATE TABLE offline (
  owner text COLLATE "C" NOT NULL, id bigint NOT NULL, expires_s bigint NOT NULL,
  sender text NOT NULL, xml text NOT NULL, PRIMARY KEY (owner, id));
CREATE INDEX offline_expires ON offline (expires_s) WHERE expires_s > 0;
CREATE TABLE archive (
  owner text COLLATE "C" NOT NULL, id bigint NOT NULL, peer text COLLATE "C" NOT NULL,
  resource text COLLATE "C" NOT NULL, outgoing bigint NOT NULL, origin_id text NOT NULL,
  xml text NOT NULL, PRIMARY KEY (owner, id));
CREATE INDEX archive_peer ON archive (owner, peer, id, resource);
CREATE TABLE archive_prefs (owner text COLLATE "C" PRIMARY KEY, xml text NOT NULL);
CREATE TABLE vcard (owner text COLLATE "C" PRIMARY KEY, xml text NOT NULL);
CREATE TABLE private_storage (
  owner text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
  space text COLLATE "C" NOT NULL, xml text NOT NULL, PRIMARY KEY (owner, name, space));
CREATE TABLE last (owner text COLLATE "C" PRIMARY KEY, seconds bigint NOT NULL, status text NOT NULL);
-- A row a writer: the number of its last transaction, and whether that was given up.
CREATE TABLE commit_marks (
  writer text PRIMARY KEY, sequence bigint NOT NULL, fenced bigint NOT NULL, at_s bigint NOT NULL);
)sql",
    // 2: rooms that stay.
    R"sql(
CREATE TABLE rooms (
  jid text COLLATE "C" PRIMARY KEY, service text COLLATE "C" NOT NULL, name text NOT NULL,
  listed bigint NOT NULL, config text NOT NULL, subject text NOT NULL, subject_by text NOT NULL,
  subject_us bigint NOT NULL, secret text NOT NULL);
CREATE INDEX rooms_listed ON rooms (service, listed, jid);
CREATE TABLE room_affiliations (
  room text COLLATE "C" NOT NULL, jid text COLLATE "C" NOT NULL, affiliation text NOT NULL,
  nick text NOT NULL, reason text NOT NULL, PRIMARY KEY (room, jid));
)sql",
    // 3: the nodes that find each other here.
    R"sql(
CREATE TABLE discovery_nodes (node text COLLATE "C" PRIMARY KEY, seen_s bigint NOT NULL);
)sql",
};

// "mongooseim" in hexadecimal, folded: nobody else's lock in this database.
constexpr char kLock[] = "SELECT pg_advisory_xact_lock(7885070931)";
constexpr char kHasMeta[] =
    "SELECT count(*) FROM pg_tables WHERE tablename = 'meta' AND "
    "schemaname = ANY (current_schemas(false))";
constexpr char kHasUsers[] =
    "SELECT count(*) FROM pg_tables WHERE tablename = 'users' AND "
    "schemaname = ANY (current_schemas(false))";

bool Good(const PgResult& result) { return PgGood(result.get()); }

std::string First(const PgResult& result) {
  if (!Good(result) || PQntuples(result.get()) == 0) return {};
  return PQgetvalue(result.get(), 0, 0);
}

std::string ReadMeta(PgConnection& db, std::string_view name) {
  return First(db.Run({sql::kReadMeta, {name}}));
}

bool PutMeta(PgConnection& db, std::string_view name, std::string_view value) {
  return Good(db.Run({sql::kPutMeta, {name, value}}));
}

// 0: a new database. -1: not ours.
int VersionOf(PgConnection& db) {
  if (First(db.Run(kHasMeta)) == "0") return First(db.Run(kHasUsers)) == "0" ? 0 : -1;
  const std::string text = ReadMeta(db, "schema_version");
  int version = -1;
  std::from_chars(text.data(), text.data() + text.size(), version);
  return version >= 1 ? version : -1;
}

}  // namespace

std::expected<StoreIdentity, std::string> UpgradePg(PgConnection& db, const std::string& shown) {
  const auto failed = [&] {
    std::string text = shown + " cannot be made ready: " + db.ErrorText() +
                       "; the server's user needs the right to create tables there";
    db.Run("ROLLBACK");
    return std::unexpected(std::move(text));
  };
  if (!Good(db.Run("BEGIN")) || !Good(db.Run(kLock))) return failed();
  const int version = VersionOf(db);
  if (version < 0) {
    db.Run("ROLLBACK");
    return std::unexpected(shown + " has tables, but not this server's; name another database");
  }
  if (version > kPgSchemaVersion) {
    db.Run("ROLLBACK");
    return std::unexpected(shown + " has schema version " + std::to_string(version) +
                           ", and this program knows " + std::to_string(kPgSchemaVersion) +
                           ": a newer one wrote it; start that one, or restore a backup of before");
  }
  for (size_t step = static_cast<size_t>(version); step < kPgSteps.size(); ++step) {
    if (!Good(db.Run(kPgSteps[step]))) return failed();
  }
  if (version < kPgSchemaVersion &&
      !PutMeta(db, "schema_version", std::to_string(kPgSchemaVersion))) {
    return failed();
  }
  std::string id = ReadMeta(db, "cluster_id");
  if (id.empty()) {
    id = RandomId();
    if (!PutMeta(db, "cluster_id", id)) return failed();
  }
  uint64_t opening = 0;
  const std::string before = ReadMeta(db, "openings");
  std::from_chars(before.data(), before.data() + before.size(), opening);
  ++opening;
  if (!PutMeta(db, "openings", std::to_string(opening))) return failed();
  if (!Good(db.Run("COMMIT"))) return failed();
  return StoreIdentity{.cluster_id = std::move(id), .opening = opening};
}

}  // namespace server
