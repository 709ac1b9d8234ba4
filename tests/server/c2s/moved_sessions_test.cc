#include "server/c2s/moved_sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/c2s/ticket_book.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SessionId At(uint16_t node, uint64_t life) { return {.worker = 1, .node = node, .life = life}; }

TEST(LeftSessionsTest, WhatIsSettledGoesAfterItOnceAndNothingIsKeptBehindTheLast) {
  LeftSessions left;
  EXPECT_FALSE(left.Add(At(0, 1), At(2, 9), {}, {2}));
  EXPECT_EQ(left.size(), 0U) << "nothing of it is under way";
  EXPECT_FALSE(left.Add(At(0, 1), At(2, 9), {4, 6}, {2}));
  EXPECT_EQ(left.Settle(At(0, 1), 6), At(2, 9));
  EXPECT_FALSE(left.Settle(At(0, 1), 6)) << "twice";
  EXPECT_FALSE(left.Settle(At(0, 1), 5)) << "it was settled before";
  EXPECT_FALSE(left.Settle(At(0, 2), 4));
  EXPECT_EQ(left.Settle(At(0, 1), 4), At(2, 9));
  EXPECT_EQ(left.size(), 0U);
}

TEST(LeftSessionsTest, WhoIsForgottenForWantOfRoomIsNamed) {
  LeftSessions left;
  for (uint64_t i = 0; i < LeftSessions::kMax; ++i) {
    ASSERT_FALSE(left.Add(At(0, i + 1), At(2, i + 1), {1}, {2}));
  }
  left.Settle(At(0, 1), 1);
  EXPECT_FALSE(left.Add(At(0, 50'000), At(2, 50'000), {1}, {2})) << "there is room again";
  EXPECT_EQ(left.Add(At(0, 50'001), At(2, 50'001), {1}, {2}), At(2, 2))
      << "the oldest that is owed";
  EXPECT_TRUE(left.NodeDown(2).empty()) << "they went with it";
  EXPECT_EQ(left.size(), 0U);
}

// By that node it was to be heard: a session elsewhere would wait for it in vain.
TEST(LeftSessionsTest, WhoWaitsElsewhereForWhatANodeTellsIsToldWhenItGoes) {
  LeftSessions left;
  left.Add(At(0, 1), At(2, 1), {1}, {2, 4});
  left.Add(At(0, 2), At(3, 2), {1}, {2});
  left.Add(At(0, 3), At(3, 3), {}, {2});
  left.Add(At(0, 4), At(3, 4), {1}, {4, 2});
  left.Add(At(0, 5), At(3, 5), {1}, {4});
  left.Add(At(0, 6), At(3, 6), {1}, {});
  EXPECT_EQ(left.Next(At(0, 2)), At(3, 2));
  EXPECT_EQ(left.NodeDown(2), (std::vector{At(3, 2), At(3, 4)}));
  EXPECT_FALSE(left.Next(At(0, 1)));
  EXPECT_EQ(left.Settle(At(0, 2), 1), At(3, 2)) << "what comes all the same";
  EXPECT_FALSE(left.Next(At(0, 2)));
}

// The word of that came from another worker, behind the session.
TEST(LeftSessionsTest, ByWhichNodeItIsToldMayComeToBeKnownLate) {
  LeftSessions left;
  left.Add(At(0, 1), At(3, 1), {1}, {2});
  EXPECT_EQ(left.Owe(At(0, 1), 4), At(3, 1));
  EXPECT_FALSE(left.Owe(At(0, 2), 4)) << "nothing of it is under way";
  EXPECT_EQ(left.NodeDown(4), std::vector{At(3, 1)});
}

class MoveOrderTest : public ::testing::Test {
 protected:
  void Say(const SessionId& session, const std::string& word) {
    order.Run(session, [this, word] { said.push_back(word); });
  }
  MoveOrder order;
  std::vector<std::string> said;
};

TEST_F(MoveOrderTest, WhatComesFromTheNewPlaceWaitsForTheLastOfTheOld) {
  order.Moved(At(1, 1), At(2, 2));
  Say(At(2, 2), "three");
  Say(At(1, 1), "one");
  Say(At(1, 1), "two");
  EXPECT_THAT(said, ElementsAre("one", "two"));
  order.Ended(At(1, 1));
  Say(At(2, 2), "four");
  EXPECT_THAT(said, ElementsAre("one", "two", "three", "four"));
  EXPECT_EQ(order.size(), 0U);
}

TEST_F(MoveOrderTest, OverSeveralMovesEachWaitsForTheOneBefore) {
  order.Moved(At(1, 1), At(2, 2));
  order.Moved(At(2, 2), At(3, 3));
  Say(At(3, 3), "three");
  order.Run(At(2, 2), [this] {
    said.push_back("two");
    order.Ended(At(2, 2));
  });
  EXPECT_THAT(said, IsEmpty());
  order.Ended(At(1, 1));
  EXPECT_THAT(said, ElementsAre("two", "three"));
}

TEST_F(MoveOrderTest, OrderGivesWayAboveTheBound) {
  order.Moved(At(1, 1), At(2, 2));
  for (size_t i = 0; i < MoveOrder::kHeldMax; ++i) Say(At(2, 2), "x");
  EXPECT_THAT(said, IsEmpty());
  Say(At(2, 2), "last");
  EXPECT_EQ(said.size(), MoveOrder::kHeldMax + 1);
  order.Ended(At(1, 1));
  EXPECT_EQ(order.size(), 0U);
}

TEST(TicketBookTest, FollowsSessionsAndEndsWithThem) {
  TicketBook book;
  for (const uint64_t ticket : {5U, 3U, 4U}) book.Add(ticket, At(1, 1));
  book.Add(7, At(2, 2));
  book.Move(At(1, 1), At(2, 3));
  EXPECT_EQ(book.Take(4), At(2, 3));
  EXPECT_FALSE(book.Take(4));
  EXPECT_THAT(book.TakeAll(At(1, 1)), IsEmpty());
  EXPECT_THAT(book.TakeAll(At(2, 3)), ElementsAre(3, 5));
  EXPECT_THAT(book.TakeNode(2), ElementsAre(std::pair(uint64_t{7}, At(2, 2))));
  EXPECT_EQ(book.size(), 0U);
}

}  // namespace
}  // namespace server
