#include "server/c2s/far_side.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/server/c2s/far_side_sim.h"

namespace server {
namespace {

// Its home's worker hears what it had been sent only after it has moved once more.
TEST(FarSideTest, WhatIsAwaitedOfASessionThatMovedTwiceFollowsItAndIsLostWithItsLastNode) {
  Sim sim(1, 3);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  sim.Available(client);
  Sim::Client& sender = sim.Connect(0, 1, "s");
  sim.Settle();
  while (client.untaken.size() < 2) {
    sim.Message(sender, 0);
    sim.Settle();
  }
  const size_t waiting = client.untaken.size();
  sim.Resume(client, 1);
  sim.Settle(false);
  ASSERT_EQ(sim.Open().size(), 2U);
  const auto open = sim.Open();
  const auto second = std::ranges::find(open, 1, &Sim::Client::node);
  ASSERT_NE(second, open.end());
  sim.Resume(**second, 2);
  sim.Settle(false);
  Sim::RunPosted(*sim.nodes[0]);
  EXPECT_EQ(sim.nodes[0]->far->awaited(), waiting) << "of the session on the third node";
  sim.Kill(2);
  EXPECT_EQ(sim.nodes[0]->far->awaited(), 0U);
  EveningBringsEachOnce(sim);
}

// Its user had no home when the first was said, so it went to the warden, and goes on from there.
TEST(FarSideTest, WhatGoesStraightToANewHomeIsBehindWhatGoesThereByTheWarden) {
  int by_another = 0;
  for (uint64_t user = 0; user < kUsers; ++user) {
    Sim sim(1, 3);
    Sim::Client& sender = sim.Connect(0, (user + 1) % kUsers, "s");
    sim.Settle();
    const std::string warden = sim.nodes[0]->far->NodeOf(UserName(user));
    if (warden.empty()) continue;  // it is the sender's own node
    ++by_another;
    const int at = warden == Sim::Node::Name(1) ? 1 : 2;
    sim.Message(sender, user);
    sim.Collect();  // nothing comes from the sender to the warden for a while
    Sim::Client& receiver = sim.Connect(3 - at, user, "r");
    sim.Settle(true, {0, at});
    sim.Available(receiver);
    sim.Settle(true, {0, at});
    EXPECT_EQ(sim.nodes[0]->far->NodeOf(UserName(user)), Sim::Node::Name(3 - at));
    sim.Message(sender, user);
    sim.Settle(true, {0, at});
    sim.Settle();
    EveningBringsEachOnce(sim);
    EXPECT_EQ(sim.disordered, 0);
  }
  EXPECT_GT(by_another, 0);
}

// While its user's home was on the other side of a split, the first waited in the store, by way of
// a node whose word of that is slow.
TEST(FarSideTest, WhatIsSaidBehindASplitIsBehindWhatWasSaidMeanwhile) {
  int by_another = 0;
  for (uint64_t user = 0; user < kUsers; ++user) {
    Sim sim(1, 3);
    Sim::Client& sender = sim.Connect(0, (user + 1) % kUsers, "s");
    Sim::Client& receiver = sim.Connect(2, user, "r");
    sim.Settle();
    sim.Available(receiver);
    sim.Settle();
    sim.Part(0, 2);
    sim.Part(1, 2);
    if (sim.nodes[0]->far->NodeOf(UserName(user)) != Sim::Node::Name(1)) continue;
    ++by_another;
    sim.Message(sender, user);
    sim.Settle();
    sim.Meet(0, 2);
    sim.Meet(1, 2);
    sim.Settle(true, {1, 2});
    sim.Message(sender, user);
    sim.Settle(true, {1, 2});
    sim.Settle();
    EveningBringsEachOnce(sim);
    EXPECT_EQ(sim.disordered, 0);
  }
  EXPECT_GT(by_another, 0);
}

int Arriving(const Sim& sim, size_t node) {
  return static_cast<int>(std::ranges::count_if(
      sim.nodes[node]->clients, [](const auto& client) { return client.second->arriving; }));
}

// It is on its way back to the node of its home, before that has heard of what it had; and the node
// that it comes from dies with it.
TEST(FarSideTest, WhatIsAwaitedOfASessionThatDoesNotComeBackIsLostWithIt) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  sim.Available(client);
  Sim::Client& sender = sim.Connect(0, 1, "s");
  sim.Settle();
  while (client.untaken.size() < 2) {
    sim.Message(sender, 0);
    sim.Settle();
  }
  const size_t waiting = client.untaken.size();
  sim.Resume(client, 1);
  sim.Settle(false);
  const auto open = sim.Open();
  const auto second = std::ranges::find(open, 1, &Sim::Client::node);
  ASSERT_NE(second, open.end());
  sim.Resume(**second, 0);
  Sim::RunPosted(*sim.nodes[0]);
  EXPECT_EQ(sim.nodes[0]->far->awaited(), waiting) << "of the session that is on its way";
  EXPECT_EQ(Arriving(sim, 0), 1);
  sim.Kill(1);
  EXPECT_EQ(Arriving(sim, 0), 0) << "nobody else will say that it does not come";
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->far->awaited(), 0U);
  EveningBringsEachOnce(sim);
}

