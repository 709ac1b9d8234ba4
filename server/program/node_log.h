// The node's log: in its folder, and on stderr where somebody looks at it; or on stderr alone, or
// in the journal (net/report/log_target.h). And its level, by the names that upstream has for it.
//
// Thread-safe, as net::Log is.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "server/config/node_config.h"

namespace server {

// Once in a process. `path`: of the file, "" for none; `live`: somebody looks at stderr. The error
// names the file and the remedy.
std::expected<void, std::string> StartLog(const NodeConfig::Log& config, const std::string& path,
                                          bool live);

// NONE … ALL, as upstream has them; the ones between are ours' next.
void SetLogLevelByName(std::string_view name);
std::string LogLevelName();

}  // namespace server
