// What a reload does with each key of mongoosedns.toml. Whoever adds a key adds it here, too: a
// test holds the table and the readers together.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dns/config/config.h"
#include "net/config/reload_table.h"

namespace dns {

std::span<const net::ReloadRow<Config>> ReloadTable();

// Each key that a reload to `next` would have to change and cannot, with file, line and remedy.
// Reads the file that `next` came from, for the lines.
std::vector<std::string> RefusedKeys(const Config& now, const Config& next);

}  // namespace dns
