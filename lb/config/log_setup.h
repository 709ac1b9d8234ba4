// Opens what [log] access names.
//
// Start and SIGUSR1; the control thread.
#pragma once

#include <expected>

#include "lb/config/config.h"
#include "lb/proxy/access_log.h"
#include "net/io/socket.h"

namespace lb {

// Empty where the log is off. A daemon need not be there yet: its lines are dropped until it is.
std::expected<net::UniqueFd, net::ConfigError> OpenAccessLog(const LogConfig& log);

AccessLog::Options AccessLogOptionsOf(const LogConfig& log);

}  // namespace lb
