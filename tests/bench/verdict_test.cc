#include "bench/load/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RunHealth Healthy() {
  RunHealth health;
  health.open_loop = true;
  health.seconds = 10;
  health.cpu_ns = 5'000'000'000;
  health.pacing_lag_p99_ns = 100'000;
  health.offered = 1000;
  health.started = 1000;
  health.attempted = 1000;
  return health;
}

TEST(Judge, BelievesAHealthyRun) { EXPECT_THAT(Judge(Healthy(), {}), IsEmpty()); }

TEST(Judge, RefusesAnOpenLoopThatLagsBehindItsPace) {
  RunHealth health = Healthy();
  health.pacing_lag_p99_ns = 20'000'000;
  EXPECT_THAT(Judge(health, {}), ElementsAre(HasSubstr("pacing lagged: p99 20.0 ms")));
}

TEST(Judge, RefusesASaturatedGeneratorInAnOpenLoopOnly) {
  RunHealth health = Healthy();
  health.cpu_ns = 6'000'000'000;
  health.runqueue_ns = 3'500'000'000;
  EXPECT_THAT(Judge(health, {}), ElementsAre(HasSubstr("95 % busy")));
  health.open_loop = false;
  EXPECT_THAT(Judge(health, {}), IsEmpty());
}

TEST(Judge, RefusesARunThatDidNotStartWhatItOffered) {
  RunHealth health = Healthy();
  health.started = 900;
  EXPECT_THAT(Judge(health, {}), ElementsAre(HasSubstr("only 90.0 %")));
}

TEST(Judge, RefusesFailuresAndEmptyRunsInBothLoops) {
  RunHealth health = Healthy();
  health.open_loop = false;
  health.failed = 10;
  EXPECT_THAT(Judge(health, {}), ElementsAre(HasSubstr("1.00 % of the operations failed")));
  health.failed = 0;
  health.attempted = 0;
  EXPECT_THAT(Judge(health, {}), ElementsAre("nothing was attempted"));
}

TEST(Judge, RefusesResumptionThatSilentlyWasNone) {
  RunHealth health = Healthy();
  health.resumption_wanted = true;
  health.handshakes = 1000;
  health.resumed = 999;
  EXPECT_THAT(Judge(health, {}), ElementsAre("only 999 of 1000 handshakes were resumed"));
  health.resumed = 1000;
  EXPECT_THAT(Judge(health, {}), IsEmpty());
}

TEST(Compare, KnowsWhichDirectionIsWorse) {
  const std::vector<Measure> before = {{"cpu", Better::kLower, 100},
                                       {"rate", Better::kHigher, 100}};
  const auto slower =
      Compare(before, {{"cpu", Better::kLower, 106}, {"rate", Better::kHigher, 94}}, 0.05);
  EXPECT_EQ(slower[0].change, Change::kRegressed);
  EXPECT_EQ(slower[1].change, Change::kRegressed);
  EXPECT_TRUE(HasRegression(slower));
  const auto faster =
      Compare(before, {{"cpu", Better::kLower, 90}, {"rate", Better::kHigher, 110}}, 0.05);
  EXPECT_EQ(faster[0].change, Change::kImproved);
  EXPECT_EQ(faster[1].change, Change::kImproved);
  EXPECT_FALSE(HasRegression(faster));
  EXPECT_DOUBLE_EQ(faster[0].ratio, 0.9);
}

TEST(Compare, LetsNoiseWithinTheTolerancePass) {
  const std::vector<Measure> before = {{"cpu", Better::kLower, 100}};
  EXPECT_EQ(Compare(before, {{"cpu", Better::kLower, 105}}, 0.05)[0].change, Change::kSame);
  EXPECT_EQ(Compare(before, {{"cpu", Better::kLower, 100.5}}, 0.0)[0].change, Change::kRegressed);
}

TEST(Compare, AMeasureThatIsGoneIsARegression) {
  const auto result = Compare({{"cpu", Better::kLower, 1}}, {{"other", Better::kLower, 1}}, 0.5);
  ASSERT_EQ(result.size(), 1U);
  EXPECT_EQ(result[0].change, Change::kMissing);
  EXPECT_TRUE(HasRegression(result));
}

TEST(Compare, FirstFailuresAfterNoneAreARegression) {
  const auto result =
      Compare({{"failed", Better::kLower, 0}}, {{"failed", Better::kLower, 1}}, 0.5);
  EXPECT_TRUE(HasRegression(result));
  EXPECT_DOUBLE_EQ(result[0].ratio, 0);
}

}  // namespace
}  // namespace bench
