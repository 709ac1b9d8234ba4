// For tests of the server's own handshake: contexts and clients, and a client whose second flight
// the test plays by hand.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "net/base/check.h"
#include "net/tls/record/tls_record.h"
#include "net/tls/tls_engine.h"
#include "net/tls/tls_handshake.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_hello.h"
#include "tests/net/tls_test_peer.h"

namespace net {

// Contexts, clients and the sessions that these got.
class TlsHandshakeFixture {
 public:
  TlsHandshakeFixture() : worker_(NewWorker()) {}
  ~TlsHandshakeFixture() {
    ForgetSessions();
    for (SSL_CTX* context : contexts_) SSL_CTX_free(context);
    ERR_clear_error();
  }
  TlsHandshakeFixture(const TlsHandshakeFixture&) = delete;
  TlsHandshakeFixture& operator=(const TlsHandshakeFixture&) = delete;

  static std::unique_ptr<TlsWorker> NewWorker() {
    auto worker = TlsWorker::Create();
    CHECK(worker.has_value());
    return std::move(*worker);
  }
  TlsCertificateFiles Files(const TestCertificateOptions& options = {},
                            const std::string& more_chain = "") {
    const TestCertificate certificate(options);
    const std::string name = "certificate" + std::to_string(files_++);
    return {.chain = folder_.Write(name + ".pem", certificate.chain_pem() + more_chain),
            .key = folder_.Write(name + ".key", certificate.key_pem())};
  }
  TlsServerOptions Options(const std::string& key_type = "P-256") {
    TlsServerOptions options;
    options.sites.push_back({.certificates = {Files({.key_type = key_type})}});
    options.tickets = TlsTicketKeys::Random();
    return options;
  }
  static std::shared_ptr<const TlsServerContext> Server(const TlsServerOptions& options) {
    auto context = TlsServerContext::Create(options);
    if (!context) {
      for (const TlsConfigError& error : context.error()) ADD_FAILURE() << error.ToString();
    }
    CHECK(context.has_value());
    return *context;
  }
  // The same site, where OpenSSL shakes hands.
  static std::shared_ptr<const TlsServerContext> ByOpenSsl(TlsServerOptions options) {
    options.policy.own_handshake = false;
    return Server(options);
  }
  SSL_CTX* ClientCtx() {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(context, this);
    SSL_CTX_sess_set_new_cb(context, [](SSL* ssl, SSL_SESSION* session) {
      auto* self = static_cast<TlsHandshakeFixture*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      self->sessions_.push_back(session);
      return 1;
    });
    contexts_.push_back(context);
    return context;
  }
  static void SetName(SSL* ssl, std::string name) {
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
  }
  static void SetAlpn(SSL* ssl, const std::vector<std::string>& names) {
    Bytes wire;
    for (const std::string& name : names) AddVector(&wire, 1, ToBytes(name));
    CHECK(SSL_set_alpn_protos(ssl, wire.data(), static_cast<unsigned>(wire.size())) == 0);
  }
  void ForgetSessions() {
    for (SSL_SESSION* session : sessions_) SSL_SESSION_free(session);
    sessions_.clear();
  }

  struct Outcome {
    bool ok = false;
    bool resumed = false;  // as the client sees it
    int client_error = 0;  // OpenSSL's reason, which names the alert
    std::string server_error;
    std::unique_ptr<TlsFacts> facts;  // the server's
    std::string cipher;               // the client's
    std::string alpn;
    int version = 0;
    Bytes end_point;
    Bytes exporter;

    // What a client cannot tell apart.
    auto Seen() const { return std::tie(ok, resumed, client_error, cipher, alpn, version); }
  };
  using Prepare = std::function<void(SSL*)>;
  using Change = std::function<Bytes(Bytes)>;

  // A plain OpenSSL client shakes hands; `piece` cuts what the server gets, `change` alters the
  // client's first flight.
  Outcome Connect(const std::shared_ptr<const TlsServerContext>& context,
                  const Prepare& prepare = {}, size_t piece = SIZE_MAX, const Change& change = {}) {
    OpenSslPeer client(ClientCtx(), false);
    if (prepare) prepare(client.ssl());
    server_ = worker_->NewServer(context);
    bool done = false;
    ERR_clear_error();
    for (int i = 0; i < 6; ++i) {
      client.Handshake();
      Bytes flight = client.Take();
      if (i == 0 && change) flight = change(std::move(flight));
      FeedAll(*server_, flight, piece, &done);
      client.Give(FlushAll(*server_));
    }
    Outcome outcome;
    client.Read();  // tickets, or an alert
    if (client.read_error() == SSL_ERROR_SSL) {
      outcome.client_error = ERR_GET_REASON(ERR_peek_last_error());
    }
    ERR_clear_error();
    outcome.ok =
        done && server_->state() == TlsState::kOpen && SSL_is_init_finished(client.ssl()) == 1;
    outcome.server_error = server_->ErrorText();
    outcome.facts = server_->TakeFacts();
    if (!outcome.ok) return outcome;
    outcome.resumed = SSL_session_reused(client.ssl()) == 1;
    outcome.cipher = SSL_get_cipher_name(client.ssl());
    outcome.version = SSL_version(client.ssl());
    const unsigned char* alpn = nullptr;
    unsigned alpn_size = 0;
    SSL_get0_alpn_selected(client.ssl(), &alpn, &alpn_size);
    outcome.alpn.assign(alpn, alpn + alpn_size);
    outcome.exporter = TlsExporterBinding(client.ssl());
    if (X509* peer = SSL_get0_peer_certificate(client.ssl())) {
      outcome.end_point = TlsServerEndPoint(peer);
    }
    client.Write(ToBytes("ping"));
    EXPECT_EQ(ToText(FeedAll(*server_, client.Take())), "ping");
    return outcome;
  }
  Outcome Resume(const std::shared_ptr<const TlsServerContext>& context, SSL_SESSION* session,
                 const Prepare& prepare = {}) {
    return Connect(context, [&](SSL* ssl) {
      CHECK(session != nullptr && SSL_set_session(ssl, session) == 1);
      if (prepare) prepare(ssl);
    });
  }
  SSL_SESSION* newest() const { return sessions_.empty() ? nullptr : sessions_.back(); }

