#include "lb/config/config.h"

#include <algorithm>
#include <bit>
#include <map>

#include "lb/config/config_pool.h"
#include "lb/config/config_read.h"
#include "lb/config/config_tls.h"
#include "net/base/text.h"
#include "net/config/log_section.h"
#include "net/report/log_target.h"

namespace lb {
namespace {

using net::TomlReader;
using net::TomlSection;

constexpr uint32_t kWorkersMax = 256;
constexpr uint32_t kConnectionsMax = 10'000'000;

// Or 0, where that is allowed.
uint32_t PowerOfTwo(const TomlSection& section, std::string_view key, uint32_t value, uint32_t min,
                    uint32_t max) {
  value = Natural(section, key, value, min, max);
  if (value != 0 && !std::has_single_bit(value)) {
    section.Error(key, "is " + std::to_string(value) + ", which is no power of two",
                  "set it to " + std::to_string(std::bit_floor(value)) + " or " +
                      std::to_string(std::bit_ceil(value)));
  }
  return value;
}

ProcessConfig ReadProcess(const TomlSection& section, const std::string& file) {
  ProcessConfig out;
  out.workers = Natural(section, "workers", 0, 0, kWorkersMax);
  out.follow_packets = section.Enum<FollowPackets>(
      "follow_packets", out.follow_packets,
      {{"auto", FollowPackets::kAuto}, {"on", FollowPackets::kOn}, {"off", FollowPackets::kOff}});
  out.connections_max = Natural(section, "connections_max", 100'000, 1, kConnectionsMax);
  out.user = section.String("user");
  out.group = section.String("group");
  out.ctl_socket = AbsolutePath(section, "ctl_socket", out.ctl_socket);
  out.ctl_socket_origin = OriginOf(section, "ctl_socket", file);
  if (out.ctl_socket.empty()) {
    section.Error("ctl_socket", "is empty", "name the socket for mongooselb ctl");
  } else if (out.ctl_socket.size() > net::kUnixPathMax) {
    section.Error("ctl_socket",
                  "is " + std::to_string(out.ctl_socket.size()) +
                      " bytes long, which is above the largest allowed, " +
                      std::to_string(net::kUnixPathMax),
                  "choose a shorter path");
  }
  out.admin_listen_origin = OriginOf(section, "admin_listen", file);
  if (std::string admin = section.String("admin_listen", "127.0.0.1:8404"); !admin.empty()) {
    out.admin_listen = EndpointOf(section, "admin_listen", admin);
    if (out.admin_listen && out.admin_listen->kind == net::Endpoint::Kind::kHost) {
      section.Error("admin_listen",
                    "is " + net::Quoted(admin) + ", but an address of this machine is expected",
                    "write its IP address and port, as in \"127.0.0.1:8404\"");
    }
  }
  out.drain_deadline =
      section.Time("drain_deadline", out.drain_deadline, std::chrono::seconds(1), kDay * 7);
  out.buffer_bytes = Size(section, "buffer_bytes", out.buffer_bytes, 512, 32 << 10);
  out.buffers = PowerOfTwo(section, "buffers", out.buffers, 16, 1 << 15);
  out.large_buffers = PowerOfTwo(section, "large_buffers", out.large_buffers, 0, 1 << 12);
  out.state_file = AbsolutePath(section, "state_file", "");
  out.ready_pools = section.Strings("ready_pools", kPoolsMax);
  return out;
}

constexpr std::string_view kSyslogPrefix = "syslog:";

net::Endpoint ReadSyslog(const TomlSection& section, const std::string& where) {
  auto endpoint = net::Endpoint::Parse(where.starts_with('/') ? "unix:" + where : where);
  if (endpoint && endpoint->kind != net::Endpoint::Kind::kHost) return std::move(*endpoint);
  section.Error("access", "names the log daemon " + net::Quoted(where) + ", which is no address",
                "write \"syslog:/dev/log\" or \"syslog:192.0.2.1:514\"");
  return net::Endpoint::Parse("unix:/dev/log").value();
}

LogConfig ReadLog(const TomlSection& section, const std::string& file) {
  LogConfig out;
  out.level = net::ReadLogLevel(section);
  out.format = net::ReadLogFormat(section);
  out.target = net::ReadLogTarget(section);
  out.access_format = net::ReadLogFormat(section, "access_format");
  std::string access = section.String("access", "off");
  out.access_origin = OriginOf(section, "access", file);
  out.access_silent = section.Bool("access_silent", out.access_silent);
  if (access == "journald") {
    out.access = AccessLogTarget::kJournal;
    out.access_daemon = net::Endpoint::Parse(std::string("unix:") + net::kJournalSocket).value();
  } else if (access.starts_with(kSyslogPrefix)) {
    out.access = AccessLogTarget::kSyslog;
    out.access_daemon = ReadSyslog(section, access.substr(kSyslogPrefix.size()));
  } else if (access == "stderr") {
    out.access = AccessLogTarget::kStderr;
  } else if (access.starts_with('/')) {
    out.access = AccessLogTarget::kFile;
    out.access_file = access;
  } else if (access != "off") {
    section.Error("access", "is " + net::Quoted(access) + ", which is not known",
                  "use \"off\", \"stderr\", the absolute path of a file, \"syslog:/dev/log\", "
                  "\"syslog:192.0.2.1:514\" or \"journald\"");
  }
  return out;
}

AcceptWarmupConfig ReadAcceptWarmup(const TomlSection& section) {
  AcceptWarmupConfig out;
  out.enabled = section.Bool("enabled", out.enabled);
  out.initial_rate = section.Rate("initial_rate", out.initial_rate, kRateMax);
  if (section.Has("initial_rate") && out.initial_rate < 1) {
    section.Error("initial_rate", "is below 1/s, at which nobody gets in",
                  "set enabled = false to have no warm-up");
  }
  out.growth = section.Float("growth", out.growth, 0.01, 100);
  out.interval = section.Time("interval", out.interval, std::chrono::seconds(1), kDay);
  return out;
}

void ReadBinds(const TomlSection& section, ListenerConfig& out) {
  std::vector<std::string> binds = section.Strings("bind", kBindsMax);
  if (!section.Has("bind")) {
    section.Error("bind", "is required, but missing", "add bind = \"0.0.0.0:5222\"");
  } else if (binds.empty()) {
    section.Error("bind", "names no address", "add one, as in bind = \"0.0.0.0:5222\"");
  }
  for (const std::string& text : binds) {
    auto endpoint = EndpointOf(section, "bind", text);
    if (!endpoint) continue;
    if (endpoint->kind == net::Endpoint::Kind::kHost) {
      section.Error("bind",
                    "is " + net::Quoted(text) + ", but an address of this machine is expected",
                    "write its IP address, or 0.0.0.0 or [::] for all");
      continue;
    }
    out.binds.push_back(std::move(*endpoint));
  }
}

// What only Unix sockets have.
void ReadUnix(const TomlSection& section, ListenerConfig& out) {
  out.unix_mode = section.FileMode("unix_mode", out.unix_mode);
  out.unix_user = section.String("unix_user");
  out.unix_group = section.String("unix_group");
}

void ReadProxy(const TomlSection& section, ListenerConfig& out) {
  out.accept_proxy = section.Bool("accept_proxy", out.accept_proxy);
  out.proxy_header_timeout = section.Time("proxy_header_timeout", out.proxy_header_timeout,
                                          std::chrono::milliseconds(10), std::chrono::minutes(1));
  out.proxy_trusted = section.Networks("proxy_trusted", kTrustedMax);
  if (!out.proxy_trusted.empty() && !out.accept_proxy) {
    section.Error("proxy_trusted", "has no effect without accept_proxy",
                  "add accept_proxy = true, or remove it");
  }
}

ListenerConfig ReadListener(const std::string& name, const TomlSection& section,
                            const std::string& file) {
  ListenerConfig out;
  out.name = name;
  JudgeName(section, "", name);
  out.bind_origin = OriginOf(section, "bind", file);
  ReadBinds(section, out);
  out.pool = section.RequiredString("pool");
  ReadListenerTls(section, file, out);
  out.backlog = Natural(section, "backlog", out.backlog, 1, 1 << 20);
  ReadProxy(section, out);
  out.connections_max = Natural(section, "connections_max", 0, 0, kConnectionsMax);
  out.source_connections_max = Natural(section, "source_connections_max", 0, 0, kConnectionsMax);
  out.source_rate = section.Rate("source_rate", out.source_rate, kRateMax);
  out.rate = section.Rate("rate", out.rate, kRateMax);
  out.wait_at_limit = section.Enum<bool>("at_limit", false, {{"refuse", false}, {"wait", true}});
  out.source_allow = section.Networks("source_allow", kSourceNetworksMax);
  out.source_deny = section.Networks("source_deny", kSourceNetworksMax);
  ReadUnix(section, out);
  out.source_table_max = Natural(section, "source_table_max", out.source_table_max, 16, 1 << 24);
  out.source_prefix_v6 = static_cast<uint8_t>(Natural(section, "source_prefix_v6", 64, 1, 128));
  return out;
}

// --- What only the file as a whole shows ---------------------------------------------------------

void JudgePools(const TomlSection& root, Config& config,
                const std::vector<std::pair<std::string, TomlSection>>& listeners) {
  std::vector<std::string_view> names;
  for (const PoolConfig& pool : config.pools) names.push_back(pool.name);
  auto find = [&](const std::string& pool, const TomlSection& section, std::string_view key,
                  size_t& index) {
    if (pool.empty()) return;
    auto it = std::ranges::find(names, std::string_view(pool));
    if (it != names.end()) {
      index = static_cast<size_t>(it - names.begin());
      return;
    }
    std::string_view nearest = net::Nearest(pool, names);
    section.Error(key, "is " + net::Quoted(pool) + ", but there is no [pool." + pool + "]",
                  !nearest.empty() ? "did you mean '" + std::string(nearest) + "'?"
                  : names.empty()  ? "add it"
                                   : "pools of this file: " + Listed(names));
  };
  for (const std::string& name : config.process.ready_pools) {
    size_t index = 0;
    find(name, root.Section("process"), "ready_pools", index);
  }
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    ListenerConfig& listener = config.listeners[i];
    find(listener.pool, listeners[i].second, "pool", listener.pool_index);
    std::vector<TomlSection> routes = listeners[i].second.Sections("route", kRoutesMax);
    for (size_t r = 0; r < listener.routes.size(); ++r) {
      find(listener.routes[r].pool, routes[r], "pool", listener.routes[r].pool_index);
    }
  }
  if (config.listeners.empty()) {
    root.Error("", "there is no listener", "add a [listener.NAME] with bind and pool");
  }
}

void JudgeBinds(const Config& config, const TomlSection& process,
                const std::vector<std::pair<std::string, TomlSection>>& listeners) {
  std::map<std::string, std::string> taken;  // address → key that has it
  if (config.process.admin_listen && config.process.admin_listen->port != 0) {
    taken.emplace(config.process.admin_listen->ToString(), process.path() + ".admin_listen");
  }
  taken.emplace("unix:" + config.process.ctl_socket, process.path() + ".ctl_socket");
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    for (const net::Endpoint& bind : config.listeners[i].binds) {
      bool any_port = bind.kind == net::Endpoint::Kind::kIp && bind.port == 0;
      if (any_port) continue;
      const TomlSection& section = listeners[i].second;
      auto [it, is_new] = taken.emplace(bind.ToString(), section.path() + ".bind");
      if (is_new) continue;
      section.Error("bind",
                    "is " + net::Quoted(bind.ToString()) + ", which " + it->second + " has already",
                    "give each its own address or port");
    }
  }
}

void JudgeLimits(const Config& config,
                 const std::vector<std::pair<std::string, TomlSection>>& listeners,
                 const std::vector<std::pair<std::string, TomlSection>>& pools) {
  uint32_t all = config.process.connections_max;
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    const ListenerConfig& listener = config.listeners[i];
    if (listener.connections_max > all) {
      listeners[i].second.Error("connections_max",
                                "is " + std::to_string(listener.connections_max) +
                                    ", which process.connections_max, " + std::to_string(all) +
                                    ", never lets it reach",
                                "raise process.connections_max or lower this one");
    }
    uint32_t own = listener.connections_max == 0 ? all : listener.connections_max;
    if (listener.source_connections_max > own) {
      listeners[i].second.Error("source_connections_max",
                                "is " + std::to_string(listener.source_connections_max) +
                                    ", which the limit for all sources, " + std::to_string(own) +
                                    ", never lets it reach",
                                "set it below, or to 0 for none");
    }
  }
  for (size_t i = 0; i < config.pools.size(); ++i) {
    const PoolConfig& pool = config.pools[i];
    if (pool.pending_bytes_max < config.process.buffer_bytes) {
      pools[i].second.Error("pending_bytes_max",
                            "is " + std::to_string(pool.pending_bytes_max) +
                                " bytes, which is less than one buffer, process.buffer_bytes, " +
                                std::to_string(config.process.buffer_bytes),
                            "set it to at least that");
    }
  }
}

