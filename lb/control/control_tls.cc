// The part of Control that looks after TLS: contexts, ticket keys, expiry, counters.

#include <algorithm>
#include <ctime>

#include "lb/control/control.h"
#include "net/report/log.h"
#include "net/tls/ktls_probe.h"

namespace lb {
namespace {

constexpr net::Duration kLookEvery = std::chrono::minutes(1);
constexpr net::Duration kWarnEvery = std::chrono::hours(24);

}  // namespace

void Control::PrepareTls(const Config& config, Prepared* prepared,
                         std::vector<net::ConfigError>* errors) {
  auto keep = [errors](auto&& made, auto* where) {
    if (made) {
      *where = *made;
    } else {
      errors->insert(errors->end(), made.error().begin(), made.error().end());
    }
  };
  for (const ListenerConfig& listener : config.listeners) {
    if (listener.tls.certificates.empty()) continue;
    auto tickets = tickets_.Get(listener);
    if (!tickets) {
      errors->push_back(tickets.error());
      continue;
    }
    keep(MakeServerContext(listener, *tickets), &prepared->listeners.servers[listener.name]);
  }
  for (const PoolConfig& pool : config.pools) {
    if (pool.tls != NodeTls::kOff) keep(MakeClientContext(pool), &prepared->clients[pool.name]);
  }
}

void Control::LookAtTls() {
  look_at_tls_ = loop_.After(kLookEvery, [this] { LookAtTls(); });
  const bool any = std::ranges::any_of(
      listeners_.all(), [](const auto& listener) { return listener.second->tls != nullptr; });
  if (!any) return;
  if (!ktls_reported_) {
    const net::KtlsSupport ktls = net::ProbeKtls();
    net::Log(net::LogLevel::kInfo, "lb", "TLS records are handled by the process itself",
             {{"ktls_available", ktls.available}, {"ktls", ktls.detail}});
    ktls_reported_ = true;
  }
  tickets_.Maintain(config_.listeners, loop_.now());
  const int64_t now = std::time(nullptr);
  for (const auto& [name, listener] : listeners_.all()) {
    if (listener->tls == nullptr) continue;
    for (const net::TlsCertificateInfo& certificate : listener->tls->certificates()) {
      if (!certificate.ExpiresSoon(now)) continue;
      auto [warned, first] = expiry_warned_.try_emplace(certificate.file, loop_.now());
      if (!first && loop_.now() - warned->second < kWarnEvery) continue;
      warned->second = loop_.now();
      net::Log(net::LogLevel::kWarn, "lb", "a certificate expires soon",
               {{"listener", name},
                {"file", certificate.file},
                {"days_left", certificate.DaysLeft(now)},
                {"remedy", "renew it, then mongooselb ctl reload"}});
    }
  }
}

}  // namespace lb
