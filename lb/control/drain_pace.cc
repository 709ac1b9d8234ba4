#include "lb/control/drain_pace.h"

#include <algorithm>

#include "lb/proxy/engine.h"

namespace lb {

DrainPace DrainPace::ForDrain(const DrainRequest& request, uint64_t connections, double safe_rate,
                              net::Time now) {
  return {EndReason::kDrained, request.rate, ShutPlan(request, connections, safe_rate, now), true};
}

DrainPace DrainPace::AfterNode(net::Duration within, net::Time begin) {
  DrainPace pace{EndReason::kDrained, 0,
                 ShutPlan({.deadline = within}, 0, net::kRateUnlimited, begin), true};
  pace.begin_ = begin;
  pace.within_ = within;
  return pace;
}

DrainPace DrainPace::ForShut(double rate, uint64_t connections, net::Time now) {
  const double pace = rate > 0 ? rate : net::kRateUnlimited;
  return {EndReason::kShut, pace < net::kRateUnlimited ? pace : 0,
          ShutPlan({.rate = pace}, connections, net::kRateUnlimited, now), false};
}

DrainPace DrainPace::ForDown(double rate, uint64_t connections, net::Time now) {
  const double pace = rate > 0 ? rate : net::kRateUnlimited;
  return {EndReason::kNodeDown, pace < net::kRateUnlimited ? pace : 0,
          ShutPlan({.rate = pace}, connections, net::kRateUnlimited, now), true};
}

bool DrainPace::Step(const Node& node, Engine& engine, net::Time now) {
  if (now < begin_) return false;
  if (within_ > net::Duration::zero()) {
    plan_ = ShutPlan({.deadline = within_}, node.active(), net::kRateUnlimited, begin_);
    within_ = {};
  }
  const ShutPlan::Due due = plan_.Ask(node.active(), now);
  if (due.now > 0) ended_ += engine.ShutNode(&node, ShutCount(due.now), reason_);
  return node.active() == 0 && !drain_;
}

}  // namespace lb
