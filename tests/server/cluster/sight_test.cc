#include "server/cluster/sight.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/base/random.h"

namespace server {
namespace {

// All see all, but for the pairs given ("02": 0 does not see 2).
SightMatrix AllBut(size_t count, const std::vector<std::string>& pairs) {
  SightMatrix matrix{.count = count};
  for (size_t i = 0; i < count; ++i) matrix.sees[i] = (MemberMask{1} << count) - 1;
  for (const std::string& pair : pairs) {
    matrix.sees[static_cast<size_t>(pair[0] - '0')] &= ~MaskOf(static_cast<size_t>(pair[1] - '0'));
  }
  return matrix;
}

TEST(Sight, OneWayIsNotSeeing) {
  const SightMatrix mutual = AllBut(2, {"01"}).Mutual();
  EXPECT_EQ(SideOf(mutual, 0), 0b01U);
  EXPECT_EQ(SideOf(mutual, 1), 0b10U);
}

TEST(Sight, OfAPairThatIsCutTheGreaterNameGoes) {
  const SightMatrix mutual = AllBut(4, {"13"}).Mutual();
  EXPECT_EQ(SideOf(mutual, 0), 0b0111U);
  EXPECT_EQ(SideOf(mutual, 1), 0b0111U);
  EXPECT_EQ(SideOf(mutual, 3), 0b1000U);
}

TEST(Sight, TheWorstConnectedGoesFirst) {
  // 0 reaches 2 alone; 1, 2 and 3 reach each other.
  const SightMatrix mutual = AllBut(4, {"01", "03"}).Mutual();
  EXPECT_EQ(SideOf(mutual, 2), 0b1110U);
  EXPECT_EQ(SideOf(mutual, 0), 0b0001U);
}

TEST(Sight, WhoWentFormsASideByTheSameRule) {
  // Two pairs that meet in node 2 only.
  const SightMatrix mutual = AllBut(5, {"03", "04", "13", "14"}).Mutual();
  EXPECT_EQ(SideOf(mutual, 0), 0b00111U);
  EXPECT_EQ(SideOf(mutual, 3), 0b11000U);
  EXPECT_EQ(SideOf(mutual, 4), 0b11000U);
}

TEST(Sight, SidesArePartsOfTheWholeInWhichAllSeeEachOther) {
  net::FastRandom random(3);
  for (int round = 0; round < 20'000; ++round) {
    const size_t count = 2 + random.Below(9);
    SightMatrix matrix{.count = count};
    for (size_t i = 0; i < count; ++i) matrix.sees[i] = random.Next() | random.Next();
    const SightMatrix mutual = matrix.Mutual();
    size_t winners = 0;
    for (size_t a = 0; a < count; ++a) {
      const MemberMask side = SideOf(mutual, a);
      ASSERT_NE(side & MaskOf(a), 0U);
      ASSERT_EQ(side >> count, 0U);
      for (size_t b = 0; b < count; ++b) {
        if ((side & MaskOf(b)) == 0) continue;
        ASSERT_EQ(SideOf(mutual, b), side) << "all of a side agree on it";
        ASSERT_EQ(side & ~mutual.sees[b], 0U) << "all of a side see each other";
      }
      const bool first = static_cast<size_t>(std::countr_zero(side)) == a;
      if (first && StaysIn(side, (MemberMask{1} << count) - 1)) ++winners;
    }
    ASSERT_LE(winners, 1U);
  }
}

TEST(Sight, TheMajorityStaysInAndOfTwoHalvesTheOneWithTheLowestName) {
  EXPECT_TRUE(StaysIn(0b011, 0b111));
  EXPECT_FALSE(StaysIn(0b100, 0b111));
  EXPECT_TRUE(StaysIn(0b0101, 0b1111));
  EXPECT_FALSE(StaysIn(0b1010, 0b1111));
  EXPECT_FALSE(StaysIn(0b0001, 0b1111));
}

TEST(Sight, WhoStoppedOrIsAbsentDoesNotCount) {
  EXPECT_FALSE(StaysIn(0b100, 0b110));
  EXPECT_TRUE(StaysIn(0b100, 0b100));
}

}  // namespace
}  // namespace server
