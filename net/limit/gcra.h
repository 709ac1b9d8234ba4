// A token bucket in two atomic words, after the generic cell rate algorithm: instead of a level
// that must be refilled, it keeps the time at which the next token falls due.
//
// Threads: all; relaxed. Unlimited costs one load. The rate may be set at any time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "net/base/clock.h"

namespace net {

inline constexpr double kRateUnlimited = 0x1.0p+62;  // events a second

// A rate of 0 still lets one through in this time.
inline constexpr Duration kTokenIntervalMax = std::chrono::hours(1);

class AtomicGcra {
 public:
  // per_s from now on. Debt beyond now + debt_max (or one interval, if longer) is forgotten.
  void SetRate(double per_s, Time now, Duration debt_max) {
    int64_t interval = IntervalOf(per_s);
    int64_t latest = Ns(now) + std::max(debt_max.count(), interval);
    int64_t next = next_ns_.load(std::memory_order_relaxed);
    // Who takes a token meanwhile wins; the next call clamps again.
    if (next > latest) {
      next_ns_.compare_exchange_strong(next, latest, std::memory_order_relaxed);
    }
    interval_ns_.store(interval, std::memory_order_relaxed);
  }

  bool unlimited() const { return interval_ns_.load(std::memory_order_relaxed) == 0; }

  double rate() const {
    int64_t interval = interval_ns_.load(std::memory_order_relaxed);
    return interval == 0 ? kRateUnlimited : kNsPerSecond / static_cast<double>(interval);
  }

  // How long until a token may be taken; <= 0 when one is there. `burst`: how much unused time may
  // be saved up (a burst of rate × burst, at least 1).
  Duration Wait(Time now, Duration burst) const {
    int64_t interval = interval_ns_.load(std::memory_order_relaxed);
    if (interval == 0) return Duration(0);
    return Duration(next_ns_.load(std::memory_order_relaxed) - Tolerance(interval, burst) -
                    Ns(now));
  }

  // Takes up to `want` tokens, returns how many.
  uint32_t Take(Time now, Duration burst, uint32_t want) {
    int64_t interval = interval_ns_.load(std::memory_order_relaxed);
    if (interval == 0) return want;
    int64_t now_ns = Ns(now);
    int64_t limit = now_ns + Tolerance(interval, burst);
    int64_t next = next_ns_.load(std::memory_order_relaxed);
    while (true) {
      int64_t from = std::max(next, now_ns);
      if (from > limit) return 0;
      int64_t taken = std::min<int64_t>((limit - from) / interval + 1, want);
      if (next_ns_.compare_exchange_weak(next, from + taken * interval,
                                         std::memory_order_relaxed)) {
        return static_cast<uint32_t>(taken);
      }
    }
  }

  // Takes one whether it is there or not.
  void Owe(Time now) {
    int64_t interval = interval_ns_.load(std::memory_order_relaxed);
    if (interval == 0) return;
    int64_t now_ns = Ns(now);
    int64_t bound = now_ns + 2 * kTokenIntervalMax.count();
    int64_t next = next_ns_.load(std::memory_order_relaxed);
    int64_t after = 0;
    do {
      after = std::min(std::max(next, now_ns) + interval, bound);
    } while (!next_ns_.compare_exchange_weak(next, after, std::memory_order_relaxed));
  }

 private:
  static constexpr double kNsPerSecond = 1e9;

  static int64_t Ns(Time t) { return t.time_since_epoch().count(); }
  static int64_t IntervalOf(double per_s) {
    if (per_s >= kNsPerSecond) return 0;
    int64_t longest = kTokenIntervalMax.count();
    if (per_s <= kNsPerSecond / static_cast<double>(longest)) return longest;
    return std::max<int64_t>(1, static_cast<int64_t>(kNsPerSecond / per_s));
  }
  static int64_t Tolerance(int64_t interval, Duration burst) {
    return std::max<int64_t>(burst.count() - interval, 0);
  }

  std::atomic<int64_t> interval_ns_{0};
  std::atomic<int64_t> next_ns_{0};
};

}  // namespace net
