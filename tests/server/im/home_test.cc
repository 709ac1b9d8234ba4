// What dialogues cannot say: settlement, the store's failures, limits, memory.
#include "server/im/home.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/im/block_list.h"
#include "server/im/contacts.h"
#include "server/im/message_bytes.h"
#include "tests/server/im/world.h"

namespace server {
namespace {

using ::testing::Contains;
using ::testing::Not;

constexpr std::string_view kHi =
    "<message to='bob@a.example' type='chat'><body>hi</body></message>";

class HomeTest : public testing::Test {
 protected:
  HomeTest() {
    world_.Account("alice");
    world_.Account("bob");
  }
  void Online(const std::string& client, const std::string& presence = "<presence/>") {
    world_.Connect(client);
    world_.Send(client, presence);
    while (world_.Next(client)) {
    }
  }
  std::string Next(const std::string& client) { return world_.Next(client).value_or(""); }
  auto& Bob() { return world_.store.users["bob@a.example"]; }
  auto& Alice() { return world_.store.users["alice@a.example"]; }

  World world_;
};

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

TEST_F(HomeTest, OfflineMessagesLeaveTheStoreWhenTaken) {
  Online("alice/a");
  world_.Send("alice/a", std::string(kHi));
  world_.Send("alice/a", std::string(kHi));
  EXPECT_EQ(Bob().offline.size(), 2U);
  world_.Connect("bob/b");
  world_.Hold("bob/b");
  world_.Send("bob/b", "<presence/>");
  EXPECT_EQ(Bob().offline.size(), 2U);
  world_.Lose("bob/b");
  EXPECT_EQ(Bob().offline.size(), 2U);
  Online("bob/c");
  EXPECT_TRUE(Bob().offline.empty());
}

// More than are read at once: what comes between two pages stands behind the last of them.
TEST_F(HomeTest, OfflineMessagesComeInPagesAndInOrder) {
  world_.store.offline_at_once = 2;
  Online("alice/a");
  for (int i = 0; i < 5; ++i) {
    world_.Send("alice/a", "<message to='bob@a.example' type='chat'><body>" + std::to_string(i) +
                               "</body></message>");
  }
  EXPECT_EQ(Bob().offline.size(), 5U);
  world_.Connect("bob/b");
  world_.Hold("bob/b");
  world_.Send("bob/b", "<presence/>");
  world_.Send("alice/a", "<message to='bob@a.example' type='chat'><body>5</body></message>");
  EXPECT_EQ(Bob().offline.size(), 6U);
  EXPECT_EQ(world_.Count("alice/a"), 7U);
  world_.Take("bob/b");
  world_.Take("bob/b");
  world_.Take("bob/b");
  EXPECT_TRUE(Bob().offline.empty());
  world_.Send("alice/a", "<message to='bob@a.example' type='chat'><body>6</body></message>");
  std::string bodies;
  while (const auto xml = world_.Next("bob/b")) {
    if (const size_t at = xml->find("<body>"); at != std::string::npos) bodies += (*xml)[at + 6];
  }
  EXPECT_EQ(bodies, "0123456");
}

// Two are read at once of what waits for bob, who holds them: more come behind them.
class BehindTest : public testing::Test {
 protected:
  static HomeLimits Limits() {
    HomeLimits limits;
    limits.offline_messages = 4;
    limits.unkept = 1;
    return limits;
  }
  BehindTest() {
    world_.store.offline_at_once = 2;
    for (const char* name : {"alice", "bob", "carol"}) world_.Account(name);
    Online("alice/a");
  }
  void Online(const std::string& client) {
    world_.Connect(client);
    world_.Send(client, "<presence/>");
  }
  void Say(const std::string& body, const std::string& to = "bob") {
    world_.Send("alice/a", "<message to='" + to + "@a.example' type='chat'><body>" + body +
                               "</body></message>");
  }
  void Wait(int messages) {
    for (int i = 0; i < messages; ++i) Say(std::to_string(i));
    ASSERT_EQ(Bob().offline.size(), static_cast<size_t>(messages));
    world_.Connect("bob/phone");
    world_.Hold("bob/phone");
    world_.Send("bob/phone", "<presence/>");
    ASSERT_EQ(Bodies("bob/phone"), "01");
  }
  // Of each message one letter; E: an error.
  std::string Bodies(const std::string& client) {
    std::string bodies;
    while (const auto xml = world_.Next(client)) {
      if (xml->find("type='error'") != std::string::npos) {
        bodies += 'E';
      } else if (const size_t at = xml->find("<body>"); at != std::string::npos) {
        bodies += (*xml)[at + 6];
      }
    }
    return bodies;
  }
  MapStore::Rows& Bob() { return world_.store.users["bob@a.example"]; }

