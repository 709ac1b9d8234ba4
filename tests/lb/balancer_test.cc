#include "lb/balance/balancer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <map>
#include <numeric>
#include <thread>

#include "net/base/hash.h"
#include "tests/lb/start_time.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

struct Pool {
  std::vector<BalancerNode> nodes;
  BalancerOptions options;
  PickLocal local{42};
  std::unique_ptr<Balancer> balancer;

  explicit Pool(Policy policy, const std::vector<uint32_t>& weights) {
    options.policy = policy;
    for (size_t i = 0; i < weights.size(); ++i) {
      BalancerNode node;
      node.name = "node" + std::to_string(i);
      node.weight = weights[i];
      node.state = std::make_shared<NodeState>(weights[i]);
      nodes.push_back(std::move(node));
    }
    Build();
  }
  void Build() {
    balancer = std::make_unique<Balancer>(nodes, options);
    local.Adopt(*balancer);
  }
  NodeState& state(size_t i) { return *nodes[i].state; }
  PickResult Pick(net::Time now = kStart, uint64_t source = 0,
                  std::span<const NodeState* const> exclude = {}) {
    return balancer->Pick({.source_hash = source, .now = now, .exclude = exclude}, local);
  }
  void Hold(size_t i, uint32_t connections) {
    for (uint32_t c = 0; c < connections; ++c) ASSERT_TRUE(state(i).ForceReserve(kStart));
  }
};

// Pearson's statistic of observed counts against weights.
double ChiSquare(const std::vector<uint64_t>& counts, const std::vector<uint32_t>& weights) {
  double total = 0;
  double weight = 0;
  for (uint64_t c : counts) total += static_cast<double>(c);
  for (uint32_t w : weights) weight += w;
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    double expected = total * weights[i] / weight;
    double off = static_cast<double>(counts[i]) - expected;
    sum += off * off / expected;
  }
  return sum;
}

TEST(PolicyTest, NamesRoundTrip) {
  for (auto p : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin, Policy::kRandom,
                 Policy::kSource, Policy::kMaglev}) {
    EXPECT_EQ(PolicyFromName(PolicyName(p)), p);
  }
  EXPECT_EQ(PolicyFromName("fastest"), std::nullopt);
}

