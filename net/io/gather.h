// When a busy event loop should wait a moment longer for more completions.
//
// A loop that is woken for each single completion spends more on the waking than on the work: with
// a thousand echoing connections it enters the kernel three times an echo. So above a rate at which
// more are likely to come within the window, the loop tries to gather for that long, and goes on
// with it for as long as it pays: while turns bring several completions. A few connections that
// talk fast, each waiting for the other, never make it pay; nor does a stream that brings many
// buffers at once, whose sender may be waiting for room. Where it does not, every completion is
// delivered at once: latency counts, CPU time does not. Where the loop is busy most of the time, a
// byte waits longer for the turns before it than for the gathering, which may last longer then:
// going to sleep and being woken is what costs.
//
// Pure: the time is passed in.
#pragma once

#include "net/base/clock.h"

namespace net {

class Gather {
 public:
  // How long completions are gathered, from the start of a wait; the most that a byte waits for it.
  static constexpr Duration kWindow = std::chrono::microseconds(20);
  // The same while the loop is busy most of the time.
  static constexpr Duration kLongWindow = std::chrono::microseconds(100);
  // Completions a second from which on it is tried: one within the window.
  static constexpr double kTryRate = 50'000;
  // What a turn must bring then, on average.
  static constexpr double kPays = 4;
  // From so many on the loop is busy most of the time: some two thirds, at 3 to 4 us for each
  // completion with all that follows from it. In the long window about five times as many come.
  static constexpr double kBusy = 12;
  static constexpr double kStillBusy = 48;
  // What rate and average are measured over, at least.
  static constexpr Duration kMeasured = std::chrono::milliseconds(1);
  // After it did not pay, it is not tried again for so long: 1 % of the time at worst.
  static constexpr Duration kPause = std::chrono::milliseconds(100);

  explicit Gather(Time now) : since_(now), not_before_(now) {}

  // After each turn of the loop; `completions` are those that stood alone (Delivered::alone).
  void Count(Time now, unsigned completions) {
    completions_ += completions;
    ++turns_;
    const Duration elapsed = now - since_;
    if (elapsed < kMeasured) return;
    if (window_ > Duration::zero()) {
      const double busy = window_ == kLongWindow ? kStillBusy : kBusy;
      if (completions_ >= busy * turns_) {
        window_ = kLongWindow;
      } else if (completions_ >= kPays * turns_) {
        window_ = kWindow;
      } else {
        window_ = Duration::zero();
        not_before_ = now + kPause;
      }
    } else if (now >= not_before_ && completions_ >= kTryRate * Seconds(elapsed)) {
      window_ = kWindow;
    }
    since_ = now;
    completions_ = 0;
    turns_ = 0;
  }

  // What the next wait should gather for; zero when it should not.
  Duration window() const { return window_; }

 private:
  Time since_;
  Time not_before_;
  double completions_ = 0;
  double turns_ = 0;
  Duration window_ = Duration::zero();
};

}  // namespace net
