#include "net/tls/tls_engine.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <new>
#include <utility>

#include "net/base/byte_writer.h"
#include "net/base/check.h"
#include "net/tls/record/tls_capture.h"
#include "net/tls/tls_handshake.h"
#include "net/tls/tls_openssl.h"

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

std::string TooLong(size_t allowed) {
  return "the handshake is longer than " + std::to_string(allowed) + " bytes";
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

}  // namespace

std::string_view ToString(TlsState state) {
  switch (state) {
    case TlsState::kHandshaking:
      return "handshaking";
    case TlsState::kOpen:
      return "open";
    case TlsState::kPeerClosed:
      return "peer closed";
    case TlsState::kFailed:
      return "failed";
  }
  return "?";
}

std::string_view ToString(TlsTakeOver reason) {
  switch (reason) {
    case TlsTakeOver::kPending:
      return "pending";
    case TlsTakeOver::kTaken:
      return "taken";
    case TlsTakeOver::kOff:
      return "off";
    case TlsTakeOver::kNotTls13:
      return "not_tls13";
    case TlsTakeOver::kNotFinished:
      return "not_finished";
    case TlsTakeOver::kInputPending:
      return "input_pending";
    case TlsTakeOver::kKeyUpdate:
      return "key_update";
    case TlsTakeOver::kShutdown:
      return "shutdown";
    case TlsTakeOver::kEarlyData:
      return "early_data";
    case TlsTakeOver::kUnknownSuite:
      return "unknown_suite";
    case TlsTakeOver::kNoSecrets:
      return "no_secrets";
    case TlsTakeOver::kSequenceMismatch:
      return "sequence_mismatch";
    case TlsTakeOver::kNoResources:
      return "no_resources";
  }
  return "?";
}

// --- TlsWorker --------------------------------------------------------------------------------

union TlsWorker::Slot {
  Slot* next;
  alignas(TlsEngine) std::byte engine[sizeof(TlsEngine)];
};

TlsWorker::TlsWorker() : bio_(std::make_unique<TlsBio>()) {}
TlsWorker::~TlsWorker() { CHECK(engines_ == 0); }

std::expected<std::unique_ptr<TlsWorker>, std::string> TlsWorker::Create() {
  std::unique_ptr<TlsWorker> worker(new TlsWorker);
  auto records = TlsRecordPool::Create();
  if (!records) return std::unexpected(records.error());
  worker->records_ = std::move(*records);
  if (!worker->bio_->ok()) return std::unexpected("OpenSSL: " + TakeOpenSslError());
  worker->handshaker_ = std::make_unique<TlsHandshaker>(worker->records_.get());
  if (!worker->handshaker_->ok()) worker->handshaker_.reset();  // then OpenSSL does them all
  ERR_clear_error();
  return worker;
}

TlsEngine* TlsWorker::Allocate() {
  if (free_ == nullptr) {
    chunks_.push_back(std::make_unique<Slot[]>(kChunk));
    for (size_t i = kChunk; i-- > 0;) {
      Slot* slot = &chunks_.back()[i];
      slot->next = free_;
      free_ = slot;
    }
  }
  Slot* slot = free_;
  free_ = slot->next;
  ++engines_;
  return new (slot->engine) TlsEngine(this);
}

void TlsEngineDeleter::operator()(TlsEngine* engine) const {
  TlsWorker* worker = engine->worker_;
  engine->~TlsEngine();
  auto* slot = reinterpret_cast<TlsWorker::Slot*>(engine);
  slot->next = worker->free_;
  worker->free_ = slot;
  --worker->engines_;
}

TlsEnginePtr TlsWorker::NewServer(std::shared_ptr<const TlsServerContext> context) {
  TlsEnginePtr engine(Allocate());
  engine->openssl_ = std::make_unique<TlsOpenSsl>();
  TlsOpenSsl& session = *engine->openssl_;
  session.is_server = true;
  session.server = std::move(context);
  ++handshaking_;
  const bool enabled = session.server->plan().enabled;
  if (enabled && handshaker_ != nullptr) {
    session.handshake = std::make_unique<TlsHandshake>(&session.server->plan());
    return engine;
  }
  const TlsDecline reason = enabled ? TlsDecline::kNoResources : TlsDecline::kOff;
  ++counters_.declined[static_cast<size_t>(reason)];
  if (!engine->BeginOpenSsl()) return nullptr;
  return engine;
}

