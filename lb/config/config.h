// mongooselb.toml as values: every key with its default, judged as a whole. conf/mongooselb.toml
// shows and explains each key; whoever adds one adds it there too (a test holds the two together).
//
//   auto config = LoadConfig("/etc/mongooselb/mongooselb.toml");
//   if (!config) for (const auto& error : config.error()) std::cerr << error.ToString() << '\n';
//
// Host names are not resolved here, so that a file can be checked anywhere; ResolveNode does that
// when the program runs. The one thing read beside the file are the password files of checks.
//
// Start-up, reload and `check` only; any one thread. No value is changed afterwards.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/balance/warmup.h"
#include "lb/proxy/runtime.h"
#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/config/toml_reader.h"
#include "net/http/http.h"
#include "net/probe/check_script.h"
#include "net/report/log.h"
#include "net/report/log_target.h"
#include "net/tls/context/tls_context.h"

namespace lb {

// Bounds of the file's lists. (Nodes of a pool: kPoolNodesMax.)
inline constexpr size_t kListenersMax = 64;
inline constexpr size_t kPoolsMax = 256;
inline constexpr size_t kBindsMax = 32;
inline constexpr size_t kChecksMax = 8;
inline constexpr size_t kTrustedMax = 256;
inline constexpr size_t kSourceNetworksMax = 1024;
inline constexpr size_t kCheckHeadersMax = 32;
inline constexpr size_t kSourceAddressesMax = 64;
inline constexpr size_t kCertificatesMax = 256;
inline constexpr size_t kRoutesMax = 256;
inline constexpr size_t kAlpnMax = 16;
inline constexpr size_t kCertificateNamesMax = 256;
inline constexpr size_t kProxyTlvsMax = 16;
inline constexpr size_t kNameMax = 64;  // bytes of a listener's, pool's or node's name

// Where a value stood, for what is found out later: a bind that fails, a name without an address.
// No part of a configuration's meaning: two origins are always equal.
struct ConfigOrigin {
  std::string file;
  int line = 0;
  std::string key;  // "pool.xmpp.node[1].address"

  net::ConfigError Error(std::string what, std::string remedy = "") const {
    return {.file = file,
            .line = line,
            .column = 0,
            .key = key,
            .what = std::move(what),
            .remedy = std::move(remedy)};
  }
  bool operator==(const ConfigOrigin&) const { return true; }
};

// Whether each worker stands on one processor and takes the connections whose packets arrive there.
enum class FollowPackets : uint8_t { kAuto, kOn, kOff };

struct ProcessConfig {
  uint32_t workers = 0;  // 0 = one per CPU
  FollowPackets follow_packets = FollowPackets::kOff;
  uint32_t connections_max = 100'000;
  std::string user;   // empty: stay who we are
  std::string group;  // empty: the user's
  std::string ctl_socket = "/run/mongooselb/ctl.sock";
  ConfigOrigin ctl_socket_origin;
  std::optional<net::Endpoint> admin_listen;  // nullopt = off
  ConfigOrigin admin_listen_origin;
  net::Duration drain_deadline = std::chrono::minutes(10);
  uint32_t buffer_bytes = 4096;
  uint32_t buffers = 4096;               // per worker; a power of two
  uint32_t large_buffers = 32;           // per worker; a power of two, or 0
  std::string state_file;                // empty: overrides end with the process
  std::vector<std::string> ready_pools;  // which must have a node up; empty: any of them

  bool operator==(const ProcessConfig&) const = default;
};

enum class AccessLogTarget : uint8_t { kOff, kStderr, kFile, kSyslog, kJournal };

struct LogConfig {
  net::LogLevel level = net::LogLevel::kInfo;
  net::LogFormat format = net::LogFormat::kText;
  net::LogTarget target = net::LogTarget::kStderr;
  AccessLogTarget access = AccessLogTarget::kOff;
  std::string access_file;      // kFile: an absolute path
  net::Endpoint access_daemon;  // kSyslog, kJournal
  ConfigOrigin access_origin;
  net::LogFormat access_format = net::LogFormat::kText;
  bool access_silent = true;  // also of probes: who said nothing and left

  bool operator==(const LogConfig&) const = default;
};

std::string_view ListenerModeName(ListenerMode mode);

struct CertificateConfig {
  ConfigOrigin origin;
  std::string chain;
  std::string key;
  std::string ocsp;                // empty: none is stapled
  std::vector<std::string> names;  // empty: those in the certificate

  bool operator==(const CertificateConfig&) const = default;
};

// Versions and algorithms, as OpenSSL names them.
struct TlsPolicyConfig {
  net::TlsVersion min_version = net::TlsVersion::kTls12;
  net::TlsVersion max_version = net::TlsVersion::kTls13;
  std::string ciphers{net::kTlsDefaultCiphers};
  std::string suites{net::kTlsDefaultSuites};
  std::string groups{net::kTlsDefaultGroups};
  bool own_records = true;
  bool own_handshake = true;

