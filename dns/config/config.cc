#include "dns/config/config.h"

#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>

#include "dns/pool/pool_sets.h"
#include "dns/serve/now.h"
#include "dns/zone/digest.h"
#include "dns/zone/refresh_timer.h"
#include "dns/zone/zone_file.h"
#include "dns/zone/zone_text.h"
#include "net/config/log_section.h"
#include "net/config/toml_reader.h"

namespace dns {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Bounds of the file's lists, beside those of the pools and zones that they fill.
constexpr size_t kListenMax = 16;
constexpr size_t kNetworksMax = 1024;
constexpr size_t kNotifyMax = 64;
constexpr size_t kZonesMax = 4096;
constexpr size_t kZonePoolsMax = 64;
constexpr size_t kZoneServersMax = 32;
constexpr size_t kZoneRecordsMax = 65'536;
constexpr size_t kChecksMax = 16;
constexpr size_t kPeersMax = 16;
constexpr size_t kCookieSecretsMax = 16;
// A use of a pool names each service once, and a check as well; with room for other ports.
constexpr size_t kServiceListMax = 4 * kServices.size();

// Paths in the file are relative to it.
std::string Resolve(const std::string& config_path, const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  return (std::filesystem::path(config_path).parent_path() / path).string();
}

std::vector<net::Address> Listeners(const net::TomlSection& section, std::string_view key,
                                    uint16_t default_port, size_t entries_max) {
  std::vector<net::Address> out;
  for (const std::string& text : section.Strings(key, entries_max)) {
    auto address = net::Address::Parse(text);
    if (!address) {
      auto ip = net::Address::FromIp(text, default_port);
      if (ip) {
        out.push_back(*ip);
        continue;
      }
      section.Error(key, address.error().what, "write \"192.0.2.1:53\" or \"[2001:db8::1]:53\"");
      continue;
    }
    out.push_back(*address);
  }
  return out;
}

void ReadCookieSecrets(const net::TomlSection& section, Config& config) {
  std::string file = section.String("secret_file");
  if (!section.Bool("enabled", true)) return;
  if (file.empty()) {
    // A secret of our own: good for one server and until its end.
    CookieSecret secret;
    uint64_t halves[2] = {SystemSeed(), SystemSeed()};
    std::copy_n(reinterpret_cast<const uint8_t*>(halves), secret.size(), secret.begin());
    config.responder.cookie_secrets.push_back(secret);
    config.own_cookie_secret = true;
    return;
  }
  std::ifstream in(Resolve(config.path, file));
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    CookieSecret secret{};
    bool good = line.size() == 32;
    for (size_t i = 0; good && i < 16; ++i) {
      auto digit = [&](char c) {
        size_t at = std::string_view("0123456789abcdef").find(c | 0x20);
        if (at == std::string_view::npos) good = false;
        return static_cast<uint8_t>(at & 15);
      };
      secret[i] = static_cast<uint8_t>(digit(line[2 * i]) << 4 | digit(line[2 * i + 1]));
    }
    if (!good) {
      section.Error("secret_file", "has a line that is not 32 hexadecimal digits",
                    "make one with: openssl rand -hex 16");
      return;
    }
    if (config.responder.cookie_secrets.size() == kCookieSecretsMax) {
      section.Error("secret_file",
                    "holds more secrets than the largest allowed number, " +
                        std::to_string(kCookieSecretsMax),
                    "remove the oldest, which stand at its end");
      return;
    }
    config.responder.cookie_secrets.push_back(secret);
  }
  if (config.responder.cookie_secrets.empty()) {
    section.Error("secret_file", "cannot be read, or holds no secret",
                  "write one line of 32 hexadecimal digits: openssl rand -hex 16");
  }
}

