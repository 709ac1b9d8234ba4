#include "net/limit/source_table.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "net/base/random.h"
#include "tests/lb/start_time.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr net::HashKey kKey{1, 2};

net::SourceKey V4(uint32_t n) {
  std::array<uint8_t, 4> ip = {static_cast<uint8_t>(n >> 24), static_cast<uint8_t>(n >> 16),
                               static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
  return net::SourceKeyOf(net::Address::V4(ip, 40'000), 64);
}

net::SourceKey Key(const char* ip, uint8_t prefix, uint16_t port = 1) {
  return net::SourceKeyOf(*net::Address::FromIp(ip, port), prefix);
}

TEST(SourceKeyTest, Ipv6CountsByPrefix) {
  EXPECT_EQ(Key("2001:db8::1", 64, 1), Key("2001:db8::ffff:1", 64, 2));
  EXPECT_NE(Key("2001:db8:0:1::1", 64), Key("2001:db8:0:2::1", 64));
  EXPECT_EQ(Key("2001:db8::1", 63), Key("2001:db8:0:1::1", 63));
  EXPECT_EQ(Key("2001:db8:0:7::1", 56), Key("2001:db8:0:ff::1", 56));
  EXPECT_NE(Key("2001:db8::1", 128), Key("2001:db8::2", 128));
}

TEST(SourceKeyTest, Ipv4CountsWholeAndWithoutThePort) {
  EXPECT_EQ(Key("192.0.2.1", 64, 1), Key("192.0.2.1", 64, 2));
  EXPECT_NE(Key("192.0.2.1", 64), Key("192.0.2.2", 64));
  EXPECT_EQ(Key("::ffff:192.0.2.1", 64), Key("192.0.2.1", 64));
}

TEST(SourceTableTest, LimitsConnectionsOfASource) {
  net::SourceTable table({.connections_max = 3}, kKey);
  std::vector<net::SourceTable::Handle> handles;
  for (int i = 0; i < 3; ++i) {
    auto admission = table.Admit(V4(1), kStart);
    ASSERT_EQ(admission.verdict, net::SourceVerdict::kAdmitted);
    handles.push_back(admission.handle);
  }
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kTooMany);
  EXPECT_EQ(table.Admit(V4(2), kStart).verdict, net::SourceVerdict::kAdmitted);
  EXPECT_EQ(table.Held(V4(1)), 3u);
  table.Release(handles[1]);
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kAdmitted);
  EXPECT_EQ(table.counters().too_many, 1u);
}

TEST(SourceTableTest, WhoIsHeldCountsAndIsNotJudged) {
  net::SourceTable table({.entries_max = 64, .connections_max = 2, .rate = 1}, kKey);
  for (int i = 0; i < 4; ++i) table.Hold(V4(1), kStart);
  EXPECT_EQ(table.Held(V4(1)), 4U);
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kTooMany);
  EXPECT_EQ(table.Admit(V4(2), kStart).verdict, net::SourceVerdict::kAdmitted);
  for (int i = 0; i < 3; ++i) table.ReleaseSource(V4(1));
  // Nothing of its rate was used up.
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kAdmitted);
  EXPECT_EQ(table.Held(V4(1)), 2U);
}

TEST(SourceTableTest, LimitsTheRateOfASourceWithASecondsBurst) {
  net::SourceTable table({.rate = 10}, kKey);
  int admitted = 0;
  for (int i = 0; i < 100; ++i) {
    admitted += table.Admit(V4(1), kStart).verdict == net::SourceVerdict::kAdmitted;
  }
  EXPECT_EQ(admitted, 10);
  for (int ms = 1; ms <= 10'000; ++ms) {
    admitted +=
        table.Admit(V4(1), kStart + milliseconds(ms)).verdict == net::SourceVerdict::kAdmitted;
  }
  EXPECT_NEAR(admitted, 110, 1);
  EXPECT_EQ(table.counters().too_fast, 10'100u - static_cast<uint64_t>(admitted));
}

TEST(SourceTableTest, ASlowRateAdmitsOneAtATime) {
  net::SourceTable table({.rate = 1.0 / 60}, kKey);
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kAdmitted);
  EXPECT_EQ(table.Admit(V4(1), kStart + seconds(59)).verdict, net::SourceVerdict::kTooFast);
  EXPECT_EQ(table.Admit(V4(1), kStart + seconds(61)).verdict, net::SourceVerdict::kAdmitted);
}

