// A node while it runs: what run_node.h promises, in parts of their own.
//
//   running_node.cc         its life: made ready, put together, signals, taken apart
//   running_node_hooks.cc   what its commands and other nodes ask of it
//   running_node_drain.cc   drains, by an order and before a stop, and the stop
//   running_node_meters.cc  load, memory, metrics
//
// Run() is called by the thread that runs the node, and everything else, where it is not said, on
// the node's own.
#pragma once

#include <csignal>
#include <future>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/clock.h"
#include "net/io/socket.h"
#include "net/report/metrics.h"
#include "net/service/service_manager.h"
#include "net/service/signals.h"
#include "server/dist/dist_node.h"
#include "server/node/cluster_host.h"
#include "server/node/discovery.h"
#include "server/node/pages.h"
#include "server/program/ctl_service.h"
#include "server/program/drain_forecast.h"
#include "server/program/drain_watch.h"
#include "server/program/memory_guard.h"
#include "server/program/node_lock.h"
#include "server/program/run_node.h"
#include "server/program/xmpp_cluster.h"
#include "server/program/xmpp_node.h"

namespace server {

class RunningNode {
 public:
  static constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP};

  RunningNode(NodeSetup setup, RunOptions options)
      : setup_(std::move(setup)), options_(std::move(options)), began_(clock_.Now()) {}

  RunResult Run();

 private:
  // For what workers said last to come to the other nodes.
  static constexpr net::Duration kHeardTime = std::chrono::seconds(1);
  // Between telling the others that this node stops and closing the links.
  static constexpr net::Duration kGoodbyeTime = std::chrono::milliseconds(100);

  using Errors = std::vector<std::string>;

  Errors Prepare();
  Errors OpenPages();
  Errors Start();
  Errors StartXmpp();
  void End();
  // On the node's thread.
  void Assemble();
  void OnSignal(int number);
  void BeginStop(bool again);
  bool DrainFirst(bool again);
  void WaitForDrain(bool again, net::Time end);
  void StopNow(bool again);
  void TakeApart();
  void BeginMeters();
  void MeterLoad();
  void Account(AccountRequest request, AccountDone done);
  void Xmpp(XmppRequest request, CtlDone done);
  NodeHooks Hooks();
  void Pass(const std::string& node, PassedCommand command, CtlDone done);
  void Stats(std::move_only_function<void(NodeStats)> done);
  std::vector<KnownSession> KnownSessions();
  uint64_t TableBytes() const;
  void Discover(std::unique_ptr<DiscoverySource> source);
  void Drain(double per_s, net::Duration deadline);
  std::expected<void, std::string> EndDrain();
  std::optional<Pages::DrainAnswer> DrainByOrder(const Pages::DrainOrder& order);
  DrainState Drained();
  bool Alone() const;
  uint64_t DrainLeft();
  double ToGo() const;  // connections, or sessions of other nodes that are at home here
  DrainForecast Forecast(double per_s, net::Duration deadline) const;
  std::vector<uint64_t> SessionCounts() const;
  void WriteMoreMetrics(net::MetricsWriter& out) const;
  std::string StatusLine() const;
  NodeFacts Facts() const;
  NodeLoad Load() const {
    return {.sessions = clients_ == nullptr ? 0 : clients_->sessions(),
            .max_sessions = setup_.max_ports.value,
            .load = load_,
            .draining = stopping_ || drain_.draining(),
            .memory_short = memory_ && memory_->pressure() != MemoryPressure::kEnough};
  }
  void WriteStatus(std::string_view status) const;

  NodeSetup setup_;
  RunOptions options_;
  BootClock clock_;
  const net::Time began_;
  std::optional<NodeLock> lock_;
  std::unique_ptr<DistNode> node_;
  std::unique_ptr<ClusterHost> cluster_;
  std::unique_ptr<XmppCluster> xmpp_cluster_;
  std::vector<net::UniqueFd> listeners_;
  std::promise<bool> stop_asked_;
  size_t client_sockets_ = 0;
  bool assembled_ = false;
  // Made and ended by the thread that runs the node, which tells the node's.
  std::unique_ptr<XmppNode> xmpp_;

  // On the node's thread, made and destroyed there.
  XmppNode* clients_ = nullptr;  // while it serves them
  std::vector<std::unique_ptr<Pages>> pages_;
  std::unique_ptr<net::ServiceManager> service_;
  std::unique_ptr<net::SignalWatcher> signals_;
  std::unique_ptr<Discovery> discovery_;
  net::EventLoop::TimerId load_timer_{};
  net::EventLoop::TimerId drain_timer_{};  // the drain's deadline
  net::Time load_at_{};
  net::Duration load_used_{};
  double load_ = 0;
  std::optional<MemoryGuard> memory_;
  bool stopping_ = false;
  DrainWatch drain_;
  bool drains_to_stop_ = false;
  bool drain_late_ = false;
};

}  // namespace server
