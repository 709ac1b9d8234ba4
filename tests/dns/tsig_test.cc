// Transaction signatures, RFC 8945; what is expected of MACs comes from dnspython and BIND's
// tools in e2e/dns_tsig.py, here from the RFC's rules.
#include "dns/tsig/tsig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using testing::HasSubstr;
using Verdict = TsigCheck::Verdict;

constexpr uint64_t kSignedAt = 1'700'000'000;

TsigKey MakeKey(const char* name, TsigAlgorithm algorithm, char fill = 's') {
  TsigKey key;
  key.name = N(name);
  key.algorithm = algorithm;
  key.secret = Bytes(32, static_cast<uint8_t>(fill));
  return key;
}

class TsigTest : public testing::TestWithParam<TsigAlgorithm> {
 protected:
  TsigTest() {
    auto keys = std::make_shared<TsigKeys>();
    EXPECT_TRUE(keys->Add(MakeKey("key.example.", GetParam())).has_value());
    EXPECT_TRUE(keys->Add(MakeKey("other.example.", GetParam(), 'o')).has_value());
    keys_ = std::move(keys);
  }
  const TsigKey& key(const char* name = "key.example.") const {
    return *keys_->Find(N(name).wire());
  }
  Bytes Signed(uint64_t now = kSignedAt) const {
    Bytes message = QueryBuilder{.name = "example.org.", .type = 252}.Build();
    TsigSigner(keys_, key()).Sign(message, now);
    return message;
  }
  size_t MacAt(ByteView message) const {
    TsigRecord record;
    EXPECT_EQ(ReadTsig(message, record), TsigForm::kPresent);
    return record.offset + record.key_name.size() + 10 + record.algorithm.size() + 10;
  }

  std::shared_ptr<const TsigKeys> keys_;
};

TEST_P(TsigTest, AGoodSignatureIsGoodWithinItsTime) {
  Bytes message = Signed();
  for (uint64_t now : {kSignedAt - 300, kSignedAt, kSignedAt + 300}) {
    TsigCheck check = CheckTsig(message, keys_, now);
    EXPECT_TRUE(check.good()) << now;
    EXPECT_EQ(check.key, &key());
  }
  for (uint64_t now : {kSignedAt - 301, kSignedAt + 301}) {
    TsigCheck check = CheckTsig(message, keys_, now);
    EXPECT_TRUE(check.refused());
    EXPECT_EQ(check.error, TsigError::kBadTime);
  }
}

TEST_P(TsigTest, EveryChangedBitIsRefused) {
  const Bytes message = Signed();
  for (size_t at = 0; at < message.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes changed = message;
      changed[at] = static_cast<uint8_t>(changed[at] ^ 1u << bit);
      TsigCheck check = CheckTsig(changed, keys_, kSignedAt);
      // A name's case and, since the original id counts (§5.1), the header's id do not matter.
      bool is_id = at < 2;
      bool is_case = bit == 5 && check.good();
      EXPECT_TRUE(!check.good() || is_id || is_case) << at << " " << bit;
    }
  }
}

TEST_P(TsigTest, TruncatedMacsAreRefusedWhateverTheirSize) {
  const Bytes message = Signed();
  size_t full = MacBytes(GetParam());
  for (size_t size = 0; size < full; ++size) {
    Bytes cut = message;
    size_t at = MacAt(cut);
    cut.erase(cut.begin() + static_cast<std::ptrdiff_t>(at + size),
              cut.begin() + static_cast<std::ptrdiff_t>(at + full));
    TsigRecord record;
    ASSERT_EQ(ReadTsig(message, record), TsigForm::kPresent);
    Put16(cut.data() + at - 2, size);
    size_t rdata_at = record.offset + record.key_name.size() + 8;
    Put16(cut.data() + rdata_at, Get16(cut.data() + rdata_at) - (full - size));
    TsigCheck check = CheckTsig(cut, keys_, kSignedAt);
    if (size < std::max<size_t>(10, full / 2)) {
      EXPECT_EQ(check.verdict, Verdict::kFormErr) << size;
    } else {
      EXPECT_EQ(check.error, TsigError::kBadTrunc) << size;
    }
  }
}

TEST_P(TsigTest, UnknownKeysAndOtherAlgorithmsAreBadKey) {
  Bytes message = Signed();
  EXPECT_EQ(CheckTsig(message, std::make_shared<TsigKeys>(), kSignedAt).error, TsigError::kBadKey);
  EXPECT_EQ(CheckTsig(message, nullptr, kSignedAt).error, TsigError::kBadKey);
  auto keys = std::make_shared<TsigKeys>();
  TsigAlgorithm other = GetParam() == TsigAlgorithm::kHmacSha256 ? TsigAlgorithm::kHmacSha512
                                                                 : TsigAlgorithm::kHmacSha256;
  ASSERT_TRUE(keys->Add(MakeKey("key.example.", other)).has_value());
  EXPECT_EQ(CheckTsig(message, keys, kSignedAt).error, TsigError::kBadKey);
  auto wrong = std::make_shared<TsigKeys>();
  ASSERT_TRUE(wrong->Add(MakeKey("key.example.", GetParam(), 'x')).has_value());
  EXPECT_EQ(CheckTsig(message, wrong, kSignedAt).error, TsigError::kBadSig);
}

