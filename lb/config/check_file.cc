#include "lb/config/check_file.h"

#include <algorithm>
#include <string_view>
#include <tuple>

#include "lb/config/tls_setup.h"

namespace lb {

std::expected<Config, std::vector<net::ConfigError>> CheckFile(const std::string& path) {
  DraftConfig draft = ReadConfig(path);
  std::vector<net::ConfigError>& errors = draft.errors;
  for (const PoolConfig& pool : draft.config.pools) {
    for (const NodeConfig& node : pool.nodes) {
      if (auto endpoint = ResolveNode(node); !endpoint) errors.push_back(endpoint.error());
    }
  }
  for (net::ConfigError& error : CheckTlsFiles(draft.config)) errors.push_back(std::move(error));
  // (Not stable_sort: libstdc++ 12's stands on what C++17 has deprecated, and clang says so.)
  std::ranges::sort(errors, {}, [&path](const net::ConfigError& error) {
    return std::tuple(error.file != path, std::string_view(error.file), error.line,
                      std::string_view(error.key));
  });
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return std::move(draft.config);
}

}  // namespace lb
