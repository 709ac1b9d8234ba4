// Which certificate, which policy, which ticket, which client; and what operators are told when a
// file is wrong.
#include "net/tls/context/tls_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <sys/stat.h>

#include <cstring>
#include <ctime>
#include <functional>

#include "net/base/check.h"
#include "net/tls/tls_engine.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct ConnectResult {
  bool ok = false;
  std::string common_name;  // of the certificate that the server chose
  std::string key_type;
  std::unique_ptr<TlsFacts> facts;
  std::string error;  // the server's
};

class TlsContextTest : public testing::Test {
 protected:
  TlsContextTest() {
    auto worker = TlsWorker::Create();
    CHECK(worker.has_value());
    worker_ = std::move(*worker);
  }
  ~TlsContextTest() override { SSL_SESSION_free(session_); }

  TlsCertificateFiles Files(const std::string& name, const TestCertificateOptions& options,
                            const TestCertificate* issuer = nullptr) {
    TestCertificate certificate(options, issuer);
    return {.chain = folder_.Write(name + ".pem", certificate.chain_pem()),
            .key = folder_.Write(name + ".key", certificate.key_pem())};
  }
  TlsCertificateFiles Named(const std::string& name, const std::string& key_type = "P-256") {
    std::string file = name == "" ? "none" : name;
    for (char& c : file) c = c == '*' ? '_' : c;
    return Files(file + key_type, {.common_name = name, .dns_names = {name}, .key_type = key_type});
  }
  static std::shared_ptr<const TlsServerContext> Make(const TlsServerOptions& options) {
    auto context = TlsServerContext::Create(options);
    if (!context) {
      for (const TlsConfigError& error : context.error()) ADD_FAILURE() << error.ToString();
    }
    CHECK(context.has_value());
    return *context;
  }
  // The one error that these options bring.
  static std::string ErrorOf(const TlsServerOptions& options) {
    auto context = TlsServerContext::Create(options);
    if (context.has_value()) return "no error";
    EXPECT_EQ(context.error().size(), 1u);
    return context.error().front().ToString();
  }

