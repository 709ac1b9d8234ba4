#include "lb/admin/rollout_wire.h"

#include "lb/admin/json_values.h"

namespace lb {
namespace {

RolloutNode NodeOf(const Json& node) {
  return {
      .name = TextAt(node, "name"),
      .state = TextAt(node, "state"),
      .why = TextAt(node, "why"),
      .admin = TextAt(node, "admin"),
      .active = static_cast<uint64_t>(NumberAt(node, "active")),
      .warmup = NumberAt(node, "warmup"),
      .checks = ArrayAt(node, "checks").size() + (TextAt(node, "cluster_state").empty() ? 0U : 1U),
      .incarnation = TextAt(node, "incarnation"),
      .address = TextAt(node, "address")};
}

}  // namespace

std::expected<std::vector<RolloutNode>, std::string> RolloutNodesOf(std::string_view list_json,
                                                                    const std::string& pool) {
  const Json reply = Json::parse(list_json, nullptr, false);
  if (!reply.is_object()) return std::unexpected("the answer is no JSON; who listens there?");
  std::string known;
  for (const Json& one : ArrayAt(reply, "pools")) {
    const std::string name = TextAt(one, "name");
    known += (known.empty() ? "" : ", ") + name;
    if (name != pool) continue;
    std::vector<RolloutNode> nodes;
    for (const Json& node : ArrayAt(one, "nodes")) nodes.push_back(NodeOf(node));
    return nodes;
  }
  return std::unexpected("there is no pool '" + pool + "'; there are " + known);
}

RolloutAnswer RolloutAnswerOf(std::string_view reply_json) {
  const Json reply = Json::parse(reply_json, nullptr, false);
  if (!reply.is_object()) return {.words = "the answer is no JSON"};
  RolloutAnswer answer{.done = FlagAt(reply, "ok")};
  answer.words = TextAt(reply, answer.done ? "message" : "error");
  answer.wish = {.paused = FlagAt(reply, "paused"),
                 .aborted = FlagAt(reply, "aborted"),
                 .resumes = static_cast<uint32_t>(NumberAt(reply, "resumes"))};
  answer.for_good = FlagAt(reply, "node_drains") && !FlagAt(reply, "node_drain_revocable");
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
