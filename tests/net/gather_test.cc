#include "net/io/gather.h"

#include <gtest/gtest.h>

namespace net {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class GatherTest : public ::testing::Test {
 protected:
  // Turns for `time`, one every 40 us, each of which brings so many completions.
  void Run(Duration time, unsigned completions) {
    for (const Time end = clock_.Now() + time; clock_.Now() < end;) {
      clock_.Advance(microseconds(40));
      gather_.Count(clock_.Now(), completions);
      gathering_ += gather_.window() > Duration::zero() ? 1 : 0;
      ++turns_;
    }
  }
  bool on() const { return gather_.window() == Gather::kWindow; }

  ManualClock clock_;
  Gather gather_{clock_.Now()};
  int gathering_ = 0;
  int turns_ = 0;
};

TEST_F(GatherTest, DeliversAtOnceUntilMoreAreLikelyToCome) {
  EXPECT_EQ(gather_.window(), Duration::zero());
  Run(milliseconds(20), 1);  // 25,000 a second
  EXPECT_EQ(gathering_, 0);
}

TEST_F(GatherTest, GoesOnWhileTurnsBringSeveral) {
  Run(milliseconds(2), 8);
  EXPECT_TRUE(on());
  Run(milliseconds(100), 5);
  EXPECT_TRUE(on());
  Run(milliseconds(2), 3);
  EXPECT_FALSE(on());
}

TEST_F(GatherTest, BusyMostOfTheTimeItGathersLonger) {
  Run(milliseconds(4), 8);
  EXPECT_EQ(gather_.window(), Gather::kWindow);
  Run(milliseconds(1), 16);
  EXPECT_EQ(gather_.window(), Gather::kLongWindow);
  Run(milliseconds(20), 60);
  EXPECT_EQ(gather_.window(), Gather::kLongWindow);
  Run(milliseconds(4), 10);  // of five times the window: it is not that busy
  EXPECT_EQ(gather_.window(), Gather::kWindow);
  Run(milliseconds(4), 3);
  EXPECT_EQ(gather_.window(), Duration::zero());
}

TEST_F(GatherTest, WhereItDoesNotPayItIsTriedRarely) {
  Run(milliseconds(2'000), 3);  // 75,000 a second, but never more than three together
  EXPECT_GT(gathering_, 0);
  EXPECT_LT(gathering_, turns_ / 50);
}

TEST_F(GatherTest, AfterAnIdleTimeTheFirstCompletionsGoAtOnce) {
  Run(milliseconds(5), 8);
  ASSERT_TRUE(on());
  clock_.Advance(milliseconds(3));
  gather_.Count(clock_.Now(), 1);
  EXPECT_FALSE(on());
}

}  // namespace
}  // namespace net
