#include "bench/load/arrivals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace bench {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::vector<std::int64_t> All(Arrivals arrivals) {
  std::vector<std::int64_t> starts;
  while (const auto next = arrivals.Next()) starts.push_back(*next);
  return starts;
}

TEST(ParseProfile, ReadsStepsWithTheirUnits) {
  const auto steps = ParseProfile("500/s:10s,0.5/s:250ms");
  ASSERT_TRUE(steps.has_value());
  ASSERT_EQ(steps->size(), 2U);
  EXPECT_DOUBLE_EQ((*steps)[0].per_second, 500);
  EXPECT_EQ((*steps)[0].duration_ns, 10 * kSecondNs);
  EXPECT_DOUBLE_EQ((*steps)[1].per_second, 0.5);
  EXPECT_EQ((*steps)[1].duration_ns, kSecondNs / 4);
}

TEST(ParseProfile, NamesThePartThatIsWrong) {
  EXPECT_THAT(ParseProfile("500/s").error(), HasSubstr("has no duration"));
  EXPECT_THAT(ParseProfile("500:10s").error(), HasSubstr("must end in /s"));
  EXPECT_THAT(ParseProfile("-1/s:10s").error(), HasSubstr("rate must lie"));
  EXPECT_THAT(ParseProfile("nan/s:10s").error(), HasSubstr("rate must lie"));
  EXPECT_THAT(ParseProfile("1e9/s:10s").error(), HasSubstr("rate must lie"));
  EXPECT_THAT(ParseProfile("5/s:10").error(), HasSubstr("is no duration"));
  EXPECT_THAT(ParseProfile("5/s:1s,,5/s:1s").error(), HasSubstr("\"\""));
  EXPECT_FALSE(ParseProfile("").has_value());
}

TEST(ParseProfile, RefusesMoreStepsThanTheBound) {
  std::string text = "1/s:1s";
  for (std::size_t i = 1; i < kRateStepsMax; ++i) text += ",1/s:1s";
  EXPECT_TRUE(ParseProfile(text).has_value());
  EXPECT_THAT(ParseProfile(text + ",1/s:1s").error(), HasSubstr("at most 64"));
}

TEST(ParseDuration, TakesUnitsAndRefusesTheRest) {
  EXPECT_EQ(ParseDurationNs("1.5m"), 90 * kSecondNs);
  EXPECT_EQ(ParseDurationNs("20us"), 20'000);
  for (const char* wrong : {"", "s", "0s", "-1s", "1", "1d", "25h", "infs", "1 s"}) {
    EXPECT_FALSE(ParseDurationNs(wrong).has_value()) << wrong;
  }
}

TEST(Arrivals, ConstantOnesAreEvenlySpacedFromTheStart) {
  const auto starts = All(Arrivals({{10, kSecondNs}}, ArrivalKind::kConstant, 1));
  ASSERT_EQ(starts.size(), 10U);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(starts[i]), static_cast<double>(i) * 1e8, 2);
  }
}

TEST(Arrivals, EachStepHasItsOwnRate) {
  const auto starts =
      All(Arrivals({{100, kSecondNs}, {1000, 2 * kSecondNs}}, ArrivalKind::kConstant, 1));
  const auto in_first =
      std::count_if(starts.begin(), starts.end(), [](std::int64_t t) { return t < kSecondNs; });
  EXPECT_EQ(in_first, 100);
  EXPECT_EQ(starts.size(), 2100U);
  EXPECT_TRUE(std::is_sorted(starts.begin(), starts.end()));
  EXPECT_LT(starts.back(), 3 * kSecondNs);
}

TEST(Arrivals, PoissonHasTheMeanAndTheSpreadOfAPoissonProcess) {
  const auto starts = All(Arrivals({{10'000, 5 * kSecondNs}}, ArrivalKind::kPoisson, 7));
  EXPECT_NEAR(static_cast<double>(starts.size()), 50'000, 5 * std::sqrt(50'000.0));
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 1; i < starts.size(); ++i) {
    const auto gap = static_cast<double>(starts[i] - starts[i - 1]);
    ASSERT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
  }
  const auto n = static_cast<double>(starts.size() - 1);
  const double mean = sum / n;
  const double deviation = std::sqrt(squares / n - mean * mean);
  EXPECT_NEAR(mean, 1e5, 2e3);
  // Exponential gaps deviate by their mean; even ones would by nothing.
  EXPECT_NEAR(deviation / mean, 1.0, 0.05);
}

TEST(Arrivals, PoissonCarriesOverTheEdgeOfAStepWithoutAGap) {
  // Rates so low that most gaps span several steps: the expectation must survive.
  std::vector<RateStep> profile(60, RateStep{0.5, kSecondNs});
  std::size_t total = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    total += All(Arrivals(profile, ArrivalKind::kPoisson, seed)).size();
  }
  EXPECT_NEAR(static_cast<double>(total), 400 * 30, 5 * std::sqrt(400.0 * 30));
}

TEST(Arrivals, JitteredOnesLieSomewhereInTheirIntervals) {
  const auto starts = All(Arrivals({{1000, kSecondNs}}, ArrivalKind::kJittered, 5));
  ASSERT_EQ(starts.size(), 1000U);
  double offsets = 0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const double offset = static_cast<double>(starts[i]) / 1e6 - static_cast<double>(i);
    ASSERT_GE(offset, 0) << i;
    ASSERT_LT(offset, 1) << i;
    offsets += offset;
  }
  EXPECT_NEAR(offsets / 1000, 0.5, 0.05);
}

TEST(Arrivals, TheSameSeedGivesTheSameStorm) {
  const std::vector<RateStep> profile = {{200, kSecondNs}};
  EXPECT_EQ(All(Arrivals(profile, ArrivalKind::kPoisson, 3)),
            All(Arrivals(profile, ArrivalKind::kPoisson, 3)));
  EXPECT_NE(All(Arrivals(profile, ArrivalKind::kPoisson, 3)),
            All(Arrivals(profile, ArrivalKind::kPoisson, 4)));
}

}  // namespace
}  // namespace bench
