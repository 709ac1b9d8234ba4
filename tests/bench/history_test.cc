#include "bench/load/xmpp/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace bench {
namespace {

using testing::ElementsAre;

constexpr std::int64_t kSecond = 1'000'000'000;

// `count` messages from each lane's sender, all counted and received in order.
History Played(std::size_t lanes, std::uint64_t count) {
  History history(lanes);
  for (std::uint64_t i = 0; i < count; ++i) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const std::uint64_t number = history.Sent(lane, 0);
      history.Counted(lane, number);
      EXPECT_EQ(history.Received(lane, number, 1), 0);
    }
  }
  return history;
}

TEST(HistoryTest, WhatWentWellIsFaultless) {
  History history = Played(3, 100);
  const History::Verdict verdict = history.Judge();
  EXPECT_TRUE(verdict.Faultless());
  EXPECT_TRUE(history.Settled());
  EXPECT_EQ(verdict.sent, 300U);
  EXPECT_EQ(verdict.counted, 300U);
  EXPECT_EQ(verdict.received, 300U);
  EXPECT_EQ(verdict.uncounted, 0U);
}

// --- the faults, each planted
// ---------------------------------------------------------------------

TEST(HistoryTest, OneThatWasCountedAndNeverCameIsLost) {
  History history = Played(3, 100);
  history.Counted(1, history.Sent(1, 0));
  EXPECT_FALSE(history.Settled());
  EXPECT_EQ(history.Judge().lost, 1U);
  EXPECT_THAT(history.Judge().examples, ElementsAre("lane 1 message 101: lost"));
}

TEST(HistoryTest, OneThatComesTwiceIsDoubled) {
  History history = Played(3, 100);
  EXPECT_EQ(history.Received(2, 50, 2), -1);
  const History::Verdict verdict = history.Judge();
  EXPECT_EQ(verdict.doubled, 1U);
  EXPECT_EQ(verdict.received, 300U) << "it is one message";
  EXPECT_THAT(verdict.examples, ElementsAre("lane 2 message 50: doubled"));
}

TEST(HistoryTest, OneThatComesBehindALaterOneIsSwapped) {
  History history(1);
  for (int i = 0; i < 3; ++i) history.Counted(0, history.Sent(0, 0));
  history.Received(0, 1, 1);
  history.Received(0, 3, 1);
  history.Received(0, 2, 1);
  EXPECT_EQ(history.Judge().swapped, 1U);
  EXPECT_FALSE(history.Judge().Faultless());
}

TEST(HistoryTest, OneThatComesAndGoesBackIsAFaultEitherWayRound) {
  History history(1);
  for (int i = 0; i < 2; ++i) history.Counted(0, history.Sent(0, 0));
  history.Received(0, 1, 1);
  history.Returned(0, 1);
  history.Returned(0, 2);
  history.Received(0, 2, 1);
  EXPECT_EQ(history.Judge().both, 2U);
}

TEST(HistoryTest, WhatWasNeverSentOrComesBackTwiceIsInvented) {
  History history(1);
  history.Counted(0, history.Sent(0, 0));
  EXPECT_EQ(history.Received(0, 2, 1), -1);
  EXPECT_EQ(history.Received(0, 0, 1), -1);
  EXPECT_EQ(history.Received(7, 1, 1), -1);
  history.Returned(0, 1);
  history.Returned(0, 1);
  EXPECT_EQ(history.Judge().invented, 4U);
}

TEST(HistoryTest, WhereNodesDieOneMayComeTwiceOrLateAndNoneMayBeLost) {
  History history(1);
  const std::uint64_t first = history.Sent(0, 0);
  const std::uint64_t second = history.Sent(0, 0);
  for (const std::uint64_t number : {first, second}) history.Counted(0, number);
  EXPECT_FALSE(history.Judge().Faultless(true));
  for (const std::uint64_t number : {second, first, first}) history.Received(0, number, 1);
  EXPECT_EQ(history.Judge().doubled, 1U);
  EXPECT_EQ(history.Judge().swapped, 1U);
  EXPECT_FALSE(history.Judge().Faultless());
  EXPECT_TRUE(history.Judge().Faultless(true));
}

// --- what is no fault
// -----------------------------------------------------------------------------

TEST(HistoryTest, ACountedOneMayGoBackInstead) {
  History history(1);
  const std::uint64_t number = history.Sent(0, 0);
  history.Returned(0, number);
  history.Counted(0, number);
  EXPECT_TRUE(history.Settled());
  EXPECT_TRUE(history.Judge().Faultless());
  EXPECT_EQ(history.Judge().returned, 1U);
}

TEST(HistoryTest, WhoIsNotToldMayHaveLostIt) {
  History history(1);
  history.Sent(0, 0);
  const std::uint64_t second = history.Sent(0, 0);
  history.Received(0, second, 1);
  EXPECT_TRUE(history.Settled());
  EXPECT_TRUE(history.Judge().Faultless());
  EXPECT_EQ(history.Judge().uncounted, 2U);
}

TEST(HistoryTest, WhatALostStreamHadNotAcknowledgedMayComeOnceMore) {
  History history = Played(1, 3);
  history.StreamLost(0, kSecond);
  for (const std::uint64_t number : {1U, 2U, 3U}) history.Received(0, number, 2 * kSecond);
  EXPECT_TRUE(history.Judge().Faultless());
  EXPECT_EQ(history.Judge().repeated, 3U);
  history.Received(0, 3, 2 * kSecond);
  EXPECT_EQ(history.Judge().doubled, 1U) << "once more, not twice";
}

TEST(HistoryTest, WhatWasAcknowledgedInTimeMayNotComeAgain) {
  History history = Played(1, 2);
  history.Acknowledged(0, kSecond);
  history.Received(0, history.Sent(0, 0), kSecond);
  history.Acknowledged(0, kSecond + History::kAckGraceNs);
  history.StreamLost(0, kSecond + History::kAckGraceNs + 1);
  history.Received(0, 3, 9 * kSecond);
  EXPECT_TRUE(history.Judge().Faultless()) << "its acknowledgement may have been lost";
  history.Received(0, 1, 9 * kSecond);
  history.Received(0, 2, 9 * kSecond);
  EXPECT_EQ(history.Judge().doubled, 2U);
}

// Whatever is planted into a long history is found, and nothing else is.
TEST(HistoryTest, PlantedFaultsAreFoundInLongHistories) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    History history(4);
    std::uint64_t lost = 0;
    std::uint64_t doubled = 0;
    std::uint64_t swapped = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::size_t lane = random() % 4;
      const std::uint64_t number = history.Sent(lane, i);
      history.Counted(lane, number);
      switch (random() % 100) {
        case 0:
          ++lost;
          continue;
        case 1:
          ++doubled;
          history.Received(lane, number, i);
          break;
        case 2: {
          ++swapped;
          const std::uint64_t next = history.Sent(lane, i);
          history.Counted(lane, next);
          history.Received(lane, next, i);
          break;
        }
        default:
          break;
      }
      history.Received(lane, number, i);
    }
    const History::Verdict verdict = history.Judge();
    EXPECT_EQ(verdict.lost, lost) << "seed " << seed;
    EXPECT_EQ(verdict.doubled, doubled) << "seed " << seed;
    EXPECT_EQ(verdict.swapped, swapped) << "seed " << seed;
    EXPECT_EQ(verdict.both + verdict.invented + verdict.repeated, 0U);
    EXPECT_EQ(history.Settled(), lost == 0);
  }
}

}  // namespace
}  // namespace bench
