#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "net/report/log_output.h"
#include "server/program/running_node.h"
#include "server/program/session_table.h"

namespace server {
namespace {

constexpr net::Duration kLoadEvery = std::chrono::seconds(1);

net::Duration ProcessorTime() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

}  // namespace

void RunningNode::BeginMeters() {
  load_at_ = clock_.Now();
  load_used_ = ProcessorTime();
  MeterLoad();
  memory_.emplace(MemoryGuard::Ground{
                      .loop = node_->loop(),
                      .clock = clock_,
                      .clients = [this] { return clients_; },
                      .table_bytes = [this] { return TableBytes(); },
                      .post = [this](std::function<void()> task) { node_->Post(std::move(task)); }},
                  setup_.config.limits.memory);
}

void RunningNode::WriteMoreMetrics(net::MetricsWriter& out) const {
  out.Counter("mongooseim_log_dropped_total", "Lines that the log did not take.")
      .Add({}, net::LogLinesDropped());
  if (clients_ == nullptr) return;
  clients_->WriteMetrics(out);
  xmpp_cluster_->WriteMetrics(out);
  WriteSessionMetrics(*cluster_->cluster().table(kSessionTable), out);
  memory_->WriteMetrics(out);
}

uint64_t RunningNode::TableBytes() const {
  uint64_t bytes = 0;
  for (const uint32_t id : cluster_->table_ids()) {
    bytes += cluster_->cluster().table(id)->memory_bytes();
  }
  return bytes;
}

void RunningNode::MeterLoad() {
  load_timer_ = node_->loop().After(kLoadEvery, [this] { MeterLoad(); });
  const net::Time now = clock_.Now();
  const net::Duration used = ProcessorTime();
  if (now > load_at_) {
    const auto share = static_cast<double>((used - load_used_).count()) /
                       static_cast<double>((now - load_at_).count());
    load_ = std::clamp(share / static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)), 0.0, 1.0);
  }
  load_at_ = now;
  load_used_ = used;
}

}  // namespace server
