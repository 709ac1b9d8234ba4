// What Control says, as JSON: for /status and the control socket. Peers' texts (reasons, errors)
// are escaped, and bytes that are no UTF-8 replaced. Each function returns one object without a
// newline.
//
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lb/control/control.h"

namespace lb {

// {"state","version","pid","uptime_s","workers","warmup","accept_rate","nodes_up","nodes_total",
//  "connections","connections_max","accepts_per_s","split","reloads","reloads_failed",
//  "last_reload_error","listeners":[...],"pools":[{"name","balance",...,"nodes":[...]}]}
// mongoosedns reads state, warmup, nodes_up, nodes_total and connections.
std::string StatusJson(const ProcessView& process, const std::vector<ListenerView>& listeners,
                       const std::vector<PoolView>& pools,
                       const std::vector<AbsentNodeView>& absent = {},
                       const std::vector<RolloutView>& rollouts = {});
std::string RolloutsJson(const std::vector<RolloutView>& rollouts);  // {"rollouts":[...]}

std::string PoolsJson(const std::vector<PoolView>& pools);  // {"pools":[...]}
std::string WhyJson(const WhyView& why);                    // {"address",...}
// {"connections":[...],"total":N,"next":ID or null}
std::string ConnectionsJson(const ConnectionPage& page);
std::string CountersJson(const std::vector<CounterView>& counters);  // {"counters":[...]}

// {"errors":[{"file","line","key","what","remedy","text"}]}
std::string ConfigErrorsJson(const std::vector<net::ConfigError>& errors);

}  // namespace lb
