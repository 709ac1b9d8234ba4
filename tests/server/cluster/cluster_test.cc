// What operators order and what networks do to them, one story each.
#include "server/cluster/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lb/health/cluster_view.h"
#include "server/cluster/status_json.h"
#include "tests/server/cluster/sim_world.h"

namespace sim {
namespace {

using server::ClusterEvent;
using server::MemberState;
using server::NodeState;
using server::Outcome;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

server::Outcome Await(World& world, size_t i, uint64_t operation) {
  EXPECT_TRUE(
      world.RunUntil([&] { return world.node(i).OutcomeOf(operation).has_value(); }, seconds(30)));
  return world.node(i).OutcomeOf(operation).value_or(Outcome::kFailed);
}
Outcome Join(World& world, size_t i, size_t target) {
  return Await(world, i, world.node(i).cluster->Join(world.node(target).name));
}
Outcome Leave(World& world, size_t i, bool force = false) {
  return Await(world, i, world.node(i).cluster->Leave(force));
}
Outcome Remove(World& world, size_t i, const std::string& target) {
  return Await(world, i, world.node(i).cluster->Remove(target));
}

// `nodes` of one cluster, at rest.
class Formed : public World {
 public:
  explicit Formed(size_t nodes, uint64_t seed = 1) : World({.seed = seed, .nodes = nodes}) {
    for (size_t i = 0; i < nodes; ++i) Start(i);
    for (size_t i = 1; i < nodes; ++i) EXPECT_EQ(Join(*this, i, i - 1), Outcome::kDone);
    EXPECT_TRUE(RunUntil([&] { return Difference().empty(); }, seconds(20)));
  }
};

std::vector<std::string> Running(World& world, size_t i) {
  return world.node(i).cluster->Status().running;
}
std::vector<std::string> Members(World& world, size_t i) {
  return world.node(i).cluster->Status().members;
}
constexpr const char* kN0 = "mongooseim@n0";
constexpr const char* kN1 = "mongooseim@n1";
constexpr const char* kN2 = "mongooseim@n2";
constexpr const char* kN3 = "mongooseim@n3";

// --- joining
// ---------------------------------------------------------------------------------------

TEST(ClusterJoin, NineNodesThatJoinAtOnceInAnyOrderAreOneClusterWithinFiveSeconds) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    World world({.seed = seed, .nodes = 9});
    for (size_t i = 0; i < 9; ++i) world.Start(i);
    std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    for (uint32_t i = 8; i > 0; --i) std::swap(order[i], order[world.random().Below(i + 1)]);
    for (size_t at = 0; at < 9; ++at) {
      // In a circle, all to one, or each to somebody before it.
      const auto before = static_cast<uint32_t>(std::max<size_t>(at, 1));
      const std::array<size_t, 3> targets = {(at + 1) % 9, 4, world.random().Below(before)};
      world.node(order[at]).cluster->Join(world.node(order[targets[seed % 3]]).name);
    }
    EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(5)))
        << seed << ": " << world.Difference() << '\n'
        << world.Picture();
  }
}

TEST(ClusterJoin, JoinedTwiceSaysSo) {
  Formed world(2);
  EXPECT_EQ(Join(world, 1, 0), Outcome::kAlreadyJoined);
  EXPECT_EQ(Join(world, 0, 1), Outcome::kAlreadyJoined);
  EXPECT_EQ(Join(world, 0, 0), Outcome::kAlreadyJoined) << "itself";
}

TEST(ClusterJoin, TheSameJoinTwiceAtOnceIsOne) {
  World world({.nodes = 2});
  world.Start(0);
  world.Start(1);
  const uint64_t first = world.node(1).cluster->Join(kN0);
  const uint64_t second = world.node(1).cluster->Join(kN0);
  EXPECT_EQ(Await(world, 1, first), Outcome::kDone);
  EXPECT_EQ(Await(world, 1, second), Outcome::kDone);
  const auto& events = world.node(1).events;
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const auto& e) { return e.kind == ClusterEvent::Kind::kJoined; }),
            1);
}

TEST(ClusterJoin, AnUnreachableTargetChangesNothing) {
  World world({.nodes = 2});
  world.Start(1);
  const auto before = world.node(1).cluster->view();
  EXPECT_EQ(Join(world, 1, 0), Outcome::kUnreachable) << "nobody there";
  world.Start(0);
  world.Cut(0, 1);
  EXPECT_EQ(Join(world, 1, 0), Outcome::kUnreachable) << "one way";
  EXPECT_EQ(world.node(1).cluster->view(), before);
  EXPECT_FALSE(world.node(1).Saw(ClusterEvent::Kind::kJoined)) << "nothing was dropped";
  EXPECT_EQ(world.node(1).cluster->Status().state, NodeState::kRunning);
}

