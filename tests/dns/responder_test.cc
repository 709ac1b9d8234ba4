#include "dns/answer/responder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::Ip;
using test::N;
using test::QueryBuilder;
using test::Response;
using test::World;

constexpr uint16_t kNoError = 0;
constexpr uint16_t kFormErr = 1;
constexpr uint16_t kNxDomain = 3;
constexpr uint16_t kNotImp = 4;
constexpr uint16_t kRefused = 5;

class ResponderTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.config.rate_limit.per_second = 0;
    world_.config.nsid = "ns1.test";
    world_.config.version = "mongoosedns";
    world_.config.id = "ns1";
    world_.config.cookie_secrets = {{1, 2, 3}, {4, 5, 6}};
    world_.AddZone("example.org.", test::kZoneText);
    world_.Build();
  }
  World world_;
};

TEST_F(ResponderTest, AnswersWithAllRecordsOfTheSetAuthoritatively) {
  Response response = world_.AskFor("www.example.org.", Type::kA);
  EXPECT_EQ(response.rcode, kNoError);
  EXPECT_TRUE(response.aa());
  EXPECT_EQ(response.id, 0x1234);
  std::set<Bytes> addresses;
  for (const auto& record : response.Answers(Type::kA)) {
    EXPECT_EQ(record.owner, N("www.example.org."));
    EXPECT_EQ(record.ttl, 60u);
    addresses.insert(record.rdata);
  }
  EXPECT_EQ(addresses, (std::set<Bytes>{{192, 0, 2, 1}, {192, 0, 2, 2}, {192, 0, 2, 3}}));
  EXPECT_TRUE(response.Section(2).empty());
}

TEST_F(ResponderTest, EchoesIdRecursionDesiredAndTheNamesCaseAndClearsCd) {
  QueryBuilder query{.name = "wWw.ExAmPlE.oRg.", .id = 0xbeef, .flags = 0x0110};
  Bytes packet = query.Build();
  Bytes answer = world_.Ask(packet);
  ASSERT_GT(answer.size(), packet.size());
  EXPECT_TRUE(std::equal(packet.begin() + 12, packet.end(), answer.begin() + 12));
  Response response = test::ReadResponse(answer);
  EXPECT_EQ(response.id, 0xbeef);
  EXPECT_EQ(response.flags & 0x0100, 0x0100);  // RD
  EXPECT_EQ(response.flags & 0x0010, 0);       // CD (RFC 4035 section 3.1.6)
  EXPECT_EQ(response.flags & 0x00a0, 0);       // no RA, no AD
  EXPECT_EQ(response.Answers(Type::kA).size(), 3u);
}

TEST_F(ResponderTest, EveryTypeOfTheZoneIsAnsweredAsItWasWritten) {
  struct Case {
    std::string_view name;
    Type type;
    std::string_view text;
  };
  for (const Case& c : std::vector<Case>{
           {"example.org.", Type::kMx, "@ 600 IN MX 10 mail"},
           {"example.org.", Type::kSoa, "@ 3600 IN SOA ns1 hostmaster 7 3600 600 86400 300"},
           {"txt.example.org.", Type::kTxt, "txt 60 IN TXT \"hello\" \"world\""},
           {"srv.example.org.", Type::kSrv, "srv 60 IN SRV 0 5 5222 one"},
           {"caa.example.org.", Type::kCaa, "caa 60 IN CAA 0 issue \"ca.example.net\""},
           {"https.example.org.", Type::kHttps, "https 60 IN HTTPS 1 . alpn=h2"},
           {"ptr.example.org.", Type::kPtr, "ptr 60 IN PTR www"},
           {"alias.example.org.", Type::kCname, "alias 60 IN CNAME www"},
       }) {
    auto expected = ReadRecord(c.text, N("example.org."), 60);
    ASSERT_TRUE(expected.has_value()) << c.text;
    Response response = world_.AskFor(c.name, c.type);
    auto answers = response.Section(1);
    ASSERT_EQ(answers.size(), 1u) << c.text;
    EXPECT_EQ(answers[0].rdata, expected->rdata) << c.text;
    EXPECT_EQ(answers[0].ttl, expected->ttl) << c.text;
    EXPECT_EQ(answers[0].owner, expected->owner) << c.text;
  }
}

