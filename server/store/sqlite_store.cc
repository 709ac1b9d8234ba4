#include "server/store/sqlite_store.h"

#include <ctime>
#include <utility>

#include "net/report/log.h"
#include "server/store/call.h"
#include "server/store/file_lock.h"
#include "server/store/sql.h"
#include "server/store/sqlite_reads.h"
#include "server/store/sqlite_schema.h"

namespace server {
namespace {

constexpr std::chrono::seconds kOpenLimit{30};  // another process may be upgrading the file

int64_t SystemSeconds() { return static_cast<int64_t>(time(nullptr)); }

}  // namespace

template <typename CallT, typename Work>
void SqliteStore::RunRead(CallT& call, Work& work) {
  auto db = TakeReader();
  if (db == nullptr) return call.Fail(StoreError::kDown);
  ++metrics_.reads;
  auto result = work(*db);
  if (!result) {
    // Its connection goes with it: the next read opens the file again.
    ReadFailed(result.error(), db->ErrorText());
    return call.Fail(StoreError::kDown);
  }
  GiveReader(std::move(db));
  call.End(std::move(*result));
}

// Both of a loop's interfaces. Reads run on the pool, writes in the writer.
class SqliteStore::ClientOf final : public StoreClient, public StoreKeeper {
 public:
  ClientOf(SqliteStore& store, net::EventLoop& loop)
      : store_(store),
        answers_(loop, SIZE_MAX,
                 [](std::vector<net::Task>& batch) {
                   for (net::Task& answer : batch) answer();
                 }),
        reads_(*store.readers_, loop),
        patience_(loop, store.options_.patience, store.metrics_.refused) {}

  void Load(std::string user, Done<LoadedUser> done) override {
    ++store_.metrics_.login_store_roundtrips;
    Read<LoadedUser>(
        [user = std::move(user), now = Now()](SqliteDb& db) { return ReadUser(db, user, now); },
        std::move(done));
  }
  void Write(WriteBatch batch, Done<std::monostate> done) override {
    Add<std::monostate>(std::move(batch), {}, std::move(done));
  }
  void Offline(std::string user, uint32_t most, Done<std::vector<OfflineEntry>> done) override {
    Read<std::vector<OfflineEntry>>([user = std::move(user), most, now = Now()](
                                        SqliteDb& db) { return ReadOffline(db, user, most, now); },
                                    std::move(done));
  }
  void Archive(ArchiveQuery query, Done<ArchivePage> done) override {
    Read<ArchivePage>([query = std::move(query)](SqliteDb& db) { return ReadArchive(db, query); },
                      std::move(done));
  }
  void Vcard(std::string user, Done<std::string> done) override {
    ReadOne(sql::kReadVcard, {std::move(user)}, std::move(done));
  }
  void Private(std::string user, std::string name, std::string space,
               Done<std::string> done) override {
    ReadOne(sql::kReadPrivate, {std::move(user), std::move(name), std::move(space)},
            std::move(done));
  }
  void Last(std::string user, Done<LastActivity> done) override {
    Read<std::optional<LastActivity>>(
        [user = std::move(user)](SqliteDb& db) { return ReadLast(db, user); },
        [done = std::move(done)](auto result) mutable {
          if (!result) return done(std::unexpected(result.error()));
          if (!*result) return done(std::unexpected(StoreError::kAbsent));
          done(std::move(**result));
        });
  }
  void ArchivePrefs(std::string user, Done<std::string> done) override {
    ReadOne(sql::kReadArchivePrefs, {std::move(user)}, std::move(done));
  }
  void Accounts(std::string domain, std::string after, uint32_t most,
                Done<std::vector<std::string>> done) override {
    Read<std::vector<std::string>>(
        [domain = std::move(domain), after = std::move(after), most](SqliteDb& db) {
          return ReadAccounts(db, domain, after, most);
        },
        std::move(done));
  }
  void CountAccounts(std::string domain, Done<uint64_t> done) override {
    Read<int64_t>(
        [domain = std::move(domain)](SqliteDb& db) {
          return ReadInt(db, sql::kCountAccounts, {std::string_view(domain)});
        },
        [done = std::move(done)](std::expected<int64_t, StoreError> result) mutable {
          if (!result) return done(std::unexpected(result.error()));
          done(static_cast<uint64_t>(*result));
        });
  }

