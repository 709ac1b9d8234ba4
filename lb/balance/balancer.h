// Which node gets the next connection: an immutable snapshot of a pool.
//
// The control thread builds a new Balancer whenever health, weights, nodes or admin states change,
// and hands it to the workers (shared_ptr<const Balancer>). Workers read it without locks; what
// moves between two snapshots (connections, tokens) lives in NodeState's relaxed atomics, and what
// a worker needs for itself (random numbers, turns) in its own PickLocal.
//
//   local.Adopt(*balancer);                       // once for each new snapshot; allocates
//   PickResult picked = balancer->Pick(request, local);   // no allocation, no lock
//   if (picked.node) { connect...; later picked.node->Release(); }
//
// Pick reserves: the connection is counted into the node, and its admission token taken, before
// Pick returns. The caller owes exactly one Release().
//
// Rules, in this order:
//  - candidates are the nodes that are up and have weight; backups only when no primary is (then
//  all
//    of them, as HAProxy's allbackups). Below panic_threshold (share of healthy primaries) all
//    primaries that no administrator took out are candidates, healthy or not (Envoy's panic).
//  - full nodes (connections_max), excluded ones (already tried), warming nodes without a token and
//    warming nodes above their share cap are passed over, and counted in NodeState.
//  - if warming alone stands against every candidate, the least over-committed gets the arrival: a
//    client is never refused nor queued because all nodes are warming.
//  - if every candidate is full, kAllFull: queue.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/node_state.h"
#include "net/base/clock.h"
#include "net/base/random.h"

namespace lb {

enum class Policy : uint8_t { kP2c, kLeastConn, kRoundRobin, kRandom, kSource, kMaglev };
std::string_view PolicyName(Policy policy);  // as in the configuration: "p2c", "leastconn", ...
std::optional<Policy> PolicyFromName(std::string_view name);

// Nodes of one pool; the configuration refuses more.
inline constexpr size_t kPoolNodesMax = 256;
// Nodes that one connection may have tried before (its retries).
inline constexpr size_t kExcludeMax = 16;

enum class NodeAvailability : uint8_t {
  kUp,
  kDown,  // by health; a candidate in panic
  kOut,   // drained, in maintenance, or its cluster state forbids it; never a candidate
};

struct BalancerNode {
  std::string name;  // hashed by source and maglev: the same name takes the same sources everywhere
  std::shared_ptr<NodeState> state;
  uint32_t weight = 100;  // as configured; the effective one is read from state
  bool backup = false;
  NodeAvailability availability = NodeAvailability::kUp;
  std::string why;  // why it is not kUp; shown by Explain
  // While the node warms up, it gets at most this many times its fair share of arrivals; 0 = no
  // cap.
  double share_cap = 0;
};

struct BalancerOptions {
  Policy policy = Policy::kP2c;
  // source, maglev: a node takes at most this × its fair share of the open connections (HAProxy's
  // hash-balance-factor); what is above goes elsewhere, so a bound is what a source's sticking
  // costs. 0 = no bound: a source stays with its node, which is the configuration's default.
  double bounded_load = 1.25;
  double panic_threshold = 0;     // 0 = never
  uint32_t maglev_table = 65537;  // a prime; every balancer of a site must use the same
};

enum class PickFailure : uint8_t {
  kNone,
  kNoNodeUp,     // no candidate at all
  kAllFull,      // every candidate is at connections_max: queue
  kAllExcluded,  // every candidate that is not full was tried before
};
std::string_view PickFailureName(PickFailure failure);

struct PickRequest {
  uint64_t source_hash = 0;  // of the client's address; source and maglev only
  net::Time now{};
  std::span<const NodeState* const> exclude{};  // at most kExcludeMax
};

struct PickResult {
  NodeState* node = nullptr;  // reserved; null on failure
  uint32_t index = 0;         // of the list the snapshot was built from
  PickFailure failure = PickFailure::kNone;
  bool forced = false;  // placed above the warm-up's rate or cap, because all were warming
};

class Balancer;

// What one worker keeps for one pool. One thread.
class PickLocal {
 public:
  explicit PickLocal(uint64_t seed) : random_(seed) {}
  // Fits this state to a snapshot; turns and caps of nodes that stay are kept. Allocates.
  void Adopt(const Balancer& balancer);

 private:
  friend class Balancer;
  struct PerSlot {
    const NodeState* state = nullptr;
    int64_t turn = 0;     // smooth weighted round robin
    double cap_next = 0;  // share cap: GCRA whose clock is arrivals_
    bool capped = false;
  };

