// The status JSON of lb/health/cluster_view.h.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "lb/health/cluster_view.h"
#include "net/probe/json_path.h"

namespace lb {
namespace {

using nlohmann::json;
using Kind = ClusterStatusError::Kind;
using Result = std::expected<void, ClusterStatusError>;

constexpr std::array<std::string_view, 6> kStateNames = {"starting", "running",  "joining",
                                                         "draining", "isolated", "stopping"};

std::unexpected<ClusterStatusError> Fail(Kind kind, std::string_view key = "") {
  return std::unexpected(ClusterStatusError{kind, std::string(key)});
}

// Names go to logs and dashboards: no control characters.
bool GoodName(const std::string& name) {
  if (name.empty() || name.size() > kClusterNameMax) return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

Result ReadName(const json& object, const char* key, std::string& to) {
  auto found = object.find(key);
  if (found == object.end()) return Fail(Kind::kMissingKey, key);
  if (!found->is_string()) return Fail(Kind::kWrongType, key);
  to = found->get_ref<const std::string&>();
  if (!GoodName(to)) return Fail(Kind::kBadValue, key);
  return {};
}

Result ReadIncarnation(const json& object, std::string& to) {
  auto found = object.find("incarnation");
  if (found != object.end() && found->is_number_integer()) {
    to = found->dump();
    return {};
  }
  return ReadName(object, "incarnation", to);
}

Result ReadState(const json& object, ClusterState& to) {
  std::string name;
  if (Result read = ReadName(object, "state", name); !read) return read;
  auto found = std::find(kStateNames.begin(), kStateNames.end(), name);
  if (found == kStateNames.end()) return Fail(Kind::kBadValue, "state");
  to = static_cast<ClusterState>(found - kStateNames.begin());
  return {};
}

Result ReadNames(const json& object, const char* key, bool required, std::vector<std::string>& to) {
  auto found = object.find(key);
  if (found == object.end()) {
    if (required) return Fail(Kind::kMissingKey, key);
    return {};
  }
  if (!found->is_array()) return Fail(Kind::kWrongType, key);
  if (found->size() > kClusterNodesMax) return Fail(Kind::kTooMany, key);
  for (const json& item : *found) {
    if (!item.is_string()) return Fail(Kind::kWrongType, key);
    const auto& name = item.get_ref<const std::string&>();
    if (!GoodName(name)) return Fail(Kind::kBadValue, key);
    to.push_back(name);
  }
  std::sort(to.begin(), to.end());
  to.erase(std::unique(to.begin(), to.end()), to.end());
  return {};
}

Result ReadCount(const json& object, const char* key, uint64_t& to) {
  auto found = object.find(key);
  if (found == object.end()) return {};
  if (!found->is_number_unsigned()) return Fail(Kind::kWrongType, key);
  to = found->get<uint64_t>();
  return {};
}

Result ReadLoad(const json& object, double& to) {
  auto found = object.find("load");
  if (found == object.end()) return {};
  if (!found->is_number()) return Fail(Kind::kWrongType, "load");
  to = found->get<double>();
  return {};
}

Result ReadAll(const json& object, ClusterStatus& status) {
  Result read = ReadName(object, "node", status.node);
  if (read) read = ReadIncarnation(object, status.incarnation);
  if (read) read = ReadState(object, status.state);
  if (read) read = ReadNames(object, "members", true, status.members);
  if (read) read = ReadNames(object, "running", true, status.running);
  if (read) read = ReadNames(object, "stopped", false, status.stopped);
  if (read) read = ReadCount(object, "sessions", status.sessions);
  if (read) read = ReadCount(object, "max_sessions", status.max_sessions);
  if (read) read = ReadLoad(object, status.load);
  return read;
}

}  // namespace

std::string_view ClusterStateName(ClusterState state) {
  return kStateNames[static_cast<size_t>(state)];
}

std::string ClusterStatusError::ToString() const {
  switch (kind) {
    case Kind::kTooLarge:
      return "the answer is larger than " + std::to_string(kClusterStatusMax / 1024) + " KiB";
    case Kind::kNotJson:
      return "the answer is not a JSON object";
    case Kind::kMissingKey:
      return "missing key '" + key + "'";
    case Kind::kWrongType:
      return "key '" + key + "' has a wrong type";
    case Kind::kBadValue:
      return "key '" + key + "' has a value that is not allowed";
    case Kind::kTooMany:
      return "key '" + key + "' lists more than " + std::to_string(kClusterNodesMax) + " nodes";
  }
  return "unknown";
}

std::expected<ClusterStatus, ClusterStatusError> ParseClusterStatus(std::string_view body) {
  if (body.size() > kClusterStatusMax) return Fail(Kind::kTooLarge);
  if (!net::JsonNestingBounded(body)) return Fail(Kind::kNotJson);
  json object = json::parse(body.begin(), body.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Fail(Kind::kNotJson);
  ClusterStatus status;
  if (Result read = ReadAll(object, status); !read) return std::unexpected(read.error());
  return status;
}

}  // namespace lb
