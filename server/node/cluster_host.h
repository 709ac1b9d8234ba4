// The cluster of a running node: the pure core (server/cluster) over a node of the distribution
// (server/dist). Frames travel as messages to one mailbox, links are dialed and dialed again as the
// core wants them, orders of operators end with the core's own outcome.
//
// Made before the node's Start(), since handlers are set there; everything else is on the node's
// thread, which Post() reaches. The node outlives it, and is stopped before it ends.
//
// Time here counts through a suspend (CLOCK_BOOTTIME): a machine that slept has to know that it
// did.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "net/base/random.h"
#include "net/report/metrics.h"
#include "server/cluster/cluster.h"
#include "server/cluster/member_file.h"
#include "server/cluster/operation.h"
#include "server/dist/dist_node.h"

namespace server {

class BootClock final : public net::Clock {
 public:
  net::Time Now() const override;
};

class ClusterHost final : private Transport {
 public:
  // What came of an order: for people and for programs.
  struct OrderEnd {
    OrderKind kind;
    Outcome outcome;
    std::string target;
    std::string detail;
  };
  using OrderDone = std::move_only_function<void(const OrderEnd& end)>;
  using EventHandler = std::function<void(const ClusterEvent& event)>;

  // The mailbox that frames go to.
  static constexpr std::string_view kMailbox = "mongoose_cluster";
  static constexpr net::Duration kTickInterval = std::chrono::milliseconds(100);
  // Between two dials of a node that is not there: doubled from the first to the last, and spread.
  static constexpr net::Duration kDialAgainMin = std::chrono::milliseconds(200);
  static constexpr net::Duration kDialAgainMax = std::chrono::seconds(5);

  // Reads the member file. The error is for the operator, with file, line and remedy.
  static std::expected<std::unique_ptr<ClusterHost>, std::string> Create(
      DistNode& node, std::string member_file, std::vector<TableOptions> tables,
      const net::Clock& clock, const ClusterTiming& timing = {}, ContentVersions content = {});
  ~ClusterHost() override = default;
  ClusterHost(const ClusterHost&) = delete;
  ClusterHost& operator=(const ClusterHost&) = delete;

  // --- Before the node's Start().
  void OnEvent(EventHandler handler) { handlers_.push_back(std::move(handler)); }

  // --- On the node's thread.
  void Start();  // links are dialed, the clock ticks
  // Tells the others that this node stops in order; links end with the node.
  void Stop();
  void Join(const std::string& target, OrderDone done);
  void Leave(bool force, OrderDone done);
  void Remove(const std::string& target, OrderDone done);
  ClusterStatus Status() const { return cluster_->Status(); }
  Cluster& cluster() { return *cluster_; }
  const std::vector<uint32_t>& table_ids() const { return table_ids_; }
  const Cluster& cluster() const { return *cluster_; }
  void WriteMetrics(net::MetricsWriter& out) const;

 private:
  // A node that the core wants a link to.
  struct Wanted {
    net::Duration pause = kDialAgainMin;
    net::EventLoop::TimerId again{};
    bool dialing = false;
  };
  struct Waiting {
    OrderKind kind;
    std::string target;
    OrderDone done;
  };

  ClusterHost(DistNode& node, std::string member_file, const net::Clock& clock);
  void SetHandlers();
  bool Send(const std::string& node, std::span<const uint8_t> frame) override;
  void Want(const std::string& node, bool wanted) override;
  void Dial(const std::string& node);
  void DialLater(const std::string& node);
  void Tick();
  // Runs `work` on the core, then takes what happened: every way into the core goes through here.
  template <typename Work>
  void Enter(Work&& work);
  void TakeEvents();
  void Log(const ClusterEvent& event) const;
  void Await(uint64_t order, OrderKind kind, std::string target, OrderDone done);

  DistNode& node_;
  const net::Clock& clock_;
  DiskStorage storage_;
  net::FastRandom random_;
  std::unique_ptr<Cluster> cluster_;
  std::vector<uint32_t> table_ids_;
  std::map<std::string, Wanted, std::less<>> wanted_;
  // Why the last dial of a node failed, until it is up; for those who ordered a join.
  static constexpr size_t kFailuresMax = 64;
  std::map<std::string, std::string, std::less<>> failures_;
  std::multimap<uint64_t, Waiting> waiting_;  // of one number: the same order, given twice
  std::vector<EventHandler> handlers_;
  bool started_ = false;
  bool taking_ = false;
};

}  // namespace server
