// When a busy event loop should wait a moment longer for more completions.
//
// A loop that is woken for each single completion spends more on the waking than on the work: with
// a thousand echoing connections it enters the kernel three times an echo. So above a rate at which
// more are sure to come within the window, the loop gathers for that long. Below, every completion
// is delivered at once: latency counts, CPU time does not, and a timer that soon expires would only
// cost.
//
// Pure: the time is passed in.
#pragma once

#include "net/clock.h"

namespace net {

class Gather {
 public:
  // How long completions are gathered, from the start of a wait; the most that a byte waits for it.
  static constexpr Duration kWindow = std::chrono::microseconds(20);
  // Completions a second from which on, and below which no more, the loop gathers. Within the
  // window that is 1.6 of them, and 1.2.
  static constexpr double kOnRate = 80'000;
  static constexpr double kOffRate = 60'000;
  // What the rate is measured over, at least.
  static constexpr Duration kMeasured = std::chrono::milliseconds(1);

  explicit Gather(Time now) : since_(now) {}

  // After each turn of the loop.
  void Count(Time now, unsigned completions) {
    completions_ += completions;
    const Duration elapsed = now - since_;
    if (elapsed < kMeasured) return;
    on_ = completions_ >= (on_ ? kOffRate : kOnRate) * Seconds(elapsed);
    since_ = now;
    completions_ = 0;
  }

  // What the next wait should gather for; zero when it should not.
  Duration window() const { return on_ ? kWindow : Duration::zero(); }

 private:
  Time since_;
  double completions_ = 0;
  bool on_ = false;
};

}  // namespace net
