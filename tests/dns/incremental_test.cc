// What changes between builds: serials, challenges beside the zone, pools. Every answer after an
// Update() must be the one that a Build() would give.
#include <gtest/gtest.h>

#include "dns/answer/zone_records.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using test::Response;
using test::World;

Record Txt(std::string_view owner, std::string_view token) {
  Bytes rdata = {static_cast<uint8_t>(token.size())};
  rdata.insert(rdata.end(), token.begin(), token.end());
  return {N(owner), Type::kTxt, 5, rdata};
}

class IncrementalTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    world_.config.rate_limit.per_second = 0;
    world_.AddPool(test::MakePool(3));
    world_.AddZone("example.org.",
                   std::string(test::kZoneText) +
                       "_acme-challenge.www 60 IN TXT old\n"
                       "_acme-challenge.ext 60 IN CNAME _acme-challenge.lent\n"
                       "second 60 IN CNAME _acme-challenge.ext\n"
                       "soa 60 IN CNAME @\n"
                       "_acme-challenge.sent 60 IN CNAME there.example.com.\n",
                   GetParam() ? test::KeyOfExample() : nullptr);
    world_.UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
    world_.Build();
  }
  void Update(uint64_t pools = 0) {
    world_.generation =
        world_.compiler->Update(world_.views, pools, world_.now.unix_seconds, world_.signatures);
  }
  Response Ask(std::string name, Type type = Type::kTxt) {
    return world_.AskFor(QueryBuilder{.name = std::move(name),
                                      .type = static_cast<uint16_t>(type),
                                      .edns = true,
                                      .dnssec_ok = GetParam()},
                         Transport::kTcp);
  }
  size_t Texts(std::string name) { return Ask(std::move(name)).Answers(Type::kTxt).size(); }

  World world_;
};
INSTANTIATE_TEST_SUITE_P(Zones, IncrementalTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Signed" : "Unsigned"; });

TEST_P(IncrementalTest, AChallengeStandsBesideTheZoneAndGoesWithoutATrace) {
  std::shared_ptr<const Image> image = world_.generation->image;
  EXPECT_EQ(world_.AskFor("_acme-challenge.a.b.c.example.org.", Type::kTxt).rcode, 3);
  world_.compiler->SetOverlay({Txt("_acme-challenge.a.b.c.example.org.", "t1"),
                               Txt("_acme-challenge.a.b.c.example.org.", "t2"),
                               Txt("_acme-challenge.www.example.org.", "new")});
  Update();
  EXPECT_EQ(world_.generation->image, image);  // nothing was built again
  EXPECT_EQ(Texts("_acme-challenge.a.b.c.example.org."), 2u);
  EXPECT_EQ(Texts("_acme-challenge.www.example.org."), 2u);  // beside the file's
  // Names above it exist now, without data; names beside it do not.
  EXPECT_EQ(Ask("a.b.c.example.org.").rcode, 0);
  EXPECT_EQ(Ask("c.example.org.").rcode, 0);
  EXPECT_EQ(world_.AskFor("x.b.c.example.org.", Type::kTxt).rcode, 3);
  EXPECT_EQ(Ask("www.example.org.", Type::kA).Answers(Type::kA).size(), 3u);
  world_.compiler->SetOverlay({});
  Update();
  EXPECT_EQ(world_.generation->overlay, nullptr);
  EXPECT_EQ(world_.AskFor("_acme-challenge.a.b.c.example.org.", Type::kTxt).rcode, 3);
  EXPECT_EQ(Texts("_acme-challenge.www.example.org."), 1u);
}

TEST_P(IncrementalTest, AliasesOfAChallengeFollowIt) {
  EXPECT_EQ(Texts("second.example.org."), 0u);
  world_.compiler->SetOverlay({Txt("_acme-challenge.lent.example.org.", "t")});
  Update();
  EXPECT_EQ(Texts("_acme-challenge.ext.example.org."), 1u);
  EXPECT_EQ(Texts("second.example.org."), 1u);
  world_.compiler->SetOverlay({});
  Update();
  EXPECT_EQ(Texts("second.example.org."), 0u);
}

TEST_P(IncrementalTest, AChallengeUnderAWildcardTakesItsNameOnly) {
  EXPECT_EQ(Texts("x.wild.example.org."), 1u);
  world_.compiler->SetOverlay({Txt("_acme-challenge.x.wild.example.org.", "t")});
  Update();
  EXPECT_EQ(Texts("_acme-challenge.x.wild.example.org."), 1u);
  EXPECT_EQ(Texts("y.wild.example.org."), 1u);
  EXPECT_EQ(Texts("x.wild.example.org."), 0u);  // it exists now, empty (RFC 4592 §2.2.2)
}

TEST_P(IncrementalTest, ChallengesBelowCutsAndAtAliasesAreLeftOut) {
  world_.compiler->SetOverlay({Txt("_acme-challenge.sub.example.org.", "t"),
                               Txt("_acme-challenge.sent.example.org.", "t"),
                               Txt("_acme-challenge.example.com.", "t")});
  Update();
  EXPECT_FALSE(Ask("_acme-challenge.sub.example.org.").aa());
  EXPECT_EQ(Texts("_acme-challenge.sent.example.org."), 0u);
  EXPECT_EQ(world_.generation->overlay, nullptr);
}

TEST_P(IncrementalTest, ARaisedSerialIsInEveryAnswerThatHoldsTheSoa) {
  std::shared_ptr<const Image> image = world_.generation->image;
  uint64_t made = world_.signatures.signatures_made();
  world_.compiler->SetSerial(N("example.org."), 4711);
  Update();
  EXPECT_EQ(world_.generation->image, image);
  auto soa_of = [](const Response& response) {
    for (const auto& record : response.records) {
      if (record.type == Type::kSoa) return SoaSerial(record.rdata);
    }
    return 0u;
  };
  EXPECT_EQ(soa_of(Ask("example.org.", Type::kSoa)), 4711u);
  EXPECT_EQ(soa_of(Ask("soa.example.org.", Type::kSoa)), 4711u);
  EXPECT_EQ(soa_of(Ask("www.example.org.")), 4711u);      // NODATA
  EXPECT_EQ(soa_of(Ask("nowhere.example.org.")), 4711u);  // NXDOMAIN
  EXPECT_EQ(soa_of(Ask("b.example.org.")), 4711u);        // empty
  EXPECT_EQ(soa_of(Ask("alias.example.org.")), 4711u);    // NODATA behind an alias
  EXPECT_EQ(soa_of(Ask("sub.example.org.", Type::kDs)), 4711u);
  // The SOA, with its own TTL and with that of denials.
  EXPECT_EQ(world_.signatures.signatures_made() - made, GetParam() ? 2u : 0u);
}

TEST_P(IncrementalTest, ATransferHoldsWhatIsGivenOutAtThatMoment) {
  world_.compiler->SetSerial(N("example.org."), 99);
  world_.compiler->SetOverlay({Txt("_acme-challenge.new.example.org.", "t")});
  std::vector<BalancerLive> live(3);
  live[1].standing = Standing::kDown;
  world_.views[0] = MakeView(world_.pools[0], live, world_.views[0]);
  Update(1);
  const Generation& generation = *world_.generation;
  ZoneRecords records(generation.contents[0], generation.zones[0], &world_.signatures);
  std::map<std::pair<Name, Type>, size_t> counts;
  std::vector<std::pair<Name, Name>> chain;
  while (auto record = records.Next()) {
    ++counts[{record->owner, record->type}];
    if (record->type != Type::kNsec) continue;
    auto next = Name::FromWire(ByteView(record->rdata).first(RdataNameSize(record->rdata)));
    chain.emplace_back(record->owner, *next);
  }
  EXPECT_EQ((counts[{N("xmpp.example.org."), Type::kA}]), 2u);
  EXPECT_EQ((counts[{N("_xmpp-client._tcp.example.org."), Type::kSrv}]), 2u);
  EXPECT_EQ((counts[{N("_acme-challenge.new.example.org."), Type::kTxt}]), 1u);
  EXPECT_EQ((counts[{N("ns1.sub.example.org."), Type::kA}]), 1u);
  EXPECT_EQ((counts[{N("ns1.sub.example.org."), Type::kRrsig}]), 0u);
  EXPECT_EQ((counts[{N("example.org."), Type::kSoa}]), 0u);
  EXPECT_EQ((counts[{N("example.org."), Type::kDnskey}]), GetParam() ? 1u : 0u);
  if (!GetParam()) {
    EXPECT_TRUE(chain.empty());
    return;
  }
  // One ring over the names that have something, in order.
  ASSERT_GT(chain.size(), 10u);
  EXPECT_EQ(chain.front().first, N("example.org."));
  EXPECT_EQ(chain.back().second, N("example.org."));
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    EXPECT_EQ(chain[i].second, chain[i + 1].first);
    EXPECT_LT(chain[i].first, chain[i].second);
  }
  EXPECT_EQ((counts[{N("sub.example.org."), Type::kRrsig}]), 1u);  // of the NSEC alone
}

}  // namespace
}  // namespace dns
