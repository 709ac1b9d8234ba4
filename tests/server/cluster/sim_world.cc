#include "tests/server/cluster/sim_world.h"

#include <algorithm>
#include <utility>

#include "net/base/check.h"

namespace sim {

using server::LinkDown;

bool Node::Send(const std::string& node, std::span<const uint8_t> frame) {
  const auto it = world_.index_.find(node);
  if (it == world_.index_.end()) return false;
  if (world_.way(it->second, index_).epoch == 0) return false;
  if (world_.random_.Unit() < world_.options_.send_refused) return false;
  world_.Forward(index_, it->second, {frame.begin(), frame.end()});
  return true;
}

void Node::Want(const std::string& node, bool want) {
  const auto it = world_.index_.find(node);
  if (it == world_.index_.end()) return;
  wanted[it->second] = want;
  world_.way(it->second, index_).told_absent = false;
}

std::optional<server::Outcome> Node::OutcomeOf(uint64_t operation) const {
  for (const server::ClusterEvent& event : events) {
    if (event.kind == server::ClusterEvent::Kind::kOperationDone && event.operation == operation) {
      return event.outcome;
    }
  }
  return std::nullopt;
}

bool Node::Saw(server::ClusterEvent::Kind kind, const std::string& node) const {
  return std::any_of(events.begin(), events.end(), [&](const server::ClusterEvent& event) {
    return event.kind == kind && (node.empty() || event.node == node);
  });
}

World::World(WorldOptions options) : options_(options), random_(options.seed) {
  const size_t n = options.nodes;
  cut_.assign(n, std::vector<bool>(n, false));
  ways_.assign(n, std::vector<Way>(n));
  lives_.assign(n, 0);
  backlog_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    std::string name = "mongooseim@n" + std::to_string(i);
    index_[name] = i;
    nodes_.push_back(std::make_unique<Node>(*this, i, std::move(name)));
    nodes_.back()->wanted.assign(n, false);
  }
}

void World::Push(Event event) {
  event.order = next_order_++;
  events_.push(std::move(event));
}

void World::Start(size_t i) {
  Node& node = *nodes_[i];
  CHECK(!node.alive());
  node.events.clear();
  node.notes.clear();
  node.paused = false;
  node.wanted.assign(nodes_.size(), false);
  for (Way& way : ways_[i]) way = {};
  server::ClusterOptions options{.node = node.name,
                                 .timing = options_.timing,
                                 .seed = random_.Next(),
                                 .table_hash_key = {random_.Next(), random_.Next()},
                                 .tables = {{.id = kSessions, .name = "session", .unique = true},
                                            {.id = kNotes, .name = "note"}}};
  auto opened = server::Cluster::Open(std::move(options), node, node.disk, now_, wall_ms());
  CHECK(opened.has_value());
  node.cluster = std::move(*opened);
  Push({now_ + net::Duration(random_.Below(200'000'000)),
        0,
        Event::Kind::kTick,
        i,
        i,
        ++lives_[i],
        {}});
}

void World::Kill(size_t i) {
  nodes_[i]->cluster.reset();
  nodes_[i]->paused = false;
  backlog_[i].clear();
  CloseLinks(i);
}

void World::Stop(size_t i) {
  nodes_[i]->cluster->Stop();
  Kill(i);
}

// The kernel tells the others, as far as it can reach them.
void World::CloseLinks(size_t i) {
  for (size_t other = 0; other < size(); ++other) {
    Way& theirs = way(i, other);
    if (theirs.epoch != 0 && !cut_[i][other]) {
      // Behind what was sent before.
      const net::Time at = std::max(now_ + milliseconds(1), theirs.last_at + milliseconds(1));
      Push({at, 0, Event::Kind::kDown, other, i, theirs.epoch, {}});
    }
    way(other, i).epoch = 0;
    way(other, i).held.clear();
  }
}

void World::Pause(size_t i, net::Duration how_long) {
  Node& node = *nodes_[i];
  if (!node.alive() || node.paused) return;
  node.paused = true;
  node.paused_until = now_ + how_long;
  Push({node.paused_until, 0, Event::Kind::kResume, i, i, lives_[i], {}});
}

