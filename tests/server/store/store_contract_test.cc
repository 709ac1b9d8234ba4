// What a store owes those who ask it, whatever it keeps its rows in.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "server/store/rows.h"
#include "tests/server/store/pg_kind.h"

namespace server {
namespace {

using test::Entry;
using test::StoreLoop;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kRomeo[] = "romeo@example.net";
constexpr char kJuliet[] = "juliet@example.com";

class StoreContractTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kind_ = test::MakeKind(GetParam());
    Reopen();
  }
  void Reopen() {
    keeper_.reset();
    client_.reset();
    store_.reset();
    store_ = kind_->Open([this] { return now_s_.load(); });
    ASSERT_NE(store_, nullptr);
    client_ = store_->Client(loop_.loop());
    keeper_ = store_->Keeper(loop_.loop());
  }

  StoreLoop::Result<std::monostate> Write(WriteBatch batch) {
    return loop_.Write(*client_, std::move(batch));
  }
  LoadedUser Load(const std::string& user) { return loop_.Load(*client_, user); }
  ArchivePage Archive(ArchiveQuery query) { return loop_.Archive(*client_, std::move(query)); }
  std::vector<OfflineEntry> Offline(const std::string& user, uint32_t most = 100) {
    return loop_.Offline(*client_, user, 0, most).entries;
  }
  StoreLoop::Result<LastActivity> Last(const std::string& user) {
    return loop_.Get<LastActivity>([&](auto done) { client_->Last(user, std::move(done)); });
  }
  std::string Private(const std::string& user, const std::string& name, const std::string& space) {
    return *loop_.Get<std::string>(
        [&](auto done) { client_->Private(user, name, space, std::move(done)); });
  }
  std::string Prefs(const std::string& user) {
    return *loop_.Get<std::string>(
        [&](auto done) { client_->ArchivePrefs(user, std::move(done)); });
  }
  StoreLoop::Result<StoredRoom> Room(const std::string& room) {
    return loop_.Get<StoredRoom>([&](auto done) { client_->Room(room, std::move(done)); });
  }
  std::vector<uint64_t> Ids(const ArchivePage& page) {
    std::vector<uint64_t> ids;
    for (const ArchiveEntry& entry : page.entries) ids.push_back(entry.id);
    return ids;
  }

