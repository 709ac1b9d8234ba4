#include "lb/balance/warmup.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/lb/start_time.h"

namespace lb {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(WarmupFormulaTest, HaproxyRampsInSixteenths) {
  auto at = [](int s) { return HaproxySlowstartFactor(seconds(s), seconds(160)) * 16; };
  EXPECT_EQ(at(0), 1);
  EXPECT_EQ(at(9), 1);
  EXPECT_EQ(at(10), 2);
  EXPECT_EQ(at(80), 9);
  EXPECT_EQ(at(149), 15);
  EXPECT_EQ(at(150), 16);
  EXPECT_EQ(at(1'000), 16);
}

TEST(WarmupFormulaTest, EnvoyRampsByTimeAndAggressionFromAMinimum) {
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(0), seconds(100), 1, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(5), seconds(100), 1, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(50), seconds(100), 1, 0.1), 0.5);
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(25), seconds(100), 2, 0.1), 0.5);
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(50), seconds(100), 0.5, 0.1), 0.25);
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(0), seconds(100), 1, 0), 1e-5);  // max(1 ms, t)
  EXPECT_DOUBLE_EQ(EnvoySlowStartFactor(seconds(100), seconds(100), 1, 0.1), 1);
}

TEST(WarmupAtTest, RateRisesLinearlyThenIsUnlimited) {
  WarmupConfig config;
  EXPECT_DOUBLE_EQ(WarmupAt(config, seconds(0)).rate, 10);
  EXPECT_DOUBLE_EQ(WarmupAt(config, seconds(30)).rate, 505);
  EXPECT_DOUBLE_EQ(WarmupAt(config, seconds(30)).share_cap, 1);
  EXPECT_DOUBLE_EQ(WarmupAt(config, seconds(30)).weight_factor, 1);
  WarmupStep end = WarmupAt(config, seconds(60));
  EXPECT_TRUE(end.done);
  EXPECT_EQ(end.rate, net::kRateUnlimited);
  EXPECT_EQ(end.share_cap, 0);
  config.aggression = 2;
  EXPECT_DOUBLE_EQ(WarmupAt(config, seconds(15)).rate, 505);
}

TEST(WarmupAtTest, OffIsDoneAtOnce) {
  WarmupConfig config;
  config.mode = WarmupMode::kOff;
  EXPECT_TRUE(WarmupAt(config, seconds(0)).done);
}

TEST(NodeWarmupTest, FirstSightingAfterTheBalancersStartIsWarm) {
  NodeWarmup warmup;
  EXPECT_FALSE(warmup.Observe(true, "1", kStart));
  EXPECT_FALSE(warmup.warming());
}

TEST(NodeWarmupTest, ReturnStartsTheClock) {
  NodeWarmup warmup;
  warmup.Observe(true, "", kStart);
  warmup.Observe(false, "", kStart + seconds(1));
  EXPECT_TRUE(warmup.Observe(true, "", kStart + seconds(5)));
  EXPECT_EQ(warmup.Elapsed(kStart + seconds(7)), seconds(2));
}

TEST(NodeWarmupTest, ANodeFirstSeenStartingWarmsUpWhenItRuns) {
  NodeWarmup warmup;
  EXPECT_FALSE(warmup.Observe(false, "1", kStart));
  EXPECT_TRUE(warmup.Observe(true, "1", kStart + seconds(1)));
}

TEST(NodeWarmupTest, AChangedIncarnationStartsTheClockThoughNeverSeenDown) {
  NodeWarmup warmup;
  warmup.Observe(true, "100", kStart);
  EXPECT_FALSE(warmup.Observe(true, "100", kStart + seconds(1)));
  EXPECT_TRUE(warmup.Observe(true, "101", kStart + seconds(2)));
  EXPECT_TRUE(warmup.warming());
  // The status API lost for a moment says nothing about a restart.
  EXPECT_FALSE(warmup.Observe(true, "", kStart + seconds(3)));
  EXPECT_FALSE(warmup.Observe(true, "101", kStart + seconds(4)));
}

TEST(NodeWarmupTest, EndsByItselfAfterItsDuration) {
  NodeWarmup warmup;
  WarmupConfig config;
  warmup.Start(kStart);
  EXPECT_FALSE(warmup.At(config, kStart + seconds(59)).done);
  EXPECT_TRUE(warmup.At(config, kStart + seconds(60)).done);
  EXPECT_FALSE(warmup.warming());
}

