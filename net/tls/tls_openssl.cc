#include "net/tls/tls_openssl.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "net/base/byte_writer.h"
#include "net/base/check.h"

namespace net {

namespace {

// The most that OpenSSL adds to a record: TLS 1.2 with a CBC suite, its IV, HMAC-SHA-384 and
// padding; rounded up.
constexpr size_t kOpenSslOverhead = 96;

constexpr std::array<size_t, 5> kMaxFragment = {kTlsMaxPlaintext, 512, 1024, 2048, 4096};

size_t MaxPlaintext(SSL* ssl) {
  uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get0_session(ssl));
  return code < kMaxFragment.size() ? kMaxFragment[code] : kTlsMaxPlaintext;
}

bool FindSuite(SSL* ssl, TlsSuite* suite) {
  const uint16_t code = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
  for (TlsSuite one : {TlsSuite::kAes128GcmSha256, TlsSuite::kAes256GcmSha384,
                       TlsSuite::kChaCha20Poly1305Sha256}) {
    *suite = one;
    if (TlsSuiteCode(one) == code) return true;
  }
  return false;
}

// The alert that a client gets whose first words OpenSSL leaves without one; kNone for those who
// speak HTTP, or an alert of their own.
TlsAlert AlertForFirstWords(unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST ||
      reason >= SSL_AD_REASON_OFFSET) {
    return TlsAlert::kNone;
  }
  return error == 0 ? TlsAlert::kIllegalParameter : TlsAlert::kUnexpectedMessage;
}

// What the macro SSL_set_tlsext_host_name does, with a cast that C++ has.
void SetServerName(SSL* ssl, std::string name) {
  SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
}

int BioRead(BIO* bio, char* to, int length) {
  BIO_clear_retry_flags(bio);
  int n = static_cast<TlsBio*>(BIO_get_data(bio))->Read(to, length);
  if (n <= 0) BIO_set_retry_read(bio);
  return n;
}

int BioWrite(BIO* bio, const char* from, int length) {
  BIO_clear_retry_flags(bio);
  return static_cast<TlsBio*>(BIO_get_data(bio))->Write(from, length);
}

long BioControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* Method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "relay buffers");
    CHECK(made != nullptr);
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

}  // namespace

std::string TlsHandshakeTooLong(size_t allowed) {
  return "the handshake is longer than " + std::to_string(allowed) + " bytes";
}

size_t TlsSpill::Take(std::span<uint8_t> out) {
  const size_t n = std::min(size(), out.size());
  if (n == 0) return 0;
  std::memcpy(out.data(), bytes_.data() + at_, n);
  at_ += n;
  if (at_ == bytes_.size()) {
    bytes_ = {};
    at_ = 0;
  }
  return n;
}

// --- A connection -----------------------------------------------------------------------------

TlsOpenSsl::TlsOpenSsl(const Shared& shared, TlsSpill* spill, bool is_server)
    : shared_(shared), spill_(spill), is_server_(is_server) {}

TlsOpenSsl::~TlsOpenSsl() {
  if (ssl_ == nullptr) return;
  // Without this OpenSSL takes the end for an abortive one and drops the session it cached.
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SetTlsCapture(ssl_, nullptr);
  SSL_free(ssl_);
}

std::unique_ptr<TlsOpenSsl> TlsOpenSsl::Server(const Shared& shared, TlsSpill* spill,
                                               std::shared_ptr<const TlsServerContext> context) {
  std::unique_ptr<TlsOpenSsl> made(new TlsOpenSsl(shared, spill, true));
  made->ssl_ = SSL_new(context->native());
  if (made->ssl_ == nullptr) return nullptr;
  SSL_set_accept_state(made->ssl_);
  KeepClientNameIn(made->ssl_, &made->client_name_);
  if (context->take_over()) made->Capture();
  made->server_ = std::move(context);
  return made;
}

