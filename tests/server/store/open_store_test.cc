// Stores by their URLs, and copies of a file that is in use.

#include "server/store/open_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace server