  // A hello of plain OpenSSL, whole with its record's header.
  Bytes Hello(const Prepare& prepare = {}) {
    OpenSslPeer client(ClientCtx(), false);
    if (prepare) prepare(client.ssl());
    client.Handshake();
    return client.Take();
  }
  // What a server of `context` says to these bytes.
  Bytes AnswerTo(const std::shared_ptr<const TlsServerContext>& context, const Bytes& wire) {
    server_ = worker_->NewServer(context);
    FeedAll(*server_, wire);
    ERR_clear_error();
    return FlushAll(*server_);
  }

  uint64_t declined() const {
    uint64_t all = 0;
    for (uint64_t count : worker_->counters().declined) all += count;
    return all;
  }
  uint64_t declined(TlsDecline reason) const {
    return worker_->counters().declined[static_cast<size_t>(reason)];
  }

  TestFolder folder_;
  int files_ = 0;
  std::unique_ptr<TlsWorker> worker_;
  std::vector<SSL_CTX*> contexts_;
  std::vector<SSL_SESSION*> sessions_;  // all that clients got, in their order
  TlsEnginePtr server_;                 // the last one
};

// The secret that a session of TLS 1.3 resumes with.
inline Bytes PskOf(const SSL_SESSION* session) {
  Bytes psk(SSL_SESSION_get_master_key(session, nullptr, 0));
  SSL_SESSION_get_master_key(session, psk.data(), psk.size());
  return psk;
}

// A client whose second flight is played by hand: OpenSSL says hello and reads the answer, its key
// log tells the secrets.
class HandClient {
 public:
  HandClient(SSL_CTX* context, TlsRecordPool& pool) : pool_(pool), peer_(context, false) {
    SSL_set_app_data(peer_.ssl(), this);
    SSL_CTX_set_keylog_callback(context, [](const SSL* ssl, const char* line) {
      static_cast<HandClient*>(SSL_get_app_data(ssl))->Keep(line);
    });
  }
  ~HandClient() { SSL_set_app_data(peer_.ssl(), nullptr); }
  HandClient(const HandClient&) = delete;
  HandClient& operator=(const HandClient&) = delete;

  SSL* ssl() { return peer_.ssl(); }
  Bytes Hello() {
    peer_.Handshake();
    return peer_.Take();
  }
  // Reads the server's flight; afterwards Seal() speaks under the handshake's key.
  bool Answer(const Bytes& flight) {
    peer_.Give(flight);
    if (peer_.Handshake() != 1) return false;
    Bytes wire = peer_.Take();
    const TlsSuite suite = SuiteOf(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl())));
    TlsRecordState reader;
    CHECK(StartTlsRecords(pool_, suite, false, secrets_["CLIENT_HANDSHAKE_TRAFFIC_SECRET"],
                          secrets_["SERVER_HANDSHAKE_TRAFFIC_SECRET"], &reader));
    while (!wire.empty() && wire[0] == 20) wire.erase(wire.begin(), wire.begin() + 6);
    finished_ = OpenNext(pool_, &reader, &wire).content;
    CHECK(wire.empty() && finished_.at(0) == 20);
    return StartTlsRecords(pool_, suite, true, secrets_["SERVER_HANDSHAKE_TRAFFIC_SECRET"],
                           secrets_["CLIENT_HANDSHAKE_TRAFFIC_SECRET"], &handshake_) &&
           StartTlsRecords(pool_, suite, true, secrets_["SERVER_TRAFFIC_SECRET_0"],
                           secrets_["CLIENT_TRAFFIC_SECRET_0"], &application_);
  }
  const Bytes& finished() const { return finished_; }  // the genuine message
  Bytes Seal(int type, const Bytes& content, size_t padding = 0) {
    return SealRecord(pool_, &handshake_, type, content, padding);
  }
  Bytes SealData(const Bytes& content) { return SealRecord(pool_, &application_, 23, content); }
  // What the server sends under its application key.
  OpenedRecord Open(Bytes* wire) { return OpenNext(pool_, &application_, wire); }

 private:
  void Keep(std::string line) {
    const size_t label = line.find(' ');
    const size_t random = line.find(' ', label + 1);
    long size = 0;
    unsigned char* secret = OPENSSL_hexstr2buf(line.c_str() + random + 1, &size);
    CHECK(secret != nullptr);
    secrets_[line.substr(0, label)] = Bytes(secret, secret + size);
    OPENSSL_free(secret);
  }

  TlsRecordPool& pool_;
  OpenSslPeer peer_;
  std::map<std::string, Bytes> secrets_;
  Bytes finished_;
  TlsRecordState handshake_{};
  TlsRecordState application_{};
};

}  // namespace net
