#include "server/store/sqlite_store.h"

#include "server/store/file_lock.h"
#include "server/store/sqlite_reader.h"
#include "server/store/sqlite_schema.h"

namespace server {
namespace {

constexpr std::chrono::seconds kOpenLimit{30};  // another process may be upgrading the file

SqlStore::Opened OpenReader(const std::string& path) {
  auto db = SqliteDb::Open(path, SqliteDb::Mode::kReader);
  if (!db) return std::unexpected(db.error().text);
  return std::make_unique<SqliteReader>(std::move(*db));
}

SqlStoreOptions Shared(const SqliteOptions& options) {
  SqlStoreOptions shared = options.shared;
  shared.name = options.path;
  return shared;
}

}  // namespace

std::expected<std::unique_ptr<SqliteStore>, std::string> SqliteStore::Open(SqliteOptions options) {
  options.writer.path = options.path;
  if (std::string refused = RefusedFileSystem(options.path); !refused.empty()) {
    return std::unexpected(std::move(refused));
  }
  auto lock = FileLock::Open(options.path + ".lock");
  if (!lock) return std::unexpected(lock.error());
  if (!(*lock)->Lock(kOpenLimit)) {
    return std::unexpected("another process keeps " + options.path +
                           ".lock; end it, or see what it waits for");
  }
  MakePrivateFile(options.path);
  auto db = SqliteDb::Open(options.path, SqliteDb::Mode::kWriter);
  if (!db) {
    return std::unexpected(options.path + " cannot be opened: " + db.error().text +
                           "; look at the disk and at the rights of the file and its folder");
  }
  auto checkpoint_lock = FileLock::Open(options.path + ".checkpoint");
  if (!checkpoint_lock) return std::unexpected(checkpoint_lock.error());
  auto identity = UpgradeSqlite(**db, options.path);
  (*lock)->Unlock();
  if (!identity) return std::unexpected(identity.error());
  return std::unique_ptr<SqliteStore>(
      new SqliteStore(options, std::move(*identity), std::move(*db),
                      {std::move(*lock), std::move(*checkpoint_lock)}));
}

SqliteStore::SqliteStore(const SqliteOptions& options, StoreIdentity identity,
                         std::unique_ptr<SqliteDb> db, Locks locks)
    : SqlStore(Shared(options), std::move(identity),
               [path = options.path] { return OpenReader(path); }) {
  SetWriter(std::make_unique<SqliteWriter>(options.writer, std::move(db), std::move(locks.file),
                                           std::move(locks.checkpoint), counted()));
}

}  // namespace server
