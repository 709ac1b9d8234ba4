#include "lb/admin/views_metrics.h"

#include <string_view>

#include "net/report/metrics.h"

namespace lb {
namespace {

using net::MetricLabel;
using net::MetricsWriter;

void WriteProcess(MetricsWriter& out, const ProcessView& process) {
  out.Gauge("mongooselb_build_info", "Always 1; the version is a label.")
      .Add({{"version", process.version}}, 1);
  auto state = out.Gauge("mongooselb_state", "What the process does; 1 for the state that holds.");
  for (ProcessState one : {ProcessState::kStarting, ProcessState::kRunning, ProcessState::kDraining,
                           ProcessState::kStopping}) {
    state.Add({{"state", ProcessStateName(one)}}, one == process.state ? 1 : 0);
  }
  out.Gauge("mongooselb_uptime_seconds", "Since the process started.").Add({}, process.uptime_s);
  out.Gauge("mongooselb_workers", "Threads that carry connections.").Add({}, process.workers);
  out.Gauge("mongooselb_warmup_ratio", "How warm the balancer itself is; 1 = warm.")
      .Add({}, process.warmup);
  out.Gauge("mongooselb_warmup_accepts_per_second_max",
            "Connections a second that it takes while it warms up; 0 = no bound.")
      .Add({}, process.accept_rate);
  out.Gauge("mongooselb_nodes_up", "Nodes that take new connections.").Add({}, process.nodes_up);
  out.Gauge("mongooselb_nodes", "Nodes in all pools.").Add({}, process.nodes_total);
  out.Gauge("mongooselb_last_reload_success", "1 unless the last configuration was refused.")
      .Add({}, process.last_reload_error.empty() ? 1 : 0);
  out.Gauge("mongooselb_last_reload_timestamp_seconds", "Since 1970; 0 = none was tried.")
      .Add({}, static_cast<double>(process.last_reload_at_s));
  out.Gauge("mongooselb_split", "1 while nodes of a pool disagree on who is running.")
      .Add({}, process.split ? 1 : 0);
}

void WriteCounters(MetricsWriter& out, const std::vector<CounterView>& counters) {
  std::vector<MetricLabel> labels;
  for (const CounterView& counter : counters) {
    auto family = counter.counter ? out.Counter(counter.name, counter.help)
                                  : out.Gauge(counter.name, counter.help);
    for (const CounterView::Series& one : counter.series) {
      labels.clear();
      for (const auto& [name, value] : one.labels) labels.push_back({name, value});
      family.Add(std::span<const MetricLabel>(labels), one.value);
    }
  }
}

// One gauge of each pool.
template <typename Value>
void WritePoolGauge(MetricsWriter& out, std::string_view name, std::string_view help,
                    const std::vector<PoolView>& pools, Value value) {
  auto family = out.Gauge(name, help);
  for (const PoolView& pool : pools) {
    family.Add({{"pool", pool.name}}, static_cast<double>(value(pool)));
  }
}

void WritePools(MetricsWriter& out, const std::vector<PoolView>& pools) {
  WritePoolGauge(out, "mongooselb_pool_nodes_up", "Nodes that take new connections.", pools,
                 [](const PoolView& pool) { return pool.nodes_up; });
  WritePoolGauge(out, "mongooselb_pool_candidates", "Nodes among which is chosen now.", pools,
                 [](const PoolView& pool) { return pool.candidates; });
  WritePoolGauge(out, "mongooselb_pool_queued", "Connections that wait for a node now.", pools,
                 [](const PoolView& pool) { return pool.queued; });
  WritePoolGauge(out, "mongooselb_pool_split", "1 while its nodes disagree on who is running.",
                 pools, [](const PoolView& pool) { return pool.split ? 1 : 0; });
  WritePoolGauge(out, "mongooselb_pool_panic", "1 while nodes that are down are used as well.",
                 pools, [](const PoolView& pool) { return pool.panic ? 1 : 0; });
  WritePoolGauge(out, "mongooselb_pool_on_backups", "1 while its backup nodes serve.", pools,
                 [](const PoolView& pool) { return pool.on_backups ? 1 : 0; });
}

// One value of each node, as a family of its own.
template <typename Value>
void WriteNodes(MetricsWriter::Family family, const std::vector<PoolView>& pools, Value value) {
  for (const PoolView& pool : pools) {
    for (const NodeView& node : pool.nodes) {
      family.Add({{"pool", pool.name}, {"node", node.name}}, static_cast<double>(value(node)));
    }
  }
}

void WriteNodeStates(MetricsWriter& out, const std::vector<PoolView>& pools) {
  auto family = out.Gauge("mongooselb_node_state", "1 for the state that holds, else 0.");
  for (const PoolView& pool : pools) {
    for (const NodeView& node : pool.nodes) {
      for (const char* state : kNodeStates) {
        family.Add({{"pool", pool.name}, {"node", node.name}, {"state", state}},
                   node.state == state ? 1 : 0);
      }
    }
  }
}

void WriteNodeGauges(MetricsWriter& out, const std::vector<PoolView>& pools) {
  WriteNodes(out.Gauge("mongooselb_node_connections", "Open connections."), pools,
             [](const NodeView& node) { return node.active; });
  WriteNodes(out.Gauge("mongooselb_node_connections_max", "Its limit; 0 = none."), pools,
             [](const NodeView& node) { return node.connections_max; });
  WriteNodes(out.Gauge("mongooselb_node_weight", "As configured or ordered."), pools,
             [](const NodeView& node) { return node.weight; });
  WriteNodes(out.Gauge("mongooselb_node_effective_weight", "What the choice uses now."), pools,
             [](const NodeView& node) { return node.effective_weight; });
  WriteNodes(out.Gauge("mongooselb_node_share_expected", "Of the pool's arrivals, 0..1."), pools,
             [](const NodeView& node) { return node.share_expected; });
  WriteNodes(out.Gauge("mongooselb_node_arrivals_per_second", "New connections."), pools,
             [](const NodeView& node) { return node.arrivals_per_s; });
  WriteNodes(out.Gauge("mongooselb_node_warmup_ratio", "How warm it is; 1 = warm."), pools,
             [](const NodeView& node) { return node.warmup; });
  WriteNodes(out.Gauge("mongooselb_node_warmup_admits_per_second",
                       "New connections that its warm-up admits now; 0 = no bound."),
             pools, [](const NodeView& node) { return node.warmup_rate; });
  WriteNodes(out.Gauge("mongooselb_node_drain_remaining",
                       "Connections that a drain or shut has still to end."),
             pools, [](const NodeView& node) { return node.drain_remaining; });
  WriteNodes(out.Gauge("mongooselb_node_cluster_sessions", "As its status API says; 0 = unknown."),
             pools, [](const NodeView& node) { return node.cluster_sessions; });
}

void WriteNodeCounters(MetricsWriter& out, const std::vector<PoolView>& pools) {
  WriteNodes(out.Counter("mongooselb_node_arrivals_total", "Connections that chose it."), pools,
             [](const NodeView& node) { return node.arrivals; });
  WriteNodes(out.Counter("mongooselb_node_connects_total", "Connects that were begun."), pools,
             [](const NodeView& node) { return node.connects; });
  WriteNodes(out.Counter("mongooselb_node_connect_failures_total", "Connects that failed."), pools,
             [](const NodeView& node) { return node.connect_failures; });
  WriteNodes(out.Counter("mongooselb_node_forced_total",
                         "Chosen beyond its warm-up, since nobody else could."),
             pools, [](const NodeView& node) { return node.forced; });
  auto passed = out.Counter("mongooselb_node_passed_total", "Times it was passed over, by reason.");
  for (const PoolView& pool : pools) {
    for (const NodeView& node : pool.nodes) {
      passed.Add({{"pool", pool.name}, {"node", node.name}, {"reason", "warmup"}},
                 node.passed_warmup);
      passed.Add({{"pool", pool.name}, {"node", node.name}, {"reason", "full"}}, node.passed_full);
    }
  }
}

}  // namespace

std::string MetricsText(const ProcessView& process, const std::vector<CounterView>& counters,
                        const std::vector<PoolView>& pools) {
  MetricsWriter out;
  WriteProcess(out, process);
  WriteCounters(out, counters);
  WritePools(out, pools);
  WriteNodeStates(out, pools);
  WriteNodeGauges(out, pools);
  WriteNodeCounters(out, pools);
  return std::move(out).Take();
}

}  // namespace lb
