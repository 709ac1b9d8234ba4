#include "server/program/memory_keeper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "net/base/random.h"

namespace server {
namespace {

using Said = MemoryOrders::Said;
using std::chrono::milliseconds;
using std::chrono::seconds;

class MemoryKeeperTest : public ::testing::Test {
 protected:
  // `resident` of a bound of 1,000, and the same of what sessions hold.
  MemoryOrders Look(uint64_t resident, net::Duration later = milliseconds(20),
                    uint64_t sheddable = 1'000, uint64_t settling = 0) {
    now_ += later;
    const MemoryOrders orders = keeper_.Look({.now = now_,
                                              .resident = resident,
                                              .group = std::nullopt,
                                              .sheddable = sheddable,
                                              .settling = settling});
    if (orders.shed > 0) keeper_.Shed(orders.shed);
    return orders;
  }
  // It stays so for as long: what was ordered meanwhile.
  uint64_t ShedWithin(net::Duration time, uint64_t resident, uint64_t sheddable = 1'000) {
    uint64_t sum = 0;
    for (net::Duration passed{}; passed < time; passed += milliseconds(20)) {
      sum += Look(resident, milliseconds(20), sheddable).shed;
    }
    return sum;
  }
  MemoryPressure pressure() const { return keeper_.pressure(); }

