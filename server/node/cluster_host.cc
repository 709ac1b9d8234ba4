#include "server/node/cluster_host.h"

#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "net/base/check.h"
#include "net/report/log.h"

namespace server {
namespace {

uint64_t WallMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

// Without the kernel's random source a node could take an identity that another one has.
void FillRandom(void* to, size_t bytes) {
  CHECK(getrandom(to, bytes, 0) == static_cast<ssize_t>(bytes));
}

template <typename T>
T Random() {
  T value{};
  FillRandom(&value, sizeof value);
  return value;
}

}  // namespace

net::Time BootClock::Now() const {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return net::Time(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

std::expected<std::unique_ptr<ClusterHost>, std::string> ClusterHost::Create(
    DistNode& node, std::string member_file, std::vector<TableOptions> tables,
    const net::Clock& clock, const ClusterTiming& timing, ContentVersions content) {
  auto host = std::unique_ptr<ClusterHost>(new ClusterHost(node, std::move(member_file), clock));
  for (const TableOptions& table : tables) host->table_ids_.push_back(table.id);
  ClusterOptions options{.node = node.node(),
                         .timing = timing,
                         .seed = Random<uint64_t>(),
                         .table_hash_key = Random<net::HashKey>(),
                         .tables = std::move(tables),
                         .content = content};
  auto cluster = Cluster::Open(std::move(options), *host, host->storage_, clock.Now(), WallMs());
  if (!cluster) return std::unexpected(std::move(cluster.error()));
  host->cluster_ = std::move(*cluster);
  host->SetHandlers();
  return host;
}

ClusterHost::ClusterHost(DistNode& node, std::string member_file, const net::Clock& clock)
    : node_(node), clock_(clock), storage_(std::move(member_file)), random_(Random<uint64_t>()) {}

void ClusterHost::SetHandlers() {
  // Stock erl may link to us and send us words; only our own nodes are of the cluster.
  node_.OnNodeUp([this](const DistPeer& peer) {
    if (!peer.ours) return;
    failures_.erase(peer.node);
    if (auto wanted = wanted_.find(peer.node); wanted != wanted_.end()) {
      wanted->second.pause = kDialAgainMin;
    }
    Enter([&](net::Time now) { cluster_->OnNodeUp(peer.node, now); });
  });
  node_.OnNodeDown([this](const DistPeer& peer, std::string_view) {
    if (!peer.ours) return;
    Enter([&](net::Time now) { cluster_->OnNodeDown(peer.node, LinkDown::kLost, now); });
    DialLater(peer.node);
  });
  node_.OnMessage(std::string(kMailbox), [this](const DistMessage& message) {
    if (!message.from.ours) return;
    Enter([&](net::Time now) { cluster_->OnFrame(message.from.node, message.bytes, now); });
  });
}

void ClusterHost::Start() {
  started_ = true;
  for (const auto& [node, wanted] : wanted_) Dial(node);
  Tick();
}

void ClusterHost::Stop() {
  Enter([this](net::Time) { cluster_->Stop(); });
}

void ClusterHost::Tick() {
  Enter([this](net::Time now) { cluster_->Tick(now, WallMs()); });
  node_.loop().After(kTickInterval, [this] { Tick(); });
}

template <typename Work>
void ClusterHost::Enter(Work&& work) {
  work(clock_.Now());
  cluster_->Flush();
  TakeEvents();
}

bool ClusterHost::Send(const std::string& node, std::span<const uint8_t> frame) {
  return node_.Send(node, kMailbox, frame) == SendResult::kQueued;
}

void ClusterHost::Want(const std::string& node, bool wanted) {
  if (!wanted) {
    if (auto found = wanted_.find(node); found != wanted_.end()) {
      if (started_) node_.loop().CancelTimer(found->second.again);
      wanted_.erase(found);
    }
    return;
  }
  const bool fresh = wanted_.try_emplace(node).second;
  // The core must not be called back from inside of it.
  if (fresh && started_) node_.Post([this, node] { Dial(node); });
}

void ClusterHost::Dial(const std::string& node) {
  const auto found = wanted_.find(node);
  if (found == wanted_.end() || found->second.dialing) return;
  found->second.dialing = true;
  node_.Connect(node, [this, node](std::expected<void, ConnectError> result) {
    const auto wanted = wanted_.find(node);
    if (wanted == wanted_.end()) return;
    wanted->second.dialing = false;
    if (result) return;
    LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "cluster", "node is not reached",
              {{"node", node}, {"reason", result.error().what}});
    if (failures_.size() >= kFailuresMax) failures_.clear();
    failures_[node] = result.error().what;
    const LinkDown why = result.error().absent ? LinkDown::kAbsent : LinkDown::kLost;
    Enter([&](net::Time now) { cluster_->OnNodeDown(node, why, now); });
    DialLater(node);
  });
}

void ClusterHost::DialLater(const std::string& node) {
  const auto found = wanted_.find(node);
  if (found == wanted_.end()) return;
  Wanted& wanted = found->second;
  node_.loop().CancelTimer(wanted.again);
  // Two nodes that lost each other would else dial at the same moments for ever.
  const auto spread = static_cast<int64_t>(random_.Below(1000));
  wanted.again = node_.loop().After(wanted.pause / 2 + wanted.pause * spread / 2000,
                                    [this, node] { Dial(node); });
  wanted.pause = std::min(2 * wanted.pause, kDialAgainMax);
}

void ClusterHost::Await(uint64_t order, OrderKind kind, std::string target, OrderDone done) {
  waiting_.emplace(order, Waiting{kind, std::move(target), std::move(done)});
  TakeEvents();
}

void ClusterHost::Join(const std::string& target, OrderDone done) {
  Await(cluster_->Join(target), OrderKind::kJoin, target, std::move(done));
}

void ClusterHost::Leave(bool force, OrderDone done) {
  Await(cluster_->Leave(force), OrderKind::kLeave, "", std::move(done));
}

void ClusterHost::Remove(const std::string& target, OrderDone done) {
  Await(cluster_->Remove(target), OrderKind::kRemove, target, std::move(done));
}

// Handlers may enter the core again; what that brings is taken by the outermost call, in order.
void ClusterHost::TakeEvents() {
  if (taking_) return;
  taking_ = true;
  for (auto events = cluster_->TakeEvents(); !events.empty(); events = cluster_->TakeEvents()) {
    for (const ClusterEvent& event : events) {
      Log(event);
      if (event.kind == ClusterEvent::Kind::kOperationDone) {
        auto [first, last] = waiting_.equal_range(event.operation);
        std::vector<Waiting> ended;
        for (auto it = first; it != last; ++it) ended.push_back(std::move(it->second));
        waiting_.erase(first, last);
        for (Waiting& one : ended) {
          std::string detail = event.text;
          const auto failure = failures_.find(one.target);
          if (event.outcome == Outcome::kUnreachable && failure != failures_.end()) {
            detail = failure->second;
          }
          one.done({one.kind, event.outcome, std::move(one.target), std::move(detail)});
        }
      }
      for (const EventHandler& handler : handlers_) handler(event);
    }
  }
  taking_ = false;
}

void ClusterHost::Log(const ClusterEvent& event) const {
  using Kind = ClusterEvent::Kind;
  const auto say = [&](net::LogLevel level, std::string_view message) {
    net::Log(level, "cluster", message, {{"node", event.node}, {"what", event.text}});
  };
  switch (event.kind) {
    case Kind::kNodeUp:
      return say(net::LogLevel::kInfo, "node is up");
    case Kind::kNodeDown:
      return say(net::LogLevel::kWarn, "node is down");
    case Kind::kMemberJoined:
      return say(net::LogLevel::kInfo, "member joined");
    case Kind::kMemberRemoved:
      return say(net::LogLevel::kInfo, "member removed");
    case Kind::kJoined:
      return say(net::LogLevel::kInfo, "joined the cluster");
    case Kind::kStandsAlone:
      return say(net::LogLevel::kWarn, "this node stands alone now");
    case Kind::kIsolated:
      return say(net::LogLevel::kError, "this node is on the minority's side of a split");
    case Kind::kHealed:
      return say(net::LogLevel::kInfo, "the split has healed");
    case Kind::kAlarmRaised:
      return say(net::LogLevel::kWarn, "alarm raised");
    case Kind::kAlarmCleared:
      return say(net::LogLevel::kInfo, "alarm cleared");
    case Kind::kOperationDone:
    case Kind::kConflictLost:
    case Kind::kMessage:
      return;
  }
}

void ClusterHost::WriteMetrics(net::MetricsWriter& out) const {
  const ClusterStatus status = Status();
  out.Gauge("mongooseim_cluster_members", "Members of the cluster.").Add({}, status.members.size());
  out.Gauge("mongooseim_cluster_running", "Members on this node's side, itself included.")
      .Add({}, status.running.size());
  out.Gauge("mongooseim_cluster_isolated", "1 on the minority's side of a split.")
      .Add({}, cluster_->isolated() ? 1 : 0);
  out.Gauge("mongooseim_cluster_alarms", "Alarms that are held.").Add({}, status.alarms.size());
  const ClusterCounters& counters = cluster_->counters();
  out.Counter("mongooseim_cluster_frames_in_total", "Frames from other nodes.")
      .Add({}, counters.frames_in);
  out.Counter("mongooseim_cluster_frames_out_total", "Frames to other nodes.")
      .Add({}, counters.frames_out);
  out.Counter("mongooseim_cluster_frames_malformed_total", "Frames that could not be read.")
      .Add({}, counters.frames_malformed);
  out.Counter("mongooseim_cluster_frames_stale_total", "Frames of another life of a node.")
      .Add({}, counters.frames_stale);
  out.Counter("mongooseim_cluster_sends_refused_total", "Frames that a full link did not take.")
      .Add({}, counters.sends_refused);
  out.Counter("mongooseim_cluster_saves_failed_total", "Member files that could not be written.")
      .Add({}, counters.saves_failed);
}

}  // namespace server
