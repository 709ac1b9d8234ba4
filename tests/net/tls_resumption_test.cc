// What is told of a connection that resumes, when one may, and what a client is told whose first
// words are no handshake; with OpenSSL's handshakes and with our own.
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <memory>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "net/tls/tls_engine.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

struct Way {
  const char* name;
  int version;
  bool own_handshake;
  const char* ciphers;  // TLS 1.2
};
constexpr Way kWays[] = {{"Tls12Ecdsa", TLS1_2_VERSION, true, "ECDHE+ECDSA"},
                         {"Tls12Rsa", TLS1_2_VERSION, true, "ECDHE+aRSA"},
                         {"Tls13OpenSsl", TLS1_3_VERSION, false, "DEFAULT"},
                         {"Tls13Own", TLS1_3_VERSION, true, "DEFAULT"}};

class TlsResumptionTest : public testing::TestWithParam<Way> {
 protected:
  struct Seen {
    std::unique_ptr<TlsFacts> facts;
    Bytes shown;  // tls-server-end-point of the certificate that the client knows
    bool acknowledged = false;
  };

  TlsResumptionTest() : worker_(std::move(*TlsWorker::Create())) {
    TestCertificateOptions named{.dns_names = {"one.example", "two.example"}};
    const TestCertificate ecdsa(named);
    named.key_type = "RSA2048";
    const TestCertificate rsa(named);
    options_.sites.push_back({});
    for (const auto& [name, certificate] : {std::pair("ecdsa", &ecdsa), std::pair("rsa", &rsa)}) {
      const std::string file(name);
      options_.sites[0].certificates.push_back(
          {.chain = folder_.Write(file + ".pem", certificate->chain_pem()),
           .key = folder_.Write(file + ".key", certificate->key_pem())});
    }
    options_.tickets = TlsTicketKeys::Random();
    options_.wall_clock = [this] { return now_; };
    if (GetParam().own_handshake) return;
    options_.policy.own_handshake = false;
  }
  ~TlsResumptionTest() override {
    SSL_SESSION_free(session_);
    SSL_CTX_free(client_);
  }

