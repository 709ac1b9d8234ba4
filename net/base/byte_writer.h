// Messages put together at the end of a vector, big-endian; the twin of byte_reader.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace net {

inline void AppendBytes(std::vector<uint8_t>* out, std::span<const uint8_t> bytes) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}

inline void AppendNumber(std::vector<uint8_t>* out, size_t value, size_t bytes) {
  while (bytes-- > 0) out->push_back(static_cast<uint8_t>(value >> (8 * bytes)));
}

// While it lives, what is appended is a vector or message with its length before it. The end of its
// scope writes the length, so the scope ends before `out` is used or returned.
class Sized {
 public:
  Sized(std::vector<uint8_t>* out, size_t length_bytes)
      : out_(out), bytes_(length_bytes), begin_(out->size() + length_bytes) {
    AppendNumber(out, 0, length_bytes);
  }
  ~Sized() {
    const size_t size = out_->size() - begin_;
    for (size_t i = 0; i < bytes_; ++i) {
      (*out_)[begin_ - 1 - i] = static_cast<uint8_t>(size >> (8 * i));
    }
  }
  Sized(const Sized&) = delete;
  Sized& operator=(const Sized&) = delete;

 private:
  std::vector<uint8_t>* out_;
  size_t bytes_;
  size_t begin_;
};

}  // namespace net
