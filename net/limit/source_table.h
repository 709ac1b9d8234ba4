// How many connections each source address holds and how fast it opens new ones: for the limits
// source_connections_max and source_rate of a listener.
//
// One table for each worker and listener, one thread, fixed memory (32 bytes an entry), no timers:
// an entry that holds nothing (no connection, no debt of rate) is free for the next source. Each
// source has two sets of 8 places by a keyed hash, so that a peer cannot aim at a place. When all
// 16 are taken by sources that hold connections, the newcomer is admitted untracked, and counted: a
// full table must not refuse those who did nothing.
//
// The limits given here hold within this table; who spreads a listener over several workers divides
// them beforehand.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/base/hash.h"

namespace net {

struct SourceTableConfig {
  size_t entries_max = 65'536;   // rounded up to a power of two, at least 16
  uint32_t connections_max = 0;  // for each source; 0 = no limit
  double rate = 0;               // new connections a second for each source; 0 = no limit
  uint8_t prefix_v6 = 64;        // an IPv6 source is its prefix
};

// Unused rate is saved up for this long (a burst of one second's worth, at least 1).
inline constexpr Duration kSourceBurst = std::chrono::seconds(1);

// IPv4 addresses (mapped ones too) whole, IPv6 addresses cut to the prefix.
using SourceKey = std::array<uint8_t, 16>;
SourceKey SourceKeyOf(const Address& address, uint8_t prefix_v6);

enum class SourceVerdict : uint8_t { kAdmitted, kTooMany, kTooFast };
std::string_view SourceVerdictName(SourceVerdict verdict);

class SourceTable {
 public:
  // Names the entry that counts a connection; 0 = untracked. Stays good until released.
  using Handle = uint32_t;
  static constexpr Handle kUntracked = 0;

  struct Admission {
    SourceVerdict verdict = SourceVerdict::kAdmitted;
    Handle handle = kUntracked;
  };

  struct Counters {
    uint64_t admitted = 0;
    uint64_t too_many = 0;
    uint64_t too_fast = 0;
    uint64_t untracked = 0;  // admitted without limits: the table was full there
    uint64_t evicted = 0;    // a source lost its debt of rate to a newcomer
  };

  // `key` is a secret, drawn at the start of the process.
  SourceTable(const SourceTableConfig& config, const HashKey& key);

  // When kAdmitted, the connection is counted until Release(handle). A refusal costs the source
  // nothing.
  Admission Admit(const SourceKey& source, Time now);
  // Counts a connection in that was admitted without these limits; they do not judge it. As
  // Admit(), untracked where the table is full. ReleaseSource() gives it back.
  void Hold(const SourceKey& source, Time now);
  void Release(Handle handle);
  // The same for callers without room for a handle. A source that was let in untracked and is
  // tracked by now may give back one connection too many; never more than it holds.
  void ReleaseSource(const SourceKey& source);

  // After a reload; entries and counts stay.
  void SetLimits(uint32_t connections_max, double rate);

  uint32_t Held(const SourceKey& source) const;
  const Counters& counters() const { return counters_; }
  size_t capacity() const { return entries_.size(); }

 private:
  static constexpr size_t kWays = 8;

  struct Entry {
    SourceKey key{};
    int64_t next_ns = 0;  // GCRA: when the next connection falls due
    uint32_t held = 0;
  };
  static_assert(sizeof(Entry) == 32);

  struct Found {
    Entry* match = nullptr;
    Entry* free = nullptr;    // holds nothing
    Entry* debtor = nullptr;  // holds no connection, the least debt
  };

  std::array<size_t, 2> SetsOf(const SourceKey& source) const;
  Found Find(const SourceKey& source, int64_t now_ns);
  // The source's entry, made where there is none; null: the table is full there.
  Entry* EntryOf(const SourceKey& source, int64_t now_ns);

  std::vector<Entry> entries_;
  size_t set_mask_;
  HashKey key_;
  uint32_t connections_max_ = 0;
  int64_t interval_ns_ = 0;
  int64_t tolerance_ns_ = 0;
  Counters counters_;
};

}  // namespace net
