// The part of Control that looks after TLS: contexts, ticket keys, expiry, counters.

#include <algorithm>
#include <array>
#include <ctime>

#include "lb/control/control.h"
#include "net/report/log.h"
#include "net/tls/ktls_probe.h"
#include "net/tls/tls_engine.h"
#include "net/xmpp/starttls.h"

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
    keep(MakeServerContext(listener, *tickets), &prepared->servers[listener.name]);
  }
  for (const PoolConfig& pool : config.pools) {
    if (pool.tls != NodeTls::kOff) keep(MakeClientContext(pool), &prepared->clients[pool.name]);
  }
}

std::shared_ptr<const ListenerSettings> Control::SettingsFor(const ListenerConfig& listener,
                                                             const ListenerControl& control) const {
  auto settings = std::make_shared<ListenerSettings>();
  settings->name = listener.name;
  settings->pool = pool_ids_.at(listener.pool);
  settings->bound = listener.binds.front().address;
  settings->accept_proxy = listener.accept_proxy;
  settings->proxy_trusted = listener.proxy_trusted;
  settings->proxy_header_timeout = listener.proxy_header_timeout;
  settings->connections_max = listener.connections_max;
  settings->source_limits = control.limits;
  settings->shared = control.shared;
  settings->mode = listener.mode;
  settings->tls = control.tls;
  settings->handshake_timeout = listener.handshake_timeout;
  settings->handshakes_max = listener.handshakes_max;
  for (const RouteConfig& route : listener.routes) {
    settings->routes.push_back(
        {.domain = route.domain, .alpn = route.alpn, .pool = pool_ids_.at(route.pool)});
  }
  if (listener.mode == ListenerMode::kStartTls) {
    auto starttls = std::make_shared<net::StartTlsServerOptions>();
    starttls->kind = listener.server_streams ? net::StreamKind::kServer : net::StreamKind::kClient;
    settings->starttls = std::move(starttls);
  }
  return settings;
}

void Control::LookAtTls() {
  look_at_tls_ = loop_.After(kLookEvery, [this] { LookAtTls(); });
  const bool any = std::ranges::any_of(
      listeners_, [](const auto& listener) { return listener.second->tls != nullptr; });
  if (!any) return;
  if (!ktls_reported_) {
    const net::KtlsSupport ktls = net::ProbeKtls();
    net::Log(net::LogLevel::kInfo, "lb", "TLS records are handled by the process itself",
             {{"ktls_available", ktls.available}, {"ktls", ktls.detail}});
    ktls_reported_ = true;
  }
  tickets_.Maintain(config_.listeners, loop_.now());
  const int64_t now = std::time(nullptr);
  for (const auto& [name, listener] : listeners_) {
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

void Control::AddTlsCounters(std::vector<CounterView>* views) const {
  auto sum = [this](WorkerStats::Counter WorkerStats::* from) {
    return static_cast<double>(engine_->Sum(from));
  };
  CounterView handshakes{"mongooselb_tls_handshakes_total", "TLS handshakes, by result", true, {}};
  handshakes.series = {{{{"result", "full"}}, sum(&WorkerStats::tls_full)},
                       {{{"result", "resumed"}}, sum(&WorkerStats::tls_resumed)},
                       {{{"result", "failed"}}, sum(&WorkerStats::tls_failed)}};
  views->push_back(std::move(handshakes));
  views->push_back({"mongooselb_tls_handshakes_queued_total",
                    "Handshakes that had to wait for others",
                    true,
                    {{{}, sum(&WorkerStats::tls_queued)}}});
  views->push_back({"mongooselb_tls_records_failed_total",
                    "Connections that TLS ended after the handshake",
                    true,
                    {{{}, sum(&WorkerStats::tls_records_failed)}}});
  auto by_reason = [&](std::string name, std::string help, size_t first, size_t end, auto text,
                       auto count) {
    CounterView view{std::move(name), std::move(help), true, {}};
    for (size_t i = first; i < end; ++i) {
      view.series.push_back({{{"reason", std::string(text(i))}}, static_cast<double>(count(i))});
    }
    views->push_back(std::move(view));
  };
  by_reason(
      "mongooselb_tls_take_over_total",
      "Connections whose records left OpenSSL (taken), or why they stayed", 1,
      net::kTlsTakeOverValues,
      [](size_t i) { return net::ToString(static_cast<net::TlsTakeOver>(i)); },
      [this](size_t i) { return engine_->TakeOvers(i); });
  by_reason(
      "mongooselb_tls_handshakes_declined_total",
      "Handshakes that OpenSSL did, by what made them unusual", 0, net::kTlsDeclineValues,
      [](size_t i) { return net::ToString(static_cast<net::TlsDecline>(i)); },
      [this](size_t i) { return engine_->Declined(i); });
  CounterView expiry{"mongooselb_certificate_expiry_seconds",
                     "Until the certificate expires; negative when it has",
                     false,
                     {}};
  CounterView active{"mongooselb_tls_handshakes_active", "Handshakes in progress", false, {}};
  const int64_t now = std::time(nullptr);
  for (const auto& [name, listener] : listeners_) {
    if (listener->tls == nullptr) continue;
    active.series.push_back(
        {{{"listener", name}},
         static_cast<double>(listener->shared->handshakes.load(std::memory_order_relaxed))});
    for (const net::TlsCertificateInfo& certificate : listener->tls->certificates()) {
      expiry.series.push_back({{{"listener", name}, {"file", certificate.file}},
                               static_cast<double>(certificate.not_after - now)});
    }
  }
  views->push_back(std::move(active));
  views->push_back(std::move(expiry));
}

}  // namespace lb
