// The engine against GnuTLS, in memory: another implementation's records, KeyUpdates and tickets.
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "net/base/check.h"
#include "net/tls/tls_engine.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

class GnuTlsPeer {
 public:
  GnuTlsPeer(bool server, const std::string& priority,
             gnutls_certificate_credentials_t credentials) {
    CHECK(gnutls_init(&session_, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK) == 0);
    CHECK(gnutls_priority_set_direct(session_, priority.c_str(), nullptr) == 0);
    gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_ptr(session_, this);
    gnutls_transport_set_pull_function(session_, Pull);
    gnutls_transport_set_push_function(session_, Push);
    gnutls_transport_set_pull_timeout_function(session_, PullTimeout);
  }
  ~GnuTlsPeer() { gnutls_deinit(session_); }
  GnuTlsPeer(const GnuTlsPeer&) = delete;
  GnuTlsPeer& operator=(const GnuTlsPeer&) = delete;

  gnutls_session_t session() { return session_; }
  void Give(const Bytes& bytes) { in_.insert(in_.end(), bytes.begin(), bytes.end()); }
  Bytes Take() { return std::exchange(out_, {}); }
  int Handshake() { return gnutls_handshake(session_); }
  void Write(const Bytes& bytes) {
    size_t at = 0;
    while (at < bytes.size()) {
      ssize_t n = gnutls_record_send(session_, bytes.data() + at, bytes.size() - at);
      ASSERT_GT(n, 0) << gnutls_strerror(static_cast<int>(n));
      at += static_cast<size_t>(n);
    }
  }
  Bytes Read() {
    Bytes all;
    Bytes block(20'000);
    for (;;) {
      last_ = gnutls_record_recv(session_, block.data(), block.size());
      // Tickets and KeyUpdates make it return early.
      if (last_ == GNUTLS_E_AGAIN && !in_.empty()) continue;
      if (last_ <= 0) return all;
      all.insert(all.end(), block.begin(), block.begin() + last_);
    }
  }
  ssize_t last() const { return last_; }

 private:
  static ssize_t Pull(gnutls_transport_ptr_t self, void* to, size_t size) {
    auto* peer = static_cast<GnuTlsPeer*>(self);
    if (peer->in_.empty()) {
      gnutls_transport_set_errno(peer->session_, EAGAIN);
      return -1;
    }
    size_t n = std::min(size, peer->in_.size());
    std::memcpy(to, peer->in_.data(), n);
    peer->in_.erase(peer->in_.begin(), peer->in_.begin() + static_cast<long>(n));
    return static_cast<ssize_t>(n);
  }
  static ssize_t Push(gnutls_transport_ptr_t self, const void* from, size_t size) {
    auto* peer = static_cast<GnuTlsPeer*>(self);
    const auto* bytes = static_cast<const uint8_t*>(from);
    peer->out_.insert(peer->out_.end(), bytes, bytes + size);
    return static_cast<ssize_t>(size);
  }
  static int PullTimeout(gnutls_transport_ptr_t self, unsigned) {
    return static_cast<GnuTlsPeer*>(self)->in_.empty() ? 0 : 1;
  }

  gnutls_session_t session_ = nullptr;
  Bytes in_;
  Bytes out_;
  ssize_t last_ = 0;
};

class TlsGnuTls : public testing::TestWithParam<const char*> {
 protected:
  TlsGnuTls() : certificate_({}), chain_(folder_.Write("c.pem", certificate_.chain_pem())) {
    key_ = folder_.Write("c.key", certificate_.key_pem());
    auto worker = TlsWorker::Create();
    CHECK(worker.has_value());
    worker_ = std::move(*worker);
    CHECK(gnutls_certificate_allocate_credentials(&credentials_) == 0);
    CHECK(gnutls_certificate_set_x509_key_file(credentials_, chain_.c_str(), key_.c_str(),
                                               GNUTLS_X509_FMT_PEM) >= 0);
  }
  ~TlsGnuTls() override { gnutls_certificate_free_credentials(credentials_); }
  std::string Priority() const {
    return std::string("NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+") + GetParam();
  }
  size_t Pick(size_t low, size_t high) { return low + random_() % (high - low + 1); }
  Bytes RandomBytes(size_t size) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    return bytes;
  }

