#include "dns/answer/rrl.h"

#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::Ip;
using test::QueryBuilder;
using test::World;

struct Tally {
  int sent = 0, slipped = 0, dropped = 0;
};

Tally Flood(RateLimiter& limiter, const char* address, uint64_t response, int count, uint64_t ms) {
  Tally tally;
  for (int i = 0; i < count; ++i) {
    switch (limiter.Check(Ip(address), response, ms)) {
      case RateVerdict::kSend:
        ++tally.sent;
        break;
      case RateVerdict::kSlip:
        ++tally.slipped;
        break;
      case RateVerdict::kDrop:
        ++tally.dropped;
        break;
    }
  }
  return tally;
}

TEST(RateLimiterTest, SendsTheRateThenSlipsEverySecondAndDropsTheRest) {
  RateLimiter limiter({.per_second = 200, .slip = 2}, 1);
  Tally tally = Flood(limiter, "192.0.2.1", 5, 1000, 10'000);
  EXPECT_EQ(tally.sent, 200);
  EXPECT_EQ(tally.slipped, 400);
  EXPECT_EQ(tally.dropped, 400);
  tally = Flood(limiter, "192.0.2.1", 5, 1000, 10'500);  // half a second later
  EXPECT_EQ(tally.sent, 100);
}

TEST(RateLimiterTest, NetworksAndResponsesAreCountedApart) {
  RateLimiter limiter({.per_second = 100, .slip = 0}, 1);
  EXPECT_EQ(Flood(limiter, "192.0.2.1", 5, 500, 1).sent, 100);
  EXPECT_EQ(Flood(limiter, "192.0.2.200", 5, 500, 1).sent, 0);  // the same /24
  EXPECT_EQ(Flood(limiter, "192.0.3.1", 5, 500, 1).sent, 100);
  EXPECT_EQ(Flood(limiter, "192.0.2.1", 6, 500, 1).sent, 100);
  EXPECT_EQ(Flood(limiter, "2001:db8:0:ff::1", 5, 500, 1).sent, 100);
  EXPECT_EQ(Flood(limiter, "2001:db8:0:1::1", 5, 500, 1).sent, 0);  // the same /56
}

TEST(RateLimiterTest, ZeroIsNoLimitAndExemptNetworksHaveNone) {
  RateLimiter off({.per_second = 0}, 1);
  EXPECT_EQ(Flood(off, "192.0.2.1", 5, 5000, 1).sent, 5000);
  RateLimiter limiter({.per_second = 10, .exempt = {*net::Cidr::Parse("192.0.2.0/24")}}, 1);
  EXPECT_EQ(Flood(limiter, "192.0.2.1", 5, 5000, 1).sent, 5000);
}

TEST(RateLimiterTest, AFullTableForgetsTheOldestAndStaysCorrect) {
  RateLimiter limiter({.per_second = 10, .slip = 0, .table_entries = 64}, 1);
  for (int i = 0; i < 10'000; ++i) {
    limiter.Check(net::Address::V4({10, uint8_t(i >> 8), uint8_t(i), 1}, 0), 5, uint64_t(i));
  }
  EXPECT_EQ(Flood(limiter, "192.0.2.1", 5, 100, 20'000).sent, 10);
}

class RrlResponderTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.config.rate_limit = {.per_second = 100, .slip = 2};
    world_.config.cookie_secrets = {{7}};
    world_.AddZone("example.org.", test::kZoneText);
    world_.Build();
  }
  World world_;
};

TEST_F(RrlResponderTest, SlipSetsTcWithoutRecords) {
  int full = 0, truncated = 0, silent = 0;
  for (int i = 0; i < 1000; ++i) {
    Bytes answer = world_.Ask(QueryBuilder{}.Build());
    if (answer.empty()) {
      ++silent;
      continue;
    }
    auto response = test::ReadResponse(answer);
    if (response.tc()) {
      EXPECT_TRUE(response.records.empty());
      ++truncated;
    } else {
      ++full;
    }
  }
  EXPECT_EQ(full, 100);
  EXPECT_EQ(truncated, 450);
  EXPECT_EQ(silent, 450);
  EXPECT_EQ(world_.responder->counters().rrl_dropped.Get(), 450u);
  EXPECT_EQ(world_.responder->counters().rrl_slipped.Get(), 450u);
}

TEST_F(RrlResponderTest, EverNewNamesOfOneZoneCountAsOneDenial) {
  int answered = 0;
  for (int i = 0; i < 500; ++i) {
    QueryBuilder query{.name = "x" + std::to_string(i) + ".example.org."};
    Bytes answer = world_.Ask(query.Build());
    if (!answer.empty() && !test::ReadResponse(answer).tc()) ++answered;
  }
  EXPECT_EQ(answered, 100);
}

TEST_F(RrlResponderTest, AValidCookieIsExemptAndATcpClientToo) {
  Bytes client(8, 3);
  Bytes full = world_.AskFor(QueryBuilder{.edns = true, .options = {{10, client}}}).Find(10)->data;
  for (int i = 0; i < 1000; ++i) world_.Ask(QueryBuilder{}.Build());
  for (int i = 0; i < 500; ++i) {
    auto response = world_.AskFor(QueryBuilder{.edns = true, .options = {{10, full}}});
    ASSERT_EQ(response.Section(1).size(), 3u);
    ASSERT_EQ(world_.AskFor(QueryBuilder{}, Transport::kTcp).Section(1).size(), 3u);
  }
  // A client that has none yet is told BADCOOKIE with a good one, instead of TC.
  int bad_cookie = 0;
  for (int i = 0; i < 10; ++i) {
    Bytes answer = world_.Ask(QueryBuilder{.edns = true, .options = {{10, client}}}.Build());
    if (!answer.empty() && test::ReadResponse(answer).rcode == 23) ++bad_cookie;
  }
  EXPECT_EQ(bad_cookie, 5);
}

TEST_F(RrlResponderTest, MalformedQueriesAreLimitedToo) {
  Bytes packet = QueryBuilder{}.Build();
  packet.push_back(0);
  int answered = 0;
  for (int i = 0; i < 500; ++i) answered += world_.Ask(packet).empty() ? 0 : 1;
  EXPECT_EQ(answered, 100);
}

TEST(RateLimitWatchTest, BeginAndEndAreSaidOnceEach) {
  using Event = RateLimitWatch::Event;
  RateLimitWatch watch;
  EXPECT_EQ(watch.Step(0, 0), Event::kNone);
  EXPECT_EQ(watch.Step(5, 1000), Event::kBegan);
  EXPECT_EQ(watch.Step(9, 2000), Event::kNone);
  EXPECT_EQ(watch.Step(9, 61'000), Event::kNone);
  EXPECT_EQ(watch.Step(10, 61'500), Event::kNone);  // and again
  EXPECT_EQ(watch.Step(10, 121'499), Event::kNone);
  EXPECT_EQ(watch.Step(10, 121'500), Event::kEnded);
  EXPECT_EQ(watch.count(), 10u);
  EXPECT_EQ(watch.Step(10, 500'000), Event::kNone);
  EXPECT_EQ(watch.Step(12, 501'000), Event::kBegan);
  EXPECT_EQ(watch.count(), 2u);
}

TEST(RateLimiterTest, AProvidersResolversPassTheDefault) {
  RateLimiter limiter({}, 1);
  // 786 queries a second for one name from one /24, for ten seconds.
  for (int i = 0; i < 7860; ++i) {
    auto client = test::Ip("192.0.2." + std::to_string(1 + i % 200));
    ASSERT_EQ(limiter.Check(client, 42, static_cast<uint64_t>(i) * 10'000 / 7860),
              RateVerdict::kSend);
  }
}

}  // namespace
}  // namespace dns
