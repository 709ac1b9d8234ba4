#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "net/report/log.h"
#include "net/report/log_output.h"
#include "server/program/running_node.h"
#include "server/program/session_table.h"

namespace server {
namespace {

constexpr net::Duration kMemoryEvery = std::chrono::milliseconds(100);
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
  memory_.emplace(MemoryBound(setup_.config.limits.memory, ReadMemoryFacts()));
  MeterLoad();
  MeterMemory();
}

void RunningNode::WriteMoreMetrics(net::MetricsWriter& out) const {
  out.Counter("mongooseim_log_dropped_total", "Lines that the log did not take.")
      .Add({}, net::LogLinesDropped());
  if (clients_ == nullptr) return;
  clients_->WriteMetrics(out);
  xmpp_cluster_->WriteMetrics(out);
  WriteSessionMetrics(*cluster_->cluster().table(kSessionTable), out);
  out.Gauge("mongooseim_memory_bound_bytes", "What the node may take ([limits] memory).")
      .Add({}, memory_->bound());
  out.Gauge("mongooseim_memory_resident_bytes", "What it takes.").Add({}, memory_->resident());
  auto pressure = out.Gauge("mongooseim_memory_pressure", "How near the two are.");
  constexpr std::array<std::string_view, 3> kNames = {"enough", "short", "full"};
  for (size_t state = 0; state < kNames.size(); ++state) {
    pressure.Add({{"state", kNames[state]}},
                 memory_->pressure() == static_cast<MemoryPressure>(state) ? 1 : 0);
  }
}

// What takes memory, as far as it is known apart; the rest is what stands behind all of it.
std::vector<std::pair<std::string, uint64_t>> RunningNode::MemoryCategories() {
  std::vector<std::pair<std::string, uint64_t>> categories;
  categories.emplace_back("bound", memory_->bound());
  categories.emplace_back("resident", ReadMemoryFacts().resident);
  categories.emplace_back("heap", mallinfo2().uordblks + mallinfo2().hblkhd);
  uint64_t tables = 0;
  for (const uint32_t id : cluster_->table_ids()) {
    tables += cluster_->cluster().table(id)->memory_bytes();
  }
  categories.emplace_back("tables", tables);
  if (clients_ == nullptr) return categories;
  categories.emplace_back("storeQueue", clients_->store_metrics().waiting_bytes.load());
  categories.emplace_back("detachedSessions", clients_->service().parked_bytes());
  return categories;
}

// A second is long: a sender fills a hundred megabytes in it.
void RunningNode::MeterMemory() {
  memory_timer_ = node_->loop().After(kMemoryEvery, [this] { MeterMemory(); });
  const MemoryPressure before = memory_->pressure();
  const MemoryPressure now = memory_->Look(ReadMemoryFacts().resident);
  if (clients_ != nullptr) clients_->service().SetPressure(now);
  if (now == before) return;
  const bool more = now > before;
  net::Log(more ? net::LogLevel::kWarn : net::LogLevel::kInfo, "node",
           now == MemoryPressure::kEnough  ? "there is memory again"
           : now == MemoryPressure::kShort ? "memory runs short: no new sessions"
                                           : "memory runs out: no new streams",
           {{"resident", memory_->resident()}, {"bound", memory_->bound()}});
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
