#include "bench/load/xmpp/room_log.h"

#include <gtest/gtest.h>

namespace bench {
namespace {

constexpr std::uint64_t kFirst = 1000;

class RoomLogTest : public testing::Test {
 protected:
  // How it is with the copy: "" not awaited, "more", "last".
  std::string Came(std::size_t occupant, std::uint64_t number, std::size_t speaker = 0) {
    const auto copy = log_.Came(occupant, speaker, number);
    if (!copy) return "";
    return copy->last ? "last" : "more";
  }

  RoomLog log_{2, 3, kFirst};  // speakers, occupants
};

TEST_F(RoomLogTest, AMessageEndsWithItsLastCopy) {
  EXPECT_EQ(log_.Said(0, 7), kFirst);
  EXPECT_EQ(Came(0, kFirst), "more");
  EXPECT_EQ(Came(2, kFirst), "more");
  EXPECT_EQ(log_.UnderWay(0), 1U);
  const auto copy = log_.Came(1, 0, kFirst);
  ASSERT_TRUE(copy);
  EXPECT_TRUE(copy->last);
  EXPECT_EQ(copy->intended_ns, 7);
  EXPECT_EQ(log_.UnderWay(0), 0U);
  EXPECT_EQ(log_.Faults(), CopyFaults{});
}

TEST_F(RoomLogTest, SpeakersHaveOrdersOfTheirOwn) {
  log_.Said(0, 0);
  log_.Said(1, 0);
  // One hears the first speaker first, the other the second.
  EXPECT_EQ(Came(0, kFirst, 0), "more");
  EXPECT_EQ(Came(0, kFirst, 1), "more");
  EXPECT_EQ(Came(1, kFirst, 1), "more");
  EXPECT_EQ(Came(1, kFirst, 0), "more");
  EXPECT_EQ(Came(2, kFirst, 1), "last");
  EXPECT_EQ(Came(2, kFirst, 0), "last");
  EXPECT_EQ(log_.Faults(), CopyFaults{});
}

TEST_F(RoomLogTest, ALaterMessageMayBeCompleteBeforeAnEarlierOne) {
  log_.Said(0, 0);
  log_.Said(0, 0);
  for (std::size_t occupant : {0U, 1U}) {
    EXPECT_EQ(Came(occupant, kFirst), "more");
    EXPECT_EQ(Came(occupant, kFirst + 1), "more");
  }
  EXPECT_EQ(Came(2, kFirst + 1), "last");  // over the first one's head
  EXPECT_EQ(log_.UnderWay(0), 1U);
  EXPECT_EQ(Came(2, kFirst), "last");
  EXPECT_EQ(log_.UnderWay(0), 0U);
  EXPECT_EQ(log_.Faults(), (CopyFaults{.swapped = 1}));
}

TEST_F(RoomLogTest, ASecondCopyIsNoDelivery) {
  log_.Said(0, 0);
  EXPECT_EQ(Came(0, kFirst), "more");
  EXPECT_EQ(Came(0, kFirst), "");
  EXPECT_EQ(Came(1, kFirst), "more");
  EXPECT_EQ(Came(2, kFirst), "last");
  EXPECT_EQ(Came(2, kFirst), "") << "of one that all have";
  EXPECT_EQ(log_.Faults(), (CopyFaults{.doubled = 2}));
}

TEST_F(RoomLogTest, WhatDoesNotComeIsLostOnce) {
  log_.Said(0, 10);
  log_.Said(0, 20);
  Came(0, kFirst);
  for (std::size_t occupant = 0; occupant < 3; ++occupant) Came(occupant, kFirst + 1);
  EXPECT_EQ(log_.GiveUp(0, 10), 0U) << "it is not older";
  EXPECT_EQ(log_.GiveUp(0, 11), 1U);
  EXPECT_EQ(log_.UnderWay(0), 0U);
  EXPECT_EQ(log_.Faults(), (CopyFaults{.lost = 2}));
  EXPECT_EQ(log_.GiveUp(0, 100), 0U) << "all have the second";
  EXPECT_EQ(Came(1, kFirst), "") << "too late";
  EXPECT_EQ(log_.Faults(), (CopyFaults{.lost = 2, .swapped = 1}));
}

TEST_F(RoomLogTest, WhatIsNotOfThisRunIsNoMatter) {
  log_.Said(0, 0);
  EXPECT_EQ(Came(0, kFirst - 1), "") << "of an earlier run";
  EXPECT_EQ(Came(0, kFirst + 1), "") << "said by nobody";
  EXPECT_EQ(Came(0, kFirst, 2), "") << "no such speaker";
  EXPECT_EQ(Came(3, kFirst), "") << "no such occupant";
  EXPECT_EQ(log_.Faults(), CopyFaults{});
}

}  // namespace
}  // namespace bench
