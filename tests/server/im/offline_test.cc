// Messages that wait: their order, their limits, and writes of which nobody knows whether they were
// done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/im/home_fixture.h"

namespace server {
namespace {

using ::testing::Contains;
using ::testing::Not;

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

}  // namespace
}  // namespace server
