// What waits to be sent over one link: written by all threads, taken by the loop's in one piece, so
// that what piles up while the kernel has the last piece goes out as one.
//
// Thread-safe. Bounded: Put() refuses above the limit, and when half of it is free again Took()
// says that somebody was refused. Answers and the like (PutUrgent) have as much again; a peer that
// lets that fill up is cut off.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

#include "server/dist/term_writer.h"

namespace server {

class OutQueue {
 public:
  enum class Result : uint8_t {
    kQueued,
    kWake,  // queued, and nobody is on the way to take it: wake the loop
    kFull,
    kClosed,
  };

  explicit OutQueue(size_t bytes_max) : bytes_max_(bytes_max) {}

  // `build(TermBuffer*)` appends about `size` bytes.
  template <typename Build>
  Result Put(size_t size, Build&& build) {
    return PutBelow(bytes_max_, size, std::forward<Build>(build));
  }
  template <typename Build>
  Result PutUrgent(size_t size, Build&& build) {
    return PutBelow(2 * bytes_max_, size, std::forward<Build>(build));
  }

  // On the loop's thread. Moves all that waits into `*into`, which must be empty and is the piece
  // that goes to the kernel next. False: nothing waits, and the next Put() says kWake.
  bool Take(TermBuffer* into) {
    std::lock_guard lock(mutex_);
    with_kernel_ = 0;
    if (waiting_.empty()) {
      taker_comes_ = false;
      return false;
    }
    waiting_.swap(*into);
    with_kernel_ = into->size();
    return true;
  }
  // True once after a kFull, when half of the room is free.
  bool ClearRefused() {
    std::lock_guard lock(mutex_);
    if (!refused_ || waiting_.size() + with_kernel_ > bytes_max_ / 2) return false;
    refused_ = false;
    return true;
  }
  size_t bytes() const {
    std::lock_guard lock(mutex_);
    return waiting_.size() + with_kernel_;
  }
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    waiting_ = {};
  }

 private:
  template <typename Build>
  Result PutBelow(size_t bytes_max, size_t size, Build&& build) {
    std::lock_guard lock(mutex_);
    if (closed_) return Result::kClosed;
    if (waiting_.size() + with_kernel_ + size > bytes_max) {
      refused_ = true;
      return Result::kFull;
    }
    build(&waiting_);
    return std::exchange(taker_comes_, true) ? Result::kQueued : Result::kWake;
  }

  const size_t bytes_max_;
  mutable std::mutex mutex_;
  TermBuffer waiting_;
  size_t with_kernel_ = 0;
  bool taker_comes_ = false;
  bool refused_ = false;
  bool closed_ = false;
};

}  // namespace server
