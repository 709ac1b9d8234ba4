// What people and metrics see: values that the control thread fills in when it is asked, and that
// admin pages and the control socket print. No part of what decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lb {

// What people and metrics see of a node.
struct NodeView {
  std::string name;
  std::string address;
  std::string state;  // "up", "warming", "drain", ...; one of kNodeStates
  std::string why;
  std::string admin;  // "ready", "drain", "maint"
  uint32_t weight = 0;
  bool weight_overridden = false;
  double effective_weight = 0;
  double share_expected = 0;
  uint32_t active = 0;
  uint32_t elsewhere = 0;  // of these, what the old process carries after an upgrade
  uint32_t connections_max = 0;
  double arrivals_per_s = 0;
  double warmup = 1;       // 0..1: how much of it has passed
  double warmup_rate = 0;  // connections a second that it admits now; 0 = no bound
  uint64_t arrivals = 0;
  uint64_t connects = 0;
  uint64_t connect_failures = 0;
  uint64_t forced = 0;
  uint64_t passed_warmup = 0;  // passed over for its rate or share
  uint64_t passed_full = 0;
  std::string explanation;  // of the balancer: what holds for its share
  struct Check {
    std::string type;
    std::string status;
    std::string why;
  };
  std::vector<Check> checks;
  std::string cluster_state;  // of the status API; "" when not asked
  std::string cluster_error;
  std::string incarnation;  // by the status API; "" unless it answered
  uint64_t cluster_sessions = 0;
  uint64_t drain_remaining = 0;  // while a paced drain or shut is under way
  double drain_rate = 0;
  bool drain_active = false;
};
inline constexpr const char* kNodeStates[] = {"up",    "warming",     "checking", "down",
                                              "split", "not_running", "drain",    "maint"};

struct PoolView {
  std::string name;
  std::string balance;
  std::string summary;  // of the netsplit decision, "" when all agree
  bool split = false;
  bool panic = false;
  bool on_backups = false;
  size_t candidates = 0;
  size_t nodes_up = 0;
  uint32_t queued = 0;  // connections that wait for a node now
  double arrivals_per_s = 0;
  std::vector<NodeView> nodes;
};

enum class ProcessState : uint8_t { kStarting, kRunning, kDraining, kStopping };
std::string_view ProcessStateName(ProcessState state);

struct ListenerView {
  std::string name;
  std::vector<std::string> binds;
  std::string mode;
  std::string pool;
  uint32_t active = 0;
  uint32_t connections_max = 0;
  uint64_t accepted = 0;
  uint64_t refused_limit = 0;   // by connections_max
  uint64_t refused_source = 0;  // by a limit per source address
  uint64_t refused_denied = 0;  // by source_allow and source_deny
  uint64_t refused_header = 0;  // for want of a good PROXY header
};

// A node that is in no pool now and still has connections, or an operator's word.
struct AbsentNodeView {
  std::string pool;
  std::string name;
  std::string admin;
  std::optional<uint32_t> weight;
  uint32_t active = 0;
  uint32_t elsewhere = 0;
};

struct ProcessView {
  ProcessState state = ProcessState::kStarting;
  std::string version;
  int pid = 0;
  double uptime_s = 0;
  size_t workers = 0;
  uint64_t connections = 0;
  uint64_t connections_elsewhere = 0;  // of the old process after an upgrade
  uint32_t connections_max = 0;
  double accepts_per_s = 0;
  double warmup = 1;       // of the balancer itself, 0..1; 1 = warm
  double accept_rate = 0;  // while it warms up: accepts a second; 0 = no bound
  size_t nodes_up = 0;
  size_t nodes_total = 0;
  bool split = false;
  uint64_t reloads = 0;
  uint64_t reloads_failed = 0;
  std::string last_reload_error;
  int64_t last_reload_at_s = 0;  // since 1970, of one that was tried; 0 = none was
};

// One open connection, for `why ADDRESS` and `list --connections`.
struct ConnectionView {
  std::string id;  // names it for `shut --connection`, as long as it is open
  std::string client;
  std::string listener;
  std::string pool;
  std::string node;
  std::string state;
  uint64_t age_ms = 0;
  uint64_t idle_ms = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// What would happen to a new connection from an address, and why.
struct WhyPool {
  std::string pool;
  std::vector<std::string> listeners;
  std::string answer;  // in words
};
struct WhyView {
  std::string address;
  std::vector<WhyPool> pools;
  std::vector<ConnectionView> connections;  // from that address, at most kConnectionsShown
  uint64_t connections_total = 0;
};
inline constexpr size_t kConnectionsShown = 100;

// Some of the open connections, in the order of their places.
struct ConnectionPage {
  std::vector<ConnectionView> connections;  // at most kConnectionsPage
  uint64_t total = 0;                       // that the question is about, on all pages
  std::string next;                         // ask with this for those that follow; "": none do
};
inline constexpr size_t kConnectionsPage = 500;

// A monotonic counter for /metrics and `stats`: name as in Prometheus, with labels.
struct CounterView {
  std::string name;
  std::string help;
  bool counter = true;  // else a gauge
  struct Series {
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
  };
  std::vector<Series> series;
};

}  // namespace lb