TEST_P(TsigTest, OnlyTheLastRecordIsATsigAndNothingStandsBehindIt) {
  Bytes message = Signed();
  Bytes behind = message;
  behind.push_back(0);
  EXPECT_EQ(CheckTsig(behind, keys_, kSignedAt).verdict, Verdict::kFormErr);
  Bytes twice = message;
  TsigSigner(keys_, key()).Sign(twice, kSignedAt);
  EXPECT_EQ(CheckTsig(twice, keys_, kSignedAt).verdict, Verdict::kFormErr);
  for (size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(CheckTsig(ByteView(message).first(size), keys_, kSignedAt).good()) << size;
  }
}

TEST_P(TsigTest, AStreamOfMessagesIsSignedAndCheckedAsAChain) {
  Bytes request = QueryBuilder{.name = "example.org.", .type = 252}.Build();
  TsigSigner client(keys_, key());
  client.Sign(request, kSignedAt);
  TsigCheck check = CheckTsig(request, keys_, kSignedAt);
  ASSERT_TRUE(check.good());
  TsigSigner server(check);
  TsigVerifier verifier(client);
  std::vector<Bytes> messages;
  for (int i = 0; i < 5; ++i) {
    Bytes message = QueryBuilder{.name = "example.org.", .type = static_cast<uint16_t>(i)}.Build();
    message[2] |= 0x80;
    server.Sign(message, kSignedAt);
    messages.push_back(message);
  }
  EXPECT_FALSE(verifier.complete());
  for (const Bytes& message : messages) {
    auto checked = verifier.Check(message, kSignedAt);
    EXPECT_TRUE(checked.has_value()) << checked.error();
  }
  EXPECT_TRUE(verifier.complete());
  // Left out, changed over, or taken from another exchange.
  TsigVerifier gap(client);
  ASSERT_TRUE(gap.Check(messages[0], kSignedAt).has_value());
  EXPECT_FALSE(gap.Check(messages[2], kSignedAt).has_value());
  TsigVerifier late(client);
  EXPECT_FALSE(late.Check(messages[1], kSignedAt).has_value());
  Bytes again = QueryBuilder{.name = "example.org.", .type = 252}.Build();
  TsigSigner another(keys_, key());
  another.Sign(again, kSignedAt + 1);
  EXPECT_FALSE(TsigVerifier(another).Check(messages[0], kSignedAt).has_value());
  // Without a signature at the beginning, or at the end.
  Bytes plain = QueryBuilder{.name = "example.org."}.Build();
  TsigVerifier unsigned_first(client);
  EXPECT_FALSE(unsigned_first.Check(plain, kSignedAt).has_value());
  TsigVerifier unsigned_last(client);
  ASSERT_TRUE(unsigned_last.Check(messages[0], kSignedAt).has_value());
  ASSERT_TRUE(unsigned_last.Check(plain, kSignedAt).has_value());
  EXPECT_FALSE(unsigned_last.complete());
}

TEST_P(TsigTest, AReplayIsSeenAndForgettingNeverLetsOneIn) {
  TsigReplays replays;
  TsigCheck first = CheckTsig(Signed(), keys_, kSignedAt);
  EXPECT_TRUE(replays.IsFresh(first, kSignedAt));
  EXPECT_FALSE(replays.IsFresh(first, kSignedAt));
  EXPECT_FALSE(replays.IsFresh(first, kSignedAt + 300));
  for (size_t i = 0; i < TsigReplays::kEntriesMax + 10; ++i) {
    TsigCheck other = first;
    other.record.time = kSignedAt + 1;
    other.record.mac[0] = static_cast<uint8_t>(i);
    other.record.mac[1] = static_cast<uint8_t>(i >> 8);
    other.record.mac[2] ^= 0xff;
    replays.IsFresh(other, kSignedAt + 1);
  }
  EXPECT_FALSE(replays.IsFresh(first, kSignedAt + 2));
}

INSTANTIATE_TEST_SUITE_P(Algorithms, TsigTest,
                         testing::Values(TsigAlgorithm::kHmacSha256, TsigAlgorithm::kHmacSha384,
                                         TsigAlgorithm::kHmacSha512));

