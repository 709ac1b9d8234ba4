// What dialogues cannot say: settlement, the store's failures, limits, memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/im/message_bytes.h"
#include "tests/server/im/home_fixture.h"

namespace server {
namespace {

using ::testing::Contains;
using ::testing::Not;

TEST_F(HomeTest, MessageCountsWhenArchivedThoughNobodyTookIt) {
  Online("alice/a");
  Online("bob/b");
  world_.Hold("bob/b");
  world_.store.stalled = true;
  world_.Send("alice/a", std::string(kHi));
  EXPECT_EQ(world_.Count("alice/a"), 1U);  // the presence alone
  world_.store.stalled = false;
  world_.Run();
  EXPECT_EQ(world_.Count("alice/a"), 2U);
  EXPECT_EQ(Bob().archive.size(), 1U);
  EXPECT_EQ(Alice().archive.size(), 1U);
}

TEST_F(HomeTest, MessageCountsWhenTakenThoughTheStoreStalls) {
  Online("alice/a");
  Online("bob/b");
  world_.store.stalled = true;
  world_.Send("alice/a", std::string(kHi));
  EXPECT_EQ(world_.Count("alice/a"), 2U);
  world_.store.stalled = false;
  world_.Run();
  EXPECT_EQ(world_.At("alice/a").settled_twice, 0);
}

TEST_F(HomeTest, StoreThatIsDownSendsBackWhatNobodyTook) {
  Online("alice/a");
  Online("bob/b");
  world_.Leave("bob/b");
  world_.StoreIs("down");
  world_.Send("alice/a", std::string(kHi));
  const std::string error = Next("alice/a");
  EXPECT_NE(error.find("resource-constraint"), std::string::npos) << error;
  EXPECT_EQ(world_.Count("alice/a"), 2U);
  EXPECT_EQ(Next("alice/a"), "");
}

TEST_F(HomeTest, StoreThatIsDownDoesNotStopChat) {
  Online("alice/a");
  Online("bob/b");
  world_.StoreIs("down");
  world_.Send("alice/a", std::string(kHi));
  EXPECT_NE(Next("bob/b").find("<body>hi</body>"), std::string::npos);
  EXPECT_EQ(Next("alice/a"), "");
  EXPECT_EQ(world_.Count("alice/a"), 2U);
}

TEST_F(HomeTest, UntakenMessageWaitsOfflineWithItsArchiveId) {
  Online("alice/a");
  Online("bob/b");
  world_.Hold("bob/b");
  world_.Send("alice/a", std::string(kHi));
  world_.Lose("bob/b");
  ASSERT_EQ(Bob().offline.size(), 1U);
  ASSERT_EQ(Bob().archive.size(), 1U);
  const std::string id = "id='" + std::to_string(Bob().archive.begin()->first) + "'";
  EXPECT_NE(Bob().offline.begin()->second.xml.find(id), std::string::npos);
  EXPECT_EQ(world_.At("alice/a").settled_twice, 0);
  EXPECT_EQ(world_.Count("alice/a"), 2U);
}

// What waits leaves the store up to an id: what comes late must not have an early one.
TEST_F(HomeTest, UntakenMessageOutlivesTheRemovalOfNewerOnes) {
  Online("alice/a");
  Online("bob/b");
  world_.Hold("bob/b");
  world_.Send("alice/a", std::string(kHi));  // held
  world_.Send("bob/b", "<presence type='unavailable'/>");
  world_.Send("alice/a", std::string(kHi));  // waits
  world_.Connect("bob/c");
  world_.Hold("bob/c");
  world_.Send("bob/c", "<presence><priority>1</priority></presence>");  // has what waited
  world_.Send("bob/c", "<presence><priority>-1</priority></presence>");
  world_.Lose("bob/b");
  EXPECT_EQ(Bob().offline.size(), 2U);
  world_.Take("bob/c");
  EXPECT_EQ(Bob().offline.size(), 1U);
}

TEST_F(HomeTest, UntakenMessageGoesToAnotherSession) {
  Online("alice/a");
  Online("bob/b", "<presence><priority>5</priority></presence>");
  Online("bob/c");
  world_.Hold("bob/b");
  world_.Send("alice/a", std::string(kHi));
  while (world_.Next("bob/c")) {
  }
  world_.Lose("bob/b");
  const std::string message = Next("bob/c");
  EXPECT_NE(message.find("<body>hi</body>"), std::string::npos) << message;
  EXPECT_NE(message.find("urn:xmpp:delay"), std::string::npos) << message;
  EXPECT_TRUE(Bob().offline.empty());
}

// Each of the others would have a copy: where sessions end for want of memory that makes it worse.
TEST_F(HomeTest, UntakenMessageGoesToOneOtherSessionWhereMemoryIsShort) {
  for (const bool is_short : {false, true}) {
    World world;
    for (const char* name : {"alice", "bob"}) world.Account(name);
    world.Connect("alice/a");
    for (const char* name : {"bob/b", "bob/c", "bob/d"}) {
      world.Connect(name);
      world.Send(name, "<presence/>");
    }
    world.Hold("bob/b");
    world.Send("alice/a",
               "<message type='chat' to='bob@a.example/b'><body>untaken</body></message>");
    SetMemoryIsShort(is_short);
    world.Lose("bob/b");
    SetMemoryIsShort(false);
    int copies = 0;
    for (const char* name : {"bob/c", "bob/d"}) {
      while (const auto heard = world.Next(name)) {
        copies += heard->find("untaken") != std::string::npos ? 1 : 0;
      }
    }
    EXPECT_EQ(copies, is_short ? 1 : 2);
  }
}

// Of what is under way each content counts once, from its coming to its end.
TEST_F(HomeTest, ContentsCountUntilNobodyNeedsThem) {
  world_.Connect("alice/a");
  for (const char* name : {"bob/b", "bob/c"}) {
    world_.Connect(name);
    world_.Send(name, "<presence/>");
    world_.Hold(name);
  }
  const uint64_t before = MessageBytes();
  world_.Send("alice/a", "<message type='chat' to='bob@a.example'><body>" +
                             std::string(5'000, 'x') + "</body></message>");
  EXPECT_GT(MessageBytes(), before + 5'000);
  EXPECT_LT(MessageBytes(), before + 5'200) << "once, for two sessions";
  world_.Take("bob/b");
  world_.Take("bob/c");
  EXPECT_EQ(MessageBytes(), before);
}

TEST_F(HomeTest, TakenMessageIsNotDeliveredAgainWhenAnotherSessionLosesIt) {
  Online("alice/a");
  Online("bob/b");
  Online("bob/c");
  world_.Hold("bob/b");
  world_.Send("alice/a", std::string(kHi));
  while (world_.Next("bob/c")) {
  }
  world_.Lose("bob/b");
  Next("bob/c");
  EXPECT_EQ(Next("bob/c"), "");
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_F(HomeTest, UnstorableMessageGoesBackWhenItsSessionLosesIt) {
  Online("alice/a");
  Online("bob/b");
  world_.Hold("bob/b");
  world_.Send("alice/a",
              "<message to='bob@a.example' type='chat'><body>hi</body>"
              "<no-store xmlns='urn:xmpp:hints'/></message>");
  EXPECT_EQ(world_.Count("alice/a"), 1U);
  world_.Lose("bob/b");
  EXPECT_NE(Next("alice/a").find("recipient-unavailable"), std::string::npos);
  EXPECT_EQ(world_.Count("alice/a"), 2U);
  EXPECT_TRUE(Bob().offline.empty());
  EXPECT_TRUE(Bob().archive.empty());
}

TEST_F(HomeTest, WithoutArchivesNothingIsArchivedNorStamped) {
  World world(2, {}, {.archive = std::nullopt});
  EXPECT_THAT(world.handlers.features(IqTarget::kAccount), Not(Contains("urn:xmpp:sid:0")));
  world.Account("alice");
  world.Account("bob");
  world.Connect("alice/a");
  world.Connect("bob/b");
  world.Send("bob/b", "<presence/>");
  world.Send("alice/a", std::string(kHi));
  std::string all;
  while (const auto next = world.Next("bob/b")) all += *next;
  EXPECT_NE(all.find("<body>hi</body>"), std::string::npos) << all;
  EXPECT_EQ(all.find("stanza-id"), std::string::npos) << all;
  EXPECT_TRUE(world.store.users["alice@a.example"].archive.empty());
  EXPECT_TRUE(world.store.users["bob@a.example"].archive.empty());
}

TEST_F(HomeTest, WhatIsArchivedByDefaultIsTheOperatorsChoice) {
  for (const auto by_default : {ArchiveDefault::kNever, ArchiveDefault::kRoster}) {
    World world(2, {}, {.archive = by_default});
    for (const char* name : {"alice", "bob", "carol"}) world.Account(name);
    world.Friends("bob", "carol", "both");
    world.Connect("alice/a");
    world.Connect("carol/c");
    world.Send("alice/a", std::string(kHi));
    world.Send("carol/c", std::string(kHi));
    EXPECT_EQ(world.store.users["bob@a.example"].archive.size(),
              by_default == ArchiveDefault::kRoster ? 1U : 0U);
  }
}

TEST_F(HomeTest, LoginReadsNothingMoreAndWritesNothing) {
  world_.Friends("alice", "bob", "both");
  const int loads = world_.store.loads;
  world_.Connect("alice/a");
  world_.Send("alice/a", "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
  world_.Send("alice/a", "<presence/>");
  EXPECT_NE(Next("alice/a").find("bob@a.example"), std::string::npos);
  EXPECT_EQ(world_.store.loads, loads);
  EXPECT_EQ(world_.store.writes, 0);
}

// What a login read is older than what was written behind it.
TEST_F(HomeTest, LoginThatReadBeforeAChangeSeesTheChange) {
  for (const uint32_t idle : {4'096U, 0U}) {
    HomeLimits limits;
    limits.idle_users = idle;
    World world(1, limits);
    world.Account("alice");
    world.Account("bob");
    const auto before = std::make_shared<const LoadedUser>(world.store.Read("bob@a.example"));
    world.Connect("alice/a");
    world.Send("alice/a", "<presence to='bob@a.example' type='subscribe'/>");
    world.Send("alice/a", std::string(kHi));
    world.Connect("bob/b");  // makes the client; its session is bound anew with what was read
    world.Leave("bob/b");
    world.At("bob/b").open = true;
    BindRequest request{.session = world.At("bob/b").id,
                        .user = *Jid::Parse("bob@a.example"),
                        .resource = "b",
                        .loaded = before,
                        .address = {}};
    world.Bind(std::move(request));
    world.Run();
    world.Send("bob/b", "<presence/>");
    std::string all;
    while (const auto next = world.Next("bob/b")) all += *next;
    EXPECT_NE(all.find("type='subscribe'"), std::string::npos) << all;
    EXPECT_NE(all.find("<body>hi</body>"), std::string::npos) << all;
  }
}

TEST_F(HomeTest, WhoIsAwayLeavesMemoryWhereThatIsShortAndIsReadAgain) {
  World world(1);
  for (const char* name : {"alice", "bob"}) world.Account(name);
  world.Friends("alice", "bob", "both");
  world.Connect("alice/a");
  world.Send("alice/a", "<presence/>");
  world.Connect("bob/b");
  world.Leave("bob/b");
  Home& home = world.HomeOf("bob@a.example");
  ASSERT_TRUE(home.Has("bob@a.example"));
  home.Ease();
  EXPECT_FALSE(home.Has("bob@a.example"));
  EXPECT_TRUE(home.Has("alice@a.example")) << "who is there stays";
  // The roster that she has not asked for is read again.
  world.Send("alice/a", "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
  std::string all;
  while (const auto next = world.Next("alice/a")) all += *next;
  EXPECT_NE(all.find("bob@a.example"), std::string::npos) << all;
  world.Send("alice/a", std::string(kHi));
  EXPECT_TRUE(home.Has("bob@a.example"));
}

TEST_F(HomeTest, SessionsOfAUserHaveALimit) {
  HomeLimits limits;
  limits.sessions = 2;
  World world(1, limits);
  world.Account("bob");
  world.Connect("bob/a");
  world.Connect("bob/b");
  world.Connect("bob/c");
  EXPECT_NE(world.Closed("bob/c").find("resource-constraint"), std::string::npos);
  world.Detach("bob/b");
  world.Connect("bob/d");
  EXPECT_EQ(world.At("bob/d").full, "bob@a.example/d");
  EXPECT_EQ(world.Closed("bob/b"), "policy-violation");
}

TEST_F(HomeTest, ServerMakesResources) {
  world_.Connect("bob");
  EXPECT_EQ(world_.At("bob").full.size(), std::string("bob@a.example/").size() + 12);
}

TEST_F(HomeTest, SessionThatBindsTwiceEndsTheFirst) {
  Online("bob/b");
  auto first = world_.At("bob/b").id;
  world_.Connect("bob/b");
  EXPECT_NE(world_.At("bob/b").id, first);
  EXPECT_EQ(world_.At("bob/b").full, "bob@a.example/b");
  EXPECT_EQ(world_.Closed("bob/b"), "");
}

TEST_F(HomeTest, RosterThatTheStoreDoesNotTakeHasNotChanged) {
  Online("alice/a");
  world_.StoreIs("down");
  world_.Send("alice/a",
              "<iq type='set' id='1'><query xmlns='jabber:iq:roster'>"
              "<item jid='bob@a.example'/></query></iq>");
  EXPECT_NE(Next("alice/a").find("resource-constraint"), std::string::npos);
  world_.StoreIs("up");
  world_.Send("alice/a", "<iq type='get' id='2'><query xmlns='jabber:iq:roster' ver='0'/></iq>");
  EXPECT_EQ(Next("alice/a").find("<query"), std::string::npos);
}

TEST_F(HomeTest, NothingIsKeptOfWhoHasGone) {
  Online("alice/a");
  Online("bob/b");
  world_.Send("alice/a", std::string(kHi));
  world_.Leave("alice/a");
  world_.Leave("bob/b");
  EXPECT_EQ(world_.HomeOf("bob@a.example").tickets(), 0U);
  EXPECT_EQ(world_.HomeOf("alice@a.example").tickets(), 0U);
}

TEST_F(HomeTest, AccountsChooseWhatIsArchived) {
  Alice().archive_prefs = "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>";
  Online("alice/a");
  Online("bob/b");
  world_.Send("alice/a", std::string(kHi));
  EXPECT_TRUE(Alice().archive.empty());
  EXPECT_EQ(Bob().archive.size(), 1U);
  EXPECT_NE(Next("bob/b").find("stanza-id"), std::string::npos);
  world_.Send("bob/b", "<message to='alice@a.example' type='chat'><body>ho</body></message>");
  EXPECT_TRUE(Alice().archive.empty());
  EXPECT_EQ(Next("alice/a").find("stanza-id"), std::string::npos);
}

TEST_F(HomeTest, RemovedAccountsLeaveTheirContacts) {
  world_.Friends("alice", "bob", "both");
  Online("bob/b");
  world_.Send("bob/b", "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
  Online("alice/a");
  world_.handlers.Add(IqTarget::kAccount, "remove", "test:remove", [this](IqCall call) {
    world_.store.users.erase("alice@a.example");
    call.Result();
    call.account().Changed(AccountChange::kRemoved);
  });
  while (world_.Next("bob/b")) {
  }
  world_.Send("alice/a", "<iq type='set' id='2'><remove xmlns='test:remove'/></iq>");
  EXPECT_EQ(world_.Closed("alice/a"), "not-authorized");
  EXPECT_EQ(Bob().roster.at("alice@a.example").subscription, Subscription::kNone);
  EXPECT_FALSE(world_.store.users.contains("alice@a.example"));
  std::string all;
  while (const auto next = world_.Next("bob/b")) all += *next;
  EXPECT_NE(all.find("<presence from='alice@a.example/a' to='bob@a.example' type='unavailable'/>"),
            std::string::npos)
      << all;
}

TEST_F(HomeTest, ExpelledSessionsAreClosedAndTheUserIsReadAnew) {
  Online("alice/a");
  const int loads = world_.store.loads;
  world_.HomeOf("alice@a.example")
      .Expel(*Jid::Parse("alice@a.example"), net::StreamError::kNotAuthorized, "banned");
  world_.Run();
  EXPECT_EQ(world_.Closed("alice/a"), "not-authorized");
  Online("alice/b");
  EXPECT_EQ(world_.store.loads, loads + 1);
}

TEST_F(HomeTest, ContactElsewhereIsListedAndNotAsked) {
  RosterItem item;
  item.jid = "carol@elsewhere.example";
  item.subscription = Subscription::kBoth;
  Alice().roster[item.jid] = item;
  Online("alice/a");
  EXPECT_EQ(world_.store.loads, 0);
  world_.Send("alice/a", "<presence to='carol@elsewhere.example' type='subscribe'/>");
  EXPECT_NE(Next("alice/a").find("remote-server-not-found"), std::string::npos);
}

TEST_F(HomeTest, RosterHasALimit) {
  HomeLimits limits;
  limits.roster_items = 1;
  World world(2, limits);
  for (const char* name : {"alice", "bob", "carol"}) world.Account(name);
  world.Connect("alice/a");
  const auto add = [&](const std::string& jid) {
    world.Send("alice/a", "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='" +
                              jid + "'/></query></iq>");
    return world.Next("alice/a").value_or("");
  };
  EXPECT_NE(add("bob@a.example").find("type='result'"), std::string::npos);
  EXPECT_NE(add("bob@a.example").find("type='result'"), std::string::npos);
  EXPECT_NE(add("carol@a.example").find("not-acceptable"), std::string::npos);
  world.Send("alice/a", "<presence to='carol@a.example' type='subscribe'/>");
  EXPECT_NE(world.Next("alice/a").value_or("").find("not-acceptable"), std::string::npos);
  // Who asks her fills no more than that, either.
  world.Connect("carol/c");
  world.Send("carol/c", "<presence to='alice@a.example' type='subscribe'/>");
  EXPECT_EQ(world.store.users["alice@a.example"].roster.size(), 1U);
}

TEST_F(HomeTest, BlockingListHasALimit) {
  HomeLimits limits;
  limits.blocked = 1;
  World world(1, limits);
  world.Account("alice");
  world.Connect("alice/a");
  world.Send("alice/a",
             "<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='a@b.example'/>"
             "<item jid='c@b.example'/></block></iq>");
  EXPECT_NE(world.Next("alice/a").value_or("").find("not-acceptable"), std::string::npos);
  EXPECT_TRUE(world.store.users["alice@a.example"].blocked.empty());
}

TEST_F(HomeTest, DirectedPresenceHasALimit) {
  HomeLimits limits;
  limits.directed = 1;
  World world(1, limits);
  world.Account("alice");
  world.Connect("alice/a");
  world.Send("alice/a", "<presence to='x@a.example/1'/>");
  EXPECT_FALSE(world.Next("alice/a"));
  world.Send("alice/a", "<presence to='x@a.example/1'/>");
  EXPECT_FALSE(world.Next("alice/a"));
  world.Send("alice/a", "<presence to='x@a.example/2'/>");
  EXPECT_NE(world.Next("alice/a").value_or("").find("resource-constraint"), std::string::npos);
}

TEST_F(HomeTest, WhatWaitsForTheStoreIsBounded) {
  HomeLimits limits;
  limits.waiting = 2;
  World world(2, limits);
  world.Account("alice");
  world.Account("bob");
  world.Connect("alice/a");
  world.store.stalled = true;
  for (int i = 0; i < 5; ++i) world.Send("alice/a", std::string(kHi));
  int refused = 0;
  while (const auto next = world.Next("alice/a")) {
    EXPECT_NE(next->find("resource-constraint"), std::string::npos);
    ++refused;
  }
  EXPECT_EQ(refused, 3);
  world.store.stalled = false;
  world.Run();
  EXPECT_EQ(world.store.users["bob@a.example"].offline.size(), 2U);
  EXPECT_EQ(world.Count("alice/a"), 5U);
}

TEST_F(HomeTest, ChangesOfARosterAreWrittenInOrderWithEachItsVersion) {
  Online("alice/a");
  world_.store.stalled = true;
  for (const char* name : {"b", "c", "d"}) {
    world_.Send("alice/a", "<iq type='set' id='" + std::string(name) +
                               "'><query xmlns='jabber:iq:roster'><item jid='" + name +
                               "@a.example'/></query></iq>");
  }
  EXPECT_EQ(Next("alice/a"), "");
  world_.store.stalled = false;
  world_.Run();
  EXPECT_EQ(Alice().roster.at("b@a.example").version, 1U);
  EXPECT_EQ(Alice().roster.at("c@a.example").version, 2U);
  EXPECT_EQ(Alice().roster.at("d@a.example").version, 3U);
}

TEST_F(HomeTest, SubscriptionThatTheContactsStoreDidNotTakeIsTriedAgain) {
  Online("alice/a");
  world_.store.stalled = true;
  world_.Send("alice/a", "<presence to='bob@a.example' type='subscribe'/>");
  // Hers is written, and then the store goes away.
  world_.store.stalled = false;
  world_.on_routed = [this](const Parcel& parcel) {
    if (parcel.type == StanzaType::kSubscribe) world_.store.fails = StoreError::kDown;
  };
  world_.Run();
  EXPECT_TRUE(Alice().roster.at("bob@a.example").ask);
  EXPECT_TRUE(Bob().roster.empty());
  world_.on_routed = nullptr;
  world_.StoreIs("up");
  world_.Tick();
  EXPECT_TRUE(Bob().roster.at("alice@a.example").pending_in);
}

TEST_F(HomeTest, RequestThatIsNotAnsweredIsMadeAgainAtTheNextLogin) {
  RosterItem asked;
  asked.jid = "bob@a.example";
  asked.ask = true;
  asked.version = 1;
  Alice().roster[asked.jid] = asked;
  Alice().version = 1;
  Online("alice/a");
  EXPECT_TRUE(Bob().roster.at("alice@a.example").pending_in);
  EXPECT_EQ(Bob().roster.at("alice@a.example").version, 1U);
  world_.Leave("alice/a");
  Online("alice/a");
  EXPECT_EQ(Bob().roster.at("alice@a.example").version, 1U);  // nothing was written again
}

// RFC 6120 section 10.1: a client need not wait between its stanzas.
TEST_F(HomeTest, WhatIsAskedBehindAChangeSeesIt) {
  Online("alice/a");
  world_.store.stalled = true;
  world_.Send("alice/a",
              "<iq type='set' id='1'><query xmlns='jabber:iq:roster'>"
              "<item jid='bob@a.example'/></query></iq>");
  world_.Send("alice/a", "<iq type='get' id='2'><query xmlns='jabber:iq:roster'/></iq>");
  world_.Send("alice/a",
              "<iq type='set' id='3'><block xmlns='urn:xmpp:blocking'>"
              "<item jid='carol@a.example'/></block></iq>");
  world_.Send("alice/a", "<iq type='get' id='4'><blocklist xmlns='urn:xmpp:blocking'/></iq>");
  EXPECT_EQ(Next("alice/a"), "");
  world_.store.stalled = false;
  world_.Run();
  std::string all;
  while (const auto next = world_.Next("alice/a")) all += *next;
  const size_t roster = all.find("id='2'");
  ASSERT_NE(roster, all.npos);
  EXPECT_NE(all.find("ver='1'><item jid='bob@a.example'", roster), all.npos) << all;
  const size_t list = all.find("id='4'");
  ASSERT_NE(list, all.npos);
  EXPECT_NE(all.find("<item jid='carol@a.example'/></blocklist>", list), all.npos) << all;
  EXPECT_LT(all.find("id='1'"), roster);
  EXPECT_LT(all.find("id='3'"), list);
}

// However much archives have missed: its sender waits for it.
TEST(HomeBounds, UntakenMessageCountsWhenTheStoreIsBack) {
  HomeLimits limits;
  limits.unkept = 0;
  World world(2, limits);
  world.Account("alice");
  world.Account("bob");
  for (const std::string name : {"alice/a", "bob/b"}) {
    world.Connect(name);
    world.Send(name, "<presence/>");
  }
  world.Hold("bob/b");
  world.StoreIs("down");
  world.Send("alice/a", std::string(kHi));
  EXPECT_EQ(world.Count("alice/a"), 1U);
  world.StoreIs("up");
  world.Tick();
  EXPECT_EQ(world.Count("alice/a"), 2U);
}

TEST_F(HomeTest, WhatArchivesMissedTheyGetWhenTheStoreIsBack) {
  Online("alice/a");
  Online("bob/b");
  Online("bob/held", "<presence><priority>1</priority></presence>");
  world_.Hold("bob/held");
  world_.StoreIs("down");
  world_.Send("alice/a", std::string(kHi));  // with a session that takes nothing
  world_.Send("alice/a", "<message to='bob@a.example/b' type='chat'><body>hi</body></message>");
  EXPECT_EQ(world_.Count("alice/a"), 1U);
  world_.Tick();
  EXPECT_TRUE(Bob().archive.empty());
  world_.StoreIs("up");
  world_.Tick();
  EXPECT_EQ(world_.Count("alice/a"), 3U);
  EXPECT_EQ(Alice().archive.size(), 2U);
  EXPECT_EQ(Bob().archive.size(), 2U);
  world_.Tick();
  world_.Lose("bob/held");
  EXPECT_EQ(Bob().archive.size(), 2U);
  EXPECT_EQ(world_.At("alice/a").settled_twice, 0);
}

TEST_F(HomeTest, LastActivityIsWrittenWhenTheLastSessionLeaves) {
  Online("alice/a");
  Online("alice/b");
  world_.Leave("alice/a");
  EXPECT_FALSE(Alice().last);
  world_.Send("alice/b", "<presence type='unavailable'><status>home</status></presence>");
  ASSERT_TRUE(Alice().last);
  EXPECT_EQ(Alice().last->status, "home");
  EXPECT_EQ(Alice().last->seconds, world_.unix_us / 1'000'000);
}

}  // namespace
}  // namespace server
