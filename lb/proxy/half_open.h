// How many handshakes of a source are half open, over all workers: a bounded table of counts, at
// the place that a keyed hash of the source gives. Sources that meet at one place share its count,
// so it is never too low for any; which ones meet nobody outside can know.
//
// Any thread; Seed() before the others. Who enters leaves once.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "net/base/hash.h"

namespace lb {

class HalfOpen {
 public:
  static constexpr size_t kPlaces = 16'384;  // a power of two

  void Seed(uint64_t seed) { seed_ = seed; }

  // How many there are then, this one among them.
  uint32_t Enter(uint64_t source) {
    return Place(source).fetch_add(1, std::memory_order_relaxed) + 1;
  }
  void Leave(uint64_t source) { Place(source).fetch_sub(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t>& Place(uint64_t source) {
    std::array<uint8_t, sizeof source> bytes;
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(source);
      source >>= 8U;
    }
    return counts_[net::KeyedHash(net::HashKey{seed_, ~seed_}, bytes) & (kPlaces - 1)];
  }

  uint64_t seed_ = 1;
  std::array<std::atomic<uint32_t>, kPlaces> counts_{};
};

}  // namespace lb