std::unique_ptr<TlsOpenSsl> TlsOpenSsl::Client(const Shared& shared, TlsSpill* spill,
                                               std::shared_ptr<const TlsClientContext> context,
                                               const TlsPeer& peer) {
  std::unique_ptr<TlsOpenSsl> made(new TlsOpenSsl(shared, spill, false));
  made->ssl_ = SSL_new(context->native());
  SSL* ssl = made->ssl_;
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl);
  if (!peer.server_name.empty()) SetServerName(ssl, peer.server_name);
  if (context->verify() && !peer.verify_name.empty()) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl, peer.verify_name.c_str()) != 1) return nullptr;
  }
  if (!peer.session_key.empty()) {
    // A session vouches for a verified name, so it is bound to that as well.
    made->session_key_ = peer.session_key + '\n' + peer.server_name + '\n' + peer.verify_name;
    if (SSL_SESSION* earlier = context->TakeSession(made->session_key_)) {
      SSL_set_session(ssl, earlier);
      SSL_SESSION_free(earlier);
    }
  }
  if (context->take_over()) made->Capture();
  TlsClientContext::StoreSessionsOf(ssl, &made->session_key_);
  made->client_ = std::move(context);
  return made;
}

void TlsOpenSsl::Capture() {
  capture_.emplace();
  capture_->is_server = is_server_;
  SetTlsCapture(ssl_, &*capture_);
}

void TlsOpenSsl::Feed(std::span<uint8_t>* in, TlsRecordLayer* layer, TlsFeed* feed,
                      TlsPlaintext* plain) {
  ERR_clear_error();
  shared_.bio->Attach(this, *in, {});
  if (state_ == TlsState::kHandshaking) Handshake(layer, feed);
  if (!left()) Read(layer, feed, plain);
  *in = shared_.bio->unread();
  shared_.bio->Detach();
}

void TlsOpenSsl::Handshake(TlsRecordLayer* layer, TlsFeed* feed) {
  size_t before = shared_.bio->unread().size();
  int result = 0;
  {
    TlsOverhear secrets(capture_ ? &*capture_ : nullptr);
    result = SSL_do_handshake(ssl_);
  }
  handshake_bytes_ += before - shared_.bio->unread().size();
  if (result == 1) {
    feed->handshake_done = true;
    state_ = TlsState::kOpen;
    resumed_ = SSL_session_reused(ssl_) == 1;
    OnHandshakeDone(layer);
    return;
  }
  if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ && shared_.bio->unread().empty()) {
    const bool answered = wrote_ || !is_server_;
    const size_t allowed = answered ? kTlsHandshakeBytesMax : kTlsHelloBytesMax;
    if (handshake_bytes_ <= allowed) return;
    error_ = TlsHandshakeTooLong(allowed);
  }
  if (is_server_ && !wrote_) {
    const TlsAlert alert = AlertForFirstWords(ERR_peek_error());
    if (alert != TlsAlert::kNone) AppendBytes(&spill_->bytes(), PlainTlsAlert(alert));
  }
  Fail();
}

void TlsOpenSsl::Fail() {
  const bool handshaking = state_ == TlsState::kHandshaking;
  if (error_.empty()) {
    long verify = SSL_get_verify_result(ssl_);
    error_ = TakeOpenSslError();
    if (handshaking && verify != X509_V_OK) {
      error_ += std::string(": ") + X509_verify_cert_error_string(verify);
    }
  }
  ERR_clear_error();
  state_ = TlsState::kFailed;
}

void TlsOpenSsl::OnHandshakeDone(TlsRecordLayer* layer) {
  facts_ = CollectTlsFacts(ssl_);
  BindChannel();
  if (!capture_) {
    Decide(TlsTakeOver::kOff);
    return;
  }
  // A client stays until the first data: its tickets come before that, and only OpenSSL can make
  // sessions of them. With another version there is nothing to wait for.
  bool wait = !is_server_ && SSL_version(ssl_) == TLS1_3_VERSION && !session_key_.empty();
  if (!wait) TryTakeOver(layer);
}

