// Health of a node: what many results mean together. State machines only; time and randomness are
// handed in.
//
//   HealthState  one check's results → up or down, with rise, fall and the time of the next check
//   NodeHealth   all checks of a node (AND), passive errors, the administrator's will, the cluster
//                status and the netsplit decision → one condition, and a transition to log when it
//                changes
//
// One thread (control).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/health/cluster_view.h"
#include "net/base/clock.h"
#include "net/base/random.h"

namespace lb {

enum class HealthStart : uint8_t {
  kChecking,  // down until the first result, which decides alone
  kUp,        // up until `fall` failures
  kDown,      // down until `rise` successes
};

// [[pool.NAME.check]], when it runs and what counts.
struct CheckTiming {
  net::Duration interval = std::chrono::seconds(5);
  net::Duration fast_interval = std::chrono::seconds(1);  // while the state may be about to change
  net::Duration timeout = std::chrono::seconds(2);
  uint32_t rise = 2;
  uint32_t fall = 3;
  double jitter = 0.1;  // each interval × (1 ± jitter)
  HealthStart start = HealthStart::kChecking;
  HealthStart after_maint = HealthStart::kChecking;  // whatever it was before
};

enum class HealthStatus : uint8_t { kChecking, kUp, kDown };
std::string_view HealthStatusName(HealthStatus status);

class HealthState {
 public:
  explicit HealthState(const CheckTiming& timing);

  // One result; true when the status changed.
  bool OnResult(bool ok, std::string_view why);
  // Down at once, by other evidence than a check (passive errors).
  bool MarkDown(std::string_view why);
  void Restart();  // as at the beginning (after maintenance)

  HealthStatus status() const { return status_; }
  // A result went against the status, or none has come: the fast interval holds.
  bool changing() const { return against_ > 0 || status_ == HealthStatus::kChecking; }
  const std::string& why() const { return why_; }  // of the last result
  uint32_t against() const { return against_; }    // results in a row against the status

  net::Duration FirstIn(
      net::FastRandom& random) const;  // spread, so that not all checks start at once
  net::Duration NextIn(net::FastRandom& random) const;

 private:
  CheckTiming timing_;
  HealthStatus status_;
  uint32_t against_ = 0;
  std::string why_;
};

enum class AdminState : uint8_t { kReady, kDrain, kMaint };
std::string_view AdminStateName(AdminState state);  // "ready", "drain", "maint"

// What a node is, of all inputs the strongest: maint, drain, split, cluster state, checks.
enum class NodeCondition : uint8_t {
  kUp,
  kChecking,    // no result yet
  kDown,        // a check, the status API or connection errors say so
  kNotRunning,  // the cluster status says starting, joining, draining, isolated or stopping
  kSplit,       // on the losing side of a netsplit
  kDrain,       // by an administrator; connections stay
  kMaint,       // by an administrator; not checked
};
std::string_view NodeConditionName(NodeCondition condition);
NodeAvailability AvailabilityOf(NodeCondition condition);

struct NodeTransition {
  NodeCondition from = NodeCondition::kUp;
  NodeCondition to = NodeCondition::kUp;
  std::string why;
};

struct NodeHealthConfig {
  std::vector<CheckTiming> checks;  // none = up unless something else speaks against it
  bool cluster_status = false;      // the status API is asked
  uint32_t cluster_fall = 3;        // failures in a row until the node is down for it
  bool serves = false;              // it does, and no word of the status API yet is none against it
  uint32_t passive_errors = 3;      // failed connects in a row until it is down; 0 = off
};

// At most this share of a pool's nodes may be down by passive errors alone: when connects fail
// everywhere, the fault is more likely here or in the network.
inline constexpr double kPassiveDownShareMax = 0.5;
constexpr bool MayMarkDownPassively(size_t down_passively, size_t nodes) {
  return static_cast<double>(down_passively + 1) <=
         kPassiveDownShareMax * static_cast<double>(nodes);
}

// A node without checks that passive errors took out is tried again after this. When it fails again
// within kPassiveForgetAfter, after twice as long, and so on to the maximum. Longer: a node that is
// back waits for its clients; shorter: clients' connects go to one that is not.
inline constexpr net::Duration kPassiveHoldMin = std::chrono::seconds(2);
inline constexpr net::Duration kPassiveHoldMax = std::chrono::minutes(1);
inline constexpr net::Duration kPassiveForgetAfter = std::chrono::minutes(2);

class NodeHealth {
 public:
  using Changed = std::optional<NodeTransition>;