TEST(ClusterJoin, IsWholeOrNotAtAllWhereverItsTargetDies) {
  int joined = 0;
  for (int at_us = 0; at_us < 400'000; at_us += 3'000) {
    World world({.seed = static_cast<uint64_t>(at_us) + 1, .nodes = 2});
    world.Start(0);
    world.Start(1);
    const uint64_t join = world.node(1).cluster->Join(kN0);
    world.RunFor(std::chrono::microseconds(at_us));
    world.Kill(0);
    const Outcome outcome = Await(world, 1, join);
    const bool member = Members(world, 1).size() == 2;
    EXPECT_EQ(member, outcome == Outcome::kDone) << at_us;
    joined += member;
    world.Start(0);
    world.RunFor(seconds(5));
    EXPECT_EQ(Members(world, 0).size(), member ? 2U : 1U) << at_us << " half a join";
    EXPECT_EQ(Join(world, 1, 0), member ? Outcome::kAlreadyJoined : Outcome::kDone);
  }
  EXPECT_GT(joined, 5);
  EXPECT_LT(joined, 130);
}

TEST(ClusterJoin, ADiskThatIsFullFailsItAndChangesNothing) {
  World world({.nodes = 2});
  world.Start(0);
  world.Start(1);
  world.node(1).disk.full = true;
  const uint64_t join = world.node(1).cluster->Join(kN0);
  EXPECT_EQ(Await(world, 1, join), Outcome::kFailed);
  EXPECT_THAT(world.node(1).events.back().text, HasSubstr("No space left on device"));
  EXPECT_THAT(Members(world, 0), ElementsAre(kN0));
  EXPECT_THAT(Members(world, 1), ElementsAre(kN1));
  world.node(1).disk.full = false;
  EXPECT_EQ(Join(world, 1, 0), Outcome::kDone);
}

TEST(ClusterJoin, ATargetWhoseDiskIsFullRefusesOrSaysThatItIsNotDurable) {
  World world({.nodes = 3});
  for (size_t i = 0; i < 3; ++i) world.Start(i);
  world.node(0).disk.full = true;
  EXPECT_EQ(Join(world, 1, 0), Outcome::kFailed) << "nobody had its view before";
  EXPECT_THAT(Members(world, 0), ElementsAre(kN0));
  EXPECT_THAT(Members(world, 1), ElementsAre(kN1));
  world.node(0).disk.full = false;
  EXPECT_EQ(Join(world, 1, 0), Outcome::kDone);
  world.node(0).disk.full = true;
  EXPECT_EQ(Join(world, 2, 0), Outcome::kDone) << "the joiner's disk decides";
  EXPECT_EQ(Members(world, 0).size(), 3U);
  world.RunFor(seconds(1));
  EXPECT_THAT(world.node(0).cluster->Status().alarms,
              ElementsAre(HasSubstr("membership is not durable")));
}

TEST(ClusterJoin, ThreeStepwiseByWayOfAnyMember) {
  Formed world(3);  // 1 joins 0, 2 joins 1
  EXPECT_THAT(Members(world, 0), ElementsAre(kN0, kN1, kN2));
}

TEST(ClusterJoin, MembershipOutlivesStopsAndStartsInAnyOrder) {
  Formed world(3);
  for (const size_t i : {1U, 0U, 2U}) world.Stop(i);
  world.RunFor(seconds(60));
  for (const size_t i : {2U, 1U, 0U}) {
    world.Start(i);
    world.RunFor(seconds(5));
    // Whoever is not there has not been cut off: the first one serves alone.
    EXPECT_EQ(world.node(i).cluster->Status().state, NodeState::kRunning) << i;
  }
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)))
      << world.Difference();
  EXPECT_EQ(Join(world, 1, 0), Outcome::kAlreadyJoined) << "a second start does not join again";
}

// --- leaving and removing
// --------------------------------------------------------------------------

TEST(ClusterLeave, TheOthersForgetItAndItStandsAlone) {
  Formed world(3);
  EXPECT_EQ(Leave(world, 1), Outcome::kDone);
  EXPECT_TRUE(world.node(1).Saw(ClusterEvent::Kind::kStandsAlone));
  world.RunFor(seconds(3));
  EXPECT_THAT(Members(world, 0), ElementsAre(kN0, kN2));
  EXPECT_THAT(Members(world, 2), ElementsAre(kN0, kN2));
  EXPECT_THAT(Members(world, 1), ElementsAre(kN1));
  EXPECT_EQ(Leave(world, 1), Outcome::kNotInCluster);
  EXPECT_EQ(Join(world, 1, 2), Outcome::kDone) << "and comes back";
}

