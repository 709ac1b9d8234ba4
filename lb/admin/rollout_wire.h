// What a rolling restart reads of the balancer's answers.
//
// Pure.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lb/admin/rollout.h"

namespace lb {

// The nodes of that pool, from an answer to `list`; the error says which pools there are.
std::expected<std::vector<RolloutNode>, std::string> RolloutNodesOf(std::string_view list_json,
                                                                    const std::string& pool);

// The answer to an order or a report.
struct RolloutAnswer {
  bool done = false;
  std::string words;      // what was done, or why not
  RolloutWish wish;       // of a report
  bool for_good = false;  // of a drain: the node does it itself, and only a restart ends that
};
RolloutAnswer RolloutAnswerOf(std::string_view reply_json);

// {"pool","stage","node","done","total","text"}, without a newline.
std::string RolloutProgressJson(const Rollout& rollout);

}  // namespace lb
