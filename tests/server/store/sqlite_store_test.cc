// What is SQLite's own: one sync for many batches, a disk that fails, other processes, schemas.

#include "server/store/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "server/store/file_lock.h"
#include "server/store/sql.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_schema.h"
#include "tests/server/store/disk_shim.h"
#include "tests/server/store/store_loop.h"
#include "tests/test_folder.h"

namespace server {
namespace {

using test::Disk;
using test::Entry;
using test::StoreLoop;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kJuliet[] = "juliet@example.net";
constexpr char kRomeo[] = "romeo@example.net";

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() {
    options_.path = folder_.Path("store.db");
    Disk().folder = folder_.path();
  }
  ~SqliteStoreTest() override {
    Mend();
    client_.reset();
    store_.reset();
    Disk().folder.clear();
  }
  static void Mend() {
    Disk().failing_syncs = 0;
    Disk().full = false;
    Disk().stalled = false;
    Disk().stalled.notify_all();
  }
  void Open() {
    client_.reset();
    store_.reset();
    auto store = SqliteStore::Open(options_);
    ASSERT_TRUE(store.has_value()) << store.error();
    store_ = std::move(*store);
    client_ = store_->Client(loop_.loop());
  }
  StoreLoop::Result<std::monostate> Write(WriteBatch batch) {
    return loop_.Write(*client_, std::move(batch));
  }
  // What is in the archives of a file, as whoever opens it after a crash finds it: without the
  // index of the log, which is memory.
  std::vector<uint64_t> IdsAfterCrash(const std::string& owner) {
    const net::TestFolder other;
    for (const char* part : {"store.db", "store.db-wal"}) {
      std::error_code missing;
      std::filesystem::copy_file(folder_.Path(part), other.Path(part), missing);
    }
    auto store = SqliteStore::Open({.path = other.Path("store.db")});
    EXPECT_TRUE(store.has_value()) << store.error();
    auto client = (*store)->Client(loop_.loop());
    std::vector<uint64_t> ids;
    for (const ArchiveEntry& entry : loop_.Archive(*client, {.owner = owner}).entries) {
      ids.push_back(entry.id);
    }
    return ids;
  }
  std::vector<uint64_t> Ids(const std::string& owner) {
    std::vector<uint64_t> ids;
    for (const ArchiveEntry& entry : loop_.Archive(*client_, {.owner = owner}).entries) {
      ids.push_back(entry.id);
    }
    return ids;
  }
  // Asks for `count` writes that are queued while another process holds the lock, lets go, and
  // waits for their ends.
  template <typename Batch>
  std::vector<StoreLoop::Result<std::monostate>> Together(size_t count, Batch&& batch) {
    auto lock = FileLock::Open(options_.path + ".lock");
    EXPECT_TRUE((*lock)->Lock(std::chrono::seconds(10)));
    std::vector<StoreLoop::Result<std::monostate>> ends;
    for (size_t i = 0; i < count; ++i) {
      client_->Write(batch(i), [&ends](auto result) { ends.push_back(std::move(result)); });
    }
    (*lock)->Unlock();
    EXPECT_TRUE(loop_.RunUntil([&] { return ends.size() == count; }));
    return ends;
  }

