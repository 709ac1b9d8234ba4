// All nodes that this balancer has to do with, by pool and name: what belongs to the name and not
// to the line of the file or the DNS record that brings it. Its count of connections, what
// operators asked of it, the pace at which its connections are being ended, and its warm-up outlive
// reloads and DNS answers in which it is missing, its pool, and (by saved_state.h) the process.
//
// An entry stays while its node is in a pool, while a connection or a snapshot names it, or while
// an operator wants something of it; of the last kind at most kAbsentWillsMax, the oldest go first.
//
// Control thread only. Entries do not move.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/balance/warmup.h"
#include "lb/control/drain_pace.h"
#include "lb/control/orders.h"
#include "lb/health/health_check.h"
#include "lb/proxy/runtime.h"
#include "net/base/clock.h"

namespace lb {

class Engine;

// Whether both name one place.
bool SameAddress(const net::SocketName& a, const net::SocketName& b);

inline constexpr size_t kAbsentWillsMax = 4096;

// Of a node that answered that it drains by itself, or may: its answer is on its way or was lost.
struct SelfDrain {
  bool revocable = false;   // it takes that back when it is asked to, as far as is known
  std::string incarnation;  // that drains; another one does not ("": not known yet)
  bool maybe_over = false;  // or never begun; or a restart in maintenance was seen by nobody
};

struct NodeRecord {
  std::shared_ptr<Node> node;
  AdminState admin = AdminState::kReady;
  std::optional<uint32_t> weight;  // an operator's
  std::optional<DrainPace> pace;
  uint64_t ended = 0;  // by the last pace, after its end
  uint64_t paces = 0;  // orders so far that say how its connections end
  std::optional<SelfDrain> self_drain;
  uint32_t asked_to_drain = 0;  // orders to drain by itself that it has not answered yet
  std::optional<NodeWarmup::Saved> warmup;  // of one that was saved and has not come yet
  uint32_t elsewhere = 0;  // connections of the old process after an upgrade; part of active()
  bool present = false;    // in a pool
  net::Time left{};        // when it was last seen in one

  void EndPace() {
    if (pace) ended = pace->ended();
    pace.reset();
  }
  // An order came that says how its connections end: what one before has begun, and what comes of
  // it later, is no longer wanted.
  uint64_t NewPace() { return ++paces; }
  // What its status API says it is.
  void SeenIncarnation(std::string_view incarnation) {
    if (!self_drain || incarnation.empty()) return;
    if (self_drain->incarnation.empty()) self_drain->incarnation = incarnation;
    if (self_drain->incarnation != incarnation) self_drain.reset();
  }
  // For a process after this one, which hears no answer that is still to come.
  std::optional<SelfDrain> SelfDrainToSave() const {
    if (self_drain || asked_to_drain == 0) return self_drain;
    return SelfDrain{.revocable = true, .incarnation = "", .maybe_over = true};
  }
  bool wanted() const { return admin != AdminState::kReady || weight.has_value(); }
};

using NodeKey = std::pair<std::string, std::string>;  // pool, node
using NodeCounts = std::map<NodeKey, uint32_t>;

class NodeRegistry {
 public:
  // The node of that name, which its pool has now. What was known of it holds.
  NodeRecord& Take(const std::string& pool, const std::string& name, const net::SocketName& address,
                   uint32_t weight, uint32_t connections_max);
  // Its pool has it no longer. Its connections stay, and so do orders.
  void Leave(NodeRecord& record, net::Time now);

  NodeRecord* Find(const std::string& pool, const std::string& name) const;
  // One that is in no pool; made for what a saved state says of it.
  NodeRecord& FindOrMake(const std::string& pool, const std::string& name, net::Time now);

  // Nodes that are in no pool and have connections or an operator's word.
  std::vector<const NodeRecord*> Absent() const;
  // The one of that name, in that pool or any (""); null where none or several are absent.
  NodeRecord* FindAbsent(const std::string& pool, const std::string& name) const;
  Done OrderAbsent(NodeRecord& record, AdminState admin, const DrainOrder& order, net::Time now);
  Done ShutAbsent(NodeRecord& record, double rate, net::Time now);

  // What the old process carries now; names that are missing have none any more.
  void SetElsewhere(const NodeCounts& counts, net::Time now);
  // Of all nodes with connections: ours, and those elsewhere.
  NodeCounts Counts() const;
  uint64_t elsewhere() const;

  // Ends what is due of absent nodes' connections, and forgets whom nothing holds.
  void Step(Engine& engine, net::Time now);

 private:
  void Forget(net::Time now);

  std::map<NodeKey, std::unique_ptr<NodeRecord>> records_;
};

}  // namespace lb
