// A node as its pool keeps it on the control thread, and what a configuration or DNS says of one.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lb/balance/warmup.h"
#include "lb/control/drain_pace.h"
#include "lb/control/node_checks.h"
#include "lb/control/node_registry.h"
#include "lb/health/health_check.h"
#include "lb/proxy/runtime.h"

namespace lb {

// A node of the file or of DNS, with the address that its name had.
struct ResolvedNode {
  std::string name;
  net::SocketName address;  // empty until the host name has been looked up
  std::string address_text;
  std::string host = "";  // of the file; "" where it says an address
  uint16_t port = 0;      // with a host
  uint32_t weight = 100;
  bool backup = false;
  uint32_t connections_max = 0;

  bool resolved() const { return address.size() > 0; }
};

struct PoolNode {
  ResolvedNode config;
  bool discovered = false;
  NodeRecord* record = nullptr;  // what belongs to the name
  std::shared_ptr<Node> node;    // the record's
  std::unique_ptr<NodeHealth> health;
  NodeWarmup warmup;
  WarmupStep step;
  std::unique_ptr<NodeChecks> checks;  // null until there is an address
  std::string cluster_error;
  std::optional<DrainPace> down_pace;  // while it is down, with on_down = "close"
  // Of a host name: look-ups that failed in a row, and when it is asked again.
  uint32_t lookups_failed = 0;
  net::EventLoop::TimerId lookup_again{};
  uint64_t arrivals_seen = 0;
  double arrivals_per_s = 0;

  uint32_t Weight() const { return record->weight.value_or(config.weight); }
};

}  // namespace lb
