// CRC32C (Castagnoli, reflected 0x82f63b78), for PROXY protocol v2. A table of 1 KiB: headers are
// about 100 bytes long.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace net {

namespace internal {

constexpr std::array<uint32_t, 256> MakeCrc32cTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}

inline constexpr std::array<uint32_t, 256> kCrc32cTable = MakeCrc32cTable();

}  // namespace internal

class Crc32c {
 public:
  constexpr void Add(uint8_t byte) {
    state_ = internal::kCrc32cTable[(state_ ^ byte) & 0xff] ^ (state_ >> 8);
  }
  constexpr void Add(std::span<const uint8_t> bytes) {
    for (uint8_t byte : bytes) Add(byte);
  }
  constexpr uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = 0xffffffffU;
};

}  // namespace net
