// Objects of one type, named by a 32-bit index, in chunks that never move. An index is four bytes
// where a pointer is eight, and a chunk that was never needed takes no memory.
//
// One thread. T must be trivially destructible in effect: Free() calls its destructor, Allocate()
// constructs it; chunks are kept for reuse until the slab goes.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "net/check.h"

namespace net {

inline constexpr uint32_t kNoIndex = UINT32_MAX;

template <typename T, uint32_t kChunk = 1024>
class Slab {
  static_assert((kChunk & (kChunk - 1)) == 0);

 public:
  explicit Slab(uint32_t maximum) : maximum_(maximum) {}
  ~Slab() {
    for (uint8_t* chunk : chunks_) munmap(chunk, kChunk * sizeof(T));
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // kNoIndex when `maximum` objects live.
  template <typename... Args>
  uint32_t Allocate(Args&&... args) {
    uint32_t index = free_;
    if (index != kNoIndex) {
      free_ = *reinterpret_cast<uint32_t*>(Raw(index));
    } else {
      if (used_ == maximum_) return kNoIndex;
      if (used_ == chunks_.size() * kChunk && !AddChunk()) return kNoIndex;
      index = used_++;
      live_.resize((used_ + 63) / 64, 0);
    }
    new (Raw(index)) T(std::forward<Args>(args)...);
    live_[index / 64] |= uint64_t{1} << (index % 64);
    ++size_;
    return index;
  }

  void Free(uint32_t index) {
    DCHECK(Live(index));
    (*this)[index].~T();
    live_[index / 64] &= ~(uint64_t{1} << (index % 64));
    *reinterpret_cast<uint32_t*>(Raw(index)) = free_;
    free_ = index;
    --size_;
  }

  T& operator[](uint32_t index) { return *std::launder(reinterpret_cast<T*>(Raw(index))); }

  bool Live(uint32_t index) const {
    return index < used_ && (live_[index / 64] >> (index % 64) & 1U) != 0;
  }
  uint32_t size() const { return size_; }
  uint32_t maximum() const { return maximum_; }

  // Calls f(index, object) for each live object; f may free that object, and may allocate.
  template <typename F>
  void ForEach(F&& f) {
    for (uint32_t index = 0; index < used_; ++index) {
      if (Live(index)) f(index, (*this)[index]);
    }
  }

 private:
  uint8_t* Raw(uint32_t index) { return chunks_[index / kChunk] + (index % kChunk) * sizeof(T); }

  bool AddChunk() {
    void* memory = mmap(nullptr, kChunk * sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    chunks_.push_back(static_cast<uint8_t*>(memory));
    return true;
  }

  const uint32_t maximum_;
  uint32_t used_ = 0;  // indices below were handed out at least once
  uint32_t size_ = 0;
  uint32_t free_ = kNoIndex;
  std::vector<uint8_t*> chunks_;
  std::vector<uint64_t> live_;
};

}  // namespace net