TlsEnginePtr TlsWorker::NewClient(std::shared_ptr<const TlsClientContext> context,
                                  const TlsPeer& peer) {
  SSL* ssl = SSL_new(context->native());
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl);
  TlsEnginePtr engine(Allocate());
  engine->openssl_ = std::make_unique<TlsOpenSsl>();
  TlsOpenSsl& session = *engine->openssl_;
  session.ssl = ssl;
  session.is_server = false;
  ++handshaking_;
  ++on_openssl_;
  if (!peer.server_name.empty()) SetServerName(ssl, peer.server_name);
  if (context->verify() && !peer.verify_name.empty()) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl, peer.verify_name.c_str()) != 1) return nullptr;
  }
  if (!peer.session_key.empty()) {
    // A session vouches for a verified name, so it is bound to that as well.
    session.session_key = peer.session_key + '\n' + peer.server_name + '\n' + peer.verify_name;
    if (SSL_SESSION* earlier = context->TakeSession(session.session_key)) {
      SSL_set_session(ssl, earlier);
      SSL_SESSION_free(earlier);
    }
  }
  if (context->take_over()) {
    session.capture.emplace();
    session.capture->is_server = false;
    SetTlsCapture(ssl, &*session.capture);
  }
  TlsClientContext::StoreSessionsOf(ssl, &session.session_key);
  session.client = std::move(context);
  return engine;
}

void TlsWorker::EndTurn() {
  records_->EndTurn();
  if (handshaker_ != nullptr) handshaker_->EndTurn();
  ForgetTlsKdfKeys();
}

bool TlsWorker::HeapTrimDue() {
  if (handshaking_ > 0 || ended_handshakes_ < kTrimAfter) return false;
  ended_handshakes_ = 0;
  return true;
}

// --- TlsEngine --------------------------------------------------------------------------------

TlsEngine::TlsEngine(TlsWorker* worker) : worker_(worker) {}

TlsEngine::~TlsEngine() {
  if (OnOpenSsl()) --worker_->on_openssl_;
  if (openssl_ != nullptr && openssl_->state == TlsState::kHandshaking) {
    CountFailedHandshake();
  }
  records_.End(*worker_->records_);
}

bool TlsEngine::waits_lightly() const {
  return openssl_ != nullptr && openssl_->handshake != nullptr && openssl_->handshake->answered();
}

bool TlsEngine::OnOpenSsl() const { return openssl_ != nullptr && openssl_->ssl != nullptr; }

bool TlsEngine::OnRecords() const {
  return openssl_ == nullptr || (openssl_->ssl == nullptr && openssl_->handshake == nullptr);
}

TlsState TlsEngine::state() const {
  if (!OnRecords()) return openssl_->state;
  switch (records_.status()) {
    case TlsRecordStatus::kOpen:
      return TlsState::kOpen;
    case TlsRecordStatus::kPeerClosed:
      return TlsState::kPeerClosed;
    case TlsRecordStatus::kFailed:
      break;
  }
  return TlsState::kFailed;
}

TlsTakeOver TlsEngine::take_over() const {
  return openssl_ == nullptr ? TlsTakeOver::kTaken : openssl_->reason;
}

bool TlsEngine::wants_output() const {
  if (openssl_ != nullptr && openssl_->spilled() > 0) return true;
  return OnRecords() && records_.wants_output();
}

bool TlsEngine::closed() const {
  if (wants_output()) return false;
  TlsState now = state();
  if (now == TlsState::kFailed) return true;
  bool sent = OnRecords() ? records_.close_sent() : openssl_->close_sent;
  return sent && now == TlsState::kPeerClosed;
}

