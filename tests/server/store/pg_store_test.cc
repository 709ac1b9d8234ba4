// What is PostgreSQL's own: connections that break at the worst moment, servers that stop.

#include "server/store/pg_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "server/store/pg_schema.h"
#include "server/store/reads.h"
#include "tests/server/store/cut_proxy.h"
#include "tests/server/store/pg_server.h"
#include "tests/server/store/store_loop.h"

namespace server {
namespace {

using test::CutProxy;
using test::Entry;
using test::PgServer;
using test::StoreLoop;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kJuliet[] = "juliet@example.net";
constexpr char kRomeo[] = "romeo@example.net";

class PgStoreTest : public testing::Test {
 protected:
  PgStoreTest() { options_.connection.url = PgServer::Get().Url(database_, proxy_.port()); }
  ~PgStoreTest() override {
    client_.reset();
    store_.reset();
  }
  void Open() {
    auto store = PgStore::Open(options_);
    ASSERT_TRUE(store.has_value()) << store.error();
    store_ = std::move(*store);
    client_ = store_->Client(loop_.loop());
  }
  StoreLoop::Result<std::monostate> Write(WriteBatch batch) {
    return loop_.Write(*client_, std::move(batch));
  }
  std::vector<uint64_t> Ids(const std::string& owner = kRomeo) {
    std::vector<uint64_t> ids;
    for (const ArchiveEntry& entry :
         loop_.Archive(*client_, {.owner = owner, .most = 1'000}).entries) {
      ids.push_back(entry.id);
    }
    return ids;
  }
  static AddArchive CutMe(uint64_t id) {
    ArchiveEntry entry = Entry(kRomeo, id);
    entry.xml = "<message>cut me</message>";
    return {entry};
  }
  void Sql(const std::string& text) {
    auto db = PgConnection::Open({.url = PgServer::Get().Url(database_)});
    ASSERT_TRUE(db.has_value()) << db.error();
    const PgResult result = (*db)->Run(text.c_str());
    ASSERT_NE(result, nullptr);
    const auto status = PQresultStatus(result.get());
    ASSERT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) << (*db)->ErrorText();
  }

  StoreLoop loop_;
  const std::string database_ = PgServer::Get().NewDatabase();
  CutProxy proxy_{PgServer::Get().socket_path()};
  PgStoreOptions options_;
  std::unique_ptr<PgStore> store_;
  std::unique_ptr<StoreClient> client_;
};

// --- One transaction for many -------------------------------------------------------------------

TEST_F(PgStoreTest, WhatIsQueuedIsOneTransaction) {
  Open();
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1'000)}}));
  const uint64_t transactions = store_->metrics().transactions;
  size_t ended = 0;
  for (uint64_t id = 1; id <= 400; ++id) {
    client_->Write({AddArchive{Entry(kRomeo, id)}}, [&](const auto& result) {
      EXPECT_TRUE(result.has_value());
      ++ended;
    });
  }
  ASSERT_TRUE(loop_.RunUntil([&] { return ended == 400; }));
  EXPECT_LE(store_->metrics().transactions, transactions + 20);
  EXPECT_EQ(store_->metrics().batches, 401U);
}

TEST_F(PgStoreTest, ABatchThatCannotBeLeavesThoseBesideItAlone) {
  Open();
  std::vector<StoreLoop::Result<std::monostate>> ends;
  const auto write = [&](WriteBatch batch) {
    client_->Write(std::move(batch), [&](auto result) { ends.push_back(std::move(result)); });
  };
  for (uint64_t id = 1; id <= 9; ++id) {
    WriteBatch batch = {AddArchive{Entry(kRomeo, id)}};
    if (id == 3) batch.emplace_back(SetBanned{kJuliet, "no"});
    if (id == 5 || id == 6) batch.emplace_back(CreateAccount{kJuliet, Account()});
    if (id == 8) batch.emplace_back(PutVcard{kRomeo, std::string("\xff no UTF-8")});
    write(std::move(batch));
  }
  ASSERT_TRUE(loop_.RunUntil([&] { return ends.size() == 9; }));
  EXPECT_EQ(ends[2].error(), StoreError::kAbsent);
  EXPECT_EQ(ends[5].error(), StoreError::kConflict);
  EXPECT_EQ(ends[7].error(), StoreError::kDown);
  EXPECT_THAT(Ids(), ElementsAre(1, 2, 4, 5, 7, 9));
}

// --- Connections that break ---------------------------------------------------------------------

TEST_F(PgStoreTest, ACommitWhoseAnswerWasLostIsFoundAndNotDoneAgain) {
  Open();
  for (uint64_t id = 1; id <= 5; ++id) {
    proxy_.Arm(CutProxy::Cut::kAnswer);
    EXPECT_TRUE(Write({CutMe(id)})) << id;
    EXPECT_EQ(proxy_.cuts(), static_cast<int>(id));
  }
  EXPECT_THAT(Ids(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(store_->metrics().unknown, 0U);
}

TEST_F(PgStoreTest, ATransactionThatDidNotArriveIsDoneAgain) {
  Open();
  int cuts = 0;
  for (const auto cut : {CutProxy::Cut::kRequest, CutProxy::Cut::kHalf}) {
    for (uint64_t i = 0; i < 3; ++i) {
      proxy_.Arm(cut);
      ++cuts;
      EXPECT_TRUE(Write({CutMe(static_cast<uint64_t>(cuts))}));
      EXPECT_EQ(proxy_.cuts(), cuts);
    }
  }
  EXPECT_THAT(Ids(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(PgStoreTest, WhatNobodyCanFindOutIsUnknown) {
  options_.writer.doubt_limit = std::chrono::milliseconds(300);
  Open();
  ASSERT_TRUE(Write({CutMe(1)}));
  proxy_.Arm(CutProxy::Cut::kRefuse);
  EXPECT_EQ(Write({CutMe(2)}).error(), StoreError::kUnknown);
  EXPECT_EQ(store_->metrics().unknown, 1U);
  proxy_.Arm(CutProxy::Cut::kNone);
  EXPECT_TRUE(Write({CutMe(3)}));
  EXPECT_THAT(Ids(), ElementsAre(1, 3));
}

TEST_F(PgStoreTest, WritesWaitWithinTheirPatienceForAServerThatIsAway) {
  options_.writer.doubt_limit = std::chrono::milliseconds(100);
  options_.shared.patience = std::chrono::seconds(2);
  Open();
  ASSERT_TRUE(Write({CutMe(4)}));
  proxy_.Arm(CutProxy::Cut::kRefuse);
  EXPECT_EQ(Write({CutMe(1)}).error(), StoreError::kUnknown);
  EXPECT_EQ(Write({CutMe(2)}).error(), StoreError::kBusy);
  proxy_.Arm(CutProxy::Cut::kNone);
  EXPECT_TRUE(Write({CutMe(3)}));
  EXPECT_THAT(Ids(), ElementsAre(3, 4));
}

// Each of the pool's connections lies idle and is dead by then.
TEST_F(PgStoreTest, ReadsFindANewConnectionByThemselves) {
  Open();
  ASSERT_TRUE(Write({CutMe(1)}));
  EXPECT_THAT(Ids(), ElementsAre(1));
  Sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
      "WHERE datname = current_database() AND pid != pg_backend_pid()");
  EXPECT_THAT(Ids(), ElementsAre(1));
  EXPECT_TRUE(Write({CutMe(2)}));
  EXPECT_THAT(Ids(), ElementsAre(1, 2));
}

// The transaction still runs in the server when another connection asks what became of it.
TEST_F(PgStoreTest, ATransactionThatTheServerStillWorksOnIsWaitedFor) {
  Open();
  ASSERT_TRUE(Write({CutMe(1)}));
  Sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN "
      "IF NEW.id = 2 THEN PERFORM pg_sleep(1); END IF; RETURN NEW; END $f$; "
      "CREATE TRIGGER slow BEFORE INSERT ON archive FOR EACH ROW EXECUTE FUNCTION slow()");
  auto other = PgConnection::Open({.url = PgServer::Get().Url(database_)});
  ASSERT_TRUE(other.has_value());
  std::optional<StoreLoop::Result<std::monostate>> end;
  client_->Write({CutMe(2)}, [&](auto result) { end = std::move(result); });
  const auto working = [&] {
    const PgResult found = (*other)->Run(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND "
        "datname = current_database()");
    return PQntuples(found.get()) == 1;
  };
  ASSERT_TRUE(loop_.RunUntil(working));
  proxy_.Arm(CutProxy::Cut::kRefuse);
  // The server hears of it when it wants to answer.
  ASSERT_TRUE(loop_.RunUntil([&] { return proxy_.pairs() == 0; }));
  proxy_.Arm(CutProxy::Cut::kNone);
  ASSERT_TRUE(loop_.RunUntil([&] { return end.has_value(); }));
  EXPECT_TRUE(end->has_value());
  EXPECT_THAT(Ids(), ElementsAre(1, 2));
}

TEST_F(PgStoreTest, ATransactionThatTheServerRefusesForOthersSakeIsDoneAgain) {
  Open();
  Sql("CREATE SEQUENCE tries; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$ "
      "BEGIN IF nextval('tries') < 3 THEN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; "
      "END IF; RETURN NEW; END $f$; "
      "CREATE TRIGGER refuse BEFORE INSERT ON vcard FOR EACH ROW EXECUTE FUNCTION refuse()");
  EXPECT_TRUE(Write({PutVcard{kRomeo, "<vCard/>"}}));
  EXPECT_EQ(loop_.Vcard(*client_, kRomeo), "<vCard/>");
}

TEST_F(PgStoreTest, AStatementThatTakesTooLongIsEndedAndKeepsNothing) {
  options_.connection.statement_limit = std::chrono::milliseconds(200);
  Open();
  Sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN "
      "PERFORM pg_sleep(20); RETURN NEW; END $f$; "
      "CREATE TRIGGER slow BEFORE INSERT ON vcard FOR EACH ROW EXECUTE FUNCTION slow()");
  EXPECT_EQ(Write({CutMe(1), PutVcard{kRomeo, "<vCard/>"}}).error(), StoreError::kDown);
  EXPECT_TRUE(Write({CutMe(2)}));
  EXPECT_THAT(Ids(), ElementsAre(2));
}

// --- Servers that stop --------------------------------------------------------------------------

TEST_F(PgStoreTest, AServerThatIsCutOffAndStartedAgainHasAllThatWasAcknowledgedOnce) {
  options_.shared.patience = std::chrono::seconds(60);
  options_.writer.doubt_limit = std::chrono::seconds(60);
  Open();
  std::set<uint64_t> acknowledged;
  uint64_t next = 1;
  uint64_t failed = 0;
  bool writing = true;
  std::function<void()> write = [&] {
    const uint64_t id = next++;
    client_->Write({AddArchive{Entry(kRomeo, id)}, AddArchive{Entry("mirror@example.net", id)}},
                   [&, id](const auto& result) {
                     if (result) acknowledged.insert(id);
                     // kConflict would be a transaction that was done twice.
                     if (!result) {
                       EXPECT_NE(result.error(), StoreError::kConflict);
                       ++failed;
                     }
                     if (writing) write();
                   });
  };
  for (int i = 0; i < 32; ++i) write();
  for (int round = 0; round < 2; ++round) {
    const size_t before = acknowledged.size();
    ASSERT_TRUE(loop_.RunUntil([&] { return acknowledged.size() > before + 200; }));
    PgServer::Get().StopImmediately();
    loop_.loop().RunOnce(std::chrono::milliseconds(20));
    PgServer::Get().Start();
  }
  const size_t before = acknowledged.size();
  ASSERT_TRUE(loop_.RunUntil([&] { return acknowledged.size() > before + 200; }));
  writing = false;
  ASSERT_TRUE(loop_.RunUntil([&] { return acknowledged.size() + failed == next - 1; }));

  const auto all = [&](const std::string& owner) {
    std::set<uint64_t> ids;
    uint64_t last = 0;
    while (true) {
      const ArchivePage page =
          loop_.Archive(*client_, {.owner = owner, .after = last, .most = 1'000});
      for (const ArchiveEntry& entry : page.entries) ids.insert(last = entry.id);
      if (page.complete || page.entries.empty()) return ids;
    }
  };
  const std::set<uint64_t> kept = all(kRomeo);
  EXPECT_TRUE(std::includes(kept.begin(), kept.end(), acknowledged.begin(), acknowledged.end()));
  EXPECT_EQ(kept, all("mirror@example.net"));
  // The server was away for less than anybody's patience.
  EXPECT_EQ(failed, 0U);
  EXPECT_EQ(kept, acknowledged);
}

// --- The database -------------------------------------------------------------------------------

std::string WhyNotOpen(const std::string& url) {
  const auto store = PgStore::Open({.connection = {.url = url}});
  return store ? "it was opened" : store.error();
}

TEST_F(PgStoreTest, WhyItCannotBeOpenedIsSaidWithoutSecrets) {
  const std::string secret = "postgresql://romeo:v3rona@127.0.0.1:1/none";
  EXPECT_THAT(WhyNotOpen(secret),
              testing::AllOf(HasSubstr("postgresql://127.0.0.1/none"), HasSubstr("pg_hba.conf"),
                             Not(HasSubstr("v3rona"))));
  EXPECT_THAT(WhyNotOpen("postgresql://romeo:v3rona@[::1"), Not(HasSubstr("v3rona")));
}

TEST_F(PgStoreTest, ANewerSchemaAndTablesOfOthersAreRefusedInWords) {
  Open();
  Sql("UPDATE meta SET value = '99' WHERE name = 'schema_version'");
  EXPECT_THAT(WhyNotOpen(options_.connection.url),
              testing::AllOf(HasSubstr("schema version 99"), HasSubstr("a newer one wrote it")));
  Sql("DROP TABLE meta");
  EXPECT_THAT(WhyNotOpen(options_.connection.url), HasSubstr("not this server's"));
}

TEST_F(PgStoreTest, ADatabaseOfVersion1GetsWhatCameLaterAndKeepsWhatItHas) {
  Open();
  ASSERT_TRUE(Write({CutMe(7)}));
  const std::string cluster = store_->cluster_id();
  client_.reset();
  store_.reset();
  // Version 1 is today's without what the steps behind it made.
  Sql("DROP TABLE rooms");
  Sql("DROP TABLE room_affiliations");
  Sql("DROP TABLE discovery_nodes");
  Sql("UPDATE meta SET value = '1' WHERE name = 'schema_version'");
  Open();
  EXPECT_EQ(store_->cluster_id(), cluster);
  EXPECT_THAT(Ids(), ElementsAre(7));
  ASSERT_TRUE(Write({PutRoom{{.jid = "coven@rooms.example.net",
                              .affiliations = {{.jid = kRomeo, .affiliation = "owner"}}}}}));
  const auto room = loop_.Get<StoredRoom>(
      [&](auto done) { client_->Room("coven@rooms.example.net", std::move(done)); });
  EXPECT_EQ(room->affiliations.size(), 1U);
}

// Notes how many bytes of texts the server sent for the statements that are asked through it.
class Weighed final : public SqlSource {
 public:
  explicit Weighed(SqlSource& source) : source_(source) {}
  std::unique_ptr<SqlAnswers> Ask(const std::vector<SqlAsk>& asked) override {
    const auto rows = source_.Ask(asked);
    rows->Next();
    for (bytes = 0; rows->Row();) bytes += rows->Text(column).size();
    EXPECT_TRUE(rows->good()) << source_.ErrorText();
    return source_.Ask(asked);
  }
  std::string ErrorText() const override { return source_.ErrorText(); }
  bool lost() const override { return source_.lost(); }

  int column = 0;  // of the first statement
  size_t bytes = 0;

 private:
  SqlSource& source_;
};

// What libpq has of an answer, it has whole: a bound that is kept behind it is none.
TEST_F(PgStoreTest, TheServerSendsNoMoreOfWhatIsLargeThanIsRead) {
  Open();
  constexpr uint64_t kEntries = 32;
  const std::string large(256 * 1024, 'x');
  for (uint64_t id = 1; id <= kEntries; ++id) {
    ArchiveEntry entry = Entry(kRomeo, id);
    entry.xml = large;
    entry.peer = kJuliet;
    entry.resource = "balcony";
    ASSERT_TRUE(Write({AddOffline{{.owner = kRomeo, .id = id, .xml = large}}, AddArchive{entry}}));
  }
  auto db = PgConnection::Open({.url = PgServer::Get().Url(database_)});
  ASSERT_TRUE(db.has_value()) << db.error();
  Weighed weighed(**db);

  weighed.column = 3;
  const auto offline = ReadOffline(weighed, kRomeo, 2, 1'000, 0);
  ASSERT_TRUE(offline.has_value());
  EXPECT_FALSE(offline->complete);
  ASSERT_EQ(offline->entries.size(), 4U);
  EXPECT_EQ(offline->entries.front().id, 3U);
  EXPECT_EQ(offline->entries.back().id, 6U);
  EXPECT_LE(weighed.bytes, kReadBytesMax + large.size());

  weighed.column = 5;
  for (const std::string with : {"", kJuliet, "juliet@example.net/balcony"}) {
    for (const bool backwards : {false, true}) {
      const auto page = ReadArchive(
          weighed,
          {.owner = kRomeo, .with = with, .backwards = backwards, .most = 1'000, .count = true});
      ASSERT_TRUE(page.has_value());
      EXPECT_FALSE(page->complete);
      EXPECT_EQ(page->count, kEntries);
      ASSERT_EQ(page->entries.size(), 4U) << with;
      EXPECT_EQ(page->entries.front().id, backwards ? kEntries - 3 : 1U);
      EXPECT_EQ(page->entries.back().id, backwards ? kEntries : 4U);
      EXPECT_LE(weighed.bytes, kReadBytesMax + large.size()) << with;
    }
  }
}

TEST_F(PgStoreTest, TwoStoresOfOneDatabaseAreOfOneCluster) {
  Open();
  auto other = PgStore::Open(options_);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ((*other)->cluster_id(), store_->cluster_id());
  auto theirs = (*other)->Client(loop_.loop());
  ASSERT_TRUE(Write({CutMe(1)}));
  ASSERT_TRUE(loop_.Write(*theirs, {CutMe(2)}));
  EXPECT_THAT(Ids(), ElementsAre(1, 2));
}

TEST_F(PgStoreTest, CommitsAreSyncedWhateverTheDatabaseSays) {
  Sql("ALTER DATABASE " + database_ + " SET synchronous_commit = off");
  auto db = PgConnection::Open(options_.connection);
  ASSERT_TRUE(db.has_value());
  const PgResult shown = (*db)->Run("SHOW synchronous_commit");
  EXPECT_STREQ(PQgetvalue(shown.get(), 0, 0), "on");
}

// The first is not there.
TEST_F(PgStoreTest, OfSeveralHostsTheOneThatTakesWritesIsFound) {
  options_.connection.url =
      "postgresql://postgres@127.0.0.1:1,127.0.0.1:" + std::to_string(proxy_.port()) + "/" +
      database_ + "?sslmode=disable";
  Open();
  EXPECT_TRUE(Write({CutMe(1)}));
}

}  // namespace
}  // namespace server
