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
#include "server/config/module_config.h"

namespace server {

struct NodeConfig {
  struct Log {
    net::LogLevel level = net::LogLevel::kInfo;
    net::LogFormat format = net::LogFormat::kText;
    enum class Target : uint8_t { kFile, kStderr, kJournal };
    Target target = Target::kFile;
    std::string file = "log/mongooseim.log";  // in the node's folder; "": stderr
  } log;
  struct Http {
    std::vector<net::Address> listen;  // /livez /readyz /metrics /api/cluster/status
    std::string drain_file;            // with USER:PASSWORD of who may POST /api/drain; "": nobody
  } http;
  struct Dist {
    std::string cookie_file;  // instead of -setcookie; "": none
    size_t links_max = 256;
    bool visible = false;
    std::vector<std::string>
        allow;  // patterns of names (node_name.h); none: whoever has the cookie
  } dist;
  struct Cluster {
    net::Duration heartbeat = std::chrono::seconds(1);
    net::Duration silence = std::chrono::seconds(8);
    net::Duration link_grace = std::chrono::milliseconds(500);
    net::Duration isolate_after = std::chrono::seconds(2);
    net::Duration operation_timeout = std::chrono::seconds(5);
    enum class Discovery : uint8_t { kNone, kFile, kStore };
    Discovery discovery = Discovery::kNone;  // none: join_cluster only
    std::string discovery_file;              // of kFile: a node's name a line
    bool auto_join = false;  // with a discovery: a node that stands alone joins by itself
  } cluster;
  // A domain that is served; without any the node speaks no XMPP.
  struct Host {
    std::string domain;  // prepared
    std::string certificate;
    std::string key;
    std::string client_ca;  // "": clients are not asked for certificates
  };
  static constexpr size_t kHostsMax = 64;
  std::vector<Host> hosts;
  struct C2s {
    std::vector<net::Address> listen;
    std::vector<net::Address> listen_tls;
    std::vector<net::Address> listen_proxy;
    std::vector<net::Cidr> proxy_from;
    uint32_t workers = 0;  // 0: one a processor
    bool tls_required = true;
    uint32_t connections_max = 100'000;
    uint32_t unauthenticated_max = 4'096;
    net::Duration login_timeout = std::chrono::seconds(60);
    size_t stanza_bytes_max = size_t{256} << 10U;
    uint32_t stanza_depth_max = 64;
    double stanza_rate = 0;  // a second; 0: no limit
    net::Duration stanza_burst = std::chrono::seconds(5);
    net::Duration idle_ping = std::chrono::minutes(5);
    net::Duration ping_timeout = std::chrono::seconds(60);
    net::Duration resume_timeout = std::chrono::hours(1);
    size_t resume_bytes_max = size_t{1} << 30U;  // of all workers
    size_t unacked_bytes_max = size_t{4} << 20U;
    net::Duration drain_on_stop{0};  // 0: all connections are closed at once
  } c2s;
  struct Auth {
    std::vector<std::string> mechanisms = {"SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN",
                                           "EXTERNAL"};
    double failures_per_account = 10.0 / 60;  // a second
    double failures_per_address = 30.0 / 60;
  } auth;
  struct Store {
    std::string url = "sqlite:data/mongooseim.db";
    size_t readers = 0;  // connections that read; 0: as many as the store's kind has
  } store;
  LimitsConfig limits;
  ModulesConfig modules;
  struct Muc {  // rooms, XEP-0045
    bool enabled = true;
    std::string host = "conference.%h";  // %h: the [[host]]'s domain
    bool anyone_creates = true;
    bool lock_new = true;
    uint32_t rooms_max = 50'000;  // of a service, in memory
    uint32_t occupants_max = 5'000;
    uint32_t history_max = 100;
    bool archive = true;  // of new rooms
    // The service of each of `hosts`, prepared, where enabled.
    std::vector<std::string> services;
  } muc;
};

struct NodeConfigResult {
  NodeConfig config;
  std::vector<net::ConfigError> errors;
};

NodeConfigResult ReadNodeConfig(const std::string& path);
NodeConfigResult ParseNodeConfig(std::string_view text, std::string name);

}  // namespace server
