// The state of one node (backend server) that all workers share: how many connections it carries,
// how fast it may be given new ones, and what happened to it so far.
//
// Threads: every member is a relaxed atomic. Workers reserve and release; the control thread sets
// weight, limits and rates. Nothing here is ordered against anything else: counts may be off by the
// connections that other workers are placing this instant, never by more, and never lastingly.
// Owner: the pool; it must outlive every snapshot (lb/balance/balancer.h holds it by shared_ptr)
// and every connection that holds a reservation.
#pragma once

#include <atomic>
#include <cstdint>

#include "net/base/clock.h"
#include "net/limit/gcra.h"

namespace lb {

// Effective weights are fixed-point: configured weight (0..1000) × kWeightScale × ramp factor.
inline constexpr uint32_t kWeightScale = 256;
inline constexpr uint32_t kWeightMax = 1000;

// How much unused admission a warming node may save up, as time: a burst of rate × this, at
// least 1.
inline constexpr net::Duration kAdmissionBurst = std::chrono::milliseconds(50);
// How far ahead of its rate a node can be pushed by forced arrivals before the excess is forgotten.
inline constexpr net::Duration kAdmissionDebtMax = std::chrono::seconds(1);

enum class ReserveResult : uint8_t { kOk, kFull, kNoToken };

class alignas(64) NodeState {
 public:
  explicit NodeState(uint32_t weight = 100, uint32_t connections_max = 0)
      : connections_max_(connections_max), effective_weight_(weight * kWeightScale) {}
  NodeState(const NodeState&) = delete;
  NodeState& operator=(const NodeState&) = delete;

  // --- Control thread ------------------------------------------------------------------------
  void SetEffectiveWeight(uint32_t scaled) { Store(effective_weight_, scaled); }
  void SetConnectionsMax(uint32_t max) { Store(connections_max_, max); }  // 0 = none
  // Tokens a second from now on; kRateUnlimited ends the admission control. Call it about every
  // 100 ms while the node warms up: it also forgets debt older than kAdmissionDebtMax.
  void SetAdmissionRate(double per_s, net::Time now) {
    admission_.SetRate(per_s, now, kAdmissionDebtMax);
  }
  void ResetErrors() {
    Store(consecutive_errors_, 0U);
    Store(early_resets_, 0U);
  }
  // Connections that another process of ours carries to this node (the old one, after an upgrade):
  // they weigh in every choice and limit as our own do.
  void AddElsewhere(uint32_t count) { active_.fetch_add(count, std::memory_order_relaxed); }
  void SubElsewhere(uint32_t count) { active_.fetch_sub(count, std::memory_order_release); }

  // --- Workers -------------------------------------------------------------------------------
  // Counts a connection in (connecting counts). Takes an admission token while the node warms up.
  // Balancer::Pick does this for the caller.
  ReserveResult TryReserve(net::Time now);
  // The same without asking for a token; the token is owed. False when connections_max is reached.
  bool ForceReserve(net::Time now);
  // Ends a reservation; exactly once for each. The last that the worker does with the node.
  void Release() { active_.fetch_sub(1, std::memory_order_release); }
  void OnConnected() {
    Bump(connects_);
    if (Load(consecutive_errors_) != 0) Store(consecutive_errors_, 0U);
  }
  // Returns how many failed in a row, for passive health (HAProxy's observe layer4).
  uint32_t OnConnectFailed() {
    Bump(connect_failures_);
    return consecutive_errors_.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  // It reset a connection before it had said anything: how many in a row, with none between them
  // that was answered.
  uint32_t OnEarlyReset() { return early_resets_.fetch_add(1, std::memory_order_relaxed) + 1; }
  void OnSpoke() {
    if (Load(early_resets_) != 0) Store(early_resets_, 0U);
  }
  void CountPassedFull() { Bump(passed_full_); }
  void CountPassedNoToken() { Bump(passed_no_token_); }
  void CountPassedShareCap() { Bump(passed_share_cap_); }
  void CountPassedBound() { Bump(passed_bound_); }

  // --- Anyone --------------------------------------------------------------------------------
  uint32_t active() const { return Load(active_); }
  // No reservation is left; what those who had one did with the node lies before this.
  bool unused() const { return active_.load(std::memory_order_acquire) == 0; }
  uint32_t connections_max() const { return Load(connections_max_); }
  uint32_t effective_weight() const { return Load(effective_weight_); }
  uint32_t consecutive_errors() const { return Load(consecutive_errors_); }
  bool full() const {
    uint32_t max = Load(connections_max_);
    return max != 0 && Load(active_) >= max;
  }
  bool warming() const { return !admission_.unlimited(); }
  double admission_rate() const { return admission_.rate(); }
  bool HasToken(net::Time now) const { return admission_.Wait(now, kAdmissionBurst).count() <= 0; }
  // How far the node was pushed ahead of its rate; <= 0 when a token is there.
  int64_t debt_ns(net::Time now) const { return admission_.Wait(now, kAdmissionBurst).count(); }

  // Cumulative, for metrics.
  uint64_t arrivals() const { return Load(arrivals_); }  // reservations made
  uint64_t connects() const { return Load(connects_); }
  uint64_t connect_failures() const { return Load(connect_failures_); }
  uint64_t forced() const { return Load(forced_); }  // placed although no token was there
  uint64_t passed_full() const { return Load(passed_full_); }
  uint64_t passed_no_token() const { return Load(passed_no_token_); }
  uint64_t passed_share_cap() const { return Load(passed_share_cap_); }
  uint64_t passed_bound() const { return Load(passed_bound_); }  // bounded load (source, maglev)

 private:
  template <typename T>
  static T Load(const std::atomic<T>& from) {
    return from.load(std::memory_order_relaxed);
  }
  template <typename T>
  static void Store(std::atomic<T>& to, T value) {
    to.store(value, std::memory_order_relaxed);
  }
  static void Bump(std::atomic<uint64_t>& counter) {
    counter.fetch_add(1, std::memory_order_relaxed);
  }
  bool CountIn();

  // One line for what every choice reads and writes.
  std::atomic<uint32_t> active_{0};
  std::atomic<uint32_t> connections_max_;
  std::atomic<uint32_t> effective_weight_;
  std::atomic<uint32_t> consecutive_errors_{0};
  std::atomic<uint32_t> early_resets_{0};
  net::AtomicGcra admission_;
  std::atomic<uint64_t> arrivals_{0};
  std::atomic<uint64_t> connects_{0};
  std::atomic<uint64_t> connect_failures_{0};

  alignas(64) std::atomic<uint64_t> forced_{0};
  std::atomic<uint64_t> passed_full_{0};
  std::atomic<uint64_t> passed_no_token_{0};
  std::atomic<uint64_t> passed_share_cap_{0};
  std::atomic<uint64_t> passed_bound_{0};
};

static_assert(sizeof(NodeState) == 128);

}  // namespace lb