std::unique_ptr<TlsFacts> TlsEngine::TakeFacts() {
  if (openssl_ == nullptr) return nullptr;
  std::unique_ptr<TlsFacts> facts = std::move(openssl_->facts);
  DropOpenSslIfUnused();
  return facts;
}

void TlsEngine::DropOpenSslIfUnused() {
  if (openssl_ != nullptr && OnRecords() && openssl_->spilled() == 0 &&
      openssl_->facts == nullptr) {
    openssl_.reset();
  }
}

std::string TlsEngine::ErrorText() const {
  if (!OnRecords()) return openssl_->error;
  if (records_.alert_received() != 255) {
    return "peer sent alert " + std::to_string(records_.alert_received());
  }
  if (records_.alert_sent() != TlsAlert::kNone) return std::string(ToString(records_.alert_sent()));
  return "";
}

void TlsEngine::Release() { records_.Release(*worker_->records_); }

TlsFeed TlsEngine::Feed(std::span<uint8_t> in, TlsPlaintext* plain) {
  Release();
  plain->Clear();
  TlsFeed feed;
  std::span<uint8_t> rest = in;
  feed.next = TlsNext::kInput;
  if (openssl_ != nullptr && openssl_->handshake != nullptr) FeedOwnHandshake(&rest, &feed);
  if (OnOpenSsl()) FeedOpenSsl(&rest, &feed, plain);
  if (OnRecords()) {
    bool was_failed = records_.status() == TlsRecordStatus::kFailed;
    TlsRecordStatus status = records_.FeedMore(*worker_->records_, rest, plain);
    if (status == TlsRecordStatus::kFailed && !was_failed) ++worker_->counters_.records_failed;
    rest = {};
    feed.next = TlsNext::kInput;
  }
  feed.state = state();
  if (feed.state == TlsState::kPeerClosed || feed.state == TlsState::kFailed) {
    rest = {};  // what stands behind the end is nobody's
    feed.next = TlsNext::kOver;
  }
  feed.consumed = in.size() - rest.size();
  // A driver that breaks this would have the caller loop for ever.
  CHECK(feed.next == TlsNext::kAgain ? feed.consumed > 0 || plain->bytes > 0 : rest.empty());
  return feed;
}

void TlsEngine::FeedOpenSsl(std::span<uint8_t>* in, TlsFeed* feed, TlsPlaintext* plain) {
  ERR_clear_error();
  worker_->bio_->Attach(openssl_.get(), *in, {});
  if (openssl_->state == TlsState::kHandshaking) Handshake(feed);
  if (OnOpenSsl()) ReadOpenSsl(feed, plain);
  *in = worker_->bio_->unread();
  worker_->bio_->Detach();
}

void TlsEngine::FeedOwnHandshake(std::span<uint8_t>* in, TlsFeed* feed) {
  TlsOpenSsl& session = *openssl_;
  const std::span<uint8_t> all = *in;
  if (session.state == TlsState::kFailed) {
    *in = {};
  } else {
    switch (session.handshake->Feed(*worker_->handshaker_, in, &session.spill)) {
      case TlsHandshakeStep::kNeedMore:
      case TlsHandshakeStep::kAnswered:
        session.handshake_bytes += all.size() - in->size();
        if (session.handshake_bytes > kHandshakeBytesMax) {
          FailOwnHandshake(TooLong(kHandshakeBytesMax));
        }
        break;
      case TlsHandshakeStep::kDone:
        EndOwnHandshake(feed);
        break;
      case TlsHandshakeStep::kFailed:
        FailOwnHandshake(session.handshake->error());
        *in = {};
        break;
      case TlsHandshakeStep::kDeclined:
        DeclineOwnHandshake(feed);
        break;
    }
  }
}

void TlsEngine::EndOwnHandshake(TlsFeed* feed) {
  TlsOpenSsl& session = *openssl_;
  records_.Start(session.handshake->records());
  session.facts = session.handshake->Facts(*worker_->handshaker_);
  EndHandshake(feed, session.facts->resumed);
  session.reason = TlsTakeOver::kTaken;
  ++worker_->counters_.take_over[static_cast<size_t>(TlsTakeOver::kTaken)];
  session.handshake.reset();
  session.server.reset();
}