void World::Heal(size_t from, size_t to) {
  if (!cut_[from][to]) return;
  cut_[from][to] = false;
  for (auto& frame : std::exchange(way(from, to).held, {})) Forward(from, to, std::move(frame));
  // An end that gave up meanwhile lets the other know.
  if (way(from, to).epoch != 0 && way(to, from).epoch != way(from, to).epoch) {
    Push({way(from, to).last_at + milliseconds(1),
          0,
          Event::Kind::kDown,
          to,
          from,
          way(from, to).epoch,
          {}});
  }
}

void World::HealAll() {
  for (size_t a = 0; a < size(); ++a) {
    for (size_t b = 0; b < size(); ++b) Heal(a, b);
  }
}

void World::Break(size_t a, size_t b) {
  DropEnd(a, b, LinkDown::kLost);
  DropEnd(b, a, LinkDown::kLost);
}

void World::Forward(size_t from, size_t to, std::vector<uint8_t> frame) {
  Way& theirs = way(from, to);
  if (cut_[from][to]) {
    theirs.held.push_back(std::move(frame));
    return;
  }
  const uint64_t epoch = way(to, from).epoch;  // of the sender's end
  theirs.last_at =
      std::max(theirs.last_at, now_ + net::Duration(100'000 + random_.Below(1'900'000)));
  ++frames_;
  Push({theirs.last_at, 0, Event::Kind::kFrame, to, from, epoch, std::move(frame)});
}

void World::DropEnd(size_t at, size_t other, LinkDown why) {
  Way& mine = way(other, at);
  if (mine.epoch == 0) return;
  const uint64_t epoch = std::exchange(mine.epoch, 0);
  mine.held.clear();
  way(at, other).held.clear();
  Node& node = *nodes_[at];
  if (node.alive()) {
    node.cluster->OnNodeDown(nodes_[other]->name, why, now_);
    Collect(node);
  }
  if (way(at, other).epoch == epoch && !cut_[at][other]) {
    Push({std::max(now_, way(at, other).last_at) + milliseconds(1),
          0,
          Event::Kind::kDown,
          other,
          at,
          epoch,
          {}});
  }
}

void World::Dial(size_t from, size_t to) {
  Way& mine = way(to, from);
  Node& there = *nodes_[to];
  if (!Whole(from, to)) {
    if (mine.told_absent) nodes_[from]->cluster->OnNodeDown(there.name, LinkDown::kLost, now_);
    mine.told_absent = false;
    return;
  }
  if (!there.alive()) {
    if (!mine.told_absent) nodes_[from]->cluster->OnNodeDown(there.name, LinkDown::kAbsent, now_);
    mine.told_absent = true;
    return;
  }
  if (there.paused) return;  // the handshake is not answered
  mine.told_absent = false;
  DropEnd(to, from, LinkDown::kLost);  // it proved itself anew
  const uint64_t epoch = next_epoch_++;
  for (const auto& [at, other] : {std::pair(from, to), std::pair(to, from)}) {
    Way& end = way(other, at);
    end.epoch = epoch;
    end.sound_at = now_;
    Push({now_ + milliseconds(1), 0, Event::Kind::kUp, at, other, epoch, {}});
  }
}

void World::TickNode(size_t i) {
  Node& node = *nodes_[i];
  node.cluster->Tick(now_, wall_ms());
  for (size_t other = 0; other < size(); ++other) {
    if (other == i) continue;
    Way& mine = way(other, i);
    if (mine.epoch != 0) {
      const Node& there = *nodes_[other];
      if (!cut_[other][i] && there.alive() && !there.paused && way(i, other).epoch == mine.epoch) {
        mine.sound_at = now_;
      } else if (now_ - mine.sound_at > kLinkSilence) {
        DropEnd(i, other, LinkDown::kLost);
      }
    } else if (node.wanted[other]) {
      Dial(i, other);
    }
  }
}

void World::Handle(Event& event) {
  Node& node = *nodes_[event.node];
  if (!node.alive()) return;
  const std::string& from = nodes_[event.from]->name;
  switch (event.kind) {
    case Event::Kind::kTick:
      TickNode(event.node);
      break;
    case Event::Kind::kFrame:
      if (way(event.from, event.node).epoch != event.epoch) return;
      node.cluster->OnFrame(from, event.frame, now_);
      break;
    case Event::Kind::kUp:
      if (way(event.from, event.node).epoch != event.epoch) return;
      node.cluster->OnNodeUp(from, now_);
      break;
    case Event::Kind::kDown:
      if (way(event.from, event.node).epoch != event.epoch) return;
      DropEnd(event.node, event.from, LinkDown::kLost);
      break;
    case Event::Kind::kResume:
      break;
  }
  Collect(node);
}

void World::Deliver(Event event) {
  Node& node = *nodes_[event.node];
  if (event.kind == Event::Kind::kTick) {
    if (lives_[event.node] != event.epoch || !node.alive()) return;
    if (!node.paused) Handle(event);
    event.at = now_ + kTickEvery;
    Push(std::move(event));
    return;
  }
  if (event.kind == Event::Kind::kResume) {
    if (lives_[event.node] != event.epoch || !node.alive() || !node.paused) return;
    node.paused = false;
    // The loop wakes up with its timer or with what lies in its sockets.
    if (random_.Below(2) == 0) TickNode(event.node);
    for (Event& late : std::exchange(backlog_[event.node], {})) Handle(late);
    return;
  }
  if (node.paused) {
    backlog_[event.node].push_back(std::move(event));
    return;
  }
  Handle(event);
}

void World::RunFor(net::Duration how_long) {
  const net::Time end = now_ + how_long;
  while (!events_.empty() && events_.top().at <= end) {
    Event event = std::move(const_cast<Event&>(events_.top()));
    events_.pop();
    now_ = std::max(now_, event.at);
    Deliver(std::move(event));
  }
  now_ = end;
}

void World::Collect(Node& node) {
  if (!node.alive()) return;
  for (auto& event : node.cluster->TakeEvents()) node.events.push_back(std::move(event));
}

std::string World::Picture() const {
  std::string out;
  for (const auto& node : nodes_) {
    if (!node->alive()) continue;
    const server::ClusterStatus status = node->cluster->Status();
    out += node->name + " " + std::string(ToString(status.state)) + " sees";
    for (const std::string& name : status.running) out += " " + name;
    for (const std::string& alarm : status.alarms) out += "\n  alarm " + alarm;
    out += "\n" + *node->disk.bytes;
  }
  return out;
}

std::string World::Difference() {
  Node* first = nullptr;
  std::map<std::string, std::string> owners;  // of the unique keys
  std::map<std::string, std::map<std::string, std::string>> notes;
  for (auto& node : nodes_) {
    if (!node->alive()) return node->name + " is not alive";
    if (first == nullptr) first = node.get();
    node->table(kNotes).ForEachRecord([&](const server::RecordView& record) {
      if (record.own) notes[node->name][std::string(record.key)] = record.value;
    });
    if (notes[node->name] != node->notes) return node->name + " has lost notes of its own";
    std::string twice;
    node->table(kSessions).ForEachRecord([&](const server::RecordView& record) {
      if (!record.own) return;
      if (!owners.emplace(record.key, node->name).second) twice = record.key;
    });
    if (!twice.empty()) return "two nodes have the session " + twice;
  }
  for (auto& node : nodes_) {
    server::Cluster& cluster = *node->cluster;
    const server::ClusterStatus status = cluster.Status();
    if (cluster.view() != first->cluster->view()) return node->name + " has another view";
    if (status.members.size() != size()) return node->name + " has not all members";
    if (status.running != status.members) return node->name + " does not see all";
    if (status.state != server::NodeState::kRunning) {
      return node->name + " is " + std::string(ToString(status.state));
    }
    if (!status.ready) return node->name + " is not ready";
    if (!status.alarms.empty()) return node->name + ": " + status.alarms[0];
    for (uint32_t id : {kSessions, kNotes}) {
      server::ReplicatedTable& table = node->table(id);
      if (table.digest() != first->table(id).digest()) {
        return node->name + " has another digest of table " + std::to_string(id);
      }
      std::map<std::string, std::map<std::string, std::string>> all;
      size_t count = 0;
      table.ForEachRecord([&](const server::RecordView& record) {
        ++count;
        if (id == kNotes) all[std::string(record.owner)][std::string(record.key)] = record.value;
        if (id == kSessions && owners[std::string(record.key)] != record.owner)
          count = SIZE_MAX / 2;
      });
      if (count != table.size()) return node->name + " counts wrong in table " + std::to_string(id);
      if (id == kSessions && count != owners.size()) return node->name + " lacks sessions";
      for (const auto& [owner, of_owner] : notes) {
        if (id == kNotes && all[owner] != of_owner) return node->name + " lacks notes of " + owner;
      }
    }
  }
  return "";
}

}  // namespace sim
