#include "lb/node_state.h"

#include <algorithm>

namespace lb {
namespace {

constexpr double kNsPerSecond = 1e9;
constexpr int64_t kIntervalMaxNs = 3'600'000'000'000;  // a rate of 0 still admits one an hour

int64_t Ns(net::Time t) { return t.time_since_epoch().count(); }

}  // namespace

void NodeState::SetAdmissionRate(double per_s, net::Time now) {
  if (per_s >= kNsPerSecond) {
    Store(interval_ns_, int64_t{0});
    return;
  }
  int64_t interval = kIntervalMaxNs;
  if (per_s > kNsPerSecond / static_cast<double>(kIntervalMaxNs)) {
    interval = std::max<int64_t>(1, static_cast<int64_t>(kNsPerSecond / per_s));
  }
  int64_t latest = Ns(now) + std::max(kAdmissionDebtMax.count(), interval);
  int64_t next = Load(next_token_ns_);
  // A worker that charges meanwhile wins; the next call clamps again.
  if (next > latest) {
    next_token_ns_.compare_exchange_strong(next, latest, std::memory_order_relaxed);
  }
  Store(interval_ns_, interval);
}

double NodeState::admission_rate() const {
  int64_t interval = Load(interval_ns_);
  return interval == 0 ? kRateUnlimited : kNsPerSecond / static_cast<double>(interval);
}

int64_t NodeState::debt_ns(net::Time now) const {
  int64_t interval = Load(interval_ns_);
  if (interval == 0) return 0;
  return Load(next_token_ns_) - ToleranceNs(interval) - Ns(now);
}

bool NodeState::HasToken(net::Time now) const { return debt_ns(now) <= 0; }

bool NodeState::CountIn() {
  uint32_t max = Load(connections_max_);
  uint32_t before = active_.fetch_add(1, std::memory_order_relaxed);
  if (max != 0 && before >= max) {
    active_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  return true;
}

ReserveResult NodeState::TryReserve(net::Time now) {
  if (!CountIn()) return ReserveResult::kFull;
  int64_t interval = Load(interval_ns_);
  if (interval != 0) {
    int64_t now_ns = Ns(now);
    int64_t limit = now_ns + ToleranceNs(interval);
    int64_t next = Load(next_token_ns_);
    do {
      if (next > limit) {
        Release();
        return ReserveResult::kNoToken;
      }
    } while (!next_token_ns_.compare_exchange_weak(next, std::max(next, now_ns) + interval,
                                                   std::memory_order_relaxed));
  }
  Bump(arrivals_);
  return ReserveResult::kOk;
}

bool NodeState::ForceReserve(net::Time now) {
  if (!CountIn()) return false;
  int64_t interval = Load(interval_ns_);
  if (interval != 0) {
    int64_t now_ns = Ns(now);
    int64_t next = Load(next_token_ns_);
    int64_t after = 0;
    do {
      after = std::min(std::max(next, now_ns) + interval, now_ns + 2 * kIntervalMaxNs);
    } while (!next_token_ns_.compare_exchange_weak(next, after, std::memory_order_relaxed));
  }
  Bump(arrivals_);
  Bump(forced_);
  return true;
}

}  // namespace lb