TEST(SourceTableTest, RefusalsCostNothing) {
  net::SourceTable table({.connections_max = 1, .rate = 100}, kKey);
  auto first = table.Admit(V4(1), kStart);
  for (int i = 0; i < 1'000; ++i) table.Admit(V4(1), kStart);
  table.Release(first.handle);
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kAdmitted);
}

TEST(SourceTableTest, AFullTableAdmitsUntrackedAndCountsIt) {
  net::SourceTable table({.entries_max = 16, .connections_max = 1}, kKey);
  EXPECT_EQ(table.capacity(), 16u);
  std::vector<net::SourceTable::Handle> handles;
  for (uint32_t i = 0; i < 100; ++i) {
    auto admission = table.Admit(V4(i), kStart);
    ASSERT_EQ(admission.verdict, net::SourceVerdict::kAdmitted);
    handles.push_back(admission.handle);
  }
  EXPECT_EQ(table.counters().untracked, 84u);
  EXPECT_EQ(table.Admit(V4(99), kStart).handle, net::SourceTable::kUntracked);  // no limit for it
  for (auto handle : handles) table.Release(handle);
  for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(table.Held(V4(i)), 0u);
  EXPECT_NE(table.Admit(V4(500), kStart).handle, net::SourceTable::kUntracked);
}

TEST(SourceTableTest, IdleEntriesMakeRoomAndDebtorsOnlyWhenNothingElseIsFree) {
  net::SourceTable table({.entries_max = 16, .rate = 0.5}, kKey);
  for (uint32_t i = 0; i < 16; ++i) table.Release(table.Admit(V4(i), kStart).handle);
  table.Release(table.Admit(V4(100), kStart + milliseconds(1)).handle);
  EXPECT_EQ(table.counters().evicted, 1u);
  for (uint32_t i = 200; i < 216; ++i) {
    table.Release(table.Admit(V4(i), kStart + seconds(3)).handle);
  }
  EXPECT_EQ(table.counters().evicted, 1u);
  EXPECT_EQ(table.counters().untracked, 0u);
}

TEST(SourceTableTest, ThreeQuartersFullStillTracksEverybody) {
  net::SourceTable table({.entries_max = 4'096, .connections_max = 1}, kKey);
  for (uint32_t i = 0; i < 3'072; ++i) table.Admit(V4(i * 7'919), kStart);
  EXPECT_EQ(table.counters().untracked, 0u);
  for (uint32_t i = 0; i < 3'072; ++i) {
    ASSERT_EQ(table.Admit(V4(i * 7'919), kStart).verdict, net::SourceVerdict::kTooMany) << i;
  }
}

TEST(SourceTableTest, AgreesWithAMapUnderRandomUse) {
  net::SourceTable table({.entries_max = 8'192, .connections_max = 4}, kKey);
  std::map<uint32_t, std::vector<net::SourceTable::Handle>> model;
  net::FastRandom random(9);
  for (int step = 0; step < 200'000; ++step) {
    uint32_t source = random.Below(1'000);
    auto& held = model[source];
    if (random.Below(2) == 0 && !held.empty()) {
      table.Release(held.back());
      held.pop_back();
    } else {
      auto admission = table.Admit(V4(source), kStart);
      bool expected = held.size() < 4;
      ASSERT_EQ(admission.verdict == net::SourceVerdict::kAdmitted, expected);
      if (expected) held.push_back(admission.handle);
    }
    ASSERT_EQ(table.Held(V4(source)), held.size());
  }
  EXPECT_EQ(table.counters().untracked, 0u);
}

TEST(SourceTableTest, NewLimitsKeepTheCounts) {
  net::SourceTable table({.connections_max = 10}, kKey);
  for (int i = 0; i < 5; ++i) table.Admit(V4(1), kStart);
  table.SetLimits(5, 0);
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kTooMany);
  table.SetLimits(0, 0);
  EXPECT_EQ(table.Admit(V4(1), kStart).verdict, net::SourceVerdict::kAdmitted);
}

}  // namespace
}  // namespace lb
