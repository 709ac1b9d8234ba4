// The keys of a zone, and what each of them does at a moment: the timing of RFC 6781 and RFC 7583.
//
// A key file's times (BIND's format: Publish, Activate, Inactive, Delete, SyncPublish, SyncDelete)
// say when the key
//   is in the DNSKEY set             from Publish to Delete
//   signs the zone's sets            from Activate to Inactive
//   is in CDS and CDNSKEY            from SyncPublish to SyncDelete: what the parent's DS shall be
// A time that is absent lies in the past at the beginning, and never comes at the end. Roles follow
// from the flags: 256 is a ZSK; 257 is a KSK where the zone has an active ZSK of its algorithm, and
// else a CSK, which does both. Every KSK or CSK that is published signs DNSKEY, CDS and CDNSKEY: a
// parent may point to the old key or to the new one at any moment of a rollover.
//
// So pre-publication is "Publish, later Activate, with the old key's Inactive at the same moment",
// and double signature is "Publish and Activate at once, the old key's Inactive later". Immutable;
// any thread. The clock comes in as a value.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/zone/dnssec.h"

namespace dns {

constexpr uint32_t kDnskeyTtl = 3600;
constexpr size_t kKeysPerZoneMax = 16;

struct KeyTimes {
  // Seconds since 1970.
  std::optional<uint32_t> publish, activate, inactive, remove, sync_publish, sync_remove;

  bool operator==(const KeyTimes&) const = default;
};
// The lines of a key file that say them: "Publish: 20260101000000". Other lines are not read.
std::expected<KeyTimes, std::string> ReadKeyTimes(std::string_view text);
std::string ToText(const KeyTimes& times);
// "20260101000000", in UTC.
std::string TimeText(uint32_t unix_seconds);

struct ZoneKey {
  std::shared_ptr<const SigningKey> key;
  KeyTimes times;
  std::string path;  // of the private file

  static std::expected<ZoneKey, std::string> FromFile(const std::string& private_path,
                                                      const Name& zone);
};

using KeyList = std::vector<std::shared_ptr<const SigningKey>>;

// What the keys do at one moment.
struct KeyState {
  KeyList published;     // in the DNSKEY set
  KeyList key_signers;   // sign DNSKEY, CDS and CDNSKEY
  KeyList zone_signers;  // sign all other sets
  KeyList synced;        // in CDS and CDNSKEY
  uint32_t dnskey_ttl = kDnskeyTtl;

  bool is_signed() const { return !zone_signers.empty(); }
  const KeyList& SignersOf(Type type) const {
    bool of_keys = type == Type::kDnskey || type == Type::kCds || type == Type::kCdnskey;
    return of_keys ? key_signers : zone_signers;
  }
  bool operator==(const KeyState&) const = default;
};

class ZoneKeys {
 public:
  ZoneKeys(std::vector<ZoneKey> keys, uint32_t dnskey_ttl)
      : keys_(std::move(keys)), dnskey_ttl_(dnskey_ttl) {}
  // One key that has always done everything.
  explicit ZoneKeys(std::shared_ptr<const SigningKey> key, uint32_t dnskey_ttl = kDnskeyTtl);

  KeyState At(uint32_t now) const;
  // The next moment at which At() changes.
  std::optional<uint32_t> NextChange(uint32_t now) const;
  // What makes the keys unusable now: none that signs, a key that signs and is not published, two
  // keys with one tag, more than kKeysPerZoneMax. Each names its file.
  std::vector<std::string> Mistakes(uint32_t now) const;
  // What a key is doing now and next, in words for `ctl keys`.
  std::string Describe(const ZoneKey& key, uint32_t now) const;

  const std::vector<ZoneKey>& keys() const { return keys_; }
  uint32_t dnskey_ttl() const { return dnskey_ttl_; }

 private:
  uint32_t SyncPublish(const KeyTimes& times) const;

  std::vector<ZoneKey> keys_;
  uint32_t dnskey_ttl_;
};

// The times of a rollover from `old` to a new key, both CSK or KSK, by pre-publication: the new key
// is published now; once every cache has seen it (`dnskey_ttl` and an hour) it signs, and CDS asks
// the parent for it; the old key stays published for `ds_timeout` more, in which the parent follows
// and its old DS leaves the caches.
struct Rollover {
  KeyTimes successor;
  KeyTimes predecessor;
};
constexpr uint32_t kRolloverMargin = 3600;
constexpr uint32_t kDsTimeout = 7 * 86'400;
Rollover PlanRollover(const KeyTimes& old, bool sep, uint32_t now, uint32_t dnskey_ttl,
                      uint32_t ds_timeout);
// Writes a key file's times anew, and nothing else in it.
std::string WriteKeyTimes(const std::string& private_path, const KeyTimes& times);

}  // namespace dns