  std::atomic<int64_t> now_s_{1'700'000'000};
  StoreLoop loop_;
  std::unique_ptr<test::StoreKind> kind_;
  std::unique_ptr<StoreBackend> store_;
  std::unique_ptr<StoreClient> client_;
  std::unique_ptr<StoreKeeper> keeper_;
};

INSTANTIATE_TEST_SUITE_P(, StoreContractTest, testing::Values("sqlite", "postgresql"),
                         [](const auto& param) { return std::string(param.param); });

Account SomeAccount() {
  Account account;
  account.created_s = 1'234;
  for (size_t i = 0; i < kScramHashes; ++i) {
    account.keys[i] = ScramKeys{.salt = std::string("\0\xff\x01:$", 5) + std::to_string(i),
                                .iterations = 4'096 + static_cast<uint32_t>(i),
                                .stored_key = std::string(20 + i, '\0'),
                                .server_key = std::string(20 + i, '\xfe')};
  }
  return account;
}

TEST_P(StoreContractTest, AnAccountIsCreatedOnceAndChanged) {
  EXPECT_FALSE(Load(kRomeo).exists);
  ASSERT_TRUE(Write({CreateAccount{kRomeo, SomeAccount()}}));
  LoadedUser loaded = Load(kRomeo);
  EXPECT_TRUE(loaded.exists);
  EXPECT_EQ(loaded.account.keys, SomeAccount().keys);
  EXPECT_EQ(loaded.account.created_s, 1'234);
  EXPECT_EQ(loaded.account.banned, "");

  EXPECT_EQ(Write({CreateAccount{kRomeo, Account()}}).error(), StoreError::kConflict);
  EXPECT_EQ(Load(kRomeo).account.keys, SomeAccount().keys);
  EXPECT_EQ(Write({SetBanned{kJuliet, "no"}}).error(), StoreError::kAbsent);
  EXPECT_FALSE(Load(kJuliet).exists);

  Account changed = SomeAccount();
  changed.keys[1].reset();
  changed.banned = "wrote poems; 'all' night";
  ASSERT_TRUE(Write({SetKeys{kRomeo, changed.keys}, SetBanned{kRomeo, changed.banned}}));
  loaded = Load(kRomeo);
  EXPECT_EQ(loaded.account.keys, changed.keys);
  EXPECT_EQ(loaded.account.banned, changed.banned);
}

WriteBatch AllOf(const std::string& user) {
  return {CreateAccount{user, SomeAccount()},
          PutRosterItem{user, {.jid = "x@example.org", .version = 7}},
          SetBlocked{user, "spam.example"},
          AddOffline{{.owner = user, .id = 5, .from = "x@example.org/a", .xml = "<message/>"}},
          AddArchive{Entry(user, 6)},
          PutVcard{user, "<vCard/>"},
          PutPrivate{user, "storage", "storage:bookmarks", "<storage/>"},
          PutLast{user, {.seconds = 99, .status = "gone"}},
          PutArchivePrefs{user, "<prefs/>"}};
}

TEST_P(StoreContractTest, ARemovedAccountTakesAllThatItHadAndNothingOfOthers) {
  ASSERT_TRUE(Write(AllOf(kRomeo)));
  ASSERT_TRUE(Write(AllOf(kJuliet)));
  ASSERT_TRUE(Write({RemoveAccount{kRomeo}}));
  EXPECT_EQ(Write({RemoveAccount{kRomeo}}).error(), StoreError::kAbsent);

  const auto has = [&](const char* user) {
    const LoadedUser loaded = Load(user);
    const size_t had = (loaded.exists ? 1U : 0U) + (loaded.roster_version != 0 ? 1U : 0U) +
                       loaded.roster.size() + loaded.blocked.size() + loaded.offline;
    return had + Offline(user).size() + Archive({.owner = user}).entries.size() +
           (loop_.Vcard(*client_, user).empty() ? 0U : 1U) +
           (Private(user, "storage", "storage:bookmarks").empty() ? 0U : 1U) +
           (Last(user).has_value() ? 1U : 0U) + (Prefs(user).empty() ? 0U : 1U);
  };
  EXPECT_EQ(has(kRomeo), 0U);
  EXPECT_EQ(has(kJuliet), 11U);
}

TEST_P(StoreContractTest, ARosterComesBackAsItWasPutWithTheLastVersion) {
  const RosterItem nurse = {.jid = "nurse@example.com",
                            .name = "N\"ürse' <&>\n",
                            .groups = {"Friends", "", "a,b;c"},
                            .subscription = Subscription::kBoth,
                            .approved = true,
                            .version = 3};
  const RosterItem asks = {.jid = "asks@example.com",
                           .ask = true,
                           .pending_in = true,
                           .request = "<status>let me in</status>",
                           .version = 4};
  ASSERT_TRUE(Write({PutRosterItem{kRomeo, nurse}, PutRosterItem{kRomeo, asks}}));
  LoadedUser loaded = Load(kRomeo);
  EXPECT_EQ(loaded.roster_version, 4U);
  ASSERT_EQ(loaded.roster.size(), 2U);
  const RosterItem& first = loaded.roster[0];
  EXPECT_EQ(first.jid, asks.jid);
  EXPECT_TRUE(first.ask && first.pending_in && !first.approved);
  EXPECT_EQ(first.request, asks.request);
  EXPECT_EQ(first.subscription, Subscription::kNone);
  const RosterItem& second = loaded.roster[1];
  EXPECT_EQ(second.jid, nurse.jid);
  EXPECT_EQ(second.name, nurse.name);
  EXPECT_EQ(second.groups, nurse.groups);
  EXPECT_EQ(second.subscription, Subscription::kBoth);
  EXPECT_TRUE(!second.ask && !second.pending_in && second.approved);
  EXPECT_EQ(second.version, 3U);

  ASSERT_TRUE(Write({PutRosterItem{
      kRomeo, {.jid = nurse.jid, .subscription = Subscription::kFrom, .version = 5}}}));
  ASSERT_TRUE(Write({RemoveRosterItem{kRomeo, asks.jid, 6}}));
  loaded = Load(kRomeo);
  EXPECT_EQ(loaded.roster_version, 6U);
  ASSERT_EQ(loaded.roster.size(), 1U);
  EXPECT_EQ(loaded.roster[0].subscription, Subscription::kFrom);
  EXPECT_THAT(loaded.roster[0].groups, IsEmpty());
  EXPECT_EQ(loaded.roster[0].name, "");
}

TEST_P(StoreContractTest, EverySubscriptionHasItsLetter) {
  for (const auto subscription : {Subscription::kNone, Subscription::kTo, Subscription::kFrom,
                                  Subscription::kBoth, Subscription::kRemove}) {
    ASSERT_TRUE(
        Write({PutRosterItem{kRomeo, {.jid = "x@example.org", .subscription = subscription}}}));
    EXPECT_EQ(Load(kRomeo).roster.at(0).subscription, subscription);
  }
}

TEST_P(StoreContractTest, BlockedAddressesAreASet) {
  ASSERT_TRUE(Write({SetBlocked{kRomeo, "b.example"}, SetBlocked{kRomeo, "a@b.example/c"},
                     SetBlocked{kRomeo, "b.example"}}));
  EXPECT_THAT(Load(kRomeo).blocked, ElementsAre("a@b.example/c", "b.example"));
  ASSERT_TRUE(Write({SetBlocked{kRomeo, "b.example", false}}));
  EXPECT_THAT(Load(kRomeo).blocked, ElementsAre("a@b.example/c"));
  ASSERT_TRUE(Write({SetBlocked{kRomeo, "x.example"}, ClearBlocked{kRomeo}}));
  EXPECT_THAT(Load(kRomeo).blocked, IsEmpty());
}

TEST_P(StoreContractTest, OfflineMessagesComeInOrderUntilTheyExpire) {
  for (const uint64_t id : {30U, 10U, 20U}) {
    ASSERT_TRUE(Write({AddOffline{{.owner = kRomeo,
                                   .id = id,
                                   .expires_s = id == 20 ? now_s_.load() + 60 : 0,
                                   .from = "nurse@example.com/ward",
                                   .xml = "<message>" + std::to_string(id) + "</message>"}}}));
  }
  EXPECT_EQ(Load(kRomeo).offline, 3U);
  std::vector<OfflineEntry> entries = Offline(kRomeo, 2);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].id, 10U);
  EXPECT_EQ(entries[0].owner, kRomeo);
  EXPECT_EQ(entries[0].from, "nurse@example.com/ward");
  EXPECT_EQ(entries[0].xml, "<message>10</message>");
  EXPECT_EQ(entries[1].id, 20U);
  EXPECT_EQ(entries[1].expires_s, now_s_ + 60);
  now_s_ += 60;
  EXPECT_EQ(Load(kRomeo).offline, 2U);
  EXPECT_EQ(Offline(kRomeo).size(), 2U);
  // Another node stored it since they were read.
  ASSERT_TRUE(Write({AddOffline{{.owner = kRomeo, .id = 15, .xml = "<message/>"}}}));
  ASSERT_TRUE(Write({RemoveOffline{kRomeo, {10, 20}}}));
  entries = Offline(kRomeo);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].id, 15U);
  ASSERT_TRUE(Write({RemoveOffline{kRomeo, {15, 99}}}));  // one of them is not there
  entries = Offline(kRomeo);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].id, 30U);
}

