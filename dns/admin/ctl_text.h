// The answers of the control socket, for people.
//
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "net/ctl/ctl_text.h"

namespace dns {

// What `mongoosedns ctl COMMAND` prints for the last line of an answer that is ok.
std::string CtlAnswerText(std::string_view command, std::string_view reply_json,
                          const net::TextStyle& style);

// One frame of `top`, from the answers to `stats` and `states`; as JSON, the two and the rate.
std::string CtlTopFrame(std::string_view stats_json, std::string_view states_json,
                        double queries_per_s, const net::TextStyle& style);
std::string CtlTopJson(std::string_view stats_json, std::string_view states_json,
                       double queries_per_s);
// All queries that the answer to `stats` counts.
double QueriesOf(std::string_view stats_json);

// What `status` says: for who waits for another process.
struct ProcessSeen {
  double pid = 0;
  bool running = false;
};
ProcessSeen ProcessOf(std::string_view status_json);

}  // namespace dns
