#include "server/sasl/scram.h"

#include <gsasl.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "net/base/base64.h"

namespace server {
namespace {

std::string Error(const std::expected<std::string, SaslFailure>& result) {
  return result ? "none" : std::string(ToString(result.error()));
}
std::string Error(const std::expected<ScramServer::First, SaslFailure>& result) {
  return result ? "none" : std::string(ToString(result.error()));
}

struct Vector {
  ScramHash hash;
  std::string_view client_nonce, server_nonce, salt, binding, gs2, final, success;
};

// RFC 5802 section 5, RFC 7677 section 3; the others by an independent reckoning.
const Vector kVectors[] = {
    {ScramHash::kSha1, "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92", "",
     "n,,", "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {ScramHash::kSha256, "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
     "W22ZaJ0SNY7soEsUEjb6gQ==", "", "n,,",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
     "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
    {ScramHash::kSha512, "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
     "W22ZaJ0SNY7soEsUEjb6gQ==", "", "n,,",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
     "p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
     "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw=="},
    {ScramHash::kSha256, "abc", "def",
     "MDEyMzQ1Njc4OWFiY2RlZg==", "0123456789abcdef0123456789abcdef", "p=tls-exporter,,",
     "c=cD10bHMtZXhwb3J0ZXIsLDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm,r=abcdef,"
     "p=qtDFsrSeOc8nlZdC9eoyt54JfBtddPsYILSg2yhRBuc=",
     "v=8KNI8mZiKzck2nQj9oa+ZwsDrgH10VmS0GIlQcYCuYA="},
};

TEST(Scram, TheRfcsExchangesPlayToTheirEnd) {
  for (const Vector& v : kVectors) {
    const ChannelBindings bindings{.exporter = std::string(v.binding)};
    const auto keys = MakeScramKeys(v.hash, "pencil", net::Base64Decode(v.salt).value(), 4096);
    ASSERT_TRUE(keys);
    const auto play = [&](const ScramKeys& with, bool exists, std::string final) {
      ScramServer server(
          {.hash = v.hash, .plus = !v.binding.empty(), .nonce = std::string(v.server_nonce)},
          &bindings);
      const auto first =
          server.ReadFirst(std::string(v.gs2) + "n=user,r=" + std::string(v.client_nonce));
      EXPECT_TRUE(first);
      EXPECT_EQ(first->name, "user");
      EXPECT_EQ(server.Challenge(with, exists), "r=" + std::string(v.client_nonce) +
                                                    std::string(v.server_nonce) +
                                                    ",s=" + std::string(v.salt) + ",i=4096");
      return server.ReadFinal(final);
    };
    EXPECT_EQ(play(*keys, true, std::string(v.final)).value_or(""), v.success);
    EXPECT_EQ(Error(play(*keys, false, std::string(v.final))), "not-authorized");
    ScramKeys others = *keys;
    others.stored_key[0] ^= 1;
    EXPECT_EQ(Error(play(others, true, std::string(v.final))), "not-authorized");
    // No byte of the final message may differ.
    for (size_t i = 0; i < v.final.size(); ++i) {
      std::string changed(v.final);
      changed[i] = changed[i] == 'A' ? 'B' : 'A';
      EXPECT_FALSE(play(*keys, true, changed)) << changed;
    }
  }
}

TEST(Scram, BindingsAreDemandedAndDowngradesAreSeen) {
  const ChannelBindings none;
  const ChannelBindings both{.exporter = "e", .server_end_point = "s"};
  const auto first = [](std::string_view message, const ChannelBindings& bindings, bool plus,
                        bool offered) {
    ScramServer server({.plus = plus, .plus_was_offered = offered, .nonce = "n"}, &bindings);
    return Error(server.ReadFirst(message));
  };
  EXPECT_EQ(first("n,,n=a,r=x", both, false, true), "none");
  EXPECT_EQ(first("y,,n=a,r=x", none, false, false), "none");
  EXPECT_EQ(first("y,,n=a,r=x", both, false, true), "not-authorized");
  EXPECT_EQ(first("n,,n=a,r=x", both, true, true), "malformed-request");
  EXPECT_EQ(first("y,,n=a,r=x", both, true, true), "malformed-request");
  EXPECT_EQ(first("p=tls-exporter,,n=a,r=x", both, false, true), "malformed-request");
  EXPECT_EQ(first("p=tls-exporter,,n=a,r=x", both, true, true), "none");
  EXPECT_EQ(first("p=tls-server-end-point,,n=a,r=x", both, true, true), "none");
  EXPECT_EQ(first("p=tls-unique,,n=a,r=x", both, true, true), "malformed-request");
  EXPECT_EQ(first("p=tls-exporter,,n=a,r=x", none, true, true), "malformed-request");
}

TEST(Scram, MalformedMessagesAreSaidToBeThat) {
  const ChannelBindings bindings;
  for (const std::string_view message :
       {"", "n", "n,", "n,,", "n,,n=a", "n,,r=x", "n,,n=,r=x", "n,,n=a,r=", "n,,n=a=,r=x",
        "n,,n=a=2c,r=x", "n,,m=1,n=a,r=x", "n,b=c,n=a,r=x", "x,,n=a,r=x", "n,,n=a,r=x\x01"}) {
    ScramServer server({.nonce = "n"}, &bindings);
    EXPECT_EQ(Error(server.ReadFirst(message)), "malformed-request") << message;
  }
  ScramServer server({.nonce = "n"}, &bindings);
  const auto first = server.ReadFirst("n,a=x=3Dy,n=a=2Cb,r=x");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->name, "a,b");
  EXPECT_EQ(first->authzid, "x=y");
  server.Challenge(DecoyScramKeys(ScramHash::kSha256, "secret", "a", 4096), false);
  for (const std::string_view message : {"", "c=biws", "c=biws,r=xn", "c=biws,r=xn,p=", "p=AAAA",
                                         "c=!!,r=xn,p=AAAA", "c=biws,r=xn,p=AAAA"}) {
    EXPECT_EQ(Error(server.ReadFinal(message)), "malformed-request") << message;
  }
}

TEST(Scram, WhoDoesNotExistHasASaltThatStays) {
  const auto decoy = DecoyScramKeys(ScramHash::kSha1, "secret", "nobody", 4096);
  EXPECT_EQ(decoy, DecoyScramKeys(ScramHash::kSha1, "secret", "nobody", 4096));
  EXPECT_NE(decoy.salt, DecoyScramKeys(ScramHash::kSha1, "secret", "nobody2", 4096).salt);
  EXPECT_NE(decoy.salt, DecoyScramKeys(ScramHash::kSha1, "other", "nobody", 4096).salt);
  EXPECT_EQ(decoy.salt.size(), 16U);
}

TEST(Scram, PasswordsMatchTheirKeysAndNoOthers) {
  const auto keys = MakeScramKeys(ScramHash::kSha256, "p\xc3\xa4ss", "salt", 1'000).value();
  EXPECT_TRUE(ScramMatches(ScramHash::kSha256, keys, "p\xc3\xa4ss"));
  EXPECT_TRUE(ScramMatches(ScramHash::kSha256, keys, "pa\xcc\x88ss"));
  EXPECT_FALSE(ScramMatches(ScramHash::kSha256, keys, "pass"));
  EXPECT_FALSE(ScramMatches(ScramHash::kSha256, keys, ""));
  EXPECT_FALSE(MakeScramKeys(ScramHash::kSha256, "\x07", "salt", 1'000));
}

// GNU SASL as the client.
class GsaslClient {
 public:
  GsaslClient(const char* mechanism, const std::string& binding) {
    EXPECT_EQ(gsasl_init(&context_), GSASL_OK);
    EXPECT_EQ(gsasl_client_start(context_, mechanism, &session_), GSASL_OK);
    gsasl_property_set(session_, GSASL_AUTHID, "j\xc3\xbcliet,=x");
    gsasl_property_set(session_, GSASL_PASSWORD, "r0m30,\xc2\xaa=");
    if (!binding.empty()) {
      gsasl_property_set(session_, GSASL_CB_TLS_EXPORTER, net::Base64Encode(binding).c_str());
    }
  }
  ~GsaslClient() {
    gsasl_finish(session_);
    gsasl_done(context_);
  }
  std::string Step(const std::string& in) {
    char* out = nullptr;
    size_t size = 0;
    result_ = gsasl_step(session_, in.data(), in.size(), &out, &size);
    std::string text = out == nullptr ? "" : std::string(out, size);
    gsasl_free(out);
    return text;
  }
  int result() const { return result_; }

 private:
  Gsasl* context_ = nullptr;
  Gsasl_session* session_ = nullptr;
  int result_ = GSASL_OK;
};

TEST(Scram, GnuSaslGetsInAndBelievesUs) {
  for (const auto& [mechanism, hash, plus] :
       {std::tuple{"SCRAM-SHA-1", ScramHash::kSha1, false},
        std::tuple{"SCRAM-SHA-256", ScramHash::kSha256, false},
        std::tuple{"SCRAM-SHA-1-PLUS", ScramHash::kSha1, true},
        std::tuple{"SCRAM-SHA-256-PLUS", ScramHash::kSha256, true}}) {
    const ChannelBindings bindings{.exporter = plus ? "thirty-two bytes of the connection" : ""};
    GsaslClient client(mechanism, bindings.exporter);
    ScramServer server({.hash = hash, .plus = plus, .nonce = "server-nonce"}, &bindings);
    const auto first = server.ReadFirst(client.Step(""));
    ASSERT_TRUE(first) << mechanism << " " << ToString(first.error());
    EXPECT_EQ(first->name, "j\xc3\xbcliet,=x");
    const auto keys = MakeScramKeys(hash, "r0m30,a=", "some salt", 4'096).value();
    const auto success = server.ReadFinal(client.Step(server.Challenge(keys, true)));
    ASSERT_TRUE(success) << mechanism << " " << ToString(success.error());
    client.Step(*success);
    EXPECT_EQ(client.result(), GSASL_OK) << mechanism;
  }
}

}  // namespace
}  // namespace server
