// The keeper's hands and eyes (memory_keeper.h): it looks many times a second at what the node has,
// has done what is to be done about it, and says so in the log and the metrics.
//
// On the node's thread, made and destroyed there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/io/blocking_pool.h"
#include "net/io/event_loop.h"
#include "net/report/metrics.h"
#include "server/program/memory_facts.h"
#include "server/program/memory_keeper.h"

namespace server {

class XmppNode;

class MemoryGuard {
 public:
  struct Ground {
    net::EventLoop& loop;
    const net::Clock& clock;
    std::function<XmppNode*()> clients;               // null: none are served
    std::function<uint64_t()> table_bytes;            // of the cluster
    std::function<void(std::function<void()>)> post;  // to this thread, from any
  };
  // `configured`: [limits] memory.
  MemoryGuard(Ground ground, uint64_t configured);
  ~MemoryGuard();
  MemoryGuard(const MemoryGuard&) = delete;
  MemoryGuard& operator=(const MemoryGuard&) = delete;

  MemoryPressure pressure() const { return keeper_.pressure(); }
  // What takes memory, as far as it is known apart, in bytes.
  std::vector<std::pair<std::string, uint64_t>> Categories() const;
  void WriteMetrics(net::MetricsWriter& out) const;

 private:
  MemoryGuard(Ground ground, uint64_t configured, const MemoryFacts& facts);
  void Look();
  void Obey(const MemoryOrders& orders, const MemoryReading& reading);
  void Say(MemoryOrders::Said said, const MemoryReading& reading);
  uint64_t Sheddable() const;
  void Trim(net::Time now);

  const Ground ground_;
  MemoryGauge gauge_;
  MemoryKeeper keeper_;
  MemoryReading last_;
  net::Time group_at_{};  // when the group was looked at
  // The allocator takes its time over a large heap: others wait for it, this thread does not.
  net::BlockingPool trimmer_{{.name = "trim", .threads = 1, .waiting_max = 1}};
  net::BlockingPool::Client trimming_{trimmer_, ground_.loop};
  bool trims_now_ = false;
  net::Time trim_again_{};
  uint64_t trims_ = 0;
  uint64_t eases_ = 0;
  uint64_t shed_bytes_ = 0;
  uint64_t shed_sessions_ = 0;  // at the beginning of what is in the log
  net::EventLoop::TimerId timer_{};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace server