TEST(BalancerTest, RandomFollowsWeightsByChiSquare) {
  std::vector<uint32_t> weights = {100, 50, 200, 10, 140};
  Pool pool(Policy::kRandom, weights);
  std::vector<uint64_t> counts(weights.size());
  for (int i = 0; i < 100'000; ++i) ++counts[pool.Pick().index];
  EXPECT_LT(ChiSquare(counts, weights), 18.47);  // 4 degrees of freedom, p = 0.001
}

TEST(BalancerTest, P2cWithEqualLoadsSpreadsEvenlyByChiSquare) {
  std::vector<uint32_t> weights(8, 100);
  Pool pool(Policy::kP2c, weights);
  std::vector<uint64_t> counts(weights.size());
  for (int i = 0; i < 100'000; ++i) {
    PickResult picked = pool.Pick();
    ++counts[picked.index];
    picked.node->Release();
  }
  EXPECT_LT(ChiSquare(counts, weights), 24.32);  // 7 degrees of freedom, p = 0.001
}

TEST(BalancerTest, P2cFillsNodesInProportionToWeights) {
  std::vector<uint32_t> weights = {100, 300, 50, 150};
  Pool pool(Policy::kP2c, weights);
  for (int i = 0; i < 60'000; ++i) ASSERT_NE(pool.Pick().node, nullptr);
  for (size_t i = 0; i < weights.size(); ++i) {
    double expected = 60'000.0 * weights[i] / 600;
    EXPECT_NEAR(pool.state(i).active(), expected, expected * 0.01) << i;
  }
}

TEST(BalancerTest, P2cOfTwoTakesTheLessLoaded) {
  Pool pool(Policy::kP2c, {100, 100});
  pool.Hold(0, 5);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pool.Pick().index, 1u);
}

TEST(BalancerTest, LeastConnFillsExactlyByWeight) {
  Pool pool(Policy::kLeastConn, {100, 200, 100});
  for (int i = 0; i < 4'000; ++i) pool.Pick();
  EXPECT_NEAR(pool.state(0).active(), 1'000, 2);
  EXPECT_NEAR(pool.state(1).active(), 2'000, 2);
  EXPECT_NEAR(pool.state(2).active(), 1'000, 2);
}

TEST(BalancerTest, LeastConnTakesAnIdleNodeWhateverItsWeight) {
  Pool pool(Policy::kLeastConn, {1000, 1});
  pool.Hold(0, 1);
  EXPECT_EQ(pool.Pick().index, 1u);
}

TEST(BalancerTest, LeastConnBreaksTiesInTurn) {
  Pool pool(Policy::kLeastConn, {100, 100, 100});
  std::map<uint32_t, int> counts;
  for (int i = 0; i < 30; ++i) {
    PickResult picked = pool.Pick();
    ++counts[picked.index];
    picked.node->Release();
  }
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(counts[i], 10) << i;
}

TEST(BalancerTest, RoundRobinIsSmoothAndExact) {
  Pool pool(Policy::kRoundRobin, {50, 10, 10});
  std::vector<uint64_t> counts(3);
  uint32_t last = 9;
  int longest = 0;
  int run = 0;
  for (int i = 0; i < 700; ++i) {
    uint32_t index = pool.Pick().index;
    ++counts[index];
    run = index == last ? run + 1 : 1;
    longest = std::max(longest, run);
    last = index;
  }
  EXPECT_NEAR(static_cast<double>(counts[0]), 500, 1);
  EXPECT_NEAR(static_cast<double>(counts[1]), 100, 1);
  EXPECT_NEAR(static_cast<double>(counts[2]), 100, 1);
  EXPECT_LE(longest, 5);  // a plain weighted rotation would give node0 all its turns in a row
}

TEST(BalancerTest, RoundRobinDoesNotSaveUpTurnsOfAPassedNode) {
  Pool pool(Policy::kRoundRobin, {100, 100});
  pool.state(1).SetConnectionsMax(1);
  pool.Hold(1, 1);
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(pool.Pick().index, 0u);
  pool.state(1).SetConnectionsMax(0);
  int second = 0;
  for (int i = 0; i < 100; ++i) second += pool.Pick().index == 1;
  EXPECT_NEAR(second, 50, 1);
}

TEST(BalancerTest, NoCandidateIsNoNodeUp) {
  Pool empty(Policy::kP2c, {});
  EXPECT_EQ(empty.Pick().failure, PickFailure::kNoNodeUp);
  Pool pool(Policy::kP2c, {100});
  pool.nodes[0].availability = NodeAvailability::kDown;
  pool.Build();
  PickResult picked = pool.Pick();
  EXPECT_EQ(picked.node, nullptr);
  EXPECT_EQ(picked.failure, PickFailure::kNoNodeUp);
}

TEST(BalancerTest, WeightZeroIsNeverChosen) {
  for (auto p : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin, Policy::kRandom,
                 Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {0, 100});
    for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(pool.Pick(kStart, i).index, 1u) << PolicyName(p);
  }
}

TEST(BalancerTest, BackupsServeOnlyWhenNoPrimaryIsUp) {
  Pool pool(Policy::kP2c, {100, 100, 100});
  pool.nodes[2].backup = true;
  pool.Build();
  for (int i = 0; i < 50; ++i) EXPECT_NE(pool.Pick().index, 2u);
  pool.nodes[0].availability = NodeAvailability::kDown;
  pool.nodes[1].availability = NodeAvailability::kOut;
  pool.Build();
  EXPECT_TRUE(pool.balancer->on_backups());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(pool.Pick().index, 2u);
}

TEST(BalancerTest, PanicUsesUnhealthyNodesButNotDrainedOnes) {
  Pool pool(Policy::kRandom, {100, 100, 100, 100});
  pool.options.panic_threshold = 0.5;
  pool.nodes[0].availability = NodeAvailability::kDown;
  pool.nodes[1].availability = NodeAvailability::kDown;
  pool.nodes[3].availability = NodeAvailability::kOut;
  pool.Build();
  EXPECT_TRUE(pool.balancer->panic());
  std::map<uint32_t, int> counts;
  for (int i = 0; i < 600; ++i) ++counts[pool.Pick().index];
  EXPECT_GT(counts[0], 100);
  EXPECT_GT(counts[1], 100);
  EXPECT_GT(counts[2], 100);
  EXPECT_EQ(counts[3], 0);
  pool.options.panic_threshold = 0;
  pool.Build();
  EXPECT_FALSE(pool.balancer->panic());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(pool.Pick().index, 2u);
}

TEST(BalancerTest, FullNodesArePassedOverAndCountedThenAllFull) {
  for (auto p : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin, Policy::kRandom,
                 Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {100, 100, 100});
    for (size_t i = 0; i < 3; ++i) pool.state(i).SetConnectionsMax(10);
    for (uint64_t i = 0; i < 30; ++i) ASSERT_NE(pool.Pick(kStart, i).node, nullptr);
    EXPECT_EQ(pool.Pick().failure, PickFailure::kAllFull) << PolicyName(p);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(pool.state(i).active(), 10u) << PolicyName(p);
    EXPECT_GT(pool.state(0).passed_full(), 0u) << PolicyName(p);
    pool.state(1).Release();
    EXPECT_EQ(pool.Pick().index, 1u) << PolicyName(p);
  }
}

TEST(BalancerTest, ExcludedNodesAreNotChosenAgain) {
  for (auto p : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin, Policy::kRandom,
                 Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {100, 100, 100});
    std::vector<const NodeState*> tried;
    for (size_t attempt = 0; attempt < 3; ++attempt) {
      PickResult picked = pool.Pick(kStart, 7, tried);
      ASSERT_NE(picked.node, nullptr) << PolicyName(p);
      for (const NodeState* before : tried) EXPECT_NE(picked.node, before) << PolicyName(p);
      tried.push_back(picked.node);
    }
    EXPECT_EQ(pool.Pick(kStart, 7, tried).failure, PickFailure::kAllExcluded);
  }
}

// What an operator asks with `why` leaves no trace: no arrival, no token, no pass.
TEST(BalancerTest, PeekAnswersAsPickAndCountsNothing) {
  for (auto p : {Policy::kSource, Policy::kMaglev, Policy::kLeastConn, Policy::kP2c}) {
    Pool pool(p, {100, 100, 100});
    pool.state(0).SetConnectionsMax(1);
    pool.Hold(0, 1);
    pool.state(1).SetAdmissionRate(1, kStart);
    pool.Build();
    const uint64_t arrivals = pool.state(0).arrivals();
    for (uint64_t source = 0; source < 200; ++source) {
      const PickResult seen =
          pool.balancer->Peek({.source_hash = source, .now = kStart}, pool.local);
      ASSERT_NE(seen.node, nullptr) << PolicyName(p);
      EXPECT_NE(seen.index, 0u) << PolicyName(p);
    }
    EXPECT_EQ(pool.state(0).arrivals(), arrivals);
    for (size_t i = 1; i < 3; ++i) {
      EXPECT_EQ(pool.state(i).arrivals(), 0u) << PolicyName(p);
      EXPECT_EQ(pool.state(i).active(), 0u) << PolicyName(p);
    }
    for (size_t i = 0; i < 3; ++i) {
      const NodeState& node = pool.state(i);
      EXPECT_EQ(node.passed_full() + node.passed_no_token() + node.passed_share_cap() +
                    node.passed_bound(),
                0u)
          << PolicyName(p);
    }
    EXPECT_TRUE(pool.state(1).HasToken(kStart)) << PolicyName(p);
  }
}

TEST(BalancerTest, WithoutABoundASourceStaysWithItsNode) {
  for (auto p : {Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {100, 100, 100});
    pool.options.bounded_load = 0;
    pool.Build();
    for (uint64_t source = 0; source < 40; ++source) {
      const PickResult first = pool.Pick(kStart, source);
      const PickResult second = pool.Pick(kStart, source);
      EXPECT_EQ(first.node, second.node) << PolicyName(p) << source;
    }
  }
}

TEST(BalancerTest, WarmingNodeGetsItsRateAndTheOthersTheRest) {
  for (auto p : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin, Policy::kRandom,
                 Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {100, 100, 100});
    pool.options.bounded_load = 0;
    pool.Hold(0, 50'000);
    pool.Hold(1, 50'000);
    pool.state(2).SetAdmissionRate(10, kStart);
    pool.Build();
    // 1000 arrivals a second for 10 seconds.
    for (int ms = 0; ms < 10'000; ++ms) {
      PickResult picked = pool.Pick(kStart + milliseconds(ms), static_cast<uint64_t>(ms));
      ASSERT_NE(picked.node, nullptr);
      ASSERT_FALSE(picked.forced);
    }
    EXPECT_NEAR(pool.state(2).active(), 100, 2) << PolicyName(p);
    EXPECT_GT(pool.state(2).passed_no_token(), 1'000u) << PolicyName(p);
  }
}

TEST(BalancerTest, AllWarmingIsNeverRefusedAndFollowsTheRates) {
  Pool pool(Policy::kP2c, {100, 100});
  pool.state(0).SetAdmissionRate(10, kStart);
  pool.state(1).SetAdmissionRate(30, kStart);
  for (int ms = 0; ms < 10'000; ++ms) {
    net::Time now = kStart + milliseconds(ms);
    if (ms % 100 == 0) {
      pool.state(0).SetAdmissionRate(10, now);
      pool.state(1).SetAdmissionRate(30, now);
    }
    ASSERT_NE(pool.Pick(now).node, nullptr);
  }
  EXPECT_GT(pool.state(0).forced() + pool.state(1).forced(), 9'000u);
  double ratio = static_cast<double>(pool.state(1).active()) / pool.state(0).active();
  EXPECT_NEAR(ratio, 3, 0.3);
}

TEST(BalancerTest, DebtOfForcedArrivalsIsForgottenSoonAfter) {
  Pool pool(Policy::kLeastConn, {100, 100});
  pool.state(0).SetAdmissionRate(10, kStart);
  for (int i = 0; i < 1'000; ++i) ASSERT_TRUE(pool.state(0).ForceReserve(kStart));
  EXPECT_GT(pool.state(0).debt_ns(kStart), 90'000'000'000);
  pool.state(0).SetAdmissionRate(20, kStart + milliseconds(100));
  EXPECT_FALSE(pool.state(0).HasToken(kStart + milliseconds(200)));
  EXPECT_TRUE(pool.state(0).HasToken(kStart + milliseconds(1'101)));
}

TEST(BalancerTest, OtherNodesFullAndTheWarmingOneWithoutTokenIsForced) {
  Pool pool(Policy::kP2c, {100, 100});
  pool.state(0).SetConnectionsMax(1);
  pool.Hold(0, 1);
  pool.state(1).SetAdmissionRate(1, kStart);
  EXPECT_FALSE(pool.Pick().forced);
  PickResult picked = pool.Pick();
  EXPECT_EQ(picked.index, 1u);
  EXPECT_TRUE(picked.forced);
  EXPECT_EQ(pool.state(1).forced(), 1u);
}

TEST(BalancerTest, ShareCapHoldsForEveryPrefixOfArrivals) {
  for (double k : {1.0, 1.5, 2.0}) {
    for (auto p : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin}) {
      Pool pool(p, {100, 100, 100, 100});
      for (size_t i = 0; i < 3; ++i) pool.Hold(i, 10'000);
      pool.nodes[3].share_cap = k;
      pool.state(3).SetAdmissionRate(1e8, kStart);  // the rate alone would admit everything
      pool.Build();
      for (int i = 1; i <= 20'000; ++i) {
        pool.Pick(kStart + milliseconds(i));
        ASSERT_LE(pool.state(3).active(), k / 4 * i + 1) << PolicyName(p) << " " << i;
      }
      if (p == Policy::kLeastConn) {  // wants every arrival for it, so it runs along the cap
        EXPECT_NEAR(pool.state(3).active(), k / 4 * 20'000, k / 4 * 20'000 * 0.02) << PolicyName(p);
        EXPECT_GT(pool.state(3).passed_share_cap(), 0u);
      }
    }
  }
}

TEST(BalancerTest, ShareCapEndsWithTheWarmUp) {
  Pool pool(Policy::kLeastConn, {100, 100});
  pool.Hold(0, 10'000);
  pool.nodes[1].share_cap = 1;
  pool.Build();
  pool.state(1).SetAdmissionRate(net::kRateUnlimited, kStart);
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(pool.Pick().index, 1u);
}

std::map<uint64_t, std::string> Placement(Pool& pool, uint64_t sources) {
  std::map<uint64_t, std::string> placed;
  for (uint64_t s = 0; s < sources; ++s) {
    PickResult picked = pool.Pick(kStart, net::FastRandom::Mix(s));
    placed[s] = pool.nodes[picked.index].name;
    picked.node->Release();
  }
  return placed;
}

TEST(BalancerTest, SourceAndMaglevSpreadByWeight) {
  for (auto [p, tolerance] : {std::pair{Policy::kSource, 0.2}, {Policy::kMaglev, 0.03}}) {
    std::vector<uint32_t> weights = {100, 200, 50, 100};
    Pool pool(p, weights);
    std::map<std::string, int> counts;
    for (const auto& [source, name] : Placement(pool, 50'000)) ++counts[name];
    for (size_t i = 0; i < weights.size(); ++i) {
      double expected = 50'000.0 * weights[i] / 450;
      EXPECT_NEAR(counts[pool.nodes[i].name], expected, expected * tolerance) << PolicyName(p);
    }
  }
}

TEST(BalancerTest, ANodeThatLeavesMovesOnlyItsOwnSources) {
  for (auto [p, others_may_move] : {std::pair{Policy::kSource, 0.0}, {Policy::kMaglev, 0.03}}) {
    Pool pool(p, {100, 100, 100, 100, 100});
    auto before = Placement(pool, 20'000);
    pool.nodes[2].availability = NodeAvailability::kDown;
    pool.Build();
    auto after = Placement(pool, 20'000);
    int moved_others = 0;
    for (const auto& [source, name] : before) {
      if (name == "node2") {
        EXPECT_NE(after[source], "node2");
      } else if (after[source] != name) {
        ++moved_others;
      }
    }
    EXPECT_LE(moved_others, 20'000 * others_may_move) << PolicyName(p);
  }
}

TEST(BalancerTest, ANodeThatGainsWeightOrJoinsTakesSourcesAndMovesNoneBetweenOthers) {
  Pool pool(Policy::kSource, {100, 100, 100});
  auto before = Placement(pool, 20'000);
  pool.state(1).SetEffectiveWeight(150 * kWeightScale);
  pool.Build();
  auto heavier = Placement(pool, 20'000);
  int gained = 0;
  for (const auto& [source, name] : before) {
    if (heavier[source] == name) continue;
    ASSERT_EQ(heavier[source], "node1");
    ++gained;
  }
  EXPECT_GT(gained, 20'000 / 20);
  EXPECT_LT(gained, 20'000 / 5);  // from 1/3 to 3/7 of all
  BalancerNode joined;
  joined.name = "node9";
  joined.state = std::make_shared<NodeState>(100);
  pool.nodes.push_back(joined);
  pool.Build();
  auto after = Placement(pool, 20'000);
  int moved = 0;
  for (const auto& [source, name] : heavier) {
    if (after[source] == name) continue;
    ASSERT_EQ(after[source], "node9");
    ++moved;
  }
  EXPECT_LT(moved, 20'000 * 0.3);  // its share is 100 of 450
}

TEST(BalancerTest, PlacementBySourceDoesNotDependOnTheOrderOfNodes) {
  for (auto p : {Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {100, 200, 100});
    auto before = Placement(pool, 5'000);
    std::reverse(pool.nodes.begin(), pool.nodes.end());
    pool.Build();
    EXPECT_EQ(Placement(pool, 5'000), before) << PolicyName(p);
  }
}

TEST(BalancerTest, BoundedLoadHoldsForOneHotSource) {
  for (auto p : {Policy::kSource, Policy::kMaglev}) {
    Pool pool(p, {100, 100, 100, 200});
    for (int i = 1; i <= 10'000; ++i) {
      ASSERT_NE(pool.Pick(kStart, 12345).node, nullptr);
      for (size_t n = 0; n < 4; ++n) {
        double fair = pool.nodes[n].weight / 500.0 * i;
        ASSERT_LE(pool.state(n).active(), std::ceil(1.25 * fair - 1e-9))
            << PolicyName(p) << " " << i;
      }
    }
    uint64_t passed = 0;
    for (size_t n = 0; n < 4; ++n) passed += pool.state(n).passed_bound();
    EXPECT_GT(passed, 0u);
  }
}

TEST(BalancerTest, SmallMaglevTablesWork) {
  Pool pool(Policy::kMaglev, {100, 1000, 1});
  pool.options.maglev_table = 251;
  pool.Build();
  for (uint64_t s = 0; s < 1'000; ++s) ASSERT_NE(pool.Pick(kStart, s).node, nullptr);
}

TEST(BalancerTest, ALocalKeepsItsTurnsOverSnapshots) {
  Pool pool(Policy::kRoundRobin, {100, 100, 100});
  std::vector<uint64_t> counts(3);
  for (int i = 0; i < 300; ++i) {
    ++counts[pool.Pick().index];
    pool.Build();  // a new snapshot each time must not restart the rotation
  }
  for (uint64_t c : counts) EXPECT_NEAR(static_cast<double>(c), 100, 1);
}

TEST(BalancerTest, ConnectionsMaxHoldsAcrossWorkers) {
  auto shared = std::make_shared<NodeState>(100, 100);
  auto other = std::make_shared<NodeState>(100, 100);
  BalancerNode a;
  a.name = "a";
  a.state = shared;
  BalancerNode b;
  b.name = "b";
  b.state = other;
  Balancer balancer({a, b}, {});
  std::atomic<int> placed{0};
  std::atomic<int> over{0};
  std::vector<std::jthread> workers;
  for (uint64_t w = 0; w < 4; ++w) {
    workers.emplace_back([&, w] {
      PickLocal local(w);
      local.Adopt(balancer);
      for (int i = 0; i < 20'000; ++i) {
        PickResult picked = balancer.Pick({.now = kStart}, local);
        if (picked.node == nullptr) continue;
        placed.fetch_add(1);
        if (i % 2 == 0) {
          picked.node->Release();
          placed.fetch_sub(1);
        }
        if (placed.load() > 210) over.fetch_add(1);
      }
    });
  }
  workers.clear();
  EXPECT_EQ(over.load(), 0);
  EXPECT_EQ(placed.load(), 200);
  EXPECT_EQ(shared->active() + other->active(), 200u);
}

TEST(BalancerTest, ExplainSaysWhyAndHowMuch) {
  Pool pool(Policy::kP2c, {100, 100, 200, 100, 0, 100});
  pool.nodes[3].availability = NodeAvailability::kDown;
  pool.nodes[3].why = "connection refused 3 times";
  pool.nodes[5].backup = true;
  pool.nodes[1].share_cap = 1;
  pool.state(1).SetAdmissionRate(10, kStart);
  pool.state(2).SetEffectiveWeight(100 * kWeightScale);
  pool.Build();
  auto explained = pool.balancer->Explain(kStart, 100);
  ASSERT_EQ(explained.size(), 6u);
  EXPECT_TRUE(explained[0].candidate);
  EXPECT_EQ(explained[0].why, "in use");
  EXPECT_DOUBLE_EQ(explained[0].share_by_weight, 1.0 / 3);
  EXPECT_DOUBLE_EQ(explained[1].share_cap, 1.0 / 3);
  EXPECT_DOUBLE_EQ(explained[1].share_expected, 0.1);  // 10/s of 100/s
  EXPECT_DOUBLE_EQ(explained[0].share_expected, 0.45);
  EXPECT_THAT(explained[1].why, HasSubstr("warming up"));
  EXPECT_DOUBLE_EQ(explained[2].ramp, 0.5);
  EXPECT_DOUBLE_EQ(explained[2].effective_weight, 100);
  EXPECT_FALSE(explained[3].candidate);
  EXPECT_EQ(explained[3].why, "down: connection refused 3 times");
  EXPECT_EQ(explained[4].why, "weight is 0");
  EXPECT_EQ(explained[5].why, "backup; primaries are up");
  double sum = 0;
  for (const auto& e : explained) sum += e.share_expected;
  EXPECT_NEAR(sum, 1, 1e-9);
}

TEST(NodeStateTest, ConsecutiveErrorsEndWithASuccess) {
  NodeState node;
  EXPECT_EQ(node.OnConnectFailed(), 1u);
  EXPECT_EQ(node.OnConnectFailed(), 2u);
  node.OnConnected();
  EXPECT_EQ(node.consecutive_errors(), 0u);
  EXPECT_EQ(node.OnConnectFailed(), 1u);
  EXPECT_EQ(node.connect_failures(), 3u);
  EXPECT_EQ(node.connects(), 1u);
}

TEST(NodeStateTest, TokensComeAtTheRateWithABoundedBurst) {
  NodeState node;
  node.SetAdmissionRate(1'000, kStart);
  int burst = 0;
  while (node.TryReserve(kStart) == ReserveResult::kOk) ++burst;
  EXPECT_EQ(burst, 50);  // kAdmissionBurst
  int taken = 0;
  for (int us = 0; us < 1'000'000; us += 100) {
    taken += node.TryReserve(kStart + std::chrono::microseconds(us)) == ReserveResult::kOk;
  }
  EXPECT_NEAR(taken, 1'000, 2);
  EXPECT_EQ(node.active(), static_cast<uint32_t>(burst + taken));  // a refusal reserves nothing
  node.SetAdmissionRate(net::kRateUnlimited, kStart);
  EXPECT_FALSE(node.warming());
  EXPECT_EQ(node.TryReserve(kStart), ReserveResult::kOk);
}

TEST(NodeStateTest, RateZeroStillAdmitsOneAnHour) {
  NodeState node;
  node.SetAdmissionRate(0, kStart);
  EXPECT_EQ(node.TryReserve(kStart), ReserveResult::kOk);
  EXPECT_EQ(node.TryReserve(kStart + std::chrono::minutes(59)), ReserveResult::kNoToken);
  EXPECT_EQ(node.TryReserve(kStart + std::chrono::hours(1)), ReserveResult::kOk);
}

TEST(HashTest, KeyedHashIsSipHash13) {
  // Reference outputs of SipHash-1-3 with key 00..0f (as in Rust's hasher tests).
  net::HashKey key{0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
  std::vector<uint8_t> in;
  EXPECT_EQ(net::KeyedHash(key, in), 0xabac0158050fc4dcU);
  in.push_back(0);
  EXPECT_EQ(net::KeyedHash(key, in), 0xc9f49bf37d57ca93U);
  for (uint8_t b = 1; b < 8; ++b) in.push_back(b);
  EXPECT_NE(net::KeyedHash(key, in), net::KeyedHash({1, 2}, in));
}

}  // namespace
}  // namespace lb
