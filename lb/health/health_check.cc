#include "lb/health/health_check.h"

#include <algorithm>

#include "net/base/check.h"

namespace lb {
namespace {

HealthStatus StatusAtStart(HealthStart start) {
  switch (start) {
    case HealthStart::kChecking:
      return HealthStatus::kChecking;
    case HealthStart::kUp:
      return HealthStatus::kUp;
    case HealthStart::kDown:
      return HealthStatus::kDown;
  }
  return HealthStatus::kChecking;
}

net::Duration Scaled(net::Duration duration, double factor) {
  return net::Duration(static_cast<int64_t>(static_cast<double>(duration.count()) * factor));
}

}  // namespace

std::string_view HealthStatusName(HealthStatus status) {
  switch (status) {
    case HealthStatus::kChecking:
      return "checking";
    case HealthStatus::kUp:
      return "up";
    case HealthStatus::kDown:
      return "down";
  }
  return "unknown";
}

std::string_view AdminStateName(AdminState state) {
  switch (state) {
    case AdminState::kReady:
      return "ready";
    case AdminState::kDrain:
      return "drain";
    case AdminState::kMaint:
      return "maint";
  }
  return "unknown";
}

std::string_view NodeConditionName(NodeCondition condition) {
  switch (condition) {
    case NodeCondition::kUp:
      return "up";
    case NodeCondition::kChecking:
      return "checking";
    case NodeCondition::kDown:
      return "down";
    case NodeCondition::kNotRunning:
      return "not_running";
    case NodeCondition::kSplit:
      return "split";
    case NodeCondition::kDrain:
      return "drain";
    case NodeCondition::kMaint:
      return "maint";
  }
  return "unknown";
}

NodeAvailability AvailabilityOf(NodeCondition condition) {
  switch (condition) {
    case NodeCondition::kUp:
      return NodeAvailability::kUp;
    case NodeCondition::kChecking:
    case NodeCondition::kDown:
      return NodeAvailability::kDown;
    case NodeCondition::kNotRunning:
    case NodeCondition::kSplit:
    case NodeCondition::kDrain:
    case NodeCondition::kMaint:
      return NodeAvailability::kOut;
  }
  return NodeAvailability::kOut;
}

HealthState::HealthState(const CheckTiming& timing)
    : timing_(timing), status_(StatusAtStart(timing.start)) {}

void HealthState::Restart() {
  status_ = StatusAtStart(timing_.after_maint);
  against_ = 0;
  why_.clear();
}

bool HealthState::OnResult(bool ok, std::string_view why) {
  why_ = why;
  HealthStatus wanted = ok ? HealthStatus::kUp : HealthStatus::kDown;
  if (status_ == wanted) {
    against_ = 0;
    return false;
  }
  ++against_;
  uint32_t needed = ok ? timing_.rise : timing_.fall;
  if (status_ == HealthStatus::kChecking) needed = 1;
  if (against_ < needed) return false;
  status_ = wanted;
  against_ = 0;
  return true;
}

bool HealthState::MarkDown(std::string_view why) {
  if (status_ == HealthStatus::kDown) return false;
  status_ = HealthStatus::kDown;
  against_ = 0;
  why_ = why;
  return true;
}

net::Duration HealthState::FirstIn(net::FastRandom& random) const {
  return Scaled(timing_.fast_interval, timing_.jitter * random.Unit());
}

net::Duration HealthState::NextIn(net::FastRandom& random) const {
  net::Duration base = changing() ? timing_.fast_interval : timing_.interval;
  return Scaled(base, 1 + timing_.jitter * (2 * random.Unit() - 1));
}

NodeHealth::NodeHealth(const NodeHealthConfig& config) : config_(config) {
  for (const CheckTiming& timing : config.checks) checks_.emplace_back(timing);
  Now now = Evaluate();
  condition_ = now.condition;
  why_ = std::move(now.why);
}

NodeHealth::Changed NodeHealth::Update() {
  Now now = Evaluate();
  why_ = now.why;
  if (now.condition == condition_) return std::nullopt;
  NodeTransition transition{condition_, now.condition, std::move(now.why)};
  condition_ = transition.to;
  return transition;
}

NodeHealth::Now NodeHealth::Evaluate() const {
  switch (admin_) {
    case AdminState::kMaint:
      return {NodeCondition::kMaint, "in maintenance by an administrator"};
    case AdminState::kDrain:
      return {NodeCondition::kDrain, "drained by an administrator"};
    case AdminState::kReady:
      break;
  }
  if (name_ == Name::kPending) return {NodeCondition::kChecking, name_why_};
  if (name_ == Name::kFailed) return {NodeCondition::kDown, name_why_};
  if (split_ == SplitVerdict::kOut) return {NodeCondition::kSplit, split_why_};
  std::optional<Now> cluster = EvaluateCluster();
  if (cluster && cluster->condition == NodeCondition::kNotRunning) return *std::move(cluster);
  Now checks = EvaluateChecks();
  if (checks.condition == NodeCondition::kDown || !cluster) return checks;
  return *std::move(cluster);
}

// Nothing when the status API has nothing against it.
std::optional<NodeHealth::Now> NodeHealth::EvaluateCluster() const {
  if (!config_.cluster_status) return std::nullopt;
  if (!cluster_) {
    if (config_.serves && cluster_failures_ < config_.cluster_fall) return std::nullopt;
    if (cluster_failures_ == 0) return Now{NodeCondition::kChecking, "no cluster status yet"};
    return Now{NodeCondition::kDown, "cluster status: " + cluster_error_};
  }
  if (Choosable(cluster_->state)) return std::nullopt;
  return Now{NodeCondition::kNotRunning,
             "the node says that it is " + std::string(ClusterStateName(cluster_->state))};
}

NodeHealth::Now NodeHealth::EvaluateChecks() const {
  if (checks_.empty() && down_passively_) return {NodeCondition::kDown, passive_why_};
  const HealthState* waiting = nullptr;
  std::string passed;
  for (const HealthState& check : checks_) {
    switch (check.status()) {
      case HealthStatus::kDown:
        return {NodeCondition::kDown, check.why().empty() ? "not yet checked" : check.why()};
      case HealthStatus::kChecking:
        waiting = &check;
        break;
      case HealthStatus::kUp:
        if (!check.why().empty()) passed += (passed.empty() ? "" : ", ") + check.why();
        break;
    }
  }
  if (waiting != nullptr) return {NodeCondition::kChecking, "waits for its first check"};
  return {NodeCondition::kUp, passed.empty() ? "nothing speaks against it" : passed};
}

NodeHealth::Changed NodeHealth::OnCheckResult(size_t check, bool ok, std::string_view why) {
  CHECK(check < checks_.size());
  not_checked_.clear();
  checks_[check].OnResult(ok, why);
  if (EvaluateChecks().condition != NodeCondition::kDown) down_passively_ = false;
  return Update();
}

NodeHealth::Changed NodeHealth::OnConnectErrors(uint32_t in_a_row, bool allowed, net::Time now,
                                                std::string_view how) {
  if (config_.passive_errors == 0 || in_a_row < config_.passive_errors) return {};
  std::string why = std::to_string(in_a_row) + " connection attempts in a row failed";
  if (!how.empty()) why += ", the last: " + std::string(how);
  if (checks_.empty()) return HoldBack(std::move(why), now);
  if (!allowed || EvaluateChecks().condition == NodeCondition::kDown) return {};
  for (HealthState& check : checks_) check.MarkDown(why);
  down_passively_ = true;
  return Update();
}

// Whatever the share of the pool: it is for seconds, and nobody else can tell that it is dead.
NodeHealth::Changed NodeHealth::HoldBack(std::string why, net::Time now) {
  if (down_passively_ || now == net::Time{}) return {};
  if (now - back_at_ > kPassiveForgetAfter) hold_ = kPassiveHoldMin;
  back_at_ = now + hold_;
  passive_why_ = std::move(why) + "; tried again after " +
                 std::to_string(hold_ / std::chrono::seconds(1)) + " s";
  hold_ = std::min(2 * hold_, kPassiveHoldMax);
  down_passively_ = true;
  return Update();
}

NodeHealth::Changed NodeHealth::OnTime(net::Time now) {
  if (!checks_.empty() || !down_passively_ || now < back_at_) return {};
  down_passively_ = false;
  return Update();
}

NodeHealth::Changed NodeHealth::OnClusterStatus(const ClusterStatus& status) {
  not_checked_.clear();
  cluster_ = status;
  config_.serves = false;  // from here on its own words decide
  cluster_failures_ = 0;
  cluster_error_.clear();
  return Update();
}

// A failure or two say nothing: what the node said last holds. Without a word of it yet, the first
// failure decides.
NodeHealth::Changed NodeHealth::OnClusterError(std::string_view why) {
  not_checked_.clear();
  ++cluster_failures_;
  cluster_error_ = why;
  if (cluster_failures_ >= config_.cluster_fall) cluster_.reset();
  return Update();
}

NodeHealth::Changed NodeHealth::OnSplit(SplitVerdict verdict, std::string_view why) {
  split_ = verdict;
  split_why_ = why;
  return Update();
}

NodeHealth::Changed NodeHealth::OnName(Name name, std::string_view why) {
  name_ = name;
  name_why_ = why;
  return Update();
}

NodeHealth::Changed NodeHealth::SetAdmin(AdminState state) {
  if (admin_ == AdminState::kMaint && state != AdminState::kMaint) {
    for (HealthState& check : checks_) check.Restart();
    cluster_.reset();
    cluster_failures_ = 0;
    config_.serves = false;
    down_passively_ = false;
    split_ = SplitVerdict::kIn;
  }
  admin_ = state;
  return Update();
}

}  // namespace lb