  void SetUp() override {
    client_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(client_, GetParam().version);
    SSL_CTX_set_max_proto_version(client_, GetParam().version);
    SSL_CTX_set_cipher_list(client_, GetParam().ciphers);
    SSL_CTX_set_session_cache_mode(client_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(client_, this);
    SSL_CTX_sess_set_new_cb(client_, [](SSL* ssl, SSL_SESSION* session) {
      auto* self = static_cast<TlsResumptionTest*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      SSL_SESSION_free(self->session_);
      self->session_ = session;
      return 1;
    });
  }

  // A whole connection, which offers the newest session.
  Seen Connect(const std::string& name) {
    if (context_ == nullptr) {
      auto made = TlsServerContext::Create(options_);
      CHECK(made.has_value());
      context_ = *made;
    }
    TlsEnginePtr server = worker_->NewServer(context_);
    OpenSslPeer client(client_, false);
    std::string sent = name;  // the macro of this has a cast that C++ has not
    if (!name.empty()) {
      SSL_ctrl(client.ssl(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, sent.data());
    }
    if (session_ != nullptr) SSL_set_session(client.ssl(), session_);
    Seen seen;
    for (int i = 0; i < 4; ++i) {
      client.Handshake();
      FeedAll(*server, client.Take());
      client.Give(FlushAll(*server));
    }
    client.Read();
    EXPECT_EQ(server->state(), TlsState::kOpen) << server->ErrorText();
    seen.facts = server->TakeFacts();
    CHECK(seen.facts != nullptr);
    if (X509* shown = SSL_get0_peer_certificate(client.ssl())) {
      seen.shown = TlsServerEndPoint(shown);
    }
    seen.acknowledged = SSL_SESSION_get0_hostname(SSL_get0_session(client.ssl())) != nullptr;
    ERR_clear_error();
    return seen;
  }

  TestFolder folder_;
  std::unique_ptr<TlsWorker> worker_;
  TlsServerOptions options_;
  std::shared_ptr<const TlsServerContext> context_;
  SSL_CTX* client_ = nullptr;
  SSL_SESSION* session_ = nullptr;
  int64_t now_ = time(nullptr);
};

TEST_P(TlsResumptionTest, TheNameIsThisHellosAndTheCertificateTheOneThatWasShown) {
  for (const bool resumed : {false, true, true}) {
    const Seen seen = Connect("two.example");
    EXPECT_EQ(seen.facts->resumed, resumed);
    EXPECT_EQ(seen.facts->sni, "two.example");
    EXPECT_EQ(seen.facts->server_end_point, seen.shown);
    EXPECT_EQ(seen.shown.size(), 32u);
  }
}

TEST_P(TlsResumptionTest, ASessionIsResumedUnderItsNameOnly) {
  Connect("one.example");
  EXPECT_TRUE(Connect("ONE.example.").facts->resumed);
  EXPECT_FALSE(Connect("two.example").facts->resumed);
  EXPECT_TRUE(Connect("two.example").facts->resumed);
  const Seen nameless = Connect("");
  EXPECT_FALSE(nameless.facts->resumed);
  EXPECT_EQ(nameless.facts->sni, "");
}

TEST_P(TlsResumptionTest, ASessionEndsHoweverOftenItsTicketsWereReplaced) {
  options_.ticket_lifetime = std::chrono::seconds(100);
  EXPECT_FALSE(Connect("one.example").facts->resumed);
  for (int i = 0; i < 3; ++i) {
    now_ += 30;
    EXPECT_TRUE(Connect("one.example").facts->resumed) << i;
  }
  now_ += 10;
  EXPECT_FALSE(Connect("one.example").facts->resumed);
  now_ += 30;
  EXPECT_TRUE(Connect("one.example").facts->resumed) << "a new one has its own time";
}

TEST_P(TlsResumptionTest, NoSessionOutlivesTheClientsCertificate) {
  const TestCertificate certificate({.common_name = "client", .not_after_days = 1});
  CHECK(SSL_CTX_use_certificate(client_, certificate.x509()) == 1);
  CHECK(SSL_CTX_use_PrivateKey(client_, certificate.key()) == 1);
  options_.sites[0].client_auth = TlsClientAuth::kOptional;
  options_.sites[0].client_ca = folder_.Write("ca.pem", certificate.chain_pem());
  options_.ticket_lifetime = std::chrono::hours(72);
  Connect("one.example");
  now_ += 12 * 3600;
  const Seen seen = Connect("one.example");
  EXPECT_TRUE(seen.facts->resumed);
  EXPECT_TRUE(seen.facts->peer.has_value());
  now_ += 13 * 3600;
  EXPECT_FALSE(Connect("one.example").facts->resumed);
}

TEST_P(TlsResumptionTest, AServerNameIsAcknowledgedWhereItChoseTheCertificate) {
  EXPECT_TRUE(Connect("two.example").acknowledged);
  SSL_SESSION_free(std::exchange(session_, nullptr));
  EXPECT_FALSE(Connect("unknown.example").acknowledged);
}

TEST_P(TlsResumptionTest, ANameThatDoesNotPrintGoesNowhere) {
  for (const char* name :
       {"one.example\n", "\x01one.example", "one .example", "\xc3\xa9.example"}) {
    SSL_SESSION_free(std::exchange(session_, nullptr));
    EXPECT_EQ(Connect(name).facts->sni, "") << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, TlsResumptionTest, testing::ValuesIn(kWays),
                         [](const auto& way) { return way.param.name; });

class TlsFirstWords : public TlsResumptionTest {
 protected:
  Bytes Answer(const Bytes& words) {
    auto made = TlsServerContext::Create(options_);
    CHECK(made.has_value());
    TlsEnginePtr server = worker_->NewServer(*made);
    FeedAll(*server, words, 4096);
    EXPECT_EQ(server->state(), TlsState::kFailed);
    return FlushAll(*server);
  }
};

TEST_P(TlsFirstWords, ThatAreNoHandshakeGetAnAlertButHttp) {
  const Bytes unexpected = {21, 3, 3, 0, 2, 2, 10};
  EXPECT_EQ(Answer(ToBytes("<?xml version='1.0'?><stream:stream to='one.example'>")), unexpected);
  EXPECT_EQ(Answer(ToBytes("\x16\x02\x01 something else")), unexpected);
  EXPECT_EQ(Answer(ToBytes("GET / HTTP/1.1\r\n\r\n")), Bytes());
}

TEST_P(TlsFirstWords, OfAHelloThatNeverEndsGetAnAlertAtTheBound) {
  Bytes words;
  for (size_t left = TlsEngine::kHelloBytesMax; left > 0;) {
    const size_t size = std::min<size_t>(left, 16'384);
    words.insert(words.end(),
                 {22, 3, 1, static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)});
    const size_t at = words.size();
    words.resize(at + size);
    if (at == kTlsHeaderBytes) words[at] = 1, words[at + 1] = 1;  // a ClientHello of 65,536 bytes
    left -= size;
  }
  EXPECT_EQ(Answer(words), (Bytes{21, 3, 3, 0, 2, 2, 47}));
}

INSTANTIATE_TEST_SUITE_P(Ways, TlsFirstWords, testing::Values(kWays[2], kWays[3]),
                         [](const auto& way) { return way.param.name; });

}  // namespace
}  // namespace net
