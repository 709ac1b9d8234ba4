#include "server/c2s/heaviest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "net/base/random.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

HeavySession Heavy(uint64_t bytes, uint64_t bound, bool detached = false) {
  return {.id = {.life = bound}, .bytes = bytes, .bound = bound, .detached = detached};
}

std::vector<uint64_t> Chosen(std::vector<HeavySession> sessions, uint64_t bytes) {
  std::vector<uint64_t> lives;
  for (const HeavySession& one : ChooseHeaviest(std::move(sessions), bytes)) {
    lives.push_back(one.id.life);
  }
  return lives;
}

TEST(ChooseHeaviest, TheHeaviestGoFirstAndNoMoreThanMust) {
  const std::vector<HeavySession> all = {Heavy(100'000, 1), Heavy(4'000'000, 2), Heavy(900'000, 3)};
  EXPECT_THAT(Chosen(all, 1), ElementsAre(2));
  EXPECT_THAT(Chosen(all, 4'000'000), ElementsAre(2));
  EXPECT_THAT(Chosen(all, 4'000'001), ElementsAre(2, 3));
  EXPECT_THAT(Chosen(all, 1 << 30), ElementsAre(2, 3, 1));
  EXPECT_THAT(Chosen(all, 0), IsEmpty());
}

TEST(ChooseHeaviest, OfTwoThatWaitWithMuchTheSameTheNewerGoes) {
  EXPECT_THAT(Chosen({Heavy(600'000, 1), Heavy(1'000'000, 2), Heavy(700'000, 3)}, 1),
              ElementsAre(3));
  EXPECT_THAT(Chosen({Heavy(600'000, 1), Heavy(1'000'000, 2), Heavy(700'000, 3)}, 1 << 30),
              ElementsAre(3, 2, 1));
}

TEST(ChooseHeaviest, WhoWaitsWithLittleStays) {
  EXPECT_THAT(Chosen({Heavy(kHeavyBytes - 1, 1), Heavy(kHeavyBytes, 2), Heavy(0, 3)}, 1 << 30),
              ElementsAre(2));
}

TEST(ChooseHeaviest, BehindThemThoseWithoutAConnectionTheOldestFirst) {
  EXPECT_THAT(
      Chosen({Heavy(500, 1, true), Heavy(20'000, 2), Heavy(90'000, 3, true), Heavy(2'000, 4, true)},
             1 << 30),
      ElementsAre(3, 2, 1, 4));
}

TEST(ChooseHeaviest, WithoutTheLastOfThemItIsNotEnough) {
  net::FastRandom random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<HeavySession> all;
    const uint32_t count = random.Below(60);
    for (uint32_t i = 0; i < count; ++i) {
      all.push_back(Heavy(random.Below(300'000), 1 + random.Below(1'000), random.Below(3) == 0));
    }
    const uint64_t bytes = random.Below(3'000'000);
    const auto chosen = ChooseHeaviest(all, bytes);
    uint64_t sum = 0;
    for (const HeavySession& one : chosen) {
      EXPECT_LT(sum, bytes);
      sum += one.bytes;
      EXPECT_TRUE(one.detached || one.bytes >= kHeavyBytes);
    }
    if (sum >= bytes) continue;
    // It was all that there was.
    const auto may = std::ranges::count_if(
        all, [](const auto& one) { return one.detached || one.bytes >= kHeavyBytes; });
    EXPECT_EQ(static_cast<ptrdiff_t>(chosen.size()), may);
  }
}

}  // namespace
}  // namespace server
