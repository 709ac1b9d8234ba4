// A node as its pool keeps it on the control thread, and what a configuration or DNS says of one.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lb/balance/warmup.h"
#include "lb/control/drain_pace.h"
#include "lb/control/node_checks.h"
#include "lb/health/health_check.h"
#include "lb/proxy/runtime.h"

namespace lb {

// A node of the file or of DNS, with the address that its name had.
struct ResolvedNode {
  std::string name;
  net::SocketName address;
  std::string address_text;
  uint32_t weight = 100;
  bool backup = false;
  uint32_t connections_max = 0;
};

struct PoolNode {
  ResolvedNode config;
  bool discovered = false;
  std::shared_ptr<Node> node;
  std::unique_ptr<NodeHealth> health;
  NodeWarmup warmup;
  WarmupStep step;
  std::optional<uint32_t> weight;  // an operator's
  std::unique_ptr<NodeChecks> checks;
  std::string cluster_error;
  std::optional<DrainPace> pace;
  uint64_t arrivals_seen = 0;
  double arrivals_per_s = 0;

  uint32_t Weight() const { return weight.value_or(config.weight); }
};

}  // namespace lb
