// Random choices for answers: fast, and fair to the last bit that matters. Not for secrets.
//
// One Random a worker, seeded from the system (tests give a seed). A draw costs one multiplication.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace dns {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // wyrand: 64 bits that pass BigCrush.
  uint64_t Next() {
    state_ += 0xa0761d6478bd642fu;
    __uint128_t product = static_cast<__uint128_t>(state_) * (state_ ^ 0xe7037ed1a0b428dbu);
    return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
  }

  // Below `n` (Lemire's multiplication; the bias is below n / 2^64).
  uint64_t Below(uint64_t n) {
    return static_cast<uint64_t>(static_cast<__uint128_t>(Next()) * n >> 64);
  }

 private:
  uint64_t state_;
};

// Puts the first `take` places of `items` into a random order, drawn from all of them: each order
// of each subset is as likely as any other (Fisher and Yates, stopped early).
inline void ShuffleFirst(Random& random, uint8_t* items, size_t size, size_t take) {
  for (size_t i = 0; i < take && i + 1 < size; ++i) {
    std::swap(items[i], items[i + random.Below(size - i)]);
  }
}

// Draws `take` different items so that item i is drawn with probability take × weight(i) / sum,
// which must not be above 1 (see AnswersFor): systematic sampling over a random order. `items`
// holds all indices below `size`; its first `take` places are the result, in random order.
template <typename Weight>
void DrawWeighted(Random& random, uint8_t* items, size_t size, size_t take, uint64_t sum,
                  Weight weight) {
  ShuffleFirst(random, items, size, size);
  uint64_t at = random.Below(sum);
  size_t drawn = 0;
  for (size_t i = 0; i < size && drawn < take; ++i) {
    at += weight(items[i]) * take;
    if (at < sum) continue;
    at -= sum;
    std::swap(items[drawn++], items[i]);
  }
  ShuffleFirst(random, items, drawn, drawn);
}

}  // namespace dns
