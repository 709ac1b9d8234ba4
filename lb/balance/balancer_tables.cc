// The tables of lb/balance/balancer.h: Vose's alias table for draws by weight, the ring of
// consistent hashing, Maglev's permutation table; and the choices that walk the latter two.
#include <algorithm>
#include <cmath>

#include "lb/balance/balancer.h"
#include "net/base/check.h"
#include "net/base/hash.h"

namespace lb {
namespace {

// Ring points of a unit of configured weight × 10: weight 100 has 160 points, so a node's share of
// the ring is within about 8 % of its weight's.
constexpr uint32_t kPointsPer10Weight = 16;

// Other places that a source tries in a Maglev table before every candidate is looked at.
constexpr uint64_t kMaglevProbes = 8;

}  // namespace

void Balancer::BuildAlias() {
  size_t n = slots_.size();
  std::vector<double> scaled(n);
  std::vector<size_t> small;
  std::vector<size_t> large;
  for (size_t i = 0; i < n; ++i) {
    scaled[i] = static_cast<double>(slots_[i].weight) * static_cast<double>(n) /
                static_cast<double>(total_weight_);
    slots_[i].alias = static_cast<uint16_t>(i);
    slots_[i].alias_threshold = UINT32_MAX;
    (scaled[i] < 1 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    size_t less = small.back();
    size_t more = large.back();
    small.pop_back();
    slots_[less].alias_threshold = static_cast<uint32_t>(std::ldexp(scaled[less], 32));
    slots_[less].alias = static_cast<uint16_t>(more);
    scaled[more] -= 1 - scaled[less];
    if (scaled[more] < 1) {
      large.pop_back();
      small.push_back(more);
    }
  }
}

// A node's points depend on its own name and weight alone: a node that comes, goes or changes
// weight moves no source between two others.
void Balancer::BuildRing() {
  ring_.clear();
  for (size_t i = 0; i < slots_.size(); ++i) {
    uint64_t name = net::StableHash(nodes_[slots_[i].index].name);
    uint64_t points = uint64_t{slots_[i].weight} * kPointsPer10Weight / (10 * kWeightScale);
    for (uint64_t p = 0; p < std::max<uint64_t>(points, 1); ++p) {
      uint64_t hash = net::FastRandom::Mix(name + p * 0x9e3779b97f4a7c15U);
      ring_.push_back({static_cast<uint32_t>(hash >> 32), static_cast<uint16_t>(i)});
    }
  }
  auto before = [this](const RingPoint& a, const RingPoint& b) {
    if (a.position != b.position) return a.position < b.position;
    return nodes_[slots_[a.slot].index].name < nodes_[slots_[b.slot].index].name;
  };
  std::sort(ring_.begin(), ring_.end(), before);
}

// Maglev's table with weights as Envoy does them: in each round a node takes a turn when its weight
// has earned one.
void Balancer::BuildMaglev() {
  uint32_t size = options_.maglev_table;
  CHECK(size > slots_.size());
  constexpr uint16_t kFree = UINT16_MAX;
  maglev_.assign(size, kFree);
  struct Walk {
    uint64_t at, step, weight;
    double earned;
    const std::string* name;
    uint16_t slot;
  };
  std::vector<Walk> walks;
  uint64_t heaviest = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const std::string& name = nodes_[slots_[i].index].name;
    uint64_t hash = net::StableHash(name);
    walks.push_back({hash % size, net::FastRandom::Mix(hash) % (size - 1) + 1, slots_[i].weight, 0,
                     &name, static_cast<uint16_t>(i)});
    heaviest = std::max<uint64_t>(heaviest, slots_[i].weight);
  }
  // The order of turns must not depend on the order of the configuration.
  std::sort(walks.begin(), walks.end(),
            [](const Walk& a, const Walk& b) { return *a.name < *b.name; });
  for (uint32_t filled = 0; filled < size;) {
    for (Walk& walk : walks) {
      walk.earned += static_cast<double>(walk.weight) / static_cast<double>(heaviest);
      if (walk.earned < 1) continue;
      walk.earned -= 1;
      while (maglev_[walk.at] != kFree) {
        walk.at += walk.step;
        if (walk.at >= size) walk.at -= size;
      }
      maglev_[walk.at] = walk.slot;
      if (++filled == size) return;
    }
  }
}

// Consistent hashing with bounded loads (Mirrokni et al.; HAProxy's hash-balance-factor): a node
// that already carries bounded_load × its share is passed over, the next on the ring takes it.
bool Balancer::UnderBound(size_t index, Context& context) const {
  if (options_.bounded_load <= 0) return true;
  if (context.bound_factor == 0) {
    double connections = 1;
    for (const Slot& slot : slots_) connections += slot.state->active();
    context.bound_factor = options_.bounded_load * connections / static_cast<double>(total_weight_);
  }
  const Slot& slot = slots_[index];
  double bound = std::ceil(context.bound_factor * slot.weight - 1e-9);
  if (slot.state->active() + 1 <= bound) return true;
  if (context.counts) slot.state->CountPassedBound();
  return false;
}

int Balancer::ChooseRing(Context& context) const {
  auto position = static_cast<uint32_t>(net::FastRandom::Mix(context.request.source_hash) >> 32);
  auto start =
      std::lower_bound(ring_.begin(), ring_.end(), position,
                       [](const RingPoint& point, uint32_t at) { return point.position < at; });
  auto at = static_cast<size_t>(start - ring_.begin());
  std::bitset<kPoolNodesMax> seen;
  size_t seen_count = 0;
  for (size_t k = 0; k < ring_.size() && seen_count < slots_.size(); ++k, ++at) {
    if (at >= ring_.size()) at = 0;
    size_t slot = ring_[at].slot;
    if (seen.test(slot)) continue;
    seen.set(slot);
    ++seen_count;
    if (Admissible(slot, context) && UnderBound(slot, context)) return static_cast<int>(slot);
  }
  return ScanLeastLoaded(context);
}

int Balancer::ChooseMaglev(Context& context) const {
  uint64_t hash = context.request.source_hash;
  for (uint64_t probe = 0; probe < kMaglevProbes; ++probe) {
    uint64_t place = net::FastRandom::Mix(hash + probe * 0x9e3779b97f4a7c15U) % maglev_.size();
    size_t slot = maglev_[place];
    if (Admissible(slot, context) && UnderBound(slot, context)) return static_cast<int>(slot);
  }
  return ScanLeastLoaded(context);
}

}  // namespace lb
