// NSEC, RRSIG and ANY asked for by name, at every kind of name. What a compact denial says is there
// must be there (RFC 9824): a validator takes anything else for a lie.
#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using test::Response;
using test::World;

class AskedByNameTest : public testing::Test {
 protected:
  void Start(bool sign, AllDown all_down = AllDown::kAll) {
    world_->config.rate_limit.per_second = 0;
    PoolConfig pool = test::MakePool(3);
    pool.all_down = all_down;
    world_->AddPool(pool);
    world_->AddZone("example.org.", std::string(test::kZoneText) + "*.wcn 60 IN CNAME nowhere\n",
                    sign ? std::make_shared<const SigningKey>(
                               SigningKey::Generate(N("example.org."), Algorithm::kEd25519))
                         : nullptr);
    world_->UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
    world_->Build();
  }
  Response Ask(std::string name, Type type, bool dnssec_ok = true) {
    return world_->AskFor(QueryBuilder{.name = std::move(name),
                                       .type = static_cast<uint16_t>(type),
                                       .edns = true,
                                       .dnssec_ok = dnssec_ok},
                          Transport::kTcp);
  }
  std::unique_ptr<World> world_ = std::make_unique<World>();
};

// Names with records, empty ones, absent ones, made by a wildcard, aliases, pools.
constexpr const char* kNames[] = {
    "example.org.",          "www.example.org.",   "b.example.org.",
    "nowhere.example.org.",  "x.y.example.org.",   "a.wild.example.org.",
    "q.wcn.example.org.",    "alias.example.org.", "dangling.example.org.",
    "out.example.org.",      "xmpp.example.org.",  "_tcp.example.org.",
    "lb1.xmpp.example.org.", "wild.example.org.",  "_xmpp-client._tcp.example.org.",
};

TEST_F(AskedByNameTest, NsecIsGivenAtEveryNameAndOwnedByIt) {
  Start(true);
  for (const char* name : kNames) {
    Response response = Ask(name, Type::kNsec);
    EXPECT_EQ(response.rcode, 0) << name;
    EXPECT_TRUE(response.aa()) << name;
    auto nsec = response.Answers(Type::kNsec);
    ASSERT_EQ(nsec.size(), 1u) << name;
    EXPECT_EQ(nsec[0].owner, N(name));
    ASSERT_EQ(response.Section(1).size(), 2u) << name;
    // It is the one that denies other types.
    for (const auto& record : Ask(name, Type::kTlsa).Section(2)) {
      if (record.type == Type::kNsec && record.owner == N(name)) {
        EXPECT_EQ(record.rdata, nsec[0].rdata) << name;
      }
    }
  }
}

TEST_F(AskedByNameTest, RrsigIsGivenAtEveryName) {
  Start(true);
  for (const char* name : kNames) {
    Response response = Ask(name, Type::kRrsig);
    EXPECT_EQ(response.rcode, 0) << name;
    ASSERT_EQ(response.Section(1).size(), 1u) << name;
    EXPECT_EQ(response.Answers(Type::kRrsig)[0].owner, N(name));
    EXPECT_TRUE(response.Section(2).empty()) << name;
  }
}

TEST_F(AskedByNameTest, UnsignedZonesHaveNeither) {
  Start(false);
  EXPECT_TRUE(Ask("www.example.org.", Type::kNsec).Section(1).empty());
  EXPECT_EQ(Ask("nowhere.example.org.", Type::kRrsig).rcode, 3);
}

TEST_F(AskedByNameTest, AnyGivesOneRecordWhereThereIsSomethingAndDeniesWhereThereIsNot) {
  for (bool sign : {false, true}) {
    world_ = std::make_unique<World>();
    Start(sign);
    for (const char* name : {"www.example.org.", "a.wild.example.org.", "xmpp.example.org.",
                             "example.org.", "lb1.xmpp.example.org."}) {
      Response response = Ask(name, Type::kAny);
      ASSERT_EQ(response.Answers(Type::kHinfo).size(), 1u) << name << sign;
      EXPECT_EQ(response.Answers(Type::kHinfo)[0].owner, N(name));
      EXPECT_EQ(response.Answers(Type::kRrsig).size(), sign ? 1u : 0u);
    }
    // RFC 8482 §4.2: nothing is made up beside a CNAME.
    for (const char* name : {"alias.example.org.", "q.wcn.example.org."}) {
      Response response = Ask(name, Type::kAny);
      EXPECT_EQ(response.Answers(Type::kCname).size(), 1u) << name;
      EXPECT_EQ(response.Answers(Type::kHinfo).size(), 0u) << name;
    }
    for (const char* name : {"b.example.org.", "wild.example.org.", "_tcp.example.org."}) {
      Response response = Ask(name, Type::kAny);
      EXPECT_EQ(response.rcode, 0) << name;
      EXPECT_TRUE(response.Section(1).empty()) << name;
      EXPECT_EQ(response.Section(2)[0].type, Type::kSoa) << name;
    }
    EXPECT_EQ(Ask("nowhere.example.org.", Type::kAny, false).rcode, 3);
  }
}

TEST_F(AskedByNameTest, AnyOfAPoolThatGivesNothingOutIsDenied) {
  Start(true, AllDown::kNone);
  BalancerLive down;
  down.standing = Standing::kDown;
  world_->SetLive(0, std::vector<BalancerLive>(3, down));
  EXPECT_TRUE(Ask("_xmpp-client._tcp.example.org.", Type::kAny).Section(1).empty());
  Response nsec = Ask("_xmpp-client._tcp.example.org.", Type::kNsec);
  ASSERT_EQ(nsec.Answers(Type::kNsec).size(), 1u);
  EXPECT_EQ(nsec.Answers(Type::kNsec)[0].rdata,
            CompactNsec(N("_xmpp-client._tcp.example.org."), {Type::kRrsig, Type::kNsec}));
}

}  // namespace
}  // namespace dns
