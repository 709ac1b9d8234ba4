// Refuses, before the first packet, a run that this machine cannot carry: descriptors and source
// ports. A generator that runs out of either half way measures itself.
#pragma once

#include <cstddef>
#include <expected>
#include <string>

namespace bench {

struct Needs {
  std::size_t connections = 0;
  std::size_t targets = 1;
  std::size_t sources = 1;
};

struct Means {
  std::size_t descriptors = 0;
  std::size_t local_ports = 0;
};

// Pure. The error says what is short, by how much, and the remedy.
std::expected<void, std::string> Preflight(const Needs& needs, const Means& means);

}  // namespace bench