  net::Time now_{std::chrono::hours(1)};
  MemoryKeeper keeper_{{.process = 1'000}};
};

TEST_F(MemoryKeeperTest, BelowTheHighMarkNothingIsDone) {
  const MemoryOrders orders = Look(899);
  EXPECT_FALSE(orders.trim || orders.ease || orders.shed > 0);
  EXPECT_EQ(pressure(), MemoryPressure::kEnough);
}

TEST_F(MemoryKeeperTest, WhatIsIdleGoesFirstAndIsGivenItsTime) {
  const MemoryOrders first = Look(920);
  EXPECT_TRUE(first.trim);
  EXPECT_TRUE(first.ease);
  EXPECT_EQ(first.shed, 0U);
  EXPECT_EQ(ShedWithin(milliseconds(200), 920), 0U);
  EXPECT_EQ(pressure(), MemoryPressure::kEnough) << "nobody is refused for it";
  // It was enough: nobody hears of it.
  EXPECT_EQ(Look(880).said, Said::kNothing);
  EXPECT_EQ(ShedWithin(seconds(5), 880), 0U);
  EXPECT_EQ(pressure(), MemoryPressure::kEnough);
}

TEST_F(MemoryKeeperTest, WhereThatIsNotEnoughSessionsGoOnce) {
  EXPECT_EQ(ShedWithin(milliseconds(500), 920), 140U) << "below the low mark";
  EXPECT_EQ(pressure(), MemoryPressure::kShort);
  // They have gone; the allocator has it still, for as long as two seconds.
  EXPECT_EQ(ShedWithin(seconds(2), 920), 0U);
  EXPECT_EQ(Look(800).said, Said::kNothing);
  EXPECT_EQ(ShedWithin(seconds(5), 800), 0U);
  EXPECT_EQ(pressure(), MemoryPressure::kShort) << "not to and fro";
  EXPECT_EQ(Look(799).said, Said::kEnds);
  EXPECT_EQ(pressure(), MemoryPressure::kEnough);
}

// What was freed and does not come back (a heap in pieces) is not made up for by who is left.
TEST_F(MemoryKeeperTest, BelowTheHighMarkItTakesItsTimeAndOnlyWhereSessionsHoldIt) {
  EXPECT_EQ(ShedWithin(milliseconds(500), 920), 140U);
  EXPECT_EQ(ShedWithin(seconds(9), 880), 0U);
  EXPECT_EQ(ShedWithin(seconds(60), 880, 40), 0U) << "it is not with them";
  EXPECT_EQ(pressure(), MemoryPressure::kShort);
  EXPECT_EQ(ShedWithin(seconds(9), 880, 700), 100U) << "it is";
}

TEST_F(MemoryKeeperTest, WhatComesMeanwhileIsShedAsWell) {
  EXPECT_EQ(ShedWithin(milliseconds(500), 920), 140U);
  EXPECT_EQ(Look(950).shed, 30U);
  EXPECT_EQ(ShedWithin(seconds(2), 950), 0U);
}

TEST_F(MemoryKeeperTest, WhatWaitsForTheStoreIsOnItsWayOut) {
  EXPECT_EQ(ShedWithin(milliseconds(500), 920), 140U);
  uint64_t sum = 0;
  for (int i = 0; i < 400; ++i) sum += Look(920, milliseconds(20), 1'000, 140).shed;
  EXPECT_EQ(sum, 0U) << "eight seconds";
  for (int i = 0; i < 400; ++i) sum += Look(920, milliseconds(20), 1'000, 140).shed;
  EXPECT_GT(sum, 0U) << "a store that stands still is no excuse";
}

TEST_F(MemoryKeeperTest, WhatDidNotComeBackIsAskedForAgain) {
  EXPECT_EQ(ShedWithin(milliseconds(500), 920), 140U);
  EXPECT_EQ(ShedWithin(seconds(4), 920), 140U);
}

TEST_F(MemoryKeeperTest, NobodyWhoHasNothingIsEnded) {
  EXPECT_EQ(ShedWithin(seconds(30), 950, 5), 0U);
  EXPECT_EQ(pressure(), MemoryPressure::kShort) << "but nobody new comes";
  EXPECT_EQ(ShedWithin(milliseconds(800), 950, 20), 20U) << "no more than there is";
}

TEST_F(MemoryKeeperTest, WithoutAnyLeftItDoesNotWait) {
  Look(980);
  EXPECT_EQ(pressure(), MemoryPressure::kFull);
  EXPECT_EQ(Look(980).shed, 200U);
  Look(950);
  EXPECT_EQ(pressure(), MemoryPressure::kFull) << "not to and fro";
  Look(930);
  EXPECT_EQ(pressure(), MemoryPressure::kShort);
}

TEST_F(MemoryKeeperTest, AboveTheBoundNothingIsTaken) {
  Look(1'099);
  EXPECT_EQ(pressure(), MemoryPressure::kFull);
  Look(1'100);
  EXPECT_EQ(pressure(), MemoryPressure::kOut);
  Look(1'050);
  EXPECT_EQ(pressure(), MemoryPressure::kOut) << "not to and fro";
  Look(1'049);
  EXPECT_EQ(pressure(), MemoryPressure::kFull);
  Look(1'200);
  Look(930);
  EXPECT_EQ(pressure(), MemoryPressure::kShort);
}

TEST_F(MemoryKeeperTest, TheAllocatorIsAskedOnceASecondAndWhatIsIdleEveryFive) {
  int trims = 0;
  int eases = 0;
  for (int i = 0; i < 500; ++i) {
    const MemoryOrders orders = Look(950, milliseconds(20), 0);
    trims += orders.trim ? 1 : 0;
    eases += orders.ease ? 1 : 0;
  }
  EXPECT_EQ(trims, 10);
  EXPECT_EQ(eases, 2);
}

TEST_F(MemoryKeeperTest, ItSaysWhenItBeginsAndEndsAndOnceAMinute) {
  int said = 0;
  for (int i = 0; i < 25; ++i) said += Look(920).said == Said::kBegins ? 1 : 0;
  EXPECT_EQ(said, 1);
  int minutes = 0;
  for (int i = 0; i < 190; ++i) {
    const Said now = Look(920, seconds(1), 0).said;
    EXPECT_TRUE(now == Said::kNothing || now == Said::kGoesOn);
    minutes += now == Said::kGoesOn ? 1 : 0;
  }
  EXPECT_EQ(minutes, 3);
  EXPECT_EQ(Look(700).said, Said::kEnds);
  EXPECT_EQ(Look(700, seconds(100)).said, Said::kNothing);
}

TEST_F(MemoryKeeperTest, WhatCannotBeReadChangesNothing) {
  ShedWithin(milliseconds(500), 920);
  const MemoryOrders orders = keeper_.Look({.now = now_ + seconds(9), .sheddable = 1'000});
  EXPECT_EQ(orders.said, Said::kNothing);
  EXPECT_EQ(orders.shed, 0U);
  EXPECT_EQ(pressure(), MemoryPressure::kShort);
  MemoryKeeper unbound(MemoryBounds{});
  EXPECT_EQ(unbound.Look({.now = now_, .resident = 1'000'000}).shed, 0U);
  EXPECT_EQ(unbound.pressure(), MemoryPressure::kEnough);
}

TEST(MemoryKeeperOfAGroup, TheWorseOfTheTwoCounts) {
  MemoryKeeper keeper({.process = 1'000, .group = 2'000});
  const net::Time now{std::chrono::hours(1)};
  keeper.Look({.now = now, .resident = 100, .group = 1'960, .sheddable = 900});
  EXPECT_EQ(keeper.pressure(), MemoryPressure::kFull);
  const auto orders = keeper.Look(
      {.now = now + milliseconds(20), .resident = 100, .group = 1'960, .sheddable = 900});
  EXPECT_EQ(orders.shed, 400U);
}

// What is under way becomes several times as much: it counts before it has.
TEST(MemoryKeeperOfAGroup, WhatIsUnderWayHasABoundOfItsOwn) {
  MemoryKeeper keeper({.process = 10'000, .messages = 1'000});
  net::Time now{std::chrono::hours(1)};
  const auto look = [&](uint64_t messages) {
    now += milliseconds(20);
    return keeper.Look({.now = now, .resident = 100, .messages = messages, .sheddable = 5'000});
  };
  EXPECT_EQ(look(899).shed, 0U);
  EXPECT_EQ(keeper.pressure(), MemoryPressure::kEnough);
  look(1'000);
  EXPECT_EQ(keeper.pressure(), MemoryPressure::kFull);
  EXPECT_EQ(look(1'000).shed, 220U);
  keeper.Shed(220);
  look(700);
  EXPECT_EQ(keeper.pressure(), MemoryPressure::kEnough);
}

// An answer that does not come holds nothing up, and one that comes too late is of no order.
TEST(MemoryKeeperOfAGroup, AnOrderWithoutAnAnswerIsOverAfterASecond) {
  MemoryKeeper keeper({.process = 1'000});
  net::Time now{std::chrono::hours(1)};
  const auto look = [&](uint64_t resident) {
    now += milliseconds(20);
    return keeper.Look({.now = now, .resident = resident, .sheddable = 1'000}).shed;
  };
  look(980);
  EXPECT_EQ(look(980), 200U);
  EXPECT_EQ(look(990), 0U) << "one at a time";
  now += seconds(1);
  EXPECT_EQ(look(990) + look(990), 10U);
  keeper.Shed(0);  // nobody had anything
  EXPECT_EQ(look(990), 10U);
}

// A node whose allocator keeps what was freed until it is asked, whose sessions take and give,
// whose orders are done after a while, by seeds. Whatever happens: no more is ordered than was too
// much and came, no order is given while there is enough, and as long as sessions hold what is too
// much it never is all.
TEST(MemoryKeeperWorld, OrdersAreBoundedByNeedWhateverComes) {
  constexpr uint64_t kBound = 1'000'000;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    net::FastRandom random(seed);
    MemoryKeeper keeper({.process = kBound});
    net::Time now{std::chrono::hours(1)};
    const uint64_t base = 200'000 + random.Below(650'000);
    uint64_t idle = random.Below(100'000);
    uint64_t sessions = 0;
    uint64_t freed = 0;  // and with the allocator still
    uint64_t came = 0;
    uint64_t ordered = 0;
    uint64_t first_over = 0;
    std::vector<std::pair<net::Time, uint64_t>> under_way;
    const uint32_t flood = random.Below(6'000);
    for (int look = 0; look < 1'500; ++look) {
      now += milliseconds(20);
      const bool flows = look < 900 && keeper.pressure() < MemoryPressure::kFull;
      const uint64_t more = flows ? random.Below(flood + 1) : 0;
      sessions += more;
      came += more;
      freed -= std::min(freed, more);
      std::erase_if(under_way, [&](const auto& one) {
        if (one.first > now) return false;
        const uint64_t bytes = std::min(sessions, one.second);
        sessions -= bytes;
        freed += bytes;
        return true;
      });
      const uint64_t resident = base + idle + sessions + freed;
      ASSERT_LT(resident, kBound + kBound / 20) << seed;
      const auto before = keeper.pressure();
      const MemoryOrders orders =
          keeper.Look({.now = now, .resident = resident, .sheddable = sessions});
      if (resident < kBound / 10 * 8) {
        EXPECT_EQ(keeper.pressure(), MemoryPressure::kEnough) << seed;
        EXPECT_EQ(orders.shed, 0U) << seed;
      }
      if (before == MemoryPressure::kEnough && keeper.pressure() != before) {
        EXPECT_GE(resident, kBound / 10 * 9) << seed;
      }
      if (orders.trim) freed = 0;
      if (orders.ease) freed += std::exchange(idle, 0);
      if (orders.shed == 0) continue;
      if (ordered == 0) first_over = resident - kBound / 100 * MemoryKeeper::kAim;
      ordered += orders.shed;
      under_way.emplace_back(now + milliseconds(random.Below(200)), orders.shed);
      keeper.Shed(orders.shed);
    }
    // (What an order is behind is at most a look's flood.)
    EXPECT_LE(ordered, first_over + came + 6'000) << seed;
  }
}

}  // namespace
}  // namespace server