TEST_P(StoreContractTest, WhatWaitsIsReadInPagesThatAreBoundedInBytes) {
  const std::string large(400 * 1024, 'x');
  for (const uint64_t id : {1U, 2U, 3U, 4U}) {
    ASSERT_TRUE(Write({AddOffline{
        {.owner = kRomeo, .id = id, .xml = id == 4 ? std::string(kReadBytesMax + 1, 'x') : large}}}));
  }
  const auto ids = [&](uint64_t after, uint32_t most) {
    std::vector<uint64_t> found;
    const OfflinePage page = loop_.Offline(*client_, kRomeo, after, most);
    for (const OfflineEntry& entry : page.entries) found.push_back(entry.id);
    return std::pair(found, page.complete);
  };
  using Ids = std::vector<uint64_t>;
  EXPECT_EQ(ids(0, 100), std::pair(Ids({1, 2}), false)) << "a third would be too many bytes";
  EXPECT_EQ(ids(2, 100), std::pair(Ids({3}), false));
  EXPECT_EQ(ids(3, 100), std::pair(Ids({4}), true)) << "the first comes however large it is";
  EXPECT_EQ(ids(4, 100), std::pair(Ids(), true));
  EXPECT_EQ(ids(0, 1), std::pair(Ids({1}), false));
}

TEST_P(StoreContractTest, PagesOfAnArchiveAreBoundedInBytes) {
  for (const uint64_t id : {1U, 2U, 3U}) {
    ASSERT_TRUE(Write({AddArchive{
        {.owner = kRomeo, .peer = "p", .id = id, .xml = std::string(600 * 1024, 'x')}}}));
  }
  const auto ids = [&](ArchiveQuery query) {
    query.owner = kRomeo;
    std::vector<uint64_t> found;
    const ArchivePage page = Archive(query);
    for (const ArchiveEntry& entry : page.entries) found.push_back(entry.id);
    return std::pair(found, page.complete);
  };
  using Ids = std::vector<uint64_t>;
  EXPECT_EQ(ids({}), std::pair(Ids({1}), false));
  EXPECT_EQ(ids({.after = 2}), std::pair(Ids({3}), true));
  EXPECT_EQ(ids({.backwards = true}), std::pair(Ids({3}), false)) << "the newest";
}

TEST_P(StoreContractTest, AFullOfflineBoxRefusesTheWholeBatch) {
  const auto add = [&](uint64_t id, uint32_t most) {
    return Write({AddArchive{Entry(kRomeo, id)},
                  AddOffline{{.owner = kRomeo, .id = id, .xml = "<message/>"}, most}});
  };
  ASSERT_TRUE(add(1, 2));
  ASSERT_TRUE(add(2, 2));
  EXPECT_EQ(add(3, 2).error(), StoreError::kConflict);
  EXPECT_THAT(Ids(Archive({.owner = kRomeo})), ElementsAre(1, 2));
  ASSERT_TRUE(add(4, 0));
  EXPECT_EQ(Load(kRomeo).offline, 3U);
  EXPECT_EQ(Write({AddOffline{{.owner = kRomeo, .id = 4}}}).error(), StoreError::kConflict);
}