TEST(NodeWarmupTest, ClockSurvivesAReload) {
  NodeWarmup before;
  before.Observe(true, "7", kStart);
  before.Start(kStart);
  auto saved = before.Save(kStart + seconds(20));
  NodeWarmup after;
  net::Time other_clock{seconds(50'000)};
  after.Restore(saved, other_clock);
  EXPECT_EQ(after.Elapsed(other_clock + seconds(1)), seconds(21));
  EXPECT_FALSE(after.Observe(true, "7", other_clock + seconds(2)));  // no restart of the clock
  EXPECT_TRUE(after.Observe(true, "8", other_clock + seconds(3)));
}

AcceptWarmupConfig Elb() {
  AcceptWarmupConfig config;
  config.enabled = true;
  return config;
}

// Accepts all that is granted, asking every 10 ms; returns how many.
uint64_t Drive(AcceptBudget& budget, net::Time from, net::Duration length) {
  uint64_t accepted = 0;
  for (net::Duration t{0}; t < length; t += milliseconds(10)) {
    accepted += budget.Take(from + t, 1'000'000).accepts;
    if (t.count() % 1'000'000'000 == 0) budget.Tick(from + t);
  }
  return accepted;
}

TEST(AcceptBudgetTest, DisabledGrantsEverything) {
  AcceptBudget budget({}, kStart);
  EXPECT_EQ(budget.Take(kStart, 5'000).accepts, 5'000u);
  EXPECT_FALSE(budget.warming());
}

TEST(AcceptBudgetTest, BeginsAtTheInitialRate) {
  AcceptBudget budget(Elb(), kStart);
  EXPECT_NEAR(static_cast<double>(Drive(budget, kStart, seconds(10))), 10'000, 110);
}

TEST(AcceptBudgetTest, SaysWhenToAskAgain) {
  AcceptBudget budget(Elb(), kStart);
  EXPECT_EQ(budget.Take(kStart, 1'000).accepts, 100u);  // kBurst
  AcceptBudget::Grant grant = budget.Take(kStart, 1);
  EXPECT_EQ(grant.accepts, 0u);
  EXPECT_EQ(grant.next, milliseconds(1));
  EXPECT_EQ(budget.Take(kStart + grant.next, 5).accepts, 1u);
}

TEST(AcceptBudgetTest, GrowsByHalfEveryFiveMinutesOfUse) {
  AcceptBudget budget(Elb(), kStart);
  net::Time now = kStart;
  for (int s = 0; s < 301; ++s) {
    now += seconds(1);
    budget.Take(now, 1);
    budget.Tick(now);
  }
  EXPECT_NEAR(budget.rate(), 1'500, 1);
  for (int s = 0; s < 300; ++s) {
    now += seconds(1);
    budget.Take(now, 1);
    budget.Tick(now);
  }
  EXPECT_NEAR(budget.rate(), 2'250, 1);
}

TEST(AcceptBudgetTest, IdleTimeDoesNotWarm) {
  AcceptBudget budget(Elb(), kStart);
  for (int s = 0; s < 3'600; ++s) budget.Tick(kStart + seconds(s));
  EXPECT_NEAR(budget.rate(), 1'000, 1);
}

TEST(AcceptBudgetTest, PrewarmRaisesAtOnceAndNeverLowers) {
  AcceptBudget budget(Elb(), kStart);
  budget.Prewarm(20'000, kStart);
  EXPECT_NEAR(budget.rate(), 20'000, 1);
  EXPECT_NEAR(static_cast<double>(Drive(budget, kStart, seconds(5))), 100'000, 2'100);
  budget.Prewarm(500, kStart + seconds(6));
  EXPECT_NEAR(budget.rate(), 20'000, 1);
  budget.Prewarm(2e6, kStart + seconds(7));
  EXPECT_FALSE(budget.warming());
}

TEST(AcceptBudgetTest, WorkersShareOneRate) {
  AcceptBudget budget(Elb(), kStart);
  std::atomic<uint64_t> accepted{0};
  std::vector<std::jthread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([&] {
      for (int i = 0; i <= 1'000; ++i) {
        accepted += budget.Take(kStart + milliseconds(i), 3).accepts;
      }
    });
  }
  workers.clear();
  EXPECT_LE(accepted.load(), 1'101u);  // a second and the burst
  EXPECT_GE(accepted.load(), 900u);
}

}  // namespace
}  // namespace lb
