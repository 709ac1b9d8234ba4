#include "lb/balance/drain_plan.h"

#include <algorithm>
#include <cmath>

namespace lb {
namespace {

// What a stalled plan may catch up with at once: not more than this much of its rate.
constexpr double kCatchUpSeconds = 1;
constexpr net::Duration kAskAgainMin = std::chrono::milliseconds(10);
constexpr net::Duration kAskAgainMax = std::chrono::seconds(1);

uint64_t RoomOf(const DrainNode& node) {
  if (node.connections_max == 0) return UINT64_MAX;
  return node.connections_max > node.active ? node.connections_max - node.active : 0;
}

// Arrivals a node's warm-up takes within `time`: at least its present rate until it is warm.
double Intake(const DrainNode& node, net::Duration time) {
  if (node.admission_rate >= net::kRateUnlimited || node.warm_in < time) return net::kRateUnlimited;
  return node.admission_rate * net::Seconds(time);
}

std::string Count(uint64_t n) { return n == UINT64_MAX ? "no limit" : std::to_string(n); }

}  // namespace

DrainVerdict CheckDrain(std::span<const DrainNode> nodes, size_t target,
                        const DrainRequest& request) {
  DrainVerdict verdict;
  verdict.to_move = nodes[target].active;
  verdict.safe_rate = 0;
  bool primaries = false;
  for (size_t i = 0; i < nodes.size(); ++i) {
    primaries |= i != target && nodes[i].choosable && !nodes[i].backup;
  }
  double intake = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const DrainNode& node = nodes[i];
    if (i == target || !node.choosable || (primaries && node.backup)) continue;
    ++verdict.survivors;
    uint64_t room = RoomOf(node);
    verdict.room = room > UINT64_MAX - verdict.room ? UINT64_MAX : verdict.room + room;
    verdict.safe_rate = std::min(verdict.safe_rate + node.admission_rate, net::kRateUnlimited);
    intake = std::min(intake + Intake(node, request.deadline), net::kRateUnlimited);
  }
  const std::string& name = nodes[target].name;
  if (verdict.survivors == 0) {
    verdict.why = "no other node can take new connections while " + name + " drains";
  } else if (verdict.room < verdict.to_move) {
    verdict.why = "the other nodes have room for " + Count(verdict.room) + " of " + name + "'s " +
                  Count(verdict.to_move) + " connections (connections_max)";
  } else if (request.deadline.count() > 0 && intake < static_cast<double>(verdict.to_move)) {
    verdict.why = "the other nodes are warming up and take about " +
                  Count(static_cast<uint64_t>(intake)) + " of " + name + "'s " +
                  Count(verdict.to_move) + " connections before the deadline";
  } else {
    verdict.allowed = true;
    verdict.why = std::to_string(verdict.survivors) +
                  (verdict.survivors == 1 ? " node can take " : " nodes can take ") + name + "'s " +
                  Count(verdict.to_move) + (verdict.to_move == 1 ? " connection" : " connections") +
                  " (room: " + Count(verdict.room) + ")";
  }
  return verdict;
}

ShutPlan::ShutPlan(const DrainRequest& request, uint64_t connections, double rate_max,
                   net::Time start)
    : rate_(request.rate),
      rate_max_(rate_max),
      last_(start),
      has_deadline_(request.deadline.count() > 0),
      deadline_(start + request.deadline),
      spread_from_(start + request.deadline / 2) {
  if (rate_ <= 0 && has_deadline_) {
    rate_ = static_cast<double>(connections) / net::Seconds(request.deadline);
  }
}

ShutPlan::Due ShutPlan::Ask(uint64_t left, net::Time now) {
  Due due;
  if (left == 0) return due;
  if (has_deadline_ && now >= deadline_) {
    due.now = left;
    due.deadline = true;
    ended_ += left;
    return due;
  }
  double rate = std::min(rate_, rate_max_);
  // What the rate would leave until the deadline is spread over the second half of the time, so
  // that nobody is thrown out together with a crowd.
  if (has_deadline_ && now >= spread_from_) {
    // The time before it counts by the plain rate, or the spread would begin with a crowd.
    const net::Time from = std::max(last_, spread_from_);
    credit_ += rate * net::Seconds(from - last_);
    last_ = from;
    rate = std::max(rate, static_cast<double>(left) / net::Seconds(deadline_ - from));
  }
  credit_ += rate * net::Seconds(now - last_);
  credit_ = std::min(credit_, std::max(rate * kCatchUpSeconds, 1.0));
  last_ = now;
  // A hair, so that ten steps of a tenth make one.
  due.now = std::min(left, static_cast<uint64_t>(credit_ + 1e-9));
  credit_ -= static_cast<double>(due.now);
  ended_ += due.now;
  if (rate > 0) {
    auto until_next = net::Duration(static_cast<int64_t>(
        std::min(std::max(1 - credit_, 0.0) / rate, net::Seconds(kAskAgainMax)) * 1e9));
    due.next = std::clamp(until_next, kAskAgainMin, kAskAgainMax);
  }
  if (has_deadline_) {
    net::Duration until = deadline_ - now;
    due.next = due.next.count() == 0 ? until : std::min(due.next, until);
  }
  return due;
}

}  // namespace lb