  using Setup = std::function<void(SSL_CTX*, SSL*)>;
  // A client of plain OpenSSL; with `resume` it offers the session of the connection before.
  ConnectResult Connect(const std::shared_ptr<const TlsServerContext>& context,
                        const std::string& sni, bool resume = false, const Setup& setup = {}) {
    SSL_CTX* client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(client_context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(client_context, this);
    SSL_CTX_sess_set_new_cb(client_context, [](SSL* ssl, SSL_SESSION* session) {
      auto* self = static_cast<TlsContextTest*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      SSL_SESSION_free(self->session_);
      self->session_ = session;
      return 1;
    });
    ConnectResult result;
    {
      OpenSslPeer client(client_context, false);
      std::string name = sni;
      if (!name.empty()) {
        SSL_ctrl(client.ssl(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 name.data());
      }
      if (setup) setup(client_context, client.ssl());
      if (resume) SSL_set_session(client.ssl(), session_);
      TlsEnginePtr server = worker_->NewServer(context);
      for (int i = 0; i < 4; ++i) {
        client.Handshake();
        FeedAll(*server, client.Take());
        client.Give(FlushAll(*server));
      }
      client.Read();
      result.ok = server->state() == TlsState::kOpen && SSL_is_init_finished(client.ssl()) == 1;
      result.error = server->ErrorText();
      result.facts = server->TakeFacts();
      if (X509* peer = SSL_get0_peer_certificate(client.ssl())) {
        result.common_name = DescribeCertificate(peer).common_name;
        result.key_type = EVP_PKEY_get0_type_name(X509_get0_pubkey(peer));
      }
      ERR_clear_error();
    }
    SSL_CTX_free(client_context);
    return result;
  }

  TestFolder folder_;
  std::unique_ptr<TlsWorker> worker_;
  SSL_SESSION* session_ = nullptr;
};

// --- certificates by name ---------------------------------------------------------------------

TEST_F(TlsContextTest, SniChoosesTheSiteExactNamesBeforeWildcardsElseTheDefault) {
  TlsServerOptions options;
  options.sites = {{.certificates = {Named("default.example")}},
                   {.certificates = {Named("*.example.org")}},
                   {.certificates = {Named("chat.example.org")}},
                   {.names = {"alias.example"}, .certificates = {Named("listed.example")}}};
  auto context = Make(options);
  EXPECT_EQ(Connect(context, "").common_name, "default.example");
  EXPECT_EQ(Connect(context, "unknown.example").common_name, "default.example");
  EXPECT_EQ(Connect(context, "x.example.org").common_name, "*.example.org");
  EXPECT_EQ(Connect(context, "CHAT.example.org").common_name, "chat.example.org");
  EXPECT_EQ(Connect(context, "alias.example").common_name, "listed.example");
  EXPECT_EQ(Connect(context, "listed.example").common_name, "default.example");
  EXPECT_EQ(Connect(context, "a.b.example.org").common_name, "default.example");
  EXPECT_EQ(Connect(context, "x.example.org").facts->sni, "x.example.org");
}

TEST_F(TlsContextTest, StrictSniRefusesUnknownNames) {
  TlsServerOptions options;
  options.strict_sni = true;
  options.sites = {{.certificates = {Named("known.example")}}};
  auto context = Make(options);
  EXPECT_TRUE(Connect(context, "known.example").ok);
  EXPECT_TRUE(Connect(context, "").ok);
  EXPECT_FALSE(Connect(context, "other.example").ok);
  EXPECT_EQ(context->SiteFor("other.example"), -1);
}

TEST_F(TlsContextTest, EcdsaAndRsaStandSideBySide) {
  TlsServerOptions options;
  options.sites = {
      {.certificates = {Named("example.org", "RSA2048"), Named("example.org", "P-256")}}};
  auto context = Make(options);
  auto with = [&](const char* algorithms) {
    return Connect(context, "example.org", false,
                   [algorithms](SSL_CTX*, SSL* ssl) { SSL_set1_sigalgs_list(ssl, algorithms); })
        .key_type;
  };
  EXPECT_EQ(with("ECDSA+SHA256:rsa_pss_rsae_sha256"), "EC");
  EXPECT_EQ(with("rsa_pss_rsae_sha256"), "RSA");
}

TEST_F(TlsContextTest, NamesMatchAsHostNamesDo) {
  EXPECT_TRUE(TlsNameMatches("example.org", "EXAMPLE.org."));
  EXPECT_TRUE(TlsNameMatches("*.example.org", "a.example.org"));
  EXPECT_FALSE(TlsNameMatches("*.example.org", "example.org"));
  EXPECT_FALSE(TlsNameMatches("*.example.org", ".example.org"));
  EXPECT_FALSE(TlsNameMatches("*.example.org", "a.b.example.org"));
  EXPECT_FALSE(TlsNameMatches("example.org", ""));
  EXPECT_FALSE(TlsNameMatches("example.org", std::string_view("example.org\0.evil", 17)));
}

// --- policy -----------------------------------------------------------------------------------

TEST_F(TlsContextTest, VersionsCiphersAndGroupsFollowThePolicy) {
  TlsServerOptions options;
  options.sites = {{.certificates = {Named("example.org")}}};
  auto modern = Make(options);
  auto only = [](int version) {
    return [version](SSL_CTX*, SSL* ssl) {
      SSL_set_security_level(ssl, 0);
      SSL_set_min_proto_version(ssl, version);
      SSL_set_max_proto_version(ssl, version);
    };
  };
  EXPECT_FALSE(Connect(modern, "", false, only(TLS1_1_VERSION)).ok);
  EXPECT_EQ(Connect(modern, "", false, only(TLS1_2_VERSION)).facts->version_name, "TLSv1.2");
  EXPECT_EQ(Connect(modern, "", false, only(TLS1_3_VERSION)).facts->version_name, "TLSv1.3");
  EXPECT_FALSE(Connect(modern, "", false, [](SSL_CTX*, SSL* ssl) {
                 SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
                 SSL_set_cipher_list(ssl, "ECDHE-ECDSA-AES128-SHA256");
               }).ok);
  options.policy.min_version = TlsVersion::kTls13;
  EXPECT_FALSE(Connect(Make(options), "", false, only(TLS1_2_VERSION)).ok);
  options.policy.suites = "TLS_CHACHA20_POLY1305_SHA256";
  EXPECT_EQ(Connect(Make(options), "").facts->cipher, "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_F(TlsContextTest, AlpnIsChosenInOurOrderAndForeignProtocolsAreRefused) {
  TlsServerOptions options;
  options.sites = {{.certificates = {Named("example.org")}}};
  options.alpn = {"xmpp-client", "xmpp-server"};
  auto offer = [](std::string wire) {
    return [wire](SSL_CTX*, SSL* ssl) {
      SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire.data()),
                          static_cast<unsigned>(wire.size()));
    };
  };
  auto context = Make(options);
  EXPECT_EQ(Connect(context, "", false, offer("\x0bxmpp-server\x0bxmpp-client")).facts->alpn,
            "xmpp-client");
  EXPECT_EQ(Connect(context, "", false, offer("\x02h2\x0bxmpp-server")).facts->alpn, "xmpp-server");
  EXPECT_FALSE(Connect(context, "", false, offer("\x02h2\x08http/1.1")).ok);
  EXPECT_EQ(Connect(context, "").facts->alpn, "");
  options.alpn_required = true;
  EXPECT_FALSE(Connect(Make(options), "").ok);
  EXPECT_TRUE(Connect(Make(options), "", false, offer("\x0bxmpp-client")).ok);
}

// --- tickets ----------------------------------------------------------------------------------

TEST_F(TlsContextTest, TicketsLiveForTwoRotationsAndAreSharedBetweenContexts) {
  TlsServerOptions options;
  options.sites = {{.certificates = {Named("example.org")}}};
  options.tickets = TlsTicketKeys::Random();
  auto one = Make(options);
  auto two = Make(options);  // another listener or a reload, with the same keys
  EXPECT_FALSE(Connect(one, "example.org").facts->resumed);
  EXPECT_TRUE(Connect(two, "example.org", true).facts->resumed);
  options.tickets->Rotate();
  SSL_SESSION* kept = SSL_SESSION_dup(session_);
  EXPECT_TRUE(Connect(one, "example.org", true).facts->resumed);
  std::swap(kept, session_);
  options.tickets->Rotate();
  EXPECT_FALSE(Connect(one, "example.org", true).facts->resumed);
  SSL_SESSION_free(kept);
}

TEST_F(TlsContextTest, BothVersionsResumeWithTicketsAndNeitherWithoutKeys) {
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsServerOptions options;
    options.sites = {{.certificates = {Named("example.org")}}};
    options.tickets = TlsTicketKeys::Random();
    auto only = [version](SSL_CTX*, SSL* ssl) { SSL_set_max_proto_version(ssl, version); };
    auto context = Make(options);
    EXPECT_FALSE(Connect(context, "", false, only).facts->resumed);
    EXPECT_TRUE(Connect(context, "", true, only).facts->resumed);
    options.tickets = nullptr;
    EXPECT_FALSE(Connect(Make(options), "", true, only).facts->resumed);
  }
}