  // `update`: the peer changes keys now and then. It allows itself eight a second.
  void Converse(TlsEngine& engine, GnuTlsPeer& peer, int rounds) {
    int updates = 0;
    for (int round = 0; round < rounds; ++round) {
      Bytes sent;
      for (size_t i = Pick(0, 3); i-- > 0;) {
        Bytes data = RandomBytes(Pick(0, 1) == 0 ? Pick(1, 200) : Pick(1, 40'000));
        peer.Write(data);
        sent.insert(sent.end(), data.begin(), data.end());
        if (updates < 4 && Pick(0, 2) == 0) {
          ASSERT_EQ(gnutls_session_key_update(peer.session(), GNUTLS_KU_PEER), 0);
          ++updates;
        }
      }
      ASSERT_EQ(FeedAll(engine, peer.Take(), Pick(1, 20'000)), sent) << engine.ErrorText();
      peer.Give(FlushAll(engine));
      peer.Give(WriteAll(engine, sent, Pick(200, 30'000)));
      ASSERT_EQ(peer.Read(), sent) << gnutls_strerror(static_cast<int>(peer.last()));
    }
  }

  TestFolder folder_;
  TestCertificate certificate_;
  std::string chain_;
  std::string key_;
  std::unique_ptr<TlsWorker> worker_;
  gnutls_certificate_credentials_t credentials_ = nullptr;
  std::mt19937 random_{77};
};

TEST_P(TlsGnuTls, ClientsEchoUpdateKeysAndResume) {
  TlsServerOptions options;
  options.sites.push_back({.certificates = {{.chain = chain_, .key = key_}}});
  options.tickets = TlsTicketKeys::Random();
  auto context = TlsServerContext::Create(options);
  ASSERT_TRUE(context.has_value());
  gnutls_datum_t session{};
  for (int i = 0; i < 6; ++i) {
    TlsEnginePtr server = worker_->NewServer(*context);
    GnuTlsPeer client(false, Priority(), credentials_);
    if (i > 0) gnutls_session_set_data(client.session(), session.data, session.size);
    int result = GNUTLS_E_AGAIN;
    for (int j = 0; j < 6 && result != 0; ++j) {
      result = client.Handshake();
      FeedAll(*server, client.Take());
      client.Give(FlushAll(*server));
    }
    ASSERT_EQ(result, 0) << gnutls_strerror(result) << " " << server->ErrorText();
    ASSERT_EQ(server->take_over(), TlsTakeOver::kTaken) << ToString(server->take_over());
    EXPECT_EQ(server->TakeFacts()->resumed, i > 0);
    client.Read();  // the ticket
    Converse(*server, client, 25);
    gnutls_free(session.data);
    ASSERT_EQ(gnutls_session_get_data2(client.session(), &session), 0);
    gnutls_bye(client.session(), GNUTLS_SHUT_WR);
    FeedAll(*server, client.Take());
    EXPECT_EQ(server->state(), TlsState::kPeerClosed);
    server->Shutdown();
    client.Give(FlushAll(*server));
    client.Read();
    EXPECT_EQ(client.last(), 0);  // an orderly end
  }
  gnutls_free(session.data);
}

TEST_P(TlsGnuTls, ServersAreSpokenToAfterTheTakeOver) {
  TlsClientOptions options;
  options.ca = chain_;
  auto context = TlsClientContext::Create(options);
  ASSERT_TRUE(context.has_value());
  GnuTlsPeer server(true, Priority(), credentials_);
  gnutls_datum_t ticket_key{};
  ASSERT_EQ(gnutls_session_ticket_key_generate(&ticket_key), 0);
  ASSERT_EQ(gnutls_session_ticket_enable_server(server.session(), &ticket_key), 0);
  TlsEnginePtr client = worker_->NewClient(
      *context,
      {.server_name = "example.org", .verify_name = "example.org", .session_key = "node"});
  TlsPlaintext plain;
  client->Feed({}, &plain);
  int result = GNUTLS_E_AGAIN;
  for (int i = 0; i < 6 && result != 0; ++i) {
    server.Give(FlushAll(*client));
    result = server.Handshake();
    FeedAll(*client, server.Take());
  }
  ASSERT_EQ(result, 0) << gnutls_strerror(result) << " " << client->ErrorText();
  ASSERT_EQ(client->state(), TlsState::kOpen);
  server.Write(ToBytes("hello"));
  EXPECT_EQ(ToText(FeedAll(*client, server.Take())), "hello");
  EXPECT_EQ(client->take_over(), TlsTakeOver::kTaken) << ToString(client->take_over());
  Converse(*client, server, 25);
  EXPECT_EQ((*context)->sessions(), 1u);
  gnutls_free(ticket_key.data);
}

INSTANTIATE_TEST_SUITE_P(Ciphers, TlsGnuTls,
                         testing::Values("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"),
                         [](const auto& cipher) {
                           std::string name = cipher.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace net
