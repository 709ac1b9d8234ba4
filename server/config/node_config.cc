#include "server/config/node_config.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "net/config/log_section.h"
#include "server/dist/node_name.h"
#include "server/xmpp/jid.h"

namespace server {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

void ReadLog(const net::TomlSection& section, NodeConfig::Log& log) {
  using Target = NodeConfig::Log::Target;
  log.level = net::ReadLogLevel(section);
  log.format = net::ReadLogFormat(section);
  log.target = section.Enum<Target>(
      "target", log.target,
      {{"file", Target::kFile}, {"stderr", Target::kStderr}, {"journald", Target::kJournal}});
  log.file = section.String("file", log.file);
}

// Addresses of one page server: a machine has few.
constexpr size_t kListenMax = 16;
constexpr size_t kAllowMax = 256;  // as many as there may be links

std::vector<net::Address> ReadListen(const net::TomlSection& section, std::string_view key,
                                     std::string_view fallback, std::string_view remedy) {
  if (!section.Has(key)) {
    if (fallback.empty()) return {};
    return {net::Address::Parse(fallback).value()};
  }
  std::vector<net::Address> addresses;
  for (const std::string& text : section.Strings(key, kListenMax)) {
    auto address = net::Address::Parse(text);
    if (address) {
      addresses.push_back(*address);
    } else {
      section.Error(key, address.error().what, std::string(remedy));
    }
  }
  return addresses;
}

void ReadHttp(const net::TomlSection& section, NodeConfig::Http& http) {
  http.listen =
      ReadListen(section, "listen", "127.0.0.1:5280", "write \"127.0.0.1:5280\" or \"[::1]:5280\"");
  http.drain_file = section.String("drain_file");
}

void ReadHosts(const net::TomlSection& root, std::vector<NodeConfig::Host>& hosts) {
  for (const net::TomlSection& section : root.Sections("host", NodeConfig::kHostsMax)) {
    NodeConfig::Host host;
    const std::string domain = section.RequiredString("domain");
    const auto prepared = PrepareDomain(domain);
    if (!domain.empty() && !prepared) {
      section.Error("domain", "is no domain name", "write it as in users' addresses");
    }
    host.domain = prepared.value_or("");
    host.certificate = section.String("certificate");
    host.key = section.String("key");
    if (host.certificate.empty() != host.key.empty()) {
      section.Error(host.key.empty() ? "certificate" : "key", "stands alone",
                    "give both, certificate (with its chain) and key, or none");
    }
    host.client_ca = section.String("client_ca");
    if (std::ranges::any_of(hosts, [&](const auto& h) { return h.domain == host.domain; })) {
      section.Error("domain", "is served by another [[host]]", "take one of them out");
    }
    hosts.push_back(std::move(host));
  }
}

void ReadC2s(const net::TomlSection& section, NodeConfig::C2s& c2s) {
  constexpr std::string_view kWrite = "write \"0.0.0.0:5222\" or \"[::]:5222\"";
  c2s.listen = ReadListen(section, "listen", "0.0.0.0:5222", kWrite);
  c2s.listen_tls = ReadListen(section, "listen_tls", "0.0.0.0:5223", kWrite);
  c2s.listen_proxy = ReadListen(section, "listen_proxy", "", kWrite);
  c2s.proxy_from = section.Networks("proxy_from", kListenMax);
  if (!c2s.listen_proxy.empty() && c2s.proxy_from.empty()) {
    section.Error("listen_proxy", "believes nobody",
                  "set proxy_from to the balancers' networks, as [\"192.0.2.0/28\"]");
  }
  const auto number = [&](std::string_view key, uint32_t fallback, int64_t most) {
    return static_cast<uint32_t>(section.Int(key, fallback, {.min = 1, .max = most}));
  };
  const auto bytes = [&](std::string_view key, size_t fallback, int64_t least, int64_t most) {
    return static_cast<size_t>(
        section.Bytes(key, static_cast<int64_t>(fallback), {.min = least, .max = most}));
  };
  c2s.workers = static_cast<uint32_t>(section.Int("workers", 0, {.min = 0, .max = 256}));
  c2s.tls_required = section.Enum<bool>("tls", true, {{"required", true}, {"optional", false}});
  c2s.connections_max = number("connections_max", c2s.connections_max, 4'000'000);
  c2s.unauthenticated_max = number("unauthenticated_max", c2s.unauthenticated_max, 1'000'000);
  c2s.login_timeout =
      section.Time("login_timeout", c2s.login_timeout, seconds(1), std::chrono::minutes(10));
  c2s.stanza_bytes_max =
      bytes("stanza_bytes_max", c2s.stanza_bytes_max, 10'000, int64_t{16} << 20U);
  c2s.stanza_depth_max = number("stanza_depth_max", c2s.stanza_depth_max, 200);
  c2s.stanza_rate = section.Rate("stanza_rate", c2s.stanza_rate, 1e6);
  c2s.stanza_burst =
      section.Time("stanza_burst", c2s.stanza_burst, milliseconds(100), std::chrono::minutes(10));
  c2s.idle_ping = section.Time("idle_ping", c2s.idle_ping, milliseconds(0), hours(24));
  c2s.ping_timeout = section.Time("ping_timeout", c2s.ping_timeout, seconds(1), hours(1));
  c2s.resume_timeout =
      section.Time("resume_timeout", c2s.resume_timeout, milliseconds(0), hours(24 * 7));
  c2s.resume_bytes_max =
      bytes("resume_bytes_max", c2s.resume_bytes_max, 1 << 20U, int64_t{1} << 40U);
  c2s.unacked_bytes_max =
      bytes("unacked_bytes_max", c2s.unacked_bytes_max, 64 << 10U, int64_t{1} << 30U);
}

void ReadDrain(const net::TomlSection& section, NodeConfig::C2s& c2s) {
  // Whoever stops a node waits for a minute.
  c2s.drain_on_stop =
      section.Time("drain_on_stop", c2s.drain_on_stop, milliseconds(0), seconds(45));
}

void ReadAuth(const net::TomlSection& section, NodeConfig::Auth& auth) {
  constexpr std::array<std::string_view, 5> kKnown = {"SCRAM-SHA-512", "SCRAM-SHA-256",
                                                      "SCRAM-SHA-1", "PLAIN", "EXTERNAL"};
  if (section.Has("mechanisms")) {
    auth.mechanisms = section.Strings("mechanisms", kKnown.size());
    if (auth.mechanisms.empty()) {
      section.Error("mechanisms", "lets nobody in", "name one, as \"SCRAM-SHA-256\"");
    }
  }
  for (const std::string& name : auth.mechanisms) {
    if (std::ranges::find(kKnown, name) != kKnown.end()) continue;
    section.Error("mechanisms", "'" + name + "' is not known",
                  "there are SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1 (each with its -PLUS), "
                  "PLAIN and EXTERNAL");
  }
  auth.failures_per_account = section.Rate("failures_per_account", auth.failures_per_account, 1e6);
  auth.failures_per_address = section.Rate("failures_per_address", auth.failures_per_address, 1e6);
}

void ReadStore(const net::TomlSection& section, NodeConfig::Store& store) {
  store.url = section.String("url", store.url);
  const bool sqlite = store.url.starts_with("sqlite:") && store.url != "sqlite:";
  if (!sqlite && !store.url.starts_with("postgresql://")) {
    // Not quoted: it may hold a password.
    section.Error("url", "names no store",
                  "write \"sqlite:\" and a file, as \"sqlite:data/mongooseim.db\", or "
                  "\"postgresql://USER@HOST/DATABASE\" (its password is read from ~/.pgpass)");
  }
  store.readers = static_cast<size_t>(section.Int("readers", 0, {.min = 0, .max = 64}));
}

// Each host's service, or one for all where its name has no %h.
void ReadServices(const net::TomlSection& section, const std::vector<NodeConfig::Host>& hosts,
                  NodeConfig::Muc& muc) {
  constexpr std::string_view kRemedy = "write a name of its own, as \"conference.%h\"";
  for (const NodeConfig::Host& host : hosts) {
    std::string name = muc.host;
    if (const size_t at = name.find("%h"); at != std::string::npos) {
      name.replace(at, 2, host.domain);
    }
    const auto prepared = PrepareDomain(name);
    if (!prepared) {
      section.Error("host", "makes '" + name + "', which is no domain name", std::string(kRemedy));
      return;
    }
    if (std::ranges::any_of(hosts, [&](const auto& one) { return one.domain == *prepared; })) {
      section.Error("host", "makes '" + name + "', which is a [[host]]", std::string(kRemedy));
      return;
    }
    muc.services.push_back(*prepared);
  }
}

void ReadMuc(const net::TomlSection& section, const std::vector<NodeConfig::Host>& hosts,
             NodeConfig::Muc& muc) {
  const auto number = [&](std::string_view key, uint32_t fallback, int64_t most) {
    return static_cast<uint32_t>(section.Int(key, fallback, {.min = 1, .max = most}));
  };
  muc.enabled = section.Bool("enabled", muc.enabled);
  muc.host = section.String("host", muc.host);
  muc.anyone_creates = section.Enum<bool>("create", true, {{"anyone", true}, {"operators", false}});
  muc.lock_new = section.Bool("lock_new", muc.lock_new);
  muc.rooms_max = number("rooms_max", muc.rooms_max, 10'000'000);
  muc.occupants_max = number("occupants_max", muc.occupants_max, 100'000);
  muc.history_max = number("history_max", muc.history_max, 1'000);
  muc.archive = section.Bool("archive", muc.archive);
  if (muc.enabled) ReadServices(section, hosts, muc);
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
  using Discovery = NodeConfig::Cluster::Discovery;
  cluster.discovery = section.Enum<Discovery>(
      "discovery", cluster.discovery_file.empty() ? Discovery::kNone : Discovery::kFile,
      {{"none", Discovery::kNone}, {"file", Discovery::kFile}, {"store", Discovery::kStore}});
  if (cluster.discovery == Discovery::kFile && cluster.discovery_file.empty()) {
    section.Error("discovery", "is \"file\", and there is none", "set discovery_file");
  }
  if (cluster.discovery == Discovery::kStore && !cluster.discovery_file.empty()) {
    section.Error("discovery_file", "is not read where discovery is \"store\"",
                  "remove one of them");
  }
  cluster.auto_join = section.Bool("auto_join", cluster.auto_join);
  if (cluster.auto_join && cluster.discovery == Discovery::kNone) {
    section.Error("auto_join", "has nobody to join", "set discovery to \"file\" or \"store\"");
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
  result.config.dist.allow = dist.Strings("allow", kAllowMax);
  for (const std::string& name : result.config.dist.allow) {
    if (IsNodePattern(name)) continue;
    dist.Error("allow", "has '" + name + "', which names no node",
               "write names or patterns, e.g. \"mongooseim@n1.example.org\", \"*@10.0.0.7\"");
  }
  ReadCluster(root.Section("cluster"), result.config.cluster);
  ReadHosts(root, result.config.hosts);
  if (result.config.hosts.empty() &&
      result.config.cluster.discovery == NodeConfig::Cluster::Discovery::kStore) {
    root.Section("cluster").Error("discovery",
                                  "is \"store\", and a node without clients opens none",
                                  "add a [[host]], or set it to \"file\"");
  }
  ReadC2s(root.Section("c2s"), result.config.c2s);
  ReadDrain(root.Section("c2s"), result.config.c2s);
  ReadAuth(root.Section("auth"), result.config.auth);
  ReadStore(root.Section("store"), result.config.store);
  ReadLimits(root.Section("limits"), result.config.limits);
  ReadModules(root.Section("modules"), result.config.modules);
  ReadMuc(root.Section("muc"), result.config.hosts, result.config.muc);
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
