#include "lb/health/health_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

TEST(HealthStateTest, TheFirstResultDecidesWhileChecking) {
  HealthState up({});
  EXPECT_EQ(up.status(), HealthStatus::kChecking);
  EXPECT_TRUE(up.OnResult(true, "connected"));
  EXPECT_EQ(up.status(), HealthStatus::kUp);
  HealthState down({});
  EXPECT_TRUE(down.OnResult(false, "refused"));
  EXPECT_EQ(down.status(), HealthStatus::kDown);
}

TEST(HealthStateTest, FallFailuresInARowTakeItDownAndRiseSuccessesBringItBack) {
  HealthState state({.start = HealthStart::kUp});
  EXPECT_FALSE(state.OnResult(false, "1"));
  EXPECT_FALSE(state.OnResult(false, "2"));
  EXPECT_FALSE(state.OnResult(true, "ok"));  // breaks the row
  EXPECT_FALSE(state.OnResult(false, "1"));
  EXPECT_FALSE(state.OnResult(false, "2"));
  EXPECT_TRUE(state.OnResult(false, "3"));
  EXPECT_EQ(state.status(), HealthStatus::kDown);
  EXPECT_EQ(state.why(), "3");
  EXPECT_FALSE(state.OnResult(true, "ok"));
  EXPECT_FALSE(state.OnResult(false, "no"));
  EXPECT_FALSE(state.OnResult(true, "ok"));
  EXPECT_TRUE(state.OnResult(true, "ok"));
  EXPECT_EQ(state.status(), HealthStatus::kUp);
}

TEST(HealthStateTest, StartDownNeedsRise) {
  HealthState state({.start = HealthStart::kDown});
  EXPECT_FALSE(state.OnResult(true, "ok"));
  EXPECT_TRUE(state.OnResult(true, "ok"));
}

