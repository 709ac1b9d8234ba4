#include "net/tls/tls_engine.h"

#include <openssl/err.h>

#include <algorithm>
#include <new>
#include <utility>

#include "net/base/check.h"
#include "net/tls/tls_handshake.h"
#include "net/tls/tls_openssl.h"

namespace net {

// What a connection has until it rests in the record layer.
struct TlsSession {
  TlsDriver driver = TlsDriver::kOpenSsl;
  TlsState state = TlsState::kHandshaking;  // of the first two drivers
  TlsTakeOver take_over = TlsTakeOver::kPending;
  TlsSpill spill;
  std::unique_ptr<TlsHandshake> handshake;         // kOwnHandshake
  std::shared_ptr<const TlsServerContext> server;  // of it
  std::unique_ptr<TlsOpenSsl> openssl;             // kOpenSsl; null when it could not be had
  size_t handshake_bytes = 0;
  std::unique_ptr<TlsFacts> facts;
  std::string error;
};

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
  engine->session_ = std::make_unique<TlsSession>();
  ++handshaking_;
  const bool enabled = context->plan().enabled;
  if (enabled && handshaker_ != nullptr) {
    TlsSession& session = *engine->session_;
    session.driver = TlsDriver::kOwnHandshake;
    session.handshake = std::make_unique<TlsHandshake>(&context->plan());
    session.server = std::move(context);
    return engine;
  }
  const TlsDecline reason = enabled ? TlsDecline::kNoResources : TlsDecline::kOff;
  ++counters_.declined[static_cast<size_t>(reason)];
  if (!engine->BeginOpenSsl(std::move(context))) return nullptr;
  return engine;
}

TlsEnginePtr TlsWorker::NewClient(std::shared_ptr<const TlsClientContext> context,
                                  const TlsPeer& peer) {
  TlsEnginePtr engine(Allocate());
  engine->session_ = std::make_unique<TlsSession>();
  ++handshaking_;
  TlsSession& session = *engine->session_;
  session.openssl =
      TlsOpenSsl::Client({bio_.get(), records_.get()}, &session.spill, std::move(context), peer);
  if (session.openssl == nullptr) return nullptr;
  ++on_openssl_;
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
  if (session_ != nullptr && session_->openssl != nullptr) --worker_->on_openssl_;
  if (session_ != nullptr && session_->state == TlsState::kHandshaking) CountFailedHandshake();
  records_.End(*worker_->records_);
}

bool TlsEngine::waits_lightly() const {
  return driver() == TlsDriver::kOwnHandshake && session_->handshake->answered();
}

TlsDriver TlsEngine::driver() const {
  return session_ == nullptr ? TlsDriver::kRecords : session_->driver;
}

TlsState TlsEngine::state() const {
  if (driver() != TlsDriver::kRecords) return session_->state;
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
  return session_ == nullptr ? TlsTakeOver::kTaken : session_->take_over;
}

bool TlsEngine::wants_output() const {
  if (session_ != nullptr && session_->spill.size() > 0) return true;
  return driver() == TlsDriver::kRecords && records_.wants_output();
}

bool TlsEngine::closed() const {
  if (wants_output()) return false;
  TlsState now = state();
  if (now == TlsState::kFailed) return true;
  if (now != TlsState::kPeerClosed) return false;
  return driver() == TlsDriver::kRecords ? records_.close_sent() : session_->openssl->close_sent();
}

std::unique_ptr<TlsFacts> TlsEngine::TakeFacts() {
  if (session_ == nullptr) return nullptr;
  std::unique_ptr<TlsFacts> facts = std::move(session_->facts);
  DropSessionIfUnused();
  return facts;
}

void TlsEngine::DropSessionIfUnused() {
  if (session_ != nullptr && driver() == TlsDriver::kRecords && session_->spill.size() == 0 &&
      session_->facts == nullptr) {
    session_.reset();
  }
}

