#include "net/tls/record/tls_record_layer.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "net/base/check.h"

namespace net {

namespace {

// TlsRecordState::flags. The two highest bits count user_canceled alerts.
constexpr uint8_t kCloseSent = 1;          // close_notify or an alert is out
constexpr uint8_t kCloseReceived = 2;      // close_notify came
constexpr uint8_t kFailed = 4;             // either side's fatal alert
constexpr uint8_t kOweKeyUpdate = 8;       // a KeyUpdate goes out before the next data
constexpr uint8_t kAlertPending = 16;      // pending_alert waits for Flush()
constexpr uint8_t kRequestKeyUpdate = 32;  // the owed KeyUpdate asks for one in return
constexpr uint8_t kCanceledStep = 64;
constexpr uint8_t kCanceledMask = 192;

constexpr uint8_t kMaxEmpties = 32;
constexpr uint8_t kMaxControls = 32;

constexpr uint8_t kKeyUpdate = 24;
constexpr size_t kControlRecordMax = kTlsRecordOverhead + 5;

// A record shorter than this is not worth its overhead while more room is to come.
constexpr size_t kMinChunk = 1024;

uint8_t ByteAt(std::span<const uint8_t> head, std::span<const uint8_t> tail, size_t i) {
  return i < head.size() ? head[i] : tail[i - head.size()];
}

}  // namespace

std::string_view ToString(TlsRecordStatus status) {
  switch (status) {
    case TlsRecordStatus::kOpen:
      return "open";
    case TlsRecordStatus::kPeerClosed:
      return "peer closed";
    case TlsRecordStatus::kFailed:
      return "failed";
  }
  return "?";
}

void TlsPlaintext::Clear() {
  count = bytes = 0;
  last_in_input_ = false;
}

void TlsPlaintext::Add(std::span<uint8_t> span, bool in_input) {
  if (span.empty()) return;
  bytes += span.size();
  bool joinable = in_input && last_in_input_;
  last_in_input_ = in_input;
  if (!joinable || (count < kMaxSpans && span.size() > kCompactBytes)) {
    DCHECK(count < kMaxSpans);
    spans[count++] = span;
    return;
  }
  std::span<uint8_t>& last = spans[count - 1];
  std::memmove(last.data() + last.size(), span.data(), span.size());
  last = {last.data(), last.size() + span.size()};
}

bool TlsRecordLayer::Start(TlsRecordPool& pool, TlsSuite suite, bool is_client,
                           std::span<const uint8_t> rx_secret, std::span<const uint8_t> tx_secret,
                           uint64_t rx_seq, uint64_t tx_seq, size_t max_plaintext) {
  CHECK(max_plaintext > 0 && max_plaintext <= kTlsMaxPlaintext);
  if (!StartTlsRecords(pool, suite, is_client, rx_secret, tx_secret, &state_)) return false;
  state_.rx.seq = rx_seq;
  state_.tx.seq = tx_seq;
  state_.max_plaintext = static_cast<uint16_t>(max_plaintext);
  return true;
}

void TlsRecordLayer::End(TlsRecordPool& pool) {
  while (staging_ != nullptr) {
    TlsStaging* next = staging_->next;
    pool.ReturnStaging(staging_);
    staging_ = next;
  }
  OPENSSL_cleanse(&state_, sizeof(state_));
  state_.flags = kFailed | kCloseSent;
}

bool TlsRecordLayer::ended() const { return (state_.flags & (kFailed | kCloseReceived)) != 0; }

TlsRecordStatus TlsRecordLayer::status() const {
  if ((state_.flags & kFailed) != 0) return TlsRecordStatus::kFailed;
  if ((state_.flags & kCloseReceived) != 0) return TlsRecordStatus::kPeerClosed;
  return TlsRecordStatus::kOpen;
}

bool TlsRecordLayer::close_sent() const { return (state_.flags & kCloseSent) != 0; }

TlsAlert TlsRecordLayer::alert_sent() const {
  if ((state_.flags & kFailed) == 0 || (state_.flags & kCloseReceived) != 0) {
    return TlsAlert::kNone;
  }
  return static_cast<TlsAlert>(state_.pending_alert);
}

uint8_t TlsRecordLayer::alert_received() const {
  constexpr uint8_t kBoth = kFailed | kCloseReceived;
  return (state_.flags & kBoth) == kBoth ? state_.pending_alert : 255;
}

TlsRecordStatus TlsRecordLayer::Fail(TlsAlert alert) {
  if ((state_.flags & kCloseSent) == 0) state_.flags |= kAlertPending;
  state_.flags |= kFailed;
  state_.flags &= static_cast<uint8_t>(~(kOweKeyUpdate | kRequestKeyUpdate));
  state_.pending_alert = static_cast<uint8_t>(alert);
  return TlsRecordStatus::kFailed;
}

void TlsRecordLayer::FailSilently() {
  state_.flags = kFailed | kCloseSent;
  state_.pending_alert = static_cast<uint8_t>(TlsAlert::kInternalError);
  WipeTlsState(&state_);
}

// What can be said of a record before its payload is there.
TlsAlert TlsRecordLayer::CheckHeader(const uint8_t* header, size_t* payload) const {
  *payload = static_cast<size_t>(header[3]) << 8 | header[4];
  if (header[0] != static_cast<uint8_t>(TlsContentType::kApplicationData)) {
    return TlsAlert::kUnexpectedMessage;  // also change_cipher_spec and plaintext alerts
  }
  if (header[1] != 3 || header[2] != 3) return TlsAlert::kDecodeError;
  if (*payload > kTlsMaxCiphertext) return TlsAlert::kRecordOverflow;
  if (*payload < kTlsTagBytes + 1) return TlsAlert::kBadRecordMac;
  return TlsAlert::kNone;
}

void TlsRecordLayer::Release(TlsRecordPool& pool) {
  TlsStaging** link = &staging_;
  while (*link != nullptr) {
    TlsStaging* staging = *link;
    if (!staging->delivered) {
      link = &staging->next;
      continue;
    }
    *link = staging->next;
    pool.ReturnStaging(staging);
  }
}

// Appends to the partial record, moving it to a larger class when it must; the class doubles and
// more, so holding n received bytes costs at most a few times n.
bool TlsRecordLayer::Stage(TlsRecordPool& pool, std::span<const uint8_t> bytes) {
  TlsStaging* current = holds_partial_record() ? staging_ : nullptr;
  size_t used = current == nullptr ? 0 : current->used;
  if (current == nullptr || TlsRecordPool::StagingCapacity(*current) < used + bytes.size()) {
    TlsStaging* larger = pool.GetStaging(used + bytes.size());
    if (larger == nullptr) return false;
    larger->next = staging_;
    if (current != nullptr) {
      std::memcpy(larger->data(), current->data(), used);
      larger->used = current->used;
      larger->next = current->next;
      pool.ReturnStaging(current);
    }
    staging_ = larger;
  }
  std::memcpy(staging_->data() + used, bytes.data(), bytes.size());
  staging_->used = static_cast<uint32_t>(used + bytes.size());
  return true;
}

// Completes the record that came in part. Returns what of `in` follows it; empty also when it is
// still incomplete or wrong.
std::span<uint8_t> TlsRecordLayer::FinishStaged(TlsRecordPool& pool, std::span<uint8_t> in,
                                                TlsPlaintext* plain) {
  if (staging_->used < kTlsHeaderBytes) {
    size_t missing = std::min<size_t>(kTlsHeaderBytes - staging_->used, in.size());
    if (!Stage(pool, in.first(missing))) return Fail(TlsAlert::kInternalError), in.first(0);
    in = in.subspan(missing);
    if (staging_->used < kTlsHeaderBytes) return in;
  }
  size_t payload = 0;
  TlsAlert wrong = CheckHeader(staging_->data(), &payload);
  if (wrong != TlsAlert::kNone) return Fail(wrong), in.first(0);
  size_t have = staging_->used - kTlsHeaderBytes;
  size_t missing = payload - have;
  if (in.size() < missing) {
    if (!Stage(pool, in)) Fail(TlsAlert::kInternalError);
    return in.first(0);
  }
  std::span<uint8_t, kTlsHeaderBytes> header(staging_->data(), kTlsHeaderBytes);
  staging_->delivered = true;
  OnRecord(pool, header, {staging_->data() + kTlsHeaderBytes, have}, in.first(missing), plain);
  return in.subspan(missing);
}

TlsRecordStatus TlsRecordLayer::Feed(TlsRecordPool& pool, std::span<uint8_t> in,
                                     TlsPlaintext* plain) {
  Release(pool);
  plain->Clear();
  return FeedMore(pool, in, plain);
}

void TlsRecordLayer::Adopt(TlsStaging* staging) {
  // A partial record stays the first of the list.
  staging->delivered = true;
  TlsStaging** link = holds_partial_record() ? &staging_->next : &staging_;
  staging->next = *link;
  *link = staging;
}

TlsRecordStatus TlsRecordLayer::FeedMore(TlsRecordPool& pool, std::span<uint8_t> in,
                                         TlsPlaintext* plain) {
  if (ended()) return status();
  if (holds_partial_record() && !in.empty()) in = FinishStaged(pool, in, plain);
  while (!ended() && in.size() >= kTlsHeaderBytes) {
    size_t payload = 0;
    TlsAlert wrong = CheckHeader(in.data(), &payload);
    if (wrong != TlsAlert::kNone) return Fail(wrong);
    if (in.size() < kTlsHeaderBytes + payload) break;
    OnRecord(pool, in.first<kTlsHeaderBytes>(), {}, in.subspan(kTlsHeaderBytes, payload), plain);
    in = in.subspan(kTlsHeaderBytes + payload);
  }
  if (!ended() && !in.empty() && !Stage(pool, in)) return Fail(TlsAlert::kInternalError);
  return status();
}

void TlsRecordLayer::OnRecord(TlsRecordPool& pool, std::span<const uint8_t, kTlsHeaderBytes> header,
                              std::span<uint8_t> head, std::span<uint8_t> tail,
                              TlsPlaintext* plain) {
  TlsOpened opened = OpenTlsRecord(pool, &state_, header, head, tail);
  if (opened.error != TlsAlert::kNone) {
    Fail(opened.error);
    return;
  }
  bool in_message = state_.handshake_length > 0 || state_.handshake_skip > 0;
  TlsAlert wrong = TlsAlert::kUnexpectedMessage;
  if (opened.type == static_cast<uint8_t>(TlsContentType::kHandshake)) {
    wrong = OnHandshake(pool, opened, head, tail);
  } else if (in_message) {
    // A message split over records must not be interleaved with anything (section 5.1).
  } else if (opened.type == static_cast<uint8_t>(TlsContentType::kAlert)) {
    wrong = OnAlert(opened, head, tail);
  } else if (opened.type == static_cast<uint8_t>(TlsContentType::kApplicationData)) {
    wrong = OnData(opened.length, head, tail, plain);
  }
  if (wrong != TlsAlert::kNone) Fail(wrong);
}

TlsAlert TlsRecordLayer::OnData(size_t length, std::span<uint8_t> head, std::span<uint8_t> tail,
                                TlsPlaintext* plain) {
  if (length == 0) {
    return ++state_.empties > kMaxEmpties ? TlsAlert::kUnexpectedMessage : TlsAlert::kNone;
  }
  state_.empties = 0;
  state_.controls = 0;
  state_.flags &= static_cast<uint8_t>(~kCanceledMask);
  size_t in_head = std::min(length, head.size());
  plain->Add(head.first(in_head), false);
  plain->Add(tail.first(length - in_head), true);
  return TlsAlert::kNone;
}

TlsAlert TlsRecordLayer::OnAlert(const TlsOpened& opened, std::span<uint8_t> head,
                                 std::span<uint8_t> tail) {
  if (opened.length == 0) return TlsAlert::kUnexpectedMessage;
  if (opened.length != 2) return TlsAlert::kDecodeError;  // one alert a record (section 5.1)
  uint8_t description = ByteAt(head, tail, 1);
  if (description == static_cast<uint8_t>(TlsAlert::kCloseNotify)) {
    state_.flags |= kCloseReceived;
    return TlsAlert::kNone;
  }
  if (description == static_cast<uint8_t>(TlsAlert::kUserCanceled)) {
    // Announces a close_notify. Two bits of flags count to three; OpenSSL takes four.
    if ((state_.flags & kCanceledMask) == kCanceledMask) return TlsAlert::kUnexpectedMessage;
    state_.flags += kCanceledStep;
    return TlsAlert::kNone;
  }
  // In TLS 1.3 every other alert is fatal, whatever its level says.
  state_.flags |= kCloseReceived | kFailed | kCloseSent;
  state_.flags &= static_cast<uint8_t>(~(kOweKeyUpdate | kRequestKeyUpdate | kAlertPending));
  state_.pending_alert = description;
  OPENSSL_cleanse(&state_.rx, sizeof(state_.rx));
  OPENSSL_cleanse(&state_.tx, sizeof(state_.tx));
  state_.rx.seq = state_.tx.seq = UINT64_MAX;
  return TlsAlert::kNone;
}

// Post-handshake messages: KeyUpdate from both sides, NewSessionTicket (passed over) from a server.
// Nothing else was ever offered, so nothing else may come.
TlsAlert TlsRecordLayer::OnHandshake(TlsRecordPool& pool, const TlsOpened& opened,
                                     std::span<uint8_t> head, std::span<uint8_t> tail) {
  if (opened.length == 0) return TlsAlert::kUnexpectedMessage;
  size_t at = 0;
  while (at < opened.length) {
    if (state_.handshake_skip > 0) {
      size_t skipped = std::min<size_t>(state_.handshake_skip, opened.length - at);
      state_.handshake_skip = static_cast<uint16_t>(state_.handshake_skip - skipped);
      at += skipped;
      continue;
    }
    state_.handshake[state_.handshake_length++] = ByteAt(head, tail, at++);
    uint8_t type = state_.handshake[0];
    bool ticket = type == kTlsNewSessionTicket && state_.is_client != 0;
    if (!ticket && type != kKeyUpdate) return TlsAlert::kUnexpectedMessage;
    if (state_.handshake_length < 4) continue;
    size_t length = static_cast<size_t>(state_.handshake[1]) << 16 |
                    static_cast<size_t>(state_.handshake[2]) << 8 | state_.handshake[3];
    if (ticket) {
      if (length == 0 || length > UINT16_MAX) return TlsAlert::kDecodeError;
      if (++state_.controls > kMaxControls) return TlsAlert::kUnexpectedMessage;
      state_.handshake_length = 0;
      state_.handshake_skip = static_cast<uint16_t>(length);
      continue;
    }
    if (length != 1) return TlsAlert::kDecodeError;
    if (state_.handshake_length < 5) continue;
    // Keys change with it, so it must be the last thing in its record.
    if (at != opened.length) return TlsAlert::kUnexpectedMessage;
    return OnKeyUpdate(pool);
  }
  return TlsAlert::kNone;
}

TlsAlert TlsRecordLayer::OnKeyUpdate(TlsRecordPool& pool) {
  uint8_t request = state_.handshake[4];
  state_.handshake_length = 0;
  if (request > 1) return TlsAlert::kIllegalParameter;
  if (++state_.controls > kMaxControls) return TlsAlert::kUnexpectedMessage;
  if (!NextTlsKey(pool, state_.suite, &state_.rx)) return TlsAlert::kInternalError;
  // Several requests are answered once: GnuTLS drops peers that send more than 8 a second.
  if (request == 1 && (state_.flags & kCloseSent) == 0) state_.flags |= kOweKeyUpdate;
  return TlsAlert::kNone;
}

void TlsRecordLayer::Close() {
  if ((state_.flags & (kFailed | kCloseSent | kAlertPending)) != 0) return;
  state_.flags |= kAlertPending;
  state_.pending_alert = static_cast<uint8_t>(TlsAlert::kCloseNotify);
}

void TlsRecordLayer::UpdateKey(bool request) {
  if ((state_.flags & (kFailed | kCloseSent | kAlertPending)) != 0) return;
  state_.flags |= kOweKeyUpdate;
  if (request) state_.flags |= kRequestKeyUpdate;
}

bool TlsRecordLayer::wants_output() const {
  return (state_.flags & (kOweKeyUpdate | kAlertPending)) != 0;
}

size_t TlsRecordLayer::SealControl(TlsRecordPool& pool, TlsContentType type,
                                   std::span<const uint8_t> message, std::span<uint8_t> out) {
  // With a max_fragment_length of 512 or more a control message always fits in one record.
  TlsInput input(std::span(&message, 1));
  return SealTlsRecord(pool, &state_, type, &input, message.size(), 0, out);
}

size_t TlsRecordLayer::Flush(TlsRecordPool& pool, std::span<uint8_t> out) {
  size_t produced = 0;
  if ((state_.flags & kOweKeyUpdate) != 0 && out.size() >= kControlRecordMax) {
    uint8_t request = (state_.flags & kRequestKeyUpdate) != 0 ? 1 : 0;
    std::array<uint8_t, 5> message = {kKeyUpdate, 0, 0, 1, request};
    produced = SealControl(pool, TlsContentType::kHandshake, message, out);
    state_.flags &= static_cast<uint8_t>(~(kOweKeyUpdate | kRequestKeyUpdate));
    if (produced == 0 || !NextTlsKey(pool, state_.suite, &state_.tx)) {
      FailSilently();
      return produced;
    }
  }
  if ((state_.flags & kAlertPending) != 0 && out.size() - produced >= kControlRecordMax) {
    bool close = (state_.flags & kFailed) == 0;
    uint8_t level = close ? 1 : 2;
    std::array<uint8_t, 2> message = {level, state_.pending_alert};
    produced += SealControl(pool, TlsContentType::kAlert, message, out.subspan(produced));
    state_.flags &= static_cast<uint8_t>(~kAlertPending);
    state_.flags |= kCloseSent;
    if (!close) WipeTlsState(&state_);
  }
  return produced;
}

TlsSealed TlsRecordLayer::Write(TlsRecordPool& pool,
                                std::span<const std::span<const uint8_t>> parts,
                                std::span<uint8_t> out) {
  TlsSealed sealed;
  constexpr uint8_t kNoMore = kFailed | kCloseSent | kAlertPending;
  if ((state_.flags & kNoMore) != 0) {
    sealed.produced = Flush(pool, out);
    return sealed;
  }
  bool limited = state_.suite != TlsSuite::kChaCha20Poly1305Sha256;
  TlsInput input(parts);
  while (input.remaining() > 0) {
    if (limited && state_.tx.seq >= pool.aes_gcm_records_per_key) state_.flags |= kOweKeyUpdate;
    if ((state_.flags & kOweKeyUpdate) != 0) {
      sealed.produced += Flush(pool, out.subspan(sealed.produced));
      if ((state_.flags & (kOweKeyUpdate | kFailed)) != 0) break;
    }
    std::span<uint8_t> room = out.subspan(sealed.produced);
    size_t wanted = std::min<size_t>(input.remaining(), state_.max_plaintext);
    size_t least = sealed.produced == 0 ? 1 : std::min(wanted, kMinChunk);
    if (room.size() < kTlsRecordOverhead + least) break;
    size_t chunk = std::min(wanted, room.size() - kTlsRecordOverhead);
    size_t size =
        SealTlsRecord(pool, &state_, TlsContentType::kApplicationData, &input, chunk, 0, room);
    if (size == 0) {
      FailSilently();
      break;
    }
    sealed.produced += size;
  }
  sealed.consumed = input.consumed();
  return sealed;
}

}  // namespace net