  explicit NodeHealth(const NodeHealthConfig& config);

  // Each returns the transition, if there was one.
  Changed OnCheckResult(size_t check, bool ok, std::string_view why);
  // A check could not be made, or the status API not asked, for want of something of ours: that is
  // no result. It says why in not_checked() until the next one.
  void OnNotChecked(std::string_view why) { not_checked_ = why; }
  // NodeState::consecutive_errors as seen now, and `how` the last one failed, in words ("" where
  // that is plain). With active checks the node is down until they succeed; `allowed`:
  // MayMarkDownPassively. Without any it is down for a while, twice as long each time that it fails
  // again; OnTime() brings it back. (Without a clock nothing could: it stays up.)
  Changed OnConnectErrors(uint32_t in_a_row, bool allowed, net::Time now = {},
                          std::string_view how = {});
  // Now and then, for what has an end by time.
  Changed OnTime(net::Time now);
  Changed OnClusterStatus(const ClusterStatus& status);
  Changed OnClusterError(std::string_view why);
  Changed OnSplit(SplitVerdict verdict, std::string_view why);
  // The node's name is being looked up (kPending: it is being looked at), or cannot be (down, and
  // never chosen, since there is nowhere to go).
  enum class Name : uint8_t { kKnown, kPending, kFailed };
  Changed OnName(Name name, std::string_view why);
  // Leaving maintenance starts all checks anew.
  Changed SetAdmin(AdminState state);

  NodeCondition condition() const { return condition_; }
  // Whether on_down = "close" ends its sessions: it is dead, or cut off from the cluster, by the
  // balancer's judgement or its own word (isolated). A node that says that it drains or stops ends
  // its own at its own pace, one that starts has none, and what an administrator said stands above.
  bool loses_sessions() const {
    return condition_ == NodeCondition::kDown || condition_ == NodeCondition::kSplit ||
           (condition_ == NodeCondition::kNotRunning && cluster_ &&
            cluster_->state == ClusterState::kIsolated);
  }
  NodeAvailability availability() const {
    return name_ == Name::kKnown ? AvailabilityOf(condition_) : NodeAvailability::kOut;
  }
  const std::string& why() const { return why_; }
  bool choosable() const { return condition_ == NodeCondition::kUp; }
  bool checks_wanted() const { return admin_ != AdminState::kMaint; }
  AdminState admin() const { return admin_; }
  bool down_passively() const { return down_passively_; }
  const std::string& not_checked() const { return not_checked_; }

  const HealthState& check(size_t index) const { return checks_[index]; }
  size_t checks() const { return checks_.size(); }
  // What the status API said last; for DecideNetsplit, nothing after cluster_fall failures.
  const std::optional<ClusterStatus>& cluster() const { return cluster_; }
  // For NodeWarmup::Observe; "" when unknown.
  std::string_view incarnation() const {
    return cluster_ ? std::string_view(cluster_->incarnation) : std::string_view();
  }

 private:
  struct Now {
    NodeCondition condition;
    std::string why;
  };
  Now Evaluate() const;
  std::optional<Now> EvaluateCluster() const;
  Now EvaluateChecks() const;
  Changed Update();
  Changed HoldBack(std::string why, net::Time now);

  NodeHealthConfig config_;
  std::vector<HealthState> checks_;
  AdminState admin_ = AdminState::kReady;
  Name name_ = Name::kKnown;
  std::string name_why_;
  bool down_passively_ = false;
  // Without checks: until when it is down, and for how long the next time.
  net::Time back_at_{};
  net::Duration hold_ = kPassiveHoldMin;
  std::string passive_why_;
  std::string not_checked_;
  std::optional<ClusterStatus> cluster_;
  uint32_t cluster_failures_ = 0;
  std::string cluster_error_;
  SplitVerdict split_ = SplitVerdict::kIn;
  std::string split_why_;
  NodeCondition condition_;
  std::string why_;
};

}  // namespace lb
