#include "net/report/histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <vector>

namespace net {
namespace {

using ::testing::HasSubstr;

TEST(Histogram, AnEmptyOneAnswersZero) {
  Histogram h;
  EXPECT_EQ(h.count(), 0U);
  EXPECT_EQ(h.min(), 0);
  EXPECT_EQ(h.max(), 0);
  EXPECT_EQ(h.Mean(), 0);
  EXPECT_EQ(h.Percentile(99), 0);
  EXPECT_EQ(h.CountAtMost(Histogram::kValueMax), 0U);
}

TEST(Histogram, BucketsCoverEveryValueWithoutGapAndWithinTheirPrecision) {
  EXPECT_EQ(Histogram::LowestOf(0), 0);
  EXPECT_EQ(Histogram::HighestOf(Histogram::kBuckets - 1), Histogram::kValueMax);
  for (size_t i = 0; i < Histogram::kBuckets; ++i) {
    int64_t low = Histogram::LowestOf(i);
    int64_t high = Histogram::HighestOf(i);
    ASSERT_LE(low, high);
    ASSERT_EQ(Histogram::BucketOf(low), i);
    ASSERT_EQ(Histogram::BucketOf(high), i);
    if (low > 0) {
      ASSERT_LE(static_cast<double>(high - low), static_cast<double>(low) / 64);
    }
  }
}

TEST(Histogram, PercentilesOfRandomValuesAreWithinOnePercent) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> latency(15, 2);  // around 3 ms, with a long tail
  Histogram h;
  std::vector<int64_t> values;
  for (int i = 0; i < 50'000; ++i) {
    auto value = static_cast<int64_t>(latency(random));
    values.push_back(value);
    h.Record(value);
  }
  std::ranges::sort(values);
  for (double percent : {1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    auto rank = static_cast<size_t>(std::ceil(percent / 100 * 50'000));
    auto truth = static_cast<double>(values[rank - 1]);
    EXPECT_NEAR(static_cast<double>(h.Percentile(percent)), truth, truth * 0.008) << percent;
  }
  EXPECT_EQ(h.Percentile(100), values.back());
  EXPECT_EQ(h.max(), values.back());
  EXPECT_EQ(h.min(), values.front());
  EXPECT_EQ(h.count(), 50'000U);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (int64_t v = 1; v <= 60; ++v) h.Record(v);
  EXPECT_EQ(h.Percentile(50), 30);
  EXPECT_EQ(h.CountAtMost(10), 10U);
  EXPECT_DOUBLE_EQ(h.Mean(), 30.5);
}

TEST(Histogram, ASingleValueIsEveryPercentile) {
  Histogram h;
  h.Record(1'000'003, 5);
  EXPECT_EQ(h.Percentile(0), 1'000'003);
  EXPECT_EQ(h.Percentile(50), 1'000'003);
  EXPECT_EQ(h.count(), 5U);
}

TEST(Histogram, ValuesOutsideTheRangeAreClampedAndCounted) {
  Histogram h;
  h.Record(-5);
  h.Record(INT64_MAX);
  EXPECT_EQ(h.min(), 0);
  EXPECT_EQ(h.max(), Histogram::kValueMax);
  EXPECT_EQ(h.clamped(), 1U);
  EXPECT_EQ(h.count(), 2U);
}

TEST(Histogram, MergingIsTheSameAsRecordingEverythingInOne) {
  std::mt19937_64 random(2);
  std::uniform_int_distribution<int64_t> value(0, Histogram::kValueMax);
  Histogram a;
  Histogram b;
  Histogram both;
  for (int i = 0; i < 1'000; ++i) {
    int64_t v = value(random) >> (i % 40);
    (i % 3 == 0 ? a : b).Record(v);
    both.Record(v);
  }
  a.Merge(b);
  a.Merge(Histogram());
  EXPECT_EQ(a.ToJson("ns"), both.ToJson("ns"));
}

TEST(Histogram, CopiesAreIndependent) {
  Histogram a;
  a.Record(5);
  Histogram b = a;
  b.Record(6);
  EXPECT_EQ(a.count(), 1U);
  EXPECT_EQ(b.count(), 2U);
  a = b;
  EXPECT_EQ(a.ToJson("ns"), b.ToJson("ns"));
  a.Reset();
  EXPECT_EQ(a.ToJson("ns"), Histogram().ToJson("ns"));
}

TEST(Histogram, JsonGoesThereAndBack) {
  Histogram h;
  for (int64_t v : {3, 3, 1000, 123'456'789}) h.Record(v);
  h.Record(INT64_MAX);
  std::string json = h.ToJson("ns");
  auto back = Histogram::FromJson(json, "ns");
  ASSERT_TRUE(back) << back.error();
  EXPECT_EQ(back->ToJson("ns"), json);
  EXPECT_EQ(back->Percentile(50), h.Percentile(50));
  EXPECT_TRUE(Histogram::FromJson(Histogram().ToJson("us"), "us"));
  EXPECT_TRUE(nlohmann::json::accept(json));
}

TEST(Histogram, EachDamageToTheJsonIsNamed) {
  Histogram h;
  h.Record(3, 2);
  h.Record(1000);
  const std::string good = h.ToJson("ns");
  ASSERT_TRUE(Histogram::FromJson(good, "ns"));
  auto damaged = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    auto result = Histogram::FromJson(text, "ns");
    return result ? "accepted" : result.error();
  };
  EXPECT_EQ(damaged("{", "["), "is not a JSON object");
  EXPECT_EQ(damaged("\"version\":1", "\"version\":2"), "\"version\" is not 1");
  EXPECT_EQ(damaged("\"unit\":\"ns\"", "\"unit\":\"us\""), "\"unit\" is not 'ns'");
  EXPECT_EQ(damaged("\"precision_bits\":6", "\"precision_bits\":7"), "\"precision_bits\" is not 6");
  EXPECT_EQ(damaged("\"count\":3", "\"count\":4"), "\"count\" is not the sum of the buckets");
  EXPECT_EQ(damaged("\"count\":3", "\"count\":-3"), "\"count\" is missing or not a whole number");
  EXPECT_THAT(damaged("[3,2]", "[3,0]"), HasSubstr("out of order or out of range"));
  EXPECT_THAT(damaged("[3,2]", "[9999,2]"), HasSubstr("out of order or out of range"));
  EXPECT_THAT(damaged("[3,2]", "[3,2],[3,2]"), HasSubstr("out of order or out of range"));
  EXPECT_THAT(damaged("[3,2]", "[3,18446744073709551615]"), HasSubstr("out of range"));
  EXPECT_THAT(damaged("[3,2]", "[3]"), HasSubstr("other than [index,count]"));
  EXPECT_THAT(damaged("\"min\":3", "\"min\":4"), HasSubstr("in no bucket"));
  EXPECT_THAT(damaged("\"max\":1000", "\"max\":5000"), HasSubstr("in no bucket"));
  EXPECT_THAT(damaged("\"clamped\":0", "\"clamped\":9"), HasSubstr("out of range"));
  EXPECT_EQ(Histogram::FromJson(std::string(1 << 20, ' '), "ns").error(), "is too long");
}

TEST(Histogram, AnotherThreadMayReadWhileOneRecords) {
  Histogram h;
  std::atomic<bool> done{false};
  std::jthread writer([&] {
    for (int i = 0; i < 200'000; ++i) h.Record(i);
    done.store(true);
  });
  uint64_t last = 0;
  while (!done.load()) {
    uint64_t seen = h.CountAtMost(Histogram::kValueMax);
    ASSERT_GE(seen, last);
    last = seen;
    Histogram copy = h;
    ASSERT_LE(copy.Percentile(50), 200'000);
    ASSERT_TRUE(Histogram::FromJson(h.ToJson("ns"), "ns"));
  }
  writer.join();
  EXPECT_EQ(h.count(), 200'000U);
}

}  // namespace
}  // namespace net
