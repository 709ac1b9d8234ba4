// Who gets what share, over many answers: the property that the server is for.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::QueryBuilder;
using test::World;

constexpr int kAnswers = 100'000;

// χ² of counts against expected shares.
double ChiSquare(const std::map<int, int>& counts, const std::map<int, double>& shares, int total) {
  double sum = 0;
  for (const auto& [key, share] : shares) {
    double expected = share * total;
    auto it = counts.find(key);
    double got = it == counts.end() ? 0 : it->second;
    sum += (got - expected) * (got - expected) / expected;
  }
  return sum;
}

class DistributionTest : public testing::Test {
 protected:
  void Make(PoolConfig pool, std::shared_ptr<const SigningKey> key = nullptr) {
    world_.config.rate_limit.per_second = 0;
    world_.AddPool(std::move(pool));
    world_.AddZone("example.org.", test::kZoneText, std::move(key));
    world_.UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
    world_.Build();
  }
  // The last bytes of the addresses, in the order of the answer.
  std::vector<int> Order(bool dnssec = false) {
    QueryBuilder query{.name = "xmpp.example.org.", .edns = dnssec, .dnssec_ok = dnssec};
    std::vector<int> order;
    for (const auto& record : test::ReadResponse(world_.Ask(query.Build())).Answers(Type::kA)) {
      order.push_back(record.rdata[3]);
    }
    return order;
  }
  std::map<int, double> EqualShares(int count) {
    std::map<int, double> shares;
    for (int i = 1; i <= count; ++i) shares[i] = 1.0 / count;
    return shares;
  }
  World world_;
};

// Critical values of χ² at p = 0.0001; seeds are fixed, so the tests do not flicker.
constexpr double kCritical1 = 15.1, kCritical3 = 21.1, kCritical6 = 27.9, kCritical7 = 29.9,
                 kCritical55 = 104.9;

TEST_F(DistributionTest, EachOfEightAddressesIsFirstEquallyOften) {
  Make(test::MakePool(8));
  std::map<int, int> first;
  for (int i = 0; i < kAnswers; ++i) {
    auto order = Order();
    ASSERT_EQ(order.size(), 8u);
    ++first[order[0]];
  }
  EXPECT_LT(ChiSquare(first, EqualShares(8), kAnswers), kCritical7);
}

TEST_F(DistributionTest, ADeadAddressLeavesEqualSharesBehindWhichARotationWouldNot) {
  Make(test::MakePool(8));
  // A client whose first address is dead takes the next: who is behind address 1?
  std::map<int, int> second;
  std::map<int, int> pairs;
  int dead_first = 0;
  for (int i = 0; i < kAnswers; ++i) {
    auto order = Order();
    ++pairs[order[0] * 10 + order[1]];
    if (order[0] != 1) continue;
    ++dead_first;
    ++second[order[1]];
  }
  auto shares = EqualShares(8);
  shares.erase(1);
  for (auto& [key, share] : shares) share = 1.0 / 7;
  EXPECT_LT(ChiSquare(second, shares, dead_first), kCritical6);
  // All 56 ordered pairs are equally likely; in a rotation only 8 would be there.
  std::map<int, double> all_pairs;
  for (int a = 1; a <= 8; ++a) {
    for (int b = 1; b <= 8; ++b) {
      if (a != b) all_pairs[a * 10 + b] = 1.0 / 56;
    }
  }
  EXPECT_LT(ChiSquare(pairs, all_pairs, kAnswers), kCritical55);
  std::map<int, int> rotation;
  for (int i = 0; i < kAnswers; ++i) ++rotation[(i % 8 + 1) * 10 + (i + 1) % 8 + 1];
  EXPECT_GT(ChiSquare(rotation, all_pairs, kAnswers), kCritical55);
}

TEST_F(DistributionTest, MoreAddressesThanAnAnswerHoldsAreAllGivenOutEquallyOften) {
  Make(test::MakePool(20));
  std::map<int, int> first, anywhere;
  for (int i = 0; i < kAnswers; ++i) {
    auto order = Order();
    ASSERT_EQ(order.size(), 8u);
    ++first[order[0]];
    for (int address : order) ++anywhere[address];
  }
  auto shares = EqualShares(20);
  EXPECT_LT(ChiSquare(first, shares, kAnswers), 50.8);  // 19 degrees of freedom
  EXPECT_LT(ChiSquare(anywhere, shares, kAnswers * 8), 50.8);
}

TEST_F(DistributionTest, WeightsDecideTheShareOfFirstPlacesAndOfAllPlaces) {
  PoolConfig pool = test::MakePool(4);
  pool.balancers[0].weight = 100;
  pool.balancers[1].weight = 100;
  pool.balancers[2].weight = 50;
  pool.balancers[3].weight = 50;
  Make(pool);
  std::map<int, double> shares = {{1, 1.0 / 3}, {2, 1.0 / 3}, {3, 1.0 / 6}, {4, 1.0 / 6}};
  std::map<int, int> first, anywhere;
  for (int i = 0; i < kAnswers; ++i) {
    auto order = Order();
    ASSERT_EQ(order.size(), 3u);  // floor(300 / 100)
    EXPECT_EQ(std::set<int>(order.begin(), order.end()).size(), 3u);
    ++first[order[0]];
    for (int address : order) ++anywhere[address];
  }
  EXPECT_LT(ChiSquare(first, shares, kAnswers), kCritical3);
  EXPECT_LT(ChiSquare(anywhere, shares, kAnswers * 3), kCritical3);
}