TEST_F(ResponderTest, MissingTypeGivesNoDataAndMissingNameNxDomainWithTheSoaOfNegativeTtl) {
  Response no_data = world_.AskFor("www.example.org.", Type::kTxt);
  EXPECT_EQ(no_data.rcode, kNoError);
  Response nx = world_.AskFor("a.b.c.nowhere.example.org.", Type::kA);
  EXPECT_EQ(nx.rcode, kNxDomain);
  for (const Response& response : {no_data, nx}) {
    EXPECT_TRUE(response.aa());
    EXPECT_TRUE(response.Section(1).empty());
    auto authority = response.Section(2);
    ASSERT_EQ(authority.size(), 1u);
    EXPECT_EQ(authority[0].type, Type::kSoa);
    EXPECT_EQ(authority[0].owner, N("example.org."));
    EXPECT_EQ(authority[0].ttl, 300u);  // min(SOA's TTL, minimum)
  }
}

TEST_F(ResponderTest, EmptyNonTerminalExistsWithoutData) {
  EXPECT_EQ(world_.AskFor("b.example.org.", Type::kA).rcode, kNoError);
  EXPECT_EQ(world_.AskFor("a.b.example.org.", Type::kA).rcode, kNoError);
  EXPECT_EQ(world_.AskFor("x.b.example.org.", Type::kA).rcode, kNxDomain);
}

TEST_F(ResponderTest, NameOutsideOfAllZonesIsRefusedWithoutAuthority) {
  QueryBuilder query{.name = "www.example.com.", .edns = true};
  Response response = world_.AskFor(query);
  EXPECT_EQ(response.rcode, kRefused);
  EXPECT_FALSE(response.aa());
  EXPECT_TRUE(response.records.empty());
  ASSERT_NE(response.Find(15), nullptr);
  EXPECT_EQ(response.Find(15)->data, (Bytes{0, 20}));
  EXPECT_EQ(world_.AskFor(".", Type::kNs).rcode, kRefused);
}

TEST_F(ResponderTest, WildcardsFollowRfc4592) {
  Response match = world_.AskFor("a.b.wild.example.org.", Type::kA);
  ASSERT_EQ(match.Section(1).size(), 1u);
  EXPECT_EQ(match.Section(1)[0].owner, N("a.b.wild.example.org."));
  EXPECT_EQ(match.Section(1)[0].rdata, (Bytes{192, 0, 2, 66}));
  // A name that is there is not covered, nor is what is below it.
  Response there = world_.AskFor("there.wild.example.org.", Type::kA);
  EXPECT_EQ(there.Section(1)[0].rdata, (Bytes{192, 0, 2, 67}));
  EXPECT_TRUE(world_.AskFor("there.wild.example.org.", Type::kTxt).Section(1).empty());
  EXPECT_EQ(world_.AskFor("x.there.wild.example.org.", Type::kA).rcode, kNxDomain);
  // The name above the wildcard is an empty non-terminal, and a missing type is NODATA.
  EXPECT_EQ(world_.AskFor("wild.example.org.", Type::kA).rcode, kNoError);
  Response no_data = world_.AskFor("q.wild.example.org.", Type::kMx);
  EXPECT_EQ(no_data.rcode, kNoError);
  ASSERT_EQ(no_data.Section(2).size(), 1u);
  EXPECT_EQ(no_data.Section(2)[0].owner, N("example.org."));
}

TEST_F(ResponderTest, CnamesAreFollowedInsideTheZoneOnly) {
  Response chain = world_.AskFor("chain.example.org.", Type::kA);
  EXPECT_EQ(chain.Answers(Type::kCname).size(), 2u);
  EXPECT_EQ(chain.Answers(Type::kA).size(), 3u);
  EXPECT_EQ(chain.Answers(Type::kA)[0].owner, N("www.example.org."));
  Response out = world_.AskFor("out.example.org.", Type::kA);
  EXPECT_EQ(out.Section(1).size(), 1u);
  EXPECT_EQ(out.rcode, kNoError);
  EXPECT_TRUE(out.Section(2).empty());
  Response dangling = world_.AskFor("dangling.example.org.", Type::kA);
  EXPECT_EQ(dangling.rcode, kNxDomain);
  EXPECT_EQ(dangling.Section(1).size(), 1u);
  EXPECT_EQ(dangling.Section(2).size(), 1u);
  Response no_data = world_.AskFor("alias.example.org.", Type::kTxt);
  EXPECT_EQ(no_data.rcode, kNoError);
  EXPECT_EQ(no_data.Section(1).size(), 1u);
  EXPECT_EQ(no_data.Section(2).size(), 1u);
  Response wild = world_.AskFor("some.name.wildcname.example.org.", Type::kA);
  EXPECT_EQ(wild.Answers(Type::kCname)[0].owner, N("some.name.wildcname.example.org."));
  EXPECT_EQ(wild.Answers(Type::kA).size(), 3u);
}