void ReadServer(const net::TomlSection& server, Config& config) {
  config.listen = Listeners(server, "listen", 53, kListenMax);
  if (config.listen.empty()) {
    server.Error("listen", "is missing", "e.g. listen = [\"0.0.0.0:53\", \"[::]:53\"]");
  }
  config.workers = static_cast<uint32_t>(server.Int("workers", 0, {.min = 0, .max = 256}));
  config.udp.engine = server.Enum<UdpEngine>(
      "udp_engine", UdpEngine::kRecvmmsg,
      {{"recvmmsg", UdpEngine::kRecvmmsg}, {"io_uring", UdpEngine::kIoUring}});
  config.udp.receive_buffer_bytes = static_cast<int>(
      server.Bytes("receive_buffer", 4 << 20, {.min = 64 << 10, .max = 256 << 20}));
  config.pin_cpus = server.Bool("pin_cpus", false);
  config.responder.udp_bytes =
      static_cast<uint16_t>(server.Int("udp_bytes", 1232, {.min = 512, .max = 4096}));
  config.udp.dont_fragment = config.responder.udp_bytes <= 1232;
  config.responder.nsid = server.String("nsid");
  config.responder.version = server.String("version");
  config.responder.id = server.String("id");
  if (config.responder.nsid.size() > 255) server.Error("nsid", "is longer than 255 bytes");
  config.admin_listen = server.String("admin_listen", "127.0.0.1:8453");
  if (!config.admin_listen.empty() && !net::Address::Parse(config.admin_listen)) {
    server.Error("admin_listen", "is not an address with a port", "e.g. \"127.0.0.1:8453\"");
  }
  config.ctl_socket = server.String("ctl_socket", "/run/mongoosedns/ctl.sock");
  if (config.ctl_socket.size() > net::kUnixPathMax) {
    server.Error("ctl_socket", "is too long for a Unix socket");
  }
  config.user = server.String("user");
  config.group = server.String("group");
  config.state_file = Resolve(config.path, server.String("state_file"));
  config.query_log_every =
      static_cast<uint32_t>(server.Int("query_log_every", 0, {.min = 0, .max = 1'000'000'000}));
  net::TomlSection cookies = server.Section("cookies");
  ReadCookieSecrets(cookies, config);
}

void ReadLimits(const net::TomlSection& root, Config& config) {
  net::TomlSection rrl = root.Section("rate_limit");
  RateLimitConfig& limit = config.responder.rate_limit;
  limit.per_second =
      static_cast<uint32_t>(rrl.Rate("responses", RateLimitConfig{}.per_second, 4e6));
  limit.slip = static_cast<uint32_t>(rrl.Int("slip", 2, {.min = 0, .max = 100}));
  limit.prefix_v4 = static_cast<uint8_t>(rrl.Int("prefix_v4", 24, {.min = 8, .max = 32}));
  limit.prefix_v6 = static_cast<uint8_t>(rrl.Int("prefix_v6", 56, {.min = 16, .max = 128}));
  limit.table_entries =
      static_cast<uint32_t>(rrl.Int("table_entries", 65'536, {.min = 64, .max = 16 << 20}));
  limit.exempt = rrl.Networks("exempt", kNetworksMax);
  net::TomlSection tcp = root.Section("tcp");
  config.tcp.clients_max =
      static_cast<uint32_t>(tcp.Int("clients_max", 1000, {.min = 1, .max = 100'000}));
  config.tcp.clients_per_address_max =
      static_cast<uint32_t>(tcp.Int("clients_per_address_max", 50, {.min = 1, .max = 100'000}));
  config.tcp.queries_per_connection_max = static_cast<uint32_t>(
      tcp.Int("queries_per_connection_max", 10'000, {.min = 1, .max = 1'000'000'000}));
  config.tcp.idle_timeout = tcp.Time("idle_timeout", seconds(15), milliseconds(100), hours(1));
  config.responder.tcp_idle_ms = static_cast<uint32_t>(
      std::chrono::duration_cast<milliseconds>(config.tcp.idle_timeout).count());
  net::TomlSection tls = root.Section("tls");
  config.tls.listen = Listeners(tls, "listen", 853, kListenMax);
  config.tls.certificate = Resolve(config.path, tls.String("certificate"));
  config.tls.key = Resolve(config.path, tls.String("key"));
  config.tls.transfer_client_ca = Resolve(config.path, tls.String("transfer_client_ca"));
  if (!config.tls.listen.empty() && (config.tls.certificate.empty() || config.tls.key.empty())) {
    tls.Error("", "listens without a certificate and key", "set certificate and key to PEM files");
  }
  net::TomlSection dnssec = root.Section("dnssec");
  config.signature_days =
      static_cast<uint32_t>(dnssec.Int("signature_days", 14, {.min = 2, .max = 365}));
  config.responder.signatures_per_second =
      static_cast<uint32_t>(dnssec.Int("on_demand_per_second", 2000, {.min = 1, .max = 1'000'000}));
  net::TomlSection log = root.Section("log");
  config.log.level = net::ReadLogLevel(log);
  config.log.format = net::ReadLogFormat(log);
  config.log_target = net::ReadLogTarget(log);
}

CheckConfig ReadCheck(const net::TomlSection& section) {
  CheckConfig check;
  check.type = section.Enum<CheckType>("type", CheckType::kTcp,
                                       {{"status", CheckType::kStatus},
                                        {"tcp", CheckType::kTcp},
                                        {"xmpp", CheckType::kXmpp},
                                        {"http", CheckType::kHttp},
                                        {"https", CheckType::kHttps}});
  check.port = static_cast<uint16_t>(section.Int("port", 0, {.min = 0, .max = 65'535}));
  if (check.port == 0) section.Error("port", "is missing", "set the port that is checked");
  check.path = section.String("path", "/status");
  if (!check.path.starts_with('/')) section.Error("path", "does not begin with /");
  check.host = section.String("host");
  check.to = section.String("to");
  if (check.type == CheckType::kXmpp && check.to.empty()) {
    section.Error("to", "is missing", "an xmpp check needs the domain of the stream");
  }
  check.xmlns = section.String("namespace", "jabber:client");
  check.tls = section.Bool("tls", false);
  check.expect_status =
      static_cast<int>(section.Int("expect_status", 200, {.min = 100, .max = 599}));
  check.nodes_up_min =
      static_cast<uint32_t>(section.Int("nodes_up_min", 1, {.min = 0, .max = 10'000}));
  check.interval = section.Time("interval", seconds(5), milliseconds(50), hours(1));
  check.fast_interval = section.Time("fast_interval", seconds(1), milliseconds(50), hours(1));
  check.timeout = section.Time("timeout", seconds(2), milliseconds(10), hours(1));
  check.rise = static_cast<uint32_t>(section.Int("rise", 2, {.min = 1, .max = 100}));
  check.fall = static_cast<uint32_t>(section.Int("fall", 3, {.min = 1, .max = 100}));
  for (const std::string& service : section.Strings("services", kServiceListMax)) {
    auto index = ServiceIndex(service);
    if (!index) {
      section.Error("services", "has the unknown service '" + service + "'",
                    "known: xmpp-client, xmpps-client, xmpp-server, xmpps-server");
      continue;
    }
    check.services |= 1u << *index;
  }
  return check;
}

void ReadAddresses(const net::TomlSection& section, std::string_view key, size_t entries_max,
                   std::vector<net::Address>& out) {
  for (const std::string& text : section.Strings(key, entries_max)) {
    auto address = net::Address::FromIp(text, 0);
    if (address) {
      out.push_back(*address);
    } else {
      section.Error(key, "has '" + text.substr(0, 60) + "', which is not an IP address",
                    "write \"192.0.2.1\" or \"2001:db8::1\", without a port");
    }
  }
}

BalancerConfig ReadBalancer(const net::TomlSection& section) {
  BalancerConfig balancer;
  balancer.name = section.RequiredString("name");
  auto label = Name::FromText(balancer.name, Name());
  if (!balancer.name.empty() && (!label || label->label_count() != 1)) {
    section.Error("name", "is not one DNS label", "e.g. \"lb1\"");
  }
  ReadAddresses(section, "addresses", kAddressesPerBalancerMax, balancer.addresses);
  if (balancer.addresses.empty()) section.Error("addresses", "is missing or empty");
  balancer.weight =
      static_cast<uint32_t>(section.Int("weight", 100, {.min = 0, .max = kWeightMax}));
  balancer.priority = static_cast<uint16_t>(section.Int("priority", 0, {.min = 0, .max = 65'535}));
  return balancer;
}

PoolSettings ReadPool(const std::string& name, const net::TomlSection& section) {
  PoolSettings settings;
  PoolConfig& pool = settings.pool;
  pool.name = name;
  for (const net::TomlSection& balancer : section.Sections("balancer", kBalancersPerPoolMax)) {
    pool.balancers.push_back(ReadBalancer(balancer));
    const std::string& added = pool.balancers.back().name;
    auto same = [&](const BalancerConfig& b) { return b.name == added; };
    if (std::ranges::count_if(pool.balancers, same) > 1) {
      balancer.Error("name", "is there twice in this pool");
    }
  }
  if (pool.balancers.empty()) {
    section.Error(
        "balancer", "has 0 entries",
        "give 1 to " + std::to_string(kBalancersPerPoolMax) + " [[pool." + name + ".balancer]]");
  }
  ReadAddresses(section, "fallback", kPoolAddressesMax, pool.fallback);
  pool.all_down = section.Enum<AllDown>("all_down", AllDown::kAll,
                                        {{"all", AllDown::kAll},
                                         {"last_known", AllDown::kLastKnown},
                                         {"fallback", AllDown::kFallback},
                                         {"none", AllDown::kNone}});
  if (pool.all_down == AllDown::kFallback && pool.fallback.empty()) {
    section.Error("fallback", "is missing", "all_down = \"fallback\" needs addresses");
  }
  pool.answers_max =
      static_cast<uint16_t>(section.Int("max_answers", 8, {.min = 1, .max = kAnswersMax}));
  pool.ttl_min = static_cast<uint32_t>(section.Int("ttl_min", 10, {.min = 0, .max = 86'400}));
  pool.ttl_max = static_cast<uint32_t>(section.Int("ttl_max", 60, {.min = 1, .max = 86'400}));
  pool.up_threshold = section.Float("up_threshold", 0.0, 0.0, 1.0);
  if (pool.ttl_min > pool.ttl_max) section.Error("ttl_min", "is above ttl_max");
  settings.policy.warm_up = section.Time("warmup", seconds(0), seconds(0), hours(24));
  settings.policy.drain = section.Time("drain", seconds(60), seconds(0), hours(24));
  settings.policy.steps = static_cast<uint32_t>(section.Int("steps", 10, {.min = 1, .max = 100}));
  for (const net::TomlSection& check : section.Sections("check", kChecksMax)) {
    settings.checks.push_back(ReadCheck(check));
  }
  return settings;
}

// What a zone without a file says of itself.
void AddApex(const net::TomlSection& section, uint32_t ttl, Zone& zone) {
  net::TomlSection soa = section.Section("soa");
  std::string ns = soa.String("primary", "ns1");
  std::string text = "@ " + std::to_string(soa.Int("ttl", 3600, {.min = 1, .max = 604'800})) +
                     " IN SOA " + ns + " " + soa.String("contact", "hostmaster") + " " +
                     std::to_string(soa.Int("serial", 1, {.min = 0, .max = UINT32_MAX})) + " " +
                     std::to_string(soa.Int("refresh", 3600, {.min = 1, .max = 2'419'200})) + " " +
                     std::to_string(soa.Int("retry", 600, {.min = 1, .max = 2'419'200})) + " " +
                     std::to_string(soa.Int("expire", 604'800, {.min = 1, .max = 2'419'200})) +
                     " " + std::to_string(soa.Int("negative_ttl", 60, {.min = 0, .max = 86'400}));
  auto add = [&](const std::string& line, const net::TomlSection& where, const char* key) {
    auto record = ReadRecord(line, zone.apex, ttl);
    auto added = record ? AddRecord(zone, std::move(*record))
                        : std::expected<void, std::string>(std::unexpected(record.error()));
    if (!added) where.Error(key, "'" + line + "': " + added.error());
  };
  add(text, soa, "primary");
  for (const std::string& name : section.Strings("ns", kZoneServersMax)) {
    add("@ " + std::to_string(3600) + " IN NS " + name, section, "ns");
  }
}

// "xmpp-client:5222", "sip/udp:5060".
std::optional<ServiceUse> ReadService(const std::string& text, const net::TomlSection& section) {
  size_t colon = text.rfind(':');
  size_t slash = text.find('/');
  ServiceUse use;
  use.service = text.substr(0, std::min(colon, slash));
  if (slash < colon) use.protocol = text.substr(slash + 1, colon - slash - 1);
  int port = colon == std::string::npos ? 0 : std::atoi(text.c_str() + colon + 1);
  auto is_label = [](const std::string& label) {
    return !label.empty() && label.size() < kLabelBytesMax &&
           label.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
  };
  bool protocol = use.protocol == "tcp" || use.protocol == "udp" || use.protocol == "sctp";
  if (!is_label(use.service) || !protocol || port < 1 || port > 65'535) {
    section.Error("services", "has '" + text + "'",
                  "write SERVICE:PORT or SERVICE/udp:PORT, e.g. \"xmpp-client:5222\"");
    return std::nullopt;
  }
  std::vector<std::string_view> known(kServices.begin(), kServices.end());
  std::string nearest(net::Nearest(use.service, known));
  if (!ServiceIndex(use.service) && !nearest.empty()) {
    section.Error("services", "has '" + text + "'", "did you mean '" + nearest + "'?");
    return std::nullopt;
  }
  use.port = static_cast<uint16_t>(port);
  return use;
}

// https = ["@"], https_params = "alpn=h2"; svcb and svcb_params alike.
void ReadBindings(const net::TomlSection& section, Type type, const Name& apex, PoolUse& use) {
  std::string key = type == Type::kHttps ? "https" : "svcb";
  std::string params = section.String(key + "_params");
  for (const std::string& text : section.Strings(key, kServiceListMax)) {
    auto owner = Name::FromText(text, apex);
    if (!owner || !owner->IsWithin(apex)) {
      section.Error(key, "has '" + text + "', which is not a name of this zone");
      continue;
    }
    // The operator's own text, in a record of this type with the root as its target.
    auto record = ReadRecord("@ 60 IN " + TypeName(type) + " 1 . " + params, apex, 60);
    constexpr size_t kBeforeParams = 3;
    if (!record || record->rdata.size() < kBeforeParams) {
      section.Error(key + "_params", "'" + params + "' cannot be read",
                    "write what stands behind the target, e.g. \"alpn=h2 port=443\"");
      return;
    }
    BindingUse binding{*owner, type, {}};
    binding.params.assign(record->rdata.begin() + kBeforeParams, record->rdata.end());
    use.bindings.push_back(std::move(binding));
  }
}

void ReadPoolUses(const net::TomlSection& section, const std::vector<PoolSettings>& pools,
                  Zone& zone) {
  for (const net::TomlSection& use_section : section.Sections("pool", kZonePoolsMax)) {
    PoolUse use;
    std::string pool_name = use_section.RequiredString("pool");
    auto pool =
        std::ranges::find(pools, pool_name, [](const PoolSettings& p) { return p.pool.name; });
    auto at = Name::FromText(use_section.String("name", "@"), zone.apex);
    auto services_at = Name::FromText(use_section.String("services_at", "@"), zone.apex);
    if (!at || !at->IsWithin(zone.apex)) use_section.Error("name", "is not a name of this zone");
    if (!services_at || !services_at->IsWithin(zone.apex)) {
      use_section.Error("services_at", "is not a name of this zone");
    }
    if (pool == pools.end()) {
      std::vector<std::string_view> known;
      for (const PoolSettings& p : pools) known.push_back(p.pool.name);
      auto nearest = net::Nearest(pool_name, known);
      if (!pool_name.empty()) {
        use_section.Error("pool", "names the pool '" + pool_name + "', which is not there",
                          nearest.empty() ? "" : "did you mean '" + std::string(nearest) + "'?");
      }
      continue;
    }
    if (!at || !services_at) continue;
    use.pool = static_cast<size_t>(pool - pools.begin());
    use.addresses_at = *at;
    use.services_at = *services_at;
    for (const std::string& text : use_section.Strings("services", kServiceListMax)) {
      if (auto service = ReadService(text, use_section)) use.services.push_back(*service);
    }
    ReadBindings(use_section, Type::kHttps, zone.apex, use);
    ReadBindings(use_section, Type::kSvcb, zone.apex, use);
    for (const BalancerConfig& balancer : pool->pool.balancers) {
      auto host = use.addresses_at.Child(balancer.name);
      if (host) use.hosts.push_back(*host);
    }
    if (use.hosts.size() == pool->pool.balancers.size()) zone.pools.push_back(std::move(use));
  }
}

std::shared_ptr<const ZoneKeys> ReadKeys(const net::TomlSection& section,
                                         const std::string& config_path, const Name& apex) {
  auto ttl =
      static_cast<uint32_t>(section.Int("dnskey_ttl", kDnskeyTtl, {.min = 1, .max = 604'800}));
  std::string one = section.String("key");
  std::vector<std::string> paths = section.Strings("keys", kKeysPerZoneMax);
  const char* name = paths.empty() ? "key" : "keys";
  if (!one.empty()) paths.push_back(one);
  std::vector<ZoneKey> keys;
  for (const std::string& path : paths) {
    auto key = ZoneKey::FromFile(Resolve(config_path, path), apex);
    if (key) {
      keys.push_back(std::move(*key));
    } else {
      section.Error(name, key.error(), "make one with: mongoosedns keygen " + apex.ToString());
    }
  }
  if (keys.empty()) return nullptr;
  auto made = std::make_shared<const ZoneKeys>(std::move(keys), ttl);
  for (const std::string& mistake : made->Mistakes(static_cast<uint32_t>(time(nullptr)))) {
    section.Error(name, mistake);
  }
  return made;
}

void ReadTsig(const net::TomlSection& root, Config& config) {
  net::TomlSection tsig = root.Section("tsig");
  auto keys = std::make_shared<TsigKeys>();
  for (const std::string& file : tsig.Strings("key_files", kTsigKeysMax)) {
    auto read = ReadTsigKeyFile(Resolve(config.path, file));
    if (!read) {
      tsig.Error("key_files", read.error(),
                 "make one with: tsig-keygen NAME > FILE; chmod 600 FILE");
      continue;
    }
    for (TsigKey& key : *read) {
      auto added = keys->Add(std::move(key));
      if (!added) tsig.Error("key_files", file + ": " + added.error());
    }
  }
  if (!keys->empty()) config.tsig_keys = std::move(keys);
  config.responder.tsig_keys = config.tsig_keys;
}

// A key that is there, by name.
std::optional<Name> ReadKeyName(const net::TomlSection& section, std::string_view key,
                                const std::string& text, const Config& config) {
  if (text.empty()) return std::nullopt;
  auto name = Name::FromText(text, Name());
  if (name && config.tsig_keys && config.tsig_keys->Find(name->wire()) != nullptr) return *name;
  section.Error(key, "names the key '" + text + "', which is in none of tsig.key_files",
                "add its file to [tsig] key_files");
  return std::nullopt;
}

void ReadSecondaries(const net::TomlSection& section, const Config& config, ZoneConfig& out) {
  SecondaryConfig open{section.Networks("transfer_allow", kNetworksMax), std::nullopt,
                       std::nullopt};
  if (!open.networks.empty()) out.secondaries.push_back(std::move(open));
  for (const net::Address& to : Listeners(section, "notify", 53, kNotifyMax)) {
    out.secondaries.push_back({{}, std::nullopt, to});
  }
  for (const net::TomlSection& entry : section.Sections("secondary", kSecondariesMax)) {
    SecondaryConfig secondary;
    std::string key = entry.String("key");
    secondary.key = ReadKeyName(entry, "key", key, config);
    secondary.networks = entry.Networks("from", kNetworksMax);
    std::vector<net::Address> notify = Listeners(entry, "notify", 53, 1);
    if (!notify.empty()) secondary.notify = notify[0];
    if (secondary.networks.empty() && secondary.notify) {
      auto own = net::Cidr::Parse(secondary.notify->WithoutZone().IpToString());
      if (own) secondary.networks.push_back(*own);
    }
    if (secondary.networks.empty() && !key.empty()) {  // the key alone decides
      for (const char* all : {"0.0.0.0/0", "::/0"}) {
        secondary.networks.push_back(*net::Cidr::Parse(all));
      }
    }
    if (secondary.networks.empty()) {
      entry.Error("", "has no key, no from and no notify", "say who the secondary is");
    }
    out.secondaries.push_back(std::move(secondary));
  }
  std::string source = section.String("notify_source");
  if (!source.empty()) {
    auto address = net::Address::FromIp(source, 0);
    if (address) {
      out.notify_source = *address;
    } else {
      section.Error("notify_source", "is not an IP address", "e.g. \"192.0.2.53\"");
    }
  }
  for (const std::string& text : section.Strings("acme_keys", kTsigKeysMax)) {
    auto name = ReadKeyName(section, "acme_keys", text, config);
    if (name) out.acme_keys.push_back(*name);
  }
}

// What holds for a zone wherever its records are from.
void ReadZoneOrders(const net::TomlSection& section, const Name& apex, const Config& config,
                    ZoneConfig& out) {
  out.keys = ReadKeys(section, config.path, apex);
  ReadSecondaries(section, config, out);
  out.transfer_needs_tls = section.Bool("transfer_needs_tls", false);
  if (out.transfer_needs_tls && config.tls.transfer_client_ca.empty()) {
    section.Error("transfer_needs_tls", "needs tls.transfer_client_ca");
  }
}

// A zone that is had from a primary: its copy, or nothing yet.
void ReadSecondaryZone(const Name& apex, PrimaryConfig from, ZoneConfig& out) {
  bool expired = true;
  if (from.data) {
    const Rrset& soa = from.data->names.at(apex).at(Type::kSoa);
    expired = from.age >= RefreshTimesOf(soa.rdatas[0]).expire;
  }
  if (expired) {
    out.zone = MakeUnavailableZone(apex);
  } else {
    out.zone = from.data;
    out.content = from.content;
  }
  out.from = std::move(from);
}

std::optional<ZoneConfig> ReadZone(const std::string& name, const net::TomlSection& section,
                                   Config& config) {
  auto apex = Name::FromText(name, Name());
  if (!apex) {
    section.Error("", "is not a domain name: it " + apex.error());
    return std::nullopt;
  }
  ZoneConfig out;
  std::string state_folder;
  if (!config.state_file.empty()) {
    state_folder = std::filesystem::path(config.state_file).parent_path().string();
    if (state_folder.empty()) state_folder = ".";
  }
  auto from = ReadPrimary(section, *apex, config.tsig_keys.get(), config.path, state_folder,
                          config.warnings);
  if (from) {
    ReadSecondaryZone(*apex, std::move(*from), out);
    ReadZoneOrders(section, *apex, config, out);
    return out;
  }
  auto zone = MakeZone(*apex);
  auto ttl = static_cast<uint32_t>(section.Int("ttl", 300, {.min = 0, .max = 604'800}));
  std::string file = section.String("file");
  bool good = true;
  if (!file.empty()) {
    ZoneFileReport report = LoadZoneFile(Resolve(config.path, file), ttl, *zone);
    for (const std::string& mistake : report.mistakes) section.Error("file", mistake);
    if (report.more_mistakes != 0) {
      section.Error("file", file + ": and " + std::to_string(report.more_mistakes) + " more");
    }
    good = report.mistakes.empty();
    for (std::string& warning : report.warnings) config.warnings.push_back(std::move(warning));
    if (report.more_warnings != 0) {
      config.warnings.push_back(file + ": and " + std::to_string(report.more_warnings) + " more");
    }
    section.Strings("ns", kZoneServersMax);
  } else {
    AddApex(section, ttl, *zone);
  }
  for (const std::string& line : section.Strings("records", kZoneRecordsMax)) {
    auto record = ReadRecord(line, *apex, ttl);
    auto added = record ? AddRecord(*zone, std::move(*record))
                        : std::expected<void, std::string>(std::unexpected(record.error()));
    if (added) continue;
    section.Error("records", "'" + line + "': " + added.error());
    good = false;
  }
  ReadPoolUses(section, config.pools, *zone);
  ReadZoneOrders(section, *apex, config, out);
  if (!good) return std::nullopt;
  auto mistakes = FindMistakes(*zone);
  for (const std::string& mistake : mistakes) section.Error("", mistake);
  if (!mistakes.empty()) return std::nullopt;
  AddHosts(*zone, config.PoolConfigs());
  out.content = ContentDigest(*zone);
  out.zone = std::move(zone);
  return out;
}

void ReadPeers(const net::TomlSection& root, Config& config) {
  net::TomlSection quorum = root.Section("quorum");
  config.fleet_key = ReadKeyName(quorum, "key", quorum.String("key"), config);
  config.peer_interval = quorum.Time("interval", seconds(2), milliseconds(100), hours(1));
  for (const std::string& text : quorum.Strings("peers", kPeersMax)) {
    auto address = net::Address::Parse(text);
    if (address) {
      config.peers.push_back({text, *address});
    } else {
      quorum.Error("peers", address.error().what,
                   "give the admin_listen address of the other DNS nodes");
    }
  }
}

}  // namespace

bool SecondaryConfig::MayTransfer(const net::Address& client, const Name* signed_with) const {
  bool from =
      std::ranges::any_of(networks, [&](const net::Cidr& cidr) { return cidr.Contains(client); });
  // Where a key is asked for, an address is not enough; one that signs need not, elsewhere.
  return from && (!key || (signed_with != nullptr && *signed_with == *key));
}

std::vector<PoolConfig> Config::PoolConfigs() const {
  std::vector<PoolConfig> out;
  for (const PoolSettings& settings : pools) out.push_back(settings.pool);
  return out;
}

std::expected<Config, std::vector<std::string>> LoadConfig(const std::string& path) {
  net::TomlReader reader = net::TomlReader::FromFile(path);
  Config config;
  config.path = path;
  net::TomlSection root = reader.root();
  ReadServer(root.Section("server"), config);
  ReadLimits(root, config);
  ReadTsig(root, config);
  ReadPeers(root, config);
  for (const auto& [name, section] : root.NamedSections("pool", kPoolsMax)) {
    config.pools.push_back(ReadPool(name, section));
  }
  for (const auto& [name, section] : root.NamedSections("zone", kZonesMax)) {
    auto zone = ReadZone(name, section, config);
    if (!zone) continue;
    config.responder.takes_updates = config.responder.takes_updates || !zone->acme_keys.empty();
    config.responder.takes_notifies = config.responder.takes_notifies || zone->from.has_value();
    config.zones.push_back(std::move(*zone));
  }
  auto errors = reader.Finish();
  if (errors.empty() && config.zones.empty()) {
    return std::unexpected(std::vector<std::string>{
        path + ": zone: there is no zone to serve; add [zone.\"example.org\"]"});
  }
  if (errors.empty()) return config;
  std::vector<std::string> texts;
  for (const net::ConfigError& error : errors) texts.push_back(error.ToString());
  return std::unexpected(texts);
}

}  // namespace dns
