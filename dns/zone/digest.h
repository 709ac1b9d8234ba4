// A digest of what is published, so that a change is seen without keeping the content. Pure.
#pragma once

#include <cstdint>

#include "dns/zone/zone.h"

namespace dns {

// A digest of all that a secondary would get but the serial.
uint64_t ContentDigest(const Zone& zone);
// Folds more into a digest.
uint64_t FoldDigest(uint64_t digest, ByteView bytes);
uint64_t FoldDigest(uint64_t digest, const Rrset& set);

}  // namespace dns
