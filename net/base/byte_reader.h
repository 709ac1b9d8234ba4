// Length-prefixed fields of a message, read within its bounds. Once a field does not fit, ok() is
// false, nothing is left, and all further fields are empty; so a parser may read on and ask once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace net {

inline std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view TextOf(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool empty() const { return bytes_.empty(); }
  // All was read, and nothing was missing.
  bool done() const { return ok_ && bytes_.empty(); }

  // Big-endian, of `size` bytes; 0 when they are not there.
  size_t Number(size_t size) {
    size_t value = 0;
    for (uint8_t byte : Take(size)) value = value << 8 | byte;
    return value;
  }
  std::span<const uint8_t> Take(size_t size) {
    if (size > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    std::span<const uint8_t> taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  // A field with its length before it, in `length_size` bytes.
  std::span<const uint8_t> Vector(size_t length_size) { return Take(Number(length_size)); }

 private:
  std::span<const uint8_t> bytes_;
  bool ok_ = true;
};

}  // namespace net