  net::FastRandom random_;
  uint64_t generation_ = 0;  // of the adopted snapshot
  double arrivals_ = 0;      // of this worker at this pool
  uint32_t rotation_ = 0;    // breaks ties of leastconn
  std::vector<PerSlot> slots_;
};

struct NodeExplanation {
  std::string name;
  uint32_t weight = 0;          // configured
  double ramp = 1;              // effective / configured
  double effective_weight = 0;  // in the units of the configuration
  bool candidate = false;
  bool backup = false;
  double share_by_weight = 0;  // of arrivals, among the candidates
  double share_expected = 0;   // after caps and rates, at the arrival rate given
  double share_cap = 0;        // upper bound on its share while warming; 0 = none
  double rate = net::kRateUnlimited;
  uint32_t active = 0;
  uint32_t connections_max = 0;
  std::string why;  // one sentence: what holds now
};

class Balancer {
 public:
  // At most kPoolNodesMax nodes (CHECKed; the configuration refuses more).
  Balancer(std::vector<BalancerNode> nodes, BalancerOptions options);

  // Worker threads. `local` must have adopted this snapshot.
  PickResult Pick(const PickRequest& request, PickLocal& local) const;
  // What Pick would answer now, without a reservation, a token or a count of any kind: for people
  // who ask. `node` is not reserved.
  PickResult Peek(const PickRequest& request, PickLocal& local) const;

  // Control thread. `arrivals_per_s`: the pool's present rate, for what rates and caps leave of
  // each node's share; 0 = unknown, then rates do not count.
  std::vector<NodeExplanation> Explain(net::Time now, double arrivals_per_s) const;

  std::span<const BalancerNode> nodes() const { return nodes_; }
  const BalancerOptions& options() const { return options_; }
  bool panic() const { return panic_; }
  bool on_backups() const { return on_backups_; }
  size_t candidates() const { return slots_.size(); }

 private:
  friend class PickLocal;
  // A candidate, with what a choice reads of it side by side.
  struct Slot {
    NodeState* state = nullptr;
    double cap_step = 0;           // arrivals of the pool for each one of this node; 0 = no cap
    uint32_t alias_threshold = 0;  // Vose's alias method, fixed-point 2^32
    uint16_t alias = 0;            // the other slot
    uint16_t index = 0;            // in nodes_
    uint32_t weight = 0;           // effective, at build
  };
  struct RingPoint {
    uint32_t position;
    uint16_t slot;
  };
  // What one Pick carries along.
  struct Context {
    Context(const PickRequest& r, PickLocal& l) : request(r), local(l) {}
    bool Skipped(size_t slot) const { return skips && skip.test(slot); }
    void Skip(size_t slot) {
      skip.set(slot);
      skips = true;
    }

    const PickRequest& request;
    PickLocal& local;
    bool counts = true;               // passes are counted
    std::bitset<kPoolNodesMax> skip;  // tried before, or lost to another worker
    bool skips = false;
    size_t excluded = 0;
    double bound_factor = 0;  // connections that a unit of weight may hold; 0 = not yet known
  };

  void SelectCandidates();
  void BuildAlias();
  void BuildRing();
  void BuildMaglev();

  bool Admissible(size_t slot, Context& context) const;
  bool UnderBound(size_t slot, Context& context) const;
  bool Reserve(size_t slot, Context& context) const;
  int Choose(Context& context) const;
  int ChooseP2c(Context& context) const;
  int ChooseRandom(Context& context) const;
  int ChooseLeastConn(Context& context) const;
  int ChooseRoundRobin(Context& context) const;
  int ChooseRing(Context& context) const;
  int ChooseMaglev(Context& context) const;
  int ScanLeastLoaded(Context& context) const;
  PickResult PickForced(Context& context) const;
  int LeastOwing(const std::bitset<kPoolNodesMax>& out, net::Time now) const;
  size_t Draw(uint32_t random) const;
  PickResult Placed(size_t slot, bool forced) const;
  void ExplainShares(std::vector<NodeExplanation>& out, double arrivals_per_s) const;

  std::vector<BalancerNode> nodes_;
  BalancerOptions options_;
  uint64_t generation_;
  bool panic_ = false;
  bool on_backups_ = false;
  uint64_t total_weight_ = 0;  // effective, of the candidates
  std::vector<Slot> slots_;
  std::vector<RingPoint> ring_;   // source
  std::vector<uint16_t> maglev_;  // maglev
};

}  // namespace lb