TEST_F(DistributionTest, TwoWithUnequalWeightsAreGivenOutOneAtATime) {
  PoolConfig pool = test::MakePool(2);
  pool.balancers[0].weight = 30;
  pool.balancers[1].weight = 10;
  Make(pool);
  std::map<int, int> first;
  for (int i = 0; i < kAnswers; ++i) {
    auto order = Order();
    ASSERT_EQ(order.size(), 1u);
    ++first[order[0]];
  }
  EXPECT_LT(ChiSquare(first, {{1, 0.75}, {2, 0.25}}, kAnswers), kCritical1);
}

TEST_F(DistributionTest, SignedSubsetsReachEveryAddress) {
  auto key = std::make_shared<const SigningKey>(
      SigningKey::Generate(test::N("example.org."), Algorithm::kEcdsaP256Sha256));
  Make(test::MakePool(20), key);
  std::map<int, int> seen;
  std::set<std::vector<int>> subsets;
  for (int i = 0; i < 5000; ++i) {
    auto order = Order(true);
    ASSERT_EQ(order.size(), 8u);
    for (int address : order) ++seen[address];
    std::sort(order.begin(), order.end());
    subsets.insert(order);
  }
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_GT(subsets.size(), 25u);
  EXPECT_LE(subsets.size(), kVariants);
}

TEST_F(DistributionTest, ADownBalancerLeavesAAndSrvInTheSameGeneration) {
  Make(test::MakePool(3));
  std::vector<BalancerLive> live(3);
  live[1].standing = Standing::kDown;
  world_.SetLive(0, live);
  for (int i = 0; i < 100; ++i) {
    auto order = Order();
    EXPECT_EQ(order.size(), 2u);
    EXPECT_EQ(std::count(order.begin(), order.end(), 2), 0);
  }
  auto srv = world_.AskFor("_xmpp-client._tcp.example.org.", Type::kSrv);
  EXPECT_EQ(srv.Answers(Type::kSrv).size(), 2u);
  auto extras = srv.Section(3);
  ASSERT_EQ(extras.size(), 2u);
  for (const auto& extra : extras) EXPECT_NE(extra.rdata[3], 2);
  // The host name itself still answers: who knows it may use it.
  EXPECT_EQ(world_.AskFor("lb2.xmpp.example.org.", Type::kA).Section(1).size(), 1u);
}

TEST_F(DistributionTest, AnEmptyPoolGivesNoDataWithAnExtendedError) {
  PoolConfig pool = test::MakePool(2);
  pool.all_down = AllDown::kNone;
  Make(pool);
  std::vector<BalancerLive> live(2);
  live[0].standing = live[1].standing = Standing::kDown;
  world_.SetLive(0, live);
  auto response = world_.AskFor(QueryBuilder{.name = "xmpp.example.org.", .edns = true});
  EXPECT_EQ(response.rcode, 0);
  EXPECT_TRUE(response.Section(1).empty());
  EXPECT_EQ(response.Section(2)[0].type, Type::kSoa);
  ASSERT_NE(response.Find(15), nullptr);
  world_.SetLive(0, std::vector<BalancerLive>(2));
  EXPECT_EQ(Order().size(), 2u);
}

TEST_F(DistributionTest, SrvSetsAreWholeHoweverManyBackupsThereAre) {
  World world;
  world.config.rate_limit.per_second = 0;
  PoolConfig pool = test::MakePool(12);
  pool.answers_max = 8;
  for (size_t i = 2; i < pool.balancers.size(); ++i) pool.balancers[i].priority = 10;
  world.AddPool(pool);
  world.AddZone("example.org.", test::kZoneText);
  world.UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
  world.Build();
  for (int i = 0; i < 100; ++i) {
    QueryBuilder query{.name = "_xmpp-client._tcp.example.org.", .type = 33, .edns = true};
    auto answers = world.AskFor(query).Answers(Type::kSrv);
    ASSERT_EQ(answers.size(), 12u);
    size_t primaries = static_cast<size_t>(
        std::ranges::count_if(answers, [](const auto& r) { return Get16(r.rdata.data()) == 0; }));
    ASSERT_EQ(primaries, 2u);
  }
}

TEST_F(DistributionTest, SrvCarriesWeightAndPriorityAndTheFieldAloneDecides) {
  PoolConfig pool = test::MakePool(2);
  pool.balancers[0].weight = 30;
  pool.balancers[1].priority = 5;
  Make(pool);
  for (int i = 0; i < 50; ++i) {
    auto answers = world_.AskFor("_xmpp-client._tcp.example.org.", Type::kSrv).Answers(Type::kSrv);
    ASSERT_EQ(answers.size(), 2u);
    for (const auto& record : answers) {
      bool one = record.rdata[9] == '1';
      EXPECT_EQ(Get16(record.rdata.data()), one ? 0 : 5);
      EXPECT_EQ(Get16(record.rdata.data() + 2), one ? 30 : 100);
      EXPECT_EQ(Get16(record.rdata.data() + 4), 5222);
    }
  }
}

TEST_F(DistributionTest, ACnameToAPoolFollowsIt) {
  world_.config.rate_limit.per_second = 0;
  world_.AddPool(test::MakePool(3));
  world_.AddZone("example.org.", std::string(test::kZoneText) + "chat 60 IN CNAME xmpp\n");
  world_.UsePool(0, "xmpp.example.org.");
  world_.Build();
  EXPECT_EQ(world_.AskFor("chat.example.org.", Type::kA).Answers(Type::kA).size(), 3u);
  std::vector<BalancerLive> live(3);
  live[0].standing = Standing::kDown;
  world_.SetLive(0, live);
  EXPECT_EQ(world_.AskFor("chat.example.org.", Type::kA).Answers(Type::kA).size(), 2u);
}

}  // namespace
}  // namespace dns
