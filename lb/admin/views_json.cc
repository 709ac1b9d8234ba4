#include "lb/admin/views_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace lb {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Six digits behind the point are enough for people and dashboards; JSON has no infinity.
double Rounded(double value) { return std::isfinite(value) ? std::round(value * 1e6) / 1e6 : 0; }

Json ListenerJson(const ListenerView& view) {
  return {{"name", view.name},
          {"binds", view.binds},
          {"mode", view.mode},
          {"pool", view.pool},
          {"active", view.active},
          {"connections_max", view.connections_max},
          {"accepted", view.accepted},
          {"refused_limit", view.refused_limit},
          {"refused_source", view.refused_source},
          {"refused_denied", view.refused_denied},
          {"refused_header", view.refused_header}};
}

Json NodeJson(const NodeView& view) {
  Json checks = Json::array();
  for (const NodeView::Check& check : view.checks) {
    checks.push_back({{"type", check.type}, {"status", check.status}, {"why", check.why}});
  }
  return {{"name", view.name},
          {"address", view.address},
          {"state", view.state},
          {"why", view.why},
          {"admin", view.admin},
          {"weight", view.weight},
          {"weight_overridden", view.weight_overridden},
          {"effective_weight", Rounded(view.effective_weight)},
          {"share_expected", Rounded(view.share_expected)},
          {"active", view.active},
          {"elsewhere", view.elsewhere},
          {"connections_max", view.connections_max},
          {"arrivals_per_s", Rounded(view.arrivals_per_s)},
          {"warmup", Rounded(view.warmup)},
          {"warmup_rate", Rounded(view.warmup_rate)},
          {"arrivals", view.arrivals},
          {"connects", view.connects},
          {"connect_failures", view.connect_failures},
          {"forced", view.forced},
          {"passed_warmup", view.passed_warmup},
          {"passed_full", view.passed_full},
          {"explanation", view.explanation},
          {"checks", std::move(checks)},
          {"cluster_state", view.cluster_state},
          {"cluster_error", view.cluster_error},
          {"cluster_sessions", view.cluster_sessions},
          {"incarnation", view.incarnation},
          {"drain_active", view.drain_active},
          {"drain_remaining", view.drain_remaining},
          {"drain_rate", Rounded(view.drain_rate)}};
}

Json PoolJson(const PoolView& view) {
  Json nodes = Json::array();
  for (const NodeView& node : view.nodes) nodes.push_back(NodeJson(node));
  return {{"name", view.name},
          {"balance", view.balance},
          {"summary", view.summary},
          {"split", view.split},
          {"panic", view.panic},
          {"on_backups", view.on_backups},
          {"candidates", view.candidates},
          {"nodes_up", view.nodes_up},
          {"queued", view.queued},
          {"arrivals_per_s", Rounded(view.arrivals_per_s)},
          {"nodes", std::move(nodes)}};
}

Json PoolsArray(const std::vector<PoolView>& pools) {
  Json array = Json::array();
  for (const PoolView& pool : pools) array.push_back(PoolJson(pool));
  return array;
}

Json ConnectionJson(const ConnectionView& view) {
  return {{"id", view.id},
          {"client", view.client},
          {"listener", view.listener},
          {"pool", view.pool},
          {"node", view.node},
          {"state", view.state},
          {"age_ms", view.age_ms},
          {"idle_ms", view.idle_ms},
          {"bytes_in", view.bytes_in},
          {"bytes_out", view.bytes_out}};
}

Json RolloutArray(const std::vector<RolloutView>& rollouts) {
  Json array = Json::array();
  for (const RolloutView& one : rollouts) {
    array.push_back({{"pool", one.pool},
                     {"leader", one.leader},
                     {"text", one.text},
                     {"ended", one.ended},
                     {"lost", one.lost},
                     {"paused", one.paused},
                     {"aborted", one.aborted},
                     {"begun_s", Rounded(one.begun_s)},
                     {"heard_s", Rounded(one.heard_s)}});
  }
  return array;
}

}  // namespace