TEST(ClusterLeave, WithAllOthersDownItSaysWhichAndForceLeaves) {
  Formed world(3);
  world.Kill(0);
  world.Kill(2);
  world.RunFor(seconds(2));
  const uint64_t leave = world.node(1).cluster->Leave(false);
  EXPECT_EQ(Await(world, 1, leave), Outcome::kPeersDown);
  EXPECT_EQ(world.node(1).events.back().text, "mongooseim@n0, mongooseim@n2");
  EXPECT_EQ(Members(world, 1).size(), 3U);
  EXPECT_EQ(Leave(world, 1, true), Outcome::kDone);
  EXPECT_THAT(Members(world, 1), ElementsAre(kN1));
}

TEST(ClusterRemove, ALiveNodeIsToldAndStandsAlone) {
  Formed world(3);
  EXPECT_EQ(Remove(world, 0, kN1), Outcome::kDone);
  EXPECT_TRUE(world.node(1).Saw(ClusterEvent::Kind::kStandsAlone));
  world.RunFor(seconds(3));
  EXPECT_THAT(Members(world, 1), ElementsAre(kN1));
  EXPECT_THAT(Members(world, 2), ElementsAre(kN0, kN2));
  EXPECT_THAT(world.node(2).cluster->Status().alarms, IsEmpty());
}

TEST(ClusterRemove, ADeadNodeFindsOutAtItsFirstContactSaysSoAndStandsAlone) {
  Formed world(3);
  world.Kill(1);
  EXPECT_EQ(Remove(world, 0, kN1), Outcome::kDoneDead);
  world.RunFor(seconds(3));
  EXPECT_THAT(Members(world, 2), ElementsAre(kN0, kN2)) << "gone everywhere";
  world.Start(1);
  world.RunFor(seconds(2));
  ASSERT_TRUE(world.node(1).Saw(ClusterEvent::Kind::kStandsAlone));
  EXPECT_THAT(Members(world, 1), ElementsAre(kN1));
  EXPECT_EQ(world.node(1).cluster->Status().state, NodeState::kRunning);
  world.RunFor(seconds(20));
  EXPECT_THAT(Members(world, 0), ElementsAre(kN0, kN2)) << "it did not come back by itself";
  EXPECT_EQ(Join(world, 1, 0), Outcome::kDone);
}

TEST(ClusterRemove, TwoThatRemovedEachOtherWhileTheyWereCutCanBeJoinedAgain) {
  Formed world(2);
  world.CutBoth(0, 1);
  world.RunFor(seconds(20));
  EXPECT_EQ(Remove(world, 0, kN1), Outcome::kDoneDead);
  EXPECT_EQ(Remove(world, 1, kN0), Outcome::kDoneDead);
  world.HealAll();
  world.RunFor(seconds(20));
  EXPECT_THAT(Members(world, 0), ElementsAre(kN0));
  EXPECT_EQ(Join(world, 1, 0), Outcome::kDone);
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)))
      << world.Difference();
}

TEST(ClusterRemove, OfAnUnknownNameChangesNothing) {
  Formed world(2);
  EXPECT_EQ(Remove(world, 0, "mongooseim@nobody"), Outcome::kUnknownNode);
  EXPECT_EQ(Members(world, 0).size(), 2U);
}

TEST(ClusterRemove, RemovedDiskLostAndJoinedAgainUnderTheSameName) {
  Formed world(3);
  world.Kill(1);
  EXPECT_EQ(Remove(world, 0, kN1), Outcome::kDoneDead);
  world.node(1).disk.bytes.reset();
  world.Start(1);
  EXPECT_EQ(Join(world, 1, 2), Outcome::kDone);
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)))
      << world.Difference();
}

TEST(ClusterRemove, AMemberThatLostItsDiskIsAnAlarmUntilEitherJoinsTheOther) {
  for (bool stranger_joins : {true, false}) {
    Formed world(3);
    world.Kill(1);
    world.node(1).disk.bytes.reset();
    world.Start(1);
    world.RunFor(seconds(3));
    EXPECT_THAT(world.node(0).cluster->Status().alarms,
                ElementsAre(HasSubstr("stands in a cluster of its own")));
    EXPECT_EQ(stranger_joins ? Join(world, 1, 0) : Join(world, 0, 1), Outcome::kDone);
    EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)))
        << world.Difference();
  }
}

