#include "server/store/copy_store.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "net/io/event_loop.h"

namespace server {
namespace {

constexpr int64_t kPage = 500;  // rows, of one transaction
constexpr std::chrono::milliseconds kLook{20};

// A store's own, which no other gets: who it is, how its writers go on, and who found whom there
// (the nodes of a copy would join those of the original).
constexpr std::string_view kOwn[] = {"meta", "commit_marks", "discovery_nodes"};

constexpr char kSqliteColumns[] =
    "SELECT m.name, p.name, CASE WHEN p.type = 'INTEGER' THEN 1 ELSE 0 END, p.pk "
    "FROM sqlite_schema AS m, pragma_table_info(m.name) AS p "
    "WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, p.cid";
constexpr char kPgColumns[] =
    "SELECT c.table_name, c.column_name, CASE WHEN c.data_type = 'bigint' THEN 1 ELSE 0 END, "
    "coalesce(k.ordinal_position, 0) FROM information_schema.columns AS c "
    "LEFT JOIN information_schema.table_constraints AS t ON t.table_schema = c.table_schema "
    "AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY' "
    "LEFT JOIN information_schema.key_column_usage AS k ON k.table_schema = c.table_schema "
    "AND k.table_name = c.table_name AND k.constraint_name = t.constraint_name "
    "AND k.column_name = c.column_name "
    "WHERE c.table_schema = current_schema() ORDER BY c.table_name, c.ordinal_position";
constexpr char kPutClusterId[] = "UPDATE meta SET value = $1 WHERE name = 'cluster_id'";
constexpr char kPutUnfinished[] =
    "INSERT INTO meta (name, value) VALUES ('unfinished', $1) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value";
constexpr char kEndUnfinished[] = "DELETE FROM meta WHERE name = 'unfinished'";

struct Column {
  std::string name;
  bool number = false;
  int64_t key = 0;  // its place in the primary key; 0: none
  friend bool operator==(const Column& a, const Column& b) {
    return a.name == b.name && a.number == b.number && a.key == b.key;
  }
};
using Tables = std::map<std::string, std::vector<Column>>;
using Row = std::vector<std::variant<int64_t, std::string>>;

std::string List(const std::vector<const Column*>& columns, bool numbers) {
  std::string list;
  for (size_t i = 0; i < columns.size(); ++i) {
    list += (i == 0 ? "" : ", ") + (numbers ? "$" + std::to_string(i + 1) : columns[i]->name);
  }
  return list;
}

class Copier {
 public:
  Copier(StoreBackend& from, StoreBackend& to, bool from_sqlite, bool to_sqlite,
         net::EventLoop& loop)
      : from_(from),
        loop_(loop),
        keeper_(to.Keeper(loop)),
        from_sqlite_(from_sqlite),
        to_sqlite_(to_sqlite),
        source_(from.Source()),
        target_(to.Source()) {}

  std::expected<CopyReport, std::string> Run(
      const std::function<void(const CopyProgress&)>& progress);

 private:
  std::string Columns(SqlSource* source, bool sqlite, Tables* tables);
  std::string Compare(const Tables& theirs, const Tables& ours);
  std::string Count(SqlSource& source, const std::string& table, uint64_t* count);
  std::string CopyTable(const std::string& table, const std::vector<Column>& columns,
                        const std::function<void(const CopyProgress&)>& progress);
  std::string Write(SqlScript script);
  // Stays for as long as a connection may remember it.
  const char* Keep(std::string text) { return texts_.emplace_back(std::move(text)).c_str(); }

