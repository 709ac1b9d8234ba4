#include "server/store/sql_store.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <unordered_map>
#include <utility>

#include "net/report/log.h"
#include "server/store/call.h"
#include "server/store/reads.h"
#include "server/store/rows.h"
#include "server/store/sql.h"

namespace server {
namespace {

SqlStoreOptions WithClock(SqlStoreOptions options) {
  if (!options.now_s) options.now_s = [] { return static_cast<int64_t>(time(nullptr)); };
  return options;
}

}  // namespace

template <typename CallT, typename Work>
void SqlStore::RunRead(CallT& call, Work& work) {
  ++metrics_.reads;
  for (auto source = TakeIdle();; source = nullptr) {
    // A connection that lay idle may have died meanwhile: then a new one is asked, once.
    const bool fresh = source == nullptr;
    if (fresh) source = OpenNew();
    if (source == nullptr) break;
    auto result = work(*source);
    if (result) {
      Give(std::move(source));
      return call.End(std::move(*result));
    }
    if (fresh || !source->lost()) {
      ReadFailed(source->ErrorText());
      break;
    }
    DropIdle();
  }
  ++metrics_.failures;
  call.Fail(StoreError::kDown);
}

// Both of a loop's interfaces. Reads run on the pool, writes in the writer.
class SqlStore::ClientOf final : public StoreClient, public StoreKeeper {
 public:
  ClientOf(SqlStore& store, net::EventLoop& loop)
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
        [user = std::move(user), now = Now()](SqlSource& db) { return ReadUser(db, user, now); },
        std::move(done));
  }
  void Write(WriteBatch batch, Done<std::monostate> done) override {
    const uint64_t number = ++last_write_;
    std::vector<std::string> owners;
    for (const StoreWrite& write : batch) {
      const std::string& owner = OwnerOf(write);
      if (std::ranges::find(owners, owner) == owners.end()) owners.push_back(owner);
    }
    for (const std::string& owner : owners) writes_[owner].open.push_back(number);
    Add<std::monostate>(
        std::move(batch), {},
        [this, number, owners = std::move(owners), done = std::move(done)](auto result) mutable {
          for (const std::string& owner : owners) Written(owner, number);
          done(std::move(result));
        });
  }
  void Offline(std::string user, uint64_t after, uint32_t most, Done<OfflinePage> done) override {
    const std::string owner = user;
    ReadOf<OfflinePage>(
        owner,
        [user = std::move(user), after, most, now = Now()](SqlSource& db) {
          return ReadOffline(db, user, after, most, now);
        },
        std::move(done));
  }
  void Archive(ArchiveQuery query, Done<ArchivePage> done) override {
    const std::string owner = query.owner;
    ReadOf<ArchivePage>(
        owner, [query = std::move(query)](SqlSource& db) { return ReadArchive(db, query); },
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
    const std::string owner = user;
    ReadOf<std::optional<LastActivity>>(
        owner, [user = std::move(user)](SqlSource& db) { return ReadLast(db, user); },
        [done = std::move(done)](auto result) mutable {
          if (!result) return done(std::unexpected(result.error()));
          if (!*result) return done(std::unexpected(StoreError::kAbsent));
          done(std::move(**result));
        });
  }
  void Room(std::string room, Done<StoredRoom> done) override {
    Read<StoredRoom>([room = std::move(room)](SqlSource& db) { return ReadRoom(db, room); },
                     std::move(done));
  }
  void ListedRooms(std::string service, std::string after, uint32_t most,
                   Done<std::vector<RoomName>> done) override {
    Read<std::vector<RoomName>>(
        [service = std::move(service), after = std::move(after), most](SqlSource& db) {
          return ReadListedRooms(db, service, after, most);
        },
        std::move(done));
  }
  void ArchivePrefs(std::string user, Done<std::string> done) override {
    ReadOne(sql::kReadArchivePrefs, {std::move(user)}, std::move(done));
  }
  void Accounts(std::string domain, std::string after, uint32_t most,
                Done<std::vector<std::string>> done) override {
    Read<std::vector<std::string>>(
        [domain = std::move(domain), after = std::move(after), most](SqlSource& db) {
          return ReadAccounts(db, domain, after, most);
        },
        std::move(done));
  }
  void CountAccounts(std::string domain, Done<uint64_t> done) override {
    Read<int64_t>(
        [domain = std::move(domain)](SqlSource& db) {
          return ReadInt(db, {sql::kCountAccounts, {std::string_view(domain)}});
        },
        [done = std::move(done)](std::expected<int64_t, StoreError> result) mutable {
          if (!result) return done(std::unexpected(result.error()));
          done(static_cast<uint64_t>(*result));
        });
  }

  void Run(SqlScript script, Done<std::monostate> done) override {
    Add<std::monostate>(std::move(script), {}, std::move(done));
  }

  void ShowNode(std::string node, Done<std::vector<std::string>> done) override {
    const int64_t known_from = Now() - kNodeKnownS;
    Run({{sql::kPutNode, {std::move(node), Now()}}, {sql::kForgetNodes, {known_from}}},
        [this, known_from, done = std::move(done)](auto written) mutable {
          if (!written) return done(std::unexpected(written.error()));
          Read<std::vector<std::string>>(
              [known_from](SqlSource& db) { return ReadNodes(db, known_from); }, std::move(done));
        });
  }

  // What may go is looked for beside the writer, and taken away by it.
  void Retire(Retention retention, Done<Retired> done) override {
    Read<Doomed>(
        [retention = std::move(retention)](SqlSource& db) { return ReadDoomed(db, retention); },
        [this, done = std::move(done)](std::expected<Doomed, StoreError> doomed) mutable {
          if (!doomed) return done(std::unexpected(doomed.error()));
          if (doomed->script.empty()) return done(std::move(doomed->retired));
          Add<Retired>(std::move(doomed->script), std::move(doomed->retired), std::move(done));
        });
  }

 private:
  template <typename T>
  void Add(WriteWork work, T result, Done<T> done) {
    auto call = std::make_shared<CallOf<T>>(answers_.slot(), std::move(done));
    const bool taken = store_.writer_->queue().Add(
        std::move(work), call,
        [call, result = std::move(result)]() mutable { call->End(std::move(result)); });
    Watch(std::move(call), taken);
  }

  template <typename T, typename Work>
  void Read(Work work, Done<T> done) {
    auto call = std::make_shared<CallOf<T>>(answers_.slot(), std::move(done));
    const bool taken = Begin<T>(call, std::move(work));
    Watch(std::move(call), taken);
  }

  template <typename T, typename Work>
  bool Begin(const std::shared_ptr<CallOf<T>>& call, Work work) {
    return reads_.Run(
        [store = &store_, call, work = std::move(work)]() mutable {
          if (call->abandoned() || !call->Claim()) return;
          store->RunRead(*call, work);
        },
        [] {});
  }

  // Behind what is being written of `owner`.
  template <typename T, typename Work>
  void ReadOf(const std::string& owner, Work work, Done<T> done) {
    const auto found = writes_.find(owner);
    if (found == writes_.end()) return Read<T>(std::move(work), std::move(done));
    auto call = std::make_shared<CallOf<T>>(answers_.slot(), std::move(done));
    const bool taken = reads_behind_ < store_.options_.reads_waiting_max;
    if (taken) {
      ++reads_behind_;
      found->second.reads.emplace_back(found->second.open.back(),
                                       [this, call, work = std::move(work)]() mutable {
                                         if (Begin<T>(call, std::move(work)) || !call->Claim())
                                           return;
                                         ++store_.metrics_.refused;
                                         call->Fail(StoreError::kBusy);
                                       });
    }
    Watch(std::move(call), taken);
  }

  // One write of `owner` has ended, one way or the other.
  void Written(const std::string& owner, uint64_t number) {
    const auto found = writes_.find(owner);
    auto& [open, reads] = found->second;
    std::erase(open, number);
    size_t free = 0;
    while (free < reads.size() && (open.empty() || open.front() > reads[free].first)) {
      reads[free++].second();
    }
    reads_behind_ -= free;
    reads.erase(reads.begin(), reads.begin() + static_cast<std::ptrdiff_t>(free));
    if (open.empty()) writes_.erase(found);
  }

  void ReadOne(const char* sql, std::vector<std::string> values, Done<std::string> done) {
    const std::string owner = values.front();
    ReadOf<std::string>(
        owner,
        [sql, values = std::move(values)](SqlSource& db) {
          return ReadText(db, {sql, std::vector<SqlValue>(values.begin(), values.end())});
        },
        std::move(done));
  }

  void Watch(std::shared_ptr<Call> call, bool taken) {
    if (taken) return patience_.Watch(std::move(call));
    ++store_.metrics_.refused;
    if (call->Claim()) call->Fail(StoreError::kBusy);
  }

  int64_t Now() const { return store_.options_.now_s(); }

  // Of one user: writes that have not ended, in the order in which they were asked for, and reads
  // with the write that they wait for.
  struct OfUser {
    std::vector<uint64_t> open;
    std::vector<std::pair<uint64_t, net::Task>> reads;
  };

  SqlStore& store_;
  uint64_t last_write_ = 0;
  std::unordered_map<std::string, OfUser> writes_;  // those that have open ones
  size_t reads_behind_ = 0;
  Answers answers_;
  net::BlockingPool::Client reads_;
  Patience patience_;
};