TEST(FarSideTest, WhoComesBackIsToldAtOnceThatTheNodeOfItsHomeIsGone) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(1, 0, "r");
  sim.Settle();
  sim.Available(client);
  sim.Settle();
  sim.Resume(client, 0);
  EXPECT_EQ(Arriving(sim, 0), 1) << "the question is under way";
  sim.Kill(1);
  EXPECT_EQ(Arriving(sim, 0), 0);
  sim.Evening();
  Check(sim, false);
}

// Rooms are found as users are: who was in one hears of it where it is.
TEST(FarSideTest, OfANodeThatIsGoneTheOthersKnowWhatWasAtHomeThere) {
  Sim sim(1, 3);
  for (int node = 0; node < 3; ++node) sim.Connect(node, static_cast<uint64_t>(node), "r");
  sim.Settle();
  sim.nodes[1]->far->Took("den@rooms.example");
  sim.Settle();
  sim.Kill(1);
  for (const int other : {0, 2}) {
    auto& lost = sim.nodes[Sim::At(other)]->homes_lost;
    std::ranges::sort(lost);
    EXPECT_EQ(lost, (std::vector<std::string>{"den@rooms.example", UserName(1)}));
  }
}

// Nobody waits for ever for what comes to where its home is not.
TEST(FarSideTest, WhoSendsToANodeThatItIsNotAtHomeOnEnds) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  std::vector<uint8_t> mail;
  ASSERT_TRUE(AppendLetter(
      mail, ArriveLetter{client.id, client.user,
                         *ParseStanza("<presence xmlns='jabber:client'/>", kClientSpace), 1}));
  sim.links[{0, 1}].push_back({std::move(mail), {}, 0});
  sim.Settle();
  EXPECT_EQ(client.closed, net::StreamError::kReset);
}

// The sides meet: each of two nodes has the other's record before it reaches it, and neither has it
// said anew at each look, for ever.
TEST(FarSideTest, TwoHomesThatMetWaitUntilTheirNodesReachEachOther) {
  Sim sim(1, 2);
  sim.Part(0, 1);
  Sim::Client& one = sim.Connect(0, 0, "one");
  Sim::Client& two = sim.Connect(1, 0, "two");
  sim.Settle();
  const uint64_t said = sim.stamps;
  sim.late = true;
  sim.Meet(0, 1);
  for (int i = 0; i < 5; ++i) {
    sim.Settle();
    sim.Pass(std::chrono::milliseconds(100));
  }
  EXPECT_EQ(sim.stamps, said);
  EXPECT_EQ(sim.nodes[0]->losses.size(), 1U) << "the older one";
  EXPECT_TRUE(one.open && two.open);
  sim.Reach(1, 0);
  sim.Settle();
  EXPECT_TRUE(one.open) << "where its client would go is not known here";
  sim.Reach(0, 1);
  sim.Settle();
  EXPECT_EQ(one.closed, net::StreamError::kReset);
  EXPECT_TRUE(two.open);
  EXPECT_EQ(sim.stamps, said);
  sim.Evening();
  Check(sim, false);
}

TEST(FarSideTest, AHomeWhoseOtherWentUnreachedSaysThatItIsThere) {
  Sim sim(1, 2);
  sim.Part(0, 1);
  Sim::Client& one = sim.Connect(0, 0, "one");
  Sim::Client& two = sim.Connect(1, 0, "two");
  sim.Settle();
  sim.late = true;
  sim.Meet(0, 1);
  sim.Settle();
  EXPECT_FALSE(sim.nodes[0]->records.contains(UserName(0)));
  sim.nodes[1]->EndOf(two);
  sim.Settle();
  EXPECT_TRUE(one.open);
  EXPECT_TRUE(sim.nodes[0]->records.contains(UserName(0)));
  EXPECT_TRUE(sim.nodes[0]->losses.empty());
  sim.Evening();
  Check(sim, false);
}

// A session that moved waits for what it sent where it was; a node that has no part in that goes.
TEST(FarSideTest, WhoMovedDoesNotEndWithANodeThatItOwesNothing) {
  Sim sim(1, 4);
  Sim::Client& client = sim.Connect(0, 0, "r");  // at home there
  sim.Settle();
  Sim::Client& moves = sim.Connect(1, 0, "m");
  sim.Settle();
  sim.Message(moves, 1);  // of whom nobody is there: the store keeps it
  sim.store.stalled = true;
  sim.Settle();
  sim.Resume(moves, 2);
  sim.Settle();
  ASSERT_TRUE(moves.left);
  EXPECT_EQ(sim.nodes[1]->left.size(), 1U);
  sim.Kill(3);
  sim.Settle();
  ASSERT_EQ(sim.Open().size(), 2U);
  sim.store.stalled = false;
  sim.Settle();
  for (const Sim::Client* open : sim.Open()) {
    EXPECT_EQ(open->memory->settled.size(), open->memory->sent) << open->full;
  }
  EXPECT_TRUE(client.open);
  sim.Evening();
  Check(sim, false);
}

}  // namespace
}  // namespace server