TEST_F(TlsContextTest, ATicketOfOneSiteIsNotTakenAtAMutualTlsSite) {
  // attacks.md 7, CVE-2025-23419.
  TestCertificate ca({.common_name = "CA", .dns_names = {}, .is_ca = true});
  std::string ca_file = folder_.Write("ca.pem", ca.chain_pem());
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto only = [version](SSL_CTX*, SSL* ssl) { SSL_set_max_proto_version(ssl, version); };
    TlsCertificateFiles shared = Named("*.example.org");
    TlsServerOptions options;
    options.sites = {{.names = {"open.example.org"}, .certificates = {shared}},
                     {.names = {"closed.example.org"},
                      .certificates = {shared},
                      .client_auth = TlsClientAuth::kRequired,
                      .client_ca = ca_file}};
    options.tickets = TlsTicketKeys::Random();
    auto context = Make(options);
    ASSERT_TRUE(Connect(context, "open.example.org", false, only).ok);
    ASSERT_TRUE(Connect(context, "open.example.org", true, only).facts->resumed);
    EXPECT_FALSE(Connect(context, "closed.example.org", true, only).ok);
  }
}

TEST_F(TlsContextTest, AnotherCertificateOrClientPolicyMeansAFullHandshake) {
  TlsServerOptions options;
  options.sites = {{.certificates = {Named("example.org")}}};
  options.tickets = TlsTicketKeys::Random();
  ASSERT_TRUE(Connect(Make(options), "").ok);
  SSL_SESSION* session = SSL_SESSION_dup(session_);
  options.sites = {{.certificates = {Named("example.org")}}};  // renewed
  EXPECT_FALSE(Connect(Make(options), "", true).facts->resumed);
  std::swap(session, session_);
  options.sites[0].client_auth = TlsClientAuth::kOptional;
  EXPECT_FALSE(Connect(Make(options), "", true).facts->resumed);
  SSL_SESSION_free(session);
}

