// For tests of the server's own handshake: contexts and clients, a client whose second flight the
// test plays by hand, and hellos that can be taken apart, changed and answered without a client.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/byte_reader.h"
#include "net/check.h"
#include "net/tls_engine.h"
#include "net/tls_handshake.h"
#include "net/tls_hkdf.h"
#include "net/tls_record.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {

inline void AddNumber(Bytes* out, size_t value, size_t size) {
  while (size-- > 0) out->push_back(static_cast<uint8_t>(value >> (8 * size)));
}
inline void AddBytes(Bytes* out, std::span<const uint8_t> bytes) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}
inline void AddVector(Bytes* out, size_t length_size, std::span<const uint8_t> bytes) {
  AddNumber(out, bytes.size(), length_size);
  AddBytes(out, bytes);
}
inline Bytes Copy(std::span<const uint8_t> bytes) { return Bytes(bytes.begin(), bytes.end()); }

inline Bytes Record(uint8_t type, std::span<const uint8_t> content, uint16_t version = 0x0303) {
  Bytes record = {type};
  AddNumber(&record, version, 2);
  AddVector(&record, 2, content);
  return record;
}

// A ClientHello in pieces. Wire() puts it together again, with the lengths that follow.
struct HelloParts {
  struct Extension {
    size_t type = 0;
    Bytes body;
  };
  Bytes random;  // with the version before it
  Bytes session_id;
  Bytes suites;
  Bytes compression;
  std::vector<Extension> extensions;

  // `record`: a whole one, with its header.
  explicit HelloParts(std::span<const uint8_t> record) {
    ByteReader reader(record.subspan(kTlsHeaderBytes + 4));
    random = Copy(reader.Take(34));
    session_id = Copy(reader.Vector(1));
    suites = Copy(reader.Vector(2));
    compression = Copy(reader.Vector(1));
    ByteReader list(reader.Vector(2));
    while (!list.empty()) {
      const size_t type = list.Number(2);
      extensions.push_back({type, Copy(list.Vector(2))});
    }
    CHECK(reader.done() && list.ok());
  }
  Bytes* Find(size_t type) {
    for (Extension& one : extensions) {
      if (one.type == type) return &one.body;
    }
    return nullptr;
  }
  void Remove(size_t type) {
    std::erase_if(extensions, [type](const Extension& one) { return one.type == type; });
  }
  // Puts it before all others, so that a pre-shared key stays the last.
  void Add(size_t type, Bytes body) {
    extensions.insert(extensions.begin(), {type, std::move(body)});
  }
  Bytes Message() const {
    Bytes list;
    for (const Extension& one : extensions) {
      AddNumber(&list, one.type, 2);
      AddVector(&list, 2, one.body);
    }
    Bytes body = random;
    AddVector(&body, 1, session_id);
    AddVector(&body, 2, suites);
    AddVector(&body, 1, compression);
    AddVector(&body, 2, list);
    Bytes message = {1};
    AddVector(&message, 3, body);
    return message;
  }
  Bytes Wire() const { return Record(22, Message(), 0x0301); }
};

// What a ServerHello in the clear says.
struct ServerHelloFacts {
  size_t suite = 0;
  size_t group = 0;
  Bytes share;
  std::optional<size_t> psk;  // the index that was taken
  Bytes message;
  Bytes rest;  // the records after it
};

// Nothing for an alert, a HelloRetryRequest, TLS 1.2, or no answer at all.
inline std::optional<ServerHelloFacts> ReadServerHello(const Bytes& wire) {
  ByteReader reader(wire);
  if (reader.Number(1) != 22) return {};
  reader.Take(2);
  ServerHelloFacts facts;
  facts.message = Copy(reader.Vector(2));
  if (!reader.ok()) return {};
  facts.rest =
      Bytes(wire.begin() + static_cast<long>(kTlsHeaderBytes + facts.message.size()), wire.end());
  ByteReader hello(facts.message);
  if (hello.Number(1) != 2) return {};
  hello.Take(3 + 2 + 32);
  hello.Vector(1);
  facts.suite = hello.Number(2);
  hello.Take(1);
  ByteReader extensions(hello.Vector(2));
  bool tls13 = false;
  while (!extensions.empty()) {
    const size_t type = extensions.Number(2);
    ByteReader body(extensions.Vector(2));
    if (type == 43) tls13 = true;
    if (type == 41) facts.psk = body.Number(2);
    if (type != 51) continue;
    facts.group = body.Number(2);
    facts.share = Copy(body.Vector(2));
  }
  if (!tls13 || facts.share.empty()) return {};
  return facts;
}

inline TlsSuite SuiteOf(size_t code) {
  CHECK(code >= 0x1301 && code <= 0x1303);
  return static_cast<TlsSuite>(code - 0x1301);
}
inline TlsDigest DigestOfSuite(TlsSuite suite) {
  return suite == TlsSuite::kAes256GcmSha384 ? TlsDigest::kSha384 : TlsDigest::kSha256;
}

// The client's key schedule as RFC 8446 section 7.1 has it, written down a second time.
class TestSchedule {
 public:
  explicit TestSchedule(TlsDigest digest) : digest_(digest) { CHECK(hkdf_.ok()); }

