#include "dns/config/reload_table.h"

#include <fstream>
#include <iterator>

namespace dns {
namespace {

constexpr std::string_view kUpgrade =
    "take the change over without losing a query by `mongoosedns ctl upgrade`";
constexpr std::string_view kRestart = "restart the service";

#define DNS_SERVER_KEY(field)                                \
  [](const Config& now, const Config& next) -> std::string { \
    return now.field == next.field ? "" : "server." #field;  \
  }

std::string TlsListenDiffers(const Config& now, const Config& next) {
  return now.tls.listen == next.tls.listen ? "" : "tls.listen";
}

constexpr net::ReloadRow<Config> kTable[] = {
    {"", "include server rate_limit tcp tls dnssec log tsig quorum pool zone"},
    // Sockets are bound once, before root is given up.
    {"server", "listen", DNS_SERVER_KEY(listen), kUpgrade},
    {"server", "workers", DNS_SERVER_KEY(workers), kUpgrade},
    {"server", "admin_listen", DNS_SERVER_KEY(admin_listen), kUpgrade},
    {"server", "ctl_socket", DNS_SERVER_KEY(ctl_socket), kUpgrade},
    {"server", "user", DNS_SERVER_KEY(user), kRestart},
    {"server", "group", DNS_SERVER_KEY(group), kRestart},
    {"tls", "listen", TlsListenDiffers, kUpgrade},
    // The threads begin anew on their sockets (Control::ApplyLoaded).
    {"server",
     "udp_engine receive_buffer pin_cpus udp_bytes nsid version id query_log_every cookies"},
    {"server.cookies", "enabled secret_file"},
    {"rate_limit", "responses slip prefix_v4 prefix_v6 table_entries exempt"},
    {"tcp", "clients_max clients_per_address_max queries_per_connection_max idle_timeout"},
    {"dnssec", "on_demand_per_second"},
    {"tsig", "key_files"},
    // What is written goes on in the new file.
    {"server", "state_file"},
    {"tls", "certificate key transfer_client_ca"},
    {"dnssec", "signature_days"},
    {"log", "level format target"},
    {"quorum", "peers interval key"},
    {"pool.*",
     "balancer fallback all_down max_answers ttl_min ttl_max up_threshold warmup drain steps "
     "check"},
    {"pool.*.balancer", "name addresses weight priority"},
    {"pool.*.check",
     "type port path host to namespace tls expect_status nodes_up_min interval fast_interval "
     "timeout rise fall services"},
    {"zone.*",
     "ttl file records ns soa pool dnskey_ttl key keys transfer_allow notify transfer_needs_tls "
     "secondary notify_source acme_keys primary primary_key notify_from primary_source size_max "
     "copy"},
    {"zone.*.soa", "primary ttl contact serial refresh retry expire negative_ttl"},
    {"zone.*.pool", "pool name services_at services https https_params svcb svcb_params"},
    {"zone.*.secondary", "key from notify"},
};

#undef DNS_SERVER_KEY

}  // namespace

std::span<const net::ReloadRow<Config>> ReloadTable() { return kTable; }

std::vector<std::string> RefusedKeys(const Config& now, const Config& next) {
  std::ifstream file(next.path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> errors;
  for (const net::ConfigError& error :
       net::RefusedByReload(ReloadTable(), now, next, next.path, text)) {
    errors.push_back(error.ToString());
  }
  return errors;
}

}  // namespace dns