TEST_F(TlsContextTest, TicketKeyFilesAreSharedSavedAndChecked) {
  auto keys = TlsTicketKeys::Random();
  std::string path = folder_.Path("tickets");
  ASSERT_TRUE(keys->Save(path).has_value());
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  auto loaded = TlsTicketKeys::FromFile(path);
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(std::memcmp(keys->set()->keys.data(), (*loaded)->set()->keys.data(), 240), 0);
  auto before = keys->set();
  keys->Rotate();
  EXPECT_EQ(std::memcmp(&before->keys[1], &keys->set()->keys[0], 80), 0);
  EXPECT_EQ(std::memcmp(&before->keys[2], &keys->set()->keys[1], 80), 0);
  ASSERT_TRUE(keys->Save(path).has_value());
  ASSERT_TRUE((*loaded)->Reload(path).has_value());
  EXPECT_EQ(std::memcmp(keys->set()->keys.data(), (*loaded)->set()->keys.data(), 240), 0);

  folder_.Write("tickets", "", 0644);
  EXPECT_THAT((*loaded)->Reload(path).error().ToString(), HasSubstr("mode 0644; run: chmod 0600"));
  folder_.Write("tickets", "");
  EXPECT_THAT((*loaded)->Reload(path).error().ToString(), HasSubstr("has 0 ticket keys"));
  folder_.Write("tickets", "abc\n");
  EXPECT_THAT((*loaded)->Reload(path).error().ToString(), HasSubstr("tickets:1: is not a ticket"));
  EXPECT_THAT(TlsTicketKeys::FromFile(path + "x").error().ToString(),
              HasSubstr("No such file or directory; create it or correct the path"));
}

// --- client certificates ----------------------------------------------------------------------

class TlsClientCertificates : public TlsContextTest {
 protected:
  TlsClientCertificates()
      : ca_({.common_name = "Client CA", .dns_names = {}, .is_ca = true}),
        ca_file_(folder_.Write("client-ca.pem", ca_.chain_pem())) {}

