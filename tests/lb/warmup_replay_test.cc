// The thundering herd, replayed: two nodes hold 50,000 connections each, the third returns empty,
// and 600 clients a second connect. Who gives how many to the returning node, second by second?
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/balance/warmup.h"
#include "tests/lb/start_time.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kArrivalsPerSecond = 600;
constexpr int kReplaySeconds = 90;
constexpr uint32_t kHeld = 50'000;

struct Replay {
  std::string name;
  std::vector<int> per_second;  // arrivals at the returning node
  int forced = 0;
};

// Through our Balancer, the control thread's part done every 100 ms.
Replay RunBalancer(std::string name, Policy policy, WarmupConfig config) {
  std::vector<BalancerNode> nodes(3);
  for (size_t i = 0; i < 3; ++i) {
    nodes[i].name = "node" + std::to_string(i);
    nodes[i].state = std::make_shared<NodeState>(100);
    for (uint32_t c = 0; i < 2 && c < kHeld; ++c) nodes[i].state->TryReserve(kStart);
  }
  NodeState& returning = *nodes[2].state;
  NodeWarmup warmup;
  warmup.Start(kStart);
  PickLocal local(1);
  std::unique_ptr<Balancer> balancer;
  Replay replay{std::move(name), std::vector<int>(kReplaySeconds), 0};
  for (int i = 0; i < kReplaySeconds * kArrivalsPerSecond; ++i) {
    net::Time now = kStart + net::Duration(1'000'000'000LL * i / kArrivalsPerSecond);
    if (i % (kArrivalsPerSecond / 10) == 0) {
      WarmupStep step = warmup.At(config, now);
      returning.SetAdmissionRate(step.rate, now);
      returning.SetEffectiveWeight(static_cast<uint32_t>(100 * kWeightScale * step.weight_factor));
      nodes[2].share_cap = step.share_cap;
      balancer = std::make_unique<Balancer>(nodes, BalancerOptions{.policy = policy});
      local.Adopt(*balancer);
    }
    PickResult picked = balancer->Pick({.now = now}, local);
    if (picked.index == 2) ++replay.per_second[static_cast<size_t>(i / kArrivalsPerSecond)];
    replay.forced += picked.forced;
  }
  return replay;
}

// Envoy's least_request with unequal weights (which a slow start makes them): nodes are chosen in
// proportion to weight × slow start / (active + 1).
Replay RunEnvoy(double aggression) {
  double active[3] = {kHeld, kHeld, 0};
  net::FastRandom random(5);
  Replay replay{"envoy slow_start, least_request", std::vector<int>(kReplaySeconds), 0};
  for (int i = 0; i < kReplaySeconds * kArrivalsPerSecond; ++i) {
    net::Duration at(1'000'000'000LL * i / kArrivalsPerSecond);
    double share[3];
    double sum = 0;
    for (int n = 0; n < 3; ++n) {
      double ramp = n == 2 ? EnvoySlowStartFactor(at, seconds(60), aggression, 0.1) : 1;
      share[n] = ramp / (active[n] + 1);
      sum += share[n];
    }
    double point = random.Unit() * sum;
    int chosen = point < share[0] ? 0 : point < share[0] + share[1] ? 1 : 2;
    active[chosen] += 1;
    if (chosen == 2) ++replay.per_second[static_cast<size_t>(i / kArrivalsPerSecond)];
  }
  return replay;
}

void Print(const std::vector<Replay>& replays) {
  std::printf("arrivals/s at the returning node, of %d/s\n%-34s", kArrivalsPerSecond, "second");
  std::vector<size_t> marks = {0, 1, 2, 5, 10, 20, 30, 45, 59, 62, 75, 89};
  for (size_t m : marks) std::printf("%6zu", m);
  std::printf("   held after 60 s\n");
  for (const Replay& replay : replays) {
    std::printf("%-34s", replay.name.c_str());
    for (size_t m : marks) std::printf("%6d", replay.per_second[m]);
    int held = 0;
    for (size_t s = 0; s < 60; ++s) held += replay.per_second[s];
    std::printf("   %d\n", held);
  }
}

TEST(WarmupReplayTest, OursFollowsTheRampWhereHaproxyAndEnvoyHerd) {
  WarmupConfig ours;
  WarmupConfig linear_uncapped;
  linear_uncapped.share_cap = 0;
  WarmupConfig haproxy;
  haproxy.mode = WarmupMode::kHaproxy;
  WarmupConfig off;
  off.mode = WarmupMode::kOff;
  Replay rate_p2c = RunBalancer("rate, p2c", Policy::kP2c, ours);
  Replay rate_leastconn = RunBalancer("rate, leastconn", Policy::kLeastConn, ours);
  Replay uncapped =
      RunBalancer("rate without share cap, leastconn", Policy::kLeastConn, linear_uncapped);
  Replay slowstart = RunBalancer("haproxy slowstart, leastconn", Policy::kLeastConn, haproxy);
  Replay envoy = RunEnvoy(1.0);
  Replay none = RunBalancer("no warm-up, leastconn", Policy::kLeastConn, off);
  // For the record: with two draws by weight, a low weight is seldom drawn.
  Replay weighted_draws = RunBalancer("haproxy slowstart, p2c", Policy::kP2c, haproxy);
  Print({rate_p2c, rate_leastconn, uncapped, slowstart, weighted_draws, envoy, none});

  double fair = kArrivalsPerSecond / 3.0;
  for (const Replay* replay : {&rate_p2c, &rate_leastconn}) {
    EXPECT_EQ(replay->forced, 0);
    for (int s = 0; s < 60; ++s) {
      double middle = WarmupAt(ours, seconds(s) + milliseconds(500)).rate;
      double allowed = std::min(middle, fair);
      double got = replay->per_second[static_cast<size_t>(s)];
      EXPECT_LE(got, allowed * 1.1 + 3) << replay->name << " second " << s;
      EXPECT_GE(got, allowed * 0.85 - 3) << replay->name << " second " << s;
    }
  }
  for (int s = 0; s < 35; ++s) {  // until the ramp exceeds the arrivals
    double middle = WarmupAt(ours, seconds(s) + milliseconds(500)).rate;
    EXPECT_NEAR(uncapped.per_second[static_cast<size_t>(s)], middle, middle * 0.1 + 3) << s;
  }
  // The formulas that ramp a weight: every arrival, from the first second to the last.
  for (size_t s = 0; s < 60; ++s) {
    EXPECT_EQ(slowstart.per_second[s], kArrivalsPerSecond) << "haproxy, second " << s;
    EXPECT_EQ(none.per_second[s], kArrivalsPerSecond) << s;
  }
  // Envoy's choice is softer, yet the empty node is above its fair share from the first second on.
  EXPECT_GE(envoy.per_second[0], kArrivalsPerSecond * 4 / 5);
  for (size_t s = 0; s < 60; ++s)
    EXPECT_GE(envoy.per_second[s], fair * 1.2) << "envoy, second " << s;
  int envoy_first = 0;
  int ours_first = 0;
  for (size_t s = 0; s < 10; ++s) {
    envoy_first += envoy.per_second[s];
    ours_first += rate_p2c.per_second[s];
  }
  EXPECT_GT(envoy_first, 3 * ours_first);
  EXPECT_GT(rate_p2c.per_second[0], 0);
}

}  // namespace
}  // namespace lb
