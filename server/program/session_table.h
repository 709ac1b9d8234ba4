// The bound sessions of the cluster, in its replicated table: whose they are, and how each node
// finds its own again. On the node's thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "net/report/metrics.h"
#include "server/c2s/xmpp_worker.h"
#include "server/cluster/cluster.h"

namespace server {

inline constexpr uint32_t kSessionTable = 1;

// A record is the full address; its group the bare one; its value "worker place life".
void KeepSessions(Cluster& cluster, const std::vector<SessionRecord>& changed);
// Of a record of this node; nothing: malformed.
std::optional<SessionId> SessionOf(std::string_view value);
void WriteSessionMetrics(ReplicatedTable& table, net::MetricsWriter& out);

}  // namespace server
