#include "lb/balance/balancer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "net/base/check.h"

namespace lb {
namespace {

constexpr std::array<std::string_view, 6> kPolicyNames = {"p2c",    "leastconn", "roundrobin",
                                                          "random", "source",    "maglev"};

// A share cap lets a warming node save up this many of its turns.
constexpr double kCapBurst = 2;

// Draws that a choice makes before it looks at every candidate in turn.
constexpr int kDrawsMax = 3;

// Races lost against other workers before a choice is forced.
constexpr int kReserveAttemptsMax = 4;

uint64_t NextGeneration() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

// HAProxy's leastconn: (inflight + 1) / weight, and 0 when idle whatever the weight. HAProxy scales
// by 4096; a finer scale keeps nodes with large weights apart.
uint64_t LeastConnKey(uint32_t active, uint32_t weight) {
  if (active == 0) return 0;
  return ((uint64_t{active} + 1) << 30) / weight;
}

// a has less load for its weight than b, one more connection counted in (P2C, nginx).
bool LessLoaded(const NodeState& a, const NodeState& b) {
  uint64_t weight_a = std::max(a.effective_weight(), 1U);
  uint64_t weight_b = std::max(b.effective_weight(), 1U);
  return (uint64_t{a.active()} + 1) * weight_b < (uint64_t{b.active()} + 1) * weight_a;
}

PickResult Failed(PickFailure failure) {
  return {.node = nullptr, .index = 0, .failure = failure, .forced = false};
}

}  // namespace

std::string_view PolicyName(Policy policy) { return kPolicyNames[static_cast<size_t>(policy)]; }

std::optional<Policy> PolicyFromName(std::string_view name) {
  for (size_t i = 0; i < kPolicyNames.size(); ++i) {
    if (kPolicyNames[i] == name) return static_cast<Policy>(i);
  }
  return std::nullopt;
}

std::string_view PickFailureName(PickFailure failure) {
  switch (failure) {
    case PickFailure::kNone:
      return "none";
    case PickFailure::kNoNodeUp:
      return "no node up";
    case PickFailure::kAllFull:
      return "all nodes full";
    case PickFailure::kAllExcluded:
      return "all nodes tried";
  }
  return "unknown";
}

void PickLocal::Adopt(const Balancer& balancer) {
  std::vector<PerSlot> fresh(balancer.slots_.size());
  for (size_t i = 0; i < fresh.size(); ++i) {
    const Balancer::Slot& slot = balancer.slots_[i];
    auto known = std::find_if(slots_.begin(), slots_.end(),
                              [&](const PerSlot& old) { return old.state == slot.state; });
    if (known != slots_.end()) {
      fresh[i] = *known;
    } else {
      fresh[i].state = slot.state;
      // Workers start their turns at different nodes.
      fresh[i].turn = random_.Below(std::max(slot.weight, 1U));
    }
    // A cap starts without credit, so that many workers with few arrivals each keep it together.
    bool capped = slot.cap_step > 0;
    if (capped && !fresh[i].capped) fresh[i].cap_next = arrivals_ + slot.cap_step * (1 + kCapBurst);
    fresh[i].capped = capped;
  }
  slots_ = std::move(fresh);
  generation_ = balancer.generation_;
}

Balancer::Balancer(std::vector<BalancerNode> nodes, BalancerOptions options)
    : nodes_(std::move(nodes)), options_(options), generation_(NextGeneration()) {
  CHECK(nodes_.size() <= kPoolNodesMax);
  SelectCandidates();
  if (slots_.empty()) return;
  BuildAlias();
  if (options_.policy == Policy::kSource) BuildRing();
  if (options_.policy == Policy::kMaglev) BuildMaglev();
}

void Balancer::SelectCandidates() {
  size_t primaries = 0;
  size_t primaries_up = 0;
  size_t backups_up = 0;
  for (const BalancerNode& node : nodes_) {
    bool has_weight = node.state->effective_weight() > 0;
    if (!has_weight || node.availability == NodeAvailability::kOut) continue;
    bool up = node.availability == NodeAvailability::kUp;
    if (node.backup) {
      backups_up += up;
    } else {
      ++primaries;
      primaries_up += up;
    }
  }
  on_backups_ = primaries_up == 0 && backups_up > 0;
  panic_ =
      !on_backups_ && primaries > 0 &&
      static_cast<double>(primaries_up) < options_.panic_threshold * static_cast<double>(primaries);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const BalancerNode& node = nodes_[i];
    uint32_t weight = node.state->effective_weight();
    if (weight == 0 || node.backup != on_backups_) continue;
    if (node.availability == NodeAvailability::kOut) continue;
    if (node.availability == NodeAvailability::kDown && !panic_) continue;
    Slot slot;
    slot.state = node.state.get();
    slot.index = static_cast<uint16_t>(i);
    slot.weight = weight;
    slots_.push_back(slot);
    total_weight_ += weight;
  }
  for (Slot& slot : slots_) {
    double cap = nodes_[slot.index].share_cap;
    if (cap <= 0) continue;
    slot.cap_step = static_cast<double>(total_weight_) / (cap * static_cast<double>(slot.weight));
  }
}

