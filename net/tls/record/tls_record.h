// TLS 1.3 records after the handshake (RFC 8446 section 5), without an SSL object: the traffic
// secrets and sequence numbers of a connection are a plain value of 224 bytes, TlsRecordState, and
// the expensive things (EVP contexts, buffers for split records) belong to the worker's pool.
//
// This file holds the primitives: start, seal one record, open one record, move to the next key.
// The rules about which record may come when are in tls_record_layer.h, which is what connections
// use; call the primitives directly only in tests and benchmarks.
//
// Thread: everything of one TlsRecordPool happens on the worker that owns it. States are values and
// may live anywhere (a slab), but each has one owner: two copies of a state that both seal would
// reuse a nonce, which breaks the cipher. Sealing counts the record at once; a partial send resends
// the bytes that were sealed and never seals again.
//
// Keys: the pool keeps the last key set in its contexts, so that a burst of records of one
// direction pays the key set-up (about 200 ns for AES) once. EndTurn() puts zeros in their place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace net {

inline constexpr size_t kTlsHeaderBytes = 5;
inline constexpr size_t kTlsTagBytes = 16;
inline constexpr size_t kTlsMaxPlaintext = 16'384;
// TLSCiphertext.length may be this much; more is record_overflow (RFC 8446 section 5.2).
inline constexpr size_t kTlsMaxCiphertext = kTlsMaxPlaintext + 256;
inline constexpr size_t kTlsMaxRecordBytes = kTlsHeaderBytes + kTlsMaxCiphertext;
// What a sealed record adds to its plaintext: header, content type, tag.
inline constexpr size_t kTlsRecordOverhead = kTlsHeaderBytes + 1 + kTlsTagBytes;
// AES-GCM: own KeyUpdate after so many records under one key (the limit is 2^24.5).
inline constexpr uint64_t kTlsAesGcmRecordsPerKey = uint64_t{1} << 24;

enum class TlsSuite : uint8_t { kAes128GcmSha256, kAes256GcmSha384, kChaCha20Poly1305Sha256 };
std::string_view ToString(TlsSuite suite);
uint16_t TlsSuiteCode(TlsSuite suite);  // on the wire: 0x1301 to 0x1303
enum class TlsDigest : uint8_t;         // tls_hkdf.h
TlsDigest TlsDigestOf(TlsSuite suite);
size_t TlsSecretBytes(TlsSuite suite);  // 32 or 48
size_t TlsKeyBytes(TlsSuite suite);     // 16 or 32

enum class TlsContentType : uint8_t { kAlert = 21, kHandshake = 22, kApplicationData = 23 };

// The one message of the handshake (section 4) that both layers know.
inline constexpr uint8_t kTlsNewSessionTicket = 4;

// RFC 8446 section 6; only those this layer sends by itself have a name.
enum class TlsAlert : uint8_t {
  kCloseNotify = 0,
  kUnexpectedMessage = 10,
  kBadRecordMac = 20,
  kRecordOverflow = 22,
  kHandshakeFailure = 40,
  kIllegalParameter = 47,
  kDecodeError = 50,
  kDecryptError = 51,
  kInternalError = 80,
  kUserCanceled = 90,
  kNone = 255,  // not on the wire: nothing is wrong
};
std::string_view ToString(TlsAlert alert);
// The record of a fatal alert before any key is agreed.
constexpr std::array<uint8_t, 7> PlainTlsAlert(TlsAlert alert) {
  return {21, 3, 3, 0, 2, 2, static_cast<uint8_t>(alert)};
}

// One direction: 8 + 48 + 32 + 12 and 4 of padding.
struct TlsDirection {
  uint64_t seq;
  std::array<uint8_t, 48> secret;  // application_traffic_secret_N, TlsSecretBytes() of it in use
  std::array<uint8_t, 32> key;
  std::array<uint8_t, 12> iv;
};
static_assert(sizeof(TlsDirection) == 104);

// All that stays of a TLS 1.3 connection at rest.
struct TlsRecordState {
  TlsDirection rx;
  TlsDirection tx;
  uint16_t max_plaintext;   // 16384, or the negotiated max_fragment_length; both directions
  uint16_t handshake_skip;  // bytes of a NewSessionTicket still to be passed over (client)
  TlsSuite suite;
  uint8_t handshake_length;  // bytes held of a post-handshake message split over records
  std::array<uint8_t, 5> handshake;
  uint8_t empties;   // empty application records in a row
  uint8_t controls;  // post-handshake messages without application data between
  uint8_t flags;     // tls_record_layer.cc
  uint8_t pending_alert;
  uint8_t is_client;
};
static_assert(sizeof(TlsRecordState) == 224);

// Overwrites every secret. A state that was wiped seals and opens nothing.
void WipeTlsState(TlsRecordState* state);

// A buffer that holds the first part of a record until the rest arrives.
struct TlsStaging {
  TlsStaging* next;
  uint32_t used;
  uint16_t size_class;
  bool delivered;  // its plaintext was handed out; goes back at the next call
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
};

