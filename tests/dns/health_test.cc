#include "dns/pool/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/control/state_file.h"

namespace dns {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

CheckResult Good() { return {true, "fine", std::nullopt}; }
CheckResult Bad() { return {false, "refused", std::nullopt}; }
CheckResult Told(BalancerStatus status) { return {true, "told", status}; }

class HealthTest : public testing::Test {
 protected:
  HealthTest() {
    checks_.resize(1);
    checks_[0].type = CheckType::kStatus;
    checks_[0].port = 8404;
    policy_.drain = seconds(10);
    policy_.steps = 5;
  }
  BalancerHealth Make() { return {policy_, checks_}; }
  void Times(BalancerHealth& health, int count, const CheckResult& result) {
    for (int i = 0; i < count; ++i) health.OnResult(0, result, clock_.Now());
  }
  Standing StandingOf(BalancerHealth& health) { return health.Live(clock_.Now()).standing; }

  net::ManualClock clock_;
  HealthPolicy policy_;
  std::vector<CheckConfig> checks_;
};

TEST_F(HealthTest, IsGivenOutUntilTheFirstVerdictAndUpAfterOneGoodResult) {
  BalancerHealth health = Make();
  EXPECT_EQ(StandingOf(health), Standing::kChecking);
  Times(health, 1, Good());
  EXPECT_EQ(StandingOf(health), Standing::kUp);
}

TEST_F(HealthTest, FallsAfterSoManyFailuresInARowAndRisesAfterSoManySuccesses) {
  BalancerHealth health = Make();
  Times(health, 1, Good());
  Times(health, 2, Bad());
  Times(health, 1, Good());  // the row is broken
  Times(health, 2, Bad());
  EXPECT_EQ(StandingOf(health), Standing::kUp);
  Times(health, 1, Bad());
  EXPECT_EQ(StandingOf(health), Standing::kDown);
  EXPECT_THAT(health.Live(clock_.Now()).reason, HasSubstr("status :8404/status: refused"));
  Times(health, 1, Good());
  EXPECT_EQ(StandingOf(health), Standing::kDown);
  Times(health, 1, Good());
  EXPECT_EQ(StandingOf(health), Standing::kUp);
}

TEST_F(HealthTest, ADrainingStatusStepsTheWeightOut) {
  BalancerHealth health = Make();
  Times(health, 1, Good());
  BalancerStatus draining;
  draining.state = BalancerStatus::State::kDraining;
  Times(health, 1, Told(draining));
  std::vector<double> factors;
  for (int i = 0; i <= 10; ++i) {
    factors.push_back(health.Live(clock_.Now()).factor);
    clock_.Advance(seconds(1));
  }
  EXPECT_THAT(factors, testing::Pointwise(testing::DoubleNear(1e-9),
                                          {1.0, 1.0, 0.8, 0.8, 0.6, 0.6, 0.4, 0.4, 0.2, 0.2, 0.0}));
  EXPECT_EQ(StandingOf(health), Standing::kDrained);
  Times(health, 1, Told(BalancerStatus{}));  // it runs again
  EXPECT_EQ(StandingOf(health), Standing::kUp);
}

TEST_F(HealthTest, AReturningBalancerWarmsUpInSteps) {
  policy_.warm_up = seconds(10);
  BalancerHealth health = Make();
  Times(health, 1, Good());
  EXPECT_EQ(health.Live(clock_.Now()).factor, 1.0);  // it was up when we came
  Times(health, 3, Bad());
  EXPECT_EQ(StandingOf(health), Standing::kDown);
  Times(health, 2, Good());
  EXPECT_NEAR(health.Live(clock_.Now()).factor, 0.2, 1e-9);
  EXPECT_EQ(StandingOf(health), Standing::kWarming);
  ASSERT_TRUE(health.NextStep(clock_.Now()).has_value());
  EXPECT_EQ(*health.NextStep(clock_.Now()) - clock_.Now(), seconds(2));
  clock_.Advance(seconds(5));
  EXPECT_NEAR(health.Live(clock_.Now()).factor, 0.4, 1e-9);
  clock_.Advance(seconds(6));
  EXPECT_EQ(StandingOf(health), Standing::kUp);
  EXPECT_FALSE(health.NextStep(clock_.Now()).has_value());
}

TEST_F(HealthTest, TheOperatorsWordIsAboveChecksAndVotes) {
  BalancerHealth health = Make();
  Times(health, 3, Bad());
  health.SetOverride(Override::kUp, clock_.Now());
  health.SetPeerVotes(0, 5);
  EXPECT_EQ(StandingOf(health), Standing::kForcedUp);
  health.SetOverride(Override::kDown, clock_.Now());
  EXPECT_EQ(StandingOf(health), Standing::kForcedDown);
  health.SetOverride(Override::kNone, clock_.Now());
  EXPECT_EQ(StandingOf(health), Standing::kDown);
}

TEST_F(HealthTest, TheMajorityOfDnsNodesDecidesAndATieLeavesUp) {
  EXPECT_TRUE(DownByMajority(true, 0, 0));
  EXPECT_FALSE(DownByMajority(true, 1, 0));  // one against one
  EXPECT_TRUE(DownByMajority(true, 1, 1));
  EXPECT_FALSE(DownByMajority(false, 1, 1));
  EXPECT_TRUE(DownByMajority(false, 0, 2));
  BalancerHealth health = Make();
  Times(health, 3, Bad());
  health.SetPeerVotes(2, 0);
  EXPECT_EQ(StandingOf(health), Standing::kUp);
  EXPECT_THAT(health.Live(clock_.Now()).reason, HasSubstr("1 of 3 DNS nodes see it down"));
  EXPECT_TRUE(health.OwnDown());  // what peers are told is what we see
  health.SetPeerVotes(1, 1);
  EXPECT_EQ(StandingOf(health), Standing::kDown);
}

TEST_F(HealthTest, ACheckOfOneServiceTakesOutThatServiceAlone) {
  checks_.push_back(checks_[0]);
  checks_[1].services = 4;
  BalancerHealth health = Make();
  health.OnResult(0, Good(), clock_.Now());
  for (int i = 0; i < 3; ++i) health.OnResult(1, Bad(), clock_.Now());
  BalancerLive live = health.Live(clock_.Now());
  EXPECT_EQ(live.standing, Standing::kUp);
  EXPECT_EQ(live.services_down, 4u);
}

TEST_F(HealthTest, ADeadAddressIsOutAndTheBalancerOnlyWithAllOfThem) {
  BalancerHealth health(policy_, checks_, {"192.0.2.1", "2001:db8::1"});
  health.OnResult(0, Good(), clock_.Now(), 0);
  for (int i = 0; i < 3; ++i) health.OnResult(0, Bad(), clock_.Now(), 1);
  BalancerLive live = health.Live(clock_.Now());
  EXPECT_EQ(live.standing, Standing::kUp);
  EXPECT_EQ(live.addresses_down, 2u);
  EXPECT_THAT(live.reason, HasSubstr("2001:db8::1 is out: status :8404/status: refused"));
  for (int i = 0; i < 3; ++i) health.OnResult(0, Bad(), clock_.Now(), 0);
  live = health.Live(clock_.Now());
  EXPECT_EQ(live.standing, Standing::kDown);
  EXPECT_EQ(live.addresses_down, 0u);  // who gives it out all the same means all of it
  for (int i = 0; i < 2; ++i) health.OnResult(0, Good(), clock_.Now(), 1);
  live = health.Live(clock_.Now());
  EXPECT_EQ(live.standing, Standing::kUp);
  EXPECT_EQ(live.addresses_down, 1u);
}

TEST_F(HealthTest, WhatWasNotCheckedIsNotJudged) {
  BalancerHealth health = Make();
  Times(health, 1, Good());
  CheckResult not_made = Bad();
  not_made.not_made = true;
  Times(health, 10, not_made);
  EXPECT_EQ(StandingOf(health), Standing::kUp);
}

TEST_F(HealthTest, DrainsWarmUpsAndVerdictsGoOnInTheNextProcess) {
  constexpr int64_t kUnixMs = 1'700'000'000'000;
  policy_.warm_up = seconds(10);
  BalancerHealth drained = Make();
  Times(drained, 1, Good());
  drained.SetOverride(Override::kDrain, clock_.Now(), "ann");
  BalancerHealth returned = Make();
  Times(returned, 3, Bad());
  EXPECT_EQ(StandingOf(returned), Standing::kDown);
  BalancerHealth down = Make();
  down.Restore(returned.Save(clock_.Now(), kUnixMs), clock_.Now(), kUnixMs + 60'000);
  EXPECT_EQ(StandingOf(down), Standing::kDown);
  Times(returned, 2, Good());
  EXPECT_EQ(StandingOf(returned), Standing::kWarming);
  clock_.Advance(seconds(3));
  SavedHealth saved = drained.Save(clock_.Now(), kUnixMs);
  SavedHealth warming = returned.Save(clock_.Now(), kUnixMs);

  net::ManualClock other;  // of another process, with another beginning
  other.Advance(std::chrono::hours(5));
  BalancerHealth next = Make();
  next.Restore(saved, other.Now(), kUnixMs + 1000);
  EXPECT_EQ(next.override_by(), "ann");
  EXPECT_NEAR(next.Live(other.Now()).factor, 0.6, 1e-9);  // 4 of 10 s
  other.Advance(seconds(7));
  EXPECT_EQ(next.Live(other.Now()).standing, Standing::kDrained);
  BalancerHealth warm = Make();
  warm.Restore(warming, other.Now(), kUnixMs + 3000);
  EXPECT_NEAR(warm.Live(other.Now()).factor, 0.6, 1e-9);  // 6 of 10 s
  // A clock that went back does not make a beginning in the future.
  BalancerHealth back = Make();
  back.Restore(saved, other.Now(), kUnixMs - 86'400'000);
  EXPECT_EQ(back.Live(other.Now()).standing, Standing::kDraining);
}

TEST_F(HealthTest, TheNextPossibleChangeIsTheTimeOfTheResultsItTakes) {
  BalancerHealth health = Make();
  Times(health, 1, Good());
  EXPECT_EQ(health.Live(clock_.Now()).next_change, 3 * seconds(5));
  Times(health, 1, Bad());
  EXPECT_EQ(health.Live(clock_.Now()).next_change, 2 * seconds(1));
}

TEST(ReadStatusTest, ReadsWhatABalancerSays) {
  auto status = ReadStatus(
      R"({"state":"draining","warmup":0.5,"nodes_up":2,"nodes_total":3,"connections":41000,"x":[1]})");
  ASSERT_TRUE(status.has_value()) << status.error();
  EXPECT_EQ(status->state, BalancerStatus::State::kDraining);
  EXPECT_EQ(status->warm_up, 0.5);
  EXPECT_EQ(status->nodes_up, 2u);
  EXPECT_EQ(status->nodes_total, 3u);
  EXPECT_EQ(status->connections, 41'000u);
}

TEST(ReadStatusTest, RefusesOrBoundsEverythingElse) {
  for (const std::string& text :
       std::vector<std::string>{"", "[]", "{}", "null", "{\"state\":5}", "{\"state\":\"odd\"}",
                                "{\"sta", std::string(100'000, '['), "\xff\xfe"}) {
    EXPECT_FALSE(ReadStatus(text).has_value()) << text.substr(0, 40);
  }
  auto wild = ReadStatus(R"({"state":"running","warmup":9e99,"nodes_up":-5,"connections":"many"})");
  ASSERT_TRUE(wild.has_value());
  EXPECT_EQ(wild->warm_up, 1.0);
  EXPECT_EQ(wild->nodes_up, 0u);
  EXPECT_EQ(wild->connections, 0u);
}

TEST(StateFileTest, IsReadBackAsItWasWritten) {
  SavedState state;
  state.boot = "one";
  state.balancers["xmpp/lb1"] = {
      Override::kDrain, "op\"erator\n", false, 1'700'000'000'123, {}, {}};
  state.balancers["xmpp/lb2"] = {Override::kNone,
                                 "",
                                 true,
                                 {},
                                 1'700'000'000'456,
                                 {{"tcp :5222 ::1", CheckState::Verdict::kDown},
                                  {"tcp :5222 192.0.2.1", CheckState::Verdict::kUp}}};
  state.serials["example.org."] = {0xffffffff, 7, 0xfedcba9876543210, 200, 199};
  state.tokens.push_back({"_acme-challenge.example.org.", "token\x7f", 1'700'000'000'789});
  auto read = ReadState(WriteState(state));
  ASSERT_TRUE(read.has_value()) << read.error();
  EXPECT_EQ(*read, state);
  auto old =
      ReadState(R"({"version":1,"balancers":{"xmpp/lb1":{"override":"drain","down":true}}})");
  ASSERT_TRUE(old.has_value()) << old.error();
  EXPECT_EQ(old->balancers["xmpp/lb1"].override_value, Override::kDrain);
  EXPECT_TRUE(old->balancers["xmpp/lb1"].was_down);
  EXPECT_FALSE(ReadState("garbage").has_value());
  EXPECT_FALSE(ReadState("{\"balancers\":{\"a\":5}}").has_value());
  EXPECT_TRUE(StateFile(testing::TempDir() + "/no-such-state").Load().has_value());
}

}  // namespace
}  // namespace dns