  StoreLoop loop_;
  net::TestFolder folder_;
  SqliteOptions options_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<StoreClient> client_;
};

// --- One sync for many --------------------------------------------------------------------------

TEST_F(SqliteStoreTest, WhatIsQueuedIsOneTransactionAndOneSync) {
  Open();
  const uint64_t syncs = Disk().syncs;
  const uint64_t transactions = store_->metrics().transactions;
  const auto ends = Together(100, [](size_t i) -> WriteBatch {
    return {AddArchive{Entry(kRomeo, i + 1)}, PutLast{kRomeo, {.seconds = 1}}};
  });
  for (const auto& end : ends) EXPECT_TRUE(end.has_value());
  EXPECT_EQ(store_->metrics().transactions, transactions + 1);
  EXPECT_EQ(store_->metrics().batches, 100U);
  // The log's first transaction syncs its header as well.
  EXPECT_LE(Disk().syncs, syncs + 3);
  const uint64_t before = Disk().syncs;
  Together(100, [](size_t i) -> WriteBatch { return {AddArchive{Entry(kRomeo, i + 101)}}; });
  EXPECT_EQ(Disk().syncs, before + 1);
  EXPECT_EQ(store_->metrics().waiting, 0U);
  EXPECT_EQ(store_->metrics().waiting_bytes, 0U);
}

TEST_F(SqliteStoreTest, ABatchThatCannotBeLeavesThoseBesideItAlone) {
  Open();
  const auto ends = Together(5, [](size_t i) -> WriteBatch {
    WriteBatch batch = {AddArchive{Entry(kRomeo, i + 1)}};
    if (i == 1) batch.emplace_back(SetBanned{kJuliet, "no"});
    if (i == 2 || i == 3) batch.emplace_back(CreateAccount{kJuliet, Account()});
    return batch;
  });
  EXPECT_TRUE(ends[0] && ends[2] && ends[4]);
  EXPECT_EQ(ends[1].error(), StoreError::kAbsent);
  EXPECT_EQ(ends[3].error(), StoreError::kConflict);
  EXPECT_THAT(Ids(kRomeo), ElementsAre(1, 3, 5));
  EXPECT_EQ(store_->metrics().conflicts, 2U);
}

// Logins wait for what reads; what writes is cheaper the more has gathered.
TEST_F(SqliteStoreTest, WhatWritesGivesWayToWhatReadsAndChats) {
  Open();
  const auto below = [] {
    std::map<std::string, int> found;
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::getline(std::ifstream(thread.path() / "comm") >> std::ws, name);
      const auto id = static_cast<id_t>(std::stoul(thread.path().filename()));
      found[name] = getpriority(PRIO_PROCESS, id) - getpriority(PRIO_PROCESS, 0);
    }
    return found;
  };
  // Threads begin when they like.
  EXPECT_TRUE(loop_.RunUntil([&] {
    const auto now = below();
    const auto is = [&now](const char* name, int by) {
      const auto found = now.find(name);
      return found != now.end() && found->second == by;
    };
    return is("store-write", 5) && is("store-copy", 10) && is("store-read-1", 0);
  })) << testing::PrintToString(below());
}

TEST_F(SqliteStoreTest, NothingIsAnsweredBeforeItsSync) {
  Open();
  uint64_t answered = 0;
  for (uint64_t id = 1; id <= 50; ++id) {
    const uint64_t syncs = Disk().syncs;
    client_->Write({AddArchive{Entry(kRomeo, id)}}, [&, syncs](const auto& result) {
      EXPECT_TRUE(result.has_value());
      EXPECT_GT(Disk().syncs, syncs) << "acknowledged without fdatasync";
      ++answered;
    });
    ASSERT_TRUE(loop_.RunUntil([&] { return answered == id; }));
  }
  Disk().stalled = true;
  client_->Write({AddArchive{Entry(kRomeo, 51)}}, [&](const auto&) { ++answered; });
  ASSERT_TRUE(loop_.RunUntil([] { return Disk().in_sync > 0; }));
  loop_.loop().RunOnce(std::chrono::milliseconds(50));
  EXPECT_EQ(answered, 50U);
  // Those who only read do not wait for it, nor does who reads of another than was written.
  const auto reader = store_->Client(loop_.loop());
  EXPECT_EQ(loop_.Archive(*reader, {.owner = kRomeo}).entries.size(), 50U);
  EXPECT_EQ(Ids(kJuliet).size(), 0U);
  Mend();
  ASSERT_TRUE(loop_.RunUntil([&] { return answered == 51; }));
}

// --- Disks that fail ----------------------------------------------------------------------------

TEST_F(SqliteStoreTest, AFullDiskIsSaidAndKeepsNothingUntilThereIsRoom) {
  options_.writer.checkpoint_pages = 20;
  Open();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1)}}));
  Disk().full = true;
  ArchiveEntry large = Entry(kRomeo, 2);
  large.xml = std::string(1'000'000, 'x');
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 3)}, AddArchive{large}}).error(), StoreError::kDown);
  EXPECT_EQ(Write({AddArchive{large}}).error(), StoreError::kDown);
  EXPECT_THAT(Ids(kRomeo), ElementsAre(1));
  EXPECT_THAT(IdsAfterCrash(kRomeo), ElementsAre(1));
  EXPECT_GE(store_->metrics().failures, 2U);
  Disk().full = false;
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 4)}}));
  EXPECT_THAT(Ids(kRomeo), ElementsAre(1, 4));
  EXPECT_THAT(IdsAfterCrash(kRomeo), ElementsAre(1, 4));
}

