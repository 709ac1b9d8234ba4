// The server's own handshake against plain OpenSSL: that it is taken, that it is declined where it
// must be and nobody sees a difference, and what it costs.
#include "net/tls/tls_handshake.h"

#include <gmock/gmock.h>
#include <malloc.h>

#include "tests/net/tls_handshake_peer.h"

namespace net {
namespace {

using testing::Not;

class TlsHandshakeTest : public testing::Test, public TlsHandshakeFixture {};

// --- the usual form ---------------------------------------------------------------------------

class TlsHandshakeUsual : public TlsHandshakeTest,
                          public testing::WithParamInterface<std::tuple<const char*, const char*>> {
};

TEST_P(TlsHandshakeUsual, FullAndResumedItIsOursAndBothEndsAgree) {
  const auto [suite, key_type] = GetParam();
  TlsServerOptions options = Options(key_type);
  options.alpn = {"xmpp-client", "xmpp-server"};
  const auto context = Server(options);
  for (int i = 0; i < 4; ++i) {
    const Outcome outcome = Connect(
        context,
        [&](SSL* ssl) {
          SSL_set_ciphersuites(ssl, suite);
          SetName(ssl, "example.org");
          SetAlpn(ssl, {"h2", "xmpp-server"});
          if (i > 0) SSL_set_session(ssl, newest());
        },
        i == 3 ? 11 : SIZE_MAX);
    ASSERT_TRUE(outcome.ok) << outcome.server_error;
    EXPECT_EQ(outcome.resumed, i > 0);
    EXPECT_EQ(outcome.facts->resumed, i > 0);
    EXPECT_EQ(outcome.facts->cipher, suite);
    EXPECT_EQ(outcome.cipher, suite);
    EXPECT_EQ(outcome.facts->version_name, "TLSv1.3");
    EXPECT_EQ(outcome.facts->alpn, "xmpp-server");
    EXPECT_EQ(outcome.alpn, "xmpp-server");
    EXPECT_EQ(outcome.facts->sni, "example.org");
    EXPECT_EQ(outcome.facts->exporter.size(), 32u);
    EXPECT_EQ(outcome.facts->exporter, outcome.exporter);
    EXPECT_FALSE(outcome.facts->server_end_point.empty());
    EXPECT_EQ(outcome.facts->server_end_point, outcome.end_point);
    EXPECT_FALSE(outcome.facts->peer.has_value());
    EXPECT_EQ(server_->take_over(), TlsTakeOver::kTaken);
    EXPECT_EQ(worker_->on_openssl(), 0u);
  }
  EXPECT_EQ(declined(), 0u);
  EXPECT_EQ(worker_->counters().handshakes_full, 1u);
  EXPECT_EQ(worker_->counters().handshakes_resumed, 3u);
  EXPECT_EQ(worker_->handshaking(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TlsHandshakeUsual,
                         testing::Combine(testing::Values("TLS_AES_128_GCM_SHA256",
                                                          "TLS_AES_256_GCM_SHA384",
                                                          "TLS_CHACHA20_POLY1305_SHA256"),
                                          testing::Values("P-256", "P-384", "RSA2048")),
                         [](const auto& kind) {
                           std::string name =
                               std::string(std::get<0>(kind.param)) + "_" + std::get<1>(kind.param);
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(TlsHandshakeTest, EcdsaGoesBeforeRsaAndAClientWithoutItGetsRsa) {
  TlsServerOptions options;
  options.sites.push_back({.certificates = {Files({.common_name = "r", .key_type = "RSA2048"}),
                                            Files({.common_name = "e"})}});
  const auto context = Server(options);
  const auto by_openssl = ByOpenSsl(options);
  const Outcome ecdsa = Connect(context);
  const Outcome rsa = Connect(context, [](SSL* ssl) {
    CHECK(SSL_set1_sigalgs_list(ssl, "rsa_pss_rsae_sha512:rsa_pss_rsae_sha256") == 1);
  });
  ASSERT_TRUE(ecdsa.ok);
  ASSERT_TRUE(rsa.ok);
  EXPECT_NE(ecdsa.end_point, rsa.end_point);
  EXPECT_EQ(declined(), 0u);
  EXPECT_EQ(ecdsa.end_point, Connect(by_openssl).end_point);
  EXPECT_EQ(rsa.facts->server_end_point, rsa.end_point);
}

TEST_F(TlsHandshakeTest, TheServersOrderOfSuitesWinsButChaChaFirstMeansNoAesInHardware) {
  const auto context = Server(Options());
  auto chosen = [&](const char* offered) {
    return Connect(context, [&](SSL* ssl) { CHECK(SSL_set_ciphersuites(ssl, offered) == 1); })
        .cipher;
  };
  EXPECT_EQ(chosen("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(chosen("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"),
            "TLS_CHACHA20_POLY1305_SHA256");
  EXPECT_EQ(chosen("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"),
            "TLS_CHACHA20_POLY1305_SHA256");
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTest, EveryByteMayComeAlone) {
  const auto context = Server(Options());
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = Connect(
        context,
        [&](SSL* ssl) {
          if (i > 0) SSL_set_session(ssl, newest());
        },
        1);
    ASSERT_TRUE(outcome.ok) << outcome.server_error;
    EXPECT_EQ(outcome.resumed, i > 0);
  }
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTest, DataBehindTheFinishedIsDeliveredHoweverTheStreamIsCut) {
  const auto context = Server(Options());
  for (size_t piece : {SIZE_MAX, size_t{1}, size_t{7}, size_t{60}, size_t{90}}) {
    TlsEnginePtr server = worker_->NewServer(context);
    OpenSslPeer client(ClientCtx(), false);
    client.Handshake();
    FeedAll(*server, client.Take());
    client.Give(FlushAll(*server));
    ASSERT_EQ(client.Handshake(), 1);
    const Bytes data(20'000, 'x');
    client.Write(ToBytes("<stream>"));
    client.Write(data);
    bool done = false;
    const Bytes got = FeedAll(*server, client.Take(), piece, &done);
    EXPECT_TRUE(done);
    EXPECT_EQ(ToText(got), "<stream>" + ToText(data)) << piece;
    EXPECT_EQ(server->state(), TlsState::kOpen);
  }
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTest, AFlightOfSeveralRecordsIsReadAlike) {
  std::string more;
  for (int i = 0; i < 4; ++i) {
    std::vector<std::string> names;
    for (int j = 0; j < 160; ++j) {
      names.push_back("a-rather-long-name-" + std::to_string(j) + ".of-some-authority.example");
    }
    more += TestCertificate({.dns_names = names}).chain_pem();
  }
  TlsServerOptions options;
  options.sites.push_back({.certificates = {Files({}, more)}});
  const auto context = Server(options);
  const Bytes answer = AnswerTo(context, Hello());
  EXPECT_GT(answer.size(), kTlsMaxRecordBytes);
  const Outcome outcome = Connect(context);
  EXPECT_TRUE(outcome.ok) << outcome.server_error << " " << outcome.client_error;
  EXPECT_EQ(outcome.facts->server_end_point, outcome.end_point);
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTest, WithoutMiddleboxesNoChangeCipherSpecIsSent) {
  const auto context = Server(Options());
  const Outcome outcome =
      Connect(context, [](SSL* ssl) { SSL_clear_options(ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT); });
  EXPECT_TRUE(outcome.ok);
  EXPECT_EQ(declined(), 0u);
  HelloParts hello(Hello());
  hello.session_id.clear();
  auto answer = ReadServerHello(AnswerTo(context, hello.Wire()));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->rest[0], 23);
  hello.session_id = Bytes(32, 7);
  answer = ReadServerHello(AnswerTo(context, hello.Wire()));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->rest[0], 20);
}

// --- what is left to OpenSSL ------------------------------------------------------------------

// A client of `prepare` meets a site of its own handshake and one of OpenSSL's. It must not see a
// difference, and the reason is counted once.
class TlsHandshakeDeclines : public TlsHandshakeTest {
 protected:
  Outcome ExpectDeclined(const TlsServerOptions& options, TlsDecline reason,
                         const Prepare& prepare = {}, const Change& change = {}) {
    Outcome expected = Connect(ByOpenSsl(options), prepare, SIZE_MAX, change);
    EXPECT_EQ(declined(TlsDecline::kOff), 1u);
    for (const size_t piece : {SIZE_MAX, size_t{1}}) {
      worker_ = (server_.reset(), NewWorker());
      const Outcome got = Connect(Server(options), prepare, piece, change);
      EXPECT_EQ(declined(reason), 1u) << ToString(reason);
      EXPECT_EQ(declined(), 1u);
      EXPECT_EQ(got.Seen(), expected.Seen()) << ERR_reason_error_string(
          static_cast<unsigned long>(ERR_PACK(ERR_LIB_SSL, 0, got.client_error)));
      EXPECT_EQ(got.server_error, expected.server_error);
      EXPECT_EQ(worker_->counters().handshakes_failed, expected.ok ? 0u : 1u);
      EXPECT_EQ(worker_->handshaking(), 0u);
      if (!expected.ok || !got.ok) continue;
      EXPECT_EQ(got.facts->alpn, expected.facts->alpn);
      EXPECT_EQ(got.facts->sni, expected.facts->sni);
      EXPECT_EQ(got.facts->server_end_point, got.end_point);
      EXPECT_EQ(got.facts->exporter, got.exporter);
    }
    return expected;
  }
};

TEST_F(TlsHandshakeDeclines, ClientsOfTls12) {
  EXPECT_TRUE(ExpectDeclined(Options(), TlsDecline::kVersion, [](SSL* ssl) {
                SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
              }).ok);
}

TEST_F(TlsHandshakeDeclines, SitesWithoutTls13) {
  TlsServerOptions options = Options();
  options.policy.max_version = TlsVersion::kTls12;
  EXPECT_TRUE(ExpectDeclined(options, TlsDecline::kOff).ok);
}

TEST_F(TlsHandshakeDeclines, ClientsThatKnowOnlyAnotherGroup) {
  EXPECT_TRUE(ExpectDeclined(Options(), TlsDecline::kGroup, [](SSL* ssl) {
                CHECK(SSL_set1_groups_list(ssl, "P-256") == 1);
              }).ok);
}

TEST_F(TlsHandshakeDeclines, ClientsWhoseGroupNeedsAHelloRetryRequest) {
  EXPECT_TRUE(ExpectDeclined(Options(), TlsDecline::kGroup, [](SSL* ssl) {
                CHECK(SSL_set1_groups_list(ssl, "P-521:X25519") == 1);
              }).ok);
}

TEST_F(TlsHandshakeDeclines, SitesThatDoNotWantX25519) {
  TlsServerOptions options = Options();
  options.policy.groups = "P-256:P-384";
  EXPECT_TRUE(ExpectDeclined(options, TlsDecline::kGroup).ok);
}

// Clients with a share for both must get the one that the operator prefers.
TEST_F(TlsHandshakeDeclines, SitesThatPreferAnotherGroup) {
  TlsServerOptions options = Options();
  options.policy.groups = "P-384:X25519";
  EXPECT_TRUE(ExpectDeclined(options, TlsDecline::kGroup).ok);
}

TEST_F(TlsHandshakeDeclines, Ed25519Certificates) {
  EXPECT_TRUE(ExpectDeclined(Options("ED25519"), TlsDecline::kSignature).ok);
}

TEST_F(TlsHandshakeDeclines, ClientsThatCannotVerifyAnyOfTheCertificates) {
  EXPECT_FALSE(ExpectDeclined(Options(), TlsDecline::kSignature, [](SSL* ssl) {
                 CHECK(SSL_set1_sigalgs_list(ssl, "rsa_pss_rsae_sha256") == 1);
               }).ok);
}

TEST_F(TlsHandshakeDeclines, SitesWithClientCertificates) {
  const TlsCertificateFiles client = Files({.common_name = "client"});
  TlsServerOptions options = Options();
  options.sites[0].client_auth = TlsClientAuth::kOptional;
  options.sites[0].client_ca = client.chain;
  const Prepare bring = [&](SSL* ssl) {
    CHECK(SSL_use_certificate_file(ssl, client.chain.c_str(), SSL_FILETYPE_PEM) == 1 &&
          SSL_use_PrivateKey_file(ssl, client.key.c_str(), SSL_FILETYPE_PEM) == 1);
  };
  EXPECT_TRUE(ExpectDeclined(options, TlsDecline::kSite, bring).facts->peer.has_value());
  worker_ = (server_.reset(), NewWorker());
  options.sites[0].client_auth = TlsClientAuth::kRequired;
  EXPECT_FALSE(ExpectDeclined(options, TlsDecline::kSite).ok);
}

TEST_F(TlsHandshakeDeclines, OnlyTheSiteThatIsAskedForCounts) {
  TlsServerOptions options = Options();
  options.sites.push_back({.names = {"mutual.example"},
                           .certificates = {Files()},
                           .client_auth = TlsClientAuth::kOptional,
                           .client_ca = Files().chain});
  const auto context = Server(options);
  EXPECT_TRUE(Connect(context, [](SSL* ssl) { SetName(ssl, "example.org"); }).ok);
  EXPECT_EQ(declined(), 0u);
  EXPECT_TRUE(Connect(context, [](SSL* ssl) { SetName(ssl, "mutual.example"); }).ok);
  EXPECT_EQ(declined(TlsDecline::kSite), 1u);
}

TEST_F(TlsHandshakeDeclines, ForeignProtocols) {
  TlsServerOptions options = Options();
  options.alpn = {"xmpp-client"};
  EXPECT_FALSE(
      ExpectDeclined(options, TlsDecline::kAlpn, [](SSL* ssl) { SetAlpn(ssl, {"h2"}); }).ok);
}

TEST_F(TlsHandshakeDeclines, AMissingProtocolWhereOneIsRequired) {
  TlsServerOptions options = Options();
  options.alpn = {"xmpp-client"};
  options.alpn_required = true;
  EXPECT_FALSE(ExpectDeclined(options, TlsDecline::kAlpn).ok);
  EXPECT_TRUE(Connect(Server(options), [](SSL* ssl) { SetAlpn(ssl, {"xmpp-client"}); }).ok);
  EXPECT_EQ(declined(), 1u) << "with the protocol it is ours";
}

TEST_F(TlsHandshakeDeclines, UnknownNamesWhereTheyAreRefused) {
  TlsServerOptions options = Options();
  options.strict_sni = true;
  EXPECT_FALSE(ExpectDeclined(options, TlsDecline::kSite, [](SSL* ssl) {
                 SetName(ssl, "other.example");
               }).ok);
}

TEST_F(TlsHandshakeDeclines, AnOcspResponseThatIsWantedAndThere) {
  const TestCertificate authority({.common_name = "authority", .is_ca = true});
  const TestCertificate leaf({}, &authority);
  TlsServerOptions options;
  options.sites.push_back(
      {.certificates = {
           {.chain = folder_.Write("stapled.pem", leaf.chain_pem() + authority.chain_pem()),
            .key = folder_.Write("stapled.key", leaf.key_pem()),
            .ocsp = folder_.Write("stapled.der", authority.OcspDer(leaf, 3600))}}});
  const Prepare ask = [](SSL* ssl) { SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp); };
  EXPECT_TRUE(ExpectDeclined(options, TlsDecline::kStaple, ask).ok);
  EXPECT_TRUE(Connect(Server(options)).ok);
  EXPECT_TRUE(Connect(Server(Options()), ask).ok);
  EXPECT_EQ(declined(), 1u) << "not asked for, or not there: ours";
}

TEST_F(TlsHandshakeDeclines, ShortFragments) {
  EXPECT_TRUE(ExpectDeclined(Options(), TlsDecline::kExtension, [](SSL* ssl) {
                SSL_set_tlsext_max_fragment_length(ssl, TLSEXT_max_fragment_length_512);
              }).ok);
}

TEST_F(TlsHandshakeDeclines, SuitesWithoutOverlap) {
  TlsServerOptions options = Options();
  options.policy.suites = "TLS_AES_256_GCM_SHA384";
  EXPECT_FALSE(ExpectDeclined(options, TlsDecline::kSuite, [](SSL* ssl) {
                 SSL_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256");
                 SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
               }).ok);
}

TEST_F(TlsHandshakeDeclines, SitesThatPreferASuiteOfOpenSslsAlone) {
  TlsServerOptions options = Options();
  options.policy.suites = "TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256";
  const Outcome outcome = ExpectDeclined(options, TlsDecline::kSuite, [&](SSL* ssl) {
    CHECK(SSL_set_ciphersuites(ssl, options.policy.suites.c_str()) == 1);
  });
  EXPECT_EQ(outcome.cipher, "TLS_AES_128_CCM_SHA256");
}

TEST_F(TlsHandshakeDeclines, AHelloInTwoRecords) {
  EXPECT_TRUE(ExpectDeclined(Options(), TlsDecline::kNotPlain, {}, [](const Bytes& hello) {
                const std::span<const uint8_t> message = std::span(hello).subspan(5);
                Bytes two = Record(22, message.first(100), 0x0301);
                AddBytes(&two, Record(22, message.subspan(100), 0x0301));
                return two;
              }).ok);
}

TEST_F(TlsHandshakeDeclines, AHelloWithAnotherMessageInItsRecord) {
  EXPECT_FALSE(ExpectDeclined(Options(), TlsDecline::kNotPlain, {}, [](const Bytes& hello) {
                 Bytes longer = Copy(std::span(hello).subspan(5));
                 AddBytes(&longer, Bytes{20, 0, 0, 0});
                 return Record(22, longer, 0x0301);
               }).ok);
}

TEST_F(TlsHandshakeDeclines, AHelloThatFollowsAnAlertOrWhatIsNoTls) {
  for (const Bytes& before : {Bytes{21, 3, 1, 0, 2, 1, 0}, ToBytes("GET / HTTP/1.1\r\n\r\n")}) {
    ExpectDeclined(Options(), TlsDecline::kNotPlain, {}, [&](const Bytes& hello) {
      Bytes all = before;
      AddBytes(&all, hello);
      return all;
    });
    worker_ = (server_.reset(), NewWorker());
  }
}

TEST_F(TlsHandshakeDeclines, AHelloThatBreaksARule) {
  EXPECT_FALSE(ExpectDeclined(Options(), TlsDecline::kMalformed, {}, [](const Bytes& hello) {
                 HelloParts parts(hello);
                 parts.Add(10, *parts.Find(10));  // twice
                 return parts.Wire();
               }).ok);
}

// Only what lies in one piece can be known to follow the hello; so this is not fed byte by byte.
TEST_F(TlsHandshakeTest, BytesBehindTheHelloLeaveItToOpenSsl) {
  const TlsServerOptions options = Options();
  for (const Bytes& behind : {Bytes{20, 3, 3, 0, 1, 1}, Bytes{22}, Bytes{0}}) {
    auto follow = [&](Bytes hello) {
      AddBytes(&hello, behind);
      return hello;
    };
    const uint64_t before = declined(TlsDecline::kNotPlain);
    const Outcome own = Connect(Server(options), {}, SIZE_MAX, follow);
    EXPECT_EQ(declined(TlsDecline::kNotPlain), before + 1);
    const Outcome theirs = Connect(ByOpenSsl(options), {}, SIZE_MAX, follow);
    EXPECT_EQ(own.Seen(), theirs.Seen());
  }
}

// RFC 7748 section 6.1: shares whose secret would be zeros whatever our key is.
TEST_F(TlsHandshakeTest, KeySharesOfLowOrderAreRefused) {
  const TlsServerOptions options = Options();
  const auto context = Server(options);
  const auto by_openssl = ByOpenSsl(options);
  Bytes one(32, 0);
  one[0] = 1;
  Bytes order8 = {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
                  0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
                  0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00};
  Bytes minus_one(32, 0xff);
  minus_one[0] = 0xec;
  minus_one[31] = 0x7f;
  uint64_t count = 0;
  for (const Bytes& share : {Bytes(32, 0), one, order8, minus_one}) {
    HelloParts hello(Hello());
    UseShare(&hello, share);
    const Bytes answer = AnswerTo(context, hello.Wire());
    EXPECT_EQ(declined(TlsDecline::kNoResources), ++count);
    EXPECT_EQ(server_->state(), TlsState::kFailed);
    ASSERT_EQ(answer.size(), 7u);
    EXPECT_EQ(answer[0], 21);
    EXPECT_EQ(answer, AnswerTo(by_openssl, hello.Wire()));
  }
}

// --- what a handshake under way costs ---------------------------------------------------------

TEST_F(TlsHandshakeTest, AHandshakeThatWaitsForItsFinishedHoldsLittle) {
  const TlsServerOptions options = Options();
  const Bytes hello = Hello();
  auto bytes_each = [&](const std::shared_ptr<const TlsServerContext>& context) {
    constexpr size_t kCount = 1000;
    std::vector<TlsEnginePtr> engines;
    engines.reserve(kCount + 200);
    auto begin = [&] {
      engines.push_back(worker_->NewServer(context));
      FeedAll(*engines.back(), hello);
      ASSERT_GT(FlushAll(*engines.back()).size(), 500u);
      ASSERT_EQ(engines.back()->state(), TlsState::kHandshaking);
    };
    for (int i = 0; i < 200; ++i) begin();
    const size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < kCount; ++i) begin();
    return static_cast<double>(mallinfo2().uordblks - before) / kCount;
  };
  const double own = bytes_each(Server(options));
  EXPECT_EQ(declined(), 0u);
  const double theirs = bytes_each(ByOpenSsl(options));
  RecordProperty("bytes", std::to_string(own));
  EXPECT_LT(own, 2500);
  EXPECT_LE(own * 8, theirs);
  EXPECT_EQ(worker_->handshaking(), 0u);
}

TEST_F(TlsHandshakeTest, HandshakesThatEndAnywhereLeaveNothingBehind) {
  const auto context = Server(Options());
  const Bytes hello = Hello();
  size_t before = 0;
  for (size_t i = 0; i < 1200; ++i) {
    TlsEnginePtr server = worker_->NewServer(context);
    Bytes part(hello.begin(), hello.begin() + static_cast<long>(i % (hello.size() + 1)));
    FeedAll(*server, part);
    if (i % 3 == 0) FeedAll(*server, Bytes{23, 3, 3, 0, 99, 1});
    if (i % 3 == 1) FlushAll(*server);
    if (i == 600) before = mallinfo2().uordblks;
  }
  EXPECT_LT(mallinfo2().uordblks, before + 65'536);
  EXPECT_EQ(worker_->handshaking(), 0u);
  EXPECT_EQ(worker_->on_openssl(), 0u);
  EXPECT_EQ(worker_->counters().handshakes_failed, 1200u);
  EXPECT_EQ(worker_->records().staging_in_use(), 0u);
}

TEST_F(TlsHandshakeTest, ShutdownBetweenHelloAndFinishedEndsIt) {
  TlsEnginePtr server = worker_->NewServer(Server(Options()));
  FeedAll(*server, Hello());
  server->Shutdown();
  EXPECT_EQ(server->state(), TlsState::kFailed);
  EXPECT_EQ(server->ErrorText(), "closed during the handshake");
  EXPECT_EQ(worker_->handshaking(), 0u);
  EXPECT_EQ(worker_->counters().handshakes_failed, 1u);
  FeedAll(*server, Bytes(100, 23));
  EXPECT_EQ(worker_->counters().handshakes_failed, 1u);
}

}  // namespace
}  // namespace net
