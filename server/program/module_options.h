// What mongooseim.toml says of limits and modules, as homes, modules and streams take it.
//
// Pure.
#pragma once

#include "server/config/node_config.h"
#include "server/im/home_core.h"
#include "server/modules/modules.h"
#include "server/store/housekeeper.h"

namespace server {

// Without the domains and the number of the home.
HomeOptions HomeOptionsOf(const NodeConfig& config);
ModulesOptions ModulesOptionsOf(const NodeConfig& config);
HousekeeperOptions HousekeeperOptionsOf(const NodeConfig& config);

}  // namespace server