// The log holds the whole commit then; whoever opened the file after a crash would find it.
TEST_F(SqliteStoreTest, WhatTheDiskDidNotSyncIsNotFoundAfterACrash) {
  Open();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1)}}));
  Disk().failing_syncs = 1;
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 2)}}).error(), StoreError::kDown);
  EXPECT_THAT(IdsAfterCrash(kRomeo), ElementsAre(1));
  EXPECT_THAT(Ids(kRomeo), ElementsAre(1));
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 3)}}));
  EXPECT_THAT(IdsAfterCrash(kRomeo), ElementsAre(1, 3));
}

TEST_F(SqliteStoreTest, ADiskThatSyncsNoMoreLeavesWritesUnknownAndGoesOnWhenItDoes) {
  options_.writer.fence_limit = std::chrono::milliseconds(120);
  Open();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1)}}));
  Disk().failing_syncs = 1'000'000;
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 2)}}).error(), StoreError::kUnknown);
  EXPECT_EQ(store_->metrics().unknown, 1U);
  Mend();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 3)}}));
  EXPECT_THAT(IdsAfterCrash(kRomeo), testing::Contains(3));
}

// --- Bounds -------------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, TheQueueIsBoundedByCountAndByBytes) {
  options_.writer.limits.waiting_max = 10;
  options_.writer.limits.waiting_bytes_max = 100'000;
  Open();
  auto ends =
      Together(15, [](size_t i) -> WriteBatch { return {AddArchive{Entry(kRomeo, i + 1)}}; });
  // Those that are refused hear it first.
  for (size_t i = 0; i < ends.size(); ++i) {
    EXPECT_EQ(ends[i].has_value(), i >= 5) << i;
    if (i < 5) {
      EXPECT_EQ(ends[i].error(), StoreError::kBusy);
    }
  }
  EXPECT_EQ(store_->metrics().refused, 5U);
  const auto large = [](size_t) -> WriteBatch {
    return {PutVcard{kRomeo, std::string(60'000, 'x')}};
  };
  ends = Together(3, large);
  EXPECT_EQ(std::count_if(ends.begin(), ends.end(), [](const auto& end) { return !end; }), 2);
  EXPECT_TRUE(Write(large(0)));
}

TEST_F(SqliteStoreTest, AStalledStoreKeepsNobodyWaitingBeyondHisPatience) {
  options_.shared.patience = std::chrono::milliseconds(100);
  Open();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1)}}));
  auto lock = FileLock::Open(options_.path + ".lock");
  ASSERT_TRUE((*lock)->Lock(std::chrono::seconds(10)));
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 2)}}).error(), StoreError::kBusy);
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 3)}}).error(), StoreError::kBusy);
  EXPECT_THAT(Ids(kRomeo), ElementsAre(1));  // reads go on
  (*lock)->Unlock();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 4)}}));
  EXPECT_THAT(Ids(kRomeo), ElementsAre(1, 4)) << "what was given up was done all the same";
  EXPECT_EQ(store_->metrics().refused, 2U);
}

TEST_F(SqliteStoreTest, AProcessThatKeepsTheLockIsNotWaitedForForever) {
  options_.writer.lock_limit = std::chrono::milliseconds(50);
  Open();
  auto lock = FileLock::Open(options_.path + ".lock");
  ASSERT_TRUE((*lock)->Lock(std::chrono::seconds(10)));
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 1)}}).error(), StoreError::kDown);
  (*lock)->Unlock();
  EXPECT_TRUE(Write({AddArchive{Entry(kRomeo, 2)}}));
}

