#include "server/store/reads.h"

#include <algorithm>

#include "server/store/rows.h"

namespace server {
namespace {

using std::string_view;

uint64_t Id(int64_t column) { return static_cast<uint64_t>(column); }

void TakeAccount(SqlAnswers& rows, LoadedUser* into) {
  if (!rows.Row()) return;
  into->exists = true;
  for (size_t i = 0; i < kScramHashes; ++i) {
    into->account.keys[i] = ReadScramColumn(rows.Text(static_cast<int>(i)));
  }
  into->account.banned = rows.Text(3);
  into->account.created_s = rows.Int(4);
}

void TakeRoster(SqlAnswers& rows, LoadedUser* into) {
  while (rows.Row()) {
    RosterItem& item = into->roster.emplace_back();
    item.jid = rows.Text(0);
    item.name = rows.Text(1);
    item.groups = ReadGroupsColumn(rows.Text(2));
    item.subscription = ReadSubscriptionColumn(rows.Text(3));
    item.ask = rows.Int(4) != 0;
    item.approved = rows.Int(5) != 0;
    item.pending_in = rows.Int(6) != 0;
    item.request = rows.Text(7);
    item.version = Id(rows.Int(8));
  }
}

// False: there are more, which would be too many bytes at once.
bool TakeEntries(SqlAnswers& rows, const std::string& owner, ArchivePage* page) {
  size_t bytes = 0;
  while (rows.Row()) {
    bytes += rows.Text(5).size();
    if (bytes > kReadBytesMax && !page->entries.empty()) return false;
    ArchiveEntry& entry = page->entries.emplace_back();
    entry.owner = owner;
    entry.id = Id(rows.Int(0));
    entry.peer = rows.Text(1);
    entry.resource = rows.Text(2);
    entry.outgoing = rows.Int(3) != 0;
    entry.origin_id = rows.Text(4);
    entry.xml = rows.Text(5);
  }
  return true;
}

// A page's last entry too many, and the order of time. `all`: as many as were asked for.
void Trim(const ArchiveQuery& query, bool all, ArchivePage* page) {
  page->complete = all && page->entries.size() <= PageLimit(query);
  if (page->entries.size() > PageLimit(query)) page->entries.pop_back();
  if (query.backwards) std::reverse(page->entries.begin(), page->entries.end());
}

// The first column of all rows.
ReadResult<std::vector<std::string>> ReadNames(SqlSource& db, const SqlAsk& asked) {
  const auto rows = db.Ask({asked});
  rows->Next();
  std::vector<std::string> names;
  while (rows->Row()) names.emplace_back(rows->Text(0));
  if (!rows->good()) return std::nullopt;
  return names;
}

// Below which of `owner`'s ids all may go; 0: nothing may.
ReadResult<uint64_t> KeptFrom(SqlSource& db, const Retention& retention, const std::string& owner) {
  const uint64_t by_age = FirstArchiveId(retention.archive_before_us);
  if (retention.archive_most == 0) return by_age;
  const auto by_count = ReadInt(
      db,
      {sql::kNewestButN, {string_view(owner), static_cast<int64_t>(retention.archive_most - 1)}});
  if (!by_count) return std::nullopt;
  return std::max(by_age, Id(*by_count));
}

// At most `room` of an owner's entries that may go. Their number.
ReadResult<uint32_t> DoomArchive(SqlSource& db, const Retention& retention,
                                 const std::string& owner, uint32_t room, Doomed* doomed) {
  const auto below = KeptFrom(db, retention, owner);
  if (!below) return std::nullopt;
  const auto rows =
      db.Ask({{sql::kIdsBelow, {string_view(owner), static_cast<int64_t>(*below), int64_t{room}}}});
  rows->Next();
  uint32_t count = 0;
  int64_t first = 0;
  int64_t last = 0;
  while (rows->Row()) {
    last = rows->Int(0);
    if (count++ == 0) first = last;
  }
  if (!rows->good()) return std::nullopt;
  if (count > 0) doomed->script.push_back({sql::kDeleteArchive, {owner, first, last}});
  return count;
}

bool DoomOffline(SqlSource& db, int64_t now_s, uint32_t room, Doomed* doomed) {
  const auto rows = db.Ask({{sql::kExpired, {now_s, int64_t{room}}}});
  rows->Next();
  while (rows->Row()) {
    doomed->script.push_back({sql::kDeleteOffline, {std::string(rows->Text(0)), rows->Int(1)}});
    ++doomed->retired.offline;
  }
  doomed->retired.more = doomed->retired.more || doomed->retired.offline == room;
  return rows->good();
}

}  // namespace

ReadResult<LoadedUser> ReadUser(SqlSource& db, const std::string& user, int64_t now_s) {
  const string_view name = user;
  const auto rows = db.Ask({{sql::kReadAccount, {name}},
                            {sql::kReadRosterVersion, {name}},
                            {sql::kReadRoster, {name}},
                            {sql::kReadBlocked, {name}},
                            {sql::kCountOffline, {name, now_s}},
                            {sql::kReadArchivePrefs, {name}}});
  LoadedUser loaded;
  rows->Next();
  TakeAccount(*rows, &loaded);
  rows->Next();
  if (rows->Row()) loaded.roster_version = Id(rows->Int(0));
  rows->Next();
  TakeRoster(*rows, &loaded);
  rows->Next();
  while (rows->Row()) loaded.blocked.emplace_back(rows->Text(0));
  rows->Next();
  if (rows->Row()) loaded.offline = static_cast<uint32_t>(rows->Int(0));
  rows->Next();
  if (rows->Row()) loaded.archive_prefs = rows->Text(0);
  if (!rows->good()) return std::nullopt;
  return loaded;
}

ReadResult<OfflinePage> ReadOffline(SqlSource& db, const std::string& user, uint64_t after,
                                    uint32_t most, int64_t now_s) {
  const auto rows =
      db.Ask({{sql::kReadOffline,
               {string_view(user), now_s, static_cast<int64_t>(after), int64_t{most} + 1},
               SqlCut::kUp}});
  rows->Next();
  OfflinePage page;
  size_t bytes = 0;
  page.complete = true;
  while (page.complete && rows->Row()) {
    bytes += rows->Text(3).size();
    page.complete = page.entries.size() < most && (bytes <= kReadBytesMax || page.entries.empty());
    if (!page.complete) break;
    OfflineEntry& entry = page.entries.emplace_back();
    entry.owner = user;
    entry.id = Id(rows->Int(0));
    entry.expires_s = rows->Int(1);
    entry.from = rows->Text(2);
    entry.xml = rows->Text(3);
  }
  if (!rows->good()) return std::nullopt;
  return page;
}

ReadResult<ArchivePage> ReadArchive(SqlSource& db, const ArchiveQuery& query) {
  ArchivePage page;
  const ArchiveSql made = PageSql(query);
  std::vector<SqlAsk> asked = {
      {made.page, made.values, query.backwards ? SqlCut::kDown : SqlCut::kUp}};
  for (const uint64_t bound : {query.after, query.before}) {
    if (bound == 0) continue;
    page.bound_known = page.bound_known && bound <= uint64_t{INT64_MAX};
    asked.push_back({sql::kArchiveHas, {string_view(query.owner), static_cast<int64_t>(bound)}});
  }
  if (!page.bound_known) return page;
  const size_t bounds = asked.size() - 1;
  if (query.count) asked.push_back({made.count, made.count_values});
  const auto rows = db.Ask(asked);
  rows->Next();
  const bool all = TakeEntries(*rows, query.owner, &page);
  for (size_t i = 0; i < bounds; ++i) {
    rows->Next();
    if (!rows->Row()) page.bound_known = false;
  }
  rows->Next();
  if (query.count && rows->Row()) page.count = Id(rows->Int(0));
  if (!rows->good()) return std::nullopt;
  if (!page.bound_known) return ArchivePage{.bound_known = false};
  Trim(query, all, &page);
  return page;
}

ReadResult<std::optional<LastActivity>> ReadLast(SqlSource& db, const std::string& user) {
  const auto rows = db.Ask({{sql::kReadLast, {string_view(user)}}});
  rows->Next();
  std::optional<LastActivity> last;
  if (rows->Row()) {
    last = LastActivity{.seconds = rows->Int(0), .status = std::string(rows->Text(1))};
  }
  if (!rows->good()) return std::nullopt;
  return std::make_optional(std::move(last));
}

ReadResult<std::vector<std::string>> ReadNodes(SqlSource& db, int64_t seen_from_s) {
  return ReadNames(db, {sql::kReadNodes, {seen_from_s, int64_t{kNodesMax}}});
}

ReadResult<std::vector<std::string>> ReadAccounts(SqlSource& db, const std::string& domain,
                                                  const std::string& after, uint32_t most) {
  return ReadNames(db,
                   {sql::kReadAccounts, {string_view(domain), string_view(after), int64_t{most}}});
}

ReadResult<StoredRoom> ReadRoom(SqlSource& db, const std::string& room) {
  const auto rows = db.Ask(
      {{sql::kReadRoom, {string_view(room)}}, {sql::kReadRoomAffiliations, {string_view(room)}}});
  StoredRoom stored;
  rows->Next();
  if (rows->Row()) {
    stored.jid = rows->Text(0);
    stored.name = rows->Text(1);
    stored.listed = rows->Int(2) != 0;
    stored.config = rows->Text(3);
    stored.subject = rows->Text(4);
    stored.subject_by = rows->Text(5);
    stored.subject_us = rows->Int(6);
    stored.secret = rows->Text(7);
  }
  rows->Next();
  while (rows->Row()) {
    stored.affiliations.push_back({.jid = std::string(rows->Text(0)),
                                   .affiliation = std::string(rows->Text(1)),
                                   .nick = std::string(rows->Text(2)),
                                   .reason = std::string(rows->Text(3))});
  }
  if (!rows->good()) return std::nullopt;
  return stored;
}

ReadResult<std::vector<RoomName>> ReadListedRooms(SqlSource& db, const std::string& service,
                                                  const std::string& after, uint32_t most) {
  const auto rows =
      db.Ask({{sql::kReadListedRooms, {string_view(service), string_view(after), int64_t{most}}}});
  rows->Next();
  std::vector<RoomName> names;
  while (rows->Row()) {
    names.push_back({.jid = std::string(rows->Text(0)), .name = std::string(rows->Text(1))});
  }
  if (!rows->good()) return std::nullopt;
  return names;
}

ReadResult<std::string> ReadText(SqlSource& db, const SqlAsk& asked) {
  const auto rows = db.Ask({asked});
  rows->Next();
  std::string text(rows->Row() ? rows->Text(0) : string_view());
  if (!rows->good()) return std::nullopt;
  return text;
}

ReadResult<int64_t> ReadInt(SqlSource& db, const SqlAsk& asked) {
  const auto rows = db.Ask({asked});
  rows->Next();
  const int64_t number = rows->Row() ? rows->Int(0) : 0;
  if (!rows->good()) return std::nullopt;
  return number;
}

ReadResult<Doomed> ReadDoomed(SqlSource& db, const Retention& retention) {
  Doomed doomed;
  Retired& retired = doomed.retired;
  uint32_t room = kRetireSlice;
  std::string owner = retention.after_owner;
  retired.more = retention.archive_before_us > 0 || retention.archive_most > 0;
  for (uint32_t looked = 0; retired.more && looked < kRetireOwners && room > 0; ++looked) {
    const auto next = ReadText(db, {sql::kNextOwner, {string_view(owner)}});
    if (!next) return std::nullopt;
    retired.more = !next->empty();
    if (!retired.more) break;
    const auto count = DoomArchive(db, retention, *next, room, &doomed);
    if (!count) return std::nullopt;
    retired.archive += *count;
    room -= *count;
    if (room > 0) owner = *next;  // else there may be more of this one
  }
  retired.next_owner = owner;
  if (retention.now_s > 0 && room > 0 && !DoomOffline(db, retention.now_s, room, &doomed)) {
    return std::nullopt;
  }
  return doomed;
}

}  // namespace server
