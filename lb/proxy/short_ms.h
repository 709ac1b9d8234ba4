// A time in milliseconds in 16 bits, as a Pair has room for: exact up to four seconds, then to one
// part in 2,048, up to 37 hours; what is longer stays there.
#pragma once

#include <bit>
#include <cstdint>

namespace lb {

class ShortMs {
 public:
  static constexpr unsigned kBits = 12;  // of the number; the others say how far it is shifted
  static constexpr uint64_t kMax = ((uint64_t{1} << kBits) - 1) << 15U;

  constexpr ShortMs() = default;
  explicit constexpr ShortMs(uint64_t ms) {
    ms = ms < kMax ? ms : kMax;
    const auto width = static_cast<unsigned>(std::bit_width(ms));
    const unsigned shift = width > kBits ? width - kBits : 0;
    bits_ = static_cast<uint16_t>(shift << kBits | ms >> shift);
  }
  constexpr uint64_t ms() const {
    return static_cast<uint64_t>(bits_ & ((1U << kBits) - 1)) << (bits_ >> kBits);
  }

 private:
  uint16_t bits_ = 0;
};

static_assert(ShortMs(4095).ms() == 4095 && ShortMs(70'000).ms() >= 69'968);
static_assert(ShortMs(ShortMs::kMax).ms() == ShortMs::kMax);
static_assert(ShortMs(UINT64_MAX).ms() == ShortMs::kMax);

}  // namespace lb
