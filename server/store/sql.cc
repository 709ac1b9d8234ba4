#include "server/store/sql.h"

#include <algorithm>
#include <array>

#include "server/store/rows.h"

namespace server {
namespace {

constexpr char kCreateAccount[] =
    "INSERT INTO users (jid, domain, scram_sha1, scram_sha256, scram_sha512, banned, created_s) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (jid) DO NOTHING";
constexpr char kSetKeys[] =
    "UPDATE users SET scram_sha1 = $1, scram_sha256 = $2, scram_sha512 = $3 WHERE jid = $4";
constexpr char kSetBanned[] = "UPDATE users SET banned = $1 WHERE jid = $2";
constexpr char kDeleteUser[] = "DELETE FROM users WHERE jid = $1";
// What else a user has.
constexpr const char* kDeleteOfUser[] = {
    "DELETE FROM roster WHERE owner = $1",    "DELETE FROM roster_version WHERE owner = $1",
    "DELETE FROM blocklist WHERE owner = $1", "DELETE FROM offline WHERE owner = $1",
    "DELETE FROM archive WHERE owner = $1",   "DELETE FROM archive_prefs WHERE owner = $1",
    "DELETE FROM vcard WHERE owner = $1",     "DELETE FROM private_storage WHERE owner = $1",
    "DELETE FROM last WHERE owner = $1",
};
constexpr char kPutRosterItem[] =
    "INSERT INTO roster (owner, jid, name, group_names, subscription, ask, approved, pending_in, "
    "request, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
    "ON CONFLICT (owner, jid) DO UPDATE SET name = excluded.name, "
    "group_names = excluded.group_names, subscription = excluded.subscription, "
    "ask = excluded.ask, approved = excluded.approved, pending_in = excluded.pending_in, "
    "request = excluded.request, version = excluded.version";
constexpr char kDeleteRosterItem[] = "DELETE FROM roster WHERE owner = $1 AND jid = $2";
constexpr char kSetRosterVersion[] =
    "INSERT INTO roster_version (owner, version) VALUES ($1, $2) "
    "ON CONFLICT (owner) DO UPDATE SET version = excluded.version";
constexpr char kBlock[] =
    "INSERT INTO blocklist (owner, jid) VALUES ($1, $2) ON CONFLICT (owner, jid) DO NOTHING";
constexpr char kUnblock[] = "DELETE FROM blocklist WHERE owner = $1 AND jid = $2";
constexpr char kUnblockAll[] = "DELETE FROM blocklist WHERE owner = $1";
constexpr char kAddOffline[] =
    "INSERT INTO offline (owner, id, expires_s, sender, xml) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (owner, id) DO NOTHING";
// The count stops at the limit: it costs no more for those who have filled theirs.
constexpr char kAddOfflineBelow[] =
    "INSERT INTO offline (owner, id, expires_s, sender, xml) SELECT $1, $2, $3, $4, $5 "
    "WHERE (SELECT count(*) FROM (SELECT 1 FROM offline WHERE owner = $1 LIMIT $6) AS waiting) "
    "< $6 ON CONFLICT (owner, id) DO NOTHING";
constexpr char kRemoveOffline[] = "DELETE FROM offline WHERE owner = $1 AND id = $2";
constexpr char kAddArchive[] =
    "INSERT INTO archive (owner, id, peer, resource, outgoing, origin_id, xml) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (owner, id) DO NOTHING";
constexpr char kPutVcard[] =
    "INSERT INTO vcard (owner, xml) VALUES ($1, $2) "
    "ON CONFLICT (owner) DO UPDATE SET xml = excluded.xml";
constexpr char kDeleteVcard[] = "DELETE FROM vcard WHERE owner = $1";
constexpr char kPutPrivate[] =
    "INSERT INTO private_storage (owner, name, space, xml) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (owner, name, space) DO UPDATE SET xml = excluded.xml";
// What is there already is changed however many there are.
constexpr char kPutPrivateBelow[] =
    "INSERT INTO private_storage (owner, name, space, xml) SELECT $1, $2, $3, $4 "
    "WHERE EXISTS (SELECT 1 FROM private_storage WHERE owner = $1 AND name = $2 AND space = $3) "
    "OR (SELECT count(*) FROM (SELECT 1 FROM private_storage WHERE owner = $1 LIMIT $5) AS kept) "
    "< $5 ON CONFLICT (owner, name, space) DO UPDATE SET xml = excluded.xml";
constexpr char kDeletePrivate[] =
    "DELETE FROM private_storage WHERE owner = $1 AND name = $2 AND space = $3";
// Who was removed is not put back by the end of a session.
constexpr char kPutLast[] =
    "INSERT INTO last (owner, seconds, status) SELECT $1, $2, $3 "
    "WHERE EXISTS (SELECT 1 FROM users WHERE jid = $1) "
    "ON CONFLICT (owner) DO UPDATE SET seconds = excluded.seconds, status = excluded.status";
constexpr char kPutArchivePrefs[] =
    "INSERT INTO archive_prefs (owner, xml) VALUES ($1, $2) "
    "ON CONFLICT (owner) DO UPDATE SET xml = excluded.xml";
constexpr char kDeleteArchivePrefs[] = "DELETE FROM archive_prefs WHERE owner = $1";
constexpr char kReplaceArchive[] = "UPDATE archive SET xml = $1 WHERE owner = $2 AND id = $3";
constexpr char kPutRoom[] =
    "INSERT INTO rooms (jid, service, name, listed, config, subject, subject_by, subject_us, "
    "secret) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
constexpr char kSetRoomConfig[] =
    "UPDATE rooms SET name = $1, listed = $2, config = $3 WHERE jid = $4";
constexpr char kSetRoomSubject[] =
    "UPDATE rooms SET subject = $1, subject_by = $2, subject_us = $3 WHERE jid = $4";
// A room that was removed meanwhile gets none: they would be there when its name is used again.
constexpr char kPutRoomAffiliation[] =
    "INSERT INTO room_affiliations (room, jid, affiliation, nick, reason) "
    "SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT 1 FROM rooms WHERE jid = $1) "
    "ON CONFLICT (room, jid) DO UPDATE SET affiliation = excluded.affiliation, "
    "nick = excluded.nick, reason = excluded.reason";
constexpr char kDeleteRoomAffiliation[] =
    "DELETE FROM room_affiliations WHERE room = $1 AND jid = $2";
constexpr char kDeleteRoomAffiliations[] = "DELETE FROM room_affiliations WHERE room = $1";
constexpr char kDeleteRoom[] = "DELETE FROM rooms WHERE jid = $1";
constexpr char kDeleteRoomArchive[] = "DELETE FROM archive WHERE owner = $1";

int64_t Int(uint64_t value) { return static_cast<int64_t>(value); }
int64_t Flag(bool value) { return value ? 1 : 0; }

}  // namespace

struct SqlSteps::Translate {
  SqlSteps& to;

