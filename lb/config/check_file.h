// All that can be said of a configuration before it runs: its own mistakes, names that nobody knows
// and certificates that cannot be used, in one list.
//
// Reads files and asks the resolver: `mongooselb check`, and a start or reload that is refused.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "lb/config/config.h"

namespace lb {

// The configuration without mistakes, or all of them.
std::expected<Config, std::vector<net::ConfigError>> CheckFile(const std::string& path);

}  // namespace lb
