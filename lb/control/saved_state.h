// What a balancer leaves to the next one: overrides of operators, in a file, over restarts; and,
// when a running process is taken over, the clocks of its warm-ups and who was up.
//
// JSON: {"v":1,"accept_rate":0,"pools":{"xmpp":{"n1":{"admin":"drain","weight":50,
//        "incarnation":"7","warming_ms":1500,"up":true}}}}. Nodes without anything to say stay out.
// "active" is what the process before goes on with; "address", "dns_weight" and "dns_backup" are of
// nodes that DNS brought.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/control/node_registry.h"
#include "lb/control/pool_control.h"

namespace lb {

struct SavedState {
  double accept_rate = 0;  // of the balancer's own warm-up; 0 = warm
  std::map<std::string, std::vector<PoolControl::SavedNode>> pools;
};

std::string SavedStateToJson(const SavedState& state);
// At most net::kStateFileMax bytes.
std::expected<SavedState, std::string> SavedStateFromJson(std::string_view json);

// What the old process tells the new one of its connections: {"xmpp":{"n1":12}}. What cannot be
// read counts as none.
std::string NodeCountsToJson(const NodeCounts& counts);
NodeCounts NodeCountsFromJson(std::string_view json);

}  // namespace lb
