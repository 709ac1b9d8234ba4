#include "lb/balance/warmup.h"

#include <algorithm>
#include <cmath>

namespace lb {
namespace {

constexpr int64_t kHaproxySteps = 16;

// 0..1, bent by the aggression.
double Progress(net::Duration elapsed, net::Duration duration, double aggression) {
  if (duration.count() <= 0) return 1;
  double linear = std::clamp(net::Seconds(elapsed) / net::Seconds(duration), 0.0, 1.0);
  return aggression == 1.0 ? linear : std::pow(linear, 1 / aggression);
}

}  // namespace

std::string_view WarmupModeName(WarmupMode mode) {
  switch (mode) {
    case WarmupMode::kRate:
      return "rate";
    case WarmupMode::kHaproxy:
      return "haproxy";
    case WarmupMode::kEnvoy:
      return "envoy";
    case WarmupMode::kOff:
      return "off";
  }
  return "unknown";
}

double HaproxySlowstartFactor(net::Duration elapsed, net::Duration duration) {
  if (duration.count() <= 0) return 1;
  int64_t t = std::max<int64_t>(elapsed.count(), 0);
  if (t >= duration.count()) return 1;
  int64_t steps = (kHaproxySteps * t + duration.count()) / duration.count();
  return static_cast<double>(std::min(steps, kHaproxySteps)) / kHaproxySteps;
}

double EnvoySlowStartFactor(net::Duration elapsed, net::Duration duration, double aggression,
                            double min_weight) {
  if (elapsed >= duration) return 1;
  net::Duration at_least = std::max<net::Duration>(elapsed, std::chrono::milliseconds(1));
  return std::max(Progress(at_least, duration, aggression), min_weight);
}

WarmupStep WarmupAt(const WarmupConfig& config, net::Duration elapsed) {
  WarmupStep step;
  if (config.mode == WarmupMode::kOff || elapsed >= config.duration) return step;
  step.done = false;
  switch (config.mode) {
    case WarmupMode::kRate:
      step.rate = config.start_rate + (config.end_rate - config.start_rate) *
                                          Progress(elapsed, config.duration, config.aggression);
      step.share_cap = config.share_cap;
      break;
    case WarmupMode::kHaproxy:
      step.weight_factor = HaproxySlowstartFactor(elapsed, config.duration);
      break;
    case WarmupMode::kEnvoy:
      step.weight_factor =
          EnvoySlowStartFactor(elapsed, config.duration, config.aggression, config.min_weight);
      break;
    case WarmupMode::kOff:
      break;
  }
  return step;
}

bool NodeWarmup::Observe(bool choosable, std::string_view incarnation, net::Time now) {
  bool restarted = !incarnation.empty() && !incarnation_.empty() && incarnation != incarnation_;
  if (!incarnation.empty()) incarnation_ = incarnation;
  bool returned = choosable && seen_ == Seen::kNotChoosable;
  seen_ = choosable ? Seen::kChoosable : Seen::kNotChoosable;
  if (!choosable) {
    Stop();
    return false;
  }
  if (!returned && !restarted) return false;
  Start(now);
  return true;
}

WarmupStep NodeWarmup::At(const WarmupConfig& config, net::Time now) {
  if (!started_) return {};
  WarmupStep step = WarmupAt(config, Elapsed(now));
  if (step.done) Stop();
  return step;
}

void NodeWarmup::Restore(const Saved& saved, net::Time now) {
  incarnation_ = saved.incarnation;
  seen_ = Seen::kChoosable;
  if (saved.warming) {
    started_ = now - saved.elapsed;
  } else {
    started_.reset();
  }
}

AcceptBudget::AcceptBudget(const AcceptWarmupConfig& config, net::Time now)
    : config_(config), last_tick_(now) {
  if (config.enabled) SetRate(config.initial_rate, now);
}

void AcceptBudget::SetRate(double rate, net::Time now) {
  rate_ = rate >= kDoneRate ? net::kRateUnlimited : rate;
  tokens_.SetRate(rate_, now, std::chrono::seconds(1));
}

AcceptBudget::Grant AcceptBudget::Take(net::Time now, uint32_t want) {
  uint32_t accepts = tokens_.Take(now, kBurst, want);
  if (accepts > 0) {
    if (!tokens_.unlimited()) accepted_.fetch_add(accepts, std::memory_order_relaxed);
    return {accepts, net::Duration(0)};
  }
  // A moment at least, so that a lost race does not make the caller spin.
  net::Duration wait =
      std::max<net::Duration>(tokens_.Wait(now, kBurst), std::chrono::microseconds(1));
  return {0, wait};
}

void AcceptBudget::Tick(net::Time now) {
  net::Duration passed = now - last_tick_;
  last_tick_ = now;
  if (!warming()) return;
  uint64_t accepted = accepted_.load(std::memory_order_relaxed);
  bool in_use = accepted != accepted_at_tick_;
  accepted_at_tick_ = accepted;
  if (!in_use) return;
  used_ += passed;
  while (used_ >= config_.interval && warming()) {
    used_ -= config_.interval;
    SetRate(rate_ * (1 + config_.growth), now);
  }
}

void AcceptBudget::Prewarm(double rate, net::Time now) {
  if (!warming() || rate <= rate_) return;
  SetRate(rate, now);
  used_ = net::Duration(0);
}

}  // namespace lb
