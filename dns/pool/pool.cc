#include "dns/pool/pool.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dns {

std::string_view ToString(AllDown rule) {
  switch (rule) {
    case AllDown::kAll:
      return "all";
    case AllDown::kLastKnown:
      return "last_known";
    case AllDown::kFallback:
      return "fallback";
    case AllDown::kNone:
      return "none";
  }
  return "?";
}

std::string_view ToString(Standing standing) {
  switch (standing) {
    case Standing::kChecking:
      return "checking";
    case Standing::kUp:
      return "up";
    case Standing::kWarming:
      return "warming";
    case Standing::kDraining:
      return "draining";
    case Standing::kDrained:
      return "drained";
    case Standing::kDown:
      return "down";
    case Standing::kForcedUp:
      return "forced_up";
    case Standing::kForcedDown:
      return "forced_down";
  }
  return "?";
}

namespace {

uint32_t PoolTtl(const PoolConfig& pool, std::span<const BalancerLive> live) {
  net::Duration soonest = std::chrono::seconds(pool.ttl_max);
  for (const BalancerLive& balancer : live) soonest = std::min(soonest, balancer.next_change);
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(soonest).count();
  return static_cast<uint32_t>(
      std::clamp<int64_t>(seconds, pool.ttl_min, std::max(pool.ttl_min, pool.ttl_max)));
}

bool IsFitFor(const BalancerLive& live, std::optional<unsigned> service) {
  if (!IsFit(live.standing)) return false;
  if (live.standing == Standing::kForcedUp) return true;
  return !service || (live.services_down >> *service & 1u) == 0;
}

uint32_t EffectiveWeight(const BalancerConfig& config, double factor) {
  double thousandths = std::clamp(factor, 0.0, 1.0) * 1000.0 * config.weight;
  return std::max(1u, static_cast<uint32_t>(std::lround(thousandths)));
}

// What the rule for a pool without a fit balancer gives out. What the operator took out stays out.
void ApplyAllDown(const PoolConfig& pool, std::span<const BalancerLive> live,
                  const std::vector<Member>& last_known, Selection& selection) {
  auto allowed = [&](size_t balancer) {
    return balancer < pool.balancers.size() && live[balancer].standing != Standing::kForcedDown;
  };
  selection.all_down = true;
  switch (pool.all_down) {
    case AllDown::kNone:
      return;
    case AllDown::kFallback:
      selection.fallback = true;
      return;
    case AllDown::kLastKnown:
      for (const Member& member : last_known) {
        if (allowed(member.balancer)) selection.members.push_back(member);
      }
      if (!selection.members.empty()) return;
      break;
    case AllDown::kAll:
      break;
  }
  for (size_t i = 0; i < pool.balancers.size(); ++i) {
    if (allowed(i)) selection.members.push_back({i, EffectiveWeight(pool.balancers[i], 1.0)});
  }
}

}  // namespace

Selection Select(const PoolConfig& pool, std::span<const BalancerLive> live,
                 std::optional<unsigned> service, const std::vector<Member>& last_known) {
  Selection selection;
  selection.ttl = PoolTtl(pool, live);
  size_t fit = 0;
  for (const BalancerLive& one : live) fit += IsFitFor(one, service) ? 1u : 0u;
  bool enough = static_cast<double>(fit) >=
                std::ceil(pool.up_threshold * static_cast<double>(pool.balancers.size()));
  for (bool spare : {false, true}) {  // weight 0 steps in only when the others are all out
    for (size_t i = 0; enough && i < pool.balancers.size(); ++i) {
      const BalancerConfig& config = pool.balancers[i];
      if ((config.weight == 0) != spare || !IsFitFor(live[i], service)) continue;
      if (live[i].factor <= 0.0) continue;
      selection.members.push_back(
          {i, EffectiveWeight(config, live[i].factor), live[i].addresses_down});
    }
    if (selection.members.empty()) continue;
    selection.last_known = selection.members;
    return selection;
  }
  selection.last_known = last_known;
  ApplyAllDown(pool, live, last_known, selection);
  return selection;
}

PoolView MakeView(const PoolConfig& pool, std::span<const BalancerLive> live,
                  const PoolView& previous) {
  PoolView view;
  view.addresses = Select(pool, live, std::nullopt, previous.addresses.last_known);
  for (unsigned i = 0; i < kServices.size(); ++i) {
    view.services[i] = Select(pool, live, i, previous.services[i].last_known);
  }
  for (const BalancerLive& one : live) view.addresses_down.push_back(one.addresses_down);
  return view;
}

std::optional<unsigned> ServiceIndex(std::string_view name) {
  for (unsigned i = 0; i < kServices.size(); ++i) {
    if (kServices[i] == name) return i;
  }
  return std::nullopt;
}

uint16_t AnswersFor(std::span<const uint32_t> weights, uint16_t answers_max) {
  if (weights.empty()) return 0;
  uint64_t sum = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  uint64_t largest = *std::ranges::max_element(weights);
  uint64_t fair = largest == 0 ? weights.size() : sum / largest;
  return static_cast<uint16_t>(std::clamp<uint64_t>(fair, 1, answers_max));
}

}  // namespace dns
