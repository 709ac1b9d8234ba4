#include "net/conn/send_queue.h"

#include <algorithm>
#include <cstring>

namespace net {

PartPool::~PartPool() {
  while (free_ != nullptr) {
    const Part* part = free_;
    free_ = part->next;
    delete part;
  }
}

PartPool::Part* PartPool::Take() {
  if (free_ == nullptr) return new Part;
  Part* part = free_;
  free_ = part->next;
  part->next = nullptr;
  --kept_;
  return part;
}

void PartPool::Give(Part* part) {
  if (part->own != nullptr) buffers_.Give(part->own, part->large);
  if (kept_ == kKept) {
    delete part;
    return;
  }
  *part = Part{};
  part->next = free_;
  free_ = part;
  ++kept_;
}

void SendQueue::Append(Part* part) {
  if (tail_ == nullptr) {
    head_ = part;
  } else {
    tail_->next = part;
  }
  tail_ = part;
}

void SendQueue::Add(PartPool& pool, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    // Behind what is with the kernel already there is room, too: it was told where its part ends.
    size_t room = 0;
    if (tail_ != nullptr && tail_->own != nullptr) {
      room = OutputPool::Capacity(tail_->large) - tail_->end;
    }
    if (room == 0) {
      Part* part = pool.Take();
      part->large = bytes.size() > OutputPool::kSmallBytes;
      part->own = pool.buffers().Take(part->large);
      Append(part);
      room = OutputPool::Capacity(part->large);
    }
    const size_t count = std::min(room, bytes.size());
    std::memcpy(tail_->own + tail_->end, bytes.data(), count);
    tail_->end += static_cast<uint32_t>(count);
    bytes_ += count;
    bytes = bytes.subspan(count);
  }
}

void SendQueue::Add(PartPool& pool, const SharedBytes& shared) {
  const size_t size = shared.size();
  if (size == 0) return;
  if (size < kCopyBelow && tail_ != nullptr && tail_->own != nullptr &&
      tail_->end + size <= OutputPool::Capacity(tail_->large)) {
    Add(pool, shared.bytes());
    return;
  }
  CHECK(size <= UINT32_MAX);
  Part* part = pool.Take();
  part->shared = shared;
  part->end = static_cast<uint32_t>(size);
  Append(part);
  bytes_ += size;
}

size_t SendQueue::Front(std::span<std::span<const uint8_t>> spans) const {
  size_t count = 0;
  for (const Part* part = head_; part != nullptr && count < spans.size(); part = part->next) {
    spans[count++] = part->bytes();
  }
  return count;
}

void SendQueue::Consume(PartPool& pool, size_t bytes) {
  CHECK(bytes <= bytes_);
  bytes_ -= bytes;
  while (bytes > 0) {
    Part* part = head_;
    const size_t count = std::min<size_t>(bytes, part->end - part->begin);
    part->begin += static_cast<uint32_t>(count);
    bytes -= count;
    if (part->begin < part->end) return;
    head_ = part->next;
    if (head_ == nullptr) tail_ = nullptr;
    pool.Give(part);
  }
}

}  // namespace net
