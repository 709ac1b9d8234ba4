// What a Pair keeps while its PROXY header is on its way to the node.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lb {

// Room for the facts of a TLS client with a certificate; what does not fit is left out.
inline constexpr size_t kPreludeMax = 2048;

struct Prelude {
  std::array<uint8_t, kPreludeMax> bytes;
  uint16_t size = 0;
  uint16_t sent = 0;
};

}  // namespace lb