TEST(ClusterRemove, OnAFullDiskFailsAndChangesNothing) {
  Formed world(2);
  world.node(0).disk.full = true;
  EXPECT_EQ(Remove(world, 0, kN1), Outcome::kFailed);
  EXPECT_EQ(Members(world, 0).size(), 2U);
}

TEST(Cluster, AViewThatCannotBeWrittenIsAnAlarmAndIsWrittenLater) {
  Formed world(3);
  world.node(2).disk.full = true;
  EXPECT_EQ(Remove(world, 0, kN1), Outcome::kDone);
  world.RunFor(seconds(2));
  EXPECT_THAT(world.node(2).cluster->Status().alarms,
              ElementsAre(HasSubstr("membership is not durable")));
  world.node(2).disk.full = false;
  world.RunFor(seconds(2));
  EXPECT_THAT(world.node(2).cluster->Status().alarms, IsEmpty());
  EXPECT_THAT(*world.node(2).disk.bytes, HasSubstr("mongooseim@n1 removed"));
}

// --- cuts
// ------------------------------------------------------------------------------------------

TEST(ClusterSplit, AOneWayCutOfTwoEndsInOneViewAndHealsByItself) {
  Formed world(2);
  world.Cut(0, 1);
  world.RunFor(seconds(20));
  EXPECT_THAT(Running(world, 0), ElementsAre(kN0));
  EXPECT_THAT(Running(world, 1), ElementsAre(kN1));
  EXPECT_EQ(world.node(0).cluster->Status().state, NodeState::kRunning) << "the lowest name";
  EXPECT_EQ(world.node(1).cluster->Status().state, NodeState::kIsolated);
  world.HealAll();
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(20)))
      << world.Difference();
}

TEST(ClusterSplit, OneCutPairCostsOneNodeAndAllAgreeOnWhich) {
  Formed world(4);
  world.CutBoth(1, 3);
  world.RunFor(seconds(30));
  for (const size_t i : {0U, 1U, 2U})
    EXPECT_THAT(Running(world, i), ElementsAre(kN0, kN1, kN2)) << i;
  EXPECT_THAT(Running(world, 3), ElementsAre(kN3));
  EXPECT_TRUE(world.node(3).cluster->isolated());
  EXPECT_THAT(world.node(1).cluster->Status().alarms, ElementsAre(HasSubstr("no link both ways")));
  world.HealAll();
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(20)))
      << world.Difference();
}

TEST(ClusterSplit, TheMinorityIsIsolatedAndOfTwoHalvesTheOneWithoutTheLowestName) {
  Formed three(3);
  three.CutBoth(0, 1);
  three.CutBoth(0, 2);
  three.RunFor(seconds(20));
  EXPECT_TRUE(three.node(0).cluster->isolated());
  EXPECT_FALSE(three.node(1).cluster->isolated());
  EXPECT_THAT(Running(three, 2), ElementsAre(kN1, kN2));

  Formed four(4);
  for (const size_t a : {0U, 2U}) {
    for (const size_t b : {1U, 3U}) four.CutBoth(a, b);
  }
  four.RunFor(seconds(20));
  EXPECT_FALSE(four.node(0).cluster->isolated());
  EXPECT_FALSE(four.node(2).cluster->isolated());
  EXPECT_TRUE(four.node(1).cluster->isolated());
  EXPECT_TRUE(four.node(3).cluster->isolated());
  EXPECT_THAT(Running(four, 3), ElementsAre(kN1, kN3));
}

// It is said to be isolated after a while; nobody should be sent there before.
TEST(ClusterSplit, TheMinoritysSideIsNotReadyFromTheFirstMomentOn) {
  Formed world(3);
  for (const size_t other : {0U, 2U}) {
    world.Cut(1, other);
    world.Cut(other, 1);
  }
  bool looked = false;
  for (int i = 0; i < 300; ++i) {
    world.RunFor(milliseconds(50));
    const auto status = world.node(1).cluster->Status();
    if (status.running.size() > 1) continue;
    looked = looked || status.state == server::NodeState::kRunning;
    ASSERT_FALSE(status.ready);
  }
  EXPECT_TRUE(looked) << "it was alone and had not said isolated yet";
  EXPECT_TRUE(world.node(0).cluster->Status().ready);
}

TEST(ClusterSplit, BlipsOfMillisecondsAreNotEvenSeen) {
  Formed world(3);
  for (Node* node : {&world.node(0), &world.node(1), &world.node(2)}) node->events.clear();
  for (int i = 0; i < 20; ++i) {
    world.CutBoth(0, 1);
    world.RunFor(milliseconds(5 + 10 * i));
    world.HealAll();
    world.Break(1, 2);
    world.RunFor(milliseconds(700));
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(world.node(i).Saw(ClusterEvent::Kind::kNodeDown)) << i;
  }
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)));
}