// OpenSSL hears what has been said so far.
void TlsEngine::DeclineOwnHandshake(TlsFeed* feed) {
  const std::unique_ptr<TlsHandshake> declined = std::move(openssl_->handshake);
  ++worker_->counters_.declined[static_cast<size_t>(declined->declined())];
  if (!BeginOpenSsl()) {
    openssl_->handshake = std::make_unique<TlsHandshake>(nullptr);  // something that is not open
    FailOwnHandshake("OpenSSL: " + TakeOpenSslError());
    return;
  }
  openssl_->handshake_bytes = 0;  // counted again as it hears them
  if (declined->received().empty()) return;
  ERR_clear_error();
  worker_->bio_->Attach(openssl_.get(), declined->received(), {});
  Handshake(feed);
  worker_->bio_->Detach();
}

void TlsEngine::FailOwnHandshake(std::string error) {
  openssl_->error = std::move(error);
  openssl_->state = TlsState::kFailed;
  CountFailedHandshake();
}

void TlsEngine::CountFailedHandshake() {
  --worker_->handshaking_;
  ++worker_->ended_handshakes_;
  ++worker_->counters_.handshakes_failed;
}

bool TlsEngine::BeginOpenSsl() {
  TlsOpenSsl& session = *openssl_;
  session.ssl = SSL_new(session.server->native());
  if (session.ssl == nullptr) return false;
  ++worker_->on_openssl_;
  SSL_set_accept_state(session.ssl);
  KeepClientNameIn(session.ssl, &session.client_name);
  if (session.server->take_over()) {
    session.capture.emplace();
    SetTlsCapture(session.ssl, &*session.capture);
  }
  return true;
}

void TlsEngine::EndHandshake(TlsFeed* feed, bool resumed) {
  feed->handshake_done = true;
  openssl_->state = TlsState::kOpen;
  --worker_->handshaking_;
  ++worker_->ended_handshakes_;
  ++(resumed ? worker_->counters_.handshakes_resumed : worker_->counters_.handshakes_full);
}

void TlsEngine::Handshake(TlsFeed* feed) {
  TlsOpenSsl& session = *openssl_;
  size_t before = worker_->bio_->unread().size();
  int result = 0;
  {
    TlsOverhear secrets(session.capture ? &*session.capture : nullptr);
    result = SSL_do_handshake(session.ssl);
  }
  session.handshake_bytes += before - worker_->bio_->unread().size();
  if (result == 1) {
    EndHandshake(feed, SSL_session_reused(session.ssl) == 1);
    OnHandshakeDone();
    return;
  }
  if (SSL_get_error(session.ssl, result) == SSL_ERROR_WANT_READ &&
      worker_->bio_->unread().empty()) {
    const bool answered = session.wrote || !session.is_server;
    const size_t allowed = answered ? kHandshakeBytesMax : kHelloBytesMax;
    if (session.handshake_bytes <= allowed) return;
    session.error = TooLong(allowed);
  }
  FailOpenSsl();
}

void TlsEngine::FailOpenSsl() {
  TlsOpenSsl& session = *openssl_;
  bool handshaking = session.state == TlsState::kHandshaking;
  if (handshaking) {
    CountFailedHandshake();
  } else {
    ++worker_->counters_.records_failed;
  }
  if (handshaking && session.is_server && !session.wrote) {
    const TlsAlert alert = AlertForFirstWords(ERR_peek_error());
    if (alert != TlsAlert::kNone) AppendBytes(&session.spill, PlainTlsAlert(alert));
  }
  if (session.error.empty()) {
    long verify = SSL_get_verify_result(session.ssl);
    session.error = TakeOpenSslError();
    if (handshaking && verify != X509_V_OK) {
      session.error += std::string(": ") + X509_verify_cert_error_string(verify);
    }
  }
  ERR_clear_error();
  session.state = TlsState::kFailed;
}