TEST_P(StoreContractTest, AnArchiveIsPagedInBothDirections) {
  for (uint64_t id = 1; id <= 7; ++id) ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, id)}}));
  ASSERT_TRUE(Write({AddArchive{Entry(kJuliet, 4)}}));
  EXPECT_EQ(Write({AddArchive{Entry(kRomeo, 4)}}).error(), StoreError::kConflict);

  ArchivePage page = Archive({.owner = kRomeo, .most = 3, .count = true});
  EXPECT_THAT(Ids(page), ElementsAre(1, 2, 3));
  EXPECT_FALSE(page.complete);
  EXPECT_EQ(page.count, 7U);
  const ArchiveEntry& entry = page.entries[1];
  EXPECT_EQ(entry.owner, kRomeo);
  EXPECT_EQ(entry.peer, "peer@example.org");
  EXPECT_EQ(entry.resource, "phone");
  EXPECT_TRUE(entry.outgoing);
  EXPECT_FALSE(page.entries[0].outgoing);
  EXPECT_EQ(entry.origin_id, "origin-2");
  EXPECT_EQ(entry.xml, "<message><body>2</body></message>");

  page = Archive({.owner = kRomeo, .after = 3, .most = 4});
  EXPECT_THAT(Ids(page), ElementsAre(4, 5, 6, 7));
  EXPECT_TRUE(page.complete);
  EXPECT_FALSE(page.count.has_value());

  page = Archive({.owner = kRomeo, .backwards = true, .most = 3});
  EXPECT_THAT(Ids(page), ElementsAre(5, 6, 7));
  EXPECT_FALSE(page.complete);
  page = Archive({.owner = kRomeo, .before = 5, .backwards = true, .most = 4});
  EXPECT_THAT(Ids(page), ElementsAre(1, 2, 3, 4));
  EXPECT_TRUE(page.complete);
  page = Archive({.owner = kRomeo, .after = 2, .before = 5, .most = 9});
  EXPECT_THAT(Ids(page), ElementsAre(3, 4));

  page = Archive({.owner = kRomeo, .most = 0, .count = true});
  EXPECT_THAT(Ids(page), IsEmpty());
  EXPECT_FALSE(page.complete);
  EXPECT_EQ(page.count, 7U);
}

TEST_P(StoreContractTest, ABoundThatNamesNoEntryOfTheOwnersIsSaid) {
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1)}, AddArchive{Entry(kJuliet, 2)}}));
  EXPECT_TRUE(Archive({.owner = kRomeo, .after = 1}).bound_known);
  EXPECT_FALSE(Archive({.owner = kRomeo, .after = 2}).bound_known);
  EXPECT_FALSE(Archive({.owner = kRomeo, .before = 2}).bound_known);
  EXPECT_FALSE(Archive({.owner = kRomeo, .before = UINT64_MAX}).bound_known);
}

