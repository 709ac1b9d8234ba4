// The input of a fuzz target, read from its front; zeros and nothing when it is used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(data, size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const uint8_t byte = rest_[0];
    rest_ = rest_.subspan(1);
    return byte;
  }
  std::vector<uint8_t> Take(size_t n) {
    n = std::min(n, rest_.size());
    std::vector<uint8_t> bytes(rest_.begin(), rest_.begin() + static_cast<long>(n));
    rest_ = rest_.subspan(n);
    return bytes;
  }

 private:
  std::span<const uint8_t> rest_;
};
