// Transaction signatures on messages (RFC 8945): checks requests, signs their responses, signs
// requests of ours and checks what comes back, a stream of messages too (§5.3.1).
//
// Pure: bytes, keys and the time come in. The parser is bounded: it walks the records once, by
// their sizes, and follows no pointer but one of the key's name into the question. MACs are
// compared in constant time. Truncated MACs are refused (§5.2.2.1, BADTRUNC), whatever their size.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dns/tsig/tsig_key.h"
#include "dns/wire/name.h"

namespace dns {

// Seconds that clocks may differ (§10); what we sign, and the most that we take.
constexpr uint16_t kTsigFudge = 300;

enum class TsigError : uint16_t {
  kNone = 0,
  kBadSig = 16,
  kBadKey = 17,
  kBadTime = 18,
  kBadTrunc = 22,
};

// The TSIG record at the end of a message.
struct TsigRecord {
  size_t offset = 0;  // of the record in the message
  Bytes key_name;     // wire form, in lower case
  Bytes algorithm;    // wire form, in lower case
  uint64_t time = 0;  // seconds since 1970
  uint16_t fudge = 0;
  Bytes mac;
  uint16_t original_id = 0;
  uint16_t error = 0;
  Bytes other;
};

enum class TsigForm { kAbsent, kPresent, kBroken };
// Reads the last record of the message, when it is a TSIG. kBroken: a message whose records do not
// fill it, or a TSIG that is not the last record, or malformed.
TsigForm ReadTsig(ByteView message, TsigRecord& out);

// A request's check, and what its response needs.
struct TsigCheck {
  enum class Verdict { kAbsent, kGood, kFormErr, kRefused };
  Verdict verdict = Verdict::kAbsent;
  TsigError error = TsigError::kNone;  // of kRefused
  TsigRecord record;
  std::shared_ptr<const TsigKeys> keys;  // what `key` points into
  const TsigKey* key = nullptr;          // known: null with kBadKey

  bool good() const { return verdict == Verdict::kGood; }
  bool refused() const { return verdict == Verdict::kRefused; }
};
TsigCheck CheckTsig(ByteView message, const std::shared_ptr<const TsigKeys>& keys, uint64_t now);

// Room that the response's TSIG takes.
size_t TsigBytes(const TsigCheck& check);
// Puts the TSIG of the response behind its `size` bytes in `out`, and returns the new size; the old
// one where there is no room. Signed where the check was good, and with kBadTime and kBadTrunc; for
// others the record says the error, without a MAC (§5.3.2).
size_t SignResponse(const TsigCheck& check, std::span<uint8_t> out, size_t size, uint64_t now);

// Signs a request of ours, and the messages of a response one after the other.
class TsigSigner {
 public:
  TsigSigner(std::shared_ptr<const TsigKeys> keys, const TsigKey& key)
      : keys_(std::move(keys)), key_(&key) {}
  // For the response to a request that was good.
  explicit TsigSigner(const TsigCheck& request)
      : keys_(request.keys), key_(request.key), prior_(request.record.mac) {}

  void Sign(Bytes& message, uint64_t now);
  const Bytes& mac() const { return prior_; }  // of what was signed last
  const TsigKey& key() const { return *key_; }
  const std::shared_ptr<const TsigKeys>& keys() const { return keys_; }

 private:
  std::shared_ptr<const TsigKeys> keys_;
  const TsigKey* key_;
  Bytes prior_;  // the request's MAC, then that of the message before
  bool first_ = true;
};

// Checks the messages of a response to a request that was signed.
class TsigVerifier {
 public:
  explicit TsigVerifier(const TsigSigner& request)
      : keys_(request.keys()), key_(&request.key()), prior_(request.mac()) {}

  // §5.3.1: unsigned messages may stand between signed ones, kUnsignedMax at most, and the first
  // and last are signed. The error is in words.
  static constexpr size_t kUnsignedMax = 99;
  std::expected<void, std::string> Check(ByteView message, uint64_t now);
  // At the end of the stream: was the last message signed?
  bool complete() const { return !first_ && pending_.empty(); }

 private:
  std::shared_ptr<const TsigKeys> keys_;
  const TsigKey* key_;
  Bytes prior_;
  Bytes pending_;  // unsigned messages since the last MAC
  size_t unsigned_ = 0;
  bool first_ = true;
};

// Remembers signatures for as long as they are fresh, so that a recorded request cannot be sent
// again. One thread.
class TsigReplays {
 public:
  static constexpr size_t kEntriesMax = 4096;
  // False: this one was seen before, or nobody can know any more. Call it for checked requests
  // only.
  bool IsFresh(const TsigCheck& request, uint64_t now);

 private:
  struct Entry {
    uint64_t expires;
    Bytes mac;
  };
  std::vector<Entry> entries_;
  uint64_t forgotten_until_ = 0;  // the latest signature time that was forgotten while it was fresh
};

}  // namespace dns
