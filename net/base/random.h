// A small, fast random generator for choices (not for secrets): splitmix64. One per worker, seeded
// by whoever makes it, so that tests and the seeded simulation repeat exactly.
#pragma once

#include <cstdint>

namespace net {

class FastRandom {
 public:
  explicit constexpr FastRandom(uint64_t seed) : state_(seed) {}

  constexpr uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15U;
    return Mix(state_);
  }

  // A value for seeding another generator, without moving this one.
  constexpr uint64_t Peek() const { return Mix(state_); }

  // Uniform in [0, bound); bound > 0. The bias is below bound / 2^32.
  constexpr uint32_t Below(uint32_t bound) {
    return static_cast<uint32_t>(((Next() >> 32) * bound) >> 32);
  }

  // Uniform in [0, 1).
  constexpr double Unit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

  static constexpr uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
  }

 private:
  uint64_t state_;
};

}  // namespace net