// Case 44.
TEST(ClusterSplit, TheSameKeyOnBothSidesHasOneOwnerAfterTheHealAndTheOtherIsTold) {
  Formed world(2);
  world.CutBoth(0, 1);
  world.RunFor(seconds(20));
  world.node(0).table(kSessions).Put("u@h/r", 3, "old", 1'000);
  world.node(1).table(kSessions).Put("u@h/r", 3, "new", 2'000);
  world.HealAll();
  ASSERT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(20)))
      << world.Difference();
  EXPECT_TRUE(world.node(0).Saw(ClusterEvent::Kind::kConflictLost, kN1));
  EXPECT_FALSE(world.node(1).Saw(ClusterEvent::Kind::kConflictLost));
  std::string value;
  world.node(0).table(kSessions).ForEach("u@h/r", [&](const auto& r) { value = r.value; });
  EXPECT_EQ(value, "new");
}

// --- deaths, restarts, pauses
// ----------------------------------------------------------------------

// Case 46.
TEST(ClusterDeath, RecordsOfADeadNodeAreGoneEverywhereWithinASecond) {
  Formed world(3);
  for (int i = 0; i < 200; ++i)
    world.node(2).table(kSessions).Put("s" + std::to_string(i), 0, "", 1);
  world.RunFor(seconds(2));
  ASSERT_EQ(world.node(0).table(kSessions).size(), 200U);
  world.Kill(2);
  world.RunFor(seconds(1));
  for (const size_t i : {0U, 1U}) {
    EXPECT_EQ(world.node(i).table(kSessions).size(), 0U);
    EXPECT_THAT(Running(world, i), ElementsAre(kN0, kN1));
    EXPECT_FALSE(world.node(i).cluster->isolated());
  }
  world.Start(2);
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)));
  EXPECT_EQ(world.node(0).table(kSessions).size(), 0U) << "stale routes are purged";
}

// Those who are left hear of it one after another, and until then one of them still says that it
// sees who is gone: to the rule that looks like a cut between two of three.
TEST(ClusterDeath, WhoeverGoesAndComesBackTheOthersKeepEachOther) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    for (size_t gone = 0; gone < 3; ++gone) {
      for (const int how : {0, 1, 2}) {
        Formed world(3, seed);
        world.RunFor(milliseconds(world.random().Below(1000)));
        for (size_t i = 0; i < 3; ++i) world.node(i).events.clear();
        if (how == 0) world.Stop(gone);
        if (how == 1) world.Kill(gone);
        if (how == 2) world.Pause(gone, seconds(30));
        world.RunFor(seconds(20));
        if (how != 2) world.Start(gone);
        world.RunFor(seconds(20));
        for (size_t i = 0; i < 3; ++i) {
          if (i == gone) continue;
          const Node& other = world.node(3 - gone - i);
          EXPECT_FALSE(world.node(i).Saw(ClusterEvent::Kind::kNodeDown, other.name))
              << "seed " << seed << ": " << i << " lost " << other.name << " when " << gone
              << " went by " << how;
          EXPECT_TRUE(world.node(i).Saw(ClusterEvent::Kind::kNodeDown, world.node(gone).name));
        }
      }
    }
  }
}

// Case 62.
TEST(ClusterPause, ANodePausedPastTheSilenceRoutesToNobodyUntilItHasHeardAnew) {
  Formed world(3);
  ASSERT_TRUE(world.node(1).cluster->MayRoute(kN0, world.now()));
  world.Pause(1, seconds(90));
  world.RunFor(seconds(90) - milliseconds(1));
  EXPECT_THAT(Running(world, 0), ElementsAre(kN0, kN2));
  const net::Time wakes = world.now() + milliseconds(1);
  for (const char* name : {kN0, kN1, kN2}) {
    EXPECT_FALSE(world.node(1).cluster->MayRoute(name, wakes)) << name;
  }
  EXPECT_FALSE(world.node(1).cluster->SendMessage(kN0, 1, {}, wakes));
  EXPECT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(20)))
      << world.Difference();
  EXPECT_TRUE(world.node(1).cluster->MayRoute(kN0, world.now()));
}

TEST(ClusterPause, OfTwoThatAreCutNeitherStillTrustsTheOtherAfterItWasDeclaredDead) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Formed world(2, seed);
    world.RunFor(milliseconds(world.random().Below(1000)));
    world.Cut(seed % 2, 1 - seed % 2);
    for (int i = 0; i < 300; ++i) {
      world.RunFor(milliseconds(50));
      for (const size_t a : {0U, 1U}) {
        const size_t b = 1 - a;
        const bool declared = Running(world, b).size() == 1;
        if (declared) {
          ASSERT_FALSE(world.node(a).cluster->MayRoute(world.node(b).name, world.now())) << seed;
        }
      }
    }
  }
}

