// The receive buffers of one worker, handed to the kernel as a provided-buffer ring: a connection
// holds a buffer only while bytes are on their way through it, so an idle one holds none.
//
// Buffers are named by a 16-bit id, the one that a completion carries. Received buffers that wait
// to be sent form chains through links kept here, so that a connection needs two ids for a queue of
// any length.
//
// The pool starts small and doubles when it runs low, up to its maximum; memory that was never
// needed is never touched. When the maximum is in use, receives fail with -ENOBUFS until a buffer
// comes back: who got that waits in line (StarvedQueue) and is woken in order.
//
// A few large buffers may stand beside them, in a group of their own, for streams: a receive costs
// about as much as copying 8 KB. They are not waited for; whoever finds none takes small ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "net/base/check.h"
#include "net/io/ring.h"

namespace net {

inline constexpr uint16_t kNoBuffer = 0xffff;

class BufferPool {
 public:
  struct Options {
    uint16_t group = 0;
    uint32_t buffer_bytes = 4096;  // at most 65,535
    uint32_t initial = 256;        // buffers provided at once
    uint32_t maximum = 16'384;     // at most 32,768
    uint16_t large_group = 1;
    uint32_t large_bytes = 32'768;  // at most 65,535
    uint32_t large = 0;             // a power of two; 0 for none
  };

  // `ring` must outlive the pool.
  static std::expected<std::unique_ptr<BufferPool>, std::string> Create(Ring& ring,
                                                                        const Options& options);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A completion brought this buffer, with so many bytes in it.
  void Took(uint16_t id, uint32_t bytes) {
    DCHECK(id < provided_ || IsLarge(id));
    length_[id] = static_cast<uint16_t>(bytes);
    next_[id] = kNoBuffer;
    --(IsLarge(id) ? large_free_ : free_);
  }
  // Copies bytes behind those of a buffer that we hold; false when they do not fit.
  bool Extend(uint16_t id, std::span<const uint8_t> bytes) {
    if (length_[id] + bytes.size() > Capacity(id)) return false;
    std::copy(bytes.begin(), bytes.end(), At(id) + length_[id]);
    length_[id] = static_cast<uint16_t>(length_[id] + bytes.size());
    return true;
  }
  // Lets go of the first bytes of a buffer that we hold.
  void TrimFront(uint16_t id, uint32_t bytes) {
    DCHECK(bytes <= length_[id]);
    std::copy(At(id) + bytes, At(id) + length_[id], At(id));
    length_[id] = static_cast<uint16_t>(length_[id] - bytes);
  }
  // Back to the kernel. Visible to it after Publish().
  void Give(uint16_t id) {
    if (IsLarge(id)) [[unlikely]] {
      ring_.ProvideBuffer(large_group_, At(id), large_bytes_, id);
      ++large_free_;
      large_dirty_ = true;
      return;
    }
    ring_.ProvideBuffer(group_, At(id), buffer_bytes_, id);
    ++free_;
    dirty_ = true;
  }
  // Once a turn.
  void Publish() {
    if (free_ < provided_ / 8 && provided_ < maximum_) [[unlikely]]
      Grow();
    if (std::exchange(dirty_, false)) ring_.PublishBuffers(group_);
    if (std::exchange(large_dirty_, false)) ring_.PublishBuffers(large_group_);
  }

  std::span<uint8_t> Bytes(uint16_t id) { return {At(id), length_[id]}; }
  uint32_t Length(uint16_t id) const { return length_[id]; }
  uint16_t Next(uint16_t id) const { return next_[id]; }
  void SetNext(uint16_t id, uint16_t next) { next_[id] = next; }

  uint16_t group() const { return group_; }
  uint32_t buffer_bytes() const { return buffer_bytes_; }
  uint32_t free() const { return free_; }  // with the kernel
  uint32_t provided() const { return provided_; }
  uint32_t maximum() const { return maximum_; }
  uint32_t in_use() const { return provided_ - free_; }

  uint16_t large_group() const { return large_group_; }
  uint32_t large_bytes() const { return large_bytes_; }
  uint32_t large() const { return large_; }
  uint32_t large_in_use() const { return large_ - large_free_; }

 private:
  BufferPool(Ring& ring, const Options& options);
  // Their ids follow those of the small ones.
  bool IsLarge(uint16_t id) const { return id >= maximum_; }
  uint32_t Capacity(uint16_t id) const { return IsLarge(id) ? large_bytes_ : buffer_bytes_; }
  uint8_t* At(uint16_t id) {
    return IsLarge(id) ? large_memory_ + size_t{id - maximum_} * large_bytes_
                       : memory_ + size_t{id} * buffer_bytes_;
  }
  void Grow();

  Ring& ring_;
  const uint16_t group_;
  const uint32_t buffer_bytes_;
  const uint32_t maximum_;
  const uint16_t large_group_;
  const uint32_t large_bytes_;
  const uint32_t large_;
  uint32_t provided_ = 0;
  uint32_t free_ = 0;
  uint32_t large_free_ = 0;
  bool dirty_ = false;
  bool large_dirty_ = false;
  bool registered_ = false;
  bool large_registered_ = false;
  uint8_t* memory_ = nullptr;        // maximum_ buffers of address space
  uint8_t* large_memory_ = nullptr;  // behind them
  uint16_t* length_ = nullptr;
  uint16_t* next_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace net
