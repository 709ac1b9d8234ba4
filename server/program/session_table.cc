#include "server/program/session_table.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <unordered_set>

#include "net/base/wall_clock.h"

namespace server {
namespace {

std::string ValueOf(const SessionId& id) {
  return std::to_string(id.worker) + ' ' + std::to_string(id.place) + ' ' + std::to_string(id.life);
}

}  // namespace

void KeepSessions(Cluster& cluster, const std::vector<SessionRecord>& changed) {
  ReplicatedTable& table = *cluster.table(kSessionTable);
  for (const SessionRecord& session : changed) {
    if (!session.gone) {
      table.Put(session.full, std::min(session.full.find('/'), session.full.size()),
                ValueOf(session.id), static_cast<uint64_t>(net::UnixUs()));
      continue;
    }
    // Another may have the address by now: workers tell each for itself.
    bool same = false;
    table.ForEach(session.full, [&](const RecordView& record) {
      same = same || (record.own && record.value == ValueOf(session.id));
    });
    if (same) table.Erase(session.full);
  }
}

std::optional<SessionId> SessionOf(std::string_view value) {
  SessionId id;
  const char* at = value.data();
  const char* const end = at + value.size();
  const auto read = [&](auto& number) {
    const auto [next, error] = std::from_chars(at, end, number);
    at = next != end && *next == ' ' ? next + 1 : next;
    return error == std::errc();
  };
  if (!read(id.worker) || !read(id.place) || !read(id.life) || at != end) return std::nullopt;
  return id;
}

void WriteSessionMetrics(ReplicatedTable& table, net::MetricsWriter& out) {
  std::unordered_set<std::string> users;
  table.ForEachRecord([&](const RecordView& record) { users.emplace(record.group); });
  out.Gauge("sm_total_sessions_count", "Bound sessions of the cluster.").Add({}, table.size());
  out.Gauge("sm_unique_sessions_count", "Users with a bound session, in the cluster.")
      .Add({}, users.size());
}

}  // namespace server