  // What may go is looked for beside the writer, and taken away by it.
  void Retire(Retention retention, Done<Retired> done) override {
    Read<Doomed>(
        [retention = std::move(retention)](SqliteDb& db) { return ReadDoomed(db, retention); },
        [this, done = std::move(done)](std::expected<Doomed, StoreError> doomed) mutable {
          if (!doomed) return done(std::unexpected(doomed.error()));
          Retired retired{.archive = doomed->archive_entries,
                          .offline = doomed->offline.size(),
                          .more = doomed->more,
                          .next_owner = doomed->next_owner};
          if (retired.archive + retired.offline == 0) return done(std::move(retired));
          Add<Retired>(std::move(*doomed), std::move(retired), std::move(done));
        });
  }

 private:
  template <typename T>
  void Add(SqliteWriter::Work work, T result, Done<T> done) {
    auto call = std::make_shared<CallOf<T>>(answers_.slot(), std::move(done));
    const bool taken = store_.writer_->Add(
        std::move(work), call,
        [call, result = std::move(result)]() mutable { call->End(std::move(result)); });
    Watch(std::move(call), taken);
  }

  template <typename T, typename Work>
  void Read(Work work, Done<T> done) {
    auto call = std::make_shared<CallOf<T>>(answers_.slot(), std::move(done));
    const bool taken = reads_.Run(
        [store = &store_, call, work = std::move(work)]() mutable {
          if (call->abandoned() || !call->Claim()) return;
          store->RunRead(*call, work);
        },
        [] {});
    Watch(std::move(call), taken);
  }

  void ReadOne(const char* sql, std::vector<std::string> values, Done<std::string> done) {
    Read<std::string>(
        [sql, values = std::move(values)](SqliteDb& db) {
          return ReadText(db, sql, std::vector<SqlValue>(values.begin(), values.end()));
        },
        std::move(done));
  }

  void Watch(std::shared_ptr<Call> call, bool taken) {
    if (taken) return patience_.Watch(std::move(call));
    ++store_.metrics_.refused;
    if (call->Claim()) call->Fail(StoreError::kBusy);
  }

  int64_t Now() const { return store_.options_.now_s(); }

  SqliteStore& store_;
  Answers answers_;
  net::BlockingPool::Client reads_;
  Patience patience_;
};

std::expected<std::unique_ptr<SqliteStore>, std::string> SqliteStore::Open(SqliteOptions options) {
  if (!options.now_s) options.now_s = SystemSeconds;
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
  auto db = SqliteDb::Open(options.path, SqliteDb::Mode::kWriter);
  if (!db) {
    return std::unexpected(options.path + " cannot be opened: " + db.error().text +
                           "; look at the disk and at the rights of the file and its folder");
  }
  auto cluster_id = UpgradeSqlite(**db, options.path);
  (*lock)->Unlock();
  if (!cluster_id) return std::unexpected(cluster_id.error());
  std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(options), *cluster_id));
  store->writer_ = std::make_unique<SqliteWriter>(store->options_.writer, std::move(*db),
                                                  std::move(*lock), store->metrics_);
  return store;
}

SqliteStore::SqliteStore(SqliteOptions options, std::string cluster_id)
    : options_(std::move(options)),
      cluster_id_(std::move(cluster_id)),
      readers_(std::make_unique<net::BlockingPool>(
          net::BlockingPool::Options{.name = "store-read",
                                     .threads = options_.readers,
                                     .waiting_max = options_.reads_waiting_max})) {}

// The readers first: the writer's last checkpoint waits for nobody then.
SqliteStore::~SqliteStore() {
  readers_.reset();
  idle_readers_.clear();
  writer_.reset();
}

std::unique_ptr<StoreClient> SqliteStore::Client(net::EventLoop& loop) {
  return std::make_unique<ClientOf>(*this, loop);
}

std::unique_ptr<StoreKeeper> SqliteStore::Keeper(net::EventLoop& loop) {
  return std::make_unique<ClientOf>(*this, loop);
}

std::unique_ptr<SqliteDb> SqliteStore::TakeReader() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_readers_.empty()) {
      auto db = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return db;
    }
  }
  auto db = SqliteDb::Open(options_.path, SqliteDb::Mode::kReader);
  if (db) return std::move(*db);
  ReadFailed(db.error().code, db.error().text);
  return nullptr;
}

void SqliteStore::GiveReader(std::unique_ptr<SqliteDb> db) {
  std::lock_guard lock(mutex_);
  if (std::exchange(reads_down_, false)) {
    net::Log(net::LogLevel::kInfo, "store", "reads go on", {});
  }
  idle_readers_.push_back(std::move(db));
}

void SqliteStore::ReadFailed(int code, const std::string& what) {
  ++metrics_.failures;
  std::lock_guard lock(mutex_);
  if (std::exchange(reads_down_, true)) return;
  net::Log(net::LogLevel::kError, "store", "reads fail",
           {{"file", options_.path}, {"code", code}, {"reason", what}});
}

}  // namespace server
