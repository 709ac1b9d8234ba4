// Seeds are printed, and days that were wrong once are kept by theirs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "tests/server/c2s/far_side_sim.h"

namespace server {
namespace {

int OfEnvironment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}
// MONGOOSE_SIM_ROUNDS of them from MONGOOSE_SIM_SEED on, until one is wrong.
void EachSeed(const std::function<void(int seed)>& day) {
  const int first = OfEnvironment("MONGOOSE_SIM_SEED", 1);
  const int end = first + OfEnvironment("MONGOOSE_SIM_ROUNDS", 400);
  for (int seed = first; seed < end && !testing::Test::HasFailure(); ++seed) day(seed);
}

struct Totals {
  int messages = 0;
  int disordered = 0;
  int64_t doubled = 0;
  int moved = 0;
  uint64_t homes_moved = 0;
  int met = 0;
  int shared = 0;
  int debts_lost = 0;
  int told_in_time = 0;
};

// Whether the homes of some nodes go to others meanwhile.
enum class Homes { kStay, kMove };

void MoveSome(Sim& sim, net::FastRandom& random) {
  if (random.Below(4) != 0) return;
  sim.nodes[random.Below(Count(sim.nodes.size()))]->far->MoveHomes(random.Below(3));
  sim.Collect();
}

// Whether one content goes to many.
enum class Rooms { kNone, kSome };

void SaySome(Sim& sim, net::FastRandom& random) {
  const auto open = sim.Open();
  if (open.empty() || random.Below(8) != 0) return;
  sim.TellMany(*open[random.Below(Count(open.size()))], random);
}

struct Steps {
  int count;
  bool wild;
};
constexpr Steps kCalm{400, false};
constexpr Steps kWild{600, true};

// A day, its evening, and what it comes to.
void Play(Sim& sim, const Steps& steps, Totals& totals, const std::function<void()>& meanwhile) {
  for (int i = 0; i < steps.count; ++i) {
    sim.Step(steps.wild);
    meanwhile();
  }
  sim.Evening();
  Check(sim, !steps.wild);
  totals.messages += static_cast<int>(sim.fates.size());
  totals.disordered += sim.disordered;
  totals.doubled +=
      std::ranges::count_if(sim.fates, [](const auto& one) { return one.second.taken > 1; });
  totals.moved += sim.moved;
  totals.met += sim.met;
  totals.shared += sim.shared;
  totals.debts_lost += sim.debts_lost;
  totals.told_in_time += sim.told_in_time;
  for (const auto& node : sim.nodes) {
    totals.homes_moved += node->far->counters().homes_moved;
    EXPECT_EQ(node->far->counters().letters_malformed.load(), 0U);
  }
}

void Play(Sim& sim, int seed, const Steps& steps, Totals& totals, Homes homes, Rooms rooms) {
  net::FastRandom random(static_cast<uint64_t>(seed));
  Play(sim, steps, totals, [&] {
    if (homes == Homes::kMove) MoveSome(sim, random);
    if (rooms == Rooms::kSome) SaySome(sim, random);
  });
}

void CalmDay(int seed, Totals& totals, Homes homes = Homes::kStay, Rooms rooms = Rooms::kNone) {
  SCOPED_TRACE("calm seed " + std::to_string(seed));
  Sim sim(static_cast<uint64_t>(seed), 1 + seed % 3 + 1);
  Play(sim, seed, kCalm, totals, homes, rooms);
  EXPECT_EQ(sim.met, 0) << "two homes of one user";
  EXPECT_EQ(sim.slipped, 0);
}

void WildDay(int seed, Totals& totals, Homes homes = Homes::kStay, Rooms rooms = Rooms::kNone) {
  SCOPED_TRACE("wild seed " + std::to_string(seed));
  Sim sim(static_cast<uint64_t>(seed) + 1'000'000, 2 + seed % 3);
  Play(sim, seed, kWild, totals, homes, rooms);
}

TEST(FarSideTest, OnCalmDaysEveryMessageArrivesOnceWhereverItsUserIs) {
  Totals totals;
  EachSeed([&](int seed) { CalmDay(seed, totals); });
  RecordProperty("messages", totals.messages);
  RecordProperty("disordered", totals.disordered);
  std::printf("%d messages, %d out of order; %d sessions moved\n", totals.messages,
              totals.disordered, totals.moved);
  EXPECT_GT(totals.moved, 0);
  EXPECT_LT(totals.disordered, totals.messages / 1000);
}

TEST(FarSideTest, OnWildDaysNothingThatWasCountedIsLostAndHomesFindTogether) {
  Totals totals;
  EachSeed([&](int seed) { WildDay(seed, totals); });
  std::printf("%d messages, %d out of order\n", totals.messages, totals.disordered);
  EXPECT_GT(totals.met, 0);  // there were conflicts to be solved
  // And nodes that went with what moved sessions had under way.
  std::printf("%d met, %d + %d told that they would wait in vain\n", totals.met, totals.debts_lost,
              totals.told_in_time);
  EXPECT_GT(totals.debts_lost + totals.told_in_time, 0);
}

TEST(FarSideTest, OnCalmDaysEveryMessageArrivesOnceThoughHomesMove) {
  Totals totals;
  EachSeed([&](int seed) { CalmDay(seed, totals, Homes::kMove); });
  std::printf("%llu homes moved; of %d messages %d came out of order\n",
              static_cast<unsigned long long>(totals.homes_moved), totals.messages,
              totals.disordered);
  EXPECT_GT(totals.homes_moved, 0U);
  EXPECT_LT(totals.disordered, totals.messages / 200);
}

TEST(FarSideTest, OnWildDaysNothingIsLostThoughHomesMove) {
  Totals totals;
  EachSeed([&](int seed) { WildDay(seed, totals, Homes::kMove); });
  EXPECT_GT(totals.homes_moved, 0U);
}

TEST(FarSideTest, OnCalmDaysWhatIsSaidToManyArrivesOnce) {
  Totals totals;
  EachSeed([&](int seed) { CalmDay(seed, totals, Homes::kMove, Rooms::kSome); });
  std::printf("%d messages, %d with the number of their content\n", totals.messages, totals.shared);
  EXPECT_GT(totals.shared, 0);
}

TEST(FarSideTest, OnWildDaysNothingIsLostOfWhatIsSaidToMany) {
  Totals totals;
  EachSeed([&](int seed) { WildDay(seed, totals, Homes::kMove, Rooms::kSome); });
  EXPECT_GT(totals.shared, 0);
}

// Nodes that meet hear of each other's homes before their deputies reach each other.
TEST(FarSideTest, OnWildDaysHomesFindTogetherThoughNodesAreReachedLate) {
  Totals totals;
  EachSeed([&](int seed) {
    SCOPED_TRACE("late seed " + std::to_string(seed));
    Sim sim(static_cast<uint64_t>(seed) + 2'000'000, 2 + seed % 3);
    sim.late = true;
    net::FastRandom random(static_cast<uint64_t>(seed));
    Play(sim, kWild, totals, [&] {
      MoveSome(sim, random);
      Sim::Node& node = *sim.nodes[random.Below(Count(sim.nodes.size()))];
      const int other = static_cast<int>(random.Below(Count(sim.nodes.size())));
      if (random.Below(20) == 0 && node.numbers.contains(other)) sim.Reach(node.index, other);
    });
    for (const auto& one : sim.nodes) EXPECT_TRUE(one->losses.empty());
  });
  EXPECT_GT(totals.met, 0);
}

// What a deputy tells a session comes by way of another worker than what other nodes tell it.
TEST(FarSideTest, OnWildDaysNothingIsLostWhereSessionsAreNotWithTheirDeputies) {
  Totals totals;
  EachSeed([&](int seed) {
    SCOPED_TRACE("two workers, seed " + std::to_string(seed));
    Sim sim(static_cast<uint64_t>(seed) + 3'000'000, 2 + seed % 3);
    sim.two_workers = true;
    Play(sim, seed, kWild, totals, Homes::kMove, Rooms::kNone);
  });
}

// A session took what it had with it, and told of it before its old worker had told the home.
TEST(FarSideTest, WhatWasTakenBeforeItsHomeKnewWhereItWentIsNotAwaited) {
  Totals totals;
  CalmDay(716, totals);
}

// A home gave way to another while messages waited behind those that were read from the store.
TEST(FarSideTest, WhatWaitsBehindWhatIsReadGoesToTheHomeThatStays) {
  Totals totals;
  WildDay(520, totals);
}

// It took something, and the word of that was lost with a link that others did not lose.
TEST(FarSideTest, WhatNobodyTellsTheEndOfIsNotAwaitedForEver) {
  Totals totals;
  WildDay(4849, totals);
  WildDay(514, totals, Homes::kMove);
}

// The node that it came from lost one by which it was to hear, and the one that it is on did not.
TEST(FarSideTest, WhoWouldWaitInVainForWhatItSentIsTold) {
  Totals totals;
  WildDay(4442, totals);
  WildDay(142, totals, Homes::kMove);
}

// A node took a home and died before it had told all others.
TEST(FarSideTest, WhatIsHeldForAHomeThatWasLostIsLetGo) {
  Totals totals;
  WildDay(106, totals, Homes::kMove);
}

// The answer to a guest's claim came while the home was about to go.
TEST(FarSideTest, AClaimIsAnsweredOnceThoughTheHomeIsAboutToGo) {
  Totals totals;
  WildDay(1961, totals, Homes::kMove);
}

// It was still being read when its node went, and its user came and was at home here anew.
TEST(FarSideTest, AHomeThatComesTooLateTakesNothingAlong) {
  Totals totals;
  WildDay(1134, totals, Homes::kMove);
}

// A session was bound at its home behind the end of its node, and stayed there for ever.
TEST(FarSideTest, WhoIsBoundBehindTheEndOfItsNodeIsGone) {
  Totals totals;
  WildDay(3504, totals);
}

}  // namespace
}  // namespace server