void TlsEngine::OnHandshakeDone() {
  TlsOpenSsl& session = *openssl_;
  session.facts = CollectTlsFacts(session.ssl);
  BindChannel();
  if (session.facts->peer) worker_->counters_.rejected_names += session.facts->peer->rejected_names;
  if (!session.capture) {
    Decide(TlsTakeOver::kOff);
    return;
  }
  // A client stays until the first data: its tickets come before that, and only OpenSSL can make
  // sessions of them. With another version there is nothing to wait for.
  bool wait = !session.is_server && SSL_version(session.ssl) == TLS1_3_VERSION &&
              !session.session_key.empty();
  if (!wait) TryTakeOver();
}

void TlsEngine::BindChannel() {
  TlsOpenSsl& session = *openssl_;
  TlsFacts& facts = *session.facts;
  if (session.is_server) {
    std::span<const uint8_t> known = session.server->EndPointOf(session.ssl);
    facts.server_end_point.assign(known.begin(), known.end());
  } else if (X509* peer = SSL_get0_peer_certificate(session.ssl)) {
    facts.server_end_point = TlsServerEndPoint(peer);
  }
  TlsSuite suite{};
  if (facts.version == TLS1_3_VERSION && session.capture && FindSuite(session.ssl, &suite)) {
    const TlsCapture& capture = *session.capture;
    facts.exporter.resize(32);
    if (TlsExport(*worker_->records_, suite,
                  std::span(capture.exporter_secret).first(capture.exporter_bytes),
                  kTlsExporterLabel, facts.exporter)) {
      return;
    }
  }
  facts.exporter = TlsExporterBinding(session.ssl);
}

// The capture has served, whatever came of it.
void TlsEngine::Decide(TlsTakeOver reason) {
  openssl_->reason = reason;
  ++worker_->counters_.take_over[static_cast<size_t>(reason)];
  SetTlsCapture(openssl_->ssl, nullptr);
  openssl_->capture.reset();
}