  bool operator==(const TlsPolicyConfig&) const = default;
};

// What ends TLS at a listener.
struct ListenerTlsConfig {
  ConfigOrigin origin;
  std::vector<CertificateConfig> certificates;
  TlsPolicyConfig policy;
  std::vector<std::string> alpn;  // empty: not negotiated
  bool alpn_required = false;
  bool strict_sni = false;
  net::TlsClientAuth client_auth = net::TlsClientAuth::kOff;
  std::string client_ca;
  std::string client_crl;
  std::string ticket_key_file;  // empty: keys of this process
  net::Duration ticket_rotation = std::chrono::hours(12);

  bool operator==(const ListenerTlsConfig&) const = default;
};

struct RouteConfig {
  std::string domain;
  std::string alpn;
  std::string pool;
  size_t pool_index = 0;

  bool operator==(const RouteConfig&) const = default;
};

struct ListenerConfig {
  std::string name;
  ConfigOrigin bind_origin;
  std::vector<net::Endpoint> binds;  // at least one; addresses or Unix sockets, no host names
  std::string pool;
  size_t pool_index = 0;  // in Config::pools
  ListenerMode mode = ListenerMode::kTcp;
  uint32_t backlog = 4096;
  bool accept_proxy = false;
  std::vector<net::Cidr> proxy_trusted;  // empty = all
  net::Duration proxy_header_timeout = std::chrono::seconds(1);
  uint32_t connections_max = 0;         // 0 = none
  uint32_t source_connections_max = 0;  // 0 = none
  double source_rate = 0;               // a second; 0 = none
  double rate = 0;                      // of all sources; a second; 0 = none
  bool wait_at_limit = false;           // new clients wait in the listen queue; else refused
  std::vector<net::Cidr> source_allow;  // empty = all
  std::vector<net::Cidr> source_deny;
  uint32_t unix_mode = 0600;
  std::string unix_user;   // empty: who the process starts as
  std::string unix_group;  // empty: the user's
  uint32_t source_table_max = 65'536;
  uint8_t source_prefix_v6 = 64;

  ListenerTlsConfig tls;  // kTls, kStartTls
  net::Duration handshake_timeout = std::chrono::seconds(10);
  uint32_t handshakes_max = 1000;
  bool server_streams = false;  // kStartTls: jabber:server
  std::vector<RouteConfig> routes;

  bool operator==(const ListenerConfig&) const = default;
};

struct NodeConfig {
  std::string name;
  ConfigOrigin origin;    // of the address
  net::Endpoint address;  // may be a host name: ResolveNode
  uint32_t weight = 100;
  bool backup = false;
  uint32_t connections_max = 0;  // 0 = none

  bool operator==(const NodeConfig&) const = default;
};

enum class DiscoverRecord : uint8_t { kA, kAaaa, kSrv };

struct DiscoverConfig {
  ConfigOrigin origin;
  DiscoverRecord record = DiscoverRecord::kA;
  std::string name;
  uint16_t port = 0;                     // kA, kAaaa; an SRV record has its own
  std::optional<net::Address> resolver;  // nullopt: those of /etc/resolv.conf
  net::Duration interval = std::chrono::seconds(30);
  uint32_t nodes_max = 64;
  uint32_t weight = 100;  // of kA and kAaaa nodes, and the mean of kSrv nodes

  bool operator==(const DiscoverConfig&) const = default;
};

// What a node is before its first result.
enum class CheckStart : uint8_t { kChecking, kUp, kDown };

struct CheckConfig {
  ConfigOrigin origin;
  net::CheckType type = net::CheckType::kTcp;
  net::Duration interval = std::chrono::seconds(5);
  net::Duration fast_interval = std::chrono::seconds(1);  // while a transition is under way
  net::Duration timeout = std::chrono::seconds(2);
  uint32_t rise = 2;
  uint32_t fall = 3;
  double jitter = 0.1;  // share of the interval, both ways
  uint16_t port = 0;    // 0 = the node's
  // A PROXY header of the pool's version goes first, which says that the connection is our own.
  // Unless told: where the pool's connections send one and the check goes to the same port.
  SendProxy send_proxy = SendProxy::kOff;
  // It speaks TLS as the pool's connections do. Unless told: where these do and the check goes to
  // the same port.
  bool tls = false;
  CheckStart start = CheckStart::kChecking;

  // kHttp
  std::string method = "GET";
  std::string path = "/";
  std::string host;  // empty: the node's address
  std::vector<net::HttpHeader> headers;
  std::string body;
  std::string user;
  std::string password;  // the content of password_file: a secret
  int expect_status = 200;
  std::string expect_json;  // a dotted path; empty: the body does not matter
  std::string expect_value;

