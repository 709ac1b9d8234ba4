// SipHash-c-d (Aumasson and Bernstein, 2012): a keyed hash whose values a peer that does not know
// the key can neither guess nor make collide. 1-3 for tables in memory, 2-4 for what goes over the
// network.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace net {

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

// The little-endian number in up to eight bytes.
constexpr uint64_t LoadLittle(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

template <int kRoundsAWord, int kRoundsAtTheEnd>
constexpr uint64_t SipHash(const SipKey& key, std::span<const uint8_t> bytes) {
  uint64_t v0 = key.k0 ^ 0x736f6d6570736575U;
  uint64_t v1 = key.k1 ^ 0x646f72616e646f6dU;
  uint64_t v2 = key.k0 ^ 0x6c7967656e657261U;
  uint64_t v3 = key.k1 ^ 0x7465646279746573U;
  auto rounds = [&](int count) {
    for (int i = 0; i < count; ++i) {
      v0 += v1;
      v1 = std::rotl(v1, 13) ^ v0;
      v0 = std::rotl(v0, 32);
      v2 += v3;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1;
      v1 = std::rotl(v1, 17) ^ v2;
      v2 = std::rotl(v2, 32);
    }
  };
  auto take = [&](uint64_t word) {
    v3 ^= word;
    rounds(kRoundsAWord);
    v0 ^= word;
  };
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) take(LoadLittle(bytes.subspan(at, 8)));
  take(LoadLittle(bytes.subspan(at)) | uint64_t{bytes.size() & 0xff} << 56U);
  v2 ^= 0xff;
  rounds(kRoundsAtTheEnd);
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace net