bool Balancer::Admissible(size_t index, Context& context) const {
  if (context.Skipped(index)) return false;
  const Slot& slot = slots_[index];
  NodeState& node = *slot.state;
  if (node.full()) {
    if (context.counts) node.CountPassedFull();
    return false;
  }
  if (!node.warming()) return true;
  if (slot.cap_step > 1) {
    double earliest = context.local.slots_[index].cap_next - slot.cap_step * kCapBurst;
    if (context.local.arrivals_ < earliest) {
      if (context.counts) node.CountPassedShareCap();
      return false;
    }
  }
  if (!node.HasToken(context.request.now)) {
    if (context.counts) node.CountPassedNoToken();
    return false;
  }
  return true;
}

bool Balancer::Reserve(size_t index, Context& context) const {
  const Slot& slot = slots_[index];
  switch (slot.state->TryReserve(context.request.now)) {
    case ReserveResult::kOk:
      break;
    case ReserveResult::kFull:
      slot.state->CountPassedFull();
      return false;
    case ReserveResult::kNoToken:
      slot.state->CountPassedNoToken();
      return false;
  }
  if (slot.cap_step > 1) {
    double& next = context.local.slots_[index].cap_next;
    next = std::max(next, context.local.arrivals_) + slot.cap_step;
  }
  return true;
}

PickResult Balancer::Placed(size_t index, bool forced) const {
  const Slot& slot = slots_[index];
  return {.node = slot.state, .index = slot.index, .failure = PickFailure::kNone, .forced = forced};
}

PickResult Balancer::Pick(const PickRequest& request, PickLocal& local) const {
  DCHECK(local.generation_ == generation_);
  if (slots_.empty()) return Failed(PickFailure::kNoNodeUp);
  Context context(request, local);
  if (request.exclude.empty()) {
    local.arrivals_ += 1;
  } else {
    DCHECK(request.exclude.size() <= kExcludeMax);
    for (size_t i = 0; i < slots_.size(); ++i) {
      for (const NodeState* tried : request.exclude) {
        if (tried != slots_[i].state) continue;
        context.Skip(i);
        ++context.excluded;
        break;
      }
    }
    if (context.excluded == slots_.size()) return Failed(PickFailure::kAllExcluded);
  }
  for (int attempt = 0; attempt < kReserveAttemptsMax; ++attempt) {
    int chosen = Choose(context);
    if (chosen < 0) break;
    auto slot = static_cast<size_t>(chosen);
    if (Reserve(slot, context)) return Placed(slot, false);
    context.Skip(slot);
  }
  return PickForced(context);
}

// Nobody may take it by the rules of warm-up: the least over-committed gets it all the same.
PickResult Balancer::PickForced(Context& context) const {
  std::bitset<kPoolNodesMax> out;
  for (const NodeState* tried : context.request.exclude) {
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].state == tried) out.set(i);
    }
  }
  for (size_t attempt = 0; attempt < slots_.size(); ++attempt) {
    const int best = LeastOwing(out, context.request.now);
    if (best < 0) break;
    auto chosen = static_cast<size_t>(best);
    if (slots_[chosen].state->ForceReserve(context.request.now)) return Placed(chosen, true);
    out.set(chosen);
  }
  return Failed(PickFailure::kAllFull);
}