std::string TlsEngine::ErrorText() const {
  if (driver() != TlsDriver::kRecords) return session_->error;
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
  // Each may hand the rest to the next.
  if (driver() == TlsDriver::kOwnHandshake) FeedOwnHandshake(&rest, &feed, plain);
  if (driver() == TlsDriver::kOpenSsl) FeedOpenSsl(&rest, &feed, plain);
  if (driver() == TlsDriver::kRecords) {
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
  TlsSession& session = *session_;
  if (session.state == TlsState::kPeerClosed || session.state == TlsState::kFailed) return;
  session.openssl->Feed(in, &records_, feed, plain);
  if (session.state == TlsState::kHandshaking && feed->handshake_done) {
    EndHandshake(session.openssl->resumed());
    session.facts = session.openssl->TakeFacts();
    if (const auto& peer = session.facts->peer) {
      worker_->counters_.rejected_names += peer->rejected_names;
    }
  }
  AfterOpenSsl();
}

// Counts what came of a call.
void TlsEngine::AfterOpenSsl() {
  TlsSession& session = *session_;
  const TlsOpenSsl& openssl = *session.openssl;
  if (session.take_over != openssl.take_over()) {
    session.take_over = openssl.take_over();
    ++worker_->counters_.take_over[static_cast<size_t>(session.take_over)];
  }
  if (session.state != TlsState::kFailed && openssl.state() == TlsState::kFailed) {
    session.error = openssl.error();
    if (session.state == TlsState::kHandshaking) {
      CountFailedHandshake();
    } else {
      ++worker_->counters_.records_failed;
    }
  }
  session.state = openssl.state();
  if (!openssl.left()) return;
  session.driver = TlsDriver::kRecords;
  session.openssl.reset();
  --worker_->on_openssl_;
}

void TlsEngine::FeedOwnHandshake(std::span<uint8_t>* in, TlsFeed* feed, TlsPlaintext* plain) {
  TlsSession& session = *session_;
  if (session.state == TlsState::kFailed) return;
  const size_t before = in->size();
  switch (session.handshake->Feed(*worker_->handshaker_, in, &session.spill.bytes())) {
    case TlsHandshakeStep::kNeedMore:
    case TlsHandshakeStep::kAnswered:
      session.handshake_bytes += before - in->size();
      if (session.handshake_bytes > kHandshakeBytesMax) {
        FailOwnHandshake(TlsHandshakeTooLong(kHandshakeBytesMax));
      }
      break;
    case TlsHandshakeStep::kDone:
      EndOwnHandshake(feed);
      break;
    case TlsHandshakeStep::kFailed:
      FailOwnHandshake(session.handshake->error());
      break;
    case TlsHandshakeStep::kDeclined:
      DeclineOwnHandshake(feed, plain);
      break;
  }
}

void TlsEngine::EndOwnHandshake(TlsFeed* feed) {
  TlsSession& session = *session_;
  records_.Start(session.handshake->records());
  session.facts = session.handshake->Facts(*worker_->handshaker_);
  feed->handshake_done = true;
  EndHandshake(session.facts->resumed);
  session.take_over = TlsTakeOver::kTaken;
  ++worker_->counters_.take_over[static_cast<size_t>(TlsTakeOver::kTaken)];
  session.driver = TlsDriver::kRecords;
  session.handshake.reset();
  session.server.reset();
}

// OpenSSL hears what has been said so far.
void TlsEngine::DeclineOwnHandshake(TlsFeed* feed, TlsPlaintext* plain) {
  const std::unique_ptr<TlsHandshake> declined = std::move(session_->handshake);
  ++worker_->counters_.declined[static_cast<size_t>(declined->declined())];
  if (!BeginOpenSsl(std::move(session_->server))) {
    FailOwnHandshake("OpenSSL: " + TakeOpenSslError());
    return;
  }
  std::span<uint8_t> received = declined->received();
  if (!received.empty()) FeedOpenSsl(&received, feed, plain);
}

void TlsEngine::FailOwnHandshake(std::string error) {
  session_->error = std::move(error);
  session_->state = TlsState::kFailed;
  CountFailedHandshake();
}

void TlsEngine::CountFailedHandshake() {
  --worker_->handshaking_;
  ++worker_->ended_handshakes_;
  ++worker_->counters_.handshakes_failed;
}

bool TlsEngine::BeginOpenSsl(std::shared_ptr<const TlsServerContext> context) {
  TlsSession& session = *session_;
  session.driver = TlsDriver::kOpenSsl;
  session.openssl = TlsOpenSsl::Server({worker_->bio_.get(), worker_->records_.get()},
                                       &session.spill, std::move(context));
  if (session.openssl == nullptr) return false;
  ++worker_->on_openssl_;
  return true;
}

void TlsEngine::EndHandshake(bool resumed) {
  session_->state = TlsState::kOpen;
  --worker_->handshaking_;
  ++worker_->ended_handshakes_;
  ++(resumed ? worker_->counters_.handshakes_resumed : worker_->counters_.handshakes_full);
}

TlsSealed TlsEngine::Write(std::span<const std::span<const uint8_t>> parts,
                           std::span<uint8_t> out) {
  TlsSealed sealed;
  if (session_ != nullptr && session_->spill.size() > 0) {
    sealed.produced = Flush(out);
    if (session_ != nullptr && session_->spill.size() > 0) return sealed;
    out = out.subspan(sealed.produced);
  }
  TlsSealed more;
  switch (driver()) {
    case TlsDriver::kOwnHandshake:
      break;
    case TlsDriver::kOpenSsl:
      if (session_->state == TlsState::kFailed) break;
      more = session_->openssl->Write(parts, out);
      AfterOpenSsl();
      break;
    case TlsDriver::kRecords:
      more = records_.Write(*worker_->records_, parts, out);
      break;
  }
  return {.consumed = more.consumed, .produced = sealed.produced + more.produced};
}

size_t TlsEngine::Flush(std::span<uint8_t> out) {
  size_t produced = 0;
  if (session_ != nullptr && session_->spill.size() > 0) {
    produced = session_->spill.Take(out);
    if (session_->spill.size() > 0) return produced;
    DropSessionIfUnused();
  }
  if (driver() == TlsDriver::kRecords) {
    produced += records_.Flush(*worker_->records_, out.subspan(produced));
  }
  return produced;
}

void TlsEngine::Shutdown() {
  if (driver() == TlsDriver::kRecords) {
    records_.Close();
  } else if (session_->state == TlsState::kFailed) {
    // It has said what there is to say.
  } else if (driver() == TlsDriver::kOwnHandshake) {
    FailOwnHandshake("closed during the handshake");
  } else {
    session_->openssl->Shutdown();
    AfterOpenSsl();
  }
}

}  // namespace net
