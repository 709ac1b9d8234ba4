#include "server/store/open_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "server/store/file_lock.h"
#include "server/store/pg_store.h"
#include "server/store/sqlite_store.h"

namespace server {
namespace {

constexpr std::string_view kSqlite = "sqlite:";

// The file's content or the folder's names.
bool SyncPath(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = fsync(fd) == 0;
  close(fd);
  return synced;
}

// All pages in one read transaction: writers go on beside it, in the log.
std::string CopyPages(SqliteDb& from, const std::string& to) {
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(to.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_backup* copy = sqlite3_backup_init(raw, "main", from.raw(), "main");
    code = SQLITE_ERROR;
    if (copy != nullptr) {
      sqlite3_backup_step(copy, -1);
      code = sqlite3_backup_finish(copy);
    }
  }
  std::string error = code == SQLITE_OK ? ""
                      : raw == nullptr  ? "out of memory"
                                        : sqlite3_errmsg(raw);
  sqlite3_close_v2(raw);
  return error;
}

}  // namespace

namespace {

void SetShared(const StoreOptions& options, SqlStoreOptions& shared) {
  shared.patience = options.patience;
  if (options.readers > 0) shared.readers = options.readers;
}

std::expected<std::unique_ptr<StoreBackend>, std::string> Open(const StoreOptions& options) {
  const std::string_view url = options.url;
  if (url.starts_with(kSqlite) && url.size() > kSqlite.size()) {
    SqliteOptions sqlite;
    sqlite.path = (std::filesystem::path(options.folder) / url.substr(kSqlite.size())).string();
    SetShared(options, sqlite.shared);
    auto store = SqliteStore::Open(std::move(sqlite));
    if (!store) return std::unexpected(store.error());
    return std::move(*store);
  }
  if (url.starts_with("postgresql://") || url.starts_with("postgres://")) {
    PgStoreOptions pg;
    pg.connection.url = options.url;
    SetShared(options, pg.shared);
    auto store = PgStore::Open(std::move(pg));
    if (!store) return std::unexpected(store.error());
    return std::move(*store);
  }
  return std::unexpected(
      "the store's URL names no store; write \"sqlite:\" and a file, as "
      "\"sqlite:data/mongooseim.db\", or \"postgresql://USER@HOST/DATABASE\"");
}

// Of a copy that was never finished; "" for a store that is whole.
std::string Unfinished(StoreBackend& store) {
  const auto source = store.Source();
  if (source == nullptr) return {};  // what is wrong is told when it is used
  const auto rows = source->Ask({{"SELECT value FROM meta WHERE name = 'unfinished'", {}}});
  rows->Next();
  return rows->Row() ? std::string(rows->Text(0)) : std::string();
}

// It is a whole store of this server's.
std::string NotAStore(const std::string& file) {
  auto db = SqliteDb::Open(file, SqliteDb::Mode::kReader);
  if (!db) return db.error().text;
  {
    SqliteQuery version = (*db)->Query("SELECT value FROM meta WHERE name = 'schema_version'");
    if (!version.Row()) return "it is no store of this server's";
  }
  SqliteQuery check = (*db)->Query("PRAGMA integrity_check(1)");
  if (!check.Row()) return (*db)->ErrorText();
  return check.Text(0) == "ok" ? std::string() : std::string(check.Text(0));
}

}  // namespace

std::expected<std::unique_ptr<StoreBackend>, std::string> OpenStore(const StoreOptions& options) {
  auto store = Open(options);
  if (!store) return store;
  if (const std::string what = Unfinished(**store); !what.empty()) {
    return std::unexpected("the store is the beginning of " + what +
                           " that was not finished: remove it, and copy again");
  }
  return store;
}

std::expected<void, std::string> BackupSqlite(const std::string& file, const std::string& to) {
  if (std::filesystem::exists(to)) {
    return std::unexpected(to + " exists; name a new file for the backup");
  }
  auto from = SqliteDb::Open(file, SqliteDb::Mode::kReader);
  if (!from) return std::unexpected(file + " cannot be opened: " + from.error().text);
  const std::string part = to + ".part";
  std::error_code ignored;
  std::filesystem::remove(part, ignored);
  MakePrivateFile(part);
  const std::string error = CopyPages(**from, part);
  if (!error.empty()) {
    std::filesystem::remove(part, ignored);
    return std::unexpected(file + " cannot be copied to " + to + ": " + error +
                           "; look at the room there and at the rights of the folder");
  }
  const std::string folder = std::filesystem::path(to).parent_path().string();
  if (!SyncPath(part) || std::rename(part.c_str(), to.c_str()) != 0 ||
      !SyncPath(folder.empty() ? "." : folder)) {
    return std::unexpected(to + " cannot be written: " + std::strerror(errno));
  }
  return {};
}

std::expected<std::string, std::string> RestoreSqlite(const std::string& from,
                                                      const std::string& file) {
  namespace fs = std::filesystem;
  if (const std::string fault = NotAStore(from); !fault.empty()) {
    return std::unexpected(from + " cannot be restored: " + fault);
  }
  const std::string made = file + ".restored";
  std::error_code error;
  fs::remove(made, error);
  if (auto copied = BackupSqlite(from, made); !copied) return std::unexpected(copied.error());
  std::string before;
  if (fs::exists(file)) {
    int number = 1;
    do {
      before = file + ".before-" + std::to_string(number++);
    } while (fs::exists(before));
    // Its log goes with it: what is not in the file yet is there.
    for (const char* part : {"-wal", "-shm", ""}) {
      if (!fs::exists(file + part)) continue;
      fs::rename(file + part, before + part, error);
      if (error) return std::unexpected(file + part + " cannot be moved: " + error.message());
    }
  }
  fs::rename(made, file, error);
  const std::string folder = fs::path(file).parent_path().string();
  if (error || !SyncPath(folder.empty() ? "." : folder)) {
    return std::unexpected(file + " cannot be written; what was there is " + before);
  }
  return before;
}

}  // namespace server