TlsTakeOver TlsEngine::WhyStay(TlsSuite* suite) const {
  SSL* ssl = openssl_->ssl;
  const TlsCapture& capture = *openssl_->capture;
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

void TlsEngine::TryTakeOver() {
  TlsSuite suite{};
  TlsTakeOver reason = WhyStay(&suite);
  if (reason == TlsTakeOver::kTaken) {
    TlsOpenSsl& session = *openssl_;
    const TlsCapture& capture = *session.capture;
    std::span<const uint8_t> client = std::span(capture.client_secret).first(capture.client_bytes);
    std::span<const uint8_t> server = std::span(capture.server_secret).first(capture.server_bytes);
    if (!records_.Start(*worker_->records_, suite, !session.is_server,
                        session.is_server ? client : server, session.is_server ? server : client,
                        capture.rx_records, capture.tx_records, MaxPlaintext(session.ssl))) {
      reason = TlsTakeOver::kNoResources;
    }
  }
  Decide(reason);
  if (reason != TlsTakeOver::kTaken) return;
  TlsOpenSsl& session = *openssl_;
  SSL_set_shutdown(session.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(std::exchange(session.ssl, nullptr));
  session.server.reset();
  session.client.reset();
  --worker_->on_openssl_;
}

void TlsEngine::ReadOpenSsl(TlsFeed* feed, TlsPlaintext* plain) {
  TlsOpenSsl& session = *openssl_;
  if (session.state != TlsState::kOpen) return;
  TlsStaging* staging = worker_->records_->GetStaging(kTlsMaxRecordBytes);
  if (staging == nullptr) {
    session.error = "no memory to decrypt into";
    FailOpenSsl();
    return;
  }
  size_t room = TlsRecordPool::StagingCapacity(*staging);
  while (staging->used < room) {
    size_t n = 0;
    int result =
        SSL_read_ex(session.ssl, staging->data() + staging->used, room - staging->used, &n);
    if (result == 1) {
      staging->used += static_cast<uint32_t>(n);
      bool candidate = session.capture && SSL_has_pending(session.ssl) == 0;
      if (candidate) TryTakeOver();
      if (!OnOpenSsl()) break;
      continue;
    }
    int error = SSL_get_error(session.ssl, result);
    if (error == SSL_ERROR_ZERO_RETURN) {
      session.state = TlsState::kPeerClosed;
    } else if (error != SSL_ERROR_WANT_READ || !worker_->bio_->unread().empty()) {
      FailOpenSsl();  // it never waits for input before it has read all that is there
    }
    break;
  }
  if (OnOpenSsl() && session.state == TlsState::kOpen && staging->used == room &&
      (SSL_has_pending(session.ssl) == 1 || !worker_->bio_->unread().empty())) {
    feed->next = TlsNext::kAgain;
  }
  if (staging->used == 0) {
    worker_->records_->ReturnStaging(staging);
    return;
  }
  plain->Add({staging->data(), staging->used}, false);
  records_.Adopt(staging);
}

TlsSealed TlsEngine::Write(std::span<const std::span<const uint8_t>> parts,
                           std::span<uint8_t> out) {
  TlsSealed sealed;
  if (openssl_ != nullptr && openssl_->spilled() > 0) {
    sealed.produced = Flush(out);
    if (openssl_ != nullptr && openssl_->spilled() > 0) return sealed;
    out = out.subspan(sealed.produced);
  }
  TlsSealed more;
  if (OnRecords()) {
    more = records_.Write(*worker_->records_, parts, out);
  } else if (OnOpenSsl()) {
    more = WriteOpenSsl(parts, out);
  }
  return {.consumed = more.consumed, .produced = sealed.produced + more.produced};
}

TlsSealed TlsEngine::WriteOpenSsl(std::span<const std::span<const uint8_t>> parts,
                                  std::span<uint8_t> out) {
  TlsSealed sealed;
  TlsOpenSsl& session = *openssl_;
  bool open = session.state == TlsState::kOpen || session.state == TlsState::kPeerClosed;
  if (!open || session.close_sent) return sealed;
  ERR_clear_error();
  TlsBio& bio = *worker_->bio_;
  bio.Attach(&session, {}, out);
  TlsInput input(parts);
  while (input.remaining() > 0 && out.size() - bio.produced() > kOpenSslOverhead) {
    size_t room = out.size() - bio.produced() - kOpenSslOverhead;
    std::span<const uint8_t> piece = input.Next(std::min(room, kTlsMaxPlaintext));
    size_t n = 0;
    // Nothing blocks: what does not fit spills. So a record is written whole or fails.
    if (SSL_write_ex(session.ssl, piece.data(), piece.size(), &n) != 1 || n != piece.size()) {
      FailOpenSsl();
      break;
    }
    sealed.consumed += n;
  }
  sealed.produced = bio.produced();
  bio.Detach();
  return sealed;
}

size_t TlsEngine::Flush(std::span<uint8_t> out) {
  size_t produced = 0;
  if (openssl_ != nullptr && openssl_->spilled() > 0) {
    produced = openssl_->TakeSpill(out);
    if (openssl_->spilled() > 0) return produced;
    DropOpenSslIfUnused();
  }
  if (OnRecords()) produced += records_.Flush(*worker_->records_, out.subspan(produced));
  return produced;
}

void TlsEngine::Shutdown() {
  if (OnRecords()) {
    records_.Close();
    return;
  }
  TlsOpenSsl& session = *openssl_;
  if (session.close_sent || session.state == TlsState::kFailed) return;
  if (session.handshake != nullptr) {
    FailOwnHandshake("closed during the handshake");
    return;
  }
  if (session.state == TlsState::kHandshaking) {
    session.error = "closed during the handshake";
    FailOpenSsl();
    return;
  }
  ERR_clear_error();
  worker_->bio_->Attach(&session, {}, {});
  SSL_shutdown(session.ssl);
  worker_->bio_->Detach();
  ERR_clear_error();
  session.close_sent = true;
}

}  // namespace net
