// What a reload does with each key of mongooselb.toml. Whoever adds a key adds it here, too: a test
// holds the table and the readers together.
#pragma once

#include <span>

#include "lb/config/config.h"
#include "net/config/reload_table.h"

namespace lb {

std::span<const net::ReloadRow<Config>> ReloadTable();

}  // namespace lb
