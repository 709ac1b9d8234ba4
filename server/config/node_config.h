// mongooseim.toml: what vm.args has no words for. Every key with its default is in
// conf/mongooseim.toml, and a test reads that file.
//
// Used at the start and at reload. Unknown keys are errors; all mistakes are told at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/config/toml_reader.h"
#include "net/report/log.h"

namespace server {

struct NodeConfig {
  struct Log {
    net::LogLevel level = net::LogLevel::kInfo;
    net::LogFormat format = net::LogFormat::kText;
    std::string file = "log/mongooseim.log";  // in the node's folder; "": stderr
  } log;
  struct Http {
    std::vector<net::Address> listen;  // /livez /readyz /metrics /api/cluster/status
  } http;
  struct Dist {
    std::string cookie_file;  // instead of -setcookie; "": none
    size_t links_max = 256;
    bool visible = false;
  } dist;
  struct Cluster {
    net::Duration heartbeat = std::chrono::seconds(1);
    net::Duration silence = std::chrono::seconds(8);
    net::Duration link_grace = std::chrono::milliseconds(500);
    net::Duration isolate_after = std::chrono::seconds(2);
    net::Duration operation_timeout = std::chrono::seconds(5);
    std::string discovery_file;  // a node's name a line; "": join_cluster only
    bool auto_join = false;      // with discovery_file: a node that stands alone joins by itself
  } cluster;
};

struct NodeConfigResult {
  NodeConfig config;
  std::vector<net::ConfigError> errors;
};

NodeConfigResult ReadNodeConfig(const std::string& path);
NodeConfigResult ParseNodeConfig(std::string_view text, std::string name);

}  // namespace server