class SignedQueryTest : public testing::Test {
 protected:
  SignedQueryTest() {
    world_.AddZone("example.org.", test::kZoneText);
    auto keys = std::make_shared<TsigKeys>();
    EXPECT_TRUE(keys->Add(MakeKey("key.example.", TsigAlgorithm::kHmacSha256)).has_value());
    keys_ = keys;
    world_.config.tsig_keys = keys;
    world_.Build();
  }
  TsigSigner Signer() { return {keys_, *keys_->Find(N("key.example.").wire())}; }

  test::World world_;
  std::shared_ptr<const TsigKeys> keys_;
};

TEST_F(SignedQueryTest, AnAnswerIsThatOfTheQueryWithoutTsigAndIsSigned) {
  for (Transport transport : {Transport::kUdp, Transport::kTcp}) {
    Bytes query = QueryBuilder{.name = "www.example.org.", .type = 1, .edns = true}.Build();
    TsigSigner signer = Signer();
    signer.Sign(query, kSignedAt);
    Bytes answer = world_.Ask(query, transport);
    TsigVerifier verifier(signer);
    auto checked = verifier.Check(answer, kSignedAt);
    EXPECT_TRUE(checked.has_value()) << checked.error();
    test::Response response = test::ReadResponse(answer);
    EXPECT_EQ(response.rcode, 0);
    EXPECT_FALSE(response.Section(1).empty());
    EXPECT_EQ(response.id, 0x1234);
  }
}

TEST_F(SignedQueryTest, WrongSignaturesGetTheErrorOfTheRfcAndNoTransfer) {
  struct Case {
    uint64_t at;
    bool broken;
    int error;
    bool has_mac;
  };
  for (const Case& c : {Case{kSignedAt - 400, false, 18, true}, Case{kSignedAt, true, 16, false}}) {
    Bytes query = QueryBuilder{.name = "example.org.", .type = 252}.Build();
    TsigSigner signer = Signer();
    signer.Sign(query, c.at);
    if (c.broken) query[query.size() - 10] ^= 1;
    Bytes answer = world_.Ask(query, Transport::kTcp);
    EXPECT_EQ(world_.transfer, nullptr);
    test::Response response = test::ReadResponse(answer);
    EXPECT_EQ(response.rcode, 9);
    TsigRecord record;
    ASSERT_EQ(ReadTsig(answer, record), TsigForm::kPresent);
    EXPECT_EQ(record.error, c.error);
    EXPECT_EQ(!record.mac.empty(), c.has_mac);
    if (c.error == 18) {
      ASSERT_EQ(record.other.size(), 6u);  // the server's time
      EXPECT_EQ(Get32(record.other.data() + 2), kSignedAt);
    }
  }
}

TEST(TsigKeyFileTest, IsReadAsToolsWriteIt) {
  auto keys = ReadTsigKeys(
      "# made by tsig-keygen\nkey \"ns2.example.org\" {\n\talgorithm hmac-sha256;\n"
      "\tsecret \"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=\";\n};\n"
      "key ns3. { secret \"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=\"; algorithm hmac-sha512.; "
      "};");
  ASSERT_TRUE(keys.has_value()) << keys.error();
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].name, N("ns2.example.org."));
  EXPECT_EQ((*keys)[0].secret.size(), 32u);
  EXPECT_EQ((*keys)[1].algorithm, TsigAlgorithm::kHmacSha512);
}

TEST(TsigKeyFileTest, MistakesAreToldWithTheirLineAndWithoutTheSecret) {
  const std::string secret = "c2VjcmV0IHNlY3JldA==";  // too short
  for (const char* text :
       {"", "key", "key {", "key a {", "key a { algorithm hmac-md5; };",
        "key a { secret \"%%\"; };", "key a { algorithm hmac-sha256; };",
        "key a { algorithm hmac-sha256; secret \"c2VjcmV0IHNlY3JldA==\"; };",
        "key a { algorithm hmac-sha256; secret \"c2VjcmV0IHNlY3JldCBzZWNyZXQ=\"; }", "zone a { };",
        "key \"a", "key a { algorithm"}) {
    auto keys = ReadTsigKeys(text);
    ASSERT_FALSE(keys.has_value()) << text;
    EXPECT_THAT(keys.error(), HasSubstr("line 1"));
    EXPECT_THAT(keys.error(), testing::Not(HasSubstr(secret)));
  }
}

TEST(TsigKeyFileTest, AFileThatOthersMayReadIsRefused) {
  std::string path = testing::TempDir() + "/tsig.key";
  std::ofstream(path) << "key a. { algorithm hmac-sha256; secret "
                         "\"c2VjcmV0IHNlY3JldCBzZWNyZXQ=\"; };";
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  auto open = ReadTsigKeyFile(path);
  ASSERT_FALSE(open.has_value());
  EXPECT_THAT(open.error(), HasSubstr("chmod 600"));
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_TRUE(ReadTsigKeyFile(path).has_value());
}

}  // namespace
}  // namespace dns
