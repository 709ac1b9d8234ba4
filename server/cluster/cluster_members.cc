// Cluster's membership: views that come and go, and the orders join, leave and remove.
#include <algorithm>
#include <utility>

#include "net/base/check.h"
#include "server/cluster/cluster.h"

namespace server {
namespace {

constexpr std::string_view kFull =
    "the cluster is full: remove nodes that are gone with remove_from_cluster";

// What a join may not make larger.
bool Full(const MemberView& view) {
  return view.joined_count() > kMembersMax || view.entries().size() > kEntriesMax;
}

}  // namespace

// --- the view
// --------------------------------------------------------------------------------------

std::expected<void, std::string> Cluster::Save(const MemberFile& file) {
  auto saved = storage_.Save(MemberFileText(file));
  if (!saved) {
    ++counters_.saves_failed;
    save_error_ = saved.error();
  }
  return saved;
}

// Makes it ours and tells everybody but `from`.
void Cluster::Adopt(MemberView view, const std::string& from) {
  const MemberView before = std::exchange(file_.view, std::move(view));
  for (const MemberEntry& entry : file_.view.entries()) {
    const bool joined = entry.state == MemberState::kJoined;
    if (entry.name == self() || joined == before.Joined(entry.name)) continue;
    Emit({.kind = joined ? ClusterEvent::Kind::kMemberJoined : ClusterEvent::Kind::kMemberRemoved,
          .node = entry.name});
  }
  view_hash_ = file_.view.Hash();
  UpdateWants();
  TellView(from);
  if (file_.view.lineage() != before.lineage()) TellLineage();
  look_ = true;
}

// What another holds of our cluster. True: ours now holds all of it, durably.
bool Cluster::TakeView(const std::string& from, const MemberView& view) {
  MemberView merged = file_.view;
  if (!merged.Merge(view)) return !unsaved_;
  if (merged.entries().size() > kEntriesReadMax) return false;
  if (!merged.Joined(self())) {
    const uint64_t epoch = merged.Find(self())->epoch;
    file_.view = std::move(merged);
    StandAlone("removed from the cluster by order of another node, heard from " + from +
               " (epoch " + std::to_string(epoch) + ")");
    return true;
  }
  MemberFile file = file_;
  file.view = merged;
  // Others hold it already, so it is taken even when the disk refuses; until it takes it, this node
  // says that it is not durable.
  unsaved_ = !Save(file);
  Adopt(std::move(merged), from);
  return !unsaved_;
}

void Cluster::StandAlone(std::string why) {
  const uint64_t epoch = file_.view.Find(self())->epoch;
  const uint64_t identity = wall_ms_ << 20 | (random_.Next() >> 44);
  // Above the word that removed it: who joins with this node brings it back.
  file_.view = MemberView(self(), identity, std::max(epoch + 1, EpochFloor()));
  file_.shared = false;
  unsaved_ = !Save(file_);
  for (auto& [name, peer] : peers_) peer.report = {};
  view_hash_ = file_.view.Hash();
  UpdateWants();
  TellLineage();
  TakeSide({self()});
  minority_since_.reset();
  look_ = true;
  if (!operations_.empty() && operations_[0].kind == Operation::Kind::kLeave &&
      operations_[0].step == Operation::Step::kTold) {
    Emit({.kind = ClusterEvent::Kind::kStandsAlone, .text = "left the cluster"});
    Finish(Outcome::kDone);
    return;
  }
  Emit({.kind = ClusterEvent::Kind::kStandsAlone, .text = std::move(why)});
}

void Cluster::UpdateWants() {
  std::set<std::string> wanted;
  for (std::string& name : file_.view.JoinedNames()) wanted.insert(std::move(name));
  if (!operations_.empty() && operations_[0].step != Operation::Step::kQueued &&
      operations_[0].kind == Operation::Kind::kJoin) {
    wanted.insert(operations_[0].target);
  }
  wanted.erase(self());
  for (const std::string& name : wanted) peers_.try_emplace(name);
  for (auto& [name, peer] : peers_) {
    const bool want = wanted.contains(name);
    if (want == peer.wanted) continue;
    peer.wanted = want;
    transport_.Want(name, want);
  }
}

void Cluster::TellView(const std::string& except) {
  std::vector<std::string> nodes;
  for (const auto& [name, peer] : peers_) {
    if (name == except || !peer.greeted || Foreign(peer)) continue;
    // A node that was removed just now hears it too.
    if (file_.view.Find(name) != nullptr) nodes.push_back(name);
  }
  SendToAll(nodes, ViewFrame{0, file_.view});
}

// Strangers too: who was of another cluster may be of ours now.
void Cluster::TellLineage() {
  for (const auto& [name, peer] : peers_) {
    if (peer.greeted) SendHello(name, false);
  }
}

// Somebody has met a later life of ours: this node lost its disk, and its clock was behind.
void Cluster::RaiseIncarnation(uint64_t known) {
  file_.incarnation = known + 1;
  unsaved_ = !Save(file_) || unsaved_;
  for (auto& table : tables_) table->SetIncarnation(incarnation());
  std::vector<std::string> linked;
  for (const auto& [name, peer] : peers_) {
    if (peer.link) linked.push_back(name);
  }
  for (const std::string& name : linked) SendHello(name, true);
}

void Cluster::OnView(const std::string& from, const ViewFrame& frame) {
  peers_[from].lineage = frame.view.lineage();
  look_ = true;
  if (!file_.view.Related(frame.view)) {
    if (frame.operation != 0) {
      Send(from, Refused{frame.operation, "it stands in another cluster now"});
    }
    return;
  }
  const bool durable = TakeView(from, frame.view);
  if (frame.operation != 0) {
    if (durable) {
      Send(from, ViewAck{frame.operation});
    } else {
      Send(from, Refused{frame.operation, save_error_.empty() ? kFull : save_error_});
    }
  }
  const bool same = file_.view.Related(frame.view);
  if (same && !file_.view.Joined(from)) {
    Send(from, ViewFrame{0, file_.view});
  } else if (same && Mate(from) && peers_[from].stamp == 0) {
    SendHeartbeat(from);  // just joined: it is seen the sooner
  }
}

// --- joining, at the node that is asked
// ------------------------------------------------------------

// An offer binds nobody: the joiner's disk decides, and its word or its next Hello tells us.
void Cluster::OnJoinRequest(const std::string& from, const JoinRequest& request) {
  const auto refuse = [&](std::string_view why) { Send(from, Refused{request.operation, why}); };
  if (stopping_) return refuse("it is stopping");
  if (!request.view.Joined(from)) return refuse("the request does not hold its own node");
  MemberView offer = file_.view.Joining(request.view, EpochFloor());
  if (Full(offer)) return refuse(kFull);
  if (!file_.shared) {
    // From now on our identity may live on elsewhere.
    MemberFile file = file_;
    file.shared = true;
    if (auto saved = Save(file); !saved) return refuse(saved.error());
    file_.shared = true;
  }
  Send(from, JoinOffer{request.operation, std::move(offer)});
}

// --- orders
// ----------------------------------------------------------------------------------------

uint64_t Cluster::Join(const std::string& target) {
  return Order({.kind = Operation::Kind::kJoin, .target = target});
}
uint64_t Cluster::Leave(bool force) {
  return Order({.kind = Operation::Kind::kLeave, .force = force});
}
uint64_t Cluster::Remove(const std::string& target) {
  if (target == self()) return Leave(false);
  return Order({.kind = Operation::Kind::kRemove, .target = target});
}

uint64_t Cluster::Order(Operation operation) {
  const uint64_t id = next_operation_++;
  operation.ids = {id};
  for (Operation& other : operations_) {
    if (other.kind != operation.kind || other.target != operation.target ||
        other.force != operation.force || other.ids.size() >= kOperationsMax) {
      continue;
    }
    other.ids.push_back(id);
    return id;
  }
  if (operations_.size() >= kOperationsMax) {
    Emit({.kind = ClusterEvent::Kind::kOperationDone,
          .text = "too many orders wait for their turn",
          .operation = id,
          .outcome = Outcome::kFailed});
    return id;
  }
  operations_.push_back(std::move(operation));
  RunOperations();
  Look();
  return id;
}

void Cluster::RunOperations() {
  while (!operations_.empty()) {
    Operation& operation = operations_[0];
    if (operation.step == Operation::Step::kQueued) {
      operation.deadline = now_ + options_.timing.operation;
      const size_t waiting = operations_.size();
      switch (operation.kind) {
        case Operation::Kind::kJoin:
          BeginJoin(operation);
          break;
        case Operation::Kind::kLeave:
          BeginLeave(operation);
          break;
        case Operation::Kind::kRemove:
          BeginRemove(operation);
          break;
      }
      if (operations_.size() < waiting) continue;  // done at once
    }
    if (operations_[0].step == Operation::Step::kConnecting) AskToJoin(operations_[0]);
    if (now_ < operations_[0].deadline) return;
    OperationTimedOut(operations_[0]);
  }
}

void Cluster::Finish(Outcome outcome, std::string detail) {
  const Operation done = std::move(operations_[0]);
  operations_.pop_front();
  for (uint64_t id : done.ids) {
    Emit({.kind = ClusterEvent::Kind::kOperationDone,
          .node = done.target,
          .text = detail,
          .operation = id,
          .outcome = outcome});
  }
  UpdateWants();
}

Cluster::Operation* Cluster::Current(Operation::Kind kind, Operation::Step step, uint64_t id) {
  if (operations_.empty()) return nullptr;
  Operation& operation = operations_[0];
  return operation.kind == kind && operation.step == step && operation.ids[0] == id ? &operation
                                                                                    : nullptr;
}

void Cluster::OperationTimedOut(Operation& operation) {
  using Step = Operation::Step;
  switch (operation.kind) {
    case Operation::Kind::kJoin:
      if (operation.step == Step::kTold) {
        // It is durable here; the target hears it at the next contact.
        Finish(Outcome::kDone);
      } else if (operation.step == Step::kAsked) {
        Finish(Outcome::kFailed, "the node " + operation.target +
                                     " did not answer in time; nothing was changed, try again");
      } else {
        Finish(Outcome::kUnreachable);
      }
      return;
    case Operation::Kind::kLeave: {
      if (operation.force) {
        StandAlone("");
        return;
      }
      std::string down;
      for (const std::string& name : file_.view.JoinedNames()) {
        if (name != self()) down += (down.empty() ? "" : ", ") + name;
      }
      Finish(Outcome::kPeersDown, down);
      return;
    }
    case Operation::Kind::kRemove:
      Finish(Outcome::kDoneDead);
      return;
  }
}

void Cluster::BeginJoin(Operation& operation) {
  if (!IsNodeName(operation.target)) {
    Finish(Outcome::kFailed, "a node's name is NAME@HOST");
    return;
  }
  // A member that lost its disk stands alone, and either may join the other again.
  const auto it = peers_.find(operation.target);
  const bool astray = it != peers_.end() && it->second.greeted && Foreign(it->second);
  if (operation.target == self() || (file_.view.Joined(operation.target) && !astray)) {
    Finish(Outcome::kAlreadyJoined);
    return;
  }
  operation.step = Operation::Step::kConnecting;
  // An old absence must not end it before it was dialled.
  peers_[operation.target].absent = false;
  UpdateWants();
}

void Cluster::AskToJoin(Operation& operation) {
  const auto it = peers_.find(operation.target);
  if (it == peers_.end() || !it->second.greeted) return;
  if (Send(operation.target, JoinRequest{operation.ids[0], file_.view})) {
    operation.step = Operation::Step::kAsked;
  }
}

void Cluster::OnJoinOffer(const std::string& from, const JoinOffer& offer) {
  Operation* operation = Current(Operation::Kind::kJoin, Operation::Step::kAsked, offer.operation);
  if (operation == nullptr || operation->target != from) return;
  // Others may have joined us since we asked.
  MemberView joined = offer.view.Joining(file_.view, EpochFloor());
  if (Full(joined)) return Finish(Outcome::kFailed, std::string(kFull));
  if (!joined.Joined(from) || !joined.Joined(self())) {
    return Finish(Outcome::kFailed, "the offer of " + from + " makes no sense");
  }
  if (!file_.shared && file_.view.joined_count() == 1) joined.TakeLineageOf(offer.view);
  MemberFile file = file_;
  file.view = joined;
  file.shared = true;
  if (auto saved = Save(file); !saved) return Finish(Outcome::kFailed, saved.error());
  // From here on it is done, whatever happens to the link.
  file_.shared = true;
  settled_ = false;
  joined_ = true;
  settle_from_ = now_;
  peers_[from].lineage = offer.view.lineage();
  operation->step = Operation::Step::kTold;
  operation->deadline = now_ + options_.timing.operation;
  Emit({.kind = ClusterEvent::Kind::kJoined, .node = from});
  Adopt(std::move(joined), from);
  Send(from, ViewFrame{operations_[0].ids[0], file_.view});
  SendHeartbeat(from);
}

void Cluster::BeginLeave(Operation& operation) {
  if (file_.view.joined_count() <= 1) return Finish(Outcome::kNotInCluster);
  MemberView without = file_.view;
  without.Set(self(), MemberState::kRemoved, EpochFloor());
  std::vector<std::string> nodes;
  for (const auto& [name, peer] : peers_) {
    if (Mate(name)) nodes.push_back(name);
  }
  operation.step = Operation::Step::kTold;
  const size_t missed = SendToAll(nodes, ViewFrame{operation.ids[0], without}).size();
  // Nobody is there to be told: said at once, or done at once.
  if (missed == nodes.size()) operation.deadline = now_;
}

void Cluster::BeginRemove(Operation& operation) {
  const std::string target = operation.target;
  if (!file_.view.Joined(target)) return Finish(Outcome::kUnknownNode);
  const bool there = peers_[target].greeted && !Foreign(peers_[target]);
  MemberFile file = file_;
  file.view.Set(target, MemberState::kRemoved, EpochFloor());
  if (auto saved = Save(file); !saved) return Finish(Outcome::kFailed, saved.error());
  operation.step = Operation::Step::kTold;
  const uint64_t id = operation.ids[0];
  Adopt(std::move(file.view), target);
  if (!there || !Send(target, ViewFrame{id, file_.view})) return Finish(Outcome::kDoneDead);
}

void Cluster::OnViewAck(const std::string& from, const ViewAck& ack) {
  using Kind = Operation::Kind;
  using Step = Operation::Step;
  if (Operation* join = Current(Kind::kJoin, Step::kTold, ack.operation)) {
    if (join->target == from) Finish(Outcome::kDone);
  } else if (Current(Kind::kLeave, Step::kTold, ack.operation) != nullptr) {
    StandAlone("");  // one holds it durably and tells the rest
  } else if (Operation* remove = Current(Kind::kRemove, Step::kTold, ack.operation)) {
    if (remove->target == from) Finish(Outcome::kDone);
  }
  RunOperations();
}

void Cluster::OnRefused(const std::string& from, const Refused& refused) {
  if (refused.operation == 0 || operations_.empty()) return;
  Operation& operation = operations_[0];
  if (operation.ids[0] != refused.operation || operation.target != from) return;
  if (operation.kind != Operation::Kind::kJoin) return;
  if (operation.step == Operation::Step::kAsked) {
    Finish(Outcome::kFailed, "the node " + from + " refused: " + std::string(refused.reason));
  } else if (operation.step == Operation::Step::kTold) {
    Finish(Outcome::kDone);
  }
  RunOperations();
}

}  // namespace server
