#include "lb/control/rollout_board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr net::Time kStart{seconds(1000)};

RolloutReport From(const std::string& leader, const std::string& text = "n1: draining") {
  return {.pool = "xmpp", .leader = leader, .text = text};
}

TEST(RolloutBoardTest, OneLeadsAPoolUntilItEndsOrFallsSilent) {
  RolloutBoard board;
  ASSERT_TRUE(board.Report(From("pid 1"), kStart));
  const auto second = board.Report(From("pid 2"), kStart + kRolloutSilence);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().why, AllOf(HasSubstr("led by pid 1"), HasSubstr("n1: draining"),
                                        HasSubstr("rollout abort xmpp")));
  EXPECT_TRUE(board.Report({.pool = "other", .leader = "pid 2"}, kStart));
  EXPECT_TRUE(board.Report(From("pid 2"), kStart + kRolloutSilence + seconds(1)));
  EXPECT_FALSE(board.Report(From("pid 1"), kStart + kRolloutSilence + seconds(2)));
  RolloutReport last = From("pid 2", "done");
  last.ended = true;
  ASSERT_TRUE(board.Report(last, kStart + kRolloutSilence + seconds(3)));
  EXPECT_TRUE(board.Report(From("pid 3"), kStart + kRolloutSilence + seconds(3)));
}

TEST(RolloutBoardTest, TheLeaderHearsWhatIsWanted) {
  RolloutBoard board;
  EXPECT_FALSE(board.Order("xmpp", RolloutOrderKind::kPause, kStart));
  ASSERT_TRUE(board.Report(From("pid 1"), kStart));
  ASSERT_TRUE(board.Order("xmpp", RolloutOrderKind::kPause, kStart));
  EXPECT_TRUE(board.Report(From("pid 1"), kStart)->paused);
  ASSERT_TRUE(board.Order("xmpp", RolloutOrderKind::kResume, kStart));
  EXPECT_FALSE(board.Report(From("pid 1"), kStart)->paused);
  EXPECT_EQ(board.Report(From("pid 1"), kStart)->resumes, 1U);
  ASSERT_TRUE(board.Order("xmpp", RolloutOrderKind::kAbort, kStart));
  EXPECT_TRUE(board.Report(From("pid 1"), kStart)->aborted);
  EXPECT_TRUE(board.Views(kStart).front().aborted);
}

TEST(RolloutBoardTest, AfterAnUpgradeItStaysPaused) {
  RolloutBoard board;  // the new process's
  RolloutReport report = From("pid 1");
  report.paused = true;
  report.resumes = 4;
  const auto wanted = board.Report(report, kStart);
  ASSERT_TRUE(wanted);
  EXPECT_TRUE(wanted->paused);
  EXPECT_EQ(wanted->resumes, 4U);
  ASSERT_TRUE(board.Order("xmpp", RolloutOrderKind::kResume, kStart));
  EXPECT_FALSE(board.Report(report, kStart)->paused) << "what is newer counts";
}

TEST(RolloutBoardTest, OrdersToOneThatHasLeftSaySo) {
  RolloutBoard board;
  ASSERT_TRUE(board.Report(From("pid 1"), kStart));
  const net::Time later = kStart + kRolloutSilence + seconds(1);
  EXPECT_TRUE(board.Views(later).front().lost);
  const Done resumed = board.Order("xmpp", RolloutOrderKind::kResume, later);
  ASSERT_FALSE(resumed);
  EXPECT_THAT(resumed.error().why, AllOf(HasSubstr("last heard 16s ago"), HasSubstr("`ready`")));
  const Done aborted = board.Order("xmpp", RolloutOrderKind::kAbort, later);
  ASSERT_TRUE(aborted);
  EXPECT_THAT(*aborted, HasSubstr("stay as they are"));
  EXPECT_TRUE(board.Views(later).empty());
}

TEST(RolloutBoardTest, WhatALeaderSaysIsBounded) {
  RolloutBoard board;
  ASSERT_TRUE(board.Report(From("pid 1", std::string(100'000, 'x')), kStart));
  EXPECT_EQ(board.Views(kStart).front().text.size(), kRolloutTextMax);
  board.Keep([](const std::string&) { return false; });
  EXPECT_TRUE(board.Views(kStart).empty());
}

}  // namespace
}  // namespace lb
