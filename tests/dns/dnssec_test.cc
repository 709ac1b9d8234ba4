// Signatures, keys and denial, checked with ldns as the validator.
#include "dns/zone/dnssec.h"

#include <gtest/gtest.h>
#include <ldns/ldns.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using test::Response;
using test::World;

// Does ldns verify every set of the response that has an RRSIG, and does every set of ours have
// one? Glue and NS at cuts have none.
void ExpectVerifies(const Bytes& wire, const SigningKey& key, size_t sets_expected) {
  ldns_pkt* packet = nullptr;
  ASSERT_EQ(ldns_wire2pkt(&packet, wire.data(), wire.size()), LDNS_STATUS_OK);
  ldns_rr* dnskey = nullptr;
  std::string text = ToText({key.zone(), Type::kDnskey, 3600, key.dnskey()});
  ASSERT_EQ(ldns_rr_new_frm_str(&dnskey, text.c_str(), 0, nullptr, nullptr), LDNS_STATUS_OK);
  ldns_rr_list* keys = ldns_rr_list_new();
  ldns_rr_list_push_rr(keys, dnskey);
  size_t verified = 0;
  for (ldns_rr_list* section : {ldns_pkt_answer(packet), ldns_pkt_authority(packet)}) {
    ldns_rr_list* copy = ldns_rr_list_clone(section);
    while (ldns_rr_list* set = ldns_rr_list_pop_rrset(copy)) {
      if (ldns_rr_list_type(set) != LDNS_RR_TYPE_RRSIG) {
        ldns_rr_list* signatures = ldns_dnssec_pkt_get_rrsigs_for_name_and_type(
            packet, ldns_rr_list_owner(set), ldns_rr_list_type(set));
        if (signatures != nullptr && ldns_rr_list_rr_count(signatures) > 0) {
          EXPECT_EQ(ldns_verify_time(set, signatures, keys, 1'700'000'000, nullptr), LDNS_STATUS_OK)
              << ldns_rr2str(ldns_rr_list_rr(set, 0));
          ++verified;
        }
        ldns_rr_list_deep_free(signatures);
      }
      ldns_rr_list_deep_free(set);
    }
    ldns_rr_list_deep_free(copy);
  }
  EXPECT_EQ(verified, sets_expected);
  ldns_rr_list_deep_free(keys);
  ldns_pkt_free(packet);
}

class DnssecTest : public testing::TestWithParam<Algorithm> {
 protected:
  void SetUp() override {
    key_ = test::KeyOfExample(GetParam());
    world_.config.rate_limit.per_second = 0;
    world_.AddPool(test::MakePool(3));
    world_.AddZone("example.org.",
                   std::string(test::kZoneText) +
                       "signed 3600 IN NS ns.signed\n"
                       "ns.signed 3600 IN A 192.0.2.78\n"
                       "signed 3600 IN DS 1 13 2 " +
                       std::string(64, 'a') + "\n",
                   key_);
    world_.UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
    world_.Build();
  }
  Bytes Wire(std::string_view name, Type type, bool compact_ok = false) {
    QueryBuilder query{.name = std::string(name),
                       .type = static_cast<uint16_t>(type),
                       .edns = true,
                       .dnssec_ok = true,
                       .compact_ok = compact_ok};
    return world_.Ask(query.Build(), Transport::kTcp);
  }
  std::shared_ptr<const SigningKey> key_;
  World world_;
};

INSTANTIATE_TEST_SUITE_P(Algorithms, DnssecTest,
                         testing::Values(Algorithm::kEcdsaP256Sha256, Algorithm::kEd25519),
                         [](const auto& test) { return std::string(ToString(test.param)); });

TEST_P(DnssecTest, PositiveAnswersVerify) {
  for (const char* name : {"www.example.org.", "one.example.org.", "xmpp.example.org."}) {
    ExpectVerifies(Wire(name, Type::kA), *key_, 1);
  }
  for (Type type : {Type::kSoa, Type::kNs, Type::kMx, Type::kDnskey, Type::kCds, Type::kCdnskey}) {
    ExpectVerifies(Wire("example.org.", type), *key_, 1);
  }
  ExpectVerifies(Wire("_xmpp-client._tcp.example.org.", Type::kSrv), *key_, 1);
  ExpectVerifies(Wire("chain.example.org.", Type::kA), *key_, 3);
  ExpectVerifies(Wire("www.example.org.", Type::kNsec), *key_, 1);
  ExpectVerifies(Wire("www.example.org.", Type::kAny), *key_, 1);
}

TEST_P(DnssecTest, WithoutDoNothingOfDnssecIsInTheAnswer) {
  for (const char* name : {"www.example.org.", "nowhere.example.org.", "sub.example.org."}) {
    for (const auto& record : world_.AskFor(name, Type::kA).records) {
      EXPECT_NE(record.type, Type::kRrsig);
      EXPECT_NE(record.type, Type::kNsec);
    }
  }
}

TEST_P(DnssecTest, NoDataIsDeniedByANsecOfTheNameWithItsTypes) {
  Bytes wire = Wire("www.example.org.", Type::kTxt);
  ExpectVerifies(wire, *key_, 2);  // SOA and NSEC
  Response response = test::ReadResponse(wire);
  for (const auto& record : response.Section(2)) {
    if (record.type != Type::kNsec) continue;
    EXPECT_EQ(record.owner, N("www.example.org."));
    EXPECT_EQ(record.rdata, CompactNsec(record.owner, {Type::kA, Type::kRrsig, Type::kNsec}));
    EXPECT_EQ(record.ttl, 300u);
  }
}

TEST_P(DnssecTest, AMissingNameIsDeniedCompactly) {
  Bytes wire = Wire("not.there.example.org.", Type::kA);
  ExpectVerifies(wire, *key_, 2);
  Response response = test::ReadResponse(wire);
  EXPECT_EQ(response.rcode, 0);  // RFC 9824: the NSEC says it
  bool found = false;
  for (const auto& record : response.Section(2)) {
    if (record.type != Type::kNsec) continue;
    found = true;
    EXPECT_EQ(record.owner, N("not.there.example.org."));
    EXPECT_EQ(record.rdata, CompactNsec(record.owner, {Type::kRrsig, Type::kNsec, Type::kNxname}));
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(test::ReadResponse(Wire("not.there.example.org.", Type::kA, true)).rcode, 3);
  EXPECT_EQ(world_.AskFor("not.there.example.org.", Type::kA).rcode, 3);
  EXPECT_EQ(world_.AskFor("x.example.org.", Type::kNxname).rcode, 1);
}

TEST_P(DnssecTest, WildcardAnswersAreSignedForTheNameAsked) {
  Bytes wire = Wire("a.b.wild.example.org.", Type::kA);
  ExpectVerifies(wire, *key_, 1);
  for (const auto& record : test::ReadResponse(wire).Answers(Type::kRrsig)) {
    EXPECT_EQ(record.rdata[3], 5);  // all labels: no wildcard to prove
  }
  ExpectVerifies(Wire("a.b.wild.example.org.", Type::kMx), *key_, 2);
  ExpectVerifies(Wire("x.wildcname.example.org.", Type::kA), *key_, 2);
}

TEST_P(DnssecTest, ReferralsProveWhetherTheChildIsSigned) {
  Bytes insecure = Wire("x.sub.example.org.", Type::kA);
  ExpectVerifies(insecure, *key_, 1);
  Response response = test::ReadResponse(insecure);
  EXPECT_FALSE(response.aa());
  bool nsec = false;
  for (const auto& record : response.Section(2)) nsec |= record.type == Type::kNsec;
  EXPECT_TRUE(nsec);
  ExpectVerifies(Wire("x.signed.example.org.", Type::kA), *key_, 1);
  bool ds = false;
  for (const auto& record : test::ReadResponse(Wire("signed.example.org.", Type::kA)).Section(2)) {
    ds |= record.type == Type::kDs;
  }
  EXPECT_TRUE(ds);
  ExpectVerifies(Wire("signed.example.org.", Type::kDs), *key_, 1);
  ExpectVerifies(Wire("sub.example.org.", Type::kDs), *key_, 2);
}

TEST_P(DnssecTest, SetsAreSignedWhenTheyChangeAndNotBefore) {
  uint64_t made = world_.signatures.signatures_made();
  std::vector<BalancerLive> live(3);
  world_.SetLive(0, live);
  EXPECT_EQ(world_.signatures.signatures_made(), made);
  live[0].standing = Standing::kDown;
  world_.SetLive(0, live);
  // A and SRV of the pool. The NSEC of its names stays as it is.
  EXPECT_EQ(world_.signatures.signatures_made(), made + 2);
  ExpectVerifies(Wire("xmpp.example.org.", Type::kA), *key_, 1);
  live[0].standing = Standing::kUp;
  world_.SetLive(0, live);  // signed before
  EXPECT_EQ(world_.signatures.signatures_made(), made + 2);
}

TEST_P(DnssecTest, SignaturesAreMadeAnewBeforeTheyEnd) {
  uint64_t made = world_.signatures.signatures_made();
  uint32_t refresh_at = world_.signatures.RefreshAt();
  EXPECT_GT(refresh_at, world_.now.unix_seconds + 10 * 86400);
  world_.compiler->Build(world_.views, refresh_at - 10, world_.signatures);
  EXPECT_EQ(world_.signatures.signatures_made(), made);
  world_.compiler->Build(world_.views, refresh_at + 10, world_.signatures);
  EXPECT_GT(world_.signatures.signatures_made(), made + 20);
}

TEST_P(DnssecTest, SigningOnDemandHasABudgetAndRemembers) {
  world_.config.signatures_per_second = 10;
  Responder responder(world_.config, 1);
  std::vector<uint8_t> out(kMessageBytesMax);
  auto ask = [&](int i) {
    QueryBuilder query{
        .name = "x" + std::to_string(i) + ".example.org.", .edns = true, .dnssec_ok = true};
    Reply reply = responder.Respond(*world_.generation, {test::Ip("192.0.2.1"), Transport::kUdp},
                                    query.Build(), out, world_.now);
    return test::ReadResponse(ByteView(out).first(reply.size)).tc();
  };
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(ask(i));
  EXPECT_TRUE(ask(10));
  EXPECT_FALSE(ask(3));  // signed before
  EXPECT_EQ(responder.counters().sign_budget_spent.Get(), 1u);
  EXPECT_EQ(responder.counters().signed_on_demand.Get(), 10u);
}

TEST_P(DnssecTest, KeyFilesAreReadBackAndByLdns) {
  std::string directory = testing::TempDir() + "/keys-" + std::to_string(getpid()) + "-" +
                          std::string(ToString(GetParam()));
  std::filesystem::create_directory(directory);
  auto path = key_->Write(directory);
  ASSERT_TRUE(path.has_value()) << path.error();
  struct stat status;
  ASSERT_EQ(stat(path->c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_FALSE(key_->Write(directory).has_value());  // never overwritten
  auto read = SigningKey::FromFile(*path, N("example.org."));
  ASSERT_TRUE(read.has_value()) << read.error();
  EXPECT_EQ(read->dnskey(), key_->dnskey());
  EXPECT_EQ(read->tag(), key_->tag());
  // ldns reads both files, and agrees on tag and DS.
  FILE* file = std::fopen(path->c_str(), "r");
  ldns_key* theirs = nullptr;
  ASSERT_EQ(ldns_key_new_frm_fp(&theirs, file), LDNS_STATUS_OK);
  std::fclose(file);
  ldns_key_deep_free(theirs);
  std::ifstream record_file(directory + "/" + key_->BaseName() + ".key");
  std::string line;
  std::getline(record_file, line);
  ldns_rr* rr = nullptr;
  ASSERT_EQ(ldns_rr_new_frm_str(&rr, line.c_str(), 3600, nullptr, nullptr), LDNS_STATUS_OK);
  EXPECT_EQ(ldns_calc_keytag(rr), key_->tag());
  ldns_rr* ds = ldns_key_rr2ds(rr, LDNS_SHA256);
  ldns_buffer* buffer = ldns_buffer_new(128);
  ldns_rr_rdata2buffer_wire(buffer, ds);
  EXPECT_EQ(Bytes(ldns_buffer_begin(buffer), ldns_buffer_current(buffer)), key_->Ds());
  ldns_buffer_free(buffer);
  ldns_rr_free(ds);
  ldns_rr_free(rr);
  std::filesystem::remove_all(directory);
}

TEST(DnssecKeyTest, BadKeyFilesAreRefusedInWords) {
  std::string path = testing::TempDir() + "/bad-key-" + std::to_string(getpid());
  auto error = [&](std::string_view text) {
    std::ofstream(path) << text;
    auto key = SigningKey::FromFile(path, N("example.org."));
    return key ? std::string("none") : key.error();
  };
  EXPECT_NE(error("Algorithm: 8 (RSASHA256)\n").find("algorithm 8"), std::string::npos);
  EXPECT_NE(error("Algorithm: 13\nPrivateKey: ???\n").find("PrivateKey"), std::string::npos);
  EXPECT_NE(error("Algorithm: 13\nPrivateKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
                .find("not a valid key"),
            std::string::npos);
  std::filesystem::remove(path);
  EXPECT_NE(error("").find("algorithm 0"), std::string::npos);
  std::filesystem::remove(path);
  EXPECT_FALSE(SigningKey::FromFile(path, N("example.org.")).has_value());
}

TEST(NsecTest, BitmapsHaveAWindowForEach256Types) {
  Bytes expected = {0, 6, 0x40, 0x01, 0, 0, 0, 0x03, 4, 27};  // RFC 4034 section 4.3
  expected.resize(expected.size() + 26);
  expected.push_back(0x20);
  EXPECT_EQ(TypeBitmap({Type::kA, Type::kMx, Type::kRrsig, Type::kNsec, static_cast<Type>(1234)}),
            expected);
}

}  // namespace
}  // namespace dns
