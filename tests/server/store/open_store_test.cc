// Stores by their URLs, and copies of a file that is in use.

#include "server/store/open_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "server/store/copy_store.h"
#include "tests/server/store/pg_server.h"
#include "tests/server/store/store_loop.h"
#include "tests/test_folder.h"

namespace server {
namespace {

using test::Entry;
using test::StoreLoop;
using testing::HasSubstr;
using testing::Not;

constexpr char kRomeo[] = "romeo@example.net";

TEST(OpenStoreTest, AUrlNamesAStoreOfEitherKind) {
  const net::TestFolder folder;
  StoreLoop loop;
  for (const std::string& url : {std::string("sqlite:store.db"),
                                 test::PgServer::Get().Url(test::PgServer::Get().NewDatabase())}) {
    auto store = OpenStore({.url = url, .folder = folder.path()});
    ASSERT_TRUE(store.has_value()) << store.error();
    auto client = (*store)->Client(loop.loop());
    ASSERT_TRUE(loop.Write(*client, {AddArchive{Entry(kRomeo, 1)}}));
    EXPECT_EQ(loop.Archive(*client, {.owner = kRomeo}).entries.size(), 1U);
  }
  EXPECT_TRUE(std::filesystem::exists(folder.Path("store.db")));
}

TEST(OpenStoreTest, AUrlThatNamesNoneIsRefusedWithoutItsSecrets) {
  for (const char* url : {"", "sqlite:", "mysql://romeo:v3rona@host/db"}) {
    const auto store = OpenStore({.url = url});
    ASSERT_FALSE(store.has_value()) << url;
    EXPECT_THAT(store.error(), testing::AllOf(HasSubstr("names no store"), Not(HasSubstr("v3"))));
  }
}

TEST(OpenStoreTest, ABackupHasAllOfOneMomentWhileOthersWrite) {
  const net::TestFolder folder;
  StoreLoop loop;
  auto store = OpenStore({.url = "sqlite:store.db", .folder = folder.path()});
  ASSERT_TRUE(store.has_value());
  auto client = (*store)->Client(loop.loop());
  WriteBatch batch;
  for (uint64_t id = 1; id <= 500; ++id) batch.emplace_back(AddArchive{Entry(kRomeo, id)});
  ASSERT_TRUE(loop.Write(*client, std::move(batch)));
  uint64_t ended = 0;
  for (uint64_t id = 501; id <= 700; ++id) {
    client->Write({AddArchive{Entry(kRomeo, id)}, AddArchive{Entry("mirror@example.net", id)}},
                  [&](const auto& result) { ended += result.has_value() ? 1U : 0U; });
  }
  const auto made = BackupSqlite(folder.Path("store.db"), folder.Path("copy.db"));
  ASSERT_TRUE(made.has_value()) << made.error();
  ASSERT_TRUE(loop.RunUntil([&] { return ended == 200; }));

  for (const char* name : {"store.db", "store.db-wal", "copy.db"}) {
    EXPECT_EQ(std::filesystem::status(folder.Path(name)).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)
        << name << " holds keys";
  }
  auto copy = OpenStore({.url = "sqlite:copy.db", .folder = folder.path()});
  ASSERT_TRUE(copy.has_value()) << copy.error();
  EXPECT_EQ((*copy)->cluster_id(), (*store)->cluster_id());
  auto theirs = (*copy)->Client(loop.loop());
  const auto count = [&](const std::string& owner) {
    return *loop.Archive(*theirs, {.owner = owner, .most = 0, .count = true}).count;
  };
  EXPECT_GE(count(kRomeo), 500U);
  EXPECT_EQ(count(kRomeo) - 500, count("mirror@example.net"));
  ASSERT_TRUE(loop.Write(*theirs, {AddArchive{Entry(kRomeo, 9'999)}}));

  EXPECT_THAT(BackupSqlite(folder.Path("store.db"), folder.Path("copy.db")).error(),
              HasSubstr("exists"));
  EXPECT_THAT(BackupSqlite(folder.Path("none.db"), folder.Path("other.db")).error(),
              HasSubstr("cannot be opened"));
}

class CopyStoreTest : public testing::Test {
 protected:
  StoreOptions Sqlite(const std::string& name) {
    return {.url = "sqlite:" + name, .folder = folder_.path()};
  }
  StoreOptions Postgres() {
    return {.url = test::PgServer::Get().Url(test::PgServer::Get().NewDatabase())};
  }
  auto Copy(const StoreOptions& from, const StoreOptions& to) {
    return CopyStore(from, to, [this](const CopyProgress& progress) { told_ = progress; });
  }
  // More rows than a page has, and of every kind.
  std::string Fill(const StoreOptions& options) {
    auto store = OpenStore(options);
    EXPECT_TRUE(store.has_value());
    auto client = (*store)->Client(loop_.loop());
    Account account;
    account.keys[0] = MakeScramKeys(ScramHash::kSha1, "secret", "salt", 16);
    account.created_s = 17;
    RosterItem item;
    item.jid = "juliet@example.net";
    item.name = "Juliet \"\xC3\xA4\"";
    item.groups = {"a", "b"};
    item.version = 3;
    WriteBatch batch = {
        CreateAccount{.user = kRomeo, .account = account},
        PutRosterItem{.user = kRomeo, .item = item},
        SetBlocked{.user = kRomeo, .jid = "tybalt@example.net"},
        AddOffline{.entry = {.owner = kRomeo, .id = 5, .from = "a@b", .xml = "<m/>"}},
        PutVcard{kRomeo, "<v/>"},
        PutPrivate{kRomeo, "n", "s", "<p/>"},
        PutLast{kRomeo, {.seconds = 9, .status = "bye"}},
        PutArchivePrefs{kRomeo, "<prefs/>"}};
    for (uint64_t id = 1; id <= 1'234; ++id) batch.emplace_back(AddArchive{Entry(kRomeo, id)});
    EXPECT_TRUE(loop_.Write(*client, std::move(batch)));
    return (*store)->cluster_id();
  }
  void ExpectFilled(const StoreOptions& options, const std::string& cluster_id) {
    auto store = OpenStore(options);
    ASSERT_TRUE(store.has_value()) << store.error();
    EXPECT_EQ((*store)->cluster_id(), cluster_id) << "it is the same cluster's";
    auto client = (*store)->Client(loop_.loop());
    const LoadedUser user = loop_.Load(*client, kRomeo);
    EXPECT_TRUE(user.exists);
    EXPECT_TRUE(user.account.keys[0].has_value());
    ASSERT_EQ(user.roster.size(), 1U);
    EXPECT_EQ(user.roster[0].name, "Juliet \"\xC3\xA4\"");
    EXPECT_EQ(user.roster[0].groups, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(user.roster_version, 3U);
    EXPECT_THAT(user.blocked, testing::ElementsAre("tybalt@example.net"));
    EXPECT_EQ(user.archive_prefs, "<prefs/>");
    EXPECT_EQ(loop_.Offline(*client, kRomeo).entries.at(0).xml, "<m/>");
    EXPECT_EQ(loop_.Vcard(*client, kRomeo), "<v/>");
    EXPECT_EQ(*loop_.Archive(*client, {.owner = kRomeo, .most = 0, .count = true}).count, 1'234U);
  }

  net::TestFolder folder_;
  StoreLoop loop_;
  CopyProgress told_;
};

TEST_F(CopyStoreTest, GoesFromSqliteToPostgresqlAndBack) {
  const std::string cluster_id = Fill(Sqlite("one.db"));
  const StoreOptions pg = Postgres();
  const auto there = Copy(Sqlite("one.db"), pg);
  ASSERT_TRUE(there.has_value()) << there.error();
  EXPECT_EQ(there->accounts, 1U);
  EXPECT_GE(there->rows, 1'234U + 9U);
  EXPECT_GT(told_.rows, 0U);
  ExpectFilled(pg, cluster_id);
  const auto back = Copy(pg, Sqlite("two.db"));
  ASSERT_TRUE(back.has_value()) << back.error();
  EXPECT_EQ(back->rows, there->rows);
  ExpectFilled(Sqlite("two.db"), cluster_id);
}

TEST_F(CopyStoreTest, OnlyGoesIntoAnEmptyStore) {
  Fill(Sqlite("one.db"));
  Fill(Sqlite("two.db"));
  EXPECT_THAT(Copy(Sqlite("one.db"), Sqlite("two.db")).error(), HasSubstr("is not empty"));
  EXPECT_THAT(Copy(Sqlite("one.db"), Sqlite("one.db")).error(), HasSubstr("the same store"));
  EXPECT_THAT(Copy(Sqlite("one.db"), {.url = "mysql:"}).error(), HasSubstr("names no store"));
}

TEST_F(CopyStoreTest, WhatIsNotFinishedIsOpenedByNobody) {
  {
    auto store = OpenStore(Sqlite("half.db"));
    ASSERT_TRUE(store.has_value());
    auto keeper = (*store)->Keeper(loop_.loop());
    ASSERT_TRUE(loop_.Get<std::monostate>([&](auto done) {
      keeper->Run(
          {{"INSERT INTO meta (name, value) VALUES ('unfinished', $1)", {std::string("a copy")}}},
          std::move(done));
    }));
  }
  EXPECT_THAT(OpenStore(Sqlite("half.db")).error(), HasSubstr("was not finished"));
  Fill(Sqlite("one.db"));
  EXPECT_THAT(Copy(Sqlite("one.db"), Sqlite("half.db")).error(), HasSubstr("was not finished"));
}

TEST_F(CopyStoreTest, ABackupIsRestoredAndWhatWasThereIsKept) {
  const std::string cluster_id = Fill(Sqlite("store.db"));
  ASSERT_TRUE(BackupSqlite(folder_.Path("store.db"), folder_.Path("copy.db")));
  {
    auto store = OpenStore(Sqlite("store.db"));
    auto client = (*store)->Client(loop_.loop());
    ASSERT_TRUE(loop_.Write(*client, {RemoveAccount{.user = kRomeo}}));
  }
  const auto restored = RestoreSqlite(folder_.Path("copy.db"), folder_.Path("store.db"));
  ASSERT_TRUE(restored.has_value()) << restored.error();
  EXPECT_EQ(*restored, folder_.Path("store.db.before-1"));
  ExpectFilled(Sqlite("store.db"), cluster_id);
  auto before = OpenStore(Sqlite("store.db.before-1"));
  ASSERT_TRUE(before.has_value()) << before.error();
  auto client = (*before)->Client(loop_.loop());
  EXPECT_FALSE(loop_.Load(*client, kRomeo).exists);
  std::ofstream(folder_.Path("none.db")) << "no database";
  EXPECT_THAT(RestoreSqlite(folder_.Path("none.db"), folder_.Path("store.db")).error(),
              HasSubstr("cannot be restored"));
  ExpectFilled(Sqlite("store.db"), cluster_id);
}

}  // namespace
}  // namespace server
