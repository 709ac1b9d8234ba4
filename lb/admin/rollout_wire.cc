#include "lb/admin/rollout_wire.h"

#include <nlohmann/json.hpp>

namespace lb {
namespace {

using Json = nlohmann::ordered_json;

std::string Str(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

double Num(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

bool Flag(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

const Json& Array(const Json& object, const char* key) {
  static const Json kEmpty = Json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kEmpty;
}

RolloutNode NodeOf(const Json& node) {
  return {.name = Str(node, "name"),
          .state = Str(node, "state"),
          .why = Str(node, "why"),
          .admin = Str(node, "admin"),
          .active = static_cast<uint64_t>(Num(node, "active")),
          .warmup = Num(node, "warmup"),
          .checks = Array(node, "checks").size() + (Str(node, "cluster_state").empty() ? 0U : 1U),
          .incarnation = Str(node, "incarnation"),
          .address = Str(node, "address")};
}

}  // namespace

std::expected<std::vector<RolloutNode>, std::string> RolloutNodesOf(std::string_view list_json,
                                                                    const std::string& pool) {
  const Json reply = Json::parse(list_json, nullptr, false);
  if (!reply.is_object()) return std::unexpected("the answer is no JSON; who listens there?");
  std::string known;
  for (const Json& one : Array(reply, "pools")) {
    const std::string name = Str(one, "name");
    known += (known.empty() ? "" : ", ") + name;
    if (name != pool) continue;
    std::vector<RolloutNode> nodes;
    for (const Json& node : Array(one, "nodes")) nodes.push_back(NodeOf(node));
    return nodes;
  }
  return std::unexpected("there is no pool '" + pool + "'; there are " + known);
}

RolloutAnswer RolloutAnswerOf(std::string_view reply_json) {
  const Json reply = Json::parse(reply_json, nullptr, false);
  if (!reply.is_object()) return {.words = "the answer is no JSON"};
  RolloutAnswer answer{.done = Flag(reply, "ok")};
  answer.words = Str(reply, answer.done ? "message" : "error");
  answer.wish = {.paused = Flag(reply, "paused"),
                 .aborted = Flag(reply, "aborted"),
                 .resumes = static_cast<uint32_t>(Num(reply, "resumes"))};
  answer.for_good = Flag(reply, "node_drains") && !Flag(reply, "node_drain_revocable");
  return answer;
}

std::string RolloutProgressJson(const Rollout& rollout) {
  const Json json = {{"pool", rollout.plan().pool},
                     {"stage", RolloutStageName(rollout.stage())},
                     {"node", rollout.node()},
                     {"done", rollout.done()},
                     {"total", rollout.plan().nodes.size()},
                     {"text", rollout.Text()}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lb
