// Zone cuts, DNAME, and the answers around them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using test::Response;
using test::World;

constexpr std::string_view kApex =
    "@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n";

std::string CutText() {
  return std::string(kApex) + "sub 60 IN NS ns.sub\nns.sub 60 IN A 192.0.2.7\n" +
         "sub 60 IN DS 1 13 2 " + std::string(64, 'a') + "\n" + "plain 60 IN NS ns.plain\n" +
         "ns.plain 60 IN A 192.0.2.8\n";
}

Response Ask(World& world, std::string name, Type type, bool dnssec_ok,
             Transport transport = Transport::kUdp) {
  return world.AskFor(QueryBuilder{.name = std::move(name),
                                   .type = static_cast<uint16_t>(type),
                                   .edns = true,
                                   .dnssec_ok = dnssec_ok},
                      transport);
}

size_t Count(const Response& response, size_t section, Type type) {
  return static_cast<size_t>(std::ranges::count_if(
      response.records, [&](const auto& r) { return r.section == section && r.type == type; }));
}

class CutTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    world_.config.rate_limit.per_second = 0;
    world_.AddZone("example.org.", CutText(), GetParam() ? test::KeyOfExample() : nullptr);
    world_.Build();
  }
  World world_;
};
INSTANTIATE_TEST_SUITE_P(Zones, CutTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Signed" : "Unsigned"; });

TEST_P(CutTest, Case54DsBelowACutGivesTheReferral) {
  for (const char* cut : {"sub", "plain"}) {
    for (const char* below : {"x.", "ns.", "deep.x.", "*."}) {
      std::string name = below + std::string(cut) + ".example.org.";
      for (bool dnssec_ok : {false, true}) {
        Response response = Ask(world_, name, Type::kDs, dnssec_ok);
        EXPECT_FALSE(response.aa()) << name;
        EXPECT_EQ(response.rcode, 0) << name;
        EXPECT_TRUE(response.Section(1).empty()) << name;
        EXPECT_EQ(Count(response, 2, Type::kNs), 1u) << name;
        EXPECT_EQ(Count(response, 2, Type::kSoa), 0u) << name;
        for (const auto& record : response.Section(2)) {
          EXPECT_EQ(record.owner, N(std::string(cut) + ".example.org.")) << name;
        }
      }
    }
  }
}

TEST_P(CutTest, DsAtACutIsTheParents) {
  Response there = Ask(world_, "sub.example.org.", Type::kDs, true);
  EXPECT_TRUE(there.aa());
  EXPECT_EQ(there.Answers(Type::kDs).size(), 1u);
  Response none = Ask(world_, "plain.example.org.", Type::kDs, true);
  EXPECT_TRUE(none.aa());
  EXPECT_TRUE(none.Section(1).empty());
  EXPECT_EQ(Count(none, 2, Type::kSoa), 1u);
}

TEST_P(CutTest, ReferralsCarryDsOnlyInSignedZonesAndForThoseWhoSetDo) {
  for (bool dnssec_ok : {false, true}) {
    Response response = Ask(world_, "www.sub.example.org.", Type::kA, dnssec_ok);
    bool expected = GetParam() && dnssec_ok;
    EXPECT_EQ(Count(response, 2, Type::kDs), expected ? 1u : 0u);
    EXPECT_EQ(Count(response, 2, Type::kRrsig), expected ? 1u : 0u);
  }
}

TEST(DelegationTest, GlueOfEveryNameServerIsThereOrTheAnswerIsTruncated) {
  constexpr size_t kServers = 40;
  std::string text(kApex);
  for (size_t i = 0; i < kServers; ++i) {
    std::string host = "ns" + std::to_string(i) + ".sub";
    text += "sub 60 IN NS " + host + "\n" + host + " 60 IN A 192.0.2." + std::to_string(i) + "\n";
  }
  World world;
  world.config.rate_limit.per_second = 0;
  world.AddZone("example.org.", text);
  world.Build();
  Response tcp = Ask(world, "a.sub.example.org.", Type::kA, false, Transport::kTcp);
  EXPECT_EQ(Count(tcp, 2, Type::kNs), kServers);
  EXPECT_EQ(Count(tcp, 3, Type::kA), kServers);
  EXPECT_TRUE(Ask(world, "a.sub.example.org.", Type::kA, false).tc());
}

TEST(DelegationTest, WhatIsBelowTwoCutsBelongsToTheHigherOne) {
  World world;
  world.config.rate_limit.per_second = 0;
  world.AddZone("example.org.",
                CutText() + "low.sub 60 IN NS ns.low.sub\nns.low.sub 60 IN A 192.0.2.9\n");
  world.Build();
  for (const char* name : {"low.sub.example.org.", "x.low.sub.example.org."}) {
    Response response = Ask(world, name, Type::kA, false);
    ASSERT_EQ(Count(response, 2, Type::kNs), 1u);
    EXPECT_EQ(response.Section(2)[0].owner, N("sub.example.org."));
  }
}

TEST(DelegationTest, AChildZoneThatIsServedHereAnswersForAllBelowItsApex) {
  World world;
  world.config.rate_limit.per_second = 0;
  world.AddZone("example.org.", CutText() + "left.sub 60 IN A 192.0.2.99\n");
  world.AddZone("sub.example.org.",
                "@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.7\n");
  world.Build();
  EXPECT_EQ(Ask(world, "left.sub.example.org.", Type::kA, false).rcode, 3);
  Response ds = Ask(world, "sub.example.org.", Type::kDs, false);
  EXPECT_EQ(ds.Answers(Type::kDs).size(), 1u);
  EXPECT_TRUE(Ask(world, "ns.sub.example.org.", Type::kA, false).aa());
}

class DnameTest : public testing::Test {
 protected:
  void Start(std::shared_ptr<const SigningKey> key = nullptr) {
    world_.config.rate_limit.per_second = 0;
    world_.AddZone("example.org.",
                   std::string(kApex) +
                       "old 90 IN DNAME longer-than-before.example.net.\nold 90 IN TXT here\n"
                       "alias 60 IN CNAME x.old\n",
                   std::move(key));
    world_.Build();
  }
  World world_;
};

TEST_F(DnameTest, NamesBelowAreMadeAndTheCaseThatWasAskedStays) {
  Start();
  for (Type type : {Type::kA, Type::kTxt, Type::kDs, Type::kCname, Type::kAny}) {
    Response response = Ask(world_, "WwW.deep.old.example.org.", type, false);
    EXPECT_TRUE(response.aa());
    auto answers = response.Section(1);
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[0].type, Type::kDname);
    EXPECT_EQ(answers[0].owner, N("old.example.org."));
    EXPECT_EQ(answers[1].type, Type::kCname);
    EXPECT_EQ(answers[1].owner, N("www.deep.old.example.org."));
    EXPECT_EQ(answers[1].ttl, 90u);
    EXPECT_EQ(Name::FromWire(answers[1].rdata), N("www.deep.longer-than-before.example.net."));
  }
  // The name itself is an ordinary one.
  EXPECT_EQ(Ask(world_, "old.example.org.", Type::kTxt, false).Section(1).size(), 1u);
  EXPECT_EQ(Ask(world_, "old.example.org.", Type::kDname, false).Answers(Type::kDname).size(), 1u);
  EXPECT_TRUE(Ask(world_, "old.example.org.", Type::kA, false).Section(1).empty());
  // An alias into it is left to the asker, who asks on.
  EXPECT_EQ(Ask(world_, "alias.example.org.", Type::kA, false).rcode, 0);
}

TEST_F(DnameTest, ANameThatGetsTooLongIsYxDomain) {
  Start();
  std::string label(63, 'a');
  std::string name = label + "." + label + "." + label + ".old.example.org.";
  EXPECT_EQ(Ask(world_, name, Type::kA, false).rcode, 0);
  name = std::string(35, 'b') + "." + name;
  Response response = Ask(world_, name, Type::kA, false);
  EXPECT_EQ(response.rcode, 6);
  EXPECT_EQ(response.Section(1).size(), 1u);
}

TEST_F(DnameTest, TheDnameIsSignedAndTheMadeCnameIsNot) {
  Start(test::KeyOfExample());
  Response response = Ask(world_, "x.old.example.org.", Type::kA, true);
  ASSERT_EQ(response.Answers(Type::kRrsig).size(), 1u);
  EXPECT_EQ(Get16(response.Answers(Type::kRrsig)[0].rdata.data()),
            static_cast<uint16_t>(Type::kDname));
}

}  // namespace
}  // namespace dns
