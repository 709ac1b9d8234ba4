#include "lb/config/reload_table.h"

#include <algorithm>
#include <string>
#include <thread>

namespace lb {
namespace {

constexpr std::string_view kUpgrade =
    "take the change over without losing a connection by `mongooselb ctl upgrade`";

uint32_t WorkersOf(const ProcessConfig& process) {
  return process.workers > 0 ? process.workers : std::max(1U, std::thread::hardware_concurrency());
}

#define LB_PROCESS_KEY(field)                                                \
  [](const Config& now, const Config& next) -> std::string {                 \
    return now.process.field == next.process.field ? "" : "process." #field; \
  }
#define LB_LOG_KEY(field)                                        \
  [](const Config& now, const Config& next) -> std::string {     \
    return now.log.field == next.log.field ? "" : "log." #field; \
  }
#define LB_WARMUP_KEY(field)                                              \
  [](const Config& now, const Config& next) -> std::string {              \
    return now.warmup.field == next.warmup.field ? "" : "warmup." #field; \
  }

std::string WorkersDiffer(const Config& now, const Config& next) {
  return WorkersOf(now.process) == WorkersOf(next.process) ? "" : "process.workers";
}

std::string AccessDiffers(const Config& now, const Config& next) {
  const bool same = now.log.access == next.log.access &&
                    now.log.access_file == next.log.access_file &&
                    now.log.access_daemon == next.log.access_daemon;
  return same ? "" : "log.access";
}

// Of listeners that limit sources now and go on to: their table holds who is there.
template <typename Field>
std::string SourceTableDiffers(const Config& now, const Config& next, Field ListenerConfig::* field,
                               std::string_view key) {
  const auto limits = [](const ListenerConfig& listener) {
    return listener.source_connections_max > 0 || listener.source_rate > 0;
  };
  for (const ListenerConfig& listener : next.listeners) {
    const auto before = std::ranges::find(now.listeners, listener.name, &ListenerConfig::name);
    if (before == now.listeners.end() || !limits(*before) || !limits(listener)) continue;
    if ((*before).*field != listener.*field) {
      return "listener." + listener.name + "." + std::string(key);
    }
  }
  return "";
}

std::string TableMaxDiffers(const Config& now, const Config& next) {
  return SourceTableDiffers(now, next, &ListenerConfig::source_table_max, "source_table_max");
}
std::string PrefixDiffers(const Config& now, const Config& next) {
  return SourceTableDiffers(now, next, &ListenerConfig::source_prefix_v6, "source_prefix_v6");
}

constexpr net::ReloadRow<Config> kTable[] = {
    {"", "include process log warmup listener pool"},
    // Rings, buffers and threads are made once.
    {"process", "workers", WorkersDiffer, kUpgrade},
    {"process", "follow_packets", LB_PROCESS_KEY(follow_packets), kUpgrade},
    {"process", "connections_max", LB_PROCESS_KEY(connections_max), kUpgrade},
    {"process", "buffer_bytes", LB_PROCESS_KEY(buffer_bytes), kUpgrade},
    {"process", "buffers", LB_PROCESS_KEY(buffers), kUpgrade},
    {"process", "large_buffers", LB_PROCESS_KEY(large_buffers), kUpgrade},
    // Root was given up.
    {"process", "user", LB_PROCESS_KEY(user), "restart the service"},
    {"process", "group", LB_PROCESS_KEY(group), "restart the service"},
    {"process", "ctl_socket", LB_PROCESS_KEY(ctl_socket), kUpgrade},
    {"process", "admin_listen", LB_PROCESS_KEY(admin_listen), kUpgrade},
    {"process", "drain_deadline state_file ready_pools"},
    {"log", "level", LB_LOG_KEY(level), kUpgrade},
    {"log", "format", LB_LOG_KEY(format), kUpgrade},
    {"log", "target", LB_LOG_KEY(target), kUpgrade},
    {"log", "access", AccessDiffers, kUpgrade},
    {"log", "access_format", LB_LOG_KEY(access_format), kUpgrade},
    {"log", "access_silent", LB_LOG_KEY(access_silent), kUpgrade},
    {"warmup", "enabled", LB_WARMUP_KEY(enabled), kUpgrade},
    {"warmup", "initial_rate", LB_WARMUP_KEY(initial_rate), kUpgrade},
    {"warmup", "growth", LB_WARMUP_KEY(growth), kUpgrade},
    {"warmup", "interval", LB_WARMUP_KEY(interval), kUpgrade},
    // Live sockets take their backlog and keepalive again (ListenerSet::Commit).
    {"listener.*", "bind backlog"},
    {"listener.*",
     "pool mode accept_proxy proxy_trusted proxy_header_timeout connections_max "
     "source_connections_max source_rate rate at_limit source_allow source_deny"},
    // The file of a live socket is given its mode and owner again (ListenerSet::Prepare).
    {"listener.*", "unix_mode unix_user unix_group"},
    {"listener.*", "source_table_max", TableMaxDiffers, kUpgrade},
    {"listener.*", "source_prefix_v6", PrefixDiffers, kUpgrade},
    {"listener.*",
     "certificates tls_min tls_max ciphers suites groups alpn alpn_required strict_sni client_auth "
     "client_ca client_crl ticket_key_file ticket_rotation own_records own_handshake "
     "handshake_timeout handshakes_max namespace route"},
    {"listener.*.certificates", "chain key ocsp names"},
    {"listener.*.route", "domain alpn pool"},
    {"pool.*",
     "balance bounded_load connect_timeout retries redispatch queue_max queue_timeout idle_timeout "
     "client_idle_timeout node_idle_timeout max_age on_down on_down_rate "
     "fin_timeout tcp_user_timeout keepalive_idle keepalive_interval keepalive_count send_proxy "
     "send_proxy_tlvs tls tls_ca tls_verify tls_verify_name tls_sni starttls_to starttls_namespace "
     "source_addresses panic_threshold passive_errors pending_bytes_max splice_after"},
    {"pool.*", "node discover check status warmup"},
    {"pool.*.node", "name address weight backup connections_max"},
    {"pool.*.discover", "record name port resolver interval nodes_max weight"},
    {"pool.*.check",
     "type interval fast_interval timeout rise fall jitter port send_proxy tls start method path "
     "host headers body user password_file expect_status expect_json expect_value to namespace"},
    {"pool.*.status", "path port interval timeout fall netsplit drain user password_file"},
    {"pool.*.warmup", "mode duration start_rate end_rate aggression share_cap min_weight"},
};

#undef LB_PROCESS_KEY
#undef LB_LOG_KEY
#undef LB_WARMUP_KEY

}  // namespace

std::span<const net::ReloadRow<Config>> ReloadTable() { return kTable; }

}  // namespace lb
