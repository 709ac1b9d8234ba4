// What a connection has been given to send and the kernel has not taken: copies in buffers of the
// pool, and shared bytes by reference, in the order in which they came.
//
// A short piece goes behind the last copy rather than by itself, shared or not: a part of a
// vectored send costs more than to copy a few hundred bytes.
//
// Pure. One thread. Empty, it holds nothing; Clear() before it goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "net/conn/output_pool.h"
#include "net/conn/shared_bytes.h"

namespace net {

// Where the parts of all queues of a worker come from.
class PartPool {
 public:
  struct Part {
    Part* next = nullptr;
    SharedBytes shared;      // or a buffer of the output pool:
    uint8_t* own = nullptr;  // null with `shared`
    uint32_t begin = 0;      // of what is left
    uint32_t end = 0;
    bool large = false;  // `own` is

    std::span<const uint8_t> bytes() const {
      if (own != nullptr) return {own + begin, end - begin};
      return shared.bytes().subspan(begin, end - begin);
    }
  };

  explicit PartPool(OutputPool& buffers) : buffers_(buffers) {}
  ~PartPool();
  PartPool(const PartPool&) = delete;
  PartPool& operator=(const PartPool&) = delete;

  Part* Take();
  void Give(Part* part);  // with its buffer
  OutputPool& buffers() { return buffers_; }

 private:
  // Parts that are kept for the next ones; a burst's are freed.
  static constexpr size_t kKept = 1024;
  OutputPool& buffers_;
  Part* free_ = nullptr;
  size_t kept_ = 0;
};

class SendQueue {
 public:
  // Shared bytes below this are copied where a copy stands before them and has room.
  static constexpr size_t kCopyBelow = 512;

  SendQueue() = default;
  ~SendQueue() { CHECK(head_ == nullptr); }
  SendQueue(const SendQueue&) = delete;
  SendQueue& operator=(const SendQueue&) = delete;

  void Add(PartPool& pool, std::span<const uint8_t> bytes);
  void Add(PartPool& pool, const SharedBytes& shared);
  // The first parts, as many as `spans` has room for; returns how many.
  size_t Front(std::span<std::span<const uint8_t>> spans) const;
  // So many bytes of the front are done with.
  void Consume(PartPool& pool, size_t bytes);
  void Clear(PartPool& pool) { Consume(pool, bytes_); }

  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

 private:
  using Part = PartPool::Part;
  void Append(Part* part);

  Part* head_ = nullptr;
  Part* tail_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace net