  static Setup Present(const TestCertificate& certificate) {
    return [&certificate](SSL_CTX*, SSL* ssl) {
      SSL_use_certificate(ssl, certificate.x509());
      SSL_use_PrivateKey(ssl, certificate.key());
    };
  }
  std::shared_ptr<const TlsServerContext> Site(TlsClientAuth auth, const std::string& crl = "") {
    TlsServerOptions options;
    options.sites = {{.certificates = {Named("example.org")},
                      .client_auth = auth,
                      .client_ca = ca_file_,
                      .client_crl = crl}};
    options.tickets = TlsTicketKeys::Random();
    return Make(options);
  }

  TestCertificate ca_;
  std::string ca_file_;
};

TEST_F(TlsClientCertificates, FactsForExternalAreReadFromAVerifiedCertificate) {
  TestCertificate juliet({.common_name = "Juliet",
                          .dns_names = {"capulet.example"},
                          .xmpp_addrs = {"juliet@capulet.example"},
                          .srv_names = {"_xmpp-server.capulet.example"}},
                         &ca_);
  auto context = Site(TlsClientAuth::kRequired);
  ConnectResult first = Connect(context, "", false, Present(juliet));
  ASSERT_TRUE(first.ok) << first.error;
  const TlsPeerCertificate& peer = first.facts->peer.value();
  EXPECT_TRUE(peer.verified);
  EXPECT_EQ(peer.subject, "CN=Juliet");
  EXPECT_THAT(peer.xmpp_addrs, ElementsAre("juliet@capulet.example"));
  EXPECT_THAT(peer.dns_names, ElementsAre("capulet.example"));
  EXPECT_THAT(peer.srv_names, ElementsAre("_xmpp-server.capulet.example"));
  EXPECT_EQ(peer.rejected_names, 0u);
  // A resumed session knows the same.
  ConnectResult resumed = Connect(context, "", true);
  ASSERT_TRUE(resumed.ok) << resumed.error;
  EXPECT_TRUE(resumed.facts->resumed);
  EXPECT_TRUE(resumed.facts->peer.value().verified);
  EXPECT_THAT(resumed.facts->peer->xmpp_addrs, ElementsAre("juliet@capulet.example"));
}

TEST_F(TlsClientCertificates, RequiredMeansPresentAndVerified) {
  TestCertificate stranger({});
  auto context = Site(TlsClientAuth::kRequired);
  EXPECT_FALSE(Connect(context, "").ok);
  ConnectResult result = Connect(context, "", false, Present(stranger));
  EXPECT_FALSE(result.ok);
  EXPECT_THAT(result.error, HasSubstr("certificate verify failed"));
}

TEST_F(TlsClientCertificates, OptionalKeepsTheVerdictAsAFact) {
  TestCertificate stranger({});
  TestCertificate known({.common_name = "known"}, &ca_);
  auto context = Site(TlsClientAuth::kOptional);
  EXPECT_FALSE(Connect(context, "").facts->peer.has_value());
  ConnectResult unknown = Connect(context, "", false, Present(stranger));
  ASSERT_TRUE(unknown.ok) << unknown.error;
  EXPECT_FALSE(unknown.facts->peer.value().verified);
  EXPECT_FALSE(unknown.facts->peer->verify_error.empty());
  EXPECT_FALSE(Connect(context, "", true).facts->peer.value().verified);
  EXPECT_TRUE(Connect(context, "", false, Present(known)).facts->peer.value().verified);
}

TEST_F(TlsClientCertificates, ANulInsideANameMatchesNothing) {
  // attacks.md 9, CVE-2025-66220.
  std::string evil("capulet.example\0.evil.example", 29);
  TestCertificate client({.common_name = "x",
                          .dns_names = {evil, "ok.example"},
                          .xmpp_addrs = {std::string("juliet@capulet.example\0x", 24)}},
                         &ca_);
  ConnectResult result = Connect(Site(TlsClientAuth::kRequired), "", false, Present(client));
  ASSERT_TRUE(result.ok) << result.error;
  EXPECT_THAT(result.facts->peer->dns_names, ElementsAre("ok.example"));
  EXPECT_TRUE(result.facts->peer->xmpp_addrs.empty());
  EXPECT_EQ(result.facts->peer->rejected_names, 2u);
  EXPECT_EQ(worker_->counters().rejected_names, 2u);
}

