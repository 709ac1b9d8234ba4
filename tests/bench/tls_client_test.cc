// Resumption that is claimed must be resumption that happened.
#include "bench/load/tls_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "bench/load/engine.h"
#include "bench/load/report.h"
#include "bench/load/scenarios.h"

namespace bench {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kHandshakesWithinNs = 60'000'000'000;

// One connection after another: handshake, echo until the client ends.
class TlsEcho {
 public:
  explicit TlsEcho(bool tickets) : context_(SSL_CTX_new(TLS_server_method())) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(context_, certificate);
    SSL_CTX_use_PrivateKey(context_, key);
    SSL_CTX_set_num_tickets(context_, tickets ? 2 : 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
    listener_ = *Listen(*ParseEndpoint("127.0.0.1:0", false), 64);
    at_.length = sizeof(at_.storage);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at_.storage), &at_.length);
    thread_ = std::thread([this] { Run(); });
  }
  ~TlsEcho() {
    stop_ = true;
    thread_.join();
    close(listener_);
    SSL_CTX_free(context_);
  }
  const Endpoint& At() const { return at_; }

 private:
  void Run() {
    while (!stop_) {
      pollfd ready{listener_, POLLIN, 0};
      if (poll(&ready, 1, 20) != 1) continue;
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd >= 0) Serve(fd);
    }
  }
  void Serve(int fd) {
    SSL* ssl = SSL_new(context_);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
      char bytes[512];
      int n = 0;
      while ((n = SSL_read(ssl, bytes, sizeof(bytes))) > 0) SSL_write(ssl, bytes, n);
    }
    SSL_free(ssl);
    close(fd);
  }

  SSL_CTX* context_;
  int listener_ = -1;
  Endpoint at_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

EngineOptions Options(const TlsEcho& server, bool resume, const char* version) {
  EngineOptions options;
  options.targets = {server.At()};
  options.connections = 1;
  options.tls.enabled = true;
  options.tls.resume = resume;
  options.tls.version = version;
  options.tls.server_name = "xmpp.test";
  options.prime_request = "prime\n";
  return options;
}

Result RunHandshakes(EngineOptions options) {
  auto engine = Engine::Create(std::move(options));
  EXPECT_TRUE(engine.has_value()) << engine.error();
  // The first connection may still belong to the warm-up, and is not counted then.
  ConnectScenario scenario({.warmup_ns = 1000, .duration_ns = kHandshakesWithinNs, .count_max = 21},
                           {"hello\n", 6, true}, std::nullopt);
  (*engine)->Run(scenario, MonotonicNs() + kHandshakesWithinNs);
  JudgeResult((*engine)->Out());
  return (*engine)->Out();
}

class Resumption : public testing::TestWithParam<const char*> {};

TEST_P(Resumption, EveryHandshakeIsResumedFromThePrimedSession) {
  TlsEcho server(true);
  const Result result = RunHandshakes(Options(server, true, GetParam()));
  EXPECT_THAT(result.invalid, IsEmpty());
  EXPECT_GE(result.handshakes, 20U);
  EXPECT_EQ(result.resumed, result.handshakes);
}

TEST_P(Resumption, FullHandshakesAreNeverResumed) {
  TlsEcho server(true);
  const Result result = RunHandshakes(Options(server, false, GetParam()));
  EXPECT_THAT(result.invalid, IsEmpty());
  EXPECT_GE(result.handshakes, 20U);
  EXPECT_EQ(result.resumed, 0U);
}

INSTANTIATE_TEST_SUITE_P(Versions, Resumption, testing::Values("1.2", "1.3"),
                         [](const auto& param) {
                           return std::string(param.param) == "1.2" ? "Tls12" : "Tls13";
                         });

TEST(TlsClient, AServerWithoutTicketsIsRefusedForResumption) {
  TlsEcho server(false);
  const auto engine = Engine::Create(Options(server, true, "1.3"));
  ASSERT_FALSE(engine.has_value());
  EXPECT_THAT(engine.error(), HasSubstr("no session ticket"));
}

}  // namespace
}  // namespace bench
