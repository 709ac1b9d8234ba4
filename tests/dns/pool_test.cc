#include "dns/pool/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using testing::ElementsAre;

std::vector<size_t> Balancers(const Selection& selection) {
  std::vector<size_t> out;
  for (const Member& member : selection.members) out.push_back(member.balancer);
  return out;
}

class PoolTest : public testing::Test {
 protected:
  Selection Choose(std::optional<unsigned> service = std::nullopt) {
    return Select(pool_, live_, service, last_known_);
  }
  PoolConfig pool_ = test::MakePool(3);
  std::vector<BalancerLive> live_{3};
  std::vector<Member> last_known_;
};

TEST_F(PoolTest, GivesOutTheFitOnes) {
  live_[1].standing = Standing::kDown;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(0, 2));
  live_[1].standing = Standing::kForcedUp;
  live_[0].standing = Standing::kForcedDown;
  live_[2].standing = Standing::kDrained;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(1));
  EXPECT_FALSE(Choose().all_down);
}

TEST_F(PoolTest, WhatTheOperatorTookOutStaysOutWhenAllAreDown) {
  for (auto& live : live_) live.standing = Standing::kDown;
  live_[1].standing = Standing::kForcedDown;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(0, 2));
  pool_.all_down = AllDown::kLastKnown;
  last_known_ = {{1, 1000}, {2, 1000}};
  EXPECT_THAT(Balancers(Choose()), ElementsAre(2));
  for (auto& live : live_) live.standing = Standing::kForcedDown;
  EXPECT_TRUE(Choose().members.empty());
  EXPECT_TRUE(Choose().all_down);
}

TEST_F(PoolTest, TooFewFitOnesCountAsNone) {
  pool_.up_threshold = 0.5;  // of three: two
  live_[0].standing = Standing::kDown;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(1, 2));
  live_[1].standing = Standing::kDown;
  Selection selection = Choose();
  EXPECT_TRUE(selection.all_down);
  EXPECT_THAT(Balancers(selection), ElementsAre(0, 1, 2));
}

TEST_F(PoolTest, WhatHasNotBeenCheckedYetIsGivenOut) {
  for (auto& live : live_) live.standing = Standing::kChecking;
  EXPECT_EQ(Choose().members.size(), 3u);
}

TEST_F(PoolTest, WarmUpAndDrainScaleTheWeight) {
  live_[0] = {.standing = Standing::kWarming, .factor = 0.25, .reason = {}};
  live_[1] = {.standing = Standing::kDraining, .factor = 0.0, .reason = {}};
  Selection selection = Choose();
  EXPECT_THAT(Balancers(selection), ElementsAre(0, 2));
  EXPECT_EQ(selection.members[0].weight * 4, selection.members[1].weight);
}

TEST_F(PoolTest, WeightZeroStepsInOnlyWhenTheOthersAreOut) {
  pool_.balancers[2].weight = 0;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(0, 1));
  live_[0].standing = live_[1].standing = Standing::kDown;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(2));
}

TEST_F(PoolTest, AServiceWithItsOwnFailedCheckIsOutAlone) {
  live_[0].services_down = 1u << *ServiceIndex("xmpp-server");
  EXPECT_EQ(Choose().members.size(), 3u);
  EXPECT_EQ(Choose(ServiceIndex("xmpp-client")).members.size(), 3u);
  EXPECT_THAT(Balancers(Choose(ServiceIndex("xmpp-server"))), ElementsAre(1, 2));
}

TEST_F(PoolTest, AllDownRuleDecidesWhatIsGivenOut) {
  for (auto& live : live_) live.standing = Standing::kDown;
  last_known_ = {{1, 100'000}};
  pool_.all_down = AllDown::kAll;
  EXPECT_EQ(Choose().members.size(), 3u);
  EXPECT_TRUE(Choose().all_down);
  pool_.all_down = AllDown::kLastKnown;
  EXPECT_THAT(Balancers(Choose()), ElementsAre(1));
  pool_.all_down = AllDown::kNone;
  EXPECT_TRUE(Choose().members.empty());
  pool_.all_down = AllDown::kFallback;
  EXPECT_TRUE(Choose().fallback);
}

TEST_F(PoolTest, LastKnownIsRememberedOverSeveralChanges) {
  pool_.all_down = AllDown::kLastKnown;
  live_[2].standing = Standing::kDown;
  PoolView view = MakeView(pool_, live_, {});
  live_[0].standing = live_[1].standing = Standing::kDown;
  for (int i = 0; i < 3; ++i) {
    view = MakeView(pool_, live_, view);
    EXPECT_THAT(Balancers(view.addresses), ElementsAre(0, 1));
  }
}

TEST_F(PoolTest, TtlIsTheTimeToTheNextPossibleChangeWithinItsBounds) {
  EXPECT_EQ(Choose().ttl, 60u);
  live_[1].next_change = std::chrono::seconds(25);
  EXPECT_EQ(Choose().ttl, 25u);
  live_[2].next_change = std::chrono::milliseconds(1);
  EXPECT_EQ(Choose().ttl, 10u);
}

TEST(AnswersForTest, IsAllWithEqualWeightsAndFewerWhenTheyDiffer) {
  auto count = [](std::vector<uint32_t> weights) { return AnswersFor(weights, 8); };
  EXPECT_EQ(count({}), 0);
  EXPECT_EQ(count({5}), 1);
  EXPECT_EQ(count({5, 5, 5}), 3);
  EXPECT_EQ(count(std::vector<uint32_t>(20, 5)), 8);
  EXPECT_EQ(count({100, 100, 100, 50}), 3);
  EXPECT_EQ(count({300, 100}), 1);
}

}  // namespace
}  // namespace dns
