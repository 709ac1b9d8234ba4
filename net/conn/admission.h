// A place at a listener, and at its source address: held by whoever serves the connection, given
// back when it goes. Nobody counts in and out by hand.
//
// Any thread; one holder. The session of a connection keeps it until OnClosed().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/limit/source_limits.h"

namespace net {

// The part of a listener that all workers share.
struct ListenerCounts {
  std::atomic<uint32_t> active{0};
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> refused_limit{0};
  std::atomic<uint64_t> refused_source{0};
  std::atomic<uint64_t> refused_header{0};      // of the PROXY protocol
  std::shared_ptr<SourceLimits> source_limits;  // null without; set before it is used
};

class Admission {
 public:
  Admission() = default;  // none
  Admission(Admission&& other) noexcept
      : counts_(std::move(other.counts_)), source_(std::exchange(other.source_, Address())) {}
  Admission& operator=(Admission&& other) noexcept {
    std::swap(counts_, other.counts_);
    std::swap(source_, other.source_);
    return *this;
  }
  ~Admission() {
    if (counts_ == nullptr) return;
    counts_->active.fetch_sub(1, std::memory_order_relaxed);
    if (source_) counts_->source_limits->Leave(source_);
  }

  // None when `connections_max` (0: no limit) have one already.
  static Admission Enter(std::shared_ptr<ListenerCounts> counts, uint32_t connections_max) {
    const uint32_t before = counts->active.fetch_add(1, std::memory_order_relaxed);
    Admission admission;
    admission.counts_ = std::move(counts);
    if (connections_max == 0 || before < connections_max) return admission;
    admission.counts_->refused_limit.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  // Where it comes from is known now. False: that source has too many, or comes too fast.
  bool EnterSource(const Address& source, Time now) {
    if (counts_->source_limits == nullptr || !source) return true;
    if (!counts_->source_limits->Enter(source, now)) {
      counts_->refused_source.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    source_ = source;
    return true;
  }
  explicit operator bool() const { return counts_ != nullptr; }

 private:
  std::shared_ptr<ListenerCounts> counts_;
  Address source_;  // counted there; none: not
};

}  // namespace net
