#include "bench/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace bench {
namespace {

TEST(Histogram, EmptyHasNoValues) {
  const Histogram histogram;
  EXPECT_EQ(histogram.Count(), 0U);
  EXPECT_EQ(histogram.Quantile(0.99), 0);
  EXPECT_EQ(histogram.Max(), 0);
}

TEST(Histogram, EveryValueLiesInItsBucketAndBucketsAreContiguous) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t value = random() >> (random() % 64);
    const std::size_t index = Histogram::IndexOf(value);
    ASSERT_LE(value, Histogram::UpperEdge(index));
    if (index > 0) {
      ASSERT_GT(value, Histogram::UpperEdge(index - 1));
    }
  }
  EXPECT_EQ(Histogram::IndexOf(UINT64_MAX), Histogram::kBuckets - 1);
  EXPECT_EQ(Histogram::UpperEdge(Histogram::kBuckets - 1), UINT64_MAX);
}

TEST(Histogram, QuantilesAreAtMostOneBucketAboveTheExactOnes) {
  std::mt19937_64 random(2);
  std::lognormal_distribution<double> latency(13, 2);
  Histogram histogram;
  std::vector<std::int64_t> exact;
  for (int i = 0; i < 50'000; ++i) {
    exact.push_back(static_cast<std::int64_t>(latency(random)));
    histogram.Record(exact.back());
  }
  std::sort(exact.begin(), exact.end());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<std::size_t>(std::ceil(q * 50'000)) - 1;
    const auto truth = static_cast<double>(exact[rank]);
    EXPECT_GE(static_cast<double>(histogram.Quantile(q)), truth) << q;
    EXPECT_LE(static_cast<double>(histogram.Quantile(q)), truth * 1.016 + 1) << q;
  }
  EXPECT_EQ(histogram.Quantile(1), exact.back());
  EXPECT_EQ(histogram.Min(), exact.front());
}

TEST(Histogram, MergedHasTheQuantilesOfTheUnionNotTheirMean) {
  Histogram fast;
  Histogram slow;
  for (int i = 0; i < 99; ++i) fast.Record(10);
  slow.Record(1'000'000);
  fast.Merge(slow);
  EXPECT_EQ(fast.Count(), 100U);
  EXPECT_EQ(fast.Quantile(0.5), 10);
  EXPECT_EQ(fast.Quantile(0.99), 10);
  EXPECT_EQ(fast.Quantile(1), 1'000'000);
  EXPECT_EQ(fast.Min(), 10);
}

TEST(Histogram, NegativeDifferencesOfClocksCountAsZero) {
  Histogram histogram;
  histogram.Record(-5);
  EXPECT_EQ(histogram.Quantile(1), 0);
  EXPECT_EQ(histogram.Count(), 1U);
}

}  // namespace
}  // namespace bench