  void Add(const char* sql, std::vector<SqlValue> values,
           std::optional<StoreError> unchanged = std::nullopt) {
    to.steps_.push_back({sql, std::move(values), unchanged});
  }
  std::string_view Own(std::string text) { return to.made_.emplace_back(std::move(text)); }

  std::array<std::string_view, kScramHashes> KeyColumns(
      const std::array<std::optional<ScramKeys>, kScramHashes>& keys) {
    to.made_.reserve(kScramHashes);  // views of them are kept
    std::array<std::string_view, kScramHashes> columns;
    for (size_t hash = 0; hash < kScramHashes; ++hash) columns[hash] = Own(ScramColumn(keys[hash]));
    return columns;
  }

  void operator()(const CreateAccount& w) {
    const Account& account = w.account;
    const auto keys = KeyColumns(account.keys);
    Add(kCreateAccount,
        {w.user, DomainOf(w.user), keys[0], keys[1], keys[2], account.banned, account.created_s},
        StoreError::kConflict);
    // What came for the one before while it was removed.
    DeleteOf(w.user);
  }
  void operator()(const SetKeys& w) {
    const auto keys = KeyColumns(w.keys);
    Add(kSetKeys, {keys[0], keys[1], keys[2], w.user}, StoreError::kAbsent);
  }
  void operator()(const SetBanned& w) { Add(kSetBanned, {w.reason, w.user}, StoreError::kAbsent); }
  void DeleteOf(std::string_view user) {
    for (const char* sql : kDeleteOfUser) Add(sql, {user});
  }
  void operator()(const RemoveAccount& w) {
    Add(kDeleteUser, {w.user}, StoreError::kAbsent);
    DeleteOf(w.user);
  }
  void operator()(const PutRosterItem& w) {
    const RosterItem& item = w.item;
    to.made_.reserve(1);
    Add(kPutRosterItem, {w.user, item.jid, item.name, Own(GroupsColumn(item.groups)),
                         SubscriptionColumn(item.subscription), Flag(item.ask), Flag(item.approved),
                         Flag(item.pending_in), item.request, Int(item.version)});
    Add(kSetRosterVersion, {w.user, Int(item.version)});
  }
  void operator()(const RemoveRosterItem& w) {
    Add(kDeleteRosterItem, {w.user, w.jid});
    Add(kSetRosterVersion, {w.user, Int(w.version)});
  }
  void operator()(const SetBlocked& w) { Add(w.blocked ? kBlock : kUnblock, {w.user, w.jid}); }
  void operator()(const ClearBlocked& w) { Add(kUnblockAll, {w.user}); }
  void operator()(const AddOffline& w) {
    const OfflineEntry& entry = w.entry;
    std::vector<SqlValue> values = {entry.owner, Int(entry.id), entry.expires_s, entry.from,
                                    entry.xml};
    if (w.most > 0) values.emplace_back(int64_t{w.most});
    Add(w.most > 0 ? kAddOfflineBelow : kAddOffline, std::move(values), StoreError::kConflict);
  }
  void operator()(const RemoveOffline& w) {
    for (const uint64_t id : w.ids) Add(kRemoveOffline, {w.user, Int(id)});
  }
  void operator()(const AddArchive& w) {
    const ArchiveEntry& entry = w.entry;
    Add(kAddArchive,
        {entry.owner, Int(entry.id), entry.peer, entry.resource, Flag(entry.outgoing),
         entry.origin_id, entry.xml},
        StoreError::kConflict);
  }
  void operator()(const PutVcard& w) {
    if (w.xml.empty()) return Add(kDeleteVcard, {w.user});
    Add(kPutVcard, {w.user, w.xml});
  }
  void operator()(const PutPrivate& w) {
    if (w.xml.empty()) return Add(kDeletePrivate, {w.user, w.name, w.space});
    if (w.most == 0) return Add(kPutPrivate, {w.user, w.name, w.space, w.xml});
    Add(kPutPrivateBelow, {w.user, w.name, w.space, w.xml, int64_t{w.most}}, StoreError::kConflict);
  }
  void operator()(const PutLast& w) { Add(kPutLast, {w.user, w.last.seconds, w.last.status}); }
  void operator()(const PutArchivePrefs& w) {
    if (w.xml.empty()) return Add(kDeleteArchivePrefs, {w.user});
    Add(kPutArchivePrefs, {w.user, w.xml});
  }
  void operator()(const ReplaceArchive& w) {
    Add(kReplaceArchive, {w.xml, w.owner, Int(w.id)}, StoreError::kAbsent);
  }
  void operator()(const PutRoom& w) {
    const StoredRoom& room = w.room;
    Add(kDeleteRoom, {room.jid});
    Add(kDeleteRoomAffiliations, {room.jid});
    Add(kPutRoom, {room.jid, DomainOf(room.jid), room.name, Flag(room.listed), room.config,
                   room.subject, room.subject_by, room.subject_us, room.secret});
    for (const StoredAffiliation& row : room.affiliations) PutAffiliation(room.jid, row);
  }
  void operator()(const SetRoomConfig& w) {
    Add(kSetRoomConfig, {w.name, Flag(w.listed), w.config, w.room}, StoreError::kAbsent);
  }
  void operator()(const SetRoomSubject& w) {
    Add(kSetRoomSubject, {w.subject, w.by, w.time_us, w.room}, StoreError::kAbsent);
  }
  void operator()(const SetRoomAffiliation& w) { PutAffiliation(w.room, w.row); }
  void operator()(const RemoveRoom& w) {
    Add(kDeleteRoom, {w.room});
    Add(kDeleteRoomAffiliations, {w.room});
    Add(kDeleteRoomArchive, {w.room});
  }
  void PutAffiliation(const std::string& room, const StoredAffiliation& row) {
    if (row.affiliation == "none") return Add(kDeleteRoomAffiliation, {room, row.jid});
    Add(kPutRoomAffiliation, {room, row.jid, row.affiliation, row.nick, row.reason},
        StoreError::kAbsent);
  }
};

std::vector<SqlValue> ValuesOf(const SqlOwned& owned) {
  std::vector<SqlValue> values;
  values.reserve(owned.values.size());
  for (const auto& value : owned.values) {
    std::visit([&values](const auto& v) { values.emplace_back(v); }, value);
  }
  return values;
}

SqlSteps::SqlSteps(const StoreWrite& write) { std::visit(Translate{*this}, write); }

std::vector<const char*> StepsThatMustChange() {
  return {kCreateAccount,  kSetKeys,         kSetBanned,      kDeleteUser,
          kAddOffline,     kAddOfflineBelow, kAddArchive,     kPutPrivateBelow,
          kReplaceArchive, kSetRoomConfig,   kSetRoomSubject, kPutRoomAffiliation};
}

uint32_t PageLimit(const ArchiveQuery& query) { return std::min(query.most, kArchivePageMax); }

ArchiveSql PageSql(const ArchiveQuery& query) {
  ArchiveSql made;
  const uint64_t start = FirstArchiveId(query.start_us);
  const uint64_t end = query.end_us > 0 ? LastArchiveId(query.end_us) : uint64_t{INT64_MAX};
  const uint64_t first = std::max(start, query.after > 0 ? query.after + 1 : 0);
  const uint64_t last = std::min(end, query.before > 0 ? query.before - 1 : uint64_t{INT64_MAX});
  const SplitJid with = SplitResource(query.with);
  made.values = {query.owner, Int(first), Int(last)};
  made.count_values = {query.owner, Int(start), Int(end)};
  if (query.with.empty()) {
    made.page = query.backwards ? sql::kPageBack : sql::kPage;
    made.count = sql::kCount;
  } else if (with.resource.empty()) {
    made.page = query.backwards ? sql::kPagePeerBack : sql::kPagePeer;
    made.count = sql::kCountPeer;
  } else {
    made.page = query.backwards ? sql::kPageFullBack : sql::kPageFull;
    made.count = sql::kCountFull;
  }
  for (const std::string_view part : {with.bare, with.resource}) {
    if (part.empty()) continue;
    made.values.emplace_back(part);
    made.count_values.emplace_back(part);
  }
  made.values.emplace_back(int64_t{PageLimit(query)} + 1);
  return made;
}

}  // namespace server