// Two that always want it: neither gets it twice while the other waits.
TEST_F(SqliteStoreTest, TheLockGoesRound) {
  const std::string path = folder_.Path("lock");
  std::atomic<int> ready{0};
  std::mutex mutex;
  std::vector<int> holders;
  const auto hold = [&](int who) {
    auto lock = FileLock::Open(path);
    ++ready;
    while (ready < 2) std::this_thread::yield();
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE((*lock)->Lock(std::chrono::seconds(20)));
      {
        std::lock_guard guard(mutex);
        holders.push_back(who);
      }
      // Long enough for the other to be in the turnstile by now.
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(500);
      while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
      (*lock)->Unlock();
    }
  };
  {
    std::jthread first(hold, 1);
    std::jthread second(hold, 2);
  }
  size_t longest = 0;
  size_t run = 0;
  for (size_t i = 0; i + 1 < 200; ++i) {
    run = holders[i] == holders[i + 1] ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  EXPECT_LT(longest, 20U);
}

// It would try again by itself only in an hour.
TEST_F(SqliteStoreTest, WhoWaitsForTheLockIsToldWhenItIsFree) {
  const std::string path = folder_.Path("lock");
  auto lock = FileLock::Open(path);
  std::atomic<int> waiting{0};
  std::atomic<int> had{0};
  ASSERT_TRUE((*lock)->Lock(std::chrono::seconds(10)));
  std::vector<std::jthread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      auto own = FileLock::Open(path, std::chrono::hours(1));
      ++waiting;
      if (!(*own)->Lock(std::chrono::seconds(20))) return;
      ++had;
      (*own)->Unlock();
    });
  }
  while (waiting < 3) std::this_thread::yield();
  (*lock)->Unlock();
  others.clear();
  EXPECT_EQ(had, 3);
}

// Its file was made by an older release, or the disk had no room for more.
TEST_F(SqliteStoreTest, ALockOfAnEmptyFileIsOneToo) {
  const std::string path = folder_.Path("lock");
  std::ofstream(path).flush();
  for (int i = 0; i < 2; ++i) {
    auto lock = FileLock::Open(path);
    ASSERT_TRUE(lock.has_value());
    ASSERT_TRUE((*lock)->Lock(std::chrono::seconds(10)));
    auto other = FileLock::Open(path);
    EXPECT_FALSE((*other)->Lock(std::chrono::milliseconds(5)));
    (*lock)->Unlock();
    EXPECT_TRUE((*other)->Lock(std::chrono::seconds(10)));
  }
}

// --- The file -----------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, TheLogIsCopiedIntoTheFileNowAndThenAndAtTheEnd) {
  options_.writer.checkpoint_pages = 20;
  Open();
  for (uint64_t id = 1; id <= 60; ++id) ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, id)}}));
  EXPECT_GE(store_->metrics().checkpoints, 2U);
  EXPECT_LT(std::filesystem::file_size(folder_.Path("store.db-wal")), 60U * 4'096U);
  client_.reset();
  store_.reset();
  EXPECT_EQ(std::filesystem::file_size(folder_.Path("store.db-wal")), 0U);
}

TEST_F(SqliteStoreTest, TwoStoresOfOneFileSeeEachOthersWrites) {
  Open();
  auto other = SqliteStore::Open(options_);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ((*other)->cluster_id(), store_->cluster_id());
  EXPECT_NE((*other)->identity().opening, store_->identity().opening);
  auto theirs = (*other)->Client(loop_.loop());
  for (uint64_t id = 1; id <= 40; id += 2) {
    ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, id)}}));
    ASSERT_TRUE(loop_.Write(*theirs, {AddArchive{Entry(kRomeo, id + 1)}}));
    EXPECT_EQ(Ids(kRomeo).size(), id + 1);
    EXPECT_EQ(loop_.Archive(*theirs, {.owner = kRomeo}).entries.size(), id + 1);
  }
}

std::string WhyNotOpen(const std::string& path) {
  const auto store = SqliteStore::Open({.path = path});
  return store ? "it was opened" : store.error();
}

