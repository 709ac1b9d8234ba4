#include "server/program/node_setup.h"

#include <netdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "server/config/cookie_file.h"
#include "server/config/full_name.h"
#include "server/dist/host_lookup.h"
#include "server/dist/node_name.h"
#include "server/program/dist_tls.h"

namespace server {
namespace {

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

bool IsThere(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// hostname -s, and of long names hostname -f.
HostNames ThisHost(bool long_names) {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  HostNames host{.short_name = name.data(), .full_name = name.data()};
  if (long_names) {
    addrinfo hints{};
    hints.ai_flags = AI_CANONNAME;
    addrinfo* list = nullptr;
    if (getaddrinfo(name.data(), nullptr, &hints, &list) == 0) {
      if (list->ai_canonname != nullptr) host.full_name = list->ai_canonname;
      freeaddrinfo(list);
    }
  }
  host.short_name.resize(std::min(host.short_name.find('.'), host.short_name.size()));
  return host;
}

class Reader {
 public:
  explicit Reader(const NodeFolder& folder) { setup_.folder = folder; }

  std::expected<NodeSetup, SetupErrors> Read() {
    ReadFiles();
    if (errors_.empty()) FindCookie();
    if (errors_.empty()) FindDrainCredentials();
    if (errors_.empty()) FindName();
    BoundPorts();
    if (errors_.empty()) FillDist();
    if (!errors_.empty()) return std::unexpected(std::move(errors_));
    return std::move(setup_);
  }

 private:
  void ReadFiles() {
    const NodeFolder& folder = setup_.folder;
    std::vector<std::string> files = {folder.VmArgs()};
    // vm.args of installations may name it itself, by -args_file.
    const std::string dist = folder.VmDistArgs();
    const bool named =
        ReadFile(folder.VmArgs()).value_or("").find("-args_file") != std::string::npos;
    if (!named && IsThere(dist)) files.push_back(dist);
    VmArgsResult args = ReadVmArgs(files, ReadFile);
    setup_.args = std::move(args.args);
    NodeConfigResult config =
        IsThere(folder.Toml()) ? ReadNodeConfig(folder.Toml()) : ParseNodeConfig("", folder.Toml());
    setup_.config = std::move(config.config);
    for (const net::ConfigError& error : args.errors) {
      if (error.what == kNoCookie && !setup_.config.dist.cookie_file.empty()) continue;
      errors_.push_back(error.ToString());
    }
    for (const net::ConfigError& error : config.errors) errors_.push_back(error.ToString());
  }

  void FindCookie() {
    const std::string& file = setup_.config.dist.cookie_file;
    setup_.dist.cookie = setup_.args.cookie;
    if (file.empty()) {
      struct stat facts{};
      if (stat(setup_.folder.VmArgs().c_str(), &facts) == 0 && (facts.st_mode & 0077U) != 0) {
        setup_.warnings.push_back(setup_.folder.VmArgs() +
                                  " holds the cookie and may be read by others; chmod 0600 it");
      }
      return;
    }
    if (!setup_.args.cookie.empty()) {
      errors_.push_back(setup_.args.cookie_at + ": -setcookie: dist.cookie_file of " +
                        setup_.folder.Toml() + " is set too; keep one of them");
      return;
    }
    auto cookie = ReadCookieFile(setup_.folder.Path(file));
    if (!cookie) {
      errors_.push_back(cookie.error());
      return;
    }
    setup_.dist.cookie = std::move(*cookie);
  }

  void FindDrainCredentials() {
    const std::string& file = setup_.config.http.drain_file;
    if (file.empty()) return;
    const std::string path = setup_.folder.Path(file);
    auto read = ReadSecretFile(path, "user and password");
    if (!read) {
      errors_.push_back(setup_.folder.Toml() + ": http.drain_file: " + read.error());
    } else if (const size_t colon = read->find(':'); colon == 0 || colon >= read->size() - 1) {
      errors_.push_back(setup_.folder.Toml() + ": http.drain_file: " + path +
                        ": write one line, USER:PASSWORD");
    } else {
      setup_.drain_credentials = std::move(*read);
    }
  }

  void FindName() {
    const bool bare = setup_.args.name.find('@') == std::string::npos;
    const HostNames host = bare ? ThisHost(setup_.args.long_names) : HostNames{};
    auto name = FullNodeName(setup_.args, host);
    if (!name) {
      errors_.push_back(setup_.folder.VmArgs() + ": " + name.error());
      return;
    }
    setup_.dist.node = std::move(*name);
  }

  static std::optional<std::string> Environment(const VmArgs& args, const char* name) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
    const auto it = args.env.find(name);
    return it == args.env.end() ? std::nullopt : std::optional(it->second);
  }

  std::optional<uint16_t> PortOf(const char* name) {
    const auto text = Environment(setup_.args, name);
    if (!text) return std::nullopt;
    char* end = nullptr;
    const long port = std::strtol(text->c_str(), &end, 10);
    if (*end != '\0' || port < 1 || port > 65535) {
      errors_.push_back("environment: " + std::string(name) + ": is '" + *text +
                        "'; set it between 1 and 65535");
      return std::nullopt;
    }
    return static_cast<uint16_t>(port);
  }

  void BoundPorts() {
    auto ports = MaxPortsOf(setup_.args, std::getenv("ERL_MAX_PORTS"));
    if (!ports) {
      errors_.push_back(ports.error().ToString());
      return;
    }
    setup_.max_ports = *ports;
  }

  void FillDist() {
    const VmArgs& args = setup_.args;
    DistOptions& dist = setup_.dist;
    dist.ipv6 = args.proto == ProtoDist::kTcp6 || args.proto == ProtoDist::kTls6;
    if (!args.interface.empty()) dist.interface = *net::Address::FromIp(args.interface, 0);
    dist.listen_min = args.listen_min;
    dist.listen_max = args.listen_max;
    dist.fixed_port = args.epmd_port;
    if (const auto port = PortOf("ERL_DIST_PORT")) dist.fixed_port = port;
    dist.epmd.enabled = !dist.fixed_port;
    dist.epmd.start = args.start_epmd;
    if (const auto port = PortOf("ERL_EPMD_PORT")) dist.epmd.port = *port;
    if (const auto addresses = Environment(args, "ERL_EPMD_ADDRESS")) {
      dist.epmd.addresses = *addresses;
    }
    dist.visible = setup_.config.dist.visible || !args.hidden;
    if (args.net_ticktime_s) dist.net_ticktime = std::chrono::seconds(*args.net_ticktime_s);
    if (args.net_setuptime_s) dist.setup_time = std::chrono::seconds(*args.net_setuptime_s);
    dist.version = MONGOOSE_VERSION;
    dist.links_max = setup_.config.dist.links_max;
    if (!setup_.config.dist.allow.empty()) {
      dist.allow = [allow = setup_.config.dist.allow](std::string_view node) {
        return std::ranges::any_of(
            allow, [&](const std::string& pattern) { return MatchesNode(pattern, node); });
      };
    }
    if (args.proto == ProtoDist::kTls || args.proto == ProtoDist::kTls6) {
      auto tls = MakeDistTls(args, setup_.folder);
      if (!tls) {
        errors_.insert(errors_.end(), tls.error().begin(), tls.error().end());
        return;
      }
      dist.tls = std::move(*tls);
    }
    const std::string host(SplitNodeName(dist.node).host);
    if (auto addresses = LookUpHost(host, dist.ipv6); !addresses) {
      errors_.push_back(setup_.folder.VmArgs() + ": " + dist.node + ": " + addresses.error() +
                        "; every node of the cluster must resolve it: write it into /etc/hosts or "
                        "DNS, or take another host behind the @");
    }
  }

  NodeSetup setup_;
  SetupErrors errors_;
};

}  // namespace

std::expected<NodeSetup, SetupErrors> ReadNodeSetup(const NodeFolder& folder) {
  return Reader(folder).Read();
}

RpcClient::Options ClientOptionsOf(const NodeSetup& setup, net::Duration time) {
  return {.node = setup.dist.node,
          .cookie = setup.dist.cookie,
          .fixed_port = setup.dist.fixed_port,
          .epmd_port = setup.dist.epmd.port,
          .ipv6 = setup.dist.ipv6,
          .tls = setup.dist.tls,
          .connect_time = time,
          .net_ticktime = setup.dist.net_ticktime};
}

std::string_view ToString(ProtoDist proto) {
  switch (proto) {
    case ProtoDist::kTcp:
      return "inet_tcp";
    case ProtoDist::kTcp6:
      return "inet6_tcp";
    case ProtoDist::kTls:
      return "inet_tls";
    case ProtoDist::kTls6:
      return "inet6_tls";
  }
  return "?";
}

}  // namespace server
