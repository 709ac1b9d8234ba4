#include "net/gather.h"

#include <gtest/gtest.h>

namespace net {
namespace {

using std::chrono::microseconds;

class GatherTest : public ::testing::Test {
 protected:
  // Turns for `ms` milliseconds, one every 50 us, at this rate of completions.
  void Run(double rate, int ms) {
    for (int i = 0; i < ms * 20; ++i) {
      clock_.Advance(microseconds(50));
      owed_ += rate * 50e-6;
      const auto whole = static_cast<unsigned>(owed_);
      owed_ -= whole;
      gather_.Count(clock_.Now(), whole);
    }
  }

  ManualClock clock_;
  Gather gather_{clock_.Now()};
  double owed_ = 0;
};

TEST_F(GatherTest, DeliversAtOnceUntilMoreAreSureToCome) {
  EXPECT_EQ(gather_.window(), Duration::zero());
  Run(50'000, 20);
  EXPECT_EQ(gather_.window(), Duration::zero());
  Run(100'000, 20);
  EXPECT_EQ(gather_.window(), Gather::kWindow);
}

TEST_F(GatherTest, BetweenTheRatesItStaysAsItIs) {
  Run(70'000, 20);
  EXPECT_EQ(gather_.window(), Duration::zero());
  Run(100'000, 5);
  Run(70'000, 20);
  EXPECT_EQ(gather_.window(), Gather::kWindow);
  Run(40'000, 5);
  EXPECT_EQ(gather_.window(), Duration::zero());
}

TEST_F(GatherTest, AfterAnIdleTimeTheFirstCompletionsGoAtOnce) {
  Run(200'000, 5);
  ASSERT_EQ(gather_.window(), Gather::kWindow);
  clock_.Advance(std::chrono::milliseconds(3));
  gather_.Count(clock_.Now(), 1);
  EXPECT_EQ(gather_.window(), Duration::zero());
}

}  // namespace
}  // namespace net
