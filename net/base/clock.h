// Time as a value. Pure code takes a Time; only the edges of the program ask a Clock for it, so
// that tests can hold the clock in their hand.
//
// Time counts from an arbitrary start (CLOCK_MONOTONIC) and is never shown to people; for logs use
// the wall clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace net {

using Duration = std::chrono::nanoseconds;

struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

using Time = MonotonicClock::time_point;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

class SystemClock final : public Clock {
 public:
  Time Now() const override {
    return Time(
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
  }
};

// A clock that stands still until it is told to move. Not thread-safe.
class ManualClock final : public Clock {
 public:
  Time Now() const override { return now_; }
  void Advance(Duration by) { now_ += by; }
  void Set(Time to) { now_ = to; }

 private:
  Time now_{std::chrono::seconds(1'000)};
};

constexpr double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace net