void TlsOpenSsl::BindChannel() {
  TlsFacts& facts = *facts_;
  if (is_server_) {
    std::span<const uint8_t> known = server_->EndPointOf(ssl_);
    facts.server_end_point.assign(known.begin(), known.end());
  } else if (X509* peer = SSL_get0_peer_certificate(ssl_)) {
    facts.server_end_point = TlsServerEndPoint(peer);
  }
  TlsSuite suite{};
  if (facts.version == TLS1_3_VERSION && capture_ && FindSuite(ssl_, &suite)) {
    const TlsCapture& capture = *capture_;
    facts.exporter.resize(32);
    if (TlsExport(*shared_.records, suite,
                  std::span(capture.exporter_secret).first(capture.exporter_bytes),
                  kTlsExporterLabel, facts.exporter)) {
      return;
    }
  }
  facts.exporter = TlsExporterBinding(ssl_);
}

// The capture has served, whatever came of it.
void TlsOpenSsl::Decide(TlsTakeOver reason) {
  take_over_ = reason;
  SetTlsCapture(ssl_, nullptr);
  capture_.reset();
}

TlsTakeOver TlsOpenSsl::WhyStay(TlsSuite* suite) const {
  SSL* ssl = ssl_;
  const TlsCapture& capture = *capture_;
  if (SSL_version(ssl) != TLS1_3_VERSION) return TlsTakeOver::kNotTls13;
  if (SSL_is_init_finished(ssl) != 1) return TlsTakeOver::kNotFinished;
  if (SSL_pending(ssl) > 0 || SSL_has_pending(ssl) == 1) return TlsTakeOver::kInputPending;
  if (capture.key_update || SSL_get_key_update_type(ssl) != SSL_KEY_UPDATE_NONE) {
    return TlsTakeOver::kKeyUpdate;
  }
  if (SSL_get_shutdown(ssl) != 0) return TlsTakeOver::kShutdown;
  if (SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED) return TlsTakeOver::kEarlyData;
  if (!FindSuite(ssl, suite)) return TlsTakeOver::kUnknownSuite;
  size_t secret_bytes = TlsSecretBytes(*suite);
  if (capture.bad || capture.client_bytes != secret_bytes || capture.server_bytes != secret_bytes) {
    return TlsTakeOver::kNoSecrets;
  }
  if (capture.tx_records != capture.tx_records_on_wire || capture.header_bytes != 0 ||
      capture.body_left != 0) {
    return TlsTakeOver::kSequenceMismatch;
  }
  return TlsTakeOver::kTaken;
}

void TlsOpenSsl::TryTakeOver(TlsRecordLayer* layer) {
  TlsSuite suite{};
  TlsTakeOver reason = WhyStay(&suite);
  if (reason == TlsTakeOver::kTaken) {
    const TlsCapture& capture = *capture_;
    std::span<const uint8_t> client = std::span(capture.client_secret).first(capture.client_bytes);
    std::span<const uint8_t> server = std::span(capture.server_secret).first(capture.server_bytes);
    if (!layer->Start(*shared_.records, suite, !is_server_, is_server_ ? client : server,
                      is_server_ ? server : client, capture.rx_records, capture.tx_records,
                      MaxPlaintext(ssl_))) {
      reason = TlsTakeOver::kNoResources;
    }
  }
  Decide(reason);
  if (reason != TlsTakeOver::kTaken) return;
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(std::exchange(ssl_, nullptr));
  server_.reset();
  client_.reset();
}

void TlsOpenSsl::Read(TlsRecordLayer* layer, TlsFeed* feed, TlsPlaintext* plain) {
  if (state_ != TlsState::kOpen) return;
  TlsStaging* staging = shared_.records->GetStaging(kTlsMaxRecordBytes);
  if (staging == nullptr) {
    error_ = "no memory to decrypt into";
    Fail();
    return;
  }
  size_t room = TlsRecordPool::StagingCapacity(*staging);
  while (staging->used < room) {
    size_t n = 0;
    int result = SSL_read_ex(ssl_, staging->data() + staging->used, room - staging->used, &n);
    if (result == 1) {
      staging->used += static_cast<uint32_t>(n);
      bool candidate = capture_ && SSL_has_pending(ssl_) == 0;
      if (candidate) TryTakeOver(layer);
      if (left()) break;
      continue;
    }
    int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_ZERO_RETURN) {
      state_ = TlsState::kPeerClosed;
    } else if (error != SSL_ERROR_WANT_READ || !shared_.bio->unread().empty()) {
      Fail();  // it never waits for input before it has read all that is there
    }
    break;
  }
  if (!left() && state_ == TlsState::kOpen && staging->used == room &&
      (SSL_has_pending(ssl_) == 1 || !shared_.bio->unread().empty())) {
    feed->next = TlsNext::kAgain;
  }
  if (staging->used == 0) {
    shared_.records->ReturnStaging(staging);
    return;
  }
  plain->Add({staging->data(), staging->used}, false);
  layer->Adopt(staging);
}

