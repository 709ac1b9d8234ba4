#include "server/program/memory_guard.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "net/report/log.h"
#include "server/c2s/session.h"
#include "server/im/message_bytes.h"
#include "server/program/xmpp_node.h"

namespace server {
namespace {

// A read of one line of /proc. Senders fill a hundred megabytes in a second.
constexpr net::Duration kProcessEvery = std::chrono::milliseconds(20);
// The kernel sums its group up for that.
constexpr net::Duration kGroupEvery = std::chrono::milliseconds(100);
// Who allocates waits while the heap is looked through: no more than a twentieth of the time, by
// what it costs of a processor.
constexpr int kTrimRest = 20;

}  // namespace

MemoryGuard::MemoryGuard(Ground ground, uint64_t configured)
    : MemoryGuard(std::move(ground), configured, ReadMemoryFacts()) {}

MemoryGuard::MemoryGuard(Ground ground, uint64_t configured, const MemoryFacts& facts)
    : ground_(std::move(ground)), gauge_(facts.group), keeper_(MemoryBoundsOf(configured, facts)) {
  for (const std::string& warning : facts.warnings) {
    net::Log(net::LogLevel::kWarn, "node", warning);
  }
  if (keeper_.bounds().process == 0) {
    net::Log(net::LogLevel::kWarn, "node",
             "neither the machine's memory nor a cgroup's limit is known: nothing is shed when "
             "memory runs short; set [limits] memory");
  }
  if (configured > keeper_.bounds().process) {
    net::Log(net::LogLevel::kWarn, "node",
             "[limits] memory is more than the machine or the cgroup has: nine tenths of that "
             "count; lower it, or give the node more",
             {{"configured", configured}, {"bound", keeper_.bounds().process}});
  }
  Look();
}

MemoryGuard::~MemoryGuard() { ground_.loop.CancelTimer(timer_); }

uint64_t MemoryGuard::Sheddable() const {
  const XmppNode* clients = ground_.clients();
  if (clients == nullptr) return 0;
  const XmppService& service = clients->service();
  return service.waiting_bytes() + service.output_bytes() + service.parked_bytes();
}

void MemoryGuard::Look() {
  timer_ = ground_.loop.After(kProcessEvery, [this] { Look(); });
  const net::Time now = ground_.clock.Now();
  MemoryReading reading{.now = now,
                        .resident = gauge_.Resident(),
                        .group = last_.group,
                        .messages = MessageBytes(),
                        .sheddable = Sheddable(),
                        .settling = 0};
  if (group_at_ == net::Time{} || now - group_at_ >= kGroupEvery) {
    group_at_ = now;
    reading.group = gauge_.Group();
  }
  XmppNode* clients = ground_.clients();
  if (clients != nullptr) reading.settling = clients->store_metrics().waiting_bytes.load();
  last_ = reading;
  const MemoryOrders orders = keeper_.Look(reading);
  SetMemoryIsShort(keeper_.pressure() != MemoryPressure::kEnough);
  if (clients != nullptr) clients->service().SetPressure(keeper_.pressure());
  Obey(orders, reading);
}

void MemoryGuard::Obey(const MemoryOrders& orders, const MemoryReading& reading) {
  if (orders.said != MemoryOrders::Said::kNothing) Say(orders.said, reading);
  XmppNode* clients = ground_.clients();
  if (orders.ease && clients != nullptr) {
    ++eases_;
    clients->service().Ease();
  }
  if (orders.shed > 0 && clients != nullptr) {
    const auto told = [this, alive = std::weak_ptr<int>(alive_)](uint64_t bytes) {
      if (alive.expired()) return;
      shed_bytes_ += bytes;
      keeper_.Shed(bytes);
    };
    clients->service().EndHeaviest(orders.shed,
                                   [post = ground_.post, told](XmppService::Ordered ordered) {
                                     post([told, bytes = ordered.bytes] { told(bytes); });
                                   });
  }
  if (orders.trim) Trim(reading.now);
}

void MemoryGuard::Trim(net::Time now) {
  if (trims_now_ || now < trim_again_) return;
  const auto work = [] {
    const net::Duration before = ThreadCpu();
    malloc_trim(0);
    return ThreadCpu() - before;
  };
  trims_now_ = trimming_.Run(work, [this](net::Duration cost) {
    trims_now_ = false;
    trim_again_ = ground_.clock.Now() + cost * kTrimRest;
    ++trims_;
  });
}

void MemoryGuard::Say(MemoryOrders::Said said, const MemoryReading& reading) {
  const XmppNode* clients = ground_.clients();
  const XmppService::MemoryShed shed =
      clients == nullptr ? XmppService::MemoryShed{} : clients->service().memory_shed();
  const uint64_t ended = shed.heavy + shed.detached;
  if (said == MemoryOrders::Said::kBegins) shed_sessions_ = ended;
  const bool over = said == MemoryOrders::Said::kEnds;
  net::Log(over ? net::LogLevel::kInfo : net::LogLevel::kWarn, "node",
           said == MemoryOrders::Said::kBegins
               ? "memory runs short: no new sessions, and those that wait with the most go"
           : over ? "there is memory again"
                  : "memory is short still",
           {{"resident", reading.resident.value_or(0)},
            {"bound", keeper_.bounds().process},
            {"group", reading.group.value_or(0)},
            {"group_bound", keeper_.bounds().group},
            {"messages", reading.messages},
            {"sessions_wait_with", reading.sheddable},
            {"sessions_ended", ended - std::min(ended, shed_sessions_)},
            {"bindings_refused", shed.bindings},
            {"streams_refused", shed.streams},
            {"stanzas_refused", shed.stanzas}});
}

std::vector<std::pair<std::string, uint64_t>> MemoryGuard::Categories() const {
  std::vector<std::pair<std::string, uint64_t>> categories;
  categories.emplace_back("bound", keeper_.bounds().process);
  // What cannot be read is left out.
  if (const auto resident = gauge_.Resident()) categories.emplace_back("resident", *resident);
  if (keeper_.bounds().group != 0) {
    categories.emplace_back("cgroupBound", keeper_.bounds().group);
    if (const auto group = gauge_.Group()) categories.emplace_back("cgroup", *group);
  }
  const auto heap = mallinfo2();
  categories.emplace_back("heap", heap.uordblks + heap.hblkhd);
  categories.emplace_back("tables", ground_.table_bytes());
  categories.emplace_back("messages", MessageBytes());
  const XmppNode* clients = ground_.clients();
  if (clients == nullptr) return categories;
  categories.emplace_back("storeQueue", clients->store_metrics().waiting_bytes.load());
  categories.emplace_back("unacknowledged", clients->service().waiting_bytes());
  categories.emplace_back("outgoing", clients->service().output_bytes());
  categories.emplace_back("detachedSessions", clients->service().parked_bytes());
  return categories;
}

void MemoryGuard::WriteMetrics(net::MetricsWriter& out) const {
  out.Gauge("mongooseim_memory_bound_bytes", "What the node may take ([limits] memory).")
      .Add({}, keeper_.bounds().process);
  if (last_.resident) {
    out.Gauge("mongooseim_memory_resident_bytes", "What it takes.").Add({}, *last_.resident);
  }
  auto pressure = out.Gauge("mongooseim_memory_pressure", "How near the two are.");
  constexpr std::array<std::string_view, 4> kNames = {"enough", "short", "full", "out"};
  for (size_t state = 0; state < kNames.size(); ++state) {
    pressure.Add({{"state", kNames[state]}},
                 keeper_.pressure() == static_cast<MemoryPressure>(state) ? 1 : 0);
  }
  auto categories =
      out.Gauge("mongooseim_memory_bytes", "What takes memory, as far as it is known apart.");
  for (const auto& [name, bytes] : Categories()) categories.Add({{"category", name}}, bytes);
  out.Counter("mongooseim_memory_shed_bytes_total",
              "What sessions waited with that ended for want of memory.")
      .Add({}, shed_bytes_);
  out.Counter("mongooseim_memory_eased_total",
              "Times that homes of who is away and empty rooms left memory.")
      .Add({}, eases_);
  out.Counter("mongooseim_memory_trims_total", "Times that the allocator gave back what was free.")
      .Add({}, trims_);
}

}  // namespace server
