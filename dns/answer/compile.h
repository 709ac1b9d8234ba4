// Compiles zones and pools into a Generation of ready answers (answer.h).
//
// Build() does everything, in a time that grows with the zones: on a thread of its own when there
// is something to serve meanwhile. Update() makes anew only the answers that depend on the pools
// that changed, the zones' SOA where a serial was raised, and the overlay, and shares the rest with
// the generation before: a health change or an ACME challenge costs the same in a zone of a million
// names. One thread at a time; the SignatureStore may be shared with another Compiler.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/answer/answer_writer.h"
#include "dns/answer/plan.h"
#include "dns/answer/random.h"
#include "dns/pool/pool.h"
#include "dns/zone/dnssec.h"
#include "dns/zone/zone.h"
#include "dns/zone/zone_keys.h"

namespace dns {

// Records that can stand beside those of the zones without a build.
constexpr size_t kOverlayRecordsMax = 4096;

struct ZoneInput {
  std::shared_ptr<const Zone> zone;      // without mistakes (FindMistakes)
  std::shared_ptr<const ZoneKeys> keys;  // null: not signed
};

class Compiler {
 public:
  // `pools` as the zones' PoolUse::pool index them.
  Compiler(std::vector<ZoneInput> zones, std::vector<PoolConfig> pools, uint64_t seed);
  ~Compiler();

  // From the next Build() or Update() on. A zone that is not there is left alone.
  void SetSerial(const Name& apex, uint32_t serial);
  // Replaces all records that stand beside the zones' own (ACME challenges).
  void SetOverlay(std::vector<Record> records);

  // `now`: seconds since 1970, for signatures.
  std::shared_ptr<const Generation> Build(std::span<const PoolView> views, uint32_t now,
                                          SignatureStore& signatures);
  // `changed`: bit i for pool i. After Build() only.
  std::shared_ptr<const Generation> Update(std::span<const PoolView> views, uint64_t changed,
                                           uint32_t now, SignatureStore& signatures);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dns