  World world_{2, Limits()};
};

TEST_F(BehindTest, WhoIsThereGetsItThoughNoMoreMayWait) {
  Wait(4);
  Say("x");
  EXPECT_EQ(Bodies("alice/a"), "") << "nothing is sent back";
  EXPECT_EQ(Bodies("bob/phone"), "x");
  EXPECT_EQ(Bob().archive.size(), 5U);
  EXPECT_EQ(world_.Count("alice/a"), 6U);
  world_.Take("bob/phone");
  EXPECT_EQ(Bodies("bob/phone"), "23");
  EXPECT_TRUE(Bob().offline.empty());
  EXPECT_EQ(world_.At("alice/a").settled_twice, 0);
}

TEST_F(BehindTest, WhoIsThereGetsItThoughTheStoreIsAway) {
  Wait(3);
  world_.StoreIs("down");
  Say("x");
  EXPECT_EQ(Bodies("alice/a"), "");
  EXPECT_EQ(Bodies("bob/phone"), "x");
  world_.StoreIs("up");
  world_.Tick();
  EXPECT_EQ(Bob().archive.size(), 4U);
  EXPECT_EQ(world_.Count("alice/a"), 5U);
  world_.Take("bob/phone");
  EXPECT_EQ(Bodies("bob/phone"), "2");
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_F(BehindTest, OthersDoNotWaitForASessionWhoseConnectionIsGone) {
  Wait(3);
  Say("x");  // behind them: there is nobody else
  EXPECT_EQ(Bodies("bob/phone"), "");
  world_.Detach("bob/phone");
  Online("bob/desk");
  Say("y");
  EXPECT_EQ(Bodies("bob/desk"), "y");
  EXPECT_EQ(Bob().offline.size(), 4U);
  // What the phone had and what waits behind it go on with who is there.
  world_.Lose("bob/phone");
  EXPECT_EQ(Bodies("bob/desk"), "012x");
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_F(BehindTest, NoOtherSessionWaitsForWhatOneHas) {
  Wait(3);
  Online("bob/desk");
  Say("x");
  EXPECT_EQ(Bodies("bob/desk"), "x");
  world_.Send("bob/desk", "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
  world_.Send("bob/desk", "<presence><priority>-1</priority></presence>");
  EXPECT_EQ(Bodies("bob/desk"), "");
  Say("y");
  EXPECT_EQ(Bodies("bob/desk"), "y") << "the copy";
  EXPECT_EQ(Bodies("bob/phone"), "xy");
}

TEST_F(BehindTest, WhatCouldNotBeReadIsReadWhenTheStoreIsBack) {
  Say("0");
  world_.Connect("bob/phone");
  world_.StoreIs("down");
  world_.Send("bob/phone", "<presence/>");
  Say("x");
  EXPECT_EQ(Bodies("bob/phone"), "x");
  world_.Tick();
  world_.StoreIs("up");
  world_.Tick();
  EXPECT_EQ(Bodies("bob/phone"), "0");
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_F(BehindTest, WhatIsBeingStoredWhenSomebodyComesIsBeforeWhatIsSaidThen) {
  world_.Connect("bob/phone");
  world_.StoreIs("stalled");
  Say("0");
  world_.Send("bob/phone", "<presence/>");
  Say("1");
  EXPECT_EQ(Bodies("bob/phone"), "");
  world_.StoreIs("up");
  EXPECT_EQ(Bodies("bob/phone"), "01");
  EXPECT_TRUE(Bob().offline.empty());
  EXPECT_EQ(world_.Count("alice/a"), 3U);
}

TEST_F(BehindTest, WhatIsStoredWhileOthersLeaveTheStoreIsBeforeWhatIsSaidThen) {
  Wait(2);
  world_.StoreIs("stalled");
  world_.Take("bob/phone");
  world_.Send("bob/phone", "<presence type='unavailable'/>");
  Say("2");
  world_.Send("bob/phone", "<presence/>");
  Say("3");
  world_.StoreIs("up");
  world_.Take("bob/phone");
  EXPECT_EQ(Bodies("bob/phone"), "23");
  world_.Take("bob/phone");
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_F(BehindTest, NobodyWaitsForWhatIsInDoubt) {
  Wait(3);
  world_.store.in_doubt = false;
  Say("x");
  world_.store.in_doubt.reset();
  world_.Take("bob/phone");  // the next are not read, as x may be among them
  Say("y");
  EXPECT_EQ(Bodies("bob/phone"), "y");
  world_.Tick();
  EXPECT_EQ(Bodies("bob/phone"), "x2");
  EXPECT_EQ(Bodies("alice/a"), "");
  EXPECT_EQ(Bob().archive.size(), 5U);
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_F(BehindTest, ADoubtThatIsGivenUpIsOver) {
  Wait(3);
  world_.store.in_doubt = false;
  Say("x");
  EXPECT_EQ(Bodies("alice/a"), "");
  Say("y", "carol");  // there is room for one
  world_.store.in_doubt.reset();
  EXPECT_EQ(Bodies("alice/a"), "E");
  world_.Take("bob/phone");
  EXPECT_EQ(Bodies("bob/phone"), "2");
  Say("z");
  EXPECT_EQ(Bodies("bob/phone"), "z");
  EXPECT_TRUE(Bob().offline.empty());
  world_.Tick();
  EXPECT_EQ(world_.store.users["carol@a.example"].offline.size(), 1U);
}

TEST_F(HomeTest, OfflineMessagesHaveALimit) {
  HomeLimits limits;
  limits.offline_messages = 1;
  World world(2, limits);
  world.Account("alice");
  world.Account("bob");
  world.Connect("alice/a");
  world.Send("alice/a", std::string(kHi));
  world.Send("alice/a", std::string(kHi));
  EXPECT_EQ(world.store.users["bob@a.example"].offline.size(), 1U);
  EXPECT_EQ(world.store.users["bob@a.example"].archive.size(), 1U);
  EXPECT_NE(world.Next("alice/a").value_or("").find("service-unavailable"), std::string::npos);
  EXPECT_EQ(world.Count("alice/a"), 2U);
}

TEST_F(HomeTest, WithoutOfflineMessagesTheyGoBack) {
  World world(2, {}, {.offline = false});
  EXPECT_THAT(world.handlers.features(IqTarget::kServer), Not(Contains("msgoffline")));
  world.Account("alice");
  world.Account("bob");
  world.Connect("alice/a");
  world.Send("alice/a", std::string(kHi));
  EXPECT_TRUE(world.store.users["bob@a.example"].offline.empty());
  EXPECT_NE(world.Next("alice/a").value_or("").find("recipient-unavailable"), std::string::npos);
  EXPECT_EQ(world.Count("alice/a"), 1U);
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

// --- Writes of which the store cannot say whether it has them.

class DoubtTest : public HomeTest, public testing::WithParamInterface<bool> {
 protected:
  // The store knows again, and all that was put off is looked at.
  void Clear() {
    world_.store.in_doubt.reset();
    world_.StoreIs("up");
    world_.Tick();
  }
  int Bodies(const std::string& client) {
    int bodies = 0;
    while (const auto next = world_.Next(client)) {
      EXPECT_EQ(next->find("<error"), next->npos) << *next;
      bodies += next->find("<body>hi</body>") != next->npos ? 1 : 0;
    }
    return bodies;
  }
};
INSTANTIATE_TEST_SUITE_P(Done, DoubtTest, testing::Bool());

TEST_P(DoubtTest, AMessageThatMayWaitIsNeitherLostNorDoubledNorSentBack) {
  Online("alice/a");
  world_.store.in_doubt = GetParam();
  world_.Send("alice/a", std::string(kHi));
  world_.StoreIs("down");
  world_.Tick();  // still nobody knows
  EXPECT_EQ(Next("alice/a"), "");
  EXPECT_EQ(world_.Count("alice/a"), 1U);  // the presence alone
  Clear();
  EXPECT_EQ(world_.Count("alice/a"), 2U);
  EXPECT_EQ(world_.At("alice/a").settled_twice, 0);
  EXPECT_EQ(Bob().archive.size(), 1U);
  EXPECT_EQ(Bob().offline.size(), 1U);
  world_.Connect("bob/b");
  world_.Send("bob/b", "<presence/>");
  EXPECT_EQ(Bodies("bob/b"), 1);
  EXPECT_EQ(Bodies("alice/a"), 0);
  EXPECT_TRUE(Bob().offline.empty());
}

TEST_P(DoubtTest, WhoComesMeanwhileGetsEachMessageOnce) {
  Online("alice/a");
  world_.Send("alice/a", std::string(kHi));  // waits for sure
  world_.store.in_doubt = GetParam();
  world_.Send("alice/a", std::string(kHi));
  world_.store.in_doubt.reset();
  world_.Connect("bob/b");
  world_.Send("bob/b", "<presence/>");
  Clear();
  EXPECT_EQ(Bodies("bob/b"), 2);
  EXPECT_EQ(Bodies("alice/a"), 0);
  EXPECT_EQ(world_.Count("alice/a"), 3U);
  EXPECT_TRUE(Bob().offline.empty());
  EXPECT_EQ(Bob().archive.size(), 2U);
}

TEST_P(DoubtTest, AMessageThatTheArchiveMayHaveWaitsWhereItsSessionLosesIt) {
  Online("alice/a");
  Online("bob/b");
  world_.Hold("bob/b");
  world_.store.in_doubt = GetParam();
  world_.Send("alice/a", std::string(kHi));
  EXPECT_EQ(world_.Count("alice/a"), 1U);
  world_.store.in_doubt.reset();
  world_.Lose("bob/b");
  Clear();
  EXPECT_EQ(world_.Count("alice/a"), 2U);
  EXPECT_EQ(world_.At("alice/a").settled_twice, 0);
  EXPECT_EQ(Bob().archive.size(), 1U);
  EXPECT_EQ(Bob().offline.size(), 1U);
  EXPECT_EQ(Bodies("alice/a"), 0);
}

TEST_P(DoubtTest, AChangeOfTheRosterIsAnsweredWhenItIsKnown) {
  Online("alice/a");
  world_.store.in_doubt = GetParam();
  world_.Send("alice/a",
              "<iq type='set' id='r'><query xmlns='jabber:iq:roster'>"
              "<item jid='bob@a.example'/></query></iq>");
  Clear();
  const std::string answer = Next("alice/a");
  const bool there = !Alice().roster.empty();
  EXPECT_EQ(there, GetParam());
  EXPECT_NE(answer.find(there ? "type='result'" : "type='error'"), answer.npos) << answer;
  // The home has what the store has: versions go on from there.
  world_.Send("alice/a",
              "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>"
              "<item jid='carol@a.example'/></query></iq>");
  EXPECT_EQ(Alice().version, there ? 2U : 1U);
}

TEST_P(DoubtTest, AChangeOfTheBlockListIsAnsweredWhenItIsKnown) {
  Online("alice/a");
  world_.store.in_doubt = GetParam();
  world_.Send("alice/a",
              "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>"
              "<item jid='bob@a.example'/></block></iq>");
  world_.store.in_doubt.reset();
  const std::string answer = Next("alice/a");
  EXPECT_NE(answer.find(GetParam() ? "type='result'" : "type='error'"), answer.npos) << answer;
  world_.Send("alice/a", std::string(kHi));
  EXPECT_EQ(Next("alice/a").find("<blocked") != std::string::npos, GetParam());
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

TEST(Contacts, KeepWhatWasPut) {
  Contacts contacts;
  ContactState both{.subscription = Subscription::kBoth};
  ContactState asks{.pending_in = true};
  contacts.Put("bob@a.example", both, "a.example");
  contacts.Put("bob@b.example", asks, "a.example");
  contacts.Put("b.example", both, "a.example");
  EXPECT_EQ(contacts.size(), 3U);
  EXPECT_EQ(contacts.pending_in(), 1U);
  EXPECT_EQ(contacts.Find("bob@a.example", "a.example"), both);
  EXPECT_EQ(contacts.Find("bob@b.example", "a.example"), asks);
  EXPECT_EQ(contacts.Find("carol@b.example", "a.example"), ContactState());
  std::string all;
  contacts.ForEach("a.example", [&](const std::string& jid, ContactState) { all += jid + ","; });
  EXPECT_EQ(all, "bob@a.example,bob@b.example,b.example,");
  contacts.Put("bob@b.example", ContactState(), "a.example");
  EXPECT_EQ(contacts.size(), 2U);
  EXPECT_EQ(contacts.pending_in(), 0U);
}

TEST(BlockList, MatchesAsTheXepSays) {
  BlockList list;
  list.Set({"bob@a.example/x", "carol@a.example", "b.example/r", "c.example"});
  const auto blocks = [&](std::string_view jid) { return list.Blocks(*Jid::Parse(jid)); };
  EXPECT_TRUE(blocks("bob@a.example/x"));
  EXPECT_FALSE(blocks("bob@a.example/y"));
  EXPECT_FALSE(blocks("bob@a.example"));
  EXPECT_TRUE(blocks("carol@a.example"));
  EXPECT_TRUE(blocks("carol@a.example/z"));
  EXPECT_TRUE(blocks("someone@b.example/r"));
  EXPECT_FALSE(blocks("someone@b.example"));
  EXPECT_TRUE(blocks("c.example"));
  EXPECT_TRUE(blocks("anyone@c.example/q"));
}

// The node of a room is gone, and nobody there can say so.
TEST(HomeRoomsTest, WhoIsInARoomThatIsGoneIsToldOnceAndNobodyElse) {
  const std::string service = "conference.a.example";
  const std::string den = "den@" + service, hall = "hall@" + service;
  World world(1, {}, {.services = {service}});
  for (const std::string name : {"alice", "bob"}) {
    world.Account(name);
    world.Connect(name + "/x");
    world.Send(name + "/x", "<presence/>");
    for (const std::string& room : {den, hall}) {
      world.Send(name + "/x", "<presence to='" + room + "/" + name +
                                  "'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    }
    while (world.Next(name + "/x")) {
    }
  }
  // Bob was put out of the den.
  world.Route(MakePresence(StanzaType::kUnavailable, *Jid::Parse(den + "/bob"),
                           *Jid::Parse("bob@a.example/x")));
  world.Run();
  EXPECT_TRUE(world.Next("bob/x").has_value());
  for (int i = 0; i < 2; ++i) {
    world.HomeOf("alice@a.example").RoomsLost({den, "yard@" + service});
    world.Run();
  }
  const std::string told = world.Next("alice/x").value_or("");
  EXPECT_THAT(told, testing::HasSubstr("from='" + den + "/alice'"));
  EXPECT_THAT(told, testing::HasSubstr("type='unavailable'"));
  EXPECT_THAT(told, testing::HasSubstr("<status code='110'/><status code='332'/>"));
  EXPECT_FALSE(world.Next("alice/x").has_value()) << "she is in the hall still";
  EXPECT_FALSE(world.Next("bob/x").has_value());
}

// What another node's home has of a user comes as it was there.
TEST(HomeMovesTest, AHomeThatIsTakenInIsTheOneThatWent) {
  World world(1);
  world.Account("alice");
  Home& home = world.HomeOf("alice@a.example");
  for (const std::string client : {"alice/a", "alice/b"}) {
    world.Connect(client);
    world.Send(client, "<presence><show>away</show><priority>3</priority></presence>");
  }
  world.Send("alice/b", "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
  world.Send("alice/b", "<presence to='bob@a.example/z'/>");
  while (world.Next("alice/a") || world.Next("alice/b")) {
  }
  ASSERT_TRUE(home.MayMove("alice@a.example"));
  const auto before = home.Sessions("alice@a.example");
  ASSERT_EQ(before.size(), 2U);
  EXPECT_EQ(before[1].directed, std::vector<std::string>{"bob@a.example/z"});
  EXPECT_TRUE(before[1].carbons && before[0].available);
  home.Drop("alice@a.example");
  world.Run();
  EXPECT_EQ(world.Closed("alice/a"), "") << "nobody is told";
  EXPECT_FALSE(world.Next("alice/b").has_value());
  bool taken = false;
  home.TakeIn(*Jid::Parse("alice@a.example"), before, [&](bool good) { taken = good; });
  world.Run();
  EXPECT_TRUE(taken);
  const auto after = home.Sessions("alice@a.example");
  ASSERT_EQ(after.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].resource, before[i].resource);
    EXPECT_EQ(after[i].presence, before[i].presence);
    EXPECT_EQ(after[i].directed, before[i].directed);
    EXPECT_EQ(after[i].priority, before[i].priority);
    EXPECT_EQ(after[i].carbons, before[i].carbons);
    EXPECT_EQ(after[i].available, before[i].available);
  }
  world.Send("alice/a", "<message to='alice@a.example/b' type='chat'><body>hi</body></message>");
  EXPECT_THAT(world.Next("alice/b").value_or(""), testing::HasSubstr("<body>hi</body>"));
  bool refused = false;
  home.TakeIn(*Jid::Parse("nobody@a.example"), before, [&](bool good) { refused = !good; });
  world.Run();
  EXPECT_TRUE(refused);
}

// An answer that is still to come is the old home's to give.
TEST(HomeMovesTest, WhoWaitsForAnAnswerKeepsTheHomeWhereItIs) {
  World world(1);
  world.Account("alice");
  world.Connect("alice/a");
  world.Send("alice/a", "<presence/>");
  Home& home = world.HomeOf("alice@a.example");
  EXPECT_TRUE(home.MayMove("alice@a.example"));
  world.store.stalled = true;
  world.Send("alice/a",
             "<iq type='set' id='r'><query xmlns='jabber:iq:roster'>"
             "<item jid='bob@a.example'/></query></iq>");
  EXPECT_FALSE(home.MayMove("alice@a.example"));
  world.store.stalled = false;
  world.Run();
  EXPECT_TRUE(home.MayMove("alice@a.example"));
  EXPECT_FALSE(home.MayMove("bob@a.example")) << "it is not at home here";
}

}  // namespace
}  // namespace server
