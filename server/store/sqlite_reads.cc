#include "server/store/sqlite_reads.h"

#include <algorithm>

#include "server/store/rows.h"

namespace server {
namespace {

class ReadTransaction {
 public:
  explicit ReadTransaction(SqliteDb& db) : db_(db), code_(db.Run("BEGIN")) {}
  ~ReadTransaction() {
    if (code_ == SQLITE_OK) db_.Run("COMMIT");
  }
  ReadTransaction(const ReadTransaction&) = delete;
  ReadTransaction& operator=(const ReadTransaction&) = delete;
  int code() const { return code_; }

 private:
  SqliteDb& db_;
  const int code_;
};

uint64_t Id(int64_t column) { return static_cast<uint64_t>(column); }

int ReadAccount(SqliteDb& db, const std::string& user, LoadedUser* into) {
  SqliteQuery query = db.Query(sql::kReadAccount);
  if (query.Bind(std::string_view(user)).Row()) {
    into->exists = true;
    for (size_t i = 0; i < kScramHashes; ++i) {
      into->account.keys[i] = ReadScramColumn(query.Text(static_cast<int>(i)));
    }
    into->account.banned = query.Text(3);
    into->account.created_s = query.Int(4);
  }
  return query.code();
}

int ReadRoster(SqliteDb& db, const std::string& user, LoadedUser* into) {
  SqliteQuery query = db.Query(sql::kReadRoster);
  query.Bind(std::string_view(user));
  while (query.Row()) {
    RosterItem& item = into->roster.emplace_back();
    item.jid = query.Text(0);
    item.name = query.Text(1);
    item.groups = ReadGroupsColumn(query.Text(2));
    item.subscription = ReadSubscriptionColumn(query.Text(3));
    item.ask = query.Int(4) != 0;
    item.approved = query.Int(5) != 0;
    item.pending_in = query.Int(6) != 0;
    item.request = query.Text(7);
    item.version = Id(query.Int(8));
  }
  return query.code();
}

int ReadBlocked(SqliteDb& db, const std::string& user, LoadedUser* into) {
  SqliteQuery query = db.Query(sql::kReadBlocked);
  query.Bind(std::string_view(user));
  while (query.Row()) into->blocked.emplace_back(query.Text(0));
  return query.code();
}

// `bound` is an id that a client named; 0: none.
SqliteResult<bool> Has(SqliteDb& db, const std::string& owner, uint64_t bound) {
  if (bound == 0) return true;
  if (bound > uint64_t{INT64_MAX}) return false;
  SqliteQuery query = db.Query(sql::kArchiveHas);
  query.Bind(std::string_view(owner)).Bind(static_cast<int64_t>(bound));
  const bool has = query.Row();
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  return has;
}

int ReadEntries(SqliteDb& db, const ArchiveQuery& asked, const ArchiveSql& made,
                ArchivePage* page) {
  SqliteQuery query = db.Query(made.page);
  query.BindAll(made.values);
  while (query.Row()) {
    ArchiveEntry& entry = page->entries.emplace_back();
    entry.owner = asked.owner;
    entry.id = Id(query.Int(0));
    entry.peer = query.Text(1);
    entry.resource = query.Text(2);
    entry.outgoing = query.Int(3) != 0;
    entry.origin_id = query.Text(4);
    entry.xml = query.Text(5);
  }
  return query.code();
}

// The oldest id that `owner` keeps by count; 0: all.
SqliteResult<uint64_t> FirstKept(SqliteDb& db, const std::string& owner, uint64_t most) {
  const auto id =
      ReadInt(db, sql::kNewestButN, {std::string_view(owner), static_cast<int64_t>(most - 1)});
  if (!id) return std::unexpected(id.error());
  return Id(*id);
}

// What of one owner's archive lies below the bounds, at most `room` entries. Their number.
SqliteResult<uint32_t> DoomArchive(SqliteDb& db, const Retention& retention,
                                   const std::string& owner, uint32_t room, Doomed* doomed) {
  uint64_t below = FirstArchiveId(retention.archive_before_us);
  if (retention.archive_most > 0) {
    const auto kept = FirstKept(db, owner, retention.archive_most);
    if (!kept) return std::unexpected(kept.error());
    below = std::max(below, *kept);
  }
  if (below == 0) return 0;
  SqliteQuery query = db.Query(sql::kIdsBelow);
  query.Bind(std::string_view(owner)).Bind(static_cast<int64_t>(below)).Bind(int64_t{room});
  uint32_t count = 0;
  Doomed::Range range{.owner = owner};
  while (query.Row()) {
    range.last = Id(query.Int(0));
    if (count++ == 0) range.first = range.last;
  }
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  if (count > 0) doomed->archive.push_back(std::move(range));
  doomed->archive_entries += count;
  return count;
}

}  // namespace

SqliteResult<LoadedUser> ReadUser(SqliteDb& db, const std::string& user, int64_t now_s) {
  const ReadTransaction transaction(db);
  LoadedUser loaded;
  int code = transaction.code();
  if (code == SQLITE_OK) code = ReadAccount(db, user, &loaded);
  if (code == SQLITE_OK) code = ReadRoster(db, user, &loaded);
  if (code == SQLITE_OK) code = ReadBlocked(db, user, &loaded);
  if (code != SQLITE_OK) return std::unexpected(code);
  const auto version = ReadInt(db, sql::kReadRosterVersion, {std::string_view(user)});
  if (!version) return std::unexpected(version.error());
  const auto offline = ReadInt(db, sql::kCountOffline, {std::string_view(user), now_s});
  if (!offline) return std::unexpected(offline.error());
  loaded.roster_version = Id(*version);
  loaded.offline = static_cast<uint32_t>(*offline);
  return loaded;
}

SqliteResult<std::vector<OfflineEntry>> ReadOffline(SqliteDb& db, const std::string& user,
                                                    uint32_t most, int64_t now_s) {
  SqliteQuery query = db.Query(sql::kReadOffline);
  query.Bind(std::string_view(user)).Bind(now_s).Bind(int64_t{most});
  std::vector<OfflineEntry> entries;
  while (query.Row()) {
    OfflineEntry& entry = entries.emplace_back();
    entry.owner = user;
    entry.id = Id(query.Int(0));
    entry.expires_s = query.Int(1);
    entry.from = query.Text(2);
    entry.xml = query.Text(3);
  }
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  return entries;
}

SqliteResult<ArchivePage> ReadArchive(SqliteDb& db, const ArchiveQuery& query) {
  const ReadTransaction transaction(db);
  if (transaction.code() != SQLITE_OK) return std::unexpected(transaction.code());
  ArchivePage page;
  for (const uint64_t bound : {query.after, query.before}) {
    const auto known = Has(db, query.owner, bound);
    if (!known) return std::unexpected(known.error());
    page.bound_known = page.bound_known && *known;
  }
  if (!page.bound_known) return page;
  const ArchiveSql made = PageSql(query);
  if (const int code = ReadEntries(db, query, made, &page); code != SQLITE_OK) {
    return std::unexpected(code);
  }
  page.complete = page.entries.size() <= PageLimit(query);
  if (!page.complete) page.entries.pop_back();
  if (query.backwards) std::reverse(page.entries.begin(), page.entries.end());
  if (query.count) {
    const auto count = ReadInt(db, made.count, made.count_values);
    if (!count) return std::unexpected(count.error());
    page.count = static_cast<uint64_t>(*count);
  }
  return page;
}

SqliteResult<std::optional<LastActivity>> ReadLast(SqliteDb& db, const std::string& user) {
  SqliteQuery query = db.Query(sql::kReadLast);
  std::optional<LastActivity> last;
  if (query.Bind(std::string_view(user)).Row()) {
    last = LastActivity{.seconds = query.Int(0), .status = std::string(query.Text(1))};
  }
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  return last;
}

SqliteResult<std::vector<std::string>> ReadAccounts(SqliteDb& db, const std::string& domain,
                                                    const std::string& after, uint32_t most) {
  SqliteQuery query = db.Query(sql::kReadAccounts);
  query.Bind(std::string_view(domain)).Bind(std::string_view(after)).Bind(int64_t{most});
  std::vector<std::string> names;
  while (query.Row()) names.emplace_back(query.Text(0));
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  return names;
}

SqliteResult<std::string> ReadText(SqliteDb& db, const char* sql,
                                   const std::vector<SqlValue>& values) {
  SqliteQuery query = db.Query(sql);
  std::string text(query.BindAll(values).Row() ? query.Text(0) : std::string_view());
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  return text;
}

SqliteResult<int64_t> ReadInt(SqliteDb& db, const char* sql, const std::vector<SqlValue>& values) {
  SqliteQuery query = db.Query(sql);
  const int64_t number = query.BindAll(values).Row() ? query.Int(0) : 0;
  if (query.code() != SQLITE_OK) return std::unexpected(query.code());
  return number;
}

SqliteResult<Doomed> ReadDoomed(SqliteDb& db, const Retention& retention) {
  const ReadTransaction transaction(db);
  if (transaction.code() != SQLITE_OK) return std::unexpected(transaction.code());
  Doomed doomed;
  uint32_t room = kRetireSlice;
  std::string owner = retention.after_owner;
  doomed.more = retention.archive_before_us > 0 || retention.archive_most > 0;
  for (uint32_t looked = 0; doomed.more && looked < kRetireOwners && room > 0; ++looked) {
    const auto next = ReadText(db, sql::kNextOwner, {std::string_view(owner)});
    if (!next) return std::unexpected(next.error());
    doomed.more = !next->empty();
    if (!doomed.more) break;
    const auto count = DoomArchive(db, retention, *next, room, &doomed);
    if (!count) return std::unexpected(count.error());
    room -= *count;
    if (room > 0) owner = *next;  // else there may be more of this one
  }
  doomed.next_owner = owner;
  if (retention.now_s > 0 && room > 0) {
    SqliteQuery query = db.Query(sql::kExpired);
    query.Bind(retention.now_s).Bind(int64_t{room});
    while (query.Row()) doomed.offline.emplace_back(query.Text(0), Id(query.Int(1)));
    if (query.code() != SQLITE_OK) return std::unexpected(query.code());
    doomed.more = doomed.more || doomed.offline.size() == room;
  }
  return doomed;
}

}  // namespace server
