// How `drain --wait` goes on: what to report, and when it has ended and how.
//
// Pure: the clock and the count of connections are given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "net/base/clock.h"

namespace net {

struct DrainWaitStep {
  enum class State : uint8_t { kWaiting, kEmpty, kDeadline };
  State state = State::kWaiting;
  uint64_t remaining = 0;
  std::optional<double> eta_s;  // unknown while nothing moves
};

class DrainWait {
 public:
  // `rate`: connections ended a second, 0 = none by rate; `deadline` zero = none. After the
  // deadline, `grace` is left for the last ones to close.
  DrainWait(uint64_t connections, double rate, Duration deadline, Duration grace, Time now);

  uint64_t connections() const { return connections_; }  // at the beginning
  DrainWaitStep Look(uint64_t remaining, Time now) const;

 private:
  std::optional<double> Eta(uint64_t remaining, Duration elapsed) const;

  uint64_t connections_;
  double rate_;
  Duration deadline_;
  Duration grace_;
  Time start_;
};

}  // namespace net
