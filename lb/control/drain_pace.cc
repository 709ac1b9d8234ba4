#include "lb/control/drain_pace.h"

#include <algorithm>

#include "lb/proxy/engine.h"

namespace lb {

DrainPace DrainPace::ForDrain(const DrainRequest& request, uint64_t connections, double safe_rate,
                              net::Time now) {
  return {EndReason::kDrained, request.rate, ShutPlan(request, connections, safe_rate, now), true};
}

DrainPace DrainPace::ForShut(double rate, uint64_t connections, net::Time now) {
  const double pace = rate > 0 ? rate : net::kRateUnlimited;
  return {EndReason::kShut, pace < net::kRateUnlimited ? pace : 0,
          ShutPlan({.rate = pace}, connections, net::kRateUnlimited, now), false};
}

bool DrainPace::Step(const Node& node, Engine& engine, net::Time now) {
  const ShutPlan::Due due = plan_.Ask(node.active(), now);
  if (due.now > 0) ended_ += EndIdlest(engine, &node, due.now, reason_);
  return node.active() == 0 && !drain_;
}

uint64_t EndIdlest(Engine& engine, const Node* node, uint64_t count, EndReason reason) {
  uint64_t left = count;
  uint64_t workers = engine.workers();
  // Even shares; who has fewer leaves the rest to the next, and what the last one lacks to the
  // first.
  for (int round = 0; round < 2 && left > 0; ++round) {
    engine.AskAll([&](ProxyWorker& worker) {
      const uint64_t share = round == 0 ? (left + workers - 1) / workers : left;
      if (workers > 1) --workers;
      if (share == 0) return;
      left -= worker.ShutNode(node, static_cast<uint32_t>(std::min<uint64_t>(share, UINT32_MAX)),
                              reason);
    });
  }
  return count - left;
}

}  // namespace lb
