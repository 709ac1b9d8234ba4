// The application phase of a TLS 1.3 connection over tls_record.h: which records may come when,
// KeyUpdate both ways, alerts and close_notify (RFC 8446 sections 4.6, 5 and 6).
//
//   ciphertext --Feed()--> plaintext spans, in place in the caller's buffer
//   plaintext --Write()--> ciphertext in the caller's buffer
//   own alerts and KeyUpdates --Flush()--> ciphertext, whenever wants_output()
//
// Nothing is allocated on the way but a staging buffer of the pool while a record has come in part;
// a connection at rest is the 224 bytes of its state and one null pointer. Limits against peers
// that make work without sending anything: 32 empty records, 32 post-handshake messages, 3
// user_canceled alerts, each counted until application data comes.
//
// Where OpenSSL and RFC 8446 differ, the stricter one is followed, so that a peer never gets
// through here with what OpenSSL would refuse (a test compares the two).
//
// Thread: the worker that owns the pool. Not copyable: two copies would reuse nonces.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/tls/record/tls_record.h"

namespace net {

// Decrypted bytes in order, as few spans as is cheap. Spans point into the buffer given to Feed()
// and into one staging buffer; they are valid until the next call of Feed() or Release(), as long
// as the caller keeps its buffer.
struct TlsPlaintext {
  static constexpr size_t kMaxSpans = 8;
  // A span this short is moved behind the one before it rather than listed by itself.
  static constexpr size_t kCompactBytes = 1024;

  std::array<std::span<uint8_t>, kMaxSpans> spans;
  size_t count = 0;
  size_t bytes = 0;

  std::span<const std::span<uint8_t>> view() const { return std::span(spans).first(count); }
  void Clear();
  // `in_input`: the span lies in the buffer that is being fed, behind all that was added from it,
  // and may be joined to the one before.
  void Add(std::span<uint8_t> span, bool in_input);

 private:
  bool last_in_input_ = false;
};

struct TlsSealed {
  size_t consumed = 0;  // plaintext bytes
  size_t produced = 0;  // ciphertext bytes
};

enum class TlsRecordStatus : uint8_t {
  kOpen,        // both directions may carry data
  kPeerClosed,  // close_notify came; writing goes on (half-close)
  kFailed,      // an alert was sent or received; keys are wiped once ours is flushed
};
std::string_view ToString(TlsRecordStatus status);

class TlsRecordLayer {
 public:
  TlsRecordLayer() = default;
  TlsRecordLayer(const TlsRecordLayer&) = delete;
  TlsRecordLayer& operator=(const TlsRecordLayer&) = delete;

  // From secrets; see StartTlsRecords. The sequence numbers are what the handshake left.
  bool Start(TlsRecordPool& pool, TlsSuite suite, bool is_client,
             std::span<const uint8_t> rx_secret, std::span<const uint8_t> tx_secret,
             uint64_t rx_seq, uint64_t tx_seq, size_t max_plaintext);
  // From a state that nobody else uses any more.
  void Start(const TlsRecordState& state) { state_ = state; }
  // Gives staging back and wipes the keys. Must be called before the object goes away.
  void End(TlsRecordPool& pool);

  // Takes all of `in`, decrypting it in place; `plain` is cleared and then holds what came of it.
  // After the end (peer closed or failed) input is ignored. Data that came before a failure in the
  // same call is genuine and stays in `plain`.
  TlsRecordStatus Feed(TlsRecordPool& pool, std::span<uint8_t> in, TlsPlaintext* plain);

  // The same, but keeps what stands in `plain` (at most kMaxSpans - 3 spans) and what it points to.
  TlsRecordStatus FeedMore(TlsRecordPool& pool, std::span<uint8_t> in, TlsPlaintext* plain);

  // Gives back what earlier plaintext held; Feed() does it too.
  void Release(TlsRecordPool& pool);
  // Keeps a buffer whose plaintext was handed out until the next Release().
  void Adopt(TlsStaging* staging);

  // Seals as much as fits, own control records first. Needs kTlsRecordOverhead + 1 bytes of room at
  // least, and 64 more while wants_output(); a room of 16406 bytes gives whole records. Consumes
  // nothing after Close() or a failure.
  TlsSealed Write(TlsRecordPool& pool, std::span<const std::span<const uint8_t>> parts,
                  std::span<uint8_t> out);

  // A due KeyUpdate, alert or close_notify. 64 bytes of room are always enough.
  size_t Flush(TlsRecordPool& pool, std::span<uint8_t> out);
  bool wants_output() const;

  // Queues close_notify; nothing can be written afterwards, reading goes on.
  void Close();
  // Queues an own KeyUpdate before the next data. `request`: the peer shall update its key too.
  void UpdateKey(bool request);

  TlsRecordStatus status() const;
  bool close_sent() const;         // close_notify or an alert is flushed
  TlsAlert alert_sent() const;     // the fatal alert of a failure we found, or kNone
  uint8_t alert_received() const;  // the peer's fatal alert; 255 for none
  bool holds_partial_record() const { return staging_ != nullptr && !staging_->delivered; }
  const TlsRecordState& state() const { return state_; }
  TlsRecordState& mutable_state_for_test() { return state_; }

 private:
  bool ended() const;
  TlsRecordStatus Fail(TlsAlert alert);
  void FailSilently();  // sealing failed: nothing may be sent any more, not even an alert
  TlsAlert CheckHeader(const uint8_t* header, size_t* payload) const;
  std::span<uint8_t> FinishStaged(TlsRecordPool& pool, std::span<uint8_t> in, TlsPlaintext* plain);
  bool Stage(TlsRecordPool& pool, std::span<const uint8_t> bytes);
  // One opened record; head and tail are its payload pieces.
  void OnRecord(TlsRecordPool& pool, std::span<const uint8_t, kTlsHeaderBytes> header,
                std::span<uint8_t> head, std::span<uint8_t> tail, TlsPlaintext* plain);
  TlsAlert OnData(size_t length, std::span<uint8_t> head, std::span<uint8_t> tail,
                  TlsPlaintext* plain);
  TlsAlert OnAlert(const TlsOpened& opened, std::span<uint8_t> head, std::span<uint8_t> tail);
  TlsAlert OnHandshake(TlsRecordPool& pool, const TlsOpened& opened, std::span<uint8_t> head,
                       std::span<uint8_t> tail);
  TlsAlert OnKeyUpdate(TlsRecordPool& pool);
  size_t SealControl(TlsRecordPool& pool, TlsContentType type, std::span<const uint8_t> message,
                     std::span<uint8_t> out);

  TlsRecordState state_{};
  TlsStaging* staging_ = nullptr;  // a record in part, then buffers whose plaintext is out
};
static_assert(sizeof(TlsRecordLayer) == 232);

}  // namespace net
