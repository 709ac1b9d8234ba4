// Pools of other services: SRV of any name, HTTPS and SVCB (RFC 9460).
#include <gtest/gtest.h>

#include <set>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;

class BindingTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.config.rate_limit.per_second = 0;
    PoolConfig pool = test::MakePool(3);
    pool.balancers[2].priority = 10;
    world_.AddPool(pool);
    world_.AddZone("example.org.", test::kZoneText);
    world_.UsePool(0, "web.example.org.", {{"sip", 5060, "udp"}, {"xmpp-client", 5222}},
                   "example.org.",
                   {{N("web.example.org."), Type::kHttps, {0, 1, 0, 3, 2, 'h', '2'}},
                    {N("_8443._https.web.example.org."), Type::kSvcb, {}}});
    world_.Build();
  }
  void Down(size_t balancer) {
    std::vector<BalancerLive> live(3);
    live[balancer].standing = Standing::kDown;
    world_.SetLive(0, live);
    world_.generation =
        world_.compiler->Update(world_.views, 1, world_.now.unix_seconds, world_.signatures);
  }
  std::set<Bytes> Data(std::string_view name, Type type) {
    std::set<Bytes> data;
    for (const auto& record : world_.AskFor(name, type).Answers(type)) data.insert(record.rdata);
    return data;
  }
  static Bytes Binding(uint8_t priority, std::string_view host, Bytes params) {
    Bytes out = {0, priority};
    Append(out, N(host).wire());
    Append(out, params);
    return out;
  }

  test::World world_;
};

TEST_F(BindingTest, AnHttpsSetHasARecordABalancerAndFollowsHealth) {
  Bytes h2 = {0, 1, 0, 3, 2, 'h', '2'};
  Bytes one = Binding(1, "lb1.web.example.org.", h2);
  Bytes two = Binding(1, "lb2.web.example.org.", h2);
  Bytes backup = Binding(11, "lb3.web.example.org.", h2);
  EXPECT_EQ(Data("web.example.org.", Type::kHttps), (std::set<Bytes>{one, two, backup}));
  EXPECT_EQ(Data("web.example.org.", Type::kA).size(), 3u) << "addresses stand beside it";
  EXPECT_EQ(Data("_8443._https.web.example.org.", Type::kSvcb).size(), 3u);
  Down(0);
  EXPECT_EQ(Data("web.example.org.", Type::kHttps), (std::set<Bytes>{two, backup}));
  EXPECT_EQ(Data("_8443._https.web.example.org.", Type::kSvcb).size(), 2u);
  auto response = world_.AskFor("web.example.org.", Type::kHttps);
  size_t addresses = 0;
  for (const auto& record : response.Section(3)) addresses += record.type == Type::kA ? 1u : 0u;
  EXPECT_EQ(addresses, 2u) << "RFC 9460 §4.1: the hosts' addresses go along";
}

TEST_F(BindingTest, SrvOfAnyNameAndProtocolFollowsTheAddresses) {
  EXPECT_EQ(Data("_sip._udp.example.org.", Type::kSrv).size(), 3u);
  Down(1);
  EXPECT_EQ(Data("_sip._udp.example.org.", Type::kSrv).size(), 2u);
  EXPECT_EQ(Data("_xmpp-client._tcp.example.org.", Type::kSrv).size(), 2u);
}

TEST(BindingMistakes, TwoPoolsMakeNoSetTogetherAndTwoUsesOfOnePoolDo) {
  test::World world;
  world.config.rate_limit.per_second = 0;
  world.AddPool(test::MakePool(2));
  world.AddZone("example.org.", test::kZoneText);
  world.UsePool(0, "a.example.org.", {{"xmpp-client", 5222}});
  world.UsePool(0, "b.example.org.", {{"xmpp-client", 5222}});
  world.Build();
  EXPECT_EQ(world.AskFor("_xmpp-client._tcp.example.org.", Type::kSrv).Answers(Type::kSrv).size(),
            4u);
  Zone zone;
  zone.apex = N("example.org.");
  zone.pools = {{0, N("a.example.org."), zone.apex, {{"sip", 1}}, {}},
                {1, N("b.example.org."), zone.apex, {{"sip", 2}}, {}}};
  auto mistakes = FindMistakes(zone);
  EXPECT_TRUE(std::ranges::any_of(mistakes, [](const std::string& mistake) {
    return mistake == "_sip._tcp.example.org. has the SRV records of two pools";
  }));
}

}  // namespace
}  // namespace dns