TEST(HealthStateTest, ChecksFasterWhileChangingAndWithJitter) {
  HealthState state({.start = HealthStart::kUp});
  net::FastRandom random(1);
  net::Duration least = seconds(100);
  net::Duration most{0};
  for (int i = 0; i < 1'000; ++i) {
    net::Duration next = state.NextIn(random);
    least = std::min(least, next);
    most = std::max(most, next);
    EXPECT_LE(state.FirstIn(random), milliseconds(100));
  }
  EXPECT_GE(least, milliseconds(4'500));
  EXPECT_LE(most, milliseconds(5'500));
  EXPECT_GT(most - least, milliseconds(800));
  state.OnResult(false, "x");
  EXPECT_TRUE(state.changing());
  EXPECT_LE(state.NextIn(random), milliseconds(1'100));
  state.OnResult(true, "ok");
  EXPECT_FALSE(state.changing());
}

TEST(HealthStateTest, WithoutJitterIntervalsAreExact) {
  HealthState state({.jitter = 0, .start = HealthStart::kUp});
  net::FastRandom random(1);
  EXPECT_EQ(state.NextIn(random), seconds(5));
}

NodeHealthConfig Checks(size_t count) {
  NodeHealthConfig config;
  config.checks.resize(count);
  return config;
}

ClusterStatus StatusOf(ClusterState state, const char* incarnation = "1") {
  ClusterStatus status;
  status.node = "a";
  status.incarnation = incarnation;
  status.state = state;
  return status;
}

TEST(NodeHealthTest, WithoutChecksANodeIsUp) {
  NodeHealth health({});
  EXPECT_TRUE(health.choosable());
  EXPECT_EQ(health.OnConnectErrors(100, true), std::nullopt);  // nothing could bring it back
  EXPECT_TRUE(health.choosable());
}

TEST(NodeHealthTest, AllChecksMustPass) {
  NodeHealth health(Checks(2));
  EXPECT_EQ(health.condition(), NodeCondition::kChecking);
  EXPECT_EQ(health.availability(), NodeAvailability::kDown);
  EXPECT_EQ(health.OnCheckResult(0, true, "connected"), std::nullopt);
  auto up = health.OnCheckResult(1, true, "status 200");
  ASSERT_TRUE(up.has_value());
  EXPECT_EQ(up->from, NodeCondition::kChecking);
  EXPECT_EQ(up->to, NodeCondition::kUp);
  EXPECT_EQ(up->why, "connected, status 200");
  EXPECT_EQ(health.OnCheckResult(1, false, "status 503"), std::nullopt);
  EXPECT_EQ(health.OnCheckResult(1, false, "status 503"), std::nullopt);
  auto down = health.OnCheckResult(1, false, "status 503");
  ASSERT_TRUE(down.has_value());
  EXPECT_EQ(down->to, NodeCondition::kDown);
  EXPECT_EQ(down->why, "status 503");
}

TEST(NodeHealthTest, ConnectErrorsInARowTakeItDownUntilChecksPass) {
  NodeHealth health(Checks(1));
  health.OnCheckResult(0, true, "connected");
  EXPECT_EQ(health.OnConnectErrors(2, true), std::nullopt);
  EXPECT_EQ(health.OnConnectErrors(3, false), std::nullopt);  // too many are down so already
  auto down = health.OnConnectErrors(3, true);
  ASSERT_TRUE(down.has_value());
  EXPECT_EQ(down->why, "3 connection attempts in a row failed");
  EXPECT_TRUE(health.down_passively());
  EXPECT_EQ(health.OnConnectErrors(4, true), std::nullopt);
  EXPECT_EQ(health.OnCheckResult(0, true, "connected"), std::nullopt);
  EXPECT_TRUE(health.check(0).changing());
  EXPECT_EQ(health.OnCheckResult(0, true, "connected")->to, NodeCondition::kUp);
  EXPECT_FALSE(health.down_passively());
}

TEST(NodeHealthTest, WithoutChecksConnectErrorsTakeItOutForAWhileThatDoubles) {
  const net::Time start{std::chrono::seconds(1000)};
  NodeHealth health({.checks = {}, .passive_errors = 3});
  EXPECT_FALSE(health.OnConnectErrors(2, true, start));
  // Alone in its pool or not: nobody else can tell that it is dead.
  auto down = health.OnConnectErrors(3, false, start);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->to, NodeCondition::kDown);
  EXPECT_THAT(down->why, ::testing::HasSubstr("3 connection attempts in a row failed"));
  EXPECT_FALSE(health.OnTime(start + kPassiveHoldMin - std::chrono::milliseconds(1)));
  auto back = health.OnTime(start + kPassiveHoldMin);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->to, NodeCondition::kUp);
  net::Time now = start + kPassiveHoldMin;
  for (net::Duration hold = 2 * kPassiveHoldMin; hold < kPassiveHoldMax; hold *= 2) {
    ASSERT_TRUE(health.OnConnectErrors(3, true, now));
    EXPECT_FALSE(health.OnTime(now + hold - std::chrono::milliseconds(1)));
    now += hold;
    ASSERT_TRUE(health.OnTime(now));
  }
  ASSERT_TRUE(health.OnConnectErrors(3, true, now));
  now += kPassiveHoldMax;
  ASSERT_TRUE(health.OnTime(now));
  // Well for long enough: all is forgotten.
  now += kPassiveForgetAfter + std::chrono::seconds(1);
  ASSERT_TRUE(health.OnConnectErrors(3, true, now));
  EXPECT_TRUE(health.OnTime(now + kPassiveHoldMin));
}

TEST(NodeHealthTest, AChecksWantOfOurOwnIsNoResult) {
  NodeHealth health({.checks = {{.rise = 1, .fall = 1}}});
  ASSERT_TRUE(health.OnCheckResult(0, true, "connected"));
  for (int i = 0; i < 10; ++i) health.OnNotChecked("Too many open files");
  EXPECT_EQ(health.condition(), NodeCondition::kUp);
  EXPECT_EQ(health.not_checked(), "Too many open files");
  health.OnCheckResult(0, true, "connected");
  EXPECT_EQ(health.not_checked(), "");
  // The status API is asked from here, too.
  health.OnNotChecked("Too many open files");
  health.OnClusterStatus({.state = ClusterState::kRunning});
  EXPECT_EQ(health.not_checked(), "");
  health.OnNotChecked("Too many open files");
  health.OnClusterError("connection refused");
  EXPECT_EQ(health.not_checked(), "");
}

TEST(NodeHealthTest, ANodeThatServesIsNotOutUntilItsStatusApiHasSaidSo) {
  const NodeHealthConfig config{.cluster_status = true, .cluster_fall = 2, .serves = true};
  NodeHealth silent(config);
  EXPECT_EQ(silent.condition(), NodeCondition::kUp);
  EXPECT_FALSE(silent.OnClusterError("timed out"));
  EXPECT_TRUE(silent.OnClusterError("timed out"));
  EXPECT_EQ(silent.condition(), NodeCondition::kDown);
  NodeHealth draining(config);
  EXPECT_TRUE(draining.OnClusterStatus({.state = ClusterState::kDraining}));
  EXPECT_EQ(draining.condition(), NodeCondition::kNotRunning);
  // Behind its first word, it is as any other.
  NodeHealth running(config);
  EXPECT_FALSE(running.OnClusterStatus({.state = ClusterState::kRunning}));
  ASSERT_TRUE(running.SetAdmin(AdminState::kMaint));
  ASSERT_TRUE(running.SetAdmin(AdminState::kReady));
  EXPECT_EQ(running.condition(), NodeCondition::kChecking);
}

TEST(NodeHealthTest, PassiveErrorsCanBeOff) {
  NodeHealthConfig config = Checks(1);
  config.passive_errors = 0;
  NodeHealth health(config);
  health.OnCheckResult(0, true, "connected");
  EXPECT_EQ(health.OnConnectErrors(1'000, true), std::nullopt);
}

TEST(NodeHealthTest, AtMostHalfOfAPoolGoesDownByPassiveErrors) {
  EXPECT_TRUE(MayMarkDownPassively(0, 2));
  EXPECT_FALSE(MayMarkDownPassively(1, 2));
  EXPECT_FALSE(MayMarkDownPassively(0, 1));
  EXPECT_TRUE(MayMarkDownPassively(1, 5));
  EXPECT_FALSE(MayMarkDownPassively(2, 5));
}

TEST(NodeHealthTest, OnlyARunningClusterStateIsChoosable) {
  NodeHealthConfig config = Checks(1);
  config.cluster_status = true;
  NodeHealth health(config);
  health.OnCheckResult(0, true, "connected");
  EXPECT_EQ(health.condition(), NodeCondition::kChecking);
  EXPECT_EQ(health.OnClusterStatus(StatusOf(ClusterState::kRunning))->to, NodeCondition::kUp);
  for (auto state : {ClusterState::kStarting, ClusterState::kJoining, ClusterState::kDraining,
                     ClusterState::kIsolated, ClusterState::kStopping}) {
    auto out = health.OnClusterStatus(StatusOf(state));
    ASSERT_TRUE(out.has_value());
    EXPECT_EQ(out->to, NodeCondition::kNotRunning);
    EXPECT_EQ(health.availability(), NodeAvailability::kOut);  // not even in panic
    EXPECT_THAT(out->why, HasSubstr(ClusterStateName(state)));
    EXPECT_EQ(health.OnClusterStatus(StatusOf(ClusterState::kRunning))->to, NodeCondition::kUp);
  }
}

TEST(NodeHealthTest, WhoIsDeadOrCutOffLosesItsSessionsAndWhoDrainsOrStopsItselfDoesNot) {
  NodeHealthConfig config = Checks(1);
  config.cluster_status = true;
  NodeHealth health(config);
  EXPECT_FALSE(health.loses_sessions());
  health.OnCheckResult(0, true, "connected");
  for (auto state : {ClusterState::kStarting, ClusterState::kJoining, ClusterState::kRunning,
                     ClusterState::kDraining, ClusterState::kStopping}) {
    health.OnClusterStatus(StatusOf(state));
    EXPECT_FALSE(health.loses_sessions()) << ClusterStateName(state);
  }
  health.OnClusterStatus(StatusOf(ClusterState::kIsolated));
  EXPECT_TRUE(health.loses_sessions());
  health.SetAdmin(AdminState::kDrain);
  EXPECT_FALSE(health.loses_sessions()) << "the administrator's drain has its own pace";
  health.SetAdmin(AdminState::kReady);
  health.OnClusterStatus(StatusOf(ClusterState::kRunning));
  EXPECT_FALSE(health.loses_sessions());
  health.OnSplit(SplitVerdict::kOut, "netsplit");
  EXPECT_TRUE(health.loses_sessions());
  health.OnSplit(SplitVerdict::kIn, "");
  EXPECT_FALSE(health.loses_sessions());
  for (int i = 0; i < 3; ++i) health.OnClusterError("timeout");
  ASSERT_EQ(health.condition(), NodeCondition::kDown);
  EXPECT_TRUE(health.loses_sessions());
}

TEST(NodeHealthTest, AStatusApiThatFailsTakesTheNodeDownAfterFall) {
  NodeHealthConfig config = Checks(0);
  config.cluster_status = true;
  NodeHealth health(config);
  EXPECT_EQ(health.OnClusterError("the answer is not a JSON object")->to, NodeCondition::kDown);
  EXPECT_EQ(health.OnClusterStatus(StatusOf(ClusterState::kRunning))->to, NodeCondition::kUp);
  EXPECT_EQ(health.incarnation(), "1");
  EXPECT_EQ(health.OnClusterError("timeout"), std::nullopt);
  EXPECT_EQ(health.OnClusterError("timeout"), std::nullopt);
  EXPECT_TRUE(health.cluster().has_value());
  auto down = health.OnClusterError("timeout");
  ASSERT_TRUE(down.has_value());
  EXPECT_EQ(down->why, "cluster status: timeout");
  EXPECT_FALSE(health.cluster().has_value());
  EXPECT_EQ(health.incarnation(), "");
}

TEST(NodeHealthTest, ANetsplitTakesItOutAndItsEndBringsItBack) {
  NodeHealth health({});
  auto out = health.OnSplit(SplitVerdict::kOut, "netsplit: its side has 1, the larger one 2 nodes");
  ASSERT_TRUE(out.has_value());
  EXPECT_EQ(out->to, NodeCondition::kSplit);
  EXPECT_EQ(health.availability(), NodeAvailability::kOut);
  EXPECT_EQ(health.OnSplit(SplitVerdict::kUnknown, "not reachable")->to, NodeCondition::kUp);
}

TEST(NodeHealthTest, TheAdministratorsWillWinsAndMaintenanceStartsChecksAnew) {
  NodeHealth health(Checks(1));
  health.OnCheckResult(0, true, "connected");
  EXPECT_EQ(health.SetAdmin(AdminState::kDrain)->to, NodeCondition::kDrain);
  EXPECT_TRUE(health.checks_wanted());
  EXPECT_EQ(health.OnCheckResult(0, true, "connected"), std::nullopt);
  EXPECT_EQ(health.SetAdmin(AdminState::kReady)->to, NodeCondition::kUp);
  EXPECT_EQ(health.SetAdmin(AdminState::kMaint)->to, NodeCondition::kMaint);
  EXPECT_FALSE(health.checks_wanted());
  EXPECT_EQ(health.OnSplit(SplitVerdict::kOut, "x"), std::nullopt);
  EXPECT_EQ(health.SetAdmin(AdminState::kReady)->to, NodeCondition::kChecking);
  EXPECT_EQ(health.OnCheckResult(0, true, "connected")->to, NodeCondition::kUp);
}

TEST(NodeHealthTest, EveryConditionAndStateHasAName) {
  for (auto c : {NodeCondition::kUp, NodeCondition::kChecking, NodeCondition::kDown,
                 NodeCondition::kNotRunning, NodeCondition::kSplit, NodeCondition::kDrain,
                 NodeCondition::kMaint}) {
    EXPECT_NE(NodeConditionName(c), "unknown");
  }
  EXPECT_EQ(AdminStateName(AdminState::kMaint), "maint");
  EXPECT_EQ(HealthStatusName(HealthStatus::kChecking), "checking");
}

}  // namespace
}  // namespace lb