TEST(ClusterMessage, ReachesTheLifeItWasMeantForOrNobody) {
  Formed world(2);
  const std::vector<uint8_t> hello = {1, 2, 3};
  ASSERT_TRUE(world.node(0).cluster->SendMessage(kN1, 7, hello, world.now()));
  world.RunFor(milliseconds(10));
  const ClusterEvent& got = world.node(1).events.back();
  EXPECT_EQ(got.kind, ClusterEvent::Kind::kMessage);
  EXPECT_EQ(got.table, 7U);
  EXPECT_EQ(got.bytes, hello);
  EXPECT_FALSE(world.node(0).cluster->SendMessage("mongooseim@nobody", 7, hello, world.now()));
  EXPECT_FALSE(world.node(0).cluster->SendMessage(
      kN1, 7, std::vector<uint8_t>(server::kMessageBytesMax + 1), world.now()));
  // Another life, and a frame for the one before.
  server::FrameHeader header{.from_incarnation = world.node(0).cluster->incarnation(),
                             .to_incarnation = world.node(1).cluster->incarnation() - 1};
  const uint64_t stale = world.node(1).cluster->counters().frames_stale;
  world.node(1).cluster->OnFrame(kN0, EncodeFrame(header, server::Message{7, hello}), world.now());
  EXPECT_EQ(world.node(1).cluster->counters().frames_stale, stale + 1);
  EXPECT_THAT(world.node(1).cluster->TakeEvents(), IsEmpty());
}

TEST(ClusterMessage, FramesThatAreNoneChangeNothing) {
  Formed world(2);
  const auto before = world.node(0).cluster->Status();
  net::FastRandom random(9);
  for (int i = 0; i < 5'000; ++i) {
    std::vector<uint8_t> bytes(random.Below(200));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Next());
    if (bytes.size() > 1) bytes[1] = static_cast<uint8_t>(random.Below(14));
    world.node(0).cluster->OnFrame(kN1, bytes, world.now());
    world.node(0).cluster->OnFrame("mongooseim@nobody", bytes, world.now());
  }
  EXPECT_EQ(world.node(0).cluster->counters().frames_malformed +
                world.node(0).cluster->counters().frames_stale,
            5'000U);
  EXPECT_EQ(world.node(0).cluster->Status().running, before.running);
}

TEST(Cluster, ANodeThatLostItsDiskAndItsClockIsNotTakenForItsPast) {
  Formed world(2);
  const uint64_t before = world.node(1).cluster->incarnation();
  const std::string state = *world.node(1).disk.bytes;
  world.Kill(1);
  // A file with a start long ago stands for a clock that was set back.
  server::MemberFile file = server::ParseMemberFile(state, "").value();
  file.incarnation = 5;
  world.node(1).disk.bytes = server::MemberFileText(file);
  server::ClusterOptions options{.node = kN1};
  MemoryDisk disk;
  disk.bytes = world.node(1).disk.bytes;
  auto early = server::Cluster::Open(options, world.node(1), disk, world.now(), 7).value();
  ASSERT_LT(early->incarnation(), before);
  early->OnNodeUp(kN0, world.now());
  const server::Hello hello{.known = before, .view = world.node(0).cluster->view()};
  early->OnFrame(kN0, EncodeFrame({.from_incarnation = 9}, hello), world.now());
  EXPECT_GT(early->incarnation(), before);
  EXPECT_GT(server::ParseMemberFile(*disk.bytes, "")->incarnation, before) << "durably";
}

// A link whose queue is full at first.
class FullAtFirst final : public server::Transport {
 public:
  bool Send(const std::string&, std::span<const uint8_t> frame) override {
    if (full) return false;
    sent.emplace_back(frame.begin(), frame.end());
    return true;
  }
  void Want(const std::string&, bool) override {}
  bool full = true;
  std::vector<std::vector<uint8_t>> sent;
};

TEST(Cluster, AHelloThatFoundAFullQueueIsSaidAgain) {
  FullAtFirst link;
  MemoryDisk disk;
  net::Time now{seconds(100)};
  auto cluster = server::Cluster::Open({.node = kN0}, link, disk, now, 1).value();
  cluster->OnNodeUp(kN1, now);
  link.full = false;
  for (int i = 0; i < 12; ++i) cluster->Tick(now += milliseconds(100), 1);
  ASSERT_EQ(link.sent.size(), 1U) << "two silent ends would wait for ever";
  EXPECT_TRUE(std::get<server::Hello>(server::DecodeFrame(link.sent[0])->body).answer);
}

