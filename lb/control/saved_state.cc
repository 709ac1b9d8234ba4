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

}  // namespace lb