std::string StatusJson(const ProcessView& process, const std::vector<ListenerView>& listeners,
                       const std::vector<PoolView>& pools,
                       const std::vector<AbsentNodeView>& absent,
                       const std::vector<RolloutView>& rollouts) {
  Json absent_array = Json::array();
  for (const AbsentNodeView& node : absent) {
    absent_array.push_back({{"pool", node.pool},
                            {"name", node.name},
                            {"admin", node.admin},
                            {"weight", node.weight ? Json(*node.weight) : Json(nullptr)},
                            {"active", node.active},
                            {"elsewhere", node.elsewhere}});
  }
  Json listener_array = Json::array();
  for (const ListenerView& listener : listeners) listener_array.push_back(ListenerJson(listener));
  return Text({{"state", ProcessStateName(process.state)},
               {"version", process.version},
               {"pid", process.pid},
               {"uptime_s", Rounded(process.uptime_s)},
               {"workers", process.workers},
               {"warmup", Rounded(process.warmup)},
               {"accept_rate", Rounded(process.accept_rate)},
               {"nodes_up", process.nodes_up},
               {"nodes_total", process.nodes_total},
               {"connections", process.connections},
               {"connections_elsewhere", process.connections_elsewhere},
               {"connections_max", process.connections_max},
               {"accepts_per_s", Rounded(process.accepts_per_s)},
               {"split", process.split},
               {"reloads", process.reloads},
               {"reloads_failed", process.reloads_failed},
               {"last_reload_error", process.last_reload_error},
               {"last_reload_at_s", process.last_reload_at_s},
               {"listeners", std::move(listener_array)},
               {"pools", PoolsArray(pools)},
               {"absent", std::move(absent_array)},
               {"rollouts", RolloutArray(rollouts)}});
}

std::string RolloutsJson(const std::vector<RolloutView>& rollouts) {
  return Text({{"rollouts", RolloutArray(rollouts)}});
}

std::string PoolsJson(const std::vector<PoolView>& pools) {
  return Text({{"pools", PoolsArray(pools)}});
}

std::string WhyJson(const WhyView& why) {
  Json pools = Json::array();
  for (const WhyPool& pool : why.pools) {
    pools.push_back({{"pool", pool.pool}, {"listeners", pool.listeners}, {"answer", pool.answer}});
  }
  Json connections = Json::array();
  for (const ConnectionView& one : why.connections) connections.push_back(ConnectionJson(one));
  return Text({{"address", why.address},
               {"pools", std::move(pools)},
               {"connections_total", why.connections_total},
               {"connections", std::move(connections)}});
}

std::string ConnectionsJson(const ConnectionPage& page) {
  Json connections = Json::array();
  for (const ConnectionView& one : page.connections) connections.push_back(ConnectionJson(one));
  return Text({{"connections", std::move(connections)},
               {"total", page.total},
               {"next", page.next.empty() ? Json(nullptr) : Json(page.next)}});
}

std::string CountersJson(const std::vector<CounterView>& counters) {
  Json array = Json::array();
  for (const CounterView& counter : counters) {
    Json series = Json::array();
    for (const CounterView::Series& one : counter.series) {
      Json labels = Json::object();
      for (const auto& [name, value] : one.labels) labels[name] = value;
      series.push_back({{"labels", std::move(labels)}, {"value", Rounded(one.value)}});
    }
    array.push_back({{"name", counter.name},
                     {"help", counter.help},
                     {"type", counter.counter ? "counter" : "gauge"},
                     {"series", std::move(series)}});
  }
  return Text({{"counters", std::move(array)}});
}

std::string ConfigErrorsJson(const std::vector<net::ConfigError>& errors) {
  Json array = Json::array();
  for (const net::ConfigError& error : errors) {
    array.push_back({{"file", error.file},
                     {"line", error.line},
                     {"key", error.key},
                     {"what", error.what},
                     {"remedy", error.remedy},
                     {"text", error.ToString()}});
  }
  return Text({{"errors", std::move(array)}});
}

}  // namespace lb
