// Connections of one node that are being ended at a pace: by a drain with a rate or a deadline, by
// `shut`, or since it is down.
//
// Control thread only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lb/balance/drain_plan.h"
#include "lb/proxy/pair.h"
#include "net/base/clock.h"

namespace lb {

class Engine;
class Node;

// As many as Engine::ShutNode takes at a time.
constexpr uint32_t ShutCount(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX));
}

class DrainPace {
 public:
  // `safe_rate` bounds the pace before the deadline (DrainVerdict::safe_rate).
  static DrainPace ForDrain(const DrainRequest& request, uint64_t connections, double safe_rate,
                            net::Time now);
  // What is left of a drain at which the node ends its own: evenly from `begin` on, for so long.
  static DrainPace AfterNode(net::Duration within, net::Time begin);
  // All at once for a rate of 0.
  static DrainPace ForShut(double rate, uint64_t connections, net::Time now);
  // Likewise, of a node that is down, and who still comes to it.
  static DrainPace ForDown(double rate, uint64_t connections, net::Time now);

  // Ends what is due. True when this has nothing more to do.
  bool Step(const Node& node, Engine& engine, net::Time now);

  double rate() const { return rate_; }
  uint64_t ended() const { return ended_; }

 private:
  DrainPace(EndReason reason, double rate, ShutPlan plan, bool drain)
      : reason_(reason), rate_(rate), plan_(plan), drain_(drain) {}

  EndReason reason_;
  double rate_;
  ShutPlan plan_;
  net::Time begin_{};       // not before
  net::Duration within_{};  // until planned at begin_, by who is there then
  uint64_t ended_ = 0;
  bool drain_;  // goes on with an empty node, until it is ready again, or up
};

}  // namespace lb
