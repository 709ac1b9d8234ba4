// What the workers of one service count of their connections, as Prometheus' series: one place, so
// that every counter of ConnStats and every EndReason is seen wherever connections are served.
//
// Any thread.
#pragma once

#include <span>
#include <string_view>

namespace net {

class MetricsWriter;
struct ConnStats;
struct ListenerCounts;

// `prefix`: "mongooseim_c2s", before each name. One ConnStats a worker.
void WriteConnMetrics(std::string_view prefix, std::span<const ConnStats* const> workers,
                      MetricsWriter& out);
// Of the listeners that count together.
void WriteListenerMetrics(std::string_view prefix, const ListenerCounts& counts,
                          MetricsWriter& out);

}  // namespace net