  Bytes Hash(std::initializer_list<std::span<const uint8_t>> parts) const {
    Bytes out(TlsHashBytes(digest_));
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    CHECK(EVP_DigestInit(context, digest_ == TlsDigest::kSha384 ? EVP_sha384() : EVP_sha256()));
    for (auto part : parts) EVP_DigestUpdate(context, part.data(), part.size());
    CHECK(EVP_DigestFinal(context, out.data(), nullptr) == 1);
    EVP_MD_CTX_free(context);
    return out;
  }
  Bytes Hmac(const Bytes& key, const Bytes& message) {
    Bytes out(TlsHashBytes(digest_));
    CHECK(hkdf_.Hmac(digest_, key, {message}, out));
    return out;
  }
  Bytes Expand(const Bytes& secret, std::string_view label, const Bytes& context) {
    Bytes out(TlsHashBytes(digest_));
    CHECK(hkdf_.ExpandLabel(digest_, secret, ToBytes("tls13 "), ToBytes(label), context, out));
    return out;
  }
  Bytes Early(const Bytes& psk) {
    const Bytes zeros(TlsHashBytes(digest_));
    return Hmac(zeros, psk.empty() ? zeros : psk);
  }
  Bytes Derived(const Bytes& secret) { return Expand(secret, "derived", Hash({})); }
  // server_handshake_traffic_secret; `psk` is empty for none.
  Bytes ServerHandshake(const Bytes& psk, const Bytes& shared, const Bytes& client_hello,
                        const Bytes& server_hello) {
    const Bytes handshake = Hmac(Derived(Early(psk)), shared);
    return Expand(handshake, "s hs traffic", Hash({client_hello, server_hello}));
  }
  Bytes Binder(const Bytes& psk, std::span<const uint8_t> truncated_hello) {
    const Bytes key = Expand(Early(psk), "res binder", Hash({}));
    return Hmac(Expand(key, "finished", {}), Hash({truncated_hello}));
  }

 private:
  TlsDigest digest_;
  TlsHkdf hkdf_;
};

// An X25519 key for hellos of which no client knows.
class TestKeyShare {
 public:
  TestKeyShare() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")), share_(32) {
    size_t size = share_.size();
    CHECK(EVP_PKEY_get_raw_public_key(key_, share_.data(), &size) == 1);
  }
  ~TestKeyShare() { EVP_PKEY_free(key_); }
  TestKeyShare(const TestKeyShare&) = delete;
  TestKeyShare& operator=(const TestKeyShare&) = delete;

  const Bytes& share() const { return share_; }
  Bytes SharedWith(const Bytes& theirs) const {
    EVP_PKEY* peer =
        EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, theirs.data(), theirs.size());
    EVP_PKEY_CTX* derive = EVP_PKEY_CTX_new_from_pkey(nullptr, key_, nullptr);
    Bytes secret(32);
    size_t size = secret.size();
    CHECK(EVP_PKEY_derive_init(derive) == 1 && EVP_PKEY_derive_set_peer(derive, peer) == 1 &&
          EVP_PKEY_derive(derive, secret.data(), &size) == 1);
    EVP_PKEY_CTX_free(derive);
    EVP_PKEY_free(peer);
    return secret;
  }

 private:
  EVP_PKEY* key_;
  Bytes share_;
};

// Key share and binder of a hello made genuine again after a change. `psk`: of its one identity.
inline void UseShare(HelloParts* hello, const Bytes& share) {
  Bytes list = {0, 29};
  AddVector(&list, 2, share);
  Bytes body;
  AddVector(&body, 2, list);
  *hello->Find(51) = body;
}
inline void Rebind(HelloParts* hello, TlsDigest digest, const Bytes& psk) {
  const size_t size = TlsHashBytes(digest);
  Bytes message = hello->Message();
  Bytes* keys = &hello->extensions.back().body;
  CHECK(hello->extensions.back().type == 41 && keys->size() > size);
  ByteReader reader(*keys);
  const size_t identities = 2 + reader.Vector(2).size();
  const size_t from_end = keys->size() - identities;
  const Bytes binder =
      TestSchedule(digest).Binder(psk, std::span(message).first(message.size() - from_end));
  std::ranges::copy(binder, keys->end() - static_cast<long>(size));
}

struct OpenedRecord {
  TlsAlert error = TlsAlert::kNone;
  int type = 0;
  Bytes content;
};

// Takes one record from the front of `wire` and opens it.
inline OpenedRecord OpenNext(TlsRecordPool& pool, TlsRecordState* state, Bytes* wire) {
  OpenedRecord opened;
  CHECK(wire->size() >= kTlsHeaderBytes);
  const size_t size = static_cast<size_t>((*wire)[3]) << 8 | (*wire)[4];
  CHECK(wire->size() >= kTlsHeaderBytes + size);
  const std::span<uint8_t> record = std::span(*wire).first(kTlsHeaderBytes + size);
  const std::span<uint8_t> payload = record.subspan(kTlsHeaderBytes);
  const TlsOpened result = OpenTlsRecord(pool, state, record.first<kTlsHeaderBytes>(), payload, {});
  opened.error = result.error;
  opened.type = result.type;
  opened.content = Copy(payload.first(result.length));
  wire->erase(wire->begin(), wire->begin() + static_cast<long>(kTlsHeaderBytes + size));
  return opened;
}

inline Bytes SealRecord(TlsRecordPool& pool, TlsRecordState* state, int type, const Bytes& content,
                        size_t padding = 0) {
  Bytes out(content.size() + padding + kTlsRecordOverhead);
  std::span<const uint8_t> part(content);
  TlsInput input(std::span(&part, 1));
  CHECK(SealTlsRecord(pool, state, static_cast<TlsContentType>(type), &input, content.size(),
                      padding, out) == out.size());
  return out;
}

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