SqlStore::SqlStore(SqlStoreOptions options, StoreIdentity identity, OpenSource open)
    : options_(WithClock(std::move(options))),
      identity_(std::move(identity)),
      open_(std::move(open)),
      readers_(std::make_unique<net::BlockingPool>(
          net::BlockingPool::Options{.name = "store-read",
                                     .threads = options_.readers,
                                     .waiting_max = options_.reads_waiting_max})) {}

// The readers first: the writer's last checkpoint waits for nobody then.
SqlStore::~SqlStore() {
  readers_.reset();
  idle_.clear();
  writer_.reset();
}

std::unique_ptr<StoreClient> SqlStore::Client(net::EventLoop& loop) {
  return std::make_unique<ClientOf>(*this, loop);
}

std::unique_ptr<StoreKeeper> SqlStore::Keeper(net::EventLoop& loop) {
  return std::make_unique<ClientOf>(*this, loop);
}

std::unique_ptr<SqlSource> SqlStore::TakeIdle() {
  std::lock_guard lock(mutex_);
  if (idle_.empty()) return nullptr;
  auto source = std::move(idle_.back());
  idle_.pop_back();
  return source;
}

std::unique_ptr<SqlSource> SqlStore::OpenNew() {
  auto opened = open_();
  if (opened) return std::move(*opened);
  ReadFailed(opened.error());
  return nullptr;
}

void SqlStore::Give(std::unique_ptr<SqlSource> source) {
  std::lock_guard lock(mutex_);
  if (std::exchange(reads_down_, false)) {
    net::Log(net::LogLevel::kInfo, "store", "reads go on", {{"store", options_.name}});
  }
  idle_.push_back(std::move(source));
}

void SqlStore::DropIdle() {
  std::vector<std::unique_ptr<SqlSource>> dropped;
  std::lock_guard lock(mutex_);
  dropped.swap(idle_);
}

void SqlStore::ReadFailed(const std::string& what) {
  std::lock_guard lock(mutex_);
  if (std::exchange(reads_down_, true)) return;
  net::Log(net::LogLevel::kError, "store", "reads fail",
           {{"store", options_.name}, {"reason", what}});
}

}  // namespace server
