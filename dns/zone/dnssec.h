// DNSSEC by online signing: keys, RRSIG, DS, NSEC as compact denial (RFC 4034, 6605, 8080, 9824).
//
// A record set is signed when it changes, on the control thread; signatures are kept and used again
// while the set stays the same (SignatureStore). Only what cannot be known before the question
// comes (the denial of a name that does not exist, a wildcard's expansion) is signed by the worker
// that answers it, within a budget (responder.h).
//
// Which keys a zone has, and what each does when, is zone_keys.h's. SigningKey is immutable;
// signing from several threads is safe. Secrets live in the key file and in OpenSSL's key object
// only.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "dns/wire/name.h"
#include "dns/zone/zone.h"

namespace dns {

enum class Algorithm : uint8_t {
  kEcdsaP256Sha256 = 13,
  kEd25519 = 15,
};
std::string_view ToString(Algorithm algorithm);

// A DNSKEY's flags: ZONE alone, or with SEP, which says that parents point to it (RFC 4034 §2.1.1).
constexpr uint16_t kFlagsZsk = 256;
constexpr uint16_t kFlagsSep = 257;

class SigningKey {
 public:
  struct Impl;

  static SigningKey Generate(const Name& zone, Algorithm algorithm, uint16_t flags = kFlagsSep);
  // Reads DIR/K<zone>+<algorithm>+<tag>.private (BIND's format v1.2 and v1.3). The flags stand in
  // the .key file beside it; without one they are 257.
  static std::expected<SigningKey, std::string> FromFile(const std::string& private_path,
                                                         const Name& zone);

  // Writes NAME.key (the DNSKEY record) and NAME.private (mode 0600) into `directory`. Returns the
  // path of the private file. An existing file is never overwritten. `times`: lines that say when
  // the key does what (zone_keys.h).
  std::expected<std::string, std::string> Write(const std::string& directory,
                                                const std::string& times = "") const;

  const Name& zone() const { return zone_; }
  Algorithm algorithm() const { return algorithm_; }
  uint16_t tag() const { return tag_; }
  uint16_t flags() const { return Get16(dnskey_.data()); }
  const Bytes& dnskey() const { return dnskey_; }  // RDATA
  Bytes Ds() const;                                // RDATA, SHA-256 digest
  // "Kexample.org.+013+12345"
  std::string BaseName() const;

  Bytes Sign(ByteView data) const;

 private:
  SigningKey(const Name& zone, Algorithm algorithm, std::shared_ptr<const Impl> impl,
             Bytes public_key, uint16_t flags);

  Name zone_;
  Algorithm algorithm_;
  std::shared_ptr<const Impl> impl_;
  Bytes dnskey_;
  uint16_t tag_ = 0;
};

constexpr size_t kSignatureBytes = 64;  // both algorithms

struct Validity {
  uint32_t inception = 0;  // seconds since 1970
  uint32_t expiration = 0;
};

// RDATA of the RRSIG over `set` (RFC 4034 §3). The set's owner may be a wildcard: the label count
// says so to validators.
Bytes MakeRrsig(const SigningKey& key, const Rrset& set, Validity validity);

// The key tag of a DNSKEY's RDATA (RFC 4034 appendix B).
uint16_t KeyTag(ByteView dnskey);

// NSEC's type bitmap (RFC 4034 §4.1.2) of `types`.
Bytes TypeBitmap(std::vector<Type> types);

// RDATA of the NSEC that denies all but `types` at `owner`: its next name is the very next one that
// could exist (RFC 9824 §3.1). Names too long for a label of one zero byte take the successor of
// RFC 4471 §3.1.2.
Bytes CompactNsec(const Name& owner, std::vector<Type> types);

// Signs sets when they change, and hands out the signature that it has while they do not. Any
// thread: a zone is built beside the one that is served.
class SignatureStore {
 public:
  // Signatures live for `lifetime` and are made anew when less than `refresh` is left, and when the
  // clock went back behind the moment at which they become good.
  SignatureStore(uint32_t lifetime_seconds, uint32_t refresh_seconds)
      : lifetime_(lifetime_seconds), refresh_(refresh_seconds) {}

  // Before a round of Get(): tells the time (seconds since 1970). Returns the round.
  uint64_t Begin(uint32_t now);
  Bytes Get(const SigningKey& key, const Rrset& set);
  // After a round that asked for every set of every zone: forgets what has not been asked for
  // since.
  void ForgetBefore(uint64_t round);

  // The earliest moment at which a signature must be made anew; 0 when there is none.
  uint32_t RefreshAt() const;
  // Is there a signature that must be made anew now?
  bool IsStale(uint32_t now) const;
  uint64_t signatures_made() const;
  Validity ValidityAt(uint32_t now) const { return {now - kClockSkew, now + lifetime_}; }

 private:
  static constexpr uint32_t kClockSkew = 3600;
  // Sets that come and go with health are remembered for so many rounds, and so many of them beside
  // what the last whole round asked for.
  static constexpr uint64_t kRoundsKept = 1000;
  static constexpr size_t kOthersMax = 200'000;
  struct Entry {
    Bytes rrsig;
    Validity validity;
    uint64_t round = 0;
  };

  bool IsGood(const Validity& validity) const;

  const uint32_t lifetime_;
  const uint32_t refresh_;
  mutable std::mutex mutex_;
  uint32_t now_ = 0;
  uint64_t round_ = 0;
  uint64_t made_ = 0;
  uint64_t whole_round_ = 0;  // ForgetBefore()'s last
  size_t whole_size_ = 0;
  uint32_t soonest_end_ = UINT32_MAX;  // of all entries
  uint32_t latest_begin_ = 0;
  std::map<Bytes, Entry> entries_;  // by key tag and canonical set
};

}  // namespace dns
