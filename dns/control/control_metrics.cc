// What Control counts, for Prometheus.
#include "dns/control/control.h"
#include "net/report/log_output.h"
#include "net/report/metrics.h"

namespace dns {
namespace {

void WriteQueryMetrics(net::MetricsWriter& out, const Totals& t) {
  auto queries = out.Counter("mongoosedns_queries_total", "Queries received.");
  for (size_t i = 0; i < kTransports; ++i) {
    queries.Add({{"transport", kTransportNames[i]}}, t.queries[i]);
  }
  auto responses = out.Counter("mongoosedns_responses_total", "Responses by rcode.");
  for (size_t i = 0; i < t.responses.size(); ++i) {
    std::string_view name = RcodeName(static_cast<Rcode>(i));
    if (name != "UNKNOWN") responses.Add({{"rcode", name}}, t.responses[i]);
  }
  auto types = out.Counter("mongoosedns_query_types_total", "Answered queries by type.");
  for (size_t i = 0; i < t.types.size(); ++i) {
    std::string name = i < kCountedTypes.size() ? TypeName(kCountedTypes[i]) : "other";
    types.Add({{"type", name}}, t.types[i]);
  }
  auto count = [&](const char* name, const char* help, uint64_t value) {
    out.Counter(name, help).Add({}, value);
  };
  count("mongoosedns_log_dropped_total", "Lines that the log did not take.",
        net::LogLinesDropped());
  count("mongoosedns_dropped_total", "Packets that get no answer.", t.dropped);
  count("mongoosedns_malformed_total", "Queries answered with FORMERR.", t.malformed);
  count("mongoosedns_truncated_total", "Responses with TC.", t.truncated);
  count("mongoosedns_additional_left_out_total", "Responses without room for additional records.",
        t.additional_left_out);
  count("mongoosedns_rate_limit_dropped_total", "Responses held back by the rate limit.",
        t.rrl_dropped);
  count("mongoosedns_rate_limit_slipped_total", "Responses truncated by the rate limit.",
        t.rrl_slipped);
  count("mongoosedns_cookies_valid_total", "Queries with a valid server cookie.", t.cookies_valid);
  count("mongoosedns_cookies_bad_total", "Queries with a bad server cookie.", t.cookies_bad);
  count("mongoosedns_dnssec_ok_total", "Queries with the DO bit.", t.dnssec_ok);
  count("mongoosedns_signed_on_demand_total", "Signatures made while answering.",
        t.signed_on_demand);
  count("mongoosedns_sign_budget_spent_total", "Answers that the signing budget held back.",
        t.sign_budget_spent);
  count("mongoosedns_transfers_total", "Zone transfers begun.", t.transfers);
  count("mongoosedns_transfers_incremental_total", "Of them, those that are differences alone.",
        t.transfers_incremental);
  count("mongoosedns_transfers_refused_total", "Zone transfers refused.", t.transfers_refused);
  count("mongoosedns_tsig_refused_total", "Queries whose TSIG is refused.", t.tsig_refused);
  count("mongoosedns_tsig_good_total", "Queries whose TSIG is good.", t.tsig_good);
  count("mongoosedns_receive_errors_total", "Failed receives.", t.receive_errors);
  count("mongoosedns_send_errors_total", "Failed sends.", t.send_errors);
  count("mongoosedns_batches_total", "Receive calls that brought queries.", t.batches);
}

}  // namespace

void Control::WriteSecondaryMetrics(net::MetricsWriter& out) const {
  std::vector<std::pair<std::string, SecondaryReport>> reports;
  for (const ZoneConfig& zone : config_->zones) {
    auto report = secondaries_.Report(zone.zone->apex);
    if (report) reports.emplace_back(zone.zone->apex.ToString(), std::move(*report));
  }
  auto fresh = out.Gauge("mongoosedns_secondary_fresh", "1: the zone is there; 0: SERVFAIL.");
  for (const auto& [zone, report] : reports) {
    fresh.Add({{"zone", zone}}, report.state == "fresh" ? 1 : 0);
  }
  auto pulls = out.Counter("mongoosedns_zone_pulls_total", "Questions to primaries by result.");
  for (const auto& [zone, report] : reports) {
    pulls.Add({{"zone", zone}, {"result", "whole"}}, report.transfers - report.incremental);
    pulls.Add({{"zone", zone}, {"result", "incremental"}}, report.incremental);
    pulls.Add({{"zone", zone}, {"result", "up_to_date"}}, report.confirmed);
    pulls.Add({{"zone", zone}, {"result", "failed"}}, report.failures);
  }
}

std::string Control::Metrics() const {
  net::MetricsWriter out;
  out.Gauge("mongoosedns_build_info", "Always 1.").Add({{"version", MONGOOSE_VERSION}}, 1);
  WriteQueryMetrics(out, serving_.Sum());
  out.Gauge("mongoosedns_generation", "Number of the published answers.")
      .Add({}, publisher_->current()->id);
  out.Counter("mongoosedns_health_changes_total", "Changes of what is given out.")
      .Add({}, health_changes_);
  auto reloads = out.Counter("mongoosedns_reloads_total", "Reloads by result.");
  reloads.Add({{"result", "applied"}}, reloads_ok_);
  reloads.Add({{"result", "refused"}}, reloads_failed_);
  out.Counter("mongoosedns_signatures_total", "Signatures made at changes.")
      .Add({}, signatures_->signatures_made());
  if (prober_) {
    auto checks = out.Counter("mongoosedns_checks_total", "Checks of balancers.");
    checks.Add({{"result", "made"}}, prober_->started() - prober_->not_made());
    checks.Add({{"result", "not_made"}}, prober_->not_made());
    out.Gauge("mongoosedns_checks_waiting", "Checks that are due and wait for their turn.")
        .Add({}, prober_->waiting());
  }
  auto standings = out.Gauge("mongoosedns_balancer_state", "1 for the standing that it has.");
  for (size_t p = 0; p < lives_.size(); ++p) {
    const PoolConfig& pool = config_->pools[p].pool;
    for (size_t b = 0; b < lives_[p].size(); ++b) {
      for (Standing s :
           {Standing::kChecking, Standing::kUp, Standing::kWarming, Standing::kDraining,
            Standing::kDrained, Standing::kDown, Standing::kForcedUp, Standing::kForcedDown}) {
        standings.Add(
            {{"pool", pool.name}, {"balancer", pool.balancers[b].name}, {"state", ToString(s)}},
            lives_[p][b].standing == s ? 1 : 0);
      }
    }
  }
  if (const TcpCounters* counters = serving_.tcp_counters()) {
    const TcpCounters& tcp = *counters;
    out.Gauge("mongoosedns_tcp_clients", "Open TCP and TLS connections.")
        .Add({}, tcp.clients.load());
    out.Counter("mongoosedns_tcp_accepted_total", "Connections accepted.")
        .Add({}, tcp.accepted.load());
    auto closed = out.Counter("mongoosedns_tcp_closed_total", "Connections that a limit closed.");
    closed.Add({{"reason", "clients_per_address"}}, tcp.refused_address.load());
    closed.Add({{"reason", "clients"}}, tcp.evicted.load());
    closed.Add({{"reason", "idle"}}, tcp.idle_closed.load());
    closed.Add({{"reason", "queries"}}, tcp.queries_max_closed.load());
    closed.Add({{"reason", "tls"}}, tcp.tls_failed.load());
  }
  auto updates = out.Counter("mongoosedns_updates_total", "UPDATEs of challenges by result.");
  updates.Add({{"result", "done"}}, updates_done_);
  updates.Add({{"result", "refused"}}, updates_refused_);
  WriteSecondaryMetrics(out);
  auto notify = out.Counter("mongoosedns_notify_total", "NOTIFY messages by result.");
  notify.Add({{"result", "sent"}}, notifier_->sent());
  notify.Add({{"result", "acknowledged"}}, notifier_->acknowledged());
  notify.Add({{"result", "given_up"}}, notifier_->given_up());
  auto told = out.Counter("mongoosedns_notify_received_total", "NOTIFYs of primaries by result.");
  told.Add({{"result", "taken"}}, secondaries_.notified() - secondaries_.notify_refused());
  told.Add({{"result", "refused"}}, secondaries_.notify_refused());
  return std::move(out).Take();
}

}  // namespace dns
