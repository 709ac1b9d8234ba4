#include "lb/config/tls_setup.h"

#include <sys/stat.h>

#include <algorithm>
#include <ctime>

#include "net/report/log.h"
#include "net/tls/context/tls_certificate.h"

namespace lb {
namespace {

void AddErrors(const ConfigOrigin& origin, const net::TlsConfigErrors& from,
               std::vector<net::ConfigError>* errors) {
  for (const net::TlsConfigError& error : from) {
    std::string what = error.file.empty() ? error.what : error.file + ": " + error.what;
    errors->push_back(origin.Error(std::move(what), error.remedy));
  }
}

net::TlsPolicy PolicyOf(const TlsPolicyConfig& config) {
  return {.min_version = config.min_version,
          .max_version = config.max_version,
          .ciphers = config.ciphers,
          .suites = config.suites,
          .groups = config.groups,
          .take_over = config.own_records,
          .own_handshake = config.own_handshake};
}

struct SiteDraft {
  std::vector<std::string> names;  // sorted
  std::vector<std::string> key_types;
  net::TlsSite site;
};

// Certificates for the same names and of different key types are one site. Those that do not load
// get sites of their own, where net/ says what is wrong with them.
std::vector<net::TlsSite> SitesOf(const ListenerTlsConfig& config) {
  std::vector<SiteDraft> drafts;
  for (const CertificateConfig& certificate : config.certificates) {
    net::TlsCertificateFiles files{
        .chain = certificate.chain, .key = certificate.key, .ocsp = certificate.ocsp};
    std::vector<std::string> names = certificate.names;
    std::string key_type;
    if (auto loaded = net::LoadTlsCertificate(files)) {
      const net::TlsCertificateInfo info = net::InfoOf(*loaded);
      if (names.empty()) names = info.names;
      key_type = info.key_type;
    }
    std::ranges::sort(names);
    auto same = std::ranges::find_if(drafts, [&](const SiteDraft& draft) {
      return !key_type.empty() && draft.names == names &&
             std::ranges::find(draft.key_types, key_type) == draft.key_types.end();
    });
    if (same == drafts.end()) {
      SiteDraft draft;
      draft.names = names;
      draft.site = {.names = certificate.names,
                    .client_auth = config.client_auth,
                    .client_ca = config.client_ca,
                    .client_crl = config.client_crl,
                    .client_any_purpose = config.client_auth == net::TlsClientAuth::kOptional};
      drafts.push_back(std::move(draft));
      same = std::prev(drafts.end());
    }
    same->key_types.push_back(key_type);
    same->site.certificates.push_back(std::move(files));
  }
  std::vector<net::TlsSite> sites;
  for (SiteDraft& draft : drafts) sites.push_back(std::move(draft.site));
  return sites;
}

// Seconds since 1970; 0 when there is no such file.
int64_t ChangedAt(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? info.st_mtime : 0;
}

}  // namespace

std::expected<std::shared_ptr<net::TlsTicketKeys>, net::ConfigError> TicketKeys::Get(
    const ListenerConfig& listener) {
  const std::string& path = listener.tls.ticket_key_file;
  Entry& entry = entries_[path];
  if (path.empty()) {
    if (!entry.keys) entry.keys = net::TlsTicketKeys::Random();
    return entry.keys;
  }
  auto fail = [&](const net::TlsConfigError& error) {
    return std::unexpected(listener.tls.origin.Error(error.ToString()));
  };
  if (ChangedAt(path) == 0) {
    auto fresh = entry.keys ? entry.keys : net::TlsTicketKeys::Random();
    if (auto saved = fresh->Save(path); !saved) return fail(saved.error());
    entry.keys = std::move(fresh);
  } else if (entry.keys) {
    if (auto read = entry.keys->Reload(path); !read) return fail(read.error());
  } else {
    auto read = net::TlsTicketKeys::FromFile(path);
    if (!read) return fail(read.error());
    entry.keys = std::move(*read);
  }
  entry.changed = ChangedAt(path);
  return entry.keys;
}

void TicketKeys::Maintain(const std::vector<ListenerConfig>& listeners, net::Time now) {
  for (const ListenerConfig& listener : listeners) {
    const std::string& path = listener.tls.ticket_key_file;
    auto found = entries_.find(path);
    if (found == entries_.end()) continue;
    Entry& entry = found->second;
    auto warn = [&](const net::TlsConfigError& error) {
      net::Log(net::LogLevel::kWarn, "lb", "ticket keys stay as they are",
               {{"listener", listener.name}, {"reason", error.ToString()}});
    };
    if (path.empty()) {
      if (entry.rotated == net::Time{}) entry.rotated = now;
      if (now - entry.rotated < listener.tls.ticket_rotation) continue;
      entry.keys->Rotate();
      entry.rotated = now;
      continue;
    }
    const int64_t changed = ChangedAt(path);
    if (changed != entry.changed) {
      if (auto read = entry.keys->Reload(path); !read) warn(read.error());
      entry.changed = changed;
    } else if (std::time(nullptr) - changed >=
               listener.tls.ticket_rotation / std::chrono::seconds(1)) {
      entry.keys->Rotate();
      if (auto saved = entry.keys->Save(path); !saved) warn(saved.error());
      entry.changed = ChangedAt(path);
    }
  }
}

std::expected<std::shared_ptr<const net::TlsServerContext>, std::vector<net::ConfigError>>
MakeServerContext(const ListenerConfig& listener, std::shared_ptr<net::TlsTicketKeys> tickets) {
  net::TlsServerOptions options;
  options.policy = PolicyOf(listener.tls.policy);
  options.sites = SitesOf(listener.tls);
  options.strict_sni = listener.tls.strict_sni;
  options.alpn = listener.tls.alpn;
  options.alpn_required = listener.tls.alpn_required;
  options.tickets = std::move(tickets);
  auto context = net::TlsServerContext::Create(options);
  if (context) return *context;
  std::vector<net::ConfigError> errors;
  AddErrors(listener.tls.origin, context.error(), &errors);
  return std::unexpected(std::move(errors));
}

std::expected<std::shared_ptr<const net::TlsClientContext>, std::vector<net::ConfigError>>
MakeClientContext(const PoolConfig& pool) {
  auto context = net::TlsClientContext::Create({.verify = pool.tls_verify, .ca = pool.tls_ca});
  if (context) return *context;
  std::vector<net::ConfigError> errors;
  AddErrors(pool.tls_origin, context.error(), &errors);
  return std::unexpected(std::move(errors));
}

std::vector<net::ConfigError> CheckTlsFiles(const Config& config) {
  std::vector<net::ConfigError> errors;
  auto add = [&errors](const auto& made) {
    if (!made) errors.insert(errors.end(), made.error().begin(), made.error().end());
  };
  for (const ListenerConfig& listener : config.listeners) {
    const std::string& keys = listener.tls.ticket_key_file;
    if (!keys.empty() && ChangedAt(keys) != 0) {
      if (auto read = net::TlsTicketKeys::FromFile(keys); !read) {
        errors.push_back(listener.tls.origin.Error(read.error().ToString()));
      }
    }
    if (!listener.tls.certificates.empty()) add(MakeServerContext(listener, nullptr));
  }
  for (const PoolConfig& pool : config.pools) {
    if (pool.tls != NodeTls::kOff) add(MakeClientContext(pool));
  }
  return errors;
}

}  // namespace lb
