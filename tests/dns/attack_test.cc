// What has broken other servers: each case must end well here. Those that need sockets (AXFR, TCP,
// DoT) are in tests/e2e.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "dns/zone/zone_file.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using test::Response;
using test::World;

constexpr uint16_t kFormErrRcode = 1;

class AttackTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.config.rate_limit.per_second = 0;
    world_.config.nsid = "n";
    world_.config.cookie_secrets = {{1}};
    key_ = std::make_shared<const SigningKey>(
        SigningKey::Generate(N("signed.org."), Algorithm::kEd25519));
    world_.AddZone("example.org.", test::kZoneText);
    world_.AddZone("signed.org.", test::kZoneText, key_);
    world_.Build();
  }
  uint16_t Rcode(const Bytes& packet) { return test::ReadResponse(world_.Ask(packet)).rcode; }
  // CPU time of one parse, the best of some, in nanoseconds.
  static double ParseNanoseconds(const Bytes& packet) {
    double best = 1e18;
    for (int i = 0; i < 20; ++i) {
      auto start = std::chrono::steady_clock::now();
      Query query;
      ParseQuery(packet, query);
      std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
      best = std::min(best, took.count());
    }
    return best;
  }
  std::shared_ptr<const SigningKey> key_;
  World world_;
};

// ---- Case 25