int Balancer::LeastOwing(const std::bitset<kPoolNodesMax>& out, net::Time now) const {
  int best = -1;
  int64_t best_debt = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const NodeState& node = *slots_[i].state;
    if (out.test(i) || node.full()) continue;
    int64_t debt = std::max<int64_t>(node.debt_ns(now), 0);
    bool better = best < 0 || debt < best_debt ||
                  (debt == best_debt && LessLoaded(node, *slots_[static_cast<size_t>(best)].state));
    if (!better) continue;
    best = static_cast<int>(i);
    best_debt = debt;
  }
  return best;
}

PickResult Balancer::Peek(const PickRequest& request, PickLocal& local) const {
  DCHECK(local.generation_ == generation_);
  if (slots_.empty()) return Failed(PickFailure::kNoNodeUp);
  Context context(request, local);
  context.counts = false;
  const int chosen = Choose(context);
  if (chosen >= 0) return Placed(static_cast<size_t>(chosen), false);
  const int forced = LeastOwing({}, request.now);
  return forced < 0 ? Failed(PickFailure::kAllFull) : Placed(static_cast<size_t>(forced), true);
}

int Balancer::Choose(Context& context) const {
  switch (options_.policy) {
    case Policy::kP2c:
      return ChooseP2c(context);
    case Policy::kLeastConn:
      return ChooseLeastConn(context);
    case Policy::kRoundRobin:
      return ChooseRoundRobin(context);
    case Policy::kRandom:
      return ChooseRandom(context);
    case Policy::kSource:
      return ChooseRing(context);
    case Policy::kMaglev:
      return ChooseMaglev(context);
  }
  return -1;
}

// Draws a slot with a probability by weight, in constant time.
size_t Balancer::Draw(uint32_t random) const {
  uint64_t scaled = uint64_t{random} * slots_.size();
  size_t slot = scaled >> 32;
  auto fraction = static_cast<uint32_t>(scaled);
  return fraction < slots_[slot].alias_threshold ? slot : slots_[slot].alias;
}

int Balancer::ChooseP2c(Context& context) const {
  if (slots_.size() == 1) return Admissible(0, context) ? 0 : -1;
  for (int draw = 0; draw < kDrawsMax; ++draw) {
    uint64_t random = context.local.random_.Next();
    size_t a = Draw(static_cast<uint32_t>(random));
    size_t b = Draw(static_cast<uint32_t>(random >> 32));
    for (int again = 0; a == b && again < kDrawsMax; ++again) {
      random = context.local.random_.Next();
      b = Draw(static_cast<uint32_t>(random));
      if (a == b) b = Draw(static_cast<uint32_t>(random >> 32));
    }
    bool a_may = Admissible(a, context);
    bool b_may = a != b && Admissible(b, context);
    if (a_may && b_may) {
      return static_cast<int>(LessLoaded(*slots_[b].state, *slots_[a].state) ? b : a);
    }
    if (a_may || b_may) return static_cast<int>(a_may ? a : b);
  }
  return ScanLeastLoaded(context);
}

int Balancer::ScanLeastLoaded(Context& context) const {
  int best = -1;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!Admissible(i, context)) continue;
    if (best < 0 || LessLoaded(*slots_[i].state, *slots_[static_cast<size_t>(best)].state)) {
      best = static_cast<int>(i);
    }
  }
  return best;
}

int Balancer::ChooseLeastConn(Context& context) const {
  int best = -1;
  uint64_t best_key = 0;
  size_t n = slots_.size();
  size_t start = context.local.rotation_++ % n;  // ties go round
  for (size_t k = 0; k < n; ++k) {
    size_t i = start + k < n ? start + k : start + k - n;
    const NodeState& node = *slots_[i].state;
    uint64_t key = LeastConnKey(node.active(), std::max(node.effective_weight(), 1U));
    if (best >= 0 && key >= best_key) continue;
    if (!Admissible(i, context)) continue;
    best = static_cast<int>(i);
    best_key = key;
  }
  return best;
}

// nginx's smooth weighted round robin. A node that is passed over does not save up turns.
int Balancer::ChooseRoundRobin(Context& context) const {
  int best = -1;
  int64_t total = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!Admissible(i, context)) continue;
    int64_t weight = slots_[i].state->effective_weight();
    int64_t& turn = context.local.slots_[i].turn;
    turn += weight;
    total += weight;
    if (best < 0 || turn > context.local.slots_[static_cast<size_t>(best)].turn) {
      best = static_cast<int>(i);
    }
  }
  if (best >= 0) context.local.slots_[static_cast<size_t>(best)].turn -= total;
  return best;
}

