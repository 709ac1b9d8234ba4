// Reads one [pool.NAME] with all that belongs to it. For lb/config/config.cc only.
#pragma once

#include <string>

#include "lb/config/config.h"
#include "net/config/toml_reader.h"

namespace lb {

// Mistakes are recorded in the section's reader.
PoolConfig ReadPool(const std::string& name, const net::TomlSection& section,
                    const std::string& file);
CheckConfig ReadCheck(const net::TomlSection& section, const std::string& file,
                      SendProxy pool_sends, NodeTls pool_speaks);

}  // namespace lb
