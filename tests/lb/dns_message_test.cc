#include "net/dns/dns_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lb/dns_fake.h"

namespace lb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const net::DnsQuestion kA{"xmpp.example.org", net::DnsType::kA};
const net::DnsQuestion kSrv{"_xmpp-client._tcp.example.org", net::DnsType::kSrv};

Bytes Query(const net::DnsQuestion& question) { return net::BuildDnsQuery(question, 7).value(); }

std::vector<std::string> Ips(const net::DnsAnswer& answer) {
  std::vector<std::string> out;
  for (const auto& address : answer.addresses) out.push_back(address.IpToString());
  return out;
}

std::string FailureText(const Bytes& message, const net::DnsQuestion& question) {
  auto answer = net::ParseDnsAnswer(message, question);
  return answer ? "accepted" : std::string(net::DnsFailureName(answer.error()));
}

TEST(DnsQuery, IsWhatRfc1035AndRfc6891Say) {
  Bytes query = net::BuildDnsQuery({"a.bc", net::DnsType::kAaaa}, 0x1234).value();
  EXPECT_EQ(query, (Bytes{0x12, 0x34, 0x01, 0x00, 0,    1, 0, 0,  0, 0, 0, 1,  //
                          1,    'a',  2,    'b',  'c',  0, 0, 28, 0, 1,        //
                          0,    0,    41,   0x04, 0xd0, 0, 0, 0,  0, 0, 0}));
}

TEST(DnsQuery, NamesThatCannotBeAskedForAreRefused) {
  for (const std::string& name : {std::string(), std::string("."), std::string("a..b"),
                                  std::string(".a"), std::string(64, 'a'), std::string(300, 'a')}) {
    auto query = net::BuildDnsQuery({name, net::DnsType::kA}, 1);
    ASSERT_FALSE(query) << name;
    EXPECT_EQ(query.error(), net::DnsFailure::kBadName);
  }
  EXPECT_TRUE(net::BuildDnsQuery({"a.b.", net::DnsType::kA}, 1));
}

TEST(DnsAnswers, OnlyTheAnswerToTheQueryCounts) {
  Bytes good = FakeAnswer(Query(kA)).bytes();
  EXPECT_TRUE(net::AnswersDnsQuery(good, kA, 7));
  EXPECT_TRUE(net::AnswersDnsQuery(good, {"XMPP.Example.org.", net::DnsType::kA}, 7));
  EXPECT_FALSE(net::AnswersDnsQuery(good, kA, 8));  // another id
  EXPECT_FALSE(
      net::AnswersDnsQuery(good, {"xmpp.example.net", net::DnsType::kA}, 7));  // another name
  EXPECT_FALSE(
      net::AnswersDnsQuery(good, {"xmpp.example.org", net::DnsType::kAaaa}, 7));  // another type
  EXPECT_FALSE(net::AnswersDnsQuery(Query(kA), kA, 7));                           // a query
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(net::AnswersDnsQuery(std::span(good).first(size), kA, 7)) << size;
  }
}

TEST(DnsAnswers, AddressesAreSortedAndEachOnce) {
  Bytes message = FakeAnswer(Query(kA))
                      .Ip("192.0.2.9", 300)
                      .Ip("192.0.2.1", 20)
                      .Ip("192.0.2.9", 60)
                      .Ip("0.0.0.0")
                      .Ip("2001:db8::1")
                      .bytes();
  auto answer = net::ParseDnsAnswer(message, kA);
  ASSERT_TRUE(answer);
  EXPECT_THAT(Ips(*answer), ElementsAre("192.0.2.1", "192.0.2.9"));
  EXPECT_EQ(answer->ttl, std::chrono::seconds(20));
  EXPECT_EQ(answer->ignored, 2U);
}

TEST(DnsAnswers, CnamesAreFollowedAndForeignNamesIgnored) {
  Bytes message = FakeAnswer(Query(kA))
                      .Cname("", "EDGE.example.net", 5)
                      .Cname("edge.example.net", "lb.example.net")
                      .Ip("192.0.2.1", 60, "lb.example.net")
                      .Ip("198.51.100.66", 60, "evil.example")
                      .bytes();
  auto answer = net::ParseDnsAnswer(message, kA);
  ASSERT_TRUE(answer);
  EXPECT_THAT(Ips(*answer), ElementsAre("192.0.2.1"));
  EXPECT_EQ(answer->ttl, std::chrono::seconds(5));
  EXPECT_EQ(answer->ignored, 1U);
}

