#include <algorithm>

#include "net/base/text.h"
#include "server/cluster/cluster.h"
#include "server/cluster/status_json.h"

namespace server {

NodeState Cluster::state() const {
  if (stopping_) return NodeState::kStopping;
  const bool joining = std::any_of(operations_.begin(), operations_.end(), [](const Operation& o) {
    return o.kind == Operation::Kind::kJoin && o.step != Operation::Step::kQueued;
  });
  if (joining) return NodeState::kJoining;
  if (isolated_) return NodeState::kIsolated;
  if (settled_) return NodeState::kRunning;
  return joined_ ? NodeState::kJoining : NodeState::kStarting;
}

ClusterStatus Cluster::Status() const {
  ClusterStatus status{.node = self(), .incarnation = incarnation(), .state = state()};
  status.members = file_.view.JoinedNames();
  for (const std::string& name : status.members) {
    (side_.contains(name) ? status.running : status.stopped).push_back(name);
  }
  status.minority = minority_since_.has_value();
  status.ready =
      status.state == NodeState::kRunning && !status.minority &&
      std::all_of(tables_.begin(), tables_.end(), [](const auto& table) { return table->whole(); });
  for (const auto& [alarm, held] : alarms_)
    status.alarms.push_back(alarm.first + ": " + alarm.second);
  return status;
}

// What is wrong now, compared with what was said before.
void Cluster::JudgeAlarms() {
  for (auto& [alarm, held] : alarms_) held = false;
  const auto raise = [this](const std::string& node, std::string text) {
    const auto [it, fresh] = alarms_.try_emplace({node, std::move(text)}, true);
    it->second = true;
    if (fresh) {
      Emit({.kind = ClusterEvent::Kind::kAlarmRaised, .node = node, .text = it->first.second});
    }
  };
  if (unsaved_) raise(self(), "membership is not durable: " + save_error_);
  if (isolated_) {
    raise(self(), "isolated: sees " + std::to_string(side_.size()) + " of " +
                      std::to_string(file_.view.joined_count()) + " members");
  }
  if (file_.view.joined_count() > kMembersMax) {
    raise(self(), "more than " + std::to_string(kMembersMax) + " members: remove some");
  }
  for (const auto& [name, peer] : peers_) {
    if (!peer.refusal.empty()) {
      raise(name, peer.refusal);
      continue;
    }
    if (!file_.view.Joined(name)) continue;
    if (peer.greeted && Foreign(peer)) {
      raise(name,
            "is a member here, but stands in a cluster of its own: join it again or remove it");
    } else if (settled_ && !side_.contains(name) && !peer.stopped && !peer.absent) {
      // Reports tell a broken link from a node that nobody reaches.
      const bool reported =
          !peer.report.node.empty() && now_ - peer.report_at <= options_.timing.silence;
      raise(name,
            reported ? "no link both ways, or out by the rule for partial cuts" : "not reachable");
    }
  }
  std::erase_if(alarms_, [this](const auto& entry) {
    if (entry.second) return false;
    Emit({.kind = ClusterEvent::Kind::kAlarmCleared,
          .node = entry.first.first,
          .text = entry.first.second});
    return true;
  });
}

namespace {

void AppendList(std::string& out, std::string_view key, const std::vector<std::string>& list) {
  out += ",\"";
  out += key;
  out += "\":[";
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out += ',';
    net::AppendJsonString(out, list[i]);
  }
  out += ']';
}

}  // namespace

std::string StatusJson(const ClusterStatus& status, const NodeLoad& load) {
  std::string out = "{\"node\":";
  net::AppendJsonString(out, status.node);
  out += ",\"incarnation\":\"" + std::to_string(status.incarnation) + "\",\"state\":\"";
  // A drain is the shell's doing; the cluster's troubles are worse news.
  const bool draining = (load.draining || load.memory_short) && status.state == NodeState::kRunning;
  out += draining ? "draining" : ToString(status.state);
  out += status.ready && !load.memory_short ? "\",\"ready\":true" : "\",\"ready\":false";
  AppendList(out, "members", status.members);
  AppendList(out, "running", status.running);
  AppendList(out, "stopped", status.stopped);
  std::vector<std::string> alarms = status.alarms;
  if (load.memory_short) alarms.push_back("memory: new sessions are refused until there is some");
  AppendList(out, "alarms", alarms);
  out += ",\"sessions\":" + std::to_string(load.sessions);
  out += ",\"max_sessions\":" + std::to_string(load.max_sessions);
  char number[32];
  std::snprintf(number, sizeof(number), "%.3f", load.load);
  return out + ",\"load\":" + number + "}";
}

}  // namespace server