TEST_F(TlsClientCertificates, RevokedOnesAreRefused) {
  TestCertificate good({.common_name = "good"}, &ca_);
  TestCertificate revoked({.common_name = "revoked"}, &ca_);
  auto context = Site(TlsClientAuth::kRequired, folder_.Write("crl.pem", ca_.CrlPem({&revoked})));
  EXPECT_TRUE(Connect(context, "", false, Present(good)).ok);
  ConnectResult result = Connect(context, "", false, Present(revoked));
  EXPECT_FALSE(result.ok);
  EXPECT_THAT(result.error, HasSubstr("revoked"));
}

TEST_F(TlsClientCertificates, ExpiredOnesAreRefused) {
  TestCertificate expired({.not_before_days = -20, .not_after_days = -1}, &ca_);
  EXPECT_FALSE(Connect(Site(TlsClientAuth::kRequired), "", false, Present(expired)).ok);
}

// --- OCSP, expiry, errors ---------------------------------------------------------------------

TEST_F(TlsContextTest, OcspResponsesAreStapledWhileTheyAreFresh) {
  TestCertificate ca({.common_name = "CA", .dns_names = {}, .is_ca = true});
  TestCertificate site({}, &ca);
  TlsCertificateFiles files = {.chain = folder_.Write("s.pem", site.chain_pem()),
                               .key = folder_.Write("s.key", site.key_pem())};
  std::string stapled;
  auto ask = [&stapled](SSL_CTX* context, SSL* ssl) {
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, TLSEXT_STATUSTYPE_ocsp, nullptr);
    using Callback = int (*)(SSL*, void*);
    Callback callback = [](SSL* s, void* arg) {
      unsigned char* response = nullptr;
      long n = SSL_ctrl(s, SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, &response);
      auto* to = static_cast<std::string*>(arg);
      to->assign(reinterpret_cast<char*>(response), n > 0 ? static_cast<size_t>(n) : 0);
      return 1;
    };
    SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB,
                          reinterpret_cast<void (*)()>(callback));
    SSL_CTX_ctrl(context, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB_ARG, 0, &stapled);
  };
  std::string response = ca.OcspDer(site, 86'400);
  files.ocsp = folder_.Write("s.ocsp", response, 0644);
  TlsServerOptions options;
  options.sites = {{.certificates = {files}}};
  auto context = Make(options);
  EXPECT_TRUE(Connect(context, "", false, ask).ok);
  EXPECT_EQ(stapled, response);
  EXPECT_NEAR(static_cast<double>(context->certificates()[0].ocsp_next_update),
              static_cast<double>(std::time(nullptr)) + 86'400, 5);
  folder_.Write("s.ocsp", ca.OcspDer(site, -60));
  EXPECT_TRUE(Connect(Make(options), "", false, ask).ok);
  EXPECT_EQ(stapled, "");
  folder_.Write("s.ocsp", ca.OcspDer(ca, 86'400));
  EXPECT_THAT(ErrorOf(options), HasSubstr("s.ocsp: answers for another certificate"));
  folder_.Write("s.ocsp", "nonsense");
  EXPECT_THAT(ErrorOf(options), HasSubstr("s.ocsp: is no OCSP response in DER form"));
}

TEST_F(TlsContextTest, ExpiryIsReadableAndWarnedOf) {
  TlsServerOptions options;
  options.sites = {
      {.certificates = {Files("soon", {.not_after_days = 20}),
                        Files("later", {.key_type = "RSA2048", .not_after_days = 30})}}};
  auto context = Make(options);
  const auto& certificates = context->certificates();
  ASSERT_EQ(certificates.size(), 2u);
  int64_t now = std::time(nullptr);
  EXPECT_EQ(certificates[0].DaysLeft(now - 60), 20);
  EXPECT_TRUE(certificates[0].ExpiresSoon(now));
  EXPECT_FALSE(certificates[1].ExpiresSoon(now));
  EXPECT_EQ(certificates[1].DaysLeft(certificates[1].not_after + 1), -1);
  EXPECT_EQ(certificates[0].key_type, "EC");
  EXPECT_EQ(certificates[1].key_type, "RSA");
  EXPECT_THAT(certificates[0].names, ElementsAre("example.org"));
}

TEST_F(TlsContextTest, MistakesNameFileAndRemedy) {
  TlsCertificateFiles good = Named("example.org");
  auto with = [](TlsCertificateFiles files) {
    TlsServerOptions options;
    options.sites = {{.certificates = {std::move(files)}}};
    return options;
  };
  EXPECT_THAT(ErrorOf(with({.chain = "/no/such.pem", .key = good.key})),
              HasSubstr("/no/such.pem: cannot be read: No such file or directory; create it"));
  EXPECT_THAT(ErrorOf(with({.chain = good.chain})),
              HasSubstr("has no private key configured; set key"));
  EXPECT_THAT(ErrorOf(with({.chain = good.key, .key = good.key})),
              HasSubstr("holds no certificate in PEM form"));
  EXPECT_THAT(ErrorOf(with({.chain = good.chain, .key = good.chain})),
              HasSubstr("holds no private key in PEM form"));
  EXPECT_THAT(ErrorOf(with({.chain = good.chain, .key = Named("other.example").key})),
              HasSubstr("the private key does not match the certificate in " + good.chain));
  EXPECT_THAT(ErrorOf(with(Named("small.example", "RSA1024"))), HasSubstr("key too small"));
  EXPECT_THAT(ErrorOf({}), HasSubstr("TLS has no certificate"));
  TlsServerOptions twice = with(good);
  twice.sites[0].certificates.push_back(Named("second.example"));
  EXPECT_THAT(ErrorOf(twice), HasSubstr("is the second EC certificate of its site"));
  TlsServerOptions ciphers = with(good);
  ciphers.policy.ciphers = "NONSENSE";
  EXPECT_THAT(ErrorOf(ciphers), HasSubstr("ciphers = \"NONSENSE\""));
  TlsServerOptions groups = with(good);
  groups.policy.groups = "P-257";
  EXPECT_THAT(ErrorOf(groups), HasSubstr("groups = \"P-257\""));
  TlsServerOptions clients = with(good);
  clients.sites[0].client_auth = TlsClientAuth::kRequired;
  EXPECT_THAT(ErrorOf(clients), HasSubstr("no client CA is set; set client_ca"));
  chmod(good.key.c_str(), 0644);
  EXPECT_THAT(ErrorOf(with(good)), HasSubstr("open to others than its owner; run: chmod 0600 "));
}

TEST_F(TlsContextTest, AReloadLeavesRunningConnectionsAlone) {
  TlsServerOptions options;
  options.sites = {{.certificates = {Named("example.org")}}};
  auto context = Make(options);
  SSL_CTX* client_context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(client_context, TLS1_2_VERSION);  // stays on the old context
  {
    OpenSslPeer client(client_context, false);
    TlsEnginePtr server = worker_->NewServer(context);
    std::weak_ptr<const TlsServerContext> old = context;
    context = Make(options);
    EXPECT_FALSE(old.expired());
    for (int i = 0; i < 4; ++i) {
      client.Handshake();
      FeedAll(*server, client.Take());
      client.Give(FlushAll(*server));
    }
    client.Write(ToBytes("still here"));
    EXPECT_EQ(ToText(FeedAll(*server, client.Take())), "still here");
    server.reset();
    EXPECT_TRUE(old.expired());
  }
  SSL_CTX_free(client_context);
}

}  // namespace
}  // namespace net
