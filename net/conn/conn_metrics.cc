#include "net/conn/conn_metrics.h"

#include <string>

#include "net/conn/admission.h"
#include "net/conn/conn_ground.h"
#include "net/conn/end_reason.h"
#include "net/io/errors.h"
#include "net/report/metrics.h"

namespace net {
namespace {

struct CounterRow {
  std::string_view name;
  std::string_view help;
  ConnStats::Counter ConnStats::* counter;
};

constexpr CounterRow kCounterRows[] = {
    {"accepted_total", "Connections accepted.", &ConnStats::accepted},
    {"connects_total", "Connections begun from here.", &ConnStats::connects},
    {"refused_full_total", "Connections closed at once: the worker had no place.",
     &ConnStats::refused_full},
    {"received_bytes_total", "As they came from the kernel.", &ConnStats::bytes_in},
    {"sent_bytes_total", "As the kernel took them.", &ConnStats::bytes_out},
    {"buffer_starvations_total", "Receives that found no buffer.", &ConnStats::buffer_starvations},
    {"congestions_total", "Times that too much waited for a slow reader.", &ConnStats::congestions},
    {"tls_handshakes_queued_total", "TLS handshakes that had to wait for others.",
     &ConnStats::handshakes_waited},
    {"tls_records_failed_total", "Connections that TLS ended after the handshake.",
     &ConnStats::tls_records_failed},
};

class Sums {
 public:
  Sums(std::string_view prefix, std::span<const ConnStats* const> workers)
      : prefix_(prefix), workers_(workers) {}

  std::string Name(std::string_view name) const { return prefix_ + "_" + std::string(name); }
  uint64_t Of(auto member) const {
    uint64_t sum = 0;
    for (const ConnStats* stats : workers_) sum += member(*stats).load(std::memory_order_relaxed);
    return sum;
  }

 private:
  const std::string prefix_;
  const std::span<const ConnStats* const> workers_;
};

void WriteEnds(const Sums& sums, MetricsWriter& out) {
  const std::string name = sums.Name("ended_total");
  auto ended =
      out.Counter(name, "Connections that ended: how, by whom, in which part of its life.");
  for (size_t reason = 1; reason < kEndReasons; ++reason) {
    for (size_t when = 0; when < kEndWhens; ++when) {
      const uint64_t count =
          sums.Of([&](const ConnStats& s) -> const auto& { return s.ended[reason][when]; });
      if (count == 0) continue;  // most of the 72 never are
      const auto end = static_cast<EndReason>(reason);
      ended.Add({{"reason", EndReasonName(end)},
                 {"by", EndByName(EndedBy(end))},
                 {"when", EndWhenName(static_cast<EndWhen>(when))}},
                count);
    }
  }
}

}  // namespace

void WriteConnMetrics(std::string_view prefix, std::span<const ConnStats* const> workers,
                      MetricsWriter& out) {
  const Sums sums(prefix, workers);
  for (const CounterRow& row : kCounterRows) {
    const std::string name = sums.Name(row.name);
    out.Counter(name, row.help).Add({}, sums.Of([&](const ConnStats& s) -> const auto& {
      return s.*row.counter;
    }));
  }
  WriteEnds(sums, out);
  {
    const std::string name = sums.Name("socket_errors_total");
    auto errors = out.Counter(name, "System calls that failed and ended a connection, by errno.");
    for (size_t error = 1; error < kErrnos; ++error) {
      const uint64_t count =
          sums.Of([&](const ConnStats& s) -> const auto& { return s.errnos[error]; });
      if (count == 0) continue;
      errors.Add({{"errno", ErrnoName(static_cast<int>(error))}}, count);
    }
  }
  const std::string name = sums.Name("tls_handshakes_total");
  auto handshakes = out.Counter(name, "TLS handshakes, by result.");
  handshakes.Add({{"result", "full"}},
                 sums.Of([](const ConnStats& s) -> const auto& { return s.tls_full; }));
  handshakes.Add({{"result", "resumed"}},
                 sums.Of([](const ConnStats& s) -> const auto& { return s.tls_resumed; }));
  handshakes.Add({{"result", "failed"}},
                 sums.Of([](const ConnStats& s) -> const auto& { return s.tls_failed; }));
}

void WriteListenerMetrics(std::string_view prefix, const ListenerCounts& counts,
                          MetricsWriter& out) {
  const std::string name = std::string(prefix) + "_listener_refused_total";
  auto refused = out.Counter(name, "Connections closed at once, by what was reached.");
  const auto add = [&](std::string_view limit, const std::atomic<uint64_t>& count) {
    refused.Add({{"limit", limit}}, count.load(std::memory_order_relaxed));
  };
  add("connections", counts.refused_limit);
  add("source", counts.refused_source);
  add("header", counts.refused_header);
}

}  // namespace net