TlsSealed TlsOpenSsl::Write(std::span<const std::span<const uint8_t>> parts,
                            std::span<uint8_t> out) {
  TlsSealed sealed;
  bool open = state_ == TlsState::kOpen || state_ == TlsState::kPeerClosed;
  if (!open || close_sent_) return sealed;
  ERR_clear_error();
  TlsBio& bio = *shared_.bio;
  bio.Attach(this, {}, out);
  TlsInput input(parts);
  while (input.remaining() > 0 && out.size() - bio.produced() > kOpenSslOverhead) {
    size_t room = out.size() - bio.produced() - kOpenSslOverhead;
    std::span<const uint8_t> piece = input.Next(std::min(room, kTlsMaxPlaintext));
    size_t n = 0;
    // Nothing blocks: what does not fit spills. So a record is written whole or fails.
    if (SSL_write_ex(ssl_, piece.data(), piece.size(), &n) != 1 || n != piece.size()) {
      Fail();
      break;
    }
    sealed.consumed += n;
  }
  sealed.produced = bio.produced();
  bio.Detach();
  return sealed;
}

void TlsOpenSsl::Shutdown() {
  if (close_sent_ || state_ == TlsState::kFailed) return;
  if (state_ == TlsState::kHandshaking) {
    error_ = "closed during the handshake";
    Fail();
    return;
  }
  ERR_clear_error();
  shared_.bio->Attach(this, {}, {});
  SSL_shutdown(ssl_);
  shared_.bio->Detach();
  ERR_clear_error();
  close_sent_ = true;
}

// --- The BIO ----------------------------------------------------------------------------------

TlsBio::TlsBio() {
  bio_ = BIO_new(Method());
  if (bio_ == nullptr) return;
  BIO_set_data(bio_, this);
  BIO_set_init(bio_, 1);
}

TlsBio::~TlsBio() { BIO_free(bio_); }

void TlsBio::Attach(TlsOpenSsl* session, std::span<uint8_t> in, std::span<uint8_t> out) {
  DCHECK(session_ == nullptr);
  session_ = session;
  in_ = in;
  out_ = out;
  produced_ = 0;
  if (session->capture_) session->capture_->count_wire = session->capture_->own_key_set();
  BIO_up_ref(bio_);  // SSL_set_bio takes one reference for both directions
  SSL_set_bio(session->ssl_, bio_, bio_);
}

void TlsBio::Detach() {
  if (session_->ssl_ != nullptr) SSL_set_bio(session_->ssl_, nullptr, nullptr);
  session_ = nullptr;
  in_ = {};
  out_ = {};
}

int TlsBio::Read(char* to, int length) {
  size_t n = std::min(static_cast<size_t>(length), in_.size());
  if (n == 0) return -1;
  std::memcpy(to, in_.data(), n);
  in_ = in_.subspan(n);
  return static_cast<int>(n);
}

int TlsBio::Write(const char* from, int length) {
  if (length <= 0) return 0;
  TlsSpill& spill = *session_->spill_;
  session_->wrote_ = true;
  std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(from),
                                 static_cast<size_t>(length));
  if (spill.size() + bytes.size() > TlsSpill::kMax) return -1;
  if (session_->capture_) session_->capture_->OnWire(bytes);
  size_t direct = spill.size() > 0 ? 0 : std::min(bytes.size(), out_.size());
  if (direct > 0) std::memcpy(out_.data(), bytes.data(), direct);
  out_ = out_.subspan(direct);
  produced_ += direct;
  spill.bytes().insert(spill.bytes().end(), bytes.begin() + static_cast<long>(direct), bytes.end());
  return length;
}

}  // namespace net
