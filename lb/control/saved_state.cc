#include "lb/control/saved_state.h"

#include <nlohmann/json.hpp>

#include "net/service/state_file.h"

namespace lb {
namespace {

using nlohmann::json;

json NodeToJson(const PoolControl::SavedNode& node) {
  json out = json::object();
  if (node.admin != AdminState::kReady) out["admin"] = AdminStateName(node.admin);
  if (node.weight) out["weight"] = *node.weight;
  if (!node.warmup.incarnation.empty()) out["incarnation"] = node.warmup.incarnation;
  if (node.warmup.warming) {
    out["warming_ms"] = node.warmup.elapsed / std::chrono::milliseconds(1);
  }
  if (node.was_up) out["up"] = true;
  if (node.active > 0) out["active"] = node.active;
  if (node.self_drain) {
    out["self_drain"] = {{"revocable", node.self_drain->revocable},
                         {"incarnation", node.self_drain->incarnation},
                         {"maybe_over", node.self_drain->maybe_over}};
  }
  if (!node.address.empty()) {
    out["address"] = node.address;
    out["dns_weight"] = node.dns_weight;
    if (node.dns_backup) out["dns_backup"] = true;
  }
  return out;
}

PoolControl::SavedNode NodeFromJson(const std::string& name, const json& in) {
  PoolControl::SavedNode node{.name = name};
  const std::string admin = in.value("admin", "ready");
  if (admin == "drain") node.admin = AdminState::kDrain;
  if (admin == "maint") node.admin = AdminState::kMaint;
  if (in.contains("weight")) node.weight = std::min(in["weight"].get<uint32_t>(), kWeightMax);
  node.warmup.incarnation = in.value("incarnation", "");
  if (in.contains("warming_ms")) {
    node.warmup.warming = true;
    node.warmup.elapsed = std::chrono::milliseconds(in["warming_ms"].get<int64_t>());
  }
  node.was_up = in.value("up", false);
  node.active = in.value("active", uint32_t{0});
  if (const auto drains = in.find("self_drain"); drains != in.end()) {
    node.self_drain = SelfDrain{.revocable = drains->value("revocable", false),
                                .incarnation = drains->value("incarnation", ""),
                                .maybe_over = drains->value("maybe_over", false)};
  }
  node.address = in.value("address", "");
  node.dns_weight = std::min(in.value("dns_weight", uint32_t{100}), kWeightMax);
  node.dns_backup = in.value("dns_backup", false);
  return node;
}

}  // namespace

std::string SavedStateToJson(const SavedState& state) {
  json out = {{"v", 1}, {"accept_rate", state.accept_rate}, {"pools", json::object()}};
  for (const auto& [pool, nodes] : state.pools) {
    json& to = out["pools"][pool] = json::object();
    for (const PoolControl::SavedNode& node : nodes) {
      json one = NodeToJson(node);
      if (!one.empty()) to[node.name] = std::move(one);
    }
  }
  return out.dump();
}

std::expected<SavedState, std::string> SavedStateFromJson(std::string_view text) {
  if (text.size() > net::kStateFileMax) return std::unexpected("saved state is too large");
  SavedState state;
  try {
    const json in = json::parse(text);
    if (in.at("v") != 1) return std::unexpected("saved state is of another version");
    state.accept_rate = in.value("accept_rate", 0.0);
    for (const auto& [pool, nodes] : in.at("pools").items()) {
      for (const auto& [name, node] : nodes.items()) {
        state.pools[pool].push_back(NodeFromJson(name, node));
      }
    }
  } catch (const json::exception& error) {
    return std::unexpected(std::string("saved state cannot be read: ") + error.what());
  }
  return state;
}

std::string NodeCountsToJson(const NodeCounts& counts) {
  json out = json::object();
  for (const auto& [key, count] : counts) out[key.first][key.second] = count;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

NodeCounts NodeCountsFromJson(std::string_view text) {
  NodeCounts counts;
  const json in = json::parse(text, nullptr, false);
  if (!in.is_object()) return counts;
  for (const auto& [pool, nodes] : in.items()) {
    if (!nodes.is_object()) continue;
    for (const auto& [node, count] : nodes.items()) {
      if (count.is_number_unsigned()) counts[{pool, node}] = count.get<uint32_t>();
    }
  }
  return counts;
}

}  // namespace lb