TEST_F(ResponderTest, DelegationGivesAReferralWithGlueAndWithoutAa) {
  for (const char* name : {"sub.example.org.", "x.y.sub.example.org.", "ns1.sub.example.org."}) {
    Response response = world_.AskFor(name, Type::kA);
    EXPECT_EQ(response.rcode, kNoError) << name;
    EXPECT_FALSE(response.aa());
    EXPECT_TRUE(response.Section(1).empty());
    ASSERT_EQ(response.Section(2).size(), 2u);
    EXPECT_EQ(response.Section(2)[0].owner, N("sub.example.org."));
    ASSERT_EQ(response.Section(3).size(), 1u);
    EXPECT_EQ(response.Section(3)[0].owner, N("ns1.sub.example.org."));
    EXPECT_EQ(response.Section(3)[0].rdata, (Bytes{192, 0, 2, 77}));
  }
  // The DS is the parent's: it says that there is none.
  Response ds = world_.AskFor("sub.example.org.", Type::kDs);
  EXPECT_TRUE(ds.aa());
  EXPECT_EQ(ds.Section(2)[0].type, Type::kSoa);
}

TEST_F(ResponderTest, SrvTargetsAreNeverCompressed) {
  Bytes answer = world_.Ask(QueryBuilder{.name = "srv.example.org.", .type = 33}.Build());
  Bytes target = {3, 'o', 'n', 'e', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'o', 'r', 'g', 0};
  auto found = std::search(answer.begin() + 12 + 21, answer.end(), target.begin(), target.end());
  EXPECT_NE(found, answer.end());
}

TEST_F(ResponderTest, AnyIsAnsweredWithHinfo) {
  for (const char* name : {"www.example.org.", "example.org."}) {
    Response response = world_.AskFor(name, Type::kAny);
    ASSERT_EQ(response.Section(1).size(), 1u) << name;
    EXPECT_EQ(response.Section(1)[0].type, Type::kHinfo);
    EXPECT_EQ(response.Section(1)[0].ttl, 3600u);
    EXPECT_EQ(response.Section(1)[0].rdata, (Bytes{7, 'R', 'F', 'C', '8', '4', '8', '2', 0}));
  }
  // Beside a CNAME nothing is made up (RFC 8482 section 4.2).
  EXPECT_EQ(world_.AskFor("alias.example.org.", Type::kAny).Answers(Type::kCname).size(), 1u);
  EXPECT_EQ(world_.AskFor("nowhere.example.org.", Type::kAny).rcode, kNxDomain);
}

TEST_F(ResponderTest, EdnsIsAnsweredWithEdnsAndOnlyThen) {
  EXPECT_FALSE(world_.AskFor("www.example.org.", Type::kA).has_opt);
  Response response = world_.AskFor(QueryBuilder{.edns = true, .dnssec_ok = true});
  EXPECT_TRUE(response.has_opt);
  EXPECT_EQ(response.udp_bytes, 1232);
  EXPECT_TRUE(response.dnssec_ok);
  EXPECT_TRUE(response.options.empty());
}

TEST_F(ResponderTest, HigherEdnsVersionIsBadVersWithTheQuestionAlone) {
  Response response = world_.AskFor(QueryBuilder{.edns = true, .version = 1});
  EXPECT_EQ(response.rcode, 16);
  EXPECT_TRUE(response.records.empty());
  EXPECT_EQ(response.question_size, 21u);
}

TEST_F(ResponderTest, UnknownOptionsAreIgnored) {
  QueryBuilder query{.edns = true, .options = {{65001, {1, 2, 3}}, {8, {0, 1, 24, 0, 192, 0, 2}}}};
  Response response = world_.AskFor(query);
  EXPECT_EQ(response.rcode, kNoError);
  EXPECT_TRUE(response.options.empty());
}

TEST_F(ResponderTest, NsidIsToldToThoseWhoAsk) {
  Response response = world_.AskFor(QueryBuilder{.edns = true, .options = {{3, {}}}});
  ASSERT_NE(response.Find(3), nullptr);
  EXPECT_EQ(response.Find(3)->data, (Bytes{'n', 's', '1', '.', 't', 'e', 's', 't'}));
}

