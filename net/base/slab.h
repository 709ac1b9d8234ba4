// Objects of one type, named by a 32-bit index, in chunks that never move. An index is four bytes
// where a pointer is eight; a chunk that was never needed takes no memory; and an object need not
// carry its index, since it follows from its address.
//
// One thread. Chunks are kept for reuse until the slab goes; the slab does not destroy what still
// lives then (its owner frees what it allocated).
#pragma once

#include <sys/mman.h>

#include <bit>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "net/base/check.h"

namespace net {

inline constexpr uint32_t kNoIndex = UINT32_MAX;

template <typename T, uint32_t kChunk = 1024>
class Slab {
  static_assert((kChunk & (kChunk - 1)) == 0 && kChunk > 1);
  static_assert(sizeof(T) >= sizeof(uint32_t));

 public:
  explicit Slab(uint32_t maximum) : maximum_(maximum) {}
  ~Slab() {
    for (uint8_t* chunk : chunks_) munmap(chunk, kChunkBytes);
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // kNoIndex when `maximum` objects live, or without memory.
  template <typename... Args>
  uint32_t Allocate(Args&&... args) {
    uint32_t index = free_;
    if (index != kNoIndex) {
      free_ = *reinterpret_cast<uint32_t*>(Raw(index));
    } else {
      if (size_ == maximum_) return kNoIndex;
      if (used_ % kChunk == 0) {
        if (!AddChunk()) return kNoIndex;
        ++used_;  // the place of the chunk's header
      }
      index = used_++;
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

  // Of an object that lives in a slab of this type.
  static uint32_t IndexOf(const T& object) {
    const auto address = reinterpret_cast<uintptr_t>(&object);
    const uintptr_t chunk = address & ~(uintptr_t{kChunkBytes} - 1);
    return *reinterpret_cast<const uint32_t*>(chunk) +
           static_cast<uint32_t>((address - chunk) / sizeof(T));
  }

  bool Live(uint32_t index) const {
    return index < used_ && (live_[index / 64] >> (index % 64) & 1U) != 0;
  }
  uint32_t size() const { return size_; }
  uint32_t maximum() const { return maximum_; }

  // Calls f(index, object) for each live object; f may free objects, and may allocate.
  template <typename F>
  void ForEach(F&& f) {
    for (uint32_t index = 0; index < used_; ++index) {
      if (Live(index)) f(index, (*this)[index]);
    }
  }

 private:
  // A chunk is aligned to its size, and its first place holds the index of that place, so that an
  // object's index follows from its address.
  static constexpr size_t kChunkBytes = std::bit_ceil(kChunk * sizeof(T));
  static_assert(kChunkBytes >= 4096);

  uint8_t* Raw(uint32_t index) { return chunks_[index / kChunk] + (index % kChunk) * sizeof(T); }

  bool AddChunk() {
    void* memory = mmap(nullptr, 2 * kChunkBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    const auto start = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t chunk = (start + kChunkBytes - 1) & ~(uintptr_t{kChunkBytes} - 1);
    if (chunk > start) munmap(memory, chunk - start);
    const uintptr_t behind = start + kChunkBytes - chunk;
    if (behind > 0) munmap(reinterpret_cast<void*>(chunk + kChunkBytes), behind);
    auto* bytes = reinterpret_cast<uint8_t*>(chunk);
    *reinterpret_cast<uint32_t*>(bytes) = static_cast<uint32_t>(chunks_.size()) * kChunk;
    chunks_.push_back(bytes);
    live_.resize((chunks_.size() * kChunk + 63) / 64, 0);
    return true;
  }

  const uint32_t maximum_;
  uint32_t used_ = 0;  // indices below were handed out, or are headers
  uint32_t size_ = 0;
  uint32_t free_ = kNoIndex;
  std::vector<uint8_t*> chunks_;
  std::vector<uint64_t> live_;
};

}  // namespace net
