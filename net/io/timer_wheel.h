// Deadlines of many objects, named by index, in O(1) each. The wheel keeps only the links; each
// object holds a WheelNode.
//
// A deadline that moves with every byte would cost a list operation a byte. So the wheel is lazy:
// an object stays in its bucket when its deadline moves later, and when the bucket comes up the
// owner looks at the true deadline and puts the object in again. Deadlines beyond one turn of the
// wheel (kBuckets ticks) come up early and are put in again, too.
//
// Pure, one thread. A tick is a unit of the caller's; buckets come up when their tick has passed,
// so an object is seen at its tick or later, never before.
#pragma once

#include <array>
#include <cstdint>

#include "net/base/check.h"
#include "net/base/slab.h"

namespace net {

struct WheelNode {
  uint32_t next = kNoIndex;
  uint32_t previous = kNoIndex;  // kNoIndex for the first of a bucket
  uint16_t bucket = kOut;

  static constexpr uint16_t kOut = 0xffff;
  bool in() const { return bucket != kOut; }
};

// `NodeOf(index)` must give the WheelNode& of an object.
template <uint32_t kBuckets = 1024>
class TimerWheel {
  static_assert((kBuckets & (kBuckets - 1)) == 0 && kBuckets < WheelNode::kOut);

 public:
  explicit TimerWheel(uint64_t now_tick) : tick_(now_tick) { buckets_.fill(kNoIndex); }

  template <typename NodeOf>
  void Insert(uint32_t index, uint64_t due_tick, NodeOf&& node_of) {
    WheelNode& node = node_of(index);
    DCHECK(!node.in());
    uint64_t last = tick_ + kBuckets - 1;
    uint64_t due = due_tick <= tick_ ? tick_ + 1 : due_tick > last ? last : due_tick;
    node.bucket = static_cast<uint16_t>(due % kBuckets);
    node.previous = kNoIndex;
    node.next = buckets_[node.bucket];
    if (node.next != kNoIndex) node_of(node.next).previous = index;
    buckets_[node.bucket] = index;
    ++size_;
  }

  template <typename NodeOf>
  void Remove(uint32_t index, NodeOf&& node_of) {
    WheelNode& node = node_of(index);
    if (!node.in()) return;
    if (node.previous == kNoIndex) {
      buckets_[node.bucket] = node.next;
    } else {
      node_of(node.previous).next = node.next;
    }
    if (node.next != kNoIndex) node_of(node.next).previous = node.previous;
    node.bucket = WheelNode::kOut;
    --size_;
  }

  // Takes out, one by one, all objects whose bucket has come up until `now_tick`, and calls
  // due(index) for each, which may insert it again, and insert or remove others.
  template <typename NodeOf, typename Due>
  void Advance(uint64_t now_tick, NodeOf&& node_of, Due&& due) {
    while (tick_ < now_tick) {
      if (size_ == 0) {
        tick_ = now_tick;
        return;
      }
      ++tick_;
      uint32_t& head = buckets_[tick_ % kBuckets];
      while (head != kNoIndex) {
        uint32_t index = head;
        Remove(index, node_of);
        due(index);
      }
    }
  }

  // Until the bucket of an object that is in comes up.
  uint32_t TicksLeft(const WheelNode& node) const {
    return static_cast<uint32_t>((node.bucket + kBuckets - tick_ % kBuckets) % kBuckets);
  }
  uint32_t size() const { return size_; }

 private:
  uint64_t tick_;  // the last tick whose bucket came up
  uint32_t size_ = 0;
  std::array<uint32_t, kBuckets> buckets_;
};

}  // namespace net
