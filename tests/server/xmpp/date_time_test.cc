#include "server/xmpp/date_time.h"

#include <gtest/gtest.h>

#include <string>

namespace server {
namespace {

TEST(DateTime, WrittenInUtc) {
  EXPECT_EQ(DateTimeText(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(DateTimeText(1'700'000'000'000'000), "2023-11-14T22:13:20Z");
  EXPECT_EQ(DateTimeText(1'700'000'000'000'250), "2023-11-14T22:13:20.000250Z");
  EXPECT_EQ(DateTimeText(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(DateTimeText(INT64_MIN), "0001-01-01T00:00:00Z");
  EXPECT_EQ(DateTimeText(INT64_MAX), "9999-12-31T23:59:59.999999Z");
}

TEST(DateTime, ReadsWhatItWrites) {
  for (const int64_t time : {int64_t{0}, int64_t{-1}, int64_t{1'700'000'000'123'456},
                             int64_t{951'782'400'000'000}, int64_t{253'402'300'799'999'999}}) {
    EXPECT_EQ(ParseDateTime(DateTimeText(time)), time);
  }
}

TEST(DateTime, OffsetsAndFractions) {
  EXPECT_EQ(ParseDateTime("1970-01-01T02:30:00+02:30"), 0);
  EXPECT_EQ(ParseDateTime("1969-12-31T19:00:00-05:00"), 0);
  EXPECT_EQ(ParseDateTime("1970-01-01T00:00:00.5Z"), 500'000);
  EXPECT_EQ(ParseDateTime("1970-01-01T00:00:00.123456789Z"), 123'456);
  EXPECT_EQ(ParseDateTime("1970-01-01T00:00:60Z"), 60'000'000);  // a leap second
  EXPECT_EQ(ParseDateTime("2024-02-29T00:00:00Z").has_value(), true);
}

TEST(DateTime, WhatIsNoneIsRefused) {
  for (const char* bad :
       {"", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-13-01T00:00:00Z",
        "1970-00-01T00:00:00Z", "2023-02-29T00:00:00Z", "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z", "1970-01-01T00:00:61Z", "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00+00:60", "1970-01-01T00:00:00z",
        "1970-01-01T00:00:00Z ", "-970-01-01T00:00:00Z", "19700101T00:00:00",
        "1970-01-01T00:00:00Z'; DROP TABLE archive"}) {
    EXPECT_FALSE(ParseDateTime(bad)) << bad;
  }
  EXPECT_FALSE(ParseDateTime("1970-01-01T00:00:00." + std::string(10'000'000, '1')));
}

}  // namespace
}  // namespace server