int Balancer::ChooseRandom(Context& context) const {
  for (int draw = 0; draw < kDrawsMax; ++draw) {
    size_t slot = Draw(static_cast<uint32_t>(context.local.random_.Next() >> 32));
    if (Admissible(slot, context)) return static_cast<int>(slot);
  }
  // One pass over all that may, each kept with a probability by its weight.
  int chosen = -1;
  uint64_t total = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!Admissible(i, context)) continue;
    uint64_t weight = std::max(slots_[i].weight, 1U);
    total += weight;
    double keep = static_cast<double>(weight) / static_cast<double>(total);
    if (context.local.random_.Unit() < keep) chosen = static_cast<int>(i);
  }
  return chosen;
}

std::vector<NodeExplanation> Balancer::Explain(net::Time now, double arrivals_per_s) const {
  std::vector<NodeExplanation> out;
  out.reserve(nodes_.size());
  for (const BalancerNode& node : nodes_) {
    const NodeState& state = *node.state;
    NodeExplanation e;
    e.name = node.name;
    e.weight = node.weight;
    e.effective_weight = static_cast<double>(state.effective_weight()) / kWeightScale;
    e.backup = node.backup;
    e.rate = state.admission_rate();
    e.active = state.active();
    e.connections_max = state.connections_max();
    e.ramp = node.weight == 0 ? 0 : e.effective_weight / node.weight;
    if (node.availability != NodeAvailability::kUp) {
      std::string_view what = node.availability == NodeAvailability::kDown ? "down" : "out";
      e.why = std::string(what) + (node.why.empty() ? "" : ": " + node.why);
    } else if (state.effective_weight() == 0) {
      e.why = "weight is 0";
    } else if (node.backup != on_backups_) {
      e.why = node.backup ? "backup; primaries are up" : "no primary is a candidate";
    }
    out.push_back(std::move(e));
  }
  for (const Slot& slot : slots_) {
    NodeExplanation& e = out[slot.index];
    e.candidate = true;
    e.share_by_weight = static_cast<double>(slot.weight) / static_cast<double>(total_weight_);
    bool capped = slot.state->warming() && slot.cap_step > 1;
    if (capped) e.share_cap = 1 / slot.cap_step;
    if (panic_)
      e.why = "panic: too few nodes are healthy, all are used" +
              (e.why.empty() ? "" : " (" + e.why + ")");
    if (slot.state->full()) {
      e.why = "full: connections_max reached";
    } else if (slot.state->warming() && e.why.empty()) {
      e.why = slot.state->HasToken(now) ? "warming up" : "warming up; waits for its next token";
    }
    if (e.why.empty()) e.why = "in use";
  }
  ExplainShares(out, arrivals_per_s);
  return out;
}

// Shares by weight, cut by caps and rates; what a node may not take goes to the others by weight.
void Balancer::ExplainShares(std::vector<NodeExplanation>& out, double arrivals_per_s) const {
  std::vector<double> limit(slots_.size(), 1.0);
  for (size_t i = 0; i < slots_.size(); ++i) {
    const NodeExplanation& e = out[slots_[i].index];
    if (e.share_cap > 0) limit[i] = e.share_cap;
    if (arrivals_per_s > 0) limit[i] = std::min(limit[i], e.rate / arrivals_per_s);
    if (slots_[i].state->full()) limit[i] = 0;
  }
  std::vector<bool> fixed(slots_.size(), false);
  double left = 1;
  for (bool again = true; again;) {
    again = false;
    double weights = 0;
    for (size_t i = 0; i < slots_.size(); ++i) weights += fixed[i] ? 0 : slots_[i].weight;
    double spread = left;
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (fixed[i]) continue;
      double& share = out[slots_[i].index].share_expected;
      share = spread * slots_[i].weight / weights;
      if (share <= limit[i]) continue;
      share = limit[i];
      left -= limit[i];
      fixed[i] = true;
      again = true;
    }
  }
}

}  // namespace lb
