#include "server/program/drain_watch.h"

#include <gtest/gtest.h>

namespace server {
namespace {

using std::chrono::seconds;

constexpr net::Time At(int64_t s) { return net::Time(seconds(s)); }

TEST(DrainWatch, SessionsThatWereCutHaveAWhileToMove) {
  DrainWatch watch;
  watch.Begin();
  EXPECT_EQ(watch.Left({.connections = 2, .detached = 3}, At(100)), 2U);
  EXPECT_EQ(watch.Left({.connections = 0, .detached = 3}, At(101)), 3U);
  EXPECT_EQ(watch.Left({.connections = 0, .detached = 1}, At(110)), 1U);
  EXPECT_EQ(watch.Left({.connections = 0, .detached = 1}, At(111)), 0U);
  watch.Begin();  // said again; nobody came meanwhile
  EXPECT_EQ(watch.Left({.connections = 0, .detached = 1}, At(112)), 0U);
}

// Those of whom something does not come to rest are not waited for without end.
TEST(DrainWatch, HomesOfSessionsElsewhereHaveAWhileToMove) {
  DrainWatch watch;
  watch.Begin();
  EXPECT_EQ(watch.Left({.connections = 2, .guests = 5}, At(100)), 2U);
  EXPECT_EQ(watch.Left({.detached = 1, .guests = 5}, At(101)), 6U);
  EXPECT_EQ(watch.Left({.detached = 1, .guests = 4}, At(111)), 4U);
  EXPECT_EQ(watch.Left({.guests = 0}, At(112)), 0U);
  EXPECT_EQ(watch.Left({.guests = 4}, At(131)), 0U);
}

TEST(DrainWatch, WithoutAnotherNodeNobodyIsWaitedFor) {
  DrainWatch watch;
  watch.Begin();
  EXPECT_EQ(watch.Left({.detached = 3, .alone = true}, At(100)), 0U);
}

// A node that never drained, and is told to stop when its last client has just been lost.
TEST(DrainWatch, ANodeThatDoesNotDrainBeginsToWaitWhenItIsAsked) {
  DrainWatch watch;
  EXPECT_EQ(watch.Left({.detached = 0}, At(100)), 0U);
  EXPECT_EQ(watch.Left({.detached = 2}, At(500)), 2U);
  watch.Begin();
  EXPECT_EQ(watch.Left({.detached = 2}, At(501)), 2U);
  EXPECT_EQ(watch.Left({.detached = 2}, At(511)), 0U);
}

TEST(DrainWatch, TheNextDrainHasAWhileOfItsOwnThoughNobodyLookedBetween) {
  DrainWatch watch;
  watch.Begin();
  EXPECT_EQ(watch.Left({}, At(100)), 0U);
  watch.End();
  watch.Begin();
  EXPECT_EQ(watch.Left({.connections = 0, .detached = 4}, At(200)), 4U);
}

// Who is cut last needs time to come back as well.
TEST(DrainWatch, ADrainBeforeAStopLeavesTimeToComeBack) {
  EXPECT_EQ(DrainWatch::Pace(seconds(60), false), seconds(50));
  EXPECT_EQ(DrainWatch::Pace(seconds(12), false), seconds(6));
  EXPECT_EQ(DrainWatch::Pace(seconds(60), true), seconds(60));
}

}  // namespace
}  // namespace server
