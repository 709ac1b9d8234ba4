// What a Pair keeps while its PROXY header is on its way to the node.
#pragma once

#include <array>
#include <cstdint>

namespace lb {

struct Prelude {
  std::array<uint8_t, 512> bytes;
  uint16_t size = 0;
  uint16_t sent = 0;
};

}  // namespace lb
