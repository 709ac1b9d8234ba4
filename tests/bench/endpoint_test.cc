#include "bench/load/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bench {
namespace {

using testing::HasSubstr;

TEST(ParseEndpoint, TakesBothFamiliesAndShowsThemTheSameWay) {
  EXPECT_EQ(ParseEndpoint("127.0.0.1:5222")->ToString(), "127.0.0.1:5222");
  EXPECT_EQ(ParseEndpoint("[::1]:5222")->ToString(), "[::1]:5222");
  EXPECT_EQ(ParseEndpoint("::1", false)->ToString(), "[::1]:0");
}

TEST(ParseEndpoint, SaysWhatIsWrong) {
  EXPECT_THAT(ParseEndpoint("127.0.0.1").error(), HasSubstr("has no port"));
  EXPECT_THAT(ParseEndpoint("[::1:5222").error(), HasSubstr("lacks a ]"));
  EXPECT_FALSE(ParseEndpoint("127.0.0.1:xmpp").has_value());
  EXPECT_FALSE(ParseEndpoint("127.0.0.256.1:1").has_value());
}

TEST(ParseSources, ExpandsARangeAcrossOctets) {
  const auto sources = ParseSources("127.0.0.254-127.0.1.1");
  ASSERT_TRUE(sources.has_value());
  ASSERT_EQ(sources->size(), 4U);
  EXPECT_EQ(sources->front().ToString(), "127.0.0.254:0");
  EXPECT_EQ(sources->back().ToString(), "127.0.1.1:0");
}

TEST(ParseSources, RefusesRangesThatFallOrAreTooLong) {
  EXPECT_THAT(ParseSources("127.0.0.2-127.0.0.1").error(), HasSubstr("a range rises"));
  EXPECT_THAT(ParseSources("127.0.0.0-127.0.1.0").error(), HasSubstr("at most 256"));
  EXPECT_THAT(ParseSources("127.0.0.1-x").error(), HasSubstr("no IPv4"));
}

}  // namespace
}  // namespace bench
