#include "lb/config/config_pool.h"

#include <algorithm>

#include "lb/config/config_read.h"
#include "lb/config/config_tls.h"

namespace lb {
namespace {

using net::TomlSection;

constexpr net::Duration kTimeoutMin = std::chrono::milliseconds(10);
constexpr net::Duration kNone{};
// A connection notes its last byte in 32 bits of ProxyWorker::kSlowMs, 795 days: what is longer
// would come round, and end connections early or never.
constexpr net::Duration kIdleTimeoutMax = kDay * 365;

std::vector<std::pair<std::string_view, Policy>> PolicyNames() {
  std::vector<std::pair<std::string_view, Policy>> out;
  for (Policy policy : {Policy::kP2c, Policy::kLeastConn, Policy::kRoundRobin, Policy::kRandom,
                        Policy::kSource, Policy::kMaglev}) {
    out.emplace_back(PolicyName(policy), policy);
  }
  return out;
}

void ReadChoice(const TomlSection& section, PoolConfig& out) {
  out.balance = section.Enum("balance", out.balance, PolicyNames());
  out.bounded_load = section.Float("bounded_load", out.bounded_load, 0, 100);
  if (out.bounded_load > 0 && out.bounded_load < 1) {
    section.Error("bounded_load", "is below 1, at which no node may have its fair share",
                  "set it to 1 or more, or to 0 for no bound");
  }
  out.panic_threshold = section.Float("panic_threshold", out.panic_threshold, 0, 1);
  out.retries = Natural(section, "retries", out.retries, 0, static_cast<uint32_t>(kExcludeMax));
  out.redispatch = section.Bool("redispatch", out.redispatch);
  out.queue_max = Natural(section, "queue_max", out.queue_max, 0, 1'000'000);
  out.passive_errors = Natural(section, "passive_errors", out.passive_errors, 0, 10'000);
  out.close_on_down = section.Enum<bool>("on_down", false, {{"keep", false}, {"close", true}});
  out.on_down_rate = section.Rate("on_down_rate", out.on_down_rate, kRateMax);
}

// Whole seconds: what the kernel counts keepalive in. 0 where that means off.
net::Duration KeepaliveTime(const TomlSection& section, std::string_view key,
                            net::Duration fallback, net::Duration min) {
  net::Duration value = section.Time(key, fallback, min, std::chrono::seconds(32'767));
  if (value % std::chrono::seconds(1) != kNone) {
    section.Error(key, "is not a whole number of seconds", "the system counts in seconds");
  }
  return value;
}

void ReadTimes(const TomlSection& section, PoolConfig& out) {
  using std::chrono::hours;
  using std::chrono::milliseconds;
  out.connect_timeout = section.Time("connect_timeout", out.connect_timeout, kTimeoutMin, hours(1));
  out.queue_timeout = section.Time("queue_timeout", out.queue_timeout, kTimeoutMin, hours(1));
  out.idle_timeout = section.Time("idle_timeout", out.idle_timeout, kNone, kIdleTimeoutMax);
  out.client_idle_timeout =
      section.Time("client_idle_timeout", out.client_idle_timeout, kNone, kIdleTimeoutMax);
  out.node_idle_timeout =
      section.Time("node_idle_timeout", out.node_idle_timeout, kNone, kIdleTimeoutMax);
  out.max_age = section.Time("max_age", out.max_age, kNone, kDay * 365);
  out.fin_timeout = section.Time("fin_timeout", out.fin_timeout, kTimeoutMin, kDay);
  out.tcp_user_timeout = section.Time("tcp_user_timeout", out.tcp_user_timeout, kNone, kDay);
  if (out.tcp_user_timeout % milliseconds(1) != kNone) {
    section.Error("tcp_user_timeout", "is not a whole number of milliseconds",
                  "the system counts in milliseconds");
  }
  out.keepalive_idle = KeepaliveTime(section, "keepalive_idle", out.keepalive_idle, kNone);
  out.keepalive_interval =
      KeepaliveTime(section, "keepalive_interval", out.keepalive_interval, std::chrono::seconds(1));
  out.keepalive_count = Natural(section, "keepalive_count", out.keepalive_count, 1, 127);
}

void ReadBytes(const TomlSection& section, PoolConfig& out) {
  constexpr uint32_t kMax = uint32_t{1} << 30;
  out.pending_bytes_max = Size(section, "pending_bytes_max", out.pending_bytes_max, 512, kMax);
  out.splice_after = Size(section, "splice_after", out.splice_after, 0, kMax);
}

void ReadSendProxy(const TomlSection& section, PoolConfig& out) {
  out.send_proxy = section.Enum<SendProxy>(
      "send_proxy", out.send_proxy,
      {{"off", SendProxy::kOff}, {"v1", SendProxy::kV1}, {"v2", SendProxy::kV2}});
  bool v2 = out.send_proxy == SendProxy::kV2;
  bool tlvs = section.Has("send_proxy_tlvs");
  std::vector<std::string> names = section.Strings("send_proxy_tlvs", kProxyTlvsMax);
  if (!tlvs) names = {"unique_id", "crc32c", "ssl", "alpn", "authority", "channel_binding"};
  for (const std::string& tlv : names) {
    bool* on = tlv == "unique_id"         ? &out.proxy_unique_id
               : tlv == "crc32c"          ? &out.proxy_crc32c
               : tlv == "ssl"             ? &out.proxy_ssl
               : tlv == "alpn"            ? &out.proxy_alpn
               : tlv == "authority"       ? &out.proxy_authority
               : tlv == "channel_binding" ? &out.proxy_channel_binding
                                          : nullptr;
    if (on != nullptr) {
      *on = v2;
    } else {
      section.Error("send_proxy_tlvs", "holds " + net::Quoted(tlv) + ", which is not known",
                    "use unique_id, crc32c, ssl, alpn, authority, channel_binding");
    }
  }
}

void ReadSources(const TomlSection& section, PoolConfig& out) {
  std::vector<std::string> sources = section.Strings("source_addresses", kSourceAddressesMax);
  for (const std::string& text : sources) {
    auto address = net::Address::FromIp(text, 0);
    if (!address) {
      section.Error("source_addresses",
                    "holds " + net::Quoted(text) + ", which is not an IP address",
                    "write addresses of this machine without ports, as in \"192.0.2.1\"");
    } else if (std::ranges::find(out.source_addresses, *address) != out.source_addresses.end()) {
      section.Error("source_addresses", "holds " + net::Quoted(text) + " twice", "remove one");
    } else {
      out.source_addresses.push_back(*address);
    }
  }
}

NodeConfig ReadNode(const TomlSection& section, const std::string& file) {
  NodeConfig out;
  out.name = section.RequiredString("name");
  if (!out.name.empty()) JudgeName(section, "name", out.name);
  std::string address = section.RequiredString("address");
  out.origin = OriginOf(section, "address", file);
  if (!address.empty()) {
    if (auto endpoint = EndpointOf(section, "address", address)) {
      out.address = std::move(*endpoint);
      if (out.address.kind != net::Endpoint::Kind::kUnix && out.address.port == 0) {
        section.Error("address", "has the port 0", "write the port on which the node listens");
      }
    }
  }
  out.weight = Natural(section, "weight", out.weight, 0, kWeightMax);
  out.backup = section.Bool("backup", out.backup);
  out.connections_max = Natural(section, "connections_max", 0, 0, 10'000'000);
  return out;
}

void ReadNodes(const TomlSection& section, const std::string& file, PoolConfig& out) {
  std::vector<TomlSection> nodes = section.Sections("node", kPoolNodesMax);
  std::vector<std::pair<std::string, int>> seen;  // name, line
  for (const TomlSection& node : nodes) {
    NodeConfig read = ReadNode(node, file);
    auto same = std::ranges::find(seen, read.name, &std::pair<std::string, int>::first);
    if (same != seen.end() && !read.name.empty()) {
      node.Error("name",
                 "is " + net::Quoted(read.name) + ", which the node of line " +
                     std::to_string(same->second) + " has already",
                 "give each node of a pool its own name");
    }
    seen.emplace_back(read.name, node.LineOf("name"));
    out.nodes.push_back(std::move(read));
  }
}

std::optional<net::Address> ReadResolver(const TomlSection& section) {
  constexpr uint16_t kDnsPort = 53;
  std::string text = section.String("resolver");
  if (text.empty()) return std::nullopt;
  if (auto bare = net::Address::FromIp(text, kDnsPort)) return bare;
  auto address = net::Address::Parse(text);
  if (address && address->port() != 0) return *address;
  section.Error("resolver", address ? "has the port 0" : address.error().what,
                "write the resolver's address, as in \"127.0.0.1:5353\"");
  return std::nullopt;
}

DiscoverConfig ReadDiscover(const TomlSection& section, const std::string& file) {
  DiscoverConfig out;
  out.origin = OriginOf(section, "name", file);
  if (section.RequiredString("record").size() > 0) {
    out.record = section.Enum<DiscoverRecord>("record", out.record,
                                              {{"a", DiscoverRecord::kA},
                                               {"aaaa", DiscoverRecord::kAaaa},
                                               {"srv", DiscoverRecord::kSrv}});
  }
  out.name = section.RequiredString("name");
  if (!out.name.empty() && !net::IsHostName(out.name)) {
    section.Error("name", "is " + net::Quoted(out.name) + ", which is not a domain name",
                  "write it as in \"xmpp.example.org\"");
  }
  bool srv = out.record == DiscoverRecord::kSrv;
  if (srv && section.Has("port")) {
    section.Error("port", "has no meaning for SRV records, which have their own", "remove it");
  } else if (!srv && !section.Has("port")) {
    section.Error("port", "is required for address records, but missing", "add port = 5222");
  }
  out.port = static_cast<uint16_t>(Natural(section, "port", 0, 1, 65'535));
  out.resolver = ReadResolver(section);
  out.interval = section.Time("interval", out.interval, std::chrono::seconds(1), kDay);
  out.nodes_max = Natural(section, "nodes_max", out.nodes_max, 1, kPoolNodesMax);
  out.weight = Natural(section, "weight", out.weight, 1, kWeightMax);
  return out;
}

StatusConfig ReadStatus(const TomlSection& section, const std::string& file) {
  StatusConfig out;
  out.origin = OriginOf(section, "", file);
  out.path = section.String("path", out.path);
  JudgePath(section, "path", out.path);
  if (!section.Has("port")) section.Error("port", "is required, but missing", "add port = 5280");
  out.port = static_cast<uint16_t>(Natural(section, "port", 0, 1, 65'535));
  out.interval =
      section.Time("interval", out.interval, std::chrono::milliseconds(100), std::chrono::hours(1));
  out.timeout = section.Time("timeout", out.timeout, kTimeoutMin, std::chrono::minutes(1));
  out.fall = Natural(section, "fall", out.fall, 1, 1'000);
  out.netsplit = section.Bool("netsplit", out.netsplit);
  out.drain = section.String("drain");
  if (!out.drain.empty()) JudgePath(section, "drain", out.drain);
  Credentials credentials = ReadCredentials(section);
  out.user = std::move(credentials.user);
  out.password = std::move(credentials.password);
  if (out.drain.empty() && !out.user.empty()) {
    section.Error("user", "has no effect without drain",
                  "add drain = \"/api/drain\", or remove it");
  }
  return out;
}

WarmupConfig ReadWarmup(const TomlSection& section) {
  WarmupConfig out;
  out.mode = section.Enum<WarmupMode>("mode", out.mode,
                                      {{"rate", WarmupMode::kRate},
                                       {"haproxy", WarmupMode::kHaproxy},
                                       {"envoy", WarmupMode::kEnvoy},
                                       {"off", WarmupMode::kOff}});
  out.duration = section.Time("duration", out.duration, std::chrono::milliseconds(100), kDay);
  out.start_rate = section.Rate("start_rate", out.start_rate, kRateMax);
  out.end_rate = section.Rate("end_rate", out.end_rate, kRateMax);
  if (out.end_rate < out.start_rate) {
    section.Error(section.Has("end_rate") ? "end_rate" : "start_rate",
                  "makes the ramp fall: end_rate is below start_rate",
                  "set end_rate to at least start_rate");
  }
  out.aggression = section.Float("aggression", out.aggression, 0.01, 100);
  out.share_cap = section.Float("share_cap", out.share_cap, 0, 1'000);
  if (out.share_cap > 0 && out.share_cap < 1) {
    section.Error("share_cap", "is below 1, at which a warming node never gets its fair share",
                  "set it to 1 or more, or to 0 for no cap");
  }
  out.min_weight = section.Float("min_weight", out.min_weight, 0, 1);
  return out;
}

// Nodes on Unix sockets have no other port to ask.
void JudgeUnixNodes(const TomlSection& section, const PoolConfig& pool) {
  auto node = std::ranges::find_if(pool.nodes, [](const NodeConfig& candidate) {
    return candidate.address.kind == net::Endpoint::Kind::kUnix;
  });
  if (node == pool.nodes.end()) return;
  if (pool.status) {
    section.Section("status").Error(
        "port", "cannot be asked of node " + net::Quoted(node->name) + ", which is a Unix socket",
        "give the node an IP address, or remove the status section");
  }
  std::vector<TomlSection> checks = section.Sections("check", kChecksMax);
  for (size_t i = 0; i < pool.checks.size() && i < checks.size(); ++i) {
    if (pool.checks[i].port == 0) continue;
    checks[i].Error(
        "port", "cannot be asked of node " + net::Quoted(node->name) + ", which is a Unix socket",
        "give the node an IP address, or remove the port");
  }
}

void ReadParts(const TomlSection& section, const std::string& file, PoolConfig& out) {
  ReadNodes(section, file, out);
  if (TomlSection discover = section.Section("discover"); discover.present()) {
    out.discover = ReadDiscover(discover, file);
    WithinBound(discover, "nodes_max", out.nodes.size() + out.discover->nodes_max, kPoolNodesMax);
  }
  if (out.nodes.empty() && !out.discover) {
    section.Error("", "has no node",
                  "add [[" + section.path() + ".node]] with name and address, or [" +
                      section.path() + ".discover]");
  }
  for (const TomlSection& check : section.Sections("check", kChecksMax)) {
    out.checks.push_back(ReadCheck(check, file, out.send_proxy, out.tls));
  }
  if (TomlSection status = section.Section("status"); status.present()) {
    out.status = ReadStatus(status, file);
  }
  out.warmup = ReadWarmup(section.Section("warmup"));
  JudgeUnixNodes(section, out);
}

}  // namespace

PoolConfig ReadPool(const std::string& name, const TomlSection& section, const std::string& file) {
  PoolConfig out;
  out.name = name;
  JudgeName(section, "", name);
  out.origin = OriginOf(section, "", file);
  ReadChoice(section, out);
  ReadTimes(section, out);
  ReadBytes(section, out);
  ReadSendProxy(section, out);
  ReadSources(section, out);
  ReadNodeTls(section, file, out);
  ReadParts(section, file, out);
  return out;
}

}  // namespace lb
