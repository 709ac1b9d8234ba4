// Buffers for what goes out: sealed records, and copies of what was sent while the kernel was busy.
// Small ones for stanzas, large ones for streams. Last in, first out, so that the same few stay in
// the cache.
//
// One thread. What is taken is given back by its size class; the pool keeps a few of each and frees
// the rest, so a storm's memory goes back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "net/base/check.h"

namespace net {

class OutputPool {
 public:
  static constexpr uint32_t kSmallBytes = 4096;
  // Three records of 16,384 bytes with their overhead, and room for a control record: a send costs
  // more than to seal what it takes. (Sizes have 16 bits.)
  static constexpr uint32_t kLargeBytes = 3 * 16'406 + 64;

  OutputPool() {
    for (auto& free : free_) free.reserve(kKept);
  }
  // Whoever took one gives it back first.
  ~OutputPool() { CHECK(out_ == 0); }
  OutputPool(const OutputPool&) = delete;
  OutputPool& operator=(const OutputPool&) = delete;

  static uint32_t Capacity(bool large) { return large ? kLargeBytes : kSmallBytes; }
  uint8_t* Take(bool large) {
    ++out_;
    out_bytes_ += Capacity(large);
    std::vector<std::unique_ptr<uint8_t[]>>& free = free_[large];
    if (free.empty()) return new uint8_t[Capacity(large)];
    uint8_t* taken = free.back().release();
    free.pop_back();
    return taken;
  }
  void Give(uint8_t* buffer, bool large) {
    --out_;
    out_bytes_ -= Capacity(large);
    std::vector<std::unique_ptr<uint8_t[]>>& free = free_[large];
    std::unique_ptr<uint8_t[]> owned(buffer);
    if (free.size() < kKept) free.push_back(std::move(owned));
  }
  size_t out() const { return out_; }  // taken and not given back
  size_t out_bytes() const { return out_bytes_; }

 private:
  static constexpr size_t kKept = 64;  // of each class
  std::vector<std::unique_ptr<uint8_t[]>> free_[2];
  size_t out_ = 0;
  size_t out_bytes_ = 0;
};

}  // namespace net
