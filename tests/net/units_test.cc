#include "net/base/units.h"

#include <gtest/gtest.h>

namespace net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(UnitsTest, ReadsLengthsOfTimeWithTheirUnit) {
  EXPECT_EQ(ParseDuration("30s"), seconds(30));
  EXPECT_EQ(ParseDuration("1.5h"), minutes(90));
  EXPECT_EQ(ParseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(ParseDuration("2d"), hours(48));
  EXPECT_EQ(ParseDuration("0"), Duration(0));
}

TEST(UnitsTest, ALengthOfTimeNeedsItsUnitAndMayNotBeNegative) {
  for (const char* text : {"", "30", "s", "-5s", "5 s", "5sec", "99999999999d", "1.2.3s"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(UnitsTest, ReadsRatesAsEventsASecond) {
  EXPECT_EQ(ParseRate("50/s"), 50);
  EXPECT_EQ(ParseRate("30/m"), 0.5);
  EXPECT_EQ(ParseRate("0"), 0);
  for (const char* text : {"", "50", "/s", "-1/s", "50/x", "inf/s", "nan/s"}) {
    EXPECT_EQ(ParseRate(text), std::nullopt) << text;
  }
}

TEST(UnitsTest, ReadsSizes) {
  EXPECT_EQ(ParseBytes("4096"), 4096);
  EXPECT_EQ(ParseBytes("64KiB"), 65'536);
  EXPECT_EQ(ParseBytes("64KB"), std::nullopt);
}

TEST(UnitsTest, WritesTheLargestUnitThatDivides) {
  EXPECT_EQ(DurationText(seconds(90)), "90s");
  EXPECT_EQ(DurationText(minutes(120)), "2h");
  EXPECT_EQ(BytesText(65'536), "64KiB");
  EXPECT_EQ(BytesText(100), "100");
  EXPECT_EQ(RateText(50), "50/s");
}

}  // namespace
}  // namespace net