TEST(DnsAnswers, AnEndlessChainOfCnamesIsGarbage) {
  FakeAnswer loop(Query(kA));
  for (int i = 0; i < 20; ++i) loop.Cname("xmpp.example.org", "xmpp.example.org");
  EXPECT_EQ(FailureText(loop.bytes(), kA), "answer cannot be parsed");
}

TEST(DnsAnswers, ServicesKeepPriorityWeightPortAndTarget) {
  Bytes message = FakeAnswer(Query(kSrv))
                      .Srv(10, 60, 5222, "N1.example.org")
                      .Srv(20, 0, 5223, "n2.example.org", 30)
                      .bytes();
  auto answer = net::ParseDnsAnswer(message, kSrv);
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->services, ElementsAre(net::DnsService{10, 60, 5222, "n1.example.org"},
                                            net::DnsService{20, 0, 5223, "n2.example.org"}));
  EXPECT_EQ(answer->ttl, std::chrono::seconds(30));
}

TEST(DnsAnswers, ServicesThatSayNoOrNonsenseAreIgnored) {
  EXPECT_EQ(FailureText(FakeAnswer(Query(kSrv)).Srv(0, 0, 5222, "").bytes(), kSrv),
            "the domain offers no such service");
  EXPECT_EQ(FailureText(FakeAnswer(Query(kSrv)).Srv(0, 0, 0, "n1.example.org").bytes(), kSrv),
            "no records of that type");
  EXPECT_EQ(FailureText(FakeAnswer(Query(kSrv)).Srv(0, 0, 1, "a b\n.example").bytes(), kSrv),
            "no records of that type");
  EXPECT_EQ(FailureText(FakeAnswer(Query(kSrv)).Record("", 33, {0, 1, 0, 2}).bytes(), kSrv),
            "no records of that type");
}

TEST(DnsAnswers, FailuresHaveNames) {
  EXPECT_EQ(FailureText(FakeAnswer(Query(kA), 3).bytes(), kA), "no such name");
  EXPECT_EQ(FailureText(FakeAnswer(Query(kA), 2).bytes(), kA), "server failure");
  EXPECT_EQ(FailureText(FakeAnswer(Query(kA), 5).bytes(), kA), "refused");
  EXPECT_EQ(FailureText(FakeAnswer(Query(kA)).bytes(), kA), "no records of that type");
  EXPECT_EQ(FailureText({}, kA), "answer cannot be parsed");
}

TEST(DnsAnswers, EveryCutOfAnAnswerIsGarbage) {
  Bytes message = FakeAnswer(Query(kSrv)).Srv(1, 2, 3, "n1.example.org").bytes();
  for (size_t size = 0; size < message.size(); ++size) {
    Bytes cut(message.begin(), message.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(FailureText(cut, kSrv), "answer cannot be parsed") << size;
  }
  message.push_back(0);  // and so is an answer with something behind it
  EXPECT_EQ(FailureText(message, kSrv), "answer cannot be parsed");
}

TEST(DnsAnswers, CompressionThatPointsAtItselfEnds) {
  FakeAnswer answer(Query(kSrv));
  Bytes data{0, 1, 0, 2, 0, 3};
  size_t target = answer.bytes().size() + 12 + data.size();
  Put16(data, 0xc000U | target);  // the target's name points at itself
  EXPECT_EQ(FailureText(answer.Record("", 33, data).bytes(), kSrv), "no records of that type");
}

TEST(DnsAnswers, TruncationIsSeen) {
  EXPECT_TRUE(net::IsDnsTruncated(FakeAnswer(Query(kA), 0, 0x0200).bytes()));
  EXPECT_FALSE(net::IsDnsTruncated(FakeAnswer(Query(kA)).bytes()));
  EXPECT_FALSE(net::IsDnsTruncated({}));
}

}  // namespace
}  // namespace lb
