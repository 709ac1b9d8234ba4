// Signatures that cannot be made before the question is known: the denial of a name that does not
// exist, and sets that a wildcard stands for. RFC 9824 answers both as if the name were there.
//
// One a worker. Signing is dear (tens of microseconds) and anybody may ask for it, so it has a
// budget, and what was signed is kept in a small table while its generation lasts.
#pragma once

#include <cstdint>
#include <vector>

#include "dns/answer/answer.h"

namespace dns {

class LazySigner {
 public:
  explicit LazySigner(uint32_t per_second) : per_second_(per_second) {}

  // RDATA of the RRSIGs over `set`, one a key, whose owner must not be a wildcard; null when the
  // budget is spent. Valid until the next call. `source`: what the set was made from, unique in the
  // generation.
  const std::vector<Bytes>* Sign(const Generation& generation, const KeyList& keys,
                                 const Rrset& set, uint64_t source, uint64_t now_ms);

  uint64_t made() const { return made_; }

 private:
  static constexpr size_t kTableEntries = 1024;
  struct Entry {
    uint64_t generation = 0;
    uint64_t source = 0;
    Bytes owner;
    std::vector<Bytes> rrsigs;
  };

  bool Spend(uint64_t now_ms, size_t signatures);

  uint32_t per_second_;
  uint64_t tokens_ = 0;
  uint64_t last_ms_ = 0;
  uint64_t made_ = 0;
  std::vector<Entry> table_;
};

}  // namespace dns