TEST_F(ResponderTest, ChaosTellsVersionAndIdAndRefusesTheRest) {
  auto ask = [&](std::string name) {
    return world_.AskFor(QueryBuilder{.name = name, .type = 16, .qclass = 3});
  };
  Response version = ask("VERSION.bind.");
  ASSERT_EQ(version.Section(1).size(), 1u);
  EXPECT_EQ(version.Section(1)[0].rdata[0], 11);
  EXPECT_EQ(ask("id.server.").Section(1)[0].rdata, (Bytes{3, 'n', 's', '1'}));
  EXPECT_EQ(ask("authors.bind.").rcode, kRefused);
  EXPECT_EQ(world_.AskFor(QueryBuilder{.qclass = 4}).rcode, kRefused);  // Hesiod
}

TEST_F(ResponderTest, OtherOpcodesAreNotImplemented) {
  for (unsigned opcode : {1u, 2u, 4u, 5u, 6u, 15u}) {
    for (uint16_t qclass : {uint16_t{1}, uint16_t{254}, uint16_t{255}}) {
      QueryBuilder query{.qclass = qclass, .flags = static_cast<uint16_t>(opcode << 11)};
      Response response = world_.AskFor(query);
      EXPECT_EQ(response.rcode, kNotImp);
      EXPECT_EQ(response.flags >> 11 & 15, static_cast<int>(opcode));
      EXPECT_TRUE(response.records.empty());
    }
  }
}

TEST_F(ResponderTest, ResponsesAndShortPacketsGetNoAnswer) {
  Bytes packet = QueryBuilder{}.Build();
  for (size_t size = 0; size < 12; ++size) {
    EXPECT_TRUE(world_.Ask(Bytes(packet.begin(), packet.begin() + static_cast<int>(size))).empty());
  }
  packet[2] = static_cast<uint8_t>(packet[2] | 0x80);
  EXPECT_TRUE(world_.Ask(packet).empty());
  EXPECT_EQ(world_.responder->counters().dropped.Get(), 13u);
}

TEST_F(ResponderTest, EveryTruncatedQueryIsAFormatError) {
  Bytes packet = QueryBuilder{.edns = true, .options = {{10, Bytes(8)}}}.Build();
  for (size_t size = 12; size < packet.size(); ++size) {
    Bytes cut(packet.begin(), packet.begin() + static_cast<int>(size));
    EXPECT_EQ(test::ReadResponse(world_.Ask(cut)).rcode, kFormErr) << size;
  }
}

TEST_F(ResponderTest, WrongQuestionCountsAreFormatErrors) {
  for (uint8_t count : std::initializer_list<uint8_t>{0, 2, 255}) {
    Bytes packet = QueryBuilder{}.Build();
    packet[5] = count;
    EXPECT_EQ(test::ReadResponse(world_.Ask(packet)).rcode, kFormErr);
  }
}

TEST_F(ResponderTest, TruncationIsAllOrNothingAndLeavesRoomForTheOpt) {
  std::string text(test::kZoneText);
  for (int i = 0; i < 40; ++i) {
    text += "many 60 IN TXT \"" + std::string(20, 'a') + std::to_string(i) + "\"\n";
  }
  World world;
  world.config.rate_limit.per_second = 0;
  world.AddZone("example.org.", text);
  world.Build();
  QueryBuilder query{.name = "many.example.org.", .type = 16, .edns = true};
  Bytes answer = world.Ask(query.Build());
  EXPECT_LE(answer.size(), 1232u);
  Response response = test::ReadResponse(answer);
  EXPECT_TRUE(response.tc());
  EXPECT_TRUE(response.has_opt);
  EXPECT_TRUE(response.records.empty());
  Response over_tcp = world.AskFor(query, Transport::kTcp);
  EXPECT_FALSE(over_tcp.tc());
  EXPECT_EQ(over_tcp.Section(1).size(), 40u);
}

TEST_F(ResponderTest, UdpLimitIsTheSmallerOfTheClientsAndOurs) {
  std::string text(test::kZoneText);
  for (int i = 0; i < 20; ++i) text += "many 60 IN A 192.0.2." + std::to_string(100 + i) + "\n";
  World world;
  world.config.rate_limit.per_second = 0;
  world.AddZone("example.org.", text);
  world.Build();
  QueryBuilder query{.name = "many.example.org."};
  EXPECT_FALSE(world.AskFor(query).tc());  // 34 + 20 × 16 bytes
  query.type = 1;
  query.edns = true;
  query.udp_bytes = 100;  // below 512 counts as 512 (RFC 6891 §6.2.3)
  EXPECT_FALSE(world.AskFor(query).tc());
}