TEST_P(StoreContractTest, AnArchiveIsAskedByPeerByAddressAndByTime) {
  const auto id = [](int64_t us, uint64_t node) { return FirstArchiveId(us) | node; };
  const auto add = [&](int64_t us, const std::string& peer, const std::string& resource) {
    ArchiveEntry entry = Entry(kRomeo, id(us, 3), peer);
    entry.resource = resource;
    ASSERT_TRUE(Write({AddArchive{entry}}));
  };
  add(1'000, "a@example.org", "x");
  add(2'000, "a@example.org", "y");
  add(3'000, "example.org", "x");
  add(4'000, "b@example.org", "");
  add(5'000, "a@example.org", "x");

  const auto times = [&](ArchiveQuery query) {
    query.owner = kRomeo;
    query.count = true;
    std::vector<int64_t> found;
    const ArchivePage page = Archive(query);
    for (const ArchiveEntry& entry : page.entries) {
      found.push_back(static_cast<int64_t>(entry.id >> kArchiveIdNodeBits) / 1'000);
    }
    EXPECT_EQ(page.count, found.size());
    return found;
  };
  EXPECT_THAT(times({.with = "a@example.org"}), ElementsAre(1, 2, 5));
  EXPECT_THAT(times({.with = "a@example.org", .backwards = true}), ElementsAre(1, 2, 5));
  EXPECT_THAT(times({.with = "a@example.org/x"}), ElementsAre(1, 5));
  EXPECT_THAT(times({.with = "a@example.org/x", .backwards = true}), ElementsAre(1, 5));
  EXPECT_THAT(times({.with = "example.org/x"}), ElementsAre(3));
  EXPECT_THAT(times({.with = "example.org"}), ElementsAre(3));
  EXPECT_THAT(times({.with = "nobody@example.org"}), IsEmpty());
  // Both ends belong to it, whatever node wrote.
  EXPECT_THAT(times({.start_us = 2'000, .end_us = 4'000}), ElementsAre(2, 3, 4));
  EXPECT_THAT(times({.start_us = 2'001, .end_us = 3'999}), ElementsAre(3));
  EXPECT_THAT(times({.with = "a@example.org", .start_us = 1'500}), ElementsAre(2, 5));
}

TEST_P(StoreContractTest, PrivateElementsAreBoundedInNumber) {
  const auto put = [](const std::string& user, const std::string& name, const std::string& xml) {
    return PutPrivate{.user = user, .name = name, .space = "s", .xml = xml, .most = 2};
  };
  ASSERT_TRUE(Write({put(kRomeo, "a", "<a/>"), put(kRomeo, "b", "<b/>")}));
  EXPECT_EQ(Write({put(kRomeo, "c", "<c/>")}).error(), StoreError::kConflict);
  EXPECT_EQ(Private(kRomeo, "c", "s"), "");
  ASSERT_TRUE(Write({put(kRomeo, "b", "<b>again</b>")})) << "it is there already";
  EXPECT_EQ(Private(kRomeo, "b", "s"), "<b>again</b>");
  ASSERT_TRUE(Write({put(kJuliet, "c", "<c/>")})) << "another's";
  ASSERT_TRUE(Write({put(kRomeo, "a", "")}));
  ASSERT_TRUE(Write({put(kRomeo, "c", "<c/>")}));
}

TEST_P(StoreContractTest, SingleValuesArePutReplacedAndTakenAway) {
  EXPECT_EQ(loop_.Vcard(*client_, kRomeo), "");
  EXPECT_EQ(Last(kRomeo).error(), StoreError::kAbsent);
  ASSERT_TRUE(Write({CreateAccount{kRomeo, Account()}}));
  for (const std::string text : {"<one/>", "<two/>", ""}) {
    ASSERT_TRUE(
        Write({PutVcard{kRomeo, text}, PutPrivate{kRomeo, "n", "s", text},
               PutArchivePrefs{kRomeo, text}, PutLast{kRomeo, {.seconds = 17, .status = text}}}));
    EXPECT_EQ(loop_.Vcard(*client_, kRomeo), text);
    EXPECT_EQ(Private(kRomeo, "n", "s"), text);
    EXPECT_EQ(Private(kRomeo, "n", "t"), "");
    EXPECT_EQ(Prefs(kRomeo), text);
    EXPECT_EQ(Load(kRomeo).archive_prefs, text);
    EXPECT_EQ(Last(kRomeo)->status, text);
    EXPECT_EQ(Last(kRomeo)->seconds, 17);
  }
}

TEST_P(StoreContractTest, AReadSeesWhatWasAskedToBeWrittenBefore) {
  for (uint64_t id = 1; id <= 30; ++id) {
    std::optional<size_t> entries, offline;
    std::string vcard;
    client_->Write({AddArchive{Entry(kRomeo, id)},
                    AddOffline{{.owner = kRomeo, .id = id, .xml = "<message/>"}}},
                   [](const auto& done) { EXPECT_TRUE(done.has_value()); });
    client_->Write({AddArchive{Entry(kJuliet, id)}, PutVcard{kRomeo, std::to_string(id)}},
                   [](const auto& done) { EXPECT_TRUE(done.has_value()); });
    client_->Archive({.owner = kRomeo}, [&](const auto& page) { entries = page->entries.size(); });
    client_->Offline(kRomeo, 0, 100, [&](const auto& read) { offline = read->entries.size(); });
    client_->Vcard(kRomeo, [&](const auto& read) { vcard = *read; });
    ASSERT_TRUE(loop_.RunUntil([&] { return entries && offline && !vcard.empty(); }));
    EXPECT_EQ(entries, id);
    EXPECT_EQ(offline, id);
    EXPECT_EQ(vcard, std::to_string(id));
  }
}

TEST_P(StoreContractTest, AWriteThatEndsBadlyHoldsNoReadUp) {
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1)}}));
  std::optional<size_t> entries;
  client_->Write({AddArchive{Entry(kRomeo, 1)}},
                 [](const auto& done) { EXPECT_EQ(done.error(), StoreError::kConflict); });
  client_->Archive({.owner = kRomeo}, [&](const auto& page) { entries = page->entries.size(); });
  ASSERT_TRUE(loop_.RunUntil([&] { return entries.has_value(); }));
  EXPECT_EQ(entries, 1U);
}

// What ends behind the removal: a session that leaves, a message that was on its way.
TEST_P(StoreContractTest, ARemovedAccountLeavesNothingToTheNextOfItsName) {
  ASSERT_TRUE(Write({CreateAccount{kRomeo, SomeAccount()}}));
  ASSERT_TRUE(Write({RemoveAccount{kRomeo}}));
  ASSERT_TRUE(Write({PutLast{kRomeo, {.seconds = 99, .status = "gone"}}}));
  EXPECT_EQ(Last(kRomeo).error(), StoreError::kAbsent);
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 6)}, PutRosterItem{kRomeo, {.jid = "x@example.org"}},
                     AddOffline{{.owner = kRomeo, .id = 5, .xml = "<message/>"}}}));
  ASSERT_TRUE(Write({CreateAccount{kRomeo, SomeAccount()}}));
  EXPECT_THAT(Ids(Archive({.owner = kRomeo})), IsEmpty());
  const LoadedUser loaded = Load(kRomeo);
  EXPECT_TRUE(loaded.exists);
  EXPECT_TRUE(loaded.roster.empty());
  EXPECT_EQ(loaded.offline, 0U);
}

