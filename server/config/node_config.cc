#include "server/config/node_config.h"

#include <chrono>
#include <utility>

namespace server {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

void ReadLog(const net::TomlSection& section, NodeConfig::Log& log) {
  log.level = section.Enum<net::LogLevel>("level", log.level,
                                          {{"debug", net::LogLevel::kDebug},
                                           {"info", net::LogLevel::kInfo},
                                           {"warning", net::LogLevel::kWarn},
                                           {"error", net::LogLevel::kError}});
  log.format = section.Enum<net::LogFormat>(
      "format", log.format, {{"text", net::LogFormat::kText}, {"json", net::LogFormat::kJson}});
  log.file = section.String("file", log.file);
}

// Addresses of one page server: a machine has few.
constexpr size_t kListenMax = 16;

void ReadHttp(const net::TomlSection& section, NodeConfig::Http& http) {
  if (!section.Has("listen")) {
    http.listen = {net::Address::Parse("127.0.0.1:5280").value()};
    return;
  }
  for (const std::string& text : section.Strings("listen", kListenMax)) {
    auto address = net::Address::Parse(text);
    if (address) {
      http.listen.push_back(*address);
    } else {
      section.Error("listen", address.error().what, "write \"127.0.0.1:5280\" or \"[::1]:5280\"");
    }
  }
}

void ReadCluster(const net::TomlSection& section, NodeConfig::Cluster& cluster) {
  cluster.heartbeat = section.Time("heartbeat", cluster.heartbeat, milliseconds(100), seconds(30));
  cluster.silence = section.Time("silence", cluster.silence, milliseconds(500), hours(1));
  // A node stops to route two heartbeats before the others may declare it dead, and a lost
  // heartbeat must not be a death.
  if (cluster.silence < 4 * cluster.heartbeat) {
    section.Error("silence", "is less than four heartbeats",
                  "make it longer, or heartbeat shorter");
  }
  cluster.link_grace = section.Time("link_grace", cluster.link_grace, milliseconds(0), seconds(60));
  cluster.isolate_after =
      section.Time("isolate_after", cluster.isolate_after, milliseconds(0), hours(1));
  cluster.operation_timeout =
      section.Time("operation_timeout", cluster.operation_timeout, seconds(1), seconds(60));
  cluster.discovery_file = section.String("discovery_file");
  cluster.auto_join = section.Bool("auto_join", cluster.auto_join);
  if (cluster.auto_join && cluster.discovery_file.empty()) {
    section.Error("auto_join", "has nobody to join", "set discovery_file");
  }
}

NodeConfigResult Read(net::TomlReader reader) {
  NodeConfigResult result;
  const net::TomlSection root = reader.root();
  ReadLog(root.Section("log"), result.config.log);
  ReadHttp(root.Section("http"), result.config.http);
  const net::TomlSection dist = root.Section("dist");
  result.config.dist.cookie_file = dist.String("cookie_file");
  result.config.dist.links_max =
      static_cast<size_t>(dist.Int("links_max", 256, {.min = 4, .max = 4096}));
  result.config.dist.visible = dist.Bool("visible", false);
  ReadCluster(root.Section("cluster"), result.config.cluster);
  result.errors = reader.Finish();
  return result;
}

}  // namespace

NodeConfigResult ReadNodeConfig(const std::string& path) {
  return Read(net::TomlReader::FromFile(path));
}
NodeConfigResult ParseNodeConfig(std::string_view text, std::string name) {
  return Read(net::TomlReader::FromString(text, std::move(name)));
}

}  // namespace server