TEST_F(AttackTest, Case25SelfReferencingCompressionIsAFormatErrorAtBoundedCost) {
  Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1};
  EXPECT_EQ(Rcode(packet), kFormErrRcode);
  // 64 kB of pointers that point to the one before.
  Bytes chain = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  while (chain.size() < 65'000) Append16(chain, 0xc000u | ((chain.size() - 2) & 0x3fff));
  EXPECT_EQ(Rcode(chain), kFormErrRcode);
  EXPECT_LT(ParseNanoseconds(chain), 50'000);
}

TEST_F(AttackTest, Case25LongNamesDotsInLabelsAndTheRootAreAnsweredSafely) {
  Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  for (int i = 0; i < 130; ++i) Append(packet, Bytes{1, 'a'});
  Append(packet, Bytes{0, 0, 1, 0, 1});
  EXPECT_EQ(Rcode(packet), kFormErrRcode);  // 261 bytes
  // "www.example" as one label is not the two labels www and example.
  Bytes dotted = {0,   1,   0,   0,   0,   1,   0,   0, 0,   0,   0,   0, 11, 'w', 'w', 'w', '.',
                  'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'o', 'r', 'g', 0, 0,  1,   0,   1};
  EXPECT_EQ(Rcode(dotted), 5);
  EXPECT_EQ(Rcode({0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1}), 5);
}

// ---- Case 26

TEST_F(AttackTest, Case26ThousandsOfRecordsInAQueryAreNotParsed) {
  for (size_t section : {6u, 8u, 10u}) {
    Bytes packet = QueryBuilder{}.Build();
    Put16(packet.data() + section, 4000);
    for (int i = 0; i < 4000; ++i) {
      Append(packet, Bytes{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4});
    }
    EXPECT_EQ(Rcode(packet), kFormErrRcode);
    EXPECT_LT(ParseNanoseconds(packet), 50'000);
  }
}

TEST_F(AttackTest, Case26EveryQtypeAndOddClassIsAnswered) {
  for (unsigned type = 0; type <= 65535; type += type < 300 ? 1 : 251) {
    for (uint16_t qclass : std::initializer_list<uint16_t>{1, 3, 254, 255}) {
      QueryBuilder query{.type = static_cast<uint16_t>(type), .qclass = qclass};
      Response response = world_.AskFor(query);
      EXPECT_LE(response.rcode, 5);
    }
  }
  EXPECT_EQ(world_.AskFor(QueryBuilder{.type = 65535}).rcode, 0);
}

TEST_F(AttackTest, Case26UpdateAndNotifyWithClassAnyOrNoneAreNotImplemented) {
  for (unsigned opcode : {4u, 5u}) {
    for (uint16_t qclass : std::initializer_list<uint16_t>{254, 255}) {
      Bytes packet = QueryBuilder{.name = "example.org.",
                                  .type = 6,
                                  .qclass = qclass,
                                  .flags = static_cast<uint16_t>(opcode << 11)}
                         .Build();
      Put16(packet.data() + 8, 1);
      Append(packet, Bytes{0xc0, 12, 0, 255, 0, 255, 0, 0, 0, 0, 0, 0});
      EXPECT_EQ(Rcode(packet), 4);
    }
  }
}

// ---- Case 27

TEST_F(AttackTest, Case27TrailingDataIsAFormatErrorAndNotEchoed) {
  for (bool edns : {false, true}) {
    Bytes packet = QueryBuilder{.edns = edns}.Build();
    Append(packet, Bytes{'s', 'm', 'u', 'g', 'g', 'l', 'e', 'd'});
    Bytes answer = world_.Ask(packet);
    EXPECT_EQ(test::ReadResponse(answer).rcode, kFormErrRcode);
    EXPECT_EQ(std::search(answer.begin(), answer.end(), packet.end() - 8, packet.end()),
              answer.end());
  }
}

TEST_F(AttackTest, Case27MalformedOptsAreFormatErrors) {
  auto with_rdata = [](Bytes rdata, int declared) {
    Bytes packet = QueryBuilder{}.Build();
    packet[11] = 1;
    Append(packet, Bytes{0, 0, 41, 4, 0, 0, 0, 0, 0});
    Append16(packet, static_cast<size_t>(declared));
    Append(packet, rdata);
    return packet;
  };
  EXPECT_EQ(Rcode(with_rdata({0, 10}, 2)), kFormErrRcode);  // half an option
  EXPECT_EQ(Rcode(with_rdata({0, 10, 0, 8, 1, 2, 3}, 7)),
            kFormErrRcode);                                      // option longer than RDATA
  EXPECT_EQ(Rcode(with_rdata({0, 3, 0, 0}, 9)), kFormErrRcode);  // RDATA longer than packet
  EXPECT_EQ(Rcode(with_rdata({0, 3, 0, 0}, 0)), kFormErrRcode);  // packet longer than RDATA
  Bytes many;
  for (int i = 0; i < 10'000; ++i) Append(many, Bytes{0, 3, 0, 0});
  Bytes packet = with_rdata(many, static_cast<int>(many.size()));
  EXPECT_EQ(Rcode(packet), kFormErrRcode);
  EXPECT_LT(ParseNanoseconds(packet), 50'000);
}

TEST_F(AttackTest, Case27DoAndNonDoAlternatingGetTheirOwnAnswers) {
  for (int i = 0; i < 200; ++i) {
    bool dnssec = i % 2 == 0;
    QueryBuilder query{.name = i % 4 < 2 ? "www.signed.org." : "missing.signed.org.",
                       .edns = true,
                       .dnssec_ok = dnssec};
    bool has_signature = false;
    for (const auto& record : world_.AskFor(query).records) {
      has_signature |= record.type == Type::kRrsig;
    }
    EXPECT_EQ(has_signature, dnssec);
  }
}

// ---- Case 28

TEST_F(AttackTest, Case28NsidAndCookiesAreRightOverTcp) {
  QueryBuilder query{.edns = true, .options = {{3, {}}, {10, Bytes(8, 5)}}};
  Response response = world_.AskFor(query, Transport::kTcp);
  ASSERT_NE(response.Find(3), nullptr);
  ASSERT_NE(response.Find(10), nullptr);
  EXPECT_EQ(response.Find(10)->data.size(), 24u);
}

Bytes WithTsig(Bytes packet, std::string_view algorithm, bool last = true) {
  Bytes tsig;
  Append(tsig, N("key.example.org.").wire());
  Append(tsig, Bytes{0, 250, 0, 255, 0, 0, 0, 0});
  Bytes rdata;
  Append(rdata, N(algorithm).wire());
  Append(rdata, Bytes{0, 0, 1, 2, 3, 4, 1, 44, 0, 32});
  rdata.resize(rdata.size() + 32);
  Append(rdata, Bytes{0x12, 0x34, 0, 0, 0, 0});
  Append16(tsig, rdata.size());
  Append(tsig, rdata);
  Bytes opt = {0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0};
  packet[11] = 2;
  Append(packet, last ? opt : tsig);
  Append(packet, last ? tsig : opt);
  return packet;
}

TEST_F(AttackTest, Case28TsigIsRefusedWithBadKeyAndNeverTransfers) {
  Bytes axfr = QueryBuilder{.name = "example.org.", .type = 252}.Build();
  for (const char* algorithm : {"hmac-sha256.", "no-such-algorithm.", "."}) {
    for (int replay = 0; replay < 2; ++replay) {
      Bytes answer = world_.Ask(WithTsig(axfr, algorithm), Transport::kTcp);
      Response response = test::ReadResponse(answer);
      EXPECT_EQ(response.rcode, 9);
      EXPECT_EQ(world_.transfer, nullptr);
      auto tsig = response.Section(3);
      ASSERT_EQ(tsig.size(), 1u);
      EXPECT_EQ(tsig[0].type, Type::kTsig);
      EXPECT_EQ(tsig[0].owner, N("key.example.org."));
      size_t at = N(algorithm).size() + 8;
      EXPECT_EQ(Get16(tsig[0].rdata.data() + at), 0);       // no MAC
      EXPECT_EQ(Get16(tsig[0].rdata.data() + at + 4), 17);  // BADKEY
    }
  }
  EXPECT_EQ(
      test::ReadResponse(world_.Ask(WithTsig(axfr, "hmac-sha256.", false), Transport::kTcp)).rcode,
      kFormErrRcode);
  EXPECT_EQ(world_.transfer, nullptr);
}

TEST_F(AttackTest, Case28ACompressedTsigKeyNameIsReadOnceAndOnlyFromTheQuestion) {
  Bytes axfr = QueryBuilder{.name = "example.org.", .type = 252}.Build();
  for (uint8_t target : std::initializer_list<uint8_t>{12, 13, 20, 24, 25, 29, 200, 255}) {
    Bytes packet = axfr;
    packet[11] = 1;
    Append(packet, Bytes{3, 'k', 'e', 'y', 0xc0, target, 0, 250, 0, 255, 0, 0, 0, 0, 0, 17, 0});
    packet.resize(packet.size() + 16);
    Response response = test::ReadResponse(world_.Ask(packet, Transport::kTcp));
    bool label = target == 12 || target == 20 || target == 24;  // example.org, org, the root
    EXPECT_EQ(response.rcode, label ? 9 : kFormErrRcode) << int{target};
    if (target == 20) {
      EXPECT_EQ(response.Section(3)[0].owner, N("key.org."));
    }
  }
  // The second byte of a pointer may be zero: that is not the root label.
  Bytes packet = axfr;
  packet[11] = 1;
  Append(packet, Bytes{0xd6, 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 17, 0});
  packet.resize(packet.size() + 16);
  EXPECT_EQ(test::ReadResponse(world_.Ask(packet, Transport::kTcp)).rcode, kFormErrRcode);
}

// ---- Case 30

TEST_F(AttackTest, Case30SerialsCompareByRfc1982) {
  EXPECT_TRUE(SerialIsNewer(0x80000000u, 1));
  EXPECT_FALSE(SerialIsNewer(1, 0x80000000u));
  EXPECT_TRUE(SerialIsNewer(0, 0xffffffffu));
  EXPECT_FALSE(SerialIsNewer(7, 7));
  World world;
  std::string text(test::kZoneText);
  text.replace(text.find(" 7 "), 3, " 4294967295 ");
  world.AddZone("example.org.", text);
  world.Build();
  auto soa = world.AskFor("example.org.", Type::kSoa).Section(1);
  ASSERT_EQ(soa.size(), 1u);
  EXPECT_EQ(SoaSerial(soa[0].rdata), 4294967295u);
}

TEST_F(AttackTest, Case30MalformedRecordsOfAZoneAreErrorsWithTheirLine) {
  for (const char* line :
       {"x IN SVCB 1 . port=99999999", "x IN HTTPS 1 . =", "x IN APL 1:999.1/300",
        "x IN A 1.2.3.4.5", "x IN A 1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17",
        "x IN AAAA 2001:db8:0:0:0:0:0:0:0:0:0:0:1", "x IN TXT", "x IN NOSUCHTYPE 1",
        "x IN TYPE65280 \\# 4 01"}) {
    std::string path = testing::TempDir() + "/malformed-" + std::to_string(getpid());
    std::ofstream(path) << "@ 60 IN NS ns\n" << line << "\n";
    Zone zone;
    zone.apex = N("example.org.");
    ZoneFileReport report = LoadZoneFile(path, 60, zone);
    ASSERT_EQ(report.mistakes.size(), 1u) << line;
    EXPECT_NE(report.mistakes[0].find(":2: "), std::string::npos) << report.mistakes[0];
    std::remove(path.c_str());
  }
}

TEST_F(AttackTest, Case30NsecOfTheLongestNamesHasAValidSuccessor) {
  Name base = N("signed.org.");
  std::string label(63, 'x');
  Name name = *base.Child(label);
  while (auto child = name.Child(std::string(63, '\xff'))) name = *child;
  for (size_t size = 1; size <= 62; ++size) {
    for (char c : {'a', '\xff', '@'}) {
      auto longest = name.Child(std::string(size, c));
      if (!longest) continue;
      Bytes nsec = CompactNsec(*longest, {Type::kNsec});
      size_t next_size = RdataNameSize(nsec);
      ASSERT_NE(next_size, 0u) << longest->size();
      ASSERT_LE(next_size, 255u);
      Name next = *Name::FromWire(ByteView(nsec).first(next_size));
      EXPECT_TRUE((*longest <=> next) < 0) << longest->ToString() << " " << next.ToString();
    }
  }
  // And asked for over the wire.
  Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
  for (size_t l : {63u, 63u, 63u, 50u}) {
    packet.push_back(static_cast<uint8_t>(l));
    packet.insert(packet.end(), l, 0xff);
  }
  Append(packet, base.wire());
  Append(packet, Bytes{0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0});
  Response response = test::ReadResponse(world_.Ask(packet, Transport::kTcp));
  EXPECT_EQ(response.rcode, 0);
  EXPECT_EQ(response.Section(2).size(), 4u);
}

TEST_F(AttackTest, Case30LongCnameChainsAndLoopsEnd) {
  std::string text(test::kZoneText);
  for (int i = 0; i < 100; ++i) {
    text += "c" + std::to_string(i) + " 60 IN CNAME c" + std::to_string(i + 1) + "\n";
  }
  text += "loop1 60 IN CNAME loop2\nloop2 60 IN CNAME loop1\nself 60 IN CNAME self\n";
  World world;
  world.AddZone("example.org.", text);
  world.Build();
  EXPECT_EQ(world.AskFor("c0.example.org.", Type::kA).Section(1).size(), 8u);
  EXPECT_LE(world.AskFor("loop1.example.org.", Type::kA).Section(1).size(), 8u);
  EXPECT_LE(world.AskFor("self.example.org.", Type::kA).Section(1).size(), 8u);
}

TEST_F(AttackTest, Case30LargeSetsAreBoundedAndTheAdditionalSectionIsCapped) {
  std::string text(test::kZoneText);
  for (int i = 0; i < 200; ++i) {
    std::string host = "h" + std::to_string(i);
    text += "big 60 IN SRV 0 0 5222 " + host + "\n";
    text += host + " 60 IN A 10.0.0." + std::to_string(i + 1) + "\n";
  }
  World world;
  world.AddZone("example.org.", text);
  world.Build();
  QueryBuilder query{.name = "big.example.org.", .type = 33};
  Response response = world.AskFor(query, Transport::kTcp);
  EXPECT_EQ(response.Section(1).size(), 200u);
  EXPECT_EQ(response.Section(3).size(), kAdditionalSetsMax);
  EXPECT_TRUE(world.AskFor(query).tc());
  Zone zone;
  zone.apex = N("example.org.");
  for (size_t i = 0; i < kRecordsPerSetMax; ++i) {
    Bytes rdata;
    Append32(rdata, static_cast<uint32_t>(i));
    ASSERT_TRUE(AddRecord(zone, {zone.apex, Type::kA, 60, rdata}).has_value());
  }
  EXPECT_FALSE(AddRecord(zone, {zone.apex, Type::kA, 60, {9, 9, 9, 9}}).has_value());
  EXPECT_FALSE(AddRecord(zone, {zone.apex, Type::kTxt, 60, Bytes(62'000)}).has_value());
  EXPECT_TRUE(AddRecord(zone, {zone.apex, Type::kTxt, 60, Bytes(40'000)}).has_value());
  EXPECT_TRUE(AddRecord(zone, {zone.apex, Type::kTxt, 60, Bytes(20'001)}).has_value());
  EXPECT_FALSE(AddRecord(zone, {zone.apex, Type::kTxt, 60, Bytes(16'002)}).has_value());
}

// ---- Case 32

TEST_F(AttackTest, Case32AHostileNameIsPrintedHarmlessly) {
  Bytes hostile = {28,  '<', 's', 'c', 'r',  'i', 'p', 't',  '>',  '"',  '\n', '\\', '}', '{', '`',
                   '$', '(', ')', ';', '\'', 0,   1,   0x7f, 0x80, 0xff, ' ',  '&',  '%', 0};
  std::string text = NameToText(hostile);
  for (char c : text) EXPECT_TRUE(c > 0x20 && c < 0x7f);
  size_t raw_quotes = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '"' || text[i] == '<') && (i == 0 || text[i - 1] != '\\')) ++raw_quotes;
  }
  EXPECT_EQ(raw_quotes, 0u);
}

}  // namespace
}  // namespace dns
