#include "lb/balance/drain_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/lb/start_time.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

std::vector<DrainNode> Three(uint64_t connections_max) {
  std::vector<DrainNode> nodes(3);
  for (size_t i = 0; i < 3; ++i) {
    nodes[i].name = "n" + std::to_string(i);
    nodes[i].active = 1'000;
    nodes[i].connections_max = connections_max;
  }
  return nodes;
}

TEST(CheckDrainTest, AllowsWhatTheSurvivorsCanCarry) {
  DrainVerdict verdict = CheckDrain(Three(1'500), 0, {});
  EXPECT_TRUE(verdict.allowed);
  EXPECT_EQ(verdict.room, 1'000u);
  EXPECT_EQ(verdict.survivors, 2u);
  EXPECT_TRUE(CheckDrain(Three(0), 0, {}).allowed);
}

TEST(CheckDrainTest, RefusesWhenConnectionsMaxLeavesTooLittleRoom) {
  DrainVerdict verdict = CheckDrain(Three(1'499), 0, {});
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.why,
            "the other nodes have room for 998 of n0's 1000 connections (connections_max)");
}

TEST(CheckDrainTest, RefusesTheLastChoosableNode) {
  auto nodes = Three(0);
  nodes[1].choosable = nodes[2].choosable = false;
  DrainVerdict verdict = CheckDrain(nodes, 0, {});
  EXPECT_FALSE(verdict.allowed);
  EXPECT_THAT(verdict.why, HasSubstr("no other node"));
}

TEST(CheckDrainTest, BackupsCarryOnlyWhenNoPrimaryIsLeft) {
  auto nodes = Three(1'500);
  nodes[2].backup = true;
  EXPECT_FALSE(CheckDrain(nodes, 0, {}).allowed);  // n1 alone has room for 500
  nodes[1].choosable = false;
  nodes[2].connections_max = 0;
  EXPECT_TRUE(CheckDrain(nodes, 0, {}).allowed);
}

TEST(CheckDrainTest, RefusesWhatWarmingSurvivorsCannotTakeBeforeTheDeadline) {
  auto nodes = Three(0);
  for (size_t i : {size_t{1}, size_t{2}}) {
    nodes[i].admission_rate = 10;
    nodes[i].warm_in = minutes(5);
  }
  DrainVerdict verdict = CheckDrain(nodes, 0, {.deadline = seconds(30)});
  EXPECT_FALSE(verdict.allowed);
  EXPECT_THAT(verdict.why, HasSubstr("take about 600 of n0's 1000"));
  EXPECT_DOUBLE_EQ(verdict.safe_rate, 20);
  EXPECT_TRUE(CheckDrain(nodes, 0, {.deadline = seconds(60)}).allowed);
  nodes[1].warm_in = seconds(20);  // warm before the deadline
  EXPECT_TRUE(CheckDrain(nodes, 0, {.deadline = seconds(30)}).allowed);
}

// Asks as told until nothing more comes due; returns ended connections by second.
std::vector<uint64_t> RunPlan(ShutPlan& plan, uint64_t connections, int for_seconds) {
  std::vector<uint64_t> ended(static_cast<size_t>(for_seconds));
  net::Time now = kStart;
  while (now < kStart + seconds(for_seconds) && connections > 0) {
    ShutPlan::Due due = plan.Ask(connections, now);
    EXPECT_LE(due.now, connections);
    connections -= due.now;
    ended[static_cast<size_t>((now - kStart) / seconds(1))] += due.now;
    if (due.next.count() == 0) break;
    now += due.next;
  }
  return ended;
}

TEST(ShutPlanTest, ByRateEndsThatManyASecond) {
  ShutPlan plan({.rate = 50}, 500, net::kRateUnlimited, kStart);
  auto ended = RunPlan(plan, 500, 20);
  for (size_t s = 1; s < 9; ++s) EXPECT_NEAR(static_cast<double>(ended[s]), 50, 2) << s;
  EXPECT_EQ(plan.ended(), 500u);
}

TEST(ShutPlanTest, SlowRatesAreExactToo) {
  ShutPlan plan({.rate = 0.5}, 10, net::kRateUnlimited, kStart);
  auto ended = RunPlan(plan, 10, 21);
  uint64_t sum = 0;
  for (uint64_t e : ended) sum += e;
  EXPECT_EQ(sum, 10u);
  EXPECT_EQ(ended[0] + ended[1], 0u);
}

TEST(ShutPlanTest, ByDeadlineSpreadsEvenlyAndEndsTheRestThen) {
  ShutPlan plan({.deadline = seconds(10)}, 1'000, net::kRateUnlimited, kStart);
  auto ended = RunPlan(plan, 1'000, 20);
  for (size_t s = 1; s < 10; ++s) EXPECT_NEAR(static_cast<double>(ended[s]), 100, 5) << s;
  EXPECT_EQ(plan.ended(), 1'000u);
}

TEST(ShutPlanTest, ASlowRateIsOverruledAtTheDeadlineOnly) {
  ShutPlan plan({.rate = 1, .deadline = seconds(10)}, 1'000, net::kRateUnlimited, kStart);
  EXPECT_EQ(plan.Ask(1'000, kStart + seconds(1)).now, 1u);
  auto due = plan.Ask(999, kStart + seconds(10));
  EXPECT_TRUE(due.deadline);
  EXPECT_EQ(due.now, 999u);
}

TEST(ShutPlanTest, WhatASlowRateLeavesIsSpreadOverTheSecondHalf) {
  for (double rate : {1e-9, 20.0}) {
    ShutPlan plan({.rate = rate, .deadline = seconds(10)}, 1'000, net::kRateUnlimited, kStart);
    const auto ended = RunPlan(plan, 1'000, 20);
    for (size_t s = 1; s < 5; ++s) EXPECT_NEAR(static_cast<double>(ended[s]), rate, 2) << s;
    const double left = 1'000 - 5 * rate;
    for (size_t s = 5; s < 10; ++s) EXPECT_NEAR(static_cast<double>(ended[s]), left / 5, 6) << s;
    EXPECT_LE(ended[10], 3U) << "no crowd at the deadline";
    EXPECT_EQ(plan.ended(), 1'000u);
  }
}

TEST(ShutPlanTest, TheSurvivorsWarmUpBoundsThePace) {
  ShutPlan plan({.rate = 1'000}, 10'000, 20, kStart);
  EXPECT_EQ(plan.Ask(10'000, kStart + seconds(1)).now, 20u);
  plan.SetRateMax(100);
  EXPECT_EQ(plan.Ask(9'980, kStart + seconds(2)).now, 100u);
}

TEST(ShutPlanTest, AStallIsNotCaughtUpAtOnce) {
  ShutPlan plan({.rate = 10}, 10'000, net::kRateUnlimited, kStart);
  EXPECT_EQ(plan.Ask(10'000, kStart + minutes(5)).now, 10u);
}

TEST(ShutPlanTest, WithNeitherRateNorDeadlineNothingIsEnded) {
  ShutPlan plan({}, 100, net::kRateUnlimited, kStart);
  auto due = plan.Ask(100, kStart + minutes(60));
  EXPECT_EQ(due.now, 0u);
  EXPECT_EQ(due.next, net::Duration(0));
}

}  // namespace
}  // namespace lb
