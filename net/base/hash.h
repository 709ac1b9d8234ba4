// Hashes of the balancer.
//
// StableHash: the same in every process and on every machine, so that several balancers that hold
// the same nodes send the same source to the same node. Not for tables that peers can fill.
// KeyedHash: SipHash-1-3 under a secret key, for tables whose keys a peer chooses (addresses).
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "net/base/random.h"
#include "net/base/siphash.h"

namespace net {

constexpr uint64_t StableHash(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (char c : bytes) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3U;
  }
  return FastRandom::Mix(hash);
}

using HashKey = SipKey;

constexpr uint64_t KeyedHash(const HashKey& key, std::span<const uint8_t> bytes) {
  return SipHash<1, 3>(key, bytes);
}

}  // namespace net
