// Compiles zones and pools into a Generation of ready answers (answer.h), on the control thread.
//
// Build() does everything; Update() makes anew only the answers that depend on the pools that
// changed, and shares the rest with the generation before: a health change costs the same in a zone
// of a million names.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/answer/random.h"
#include "dns/pool/pool.h"
#include "dns/zone/dnssec.h"
#include "dns/zone/zone.h"

namespace dns {

// Longest chain of CNAMEs that one answer follows.
constexpr int kCnameHopsMax = 8;
// Sets of addresses that one answer adds for the hosts it names.
constexpr size_t kAdditionalSetsMax = 16;
// Signed subsets that are kept ready where a set has more members than an answer may hold.
constexpr size_t kVariants = 32;
// RFC 8482 §4.2.
constexpr uint32_t kAnyTtl = 3600;
constexpr uint32_t kDnskeyTtl = 3600;

struct ZoneInput {
  std::shared_ptr<const Zone> zone;       // without mistakes (FindMistakes)
  std::shared_ptr<const SigningKey> key;  // null: not signed
};

class Compiler {
 public:
  // `pools` as the zones' PoolUse::pool index them.
  Compiler(std::vector<ZoneInput> zones, std::vector<PoolConfig> pools, uint64_t seed);
  ~Compiler();

  // `now`: seconds since 1970, for signatures.
  std::shared_ptr<const Generation> Build(std::span<const PoolView> views, uint32_t now,
                                          SignatureStore& signatures);
  // `changed`: bit i for pool i. After Build() only.
  std::shared_ptr<const Generation> Update(std::span<const PoolView> views, uint64_t changed,
                                           uint32_t now, SignatureStore& signatures);

  // All records of a zone as they are now, in canonical order, without what signing makes. For
  // AXFR.
  static std::vector<Record> Records(const Zone& zone, const std::vector<PoolConfig>& pools,
                                     std::span<const PoolView> views);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dns