TEST_F(ResponderTest, CookiesAreGivenAndRecognised) {
  Bytes client = {1, 2, 3, 4, 5, 6, 7, 8};
  Response first = world_.AskFor(QueryBuilder{.edns = true, .options = {{10, client}}});
  ASSERT_NE(first.Find(10), nullptr);
  Bytes full = first.Find(10)->data;
  ASSERT_EQ(full.size(), 24u);
  EXPECT_TRUE(std::equal(client.begin(), client.end(), full.begin()));
  EXPECT_EQ(world_.responder->counters().cookies_valid.Get(), 0u);
  world_.AskFor(QueryBuilder{.edns = true, .options = {{10, full}}});
  EXPECT_EQ(world_.responder->counters().cookies_valid.Get(), 1u);
  full[20] = static_cast<uint8_t>(full[20] ^ 1);
  world_.AskFor(QueryBuilder{.edns = true, .options = {{10, full}}});
  EXPECT_EQ(world_.responder->counters().cookies_bad.Get(), 1u);
  // RFC 7873 §5.2.2: other lengths are malformed.
  for (size_t size : {0u, 7u, 9u, 15u, 41u}) {
    Response bad = world_.AskFor(QueryBuilder{.edns = true, .options = {{10, Bytes(size)}}});
    EXPECT_EQ(bad.rcode, kFormErr) << size;
  }
}

TEST_F(ResponderTest, WithoutAQuestionACookieIsAnsweredWithACookie) {
  Bytes packet = QueryBuilder{.edns = true, .options = {{10, {1, 2, 3, 4, 5, 6, 7, 8}}}}.Build();
  size_t question = N("www.example.org.").size() + 4;
  packet.erase(packet.begin() + 12, packet.begin() + 12 + static_cast<int>(question));
  packet[5] = 0;
  Response response = test::ReadResponse(world_.Ask(packet));
  EXPECT_EQ(response.rcode, kNoError);  // RFC 7873 section 5.4
  EXPECT_EQ(response.question_size, 0u);
  EXPECT_TRUE(response.records.empty());
  ASSERT_NE(response.Find(10), nullptr);
  EXPECT_EQ(response.Find(10)->data.size(), 24u);
  // Neither a question nor a cookie is nothing to answer.
  Bytes empty = QueryBuilder{.edns = true}.Build();
  empty.erase(empty.begin() + 12, empty.begin() + 12 + static_cast<int>(question));
  empty[5] = 0;
  EXPECT_EQ(test::ReadResponse(world_.Ask(empty)).rcode, kFormErr);
}

TEST_F(ResponderTest, IxfrOverUdpIsAnsweredWithTheSoa) {
  Response response = world_.AskFor(QueryBuilder{.name = "example.org.", .type = 251});
  EXPECT_EQ(response.rcode, kNoError);
  ASSERT_EQ(response.Section(1).size(), 1u);
  EXPECT_EQ(SoaSerial(response.Section(1)[0].rdata), 7u);
  EXPECT_EQ(world_.AskFor(QueryBuilder{.name = "www.example.org.", .type = 251}).rcode, kRefused);
}

TEST_F(ResponderTest, TransfersAreRefusedOverUdpAndLeftToTheCallerOverTcp) {
  QueryBuilder query{.name = "example.org.", .type = 252};
  EXPECT_EQ(world_.AskFor(query).rcode, kRefused);
  EXPECT_EQ(world_.transfer, nullptr);
  EXPECT_EQ(world_.AskFor(query, Transport::kTcp).rcode, kRefused);
  EXPECT_NE(world_.transfer, nullptr);
  query.name = "www.example.org.";  // no apex
  world_.AskFor(query, Transport::kTcp);
  EXPECT_EQ(world_.transfer, nullptr);
}

TEST_F(ResponderTest, OverTlsPaddedQueriesGetPaddedResponses) {
  QueryBuilder query{.edns = true, .options = {{12, Bytes(50)}}};
  Bytes answer = world_.Ask(query.Build(), Transport::kTls);
  EXPECT_EQ(answer.size() % 468, 0u);
  EXPECT_NE(test::ReadResponse(answer).Find(12), nullptr);
  EXPECT_EQ(world_.AskFor(query).Find(12), nullptr);
}

}  // namespace
}  // namespace dns