TEST(Cluster, AnIncompatiblePeerIsRefusedWithWords) {
  World world({.nodes = 2});
  world.Start(0);
  server::Cluster& cluster = *world.node(0).cluster;
  cluster.OnNodeUp(kN1, world.now());
  const server::Hello hello{.version_min = 7, .version_max = 9};
  cluster.OnFrame(kN1, EncodeFrame({.version = 9, .from_incarnation = 9}, hello), world.now());
  world.RunFor(seconds(1));
  EXPECT_THAT(cluster.Status().alarms,
              ElementsAre("mongooseim@n1: speaks version 7 to 9 of the links, this node 1 to 1: "
                          "upgrade the older one"));
}

// A rolling upgrade over a change of the letters: who cannot read them is not taken for a mate.
TEST(Cluster, APeerWhoseLettersCannotBeReadIsRefusedWithWordsAndOneOfBeforeTheyWereToldIsNot) {
  World world({.nodes = 3});
  world.Start(0);
  server::Cluster& cluster = *world.node(0).cluster;
  cluster.OnNodeUp(kN1, world.now());
  cluster.OnNodeUp(kN2, world.now());
  const auto greet = [&](const char* from, uint64_t features) {
    const server::Hello hello{.features = features};
    cluster.OnFrame(from, EncodeFrame({.from_incarnation = 9}, hello), world.now());
    world.RunFor(seconds(1));
  };
  greet(kN1, 0x0203);
  greet(kN2, 0);
  const std::string words =
      "mongooseim@n1: speaks version 2 to 3 of what sessions say to each other, this node 1 to 1: "
      "upgrade the older one";
  EXPECT_THAT(cluster.Status().alarms, ElementsAre(words));
  greet(kN1, 0x0102);  // it was downgraded: it reads ours as well
  EXPECT_THAT(cluster.Status().alarms, IsEmpty());
}

// Each is spoken to as it reads.
TEST(Cluster, KnowsTheNewestVersionOfLettersThatBothRead) {
  World world({.nodes = 3});
  MemoryDisk disk;
  server::ClusterOptions options{.node = kN0, .content = {.oldest = 1, .newest = 3}};
  auto cluster = server::Cluster::Open(options, world.node(0), disk, world.now(), 1).value();
  const auto greet = [&](uint64_t features) {
    cluster->OnNodeUp(kN1, world.now());
    const server::Hello hello{.features = features};
    cluster->OnFrame(kN1, EncodeFrame({.from_incarnation = 9}, hello), world.now());
    return cluster->ContentVersion(kN1);
  };
  EXPECT_EQ(greet(0), 1) << "of before they were told";
  EXPECT_EQ(greet(0x0102), 2);
  EXPECT_EQ(greet(0x0205), 3);
  EXPECT_EQ(cluster->ContentVersion(kN2), 1) << "nobody knows";
}

TEST(Cluster, AnothersOrAnEditedFileIsAnErrorWithItsRemedy) {
  Formed world(1);
  MemoryDisk disk;
  disk.bytes = world.node(0).disk.bytes;
  const auto open = [&](const char* name) {
    return server::Cluster::Open({.node = name}, world.node(0), disk, world.now(), 1);
  };
  EXPECT_THAT(open(kN1).error(),
              "cluster.state:2: belongs to the node mongooseim@n0, and this one is mongooseim@n1; "
              "give each node a data folder of its own, or take the name back");
  disk.bytes->back() = 'x';
  EXPECT_THAT(open(kN0).error(), HasSubstr("cluster.state:"));
  disk.bytes.reset();
  disk.full = true;
  EXPECT_THAT(open(kN0).error(), HasSubstr("No space left"));
}

