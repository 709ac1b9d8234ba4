// Warm-up: clock in, rate and weight out.
//
// A node that returns empty next to nodes that hold 50,000 connections each is what every
// least-connections balancer wants to fill first. A ramped weight does not help: it sets a share of
// connections held, and until the node holds that share it gets every arrival. So the mode `rate`
// ramps the rate of admission itself, and caps the node's share of arrivals. The two weight ramps
// are here for those who want the formula they know.
//
// Pure. One thread (control), except AcceptBudget::Take (all workers).
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/base/clock.h"
#include "net/limit/gcra.h"

namespace lb {

enum class WarmupMode : uint8_t { kRate, kHaproxy, kEnvoy, kOff };
std::string_view WarmupModeName(WarmupMode mode);  // "rate", "haproxy", "envoy", "off"

struct WarmupConfig {
  WarmupMode mode = WarmupMode::kRate;
  net::Duration duration = std::chrono::seconds(60);
  double start_rate = 10;   // connections a second
  double end_rate = 1'000;  // reached after `duration`; from then on unlimited
  double aggression = 1.0;  // > 1 rises early, < 1 late: exponent 1 / aggression (as Envoy)
  double share_cap = 1.0;   // at most this × fair share of arrivals; 0 = no cap
  double min_weight = 0.1;  // envoy
};

// What holds at one moment of a warm-up.
struct WarmupStep {
  bool done = true;
  double rate = net::kRateUnlimited;  // admission, connections a second
  double share_cap = 0;               // BalancerNode::share_cap
  double weight_factor = 1;           // effective weight / configured weight
};

WarmupStep WarmupAt(const WarmupConfig& config, net::Duration elapsed);

// floor((16·t + T) / T), at most 16, of 16.
double HaproxySlowstartFactor(net::Duration elapsed, net::Duration duration);
// max((max(1 ms, t) / T)^(1 / aggression), min_weight).
double EnvoySlowStartFactor(net::Duration elapsed, net::Duration duration, double aggression,
                            double min_weight);

// The warm-up clock of one node. It starts when the node becomes choosable after having been seen
// not to be, and when its incarnation changes (a restart between two checks). The first sighting
// after the balancer's own start does not start it: those nodes are warm, the balancer is new.
class NodeWarmup {
 public:
  // What survives a reload or an upgrade of the balancer.
  struct Saved {
    bool warming = false;
    net::Duration elapsed{0};
    std::string incarnation;
  };

  // `incarnation`: as the status API says it; empty where unknown (then only `choosable` counts).
  // Returns true when the clock (re)started.
  bool Observe(bool choosable, std::string_view incarnation, net::Time now);
  void Start(net::Time now) { started_ = now; }
  void Stop() { started_.reset(); }

  bool warming() const { return started_.has_value(); }
  net::Duration Elapsed(net::Time now) const {
    return started_ ? now - *started_ : net::Duration(0);
  }
  // Also ends the warm-up when its duration is over.
  WarmupStep At(const WarmupConfig& config, net::Time now);

  Saved Save(net::Time now) const { return {warming(), Elapsed(now), incarnation_}; }
  void Restore(const Saved& saved, net::Time now);

 private:
  enum class Seen : uint8_t { kNever, kChoosable, kNotChoosable };

  Seen seen_ = Seen::kNever;
  std::string incarnation_;
  std::optional<net::Time> started_;
};

struct AcceptWarmupConfig {
  bool enabled = false;
  double initial_rate = 1'000;  // accepts a second, whole process
  double growth = 0.5;
  net::Duration interval = std::chrono::minutes(5);
};

// The balancer's own warm-up, in ELB's way: after the start it accepts `initial_rate` a second, and
// after every `interval` of use (seconds in which somebody connected) `growth` more. Over the rate,
// connections wait in the listen queue; none is refused.
class AcceptBudget {
 public:
  // Above this rate the warm-up is over.
  static constexpr double kDoneRate = 1e6;
  // Unused accepts are saved up for at most this time.
  static constexpr net::Duration kBurst = std::chrono::milliseconds(100);

  struct Grant {
    uint32_t accepts = 0;
    net::Duration next{0};  // when accepts is 0: ask again after this
  };

  AcceptBudget(const AcceptWarmupConfig& config, net::Time now);

  // Workers: how many may be accepted now, up to `want`; they are taken.
  Grant Take(net::Time now, uint32_t want);

  // Control thread, about every second.
  void Tick(net::Time now);
  // Raises the rate at once; never lowers it.
  void Prewarm(double rate, net::Time now);
  void RestoreRate(double rate, net::Time now) { Prewarm(rate, now); }

  bool warming() const { return !tokens_.unlimited(); }
  double rate() const { return tokens_.rate(); }
  net::Duration used() const { return used_; }  // of the present interval

 private:
  void SetRate(double rate, net::Time now);

  AcceptWarmupConfig config_;
  net::AtomicGcra tokens_;
  std::atomic<uint64_t> accepted_{0};
  uint64_t accepted_at_tick_ = 0;
  net::Time last_tick_;
  net::Duration used_{0};
  double rate_ = net::kRateUnlimited;
};

}  // namespace lb
