// mongoosedns.toml, read and judged (conf/mongoosedns.toml comments every key).
//
// LoadConfig() reads the file and all that it names: zone files, keys, certificates' paths, cookie
// secrets. All mistakes are told at once, each with file, line, key and remedy. At start and
// reload.
#pragma once

#include <array>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/answer/compile.h"
#include "dns/answer/responder.h"
#include "dns/config/primary_config.h"
#include "dns/pool/health.h"
#include "dns/pool/pool.h"
#include "dns/serve/udp_worker.h"
#include "dns/tsig/tsig_key.h"
#include "dns/zone/zone.h"
#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/report/log.h"
#include "net/report/log_target.h"

namespace dns {

struct TcpConfig {
  uint32_t clients_max = 1000;  // all listeners together
  uint32_t clients_per_address_max = 50;
  uint32_t queries_per_connection_max = 10'000;
  net::Duration idle_timeout = std::chrono::seconds(15);
};

struct TlsConfig {
  std::vector<net::Address> listen;  // empty: no DNS over TLS
  std::string certificate;           // PEM paths
  std::string key;
  std::string transfer_client_ca;  // set: zone transfers need a client certificate from it
};

constexpr size_t kSecondariesMax = 64;  // of a zone

// Who may have a zone, and who is told of its changes.
struct SecondaryConfig {
  std::vector<net::Cidr> networks;     // that may transfer; empty: none
  std::optional<Name> key;             // transfers and NOTIFY are signed with it
  std::optional<net::Address> notify;  // where it is told of changes

  // `signed_with`: the key of a request whose signature was good, or null.
  bool MayTransfer(const net::Address& client, const Name* signed_with) const;
};

struct ZoneConfig {
  std::shared_ptr<const Zone> zone;
  uint64_t content = 0;  // a digest of the zone, so that a change of the file is seen
  std::shared_ptr<const ZoneKeys> keys;
  std::vector<SecondaryConfig> secondaries;
  bool transfer_needs_tls = false;            // and a client certificate that the CA signed
  std::optional<net::Address> notify_source;  // nothing: the first listener of the family
  std::vector<Name> acme_keys;                // that may change challenges by UPDATE
  // Set: the zone is a secondary, and `zone` is what was had, or MakeUnavailableZone().
  std::optional<PrimaryConfig> from;
};

struct PoolSettings {
  PoolConfig pool;
  HealthPolicy policy;
  std::vector<CheckConfig> checks;
};

// The other DNS nodes whose view of the balancers is asked for.
struct PeerConfig {
  std::string name;
  net::Address address;  // of its admin HTTP
};

struct Config {
  std::string path;
  std::vector<net::Address> listen;
  uint32_t workers = 0;
  UdpWorkerOptions udp;
  bool pin_cpus = false;
  ResponderConfig responder;
  bool own_cookie_secret = false;  // made at random, since no file gives one
  TcpConfig tcp;
  TlsConfig tls;
  std::string admin_listen;  // "" : none
  std::string ctl_socket;
  std::string state_file;
  std::string user;   // what root becomes when all sockets are bound; "": stays
  std::string group;  // "": the user's own
  uint32_t query_log_every = 0;
  uint32_t signature_days = 14;
  std::shared_ptr<const TsigKeys> tsig_keys;  // null: none
  net::LogOptions log;
  net::LogTarget log_target = net::LogTarget::kStderr;
  std::vector<PoolSettings> pools;
  std::vector<ZoneConfig> zones;
  std::vector<PeerConfig> peers;
  std::optional<Name> fleet_key;  // signs orders between the nodes
  net::Duration peer_interval = std::chrono::seconds(2);

  // What is right but should be looked at, each with its file and line.
  std::vector<std::string> warnings;

  std::vector<PoolConfig> PoolConfigs() const;
};

std::expected<Config, std::vector<std::string>> LoadConfig(const std::string& path);

}  // namespace dns