DraftConfig Read(TomlReader reader, std::string file) {
  if (!reader.readable()) return {.config = {}, .errors = reader.Finish(), .readable = false};
  Config out;
  out.file = std::move(file);
  TomlSection root = reader.root();
  TomlSection process = root.Section("process");
  out.process = ReadProcess(process, out.file);
  out.log = ReadLog(root.Section("log"), out.file);
  out.warmup = ReadAcceptWarmup(root.Section("warmup"));
  auto listeners = root.NamedSections("listener", kListenersMax);
  auto pools = root.NamedSections("pool", kPoolsMax);
  for (const auto& [name, section] : listeners) {
    out.listeners.push_back(ReadListener(name, section, out.file));
  }
  for (const auto& [name, section] : pools) {
    out.pools.push_back(ReadPool(name, section, out.file));
  }
  JudgePools(root, out, listeners);
  JudgeBinds(out, process, listeners);
  JudgeLimits(out, listeners, pools);
  return {.config = std::move(out), .errors = reader.Finish(), .readable = true};
}

std::expected<Config, std::vector<net::ConfigError>> WholeOrNothing(DraftConfig draft) {
  if (!draft.errors.empty()) return std::unexpected(std::move(draft.errors));
  return std::move(draft.config);
}

}  // namespace

DraftConfig ReadConfig(const std::string& path) { return Read(TomlReader::FromFile(path), path); }

std::expected<Config, std::vector<net::ConfigError>> LoadConfig(const std::string& path) {
  return WholeOrNothing(ReadConfig(path));
}

std::expected<Config, std::vector<net::ConfigError>> ParseConfig(std::string_view text,
                                                                 std::string name) {
  TomlReader reader = TomlReader::FromString(text, name);
  return WholeOrNothing(Read(std::move(reader), std::move(name)));
}

}  // namespace lb
