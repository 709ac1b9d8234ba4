// Ids of archived messages: microseconds since the epoch << 8 | the process's number. All homes of
// a process take them from one place, so that none has a number of its own; the number is what the
// store says of this opening, so two processes of one store differ in it while fewer than 255 were
// started since. (Two that do not would have to archive for one owner within one microsecond, and
// an owner is at home on one node: then the store refuses the second, and nothing is overwritten.)
//
// Any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace server {

class ArchiveIds {
 public:
  static constexpr unsigned kNumberBits = 8;

  // The last number is of importers (server/transfer).
  explicit ArchiveIds(uint64_t opening) : number_(opening % ((uint64_t{1} << kNumberBits) - 1)) {}

  // Above all that it gave before, and never behind the clock.
  uint64_t Next(int64_t unix_us) {
    uint64_t last = last_us_.load(std::memory_order_relaxed);
    uint64_t next = 0;
    do {
      next = std::max(static_cast<uint64_t>(unix_us), last + 1);
    } while (!last_us_.compare_exchange_weak(last, next, std::memory_order_relaxed));
    return next << kNumberBits | number_;
  }

 private:
  const uint64_t number_;
  std::atomic<uint64_t> last_us_{0};
};

}  // namespace server