class TlsRecordPool {
 public:
  // Fails only where OpenSSL cannot offer the ciphers (a broken provider configuration, no memory).
  static std::expected<std::unique_ptr<TlsRecordPool>, std::string> Create();
  ~TlsRecordPool();
  TlsRecordPool(const TlsRecordPool&) = delete;
  TlsRecordPool& operator=(const TlsRecordPool&) = delete;

  // Puts zeros in place of the keys that were used. Call it at the end of a loop turn, or before
  // the worker sleeps.
  void EndTurn();

  // Staging buffers in classes of 512, 2048, 8192 bytes and a whole record; kept for reuse up to
  // kMaxFree of each class. GetStaging returns nullptr when there is no memory.
  static constexpr size_t kMaxFree = 64;
  TlsStaging* GetStaging(size_t bytes);
  void ReturnStaging(TlsStaging* staging);  // wiped
  static size_t StagingCapacity(const TlsStaging& staging);
  size_t staging_in_use() const { return staging_in_use_; }

  // Records under one AES-GCM key before an own KeyUpdate. Tests lower it.
  uint64_t aes_gcm_records_per_key = kTlsAesGcmRecordsPerKey;

 private:
  friend struct TlsRecordOps;
  struct Crypto;
  TlsRecordPool();

  std::unique_ptr<Crypto> crypto_;
  std::array<TlsStaging*, 4> free_{};
  std::array<size_t, 4> free_count_{};
  size_t staging_in_use_ = 0;
};

// Makes a state from application_traffic_secret_N of both directions, which must have
// TlsSecretBytes(suite) bytes. Zero bytes are left of `state` on failure (OpenSSL refused).
bool StartTlsRecords(TlsRecordPool& pool, TlsSuite suite, bool is_client,
                     std::span<const uint8_t> rx_secret, std::span<const uint8_t> tx_secret,
                     TlsRecordState* state);

// Moves one direction to application_traffic_secret_N+1 (RFC 8446 section 7.2); the old one is
// gone. The sequence number starts again.
bool NextTlsKey(TlsRecordPool& pool, TlsSuite suite, TlsDirection* direction);

// TLS-Exporter with an empty context (RFC 8446 section 7.5) out of the exporter master secret; up
// to 32 bytes. OpenSSL's own takes ten times as long.
bool TlsExport(TlsRecordPool& pool, TlsSuite suite, std::span<const uint8_t> exporter_secret,
               std::string_view label, std::span<uint8_t> out);

// Plaintext scattered over several pieces, read in order.
class TlsInput {
 public:
  explicit TlsInput(std::span<const std::span<const uint8_t>> parts) : parts_(parts) {
    for (const auto& part : parts) remaining_ += part.size();
  }
  size_t remaining() const { return remaining_; }
  size_t consumed() const { return consumed_; }
  // The next bytes that lie together, at most `max`; they count as read. Empty at the end.
  std::span<const uint8_t> Next(size_t max) {
    while (!parts_.empty() && offset_ == parts_.front().size()) {
      parts_ = parts_.subspan(1);
      offset_ = 0;
    }
    if (parts_.empty() || max == 0) return {};
    std::span<const uint8_t> rest = parts_.front().subspan(offset_);
    std::span<const uint8_t> piece = rest.first(rest.size() < max ? rest.size() : max);
    offset_ += piece.size();
    remaining_ -= piece.size();
    consumed_ += piece.size();
    return piece;
  }

 private:
  std::span<const std::span<const uint8_t>> parts_;
  size_t offset_ = 0;
  size_t remaining_ = 0;
  size_t consumed_ = 0;
};

// Seals the next `length` bytes of `input` as one record into `out` and returns its size. Pieces of
// the input may lie where the plaintext will stand (out + 5), else they must not overlap `out`.
// Returns 0, with nothing read or counted, when length + padding is above max_plaintext, `out` is
// too small, or the sequence number is used up; 0 with the state wiped when OpenSSL fails.
size_t SealTlsRecord(TlsRecordPool& pool, TlsRecordState* state, TlsContentType type,
                     TlsInput* input, size_t length, size_t padding, std::span<uint8_t> out);

struct TlsOpened {
  TlsAlert error = TlsAlert::kNone;
  uint8_t type = 0;   // the inner content type, unchecked
  size_t length = 0;  // plaintext bytes, from the start of head on, then tail
};

// Opens one record in place. `header` are its five bytes, `head` and `tail` together its payload
// (either may be empty), as many bytes as the header says. Nothing is released unverified: on
// bad_record_mac both pieces are wiped.
TlsOpened OpenTlsRecord(TlsRecordPool& pool, TlsRecordState* state,
                        std::span<const uint8_t, kTlsHeaderBytes> header, std::span<uint8_t> head,
                        std::span<uint8_t> tail);

}  // namespace net
