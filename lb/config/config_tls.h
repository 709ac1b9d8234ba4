// Reads what a [listener.NAME] and a [pool.NAME] say about TLS. For lb/config*.cc only.
//
// Files are not opened here: tls_setup.h does that at start, reload and `check`.
#pragma once

#include <string>

#include "lb/config/config.h"
#include "net/config/toml_reader.h"

namespace lb {

void ReadListenerTls(const net::TomlSection& section, const std::string& file, ListenerConfig& out);
void ReadNodeTls(const net::TomlSection& section, const std::string& file, PoolConfig& out);

}  // namespace lb