TEST(Cluster, ItsStatusIsWhatTheBalancerReads) {
  Formed world(3);
  world.Kill(2);
  world.RunFor(seconds(3));
  const std::string json = server::StatusJson(
      world.node(0).cluster->Status(),
      {.sessions = 12, .max_sessions = 250'000, .load = 0.25, .draining = false});
  const auto parsed = lb::ParseClusterStatus(json);
  ASSERT_TRUE(parsed.has_value()) << json;
  EXPECT_EQ(parsed->state, lb::ClusterState::kRunning);
  EXPECT_THAT(parsed->members, ElementsAre(kN0, kN1, kN2));
  EXPECT_THAT(parsed->running, ElementsAre(kN0, kN1));
  EXPECT_THAT(parsed->stopped, ElementsAre(kN2));
  EXPECT_EQ(parsed->sessions, 12U);
  EXPECT_THAT(server::StatusJson(world.node(0).cluster->Status(), {.draining = true}),
              HasSubstr("\"state\":\"draining\""));
  // Nobody new, in words that every balancer knows, and why.
  const std::string short_of_memory =
      server::StatusJson(world.node(0).cluster->Status(), {.memory_short = true});
  EXPECT_EQ(lb::ParseClusterStatus(short_of_memory)->state, lb::ClusterState::kDraining);
  EXPECT_THAT(short_of_memory, HasSubstr("\"ready\":false"));
  EXPECT_THAT(short_of_memory, HasSubstr("\"memory: new sessions are refused"));
}

TEST(Cluster, ANodeThatJoinsALargeTableIsReadyInTheEndAndNobodyWaitsForMoreThanAChunk) {
  World world({.nodes = 2});
  world.Start(0);
  world.Start(1);
  constexpr int kRecords = 30'000;
  for (int i = 0; i < kRecords; ++i) {
    world.node(0).table(kSessions).Put("user" + std::to_string(i) + "@h/r", 0, "0123456789", 1);
  }
  world.node(1).cluster->Join(kN0);
  ASSERT_TRUE(world.RunUntil([&] { return Members(world, 1).size() == 2; }, seconds(5)));
  while (!world.node(1).cluster->Status().ready) world.RunFor(milliseconds(1));
  EXPECT_EQ(world.node(1).table(kSessions).size(), size_t{kRecords}) << "not before it has all";
  // Writing goes on.
  for (int i = 0; i < 1000; ++i) {
    world.node(0).table(kSessions).Erase("user" + std::to_string(i * 7) + "@h/r");
    world.node(0).table(kSessions).Put("late" + std::to_string(i), 0, "", 1);
    if (i % 50 == 0) world.RunFor(milliseconds(1));
  }
  ASSERT_TRUE(world.RunUntil([&] { return world.Difference().empty(); }, seconds(10)))
      << world.Difference();
  EXPECT_EQ(world.node(1).table(kSessions).size(), size_t{kRecords});
  EXPECT_EQ(world.node(1).table(kSessions).repairs(), 0U) << "at the first try";
}

// --- words
// -----------------------------------------------------------------------------------------

TEST(Operation, TextsAreThoseOfThePage) {
  using server::AnswerOf;
  using server::OrderKind;
  const std::string two = "mongooseim2@localhost";
  const std::string one = "mongooseim@localhost";
  EXPECT_EQ(AnswerOf(OrderKind::kJoin, Outcome::kDone, two, one, "").text,
            "You have successfully joined the node mongooseim2@localhost to the cluster with node "
            "member mongooseim@localhost");
  EXPECT_EQ(AnswerOf(OrderKind::kLeave, Outcome::kDone, two, "", "").text,
            "You have successfully left the node mongooseim2@localhost from the cluster.");
  EXPECT_EQ(AnswerOf(OrderKind::kRemove, Outcome::kDone, one, two, "").text,
            "The node mongooseim2@localhost has been removed from the cluster");
  EXPECT_EQ(AnswerOf(OrderKind::kRemove, Outcome::kDoneDead, one, "m@my-host", "").text,
            "The dead node 'm@my-host' has been removed from the cluster");
  EXPECT_EQ(AnswerOf(OrderKind::kJoin, Outcome::kAlreadyJoined, two, "m@my-host", "").text,
            "The node m@my-host has already joined the cluster");
  EXPECT_EQ(AnswerOf(OrderKind::kJoin, Outcome::kUnreachable, two, "m@my-host", "").text,
            "Timeout while attempting to connect to node m@my-host");
  EXPECT_EQ(AnswerOf(OrderKind::kLeave, Outcome::kNotInCluster, two, "", "").text,
            "The node mongooseim2@localhost is not in the cluster");
  EXPECT_EQ(AnswerOf(OrderKind::kJoin, Outcome::kFailed, two, one, "why").text, "Error: why");
  for (int outcome = 0; outcome < server::kOutcomes; ++outcome) {
    for (OrderKind kind : {OrderKind::kJoin, OrderKind::kLeave, OrderKind::kRemove}) {
      const auto answer = AnswerOf(kind, static_cast<Outcome>(outcome), two, one, "detail");
      EXPECT_FALSE(answer.text.empty());
      EXPECT_EQ(answer.exit_code, outcome <= static_cast<int>(Outcome::kDoneDead) ? 0 : 1);
    }
  }
}

}  // namespace
}  // namespace sim