TEST_P(StoreContractTest, TwoThatChangeOneAccountUndoNothingOfEachOther) {
  ASSERT_TRUE(Write({CreateAccount{kRomeo, SomeAccount()}}));
  Account changed = SomeAccount();
  changed.keys[0].reset();
  const auto other = store_->Client(loop_.loop());
  int ended = 0;
  for (int i = 0; i < 20; ++i) {
    client_->Write({SetKeys{kRomeo, changed.keys}}, [&](const auto&) { ++ended; });
    other->Write({SetBanned{kRomeo, "spam"}}, [&](const auto&) { ++ended; });
  }
  ASSERT_TRUE(loop_.RunUntil([&] { return ended == 40; }));
  const LoadedUser loaded = Load(kRomeo);
  EXPECT_EQ(loaded.account.keys, changed.keys);
  EXPECT_EQ(loaded.account.banned, "spam");
  EXPECT_EQ(loaded.account.created_s, 1'234);
}

TEST_P(StoreContractTest, ABatchIsDoneWholeOrNotAtAll) {
  ASSERT_TRUE(Write({PutVcard{kRomeo, "<old/>"}}));
  EXPECT_EQ(Write({PutVcard{kRomeo, "<new/>"}, AddArchive{Entry(kRomeo, 1)},
                   SetBanned{kRomeo, "no"}, AddArchive{Entry(kRomeo, 2)}})
                .error(),
            StoreError::kAbsent);
  EXPECT_EQ(loop_.Vcard(*client_, kRomeo), "<old/>");
  EXPECT_THAT(Ids(Archive({.owner = kRomeo})), IsEmpty());
  EXPECT_TRUE(Write({}));
}

TEST_P(StoreContractTest, LongAndOddTextsComeBackByteByByte) {
  std::string text = "é漢字\U0001f600 ' \" \\ % $1 ?1 ;-- \t\r\n";
  while (text.size() < 1'000'000) text += text;
  ASSERT_TRUE(Write({PutVcard{kRomeo, text}}));
  EXPECT_TRUE(loop_.Vcard(*client_, kRomeo) == text);
}

TEST_P(StoreContractTest, AccountsAreListedByDomainInOrder) {
  for (const char* user : {"c@one.example", "a@one.example", "b@one.example", "a@two.example"}) {
    ASSERT_TRUE(Write({CreateAccount{user, Account()}}));
  }
  const auto list = [&](const std::string& after, uint32_t most) {
    return *loop_.Get<std::vector<std::string>>(
        [&](auto done) { client_->Accounts("one.example", after, most, std::move(done)); });
  };
  EXPECT_THAT(list("", 2), ElementsAre("a@one.example", "b@one.example"));
  EXPECT_THAT(list("b@one.example", 2), ElementsAre("c@one.example"));
  const auto count = [&](const std::string& domain) {
    return *loop_.Get<uint64_t>(
        [&](auto done) { client_->CountAccounts(domain, std::move(done)); });
  };
  EXPECT_EQ(count("one.example"), 3U);
  EXPECT_EQ(count("three.example"), 0U);
}

StoredRoom SomeRoom() {
  return {
      .jid = "coven@rooms.example.net",
      .name = "A dark cave",
      .listed = true,
      .config = "<x xmlns='jabber:x:data' type='submit'/>",
      .subject = "Fire burn",
      .subject_by = "firstwitch",
      .subject_us = 1'700'000'000'123'456,
      .secret = "random",
      .affiliations = {
          {.jid = "crone1@example.net", .affiliation = "owner", .nick = "firstwitch", .reason = {}},
          {.jid = "earl@example.com", .affiliation = "outcast", .nick = {}, .reason = "Treason"}}};
}

TEST_P(StoreContractTest, ARoomComesBackAsItWasPutAndInParts) {
  const StoredRoom room = SomeRoom();
  ASSERT_TRUE(Write({PutRoom{room}}));
  StoredRoom read = *Room(room.jid);
  EXPECT_EQ(read.jid, room.jid);
  EXPECT_EQ(read.name, room.name);
  EXPECT_TRUE(read.listed);
  EXPECT_EQ(read.config, room.config);
  EXPECT_EQ(read.subject, room.subject);
  EXPECT_EQ(read.subject_by, room.subject_by);
  EXPECT_EQ(read.subject_us, room.subject_us);
  EXPECT_EQ(read.secret, room.secret);
  ASSERT_EQ(read.affiliations.size(), 2U);
  EXPECT_EQ(read.affiliations[0].nick, "firstwitch");
  EXPECT_EQ(read.affiliations[1].affiliation, "outcast");
  EXPECT_EQ(read.affiliations[1].reason, "Treason");

  ASSERT_TRUE(Write(
      {SetRoomConfig{.room = room.jid, .name = "", .listed = false, .config = "<x/>"},
       SetRoomSubject{.room = room.jid, .subject = "", .by = "hag", .time_us = 7},
       SetRoomAffiliation{.room = room.jid,
                          .row = {.jid = "earl@example.com", .affiliation = "none"}},
       SetRoomAffiliation{
           .room = room.jid,
           .row = {.jid = "hag@example.net", .affiliation = "member", .nick = "", .reason = ""}},
       SetRoomAffiliation{.room = room.jid,
                          .row = {.jid = "crone1@example.net", .affiliation = "admin"}}}));
  read = *Room(room.jid);
  EXPECT_EQ(read.name, "");
  EXPECT_FALSE(read.listed);
  EXPECT_EQ(read.config, "<x/>");
  EXPECT_EQ(read.subject_by, "hag");
  EXPECT_EQ(read.subject_us, 7);
  EXPECT_EQ(read.secret, room.secret);
  ASSERT_EQ(read.affiliations.size(), 2U);
  EXPECT_EQ(read.affiliations[0].affiliation, "admin");
  EXPECT_EQ(read.affiliations[0].nick, "");
  EXPECT_EQ(read.affiliations[1].jid, "hag@example.net");

  // Put again it is what is put, and nothing of before.
  StoredRoom again = room;
  again.affiliations.pop_back();
  ASSERT_TRUE(Write({PutRoom{again}}));
  read = *Room(room.jid);
  EXPECT_EQ(read.affiliations.size(), 1U);
  EXPECT_EQ(read.subject, room.subject);
}

TEST_P(StoreContractTest, WhatIsOfNoRoomIsRefusedAndLeavesNothing) {
  const StoredRoom room = SomeRoom();
  EXPECT_EQ(Room(room.jid)->jid, "");
  EXPECT_EQ(Write({SetRoomConfig{.room = room.jid, .name = {}, .config = {}}}).error(),
            StoreError::kAbsent);
  EXPECT_EQ(Write({SetRoomSubject{.room = room.jid, .subject = {}, .by = {}}}).error(),
            StoreError::kAbsent);
  EXPECT_EQ(
      Write({SetRoomAffiliation{.room = room.jid, .row = {.jid = "a@b", .affiliation = "owner"}}})
          .error(),
      StoreError::kAbsent);
  StoredRoom bare = room;
  bare.affiliations.clear();
  ASSERT_TRUE(Write({PutRoom{bare}}));
  EXPECT_THAT(Room(room.jid)->affiliations, IsEmpty());
}

TEST_P(StoreContractTest, ARemovedRoomTakesItsArchiveAlong) {
  const StoredRoom room = SomeRoom();
  ASSERT_TRUE(
      Write({PutRoom{room}, AddArchive{Entry(room.jid, 1'000)}, AddArchive{Entry(kRomeo, 1'000)}}));
  ASSERT_TRUE(Write({RemoveRoom{room.jid}}));
  EXPECT_EQ(Room(room.jid)->jid, "");
  EXPECT_THAT(Archive({.owner = room.jid}).entries, IsEmpty());
  EXPECT_EQ(Archive({.owner = kRomeo}).entries.size(), 1U);
}

TEST_P(StoreContractTest, ListedRoomsOfAServiceComeInOrder) {
  for (const char* name : {"c@rooms.example.net", "a@rooms.example.net", "b@rooms.example.net",
                           "a@rooms.example.com"}) {
    StoredRoom room = SomeRoom();
    room.jid = name;
    room.listed = room.jid != "b@rooms.example.net";
    ASSERT_TRUE(Write({PutRoom{room}}));
  }
  const auto listed = [&](const std::string& after, uint32_t most) {
    std::vector<std::string> names;
    const auto rooms = loop_.Get<std::vector<RoomName>>([&](auto done) {
      client_->ListedRooms("rooms.example.net", after, most, std::move(done));
    });
    for (const RoomName& room : *rooms) names.push_back(room.jid + " " + room.name);
    return names;
  };
  EXPECT_THAT(listed("", 10),
              ElementsAre("a@rooms.example.net A dark cave", "c@rooms.example.net A dark cave"));
  EXPECT_THAT(listed("", 1), ElementsAre("a@rooms.example.net A dark cave"));
  EXPECT_THAT(listed("a@rooms.example.net", 10), ElementsAre("c@rooms.example.net A dark cave"));
}

TEST_P(StoreContractTest, AnEntryOfAnArchiveIsReplacedInItsPlace) {
  ASSERT_TRUE(Write({AddArchive{Entry(kRomeo, 1'000)}, AddArchive{Entry(kRomeo, 2'000)}}));
  const auto before = Archive({.owner = kRomeo}).entries;
  ASSERT_TRUE(Write({ReplaceArchive{.owner = kRomeo, .id = before[0].id, .xml = "<message/>"}}));
  const auto after = Archive({.owner = kRomeo}).entries;
  ASSERT_EQ(after.size(), 2U);
  EXPECT_EQ(after[0].id, before[0].id);
  EXPECT_EQ(after[0].xml, "<message/>");
  EXPECT_EQ(after[1].xml, before[1].xml);
  EXPECT_EQ(Write({ReplaceArchive{.owner = kJuliet, .id = before[0].id, .xml = "x"}}).error(),
            StoreError::kAbsent);
}

TEST_P(StoreContractTest, WritesEndInTheOrderInWhichTheyWereAsked) {
  std::vector<uint64_t> ended;
  ASSERT_TRUE(Write({CreateAccount{kRomeo, Account()}}));
  for (uint64_t id = 1; id <= 200; ++id) {
    client_->Write({PutLast{kRomeo, {.seconds = static_cast<int64_t>(id)}}},
                   [&ended, id](const auto& result) {
                     EXPECT_TRUE(result.has_value());
                     ended.push_back(id);
                   });
  }
  ASSERT_TRUE(loop_.RunUntil([&] { return ended.size() == 200; }));
  EXPECT_TRUE(std::is_sorted(ended.begin(), ended.end()));
  EXPECT_EQ(Last(kRomeo)->seconds, 200);
}

TEST_P(StoreContractTest, AClientThatIsGoneHearsNothingAndItsWritesAreDone) {
  auto gone = store_->Client(loop_.loop());
  for (uint64_t id = 1; id <= 50; ++id) {
    gone->Write({AddArchive{Entry(kRomeo, id)}}, [](const auto&) { FAIL() << "heard"; });
    gone->Load(kRomeo, [](const auto&) { FAIL() << "heard"; });
  }
  gone.reset();
  Reopen();
  EXPECT_EQ(Archive({.owner = kRomeo}).entries.size(), 50U);
}

// Processes that share it make ids by it: those of two must never be the same.
TEST_P(StoreContractTest, EachOpeningHasANumberOfItsOwn) {
  std::set<uint64_t> openings;
  for (int i = 0; i < 5; ++i) {
    openings.insert(store_->identity().opening);
    Reopen();
  }
  openings.insert(store_->identity().opening);
  EXPECT_EQ(openings.size(), 6U);
}

TEST_P(StoreContractTest, WhatWasWrittenIsThereWhenItIsOpenedAgain) {
  const std::string cluster_id = store_->cluster_id();
  EXPECT_EQ(cluster_id.size(), 36U);
  ASSERT_TRUE(Write(AllOf(kRomeo)));
  Reopen();
  EXPECT_EQ(store_->cluster_id(), cluster_id);
  const LoadedUser loaded = Load(kRomeo);
  EXPECT_TRUE(loaded.exists);
  EXPECT_EQ(loaded.roster.size(), 1U);
  EXPECT_EQ(loaded.offline, 1U);
  EXPECT_THAT(Ids(Archive({.owner = kRomeo})), ElementsAre(6));
}

TEST_P(StoreContractTest, ALoginIsOneReadAndNoTransaction) {
  ASSERT_TRUE(Write(AllOf(kRomeo)));
  const uint64_t transactions = store_->metrics().transactions;
  Load(kRomeo);
  EXPECT_EQ(store_->metrics().login_store_roundtrips, 1U);
  EXPECT_EQ(store_->metrics().transactions, transactions);
}

// --- Retention ----------------------------------------------------------------------------------

class RetentionTest : public StoreContractTest {
 protected:
  // Slices until the pass is complete.
  Retired All(Retention retention) {
    Retired sum;
    for (int slices = 0; slices < 1'000; ++slices) {
      const Retired part = loop_.Retire(*keeper_, retention);
      EXPECT_LE(part.archive + part.offline, kRetireSlice);
      sum.archive += part.archive;
      sum.offline += part.offline;
      if (!part.more) return sum;
      retention.after_owner = part.next_owner;
    }
    ADD_FAILURE() << "a pass without end";
    return sum;
  }
  void Fill(const std::string& owner, uint64_t entries) {
    WriteBatch batch;
    for (uint64_t i = 1; i <= entries; ++i) {
      batch.emplace_back(AddArchive{Entry(owner, FirstArchiveId(static_cast<int64_t>(i)))});
    }
    ASSERT_TRUE(Write(std::move(batch)));
  }
  uint64_t Count(const std::string& owner) {
    return *Archive({.owner = owner, .most = 0, .count = true}).count;
  }
};
INSTANTIATE_TEST_SUITE_P(, RetentionTest, testing::Values("sqlite", "postgresql"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(RetentionTest, WhatIsTooOldGoesFromEveryArchiveInSlices) {
  Fill("a@example.org", 2'500);
  Fill("b@example.org", 3);
  for (int i = 0; i < 100; ++i) Fill("user" + std::to_string(i) + "@example.org", 2);
  EXPECT_EQ(All({.archive_before_us = 2'401}).archive, 2'400U + 3U + 200U);
  EXPECT_EQ(Count("a@example.org"), 100U);
  EXPECT_EQ(Archive({.owner = "a@example.org", .most = 1}).entries.at(0).id, FirstArchiveId(2'401));
  EXPECT_EQ(Count("b@example.org"), 0U);
  EXPECT_EQ(All({.archive_before_us = 2'401}).archive, 0U);
}

TEST_P(RetentionTest, TheNewestOfEachArchiveStay) {
  Fill("a@example.org", 1'500);
  Fill("b@example.org", 10);
  Fill("c@example.org", 11);
  EXPECT_EQ(All({.archive_most = 10}).archive, 1'490U + 1U);
  EXPECT_EQ(Archive({.owner = "a@example.org", .most = 1}).entries.at(0).id, FirstArchiveId(1'491));
  EXPECT_EQ(Count("b@example.org"), 10U);
  EXPECT_EQ(Count("c@example.org"), 10U);
}

TEST_P(RetentionTest, OfflineMessagesGoWhenTheyExpired) {
  WriteBatch batch;
  for (uint64_t id = 1; id <= 1'200; ++id) {
    const int64_t expires = id % 4 == 0 ? 0 : id % 4 == 1 ? 500 : 100;
    batch.emplace_back(AddOffline{{.owner = kRomeo, .id = id, .expires_s = expires}});
  }
  ASSERT_TRUE(Write(std::move(batch)));
  now_s_ = 50;
  EXPECT_EQ(All({.now_s = 100}).offline, 600U);
  EXPECT_EQ(Load(kRomeo).offline, 600U);
  EXPECT_EQ(All({.now_s = 1'000}).offline, 300U);
  EXPECT_EQ(All({}).offline, 0U);
}

TEST_P(StoreContractTest, NodesThatShowThemselvesKnowEachOtherForATime) {
  const auto show = [this](const std::string& node) {
    return *loop_.Get<std::vector<std::string>>(
        [&](auto done) { keeper_->ShowNode(node, std::move(done)); });
  };
  EXPECT_THAT(show("b@two.example"), ElementsAre("b@two.example"));
  now_s_ += 10;
  EXPECT_THAT(show("a@one.example"), ElementsAre("a@one.example", "b@two.example"));
  now_s_ += kNodeKnownS - 10;
  EXPECT_THAT(show("c@three.example"),
              ElementsAre("a@one.example", "b@two.example", "c@three.example"));
  now_s_ += 1;
  EXPECT_THAT(show("c@three.example"), ElementsAre("a@one.example", "c@three.example"));
  Reopen();
  EXPECT_THAT(show("a@one.example"), ElementsAre("a@one.example", "c@three.example"));
}

}  // namespace
}  // namespace server