  // kXmpp
  std::string to;
  std::string xmlns = "jabber:client";

  bool operator==(const CheckConfig&) const = default;
};

// The cluster-status API of the pool's nodes.
struct StatusConfig {
  ConfigOrigin origin;
  std::string path = "/api/cluster/status";
  uint16_t port = 0;
  net::Duration interval = std::chrono::seconds(2);
  net::Duration timeout = std::chrono::seconds(1);
  uint32_t fall = 3;
  bool netsplit = true;
  // A node that is drained with a rate or a deadline is asked by a POST there to drain itself
  // (lb/control/node_drain.h); "": it is not.
  std::string drain = "";
  std::string user = "";  // by Basic authentication; "": without
  std::string password = "";

  bool operator==(const StatusConfig&) const = default;
};

inline bool operator==(const WarmupConfig& a, const WarmupConfig& b) {
  return a.mode == b.mode && a.duration == b.duration && a.start_rate == b.start_rate &&
         a.end_rate == b.end_rate && a.aggression == b.aggression && a.share_cap == b.share_cap &&
         a.min_weight == b.min_weight;
}
inline bool operator==(const AcceptWarmupConfig& a, const AcceptWarmupConfig& b) {
  return a.enabled == b.enabled && a.initial_rate == b.initial_rate && a.growth == b.growth &&
         a.interval == b.interval;
}

struct PoolConfig {
  std::string name;
  ConfigOrigin origin;
  Policy balance = Policy::kP2c;
  double bounded_load = 0;     // 0 = no bound: sources stay
  double panic_threshold = 0;  // 0 = never
  uint32_t retries = 3;
  bool redispatch = true;
  uint32_t queue_max = 1024;
  uint32_t passive_errors = 3;  // 0 = off
  bool close_on_down = false;   // sessions of a node that is marked down end
  double on_down_rate = 100;    // so many a second; 0 = at once
  uint32_t pending_bytes_max = 256 * 1024;
  uint32_t splice_after = 256 * 1024;  // 0 = never

  net::Duration connect_timeout = std::chrono::seconds(5);
  net::Duration queue_timeout = std::chrono::seconds(10);
  net::Duration idle_timeout{};  // 0 = none, as the next three
  net::Duration client_idle_timeout{};
  net::Duration node_idle_timeout{};
  net::Duration max_age{};  // of a connection, or up to a tenth less
  net::Duration fin_timeout = std::chrono::seconds(30);
  net::Duration tcp_user_timeout = std::chrono::seconds(90);
  net::Duration keepalive_idle = std::chrono::seconds(60);  // 0 = off
  net::Duration keepalive_interval = std::chrono::seconds(20);
  uint32_t keepalive_count = 4;

  SendProxy send_proxy = SendProxy::kOff;
  bool proxy_unique_id = false;  // with kV2
  bool proxy_crc32c = false;     // with kV2
  bool proxy_ssl = false;        // with kV2, as the ones that follow
  bool proxy_alpn = false;
  bool proxy_authority = false;
  bool proxy_channel_binding = false;
  std::vector<net::Address> source_addresses;  // port 0

  NodeTls tls = NodeTls::kOff;
  ConfigOrigin tls_origin;
  std::string tls_ca;  // empty: the system's
  bool tls_verify = true;
  std::string tls_verify_name;
  std::string tls_sni;
  std::string starttls_to;
  bool starttls_server = false;  // jabber:server

  std::vector<NodeConfig> nodes;
  std::optional<DiscoverConfig> discover;
  std::vector<CheckConfig> checks;  // all must be up; none = always up
  std::optional<StatusConfig> status;
  WarmupConfig warmup;

  bool operator==(const PoolConfig&) const = default;
};

struct Config {
  std::string file;
  ProcessConfig process;
  LogConfig log;
  AcceptWarmupConfig warmup;  // the balancer's own
  std::vector<ListenerConfig> listeners;
  std::vector<PoolConfig> pools;

  bool operator==(const Config&) const = default;
};

// What could be read of a file that may have mistakes: for who looks for more of them (names,
// certificates), and for nothing else.
struct DraftConfig {
  Config config;
  std::vector<net::ConfigError> errors;  // in the order of the file
  bool readable = false;                 // else `config` is empty
};
DraftConfig ReadConfig(const std::string& path);

// All mistakes of the file, in its order; never a configuration with mistakes.
std::expected<Config, std::vector<net::ConfigError>> LoadConfig(const std::string& path);
std::expected<Config, std::vector<net::ConfigError>> ParseConfig(std::string_view text,
                                                                 std::string name);

// The node's address, looked up if it is a host name: the first that the system's resolver gives.
// Blocks for as long as the resolver takes.
std::expected<net::Endpoint, net::ConfigError> ResolveNode(const NodeConfig& node);

}  // namespace lb
