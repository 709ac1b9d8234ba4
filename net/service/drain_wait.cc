#include "net/service/drain_wait.h"

#include <algorithm>

namespace net {

DrainWait::DrainWait(uint64_t connections, double rate, Duration deadline, Duration grace, Time now)
    : connections_(connections), rate_(rate), deadline_(deadline), grace_(grace), start_(now) {}

std::optional<double> DrainWait::Eta(uint64_t remaining, Duration elapsed) const {
  std::optional<double> eta;
  const auto left = static_cast<double>(remaining);
  if (rate_ > 0) {
    eta = left / rate_;
  } else if (remaining < connections_ && elapsed > Duration(0)) {
    eta = left * Seconds(elapsed) / static_cast<double>(connections_ - remaining);
  }
  if (deadline_ > Duration(0)) {
    const double until = std::max(0.0, Seconds(deadline_ - elapsed));
    eta = eta ? std::min(*eta, until) : until;
  }
  return eta;
}

DrainWaitStep DrainWait::Look(uint64_t remaining, Time now) const {
  using State = DrainWaitStep::State;
  const Duration elapsed = now - start_;
  DrainWaitStep step{.remaining = remaining, .eta_s = Eta(remaining, elapsed)};
  if (remaining == 0) {
    step.state = State::kEmpty;
  } else if (deadline_ > Duration(0) && elapsed >= deadline_) {
    // What the pace would have ended within a second belongs to it; more than that is cut off.
    const bool cut_off = rate_ > 0 && static_cast<double>(remaining) > rate_;
    if (cut_off || elapsed >= deadline_ + grace_) step.state = State::kDeadline;
  }
  return step;
}

}  // namespace net
