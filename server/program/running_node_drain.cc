#include <algorithm>
#include <map>
#include <utility>

#include "net/report/log.h"
#include "server/program/running_node.h"
#include "server/program/session_table.h"

namespace server {

void RunningNode::Drain(double per_s, net::Duration deadline) {
  if (clients_ == nullptr) return;
  net::Log(net::LogLevel::kInfo, "node", "drains",
           {{"per_second", per_s}, {"connections", clients_->service().connections()}});
  drain_.Begin();
  drain_late_ = false;
  clients_->service().Drain(per_s);
  // The last order wins: a deadline of one before is none of it.
  node_->loop().CancelTimer(std::exchange(drain_timer_, {}));
  if (deadline <= net::Duration(0)) return;
  drain_timer_ = node_->loop().After(deadline, [this] {
    if (clients_ == nullptr || DrainLeft() == 0) return;
    drain_late_ = clients_->service().connections() > 0;
    constexpr double kAll = 1e9;
    clients_->service().Drain(kAll);
  });
}

std::expected<void, std::string> RunningNode::EndDrain() {
  if (clients_ == nullptr) return std::unexpected("clients are not served here");
  if (stopping_ || drains_to_stop_) return std::unexpected("the node stops");
  if (!drain_.draining()) return {};
  if (const XmppErrors errors = clients_->service().EndDrain(); !errors.empty()) {
    net::Log(net::LogLevel::kError, "node", "cannot take clients again",
             {{"reason", errors.front()}});
    return std::unexpected(errors.front());
  }
  node_->loop().CancelTimer(std::exchange(drain_timer_, {}));
  drain_.End();
  drain_late_ = false;
  net::Log(net::LogLevel::kInfo, "node", "drains no more",
           {{"connections", clients_->service().connections()}});
  return {};
}

// By whomever: what the others cannot carry is done by force alone.
std::optional<Pages::DrainAnswer> RunningNode::DrainByOrder(const Pages::DrainOrder& order) {
  if (clients_ == nullptr) return std::nullopt;
  Pages::DrainAnswer answer{.connections = clients_->service().connections(), .forecast = {}};
  double per_s = order.per_s;
  if (per_s <= 0) {
    per_s = ToGo() / net::Seconds(order.deadline) + 1;
  }
  const DrainForecast forecast = Forecast(per_s, order.deadline);
  answer.forecast = forecast.Json();
  answer.begun = order.force || forecast.carried();
  if (answer.begun) Drain(per_s, order.deadline);
  return answer;
}

DrainState RunningNode::Drained() {
  return {.draining = drain_.draining(), .connections = DrainLeft(), .late = drain_late_};
}

bool RunningNode::Alone() const { return cluster_->Status().running.size() <= 1; }

// Homes go at the pace of connections: a node with few of these and many of those must not take for
// ever. The two go beside each other, so that what others see of logins is not more.
double RunningNode::ToGo() const {
  const XmppService& service = clients_->service();
  return static_cast<double>(std::max(service.connections(), service.guests()));
}

uint64_t RunningNode::DrainLeft() {
  if (clients_ == nullptr) return 0;
  return drain_.Left({.connections = clients_->service().connections(),
                      .detached = clients_->service().detached(),
                      .guests = clients_->service().guests_to_move(),
                      .alone = Alone()},
                     clock_.Now());
}

DrainForecast RunningNode::Forecast(double per_s, net::Duration deadline) const {
  const ClusterStatus status = cluster_->Status();
  return ForecastDrain({.connections = clients_->service().connections(),
                        .per_s = per_s,
                        .deadline = deadline,
                        .members = status.members.size(),
                        .others = status.running.size() - 1,
                        .logins_per_s = clients_->service().login_budget()});
}

std::vector<uint64_t> RunningNode::SessionCounts() const {
  std::map<std::string, uint64_t, std::less<>> counts;
  for (const std::string& node : cluster_->Status().running) counts[node] = 0;
  cluster_->cluster().table(kSessionTable)->ForEachRecord([&](const RecordView& record) {
    const auto it = counts.find(record.owner);
    if (it != counts.end()) ++it->second;
  });
  const auto own = counts.extract(cluster_->cluster().self());
  std::vector<uint64_t> all = {own ? own.mapped() : 0};
  for (const auto& [node, count] : counts) all.push_back(count);
  return all;
}

void RunningNode::BeginStop(bool again) {
  if (!DrainFirst(again)) StopNow(again);
}

// Clients go one by one, where that is wanted, and the node behind them. Who is asked to stop once
// more stops at once.
bool RunningNode::DrainFirst(bool again) {
  const net::Duration within = setup_.config.c2s.drain_on_stop;
  if (stopping_ || within <= net::Duration(0) || clients_ == nullptr) return false;
  if (DrainLeft() == 0 || std::exchange(drains_to_stop_, true)) return false;
  const net::Duration pace = DrainWatch::Pace(within, Alone());
  Drain(ToGo() / net::Seconds(pace) + 1, pace);
  const net::Time end = clock_.Now() + within;
  WaitForDrain(again, end);
  return true;
}

void RunningNode::WaitForDrain(bool again, net::Time end) {
  constexpr net::Duration kLook = std::chrono::milliseconds(100);
  if (stopping_) return;
  const bool empty = DrainLeft() == 0;
  if (empty || clock_.Now() >= end) return StopNow(again);
  node_->loop().After(kLook, [this, again, end] { WaitForDrain(again, end); });
}

void RunningNode::StopNow(bool again) {
  if (std::exchange(stopping_, true)) return;
  net::Log(net::LogLevel::kInfo, "node", "stopping", {{"restart", again}});
  WriteStatus("stopping");
  if (service_) service_->Stopping();
  // What was said to mongooseimctl is still on its way.
  node_->loop().After(kGoodbyeTime, [this, again] { stop_asked_.set_value(again); });
}

}  // namespace server