  StoreBackend& from_;
  net::EventLoop& loop_;
  const std::unique_ptr<StoreKeeper> keeper_;  // of the target
  const bool from_sqlite_;
  const bool to_sqlite_;
  static inline std::deque<std::string> texts_;
  std::unique_ptr<SqlSource> source_;
  std::unique_ptr<SqlSource> target_;
  CopyReport report_;
};

std::string Copier::Columns(SqlSource* source, bool sqlite, Tables* tables) {
  if (source == nullptr) return "a store cannot be read";
  const auto rows = source->Ask({{sqlite ? kSqliteColumns : kPgColumns, {}}});
  rows->Next();
  while (rows->Row()) {
    const std::string table(rows->Text(0));
    if (std::ranges::find(kOwn, table) != std::end(kOwn)) continue;
    (*tables)[table].push_back(
        {.name = std::string(rows->Text(1)), .number = rows->Int(2) == 1, .key = rows->Int(3)});
  }
  return rows->good() ? "" : source->ErrorText();
}

// What the target cannot take must not get lost on the way.
std::string Copier::Compare(const Tables& theirs, const Tables& ours) {
  for (const auto& [table, columns] : theirs) {
    const auto at = ours.find(table);
    if (at == ours.end()) return "the target has no table " + table;
    const bool same = std::ranges::is_permutation(columns, at->second);
    if (!same) return "the table " + table + " is another in the target";
  }
  return {};
}

std::string Copier::Count(SqlSource& source, const std::string& table, uint64_t* count) {
  const auto rows = source.Ask({{Keep("SELECT count(*) FROM " + table), {}}});
  rows->Next();
  *count = rows->Row() ? static_cast<uint64_t>(rows->Int(0)) : 0;
  return rows->good() ? "" : source.ErrorText();
}

std::string Copier::Write(SqlScript script) {
  std::optional<std::expected<std::monostate, StoreError>> end;
  keeper_->Run(std::move(script), [&end](auto result) { end = std::move(result); });
  while (!end) loop_.RunOnce(kLook);
  return *end ? "" : "the target did not take it: " + std::string(ToString(end->error()));
}

std::string Copier::CopyTable(const std::string& table, const std::vector<Column>& columns,
                              const std::function<void(const CopyProgress&)>& progress) {
  std::vector<const Column*> all;
  std::vector<const Column*> keys;
  for (const Column& column : columns) {
    all.push_back(&column);
    if (column.key > 0) keys.push_back(&column);
  }
  std::ranges::sort(keys, {}, &Column::key);
  if (keys.empty()) return "the table " + table + " has no key";
  const std::string key_list = List(keys, false);
  const std::string select = "SELECT " + List(all, false) + " FROM " + table;
  const std::string order = " ORDER BY " + key_list + " LIMIT $";
  const char* first = Keep(select + order + "1");
  const char* next = Keep(select + " WHERE (" + key_list + ") > (" + List(keys, true) + ")" +
                          order + std::to_string(keys.size() + 1));
  const char* insert =
      Keep("INSERT INTO " + table + " (" + List(all, false) + ") VALUES (" + List(all, true) + ")");
  CopyProgress done{.table = table};
  Row after;
  for (bool more = true; more;) {
    SqlAsk asked{after.empty() ? first : next, {}};
    for (const auto& value : after) {
      std::visit([&](const auto& v) { asked.values.emplace_back(v); }, value);
    }
    asked.values.emplace_back(kPage);
    SqlScript script;
    Row last;  // not `after`, which the statement holds while it runs
    {
      const auto rows = source_->Ask({asked});
      rows->Next();
      while (rows->Row()) {
        SqlOwned& row = script.emplace_back(SqlOwned{insert, {}});
        Row key(keys.size(), int64_t{0});
        for (size_t i = 0; i < columns.size(); ++i) {
          const int at = static_cast<int>(i);
          if (columns[i].number) {
            row.values.emplace_back(rows->Int(at));
          } else {
            row.values.emplace_back(std::string(rows->Text(at)));
          }
          if (columns[i].key > 0) key[static_cast<size_t>(columns[i].key - 1)] = row.values.back();
        }
        last = std::move(key);
      }
      if (!rows->good()) return source_->ErrorText();
    }
    after = std::move(last);
    more = script.size() == static_cast<size_t>(kPage);
    done.rows += script.size();
    if (script.empty()) break;
    if (std::string error = Write(std::move(script)); !error.empty()) return error;
    progress(done);
  }
  report_.rows += done.rows;
  ++report_.tables;
  if (table == "users") report_.accounts = done.rows;
  uint64_t there = 0;
  uint64_t here = 0;
  std::string error = Count(*source_, table, &there);
  if (error.empty()) error = Count(*target_, table, &here);
  if (error.empty() && there != here) {
    error = "the table " + table + " has " + std::to_string(there) + " rows, and " +
            std::to_string(here) + " arrived: somebody writes into one of the stores";
  }
  return error;
}

std::expected<CopyReport, std::string> Copier::Run(
    const std::function<void(const CopyProgress&)>& progress) {
  Tables theirs;
  Tables ours;
  std::string error = Columns(source_.get(), from_sqlite_, &theirs);
  if (error.empty()) error = Columns(target_.get(), to_sqlite_, &ours);
  if (error.empty()) error = Compare(theirs, ours);
  for (const auto& [table, columns] : ours) {
    uint64_t count = 0;
    if (error.empty()) error = Count(*target_, table, &count);
    if (error.empty() && count > 0) {
      error = "the target is not empty: its table " + table + " has " + std::to_string(count) +
              " rows; name a new file or an empty database";
    }
  }
  if (!error.empty()) return std::unexpected(std::move(error));
  error = Write({{kPutUnfinished, {std::string("a copy")}}});
  for (const auto& [table, columns] : theirs) {
    if (error.empty()) error = CopyTable(table, columns, progress);
  }
  // The nodes that go on with it are the same cluster.
  if (error.empty()) {
    error = Write({{kPutClusterId, {from_.cluster_id()}}, {kEndUnfinished, {}}});
  }
  if (error.empty()) return report_;
  return std::unexpected(error +
                         "; what is in the target is not whole: remove it before you try "
                         "again (no node opens it)");
}

bool IsSqlite(const std::string& url) { return url.starts_with("sqlite:"); }

}  // namespace

std::expected<CopyReport, std::string> CopyStore(
    const StoreOptions& from, const StoreOptions& to,
    const std::function<void(const CopyProgress&)>& progress) {
  if (from.url == to.url) return std::unexpected("both are the same store");
  auto source = OpenStore(from);
  if (!source) return std::unexpected(source.error());
  auto target = OpenStore(to);
  if (!target) return std::unexpected(target.error());
  const net::SystemClock clock;
  auto loop = net::EventLoop::Create({}, clock);
  if (!loop) return std::unexpected(loop.error());
  return Copier(**source, **target, IsSqlite(from.url), IsSqlite(to.url), **loop).Run(progress);
}

}  // namespace server