TEST_F(SqliteStoreTest, AFileThatIsNoneOfOursIsLeftAlone) {
  EXPECT_THAT(WhyNotOpen(folder_.path() + "/missing/store.db"), HasSubstr("cannot be looked at"));
  const std::string text = folder_.Write("text.db", std::string(8'192, 'x'));
  EXPECT_THAT(WhyNotOpen(text), HasSubstr("not a database"));

  const std::string path = folder_.Path("theirs.db");
  {
    auto db = SqliteDb::Open(path, SqliteDb::Mode::kWriter);
    ASSERT_EQ((*db)->Run("CREATE TABLE users (name TEXT)"), SQLITE_OK);
  }
  EXPECT_THAT(WhyNotOpen(path), HasSubstr("not one of this server's"));
}

TEST_F(SqliteStoreTest, ANewerSchemaIsRefusedInWords) {
  Open();
  client_.reset();
  store_.reset();
  {
    auto db = SqliteDb::Open(options_.path, SqliteDb::Mode::kWriter);
    ASSERT_EQ((*db)->Run("UPDATE meta SET value = '99' WHERE name = 'schema_version'"), SQLITE_OK);
  }
  EXPECT_THAT(WhyNotOpen(options_.path),
              testing::AllOf(HasSubstr("schema version 99"), HasSubstr("a newer one wrote it")));
}

// As version 1 of the schema made it; never changed.
constexpr char kVersion1[] = R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema_version', '1'), ('cluster_id', 'the-old-one');
CREATE TABLE users (
  jid TEXT PRIMARY KEY NOT NULL, domain TEXT NOT NULL,
  scram_sha1 TEXT NOT NULL, scram_sha256 TEXT NOT NULL, scram_sha512 TEXT NOT NULL,
  banned TEXT NOT NULL, created_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX users_domain ON users (domain, jid);
INSERT INTO users VALUES ('romeo@example.net', 'example.net', '4096:c2FsdA==$c3RvcmVk:c2VydmVy',
                          '', '', '', 77);
CREATE TABLE roster (
  owner TEXT NOT NULL, jid TEXT NOT NULL, name TEXT NOT NULL, group_names TEXT NOT NULL,
  subscription TEXT NOT NULL, ask INTEGER NOT NULL, approved INTEGER NOT NULL,
  pending_in INTEGER NOT NULL, request TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (owner, jid)) WITHOUT ROWID;
INSERT INTO roster VALUES ('romeo@example.net', 'juliet@example.com', 'J', 'Love' || char(31),
                           'B', 0, 0, 0, '', 12);
CREATE TABLE roster_version (
  owner TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO roster_version VALUES ('romeo@example.net', 12);
CREATE TABLE blocklist (
  owner TEXT NOT NULL, jid TEXT NOT NULL, PRIMARY KEY (owner, jid)) WITHOUT ROWID;
CREATE TABLE offline (
  owner TEXT NOT NULL, id INTEGER NOT NULL, expires_s INTEGER NOT NULL, sender TEXT NOT NULL,
  xml TEXT NOT NULL, PRIMARY KEY (owner, id)) WITHOUT ROWID;
INSERT INTO offline VALUES ('romeo@example.net', 3, 0, 'juliet@example.com/b', '<message/>');
CREATE TABLE archive (
  owner TEXT NOT NULL, id INTEGER NOT NULL, peer TEXT NOT NULL, resource TEXT NOT NULL,
  outgoing INTEGER NOT NULL, origin_id TEXT NOT NULL, xml TEXT NOT NULL,
  PRIMARY KEY (owner, id)) WITHOUT ROWID;
CREATE INDEX archive_peer ON archive (owner, peer, id, resource);
INSERT INTO archive VALUES ('romeo@example.net', 5, 'juliet@example.com', 'b', 1, 'o', '<message/>');
CREATE TABLE archive_prefs (owner TEXT PRIMARY KEY NOT NULL, xml TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE vcard (owner TEXT PRIMARY KEY NOT NULL, xml TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE private_storage (
  owner TEXT NOT NULL, name TEXT NOT NULL, space TEXT NOT NULL, xml TEXT NOT NULL,
  PRIMARY KEY (owner, name, space)) WITHOUT ROWID;
CREATE TABLE last (
  owner TEXT PRIMARY KEY NOT NULL, seconds INTEGER NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
)sql";

std::vector<std::string> SchemaOf(const std::string& path) {
  auto db = SqliteDb::Open(path, SqliteDb::Mode::kReader);
  std::vector<std::string> texts;
  SqliteQuery query = (*db)->Query("SELECT sql FROM sqlite_schema WHERE sql != '' ORDER BY name");
  while (query.Row()) texts.emplace_back(query.Text(0));
  return texts;
}

TEST_F(SqliteStoreTest, AFileOfVersion1IsBroughtToTodaysWithAllThatItHas) {
  {
    auto db = SqliteDb::Open(options_.path, SqliteDb::Mode::kWriter);
    ASSERT_EQ((*db)->Run(kVersion1), SQLITE_OK) << (*db)->ErrorText();
  }
  Open();
  EXPECT_EQ(store_->cluster_id(), "the-old-one");
  const LoadedUser loaded = loop_.Load(*client_, kRomeo);
  EXPECT_EQ(loaded.account.keys[0]->salt, "salt");
  EXPECT_EQ(loaded.account.keys[0]->server_key, "server");
  EXPECT_EQ(loaded.roster.at(0).groups, std::vector<std::string>{"Love"});
  EXPECT_EQ(loaded.roster_version, 12U);
  EXPECT_EQ(loaded.offline, 1U);
  EXPECT_THAT(Ids(kRomeo), ElementsAre(5));

  const std::string fresh = folder_.Path("fresh.db");
  ASSERT_TRUE(SqliteStore::Open({.path = fresh}).has_value());
  EXPECT_EQ(SchemaOf(options_.path), SchemaOf(fresh));
}

TEST_F(SqliteStoreTest, ManyWhoOpenANewFileAtOnceMakeItOnce) {
  std::vector<std::string> ids(4);
  {
    std::vector<std::jthread> threads;
    for (std::string& id : ids) {
      threads.emplace_back([this, &id] {
        const auto store = SqliteStore::Open(options_);
        id = store ? (*store)->cluster_id() : store.error();
      });
    }
  }
  EXPECT_EQ(ids[0].size(), 36U) << ids[0];
  EXPECT_THAT(ids, testing::Each(ids[0]));
}

TEST_F(SqliteStoreTest, ADamagedPageIsAnErrorAndNotTheEnd) {
  Open();
  WriteBatch batch;
  for (uint64_t id = 1; id <= 2'000; ++id) batch.emplace_back(AddArchive{Entry(kRomeo, id)});
  ASSERT_TRUE(Write(std::move(batch)));
  client_.reset();
  store_.reset();
  const auto size = std::filesystem::file_size(options_.path);
  {
    std::fstream file(options_.path, std::ios::binary | std::ios::in | std::ios::out);
    for (uint64_t page = 20; page < size / 4'096; ++page) {
      file.seekp(static_cast<std::streamoff>(page * 4'096));
      file << std::string(200, '\xff');
    }
  }
  Open();
  const auto page = loop_.Get<ArchivePage>(
      [&](auto done) { client_->Archive({.owner = kRomeo, .most = 1'000}, std::move(done)); });
  EXPECT_EQ(page.error(), StoreError::kDown);
}

// Of ten million rows a peer's few are found by their index, not by reading the owner's.
TEST_F(SqliteStoreTest, PagesOfAPeerAreFoundByTheirIndex) {
  Open();
  auto db = SqliteDb::Open(options_.path, SqliteDb::Mode::kReader);
  ASSERT_TRUE(db.has_value()) << db.error().text;
  for (const std::string with : {"juliet@example.net", "juliet@example.net/balcony"}) {
    for (const bool backwards : {false, true}) {
      const ArchiveSql made =
          PageSql({.owner = kRomeo, .with = with, .backwards = backwards, .count = true});
      for (const char* sql : {made.page, made.count}) {
        const std::string explain = std::string("EXPLAIN QUERY PLAN ") + sql;
        SqliteQuery plan = (*db)->Query(explain.c_str());
        std::string steps;
        while (plan.Row()) steps += std::string(plan.Text(3)) + "; ";
        EXPECT_THAT(steps, HasSubstr("INDEX archive_peer (owner=? AND (peer,id)>(?,?)")) << sql;
        EXPECT_THAT(steps, testing::Not(HasSubstr("TEMP B-TREE"))) << sql;
      }
    }
  }
}

}  // namespace
}  // namespace server
