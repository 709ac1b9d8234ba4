#include "server/cluster/cluster.h"

#include <algorithm>
#include <utility>

#include "net/base/check.h"

namespace server {
namespace {

constexpr net::Duration kHelloGap = std::chrono::milliseconds(100);

uint64_t StampOf(net::Time time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

net::Duration AgeOf(uint64_t stamp, net::Time now) {
  return net::Duration(static_cast<int64_t>(StampOf(now) - stamp));
}

}  // namespace

std::string_view ToString(NodeState state) {
  switch (state) {
    case NodeState::kStarting:
      return "starting";
    case NodeState::kRunning:
      return "running";
    case NodeState::kJoining:
      return "joining";
    case NodeState::kIsolated:
      return "isolated";
    case NodeState::kStopping:
      return "stopping";
  }
  return "";
}

std::expected<std::unique_ptr<Cluster>, std::string> Cluster::Open(ClusterOptions options,
                                                                   Transport& transport,
                                                                   Storage& storage, net::Time now,
                                                                   uint64_t wall_ms) {
  CHECK(IsNodeName(options.node) && options.tables.size() <= kTablesMax);
  auto loaded = storage.Load();
  if (!loaded) return std::unexpected(loaded.error());
  MemberFile file;
  if (*loaded) {
    auto parsed = ParseMemberFile(**loaded, storage.Name());
    if (!parsed) return std::unexpected(parsed.error());
    if (parsed->node != options.node) {
      return std::unexpected(storage.Name() + ":2: belongs to the node " + parsed->node +
                             ", and this one is " + options.node +
                             "; give each node a data folder of its own, or take the name back");
    }
    file = std::move(*parsed);
  } else {
    file.node = options.node;
    net::FastRandom random(options.seed);
    file.view = MemberView(options.node, wall_ms << 20 | (random.Next() >> 44), wall_ms / 1000 + 1);
  }
  file.incarnation = std::max(file.incarnation + 1, wall_ms);
  if (auto saved = storage.Save(MemberFileText(file)); !saved) {
    return std::unexpected(saved.error());
  }
  return std::unique_ptr<Cluster>(
      new Cluster(std::move(options), transport, storage, std::move(file), now, wall_ms));
}

Cluster::Cluster(ClusterOptions options, Transport& transport, Storage& storage, MemberFile file,
                 net::Time now, uint64_t wall_ms)
    : options_(std::move(options)),
      transport_(transport),
      storage_(storage),
      random_(options_.seed ^ file.incarnation),
      now_(now),
      wall_ms_(wall_ms),
      settle_from_(now),
      file_(std::move(file)) {
  for (const TableOptions& table : options_.tables) {
    TableLink& link = *this;
    tables_.push_back(std::make_unique<ReplicatedTable>(
        table, options_.timing.table, self(), incarnation(), options_.table_hash_key, link));
  }
  side_.insert(self());
  view_hash_ = file_.view.Hash();
  UpdateWants();
}

// --- links
// -----------------------------------------------------------------------------------------

// A node that was paused looks around before it does anything else.
void Cluster::Arrive(net::Time now) {
  const bool paused = now - now_ > Lease();
  now_ = now;
  if (!paused) return;
  look_ = true;
  Look();
}

// An echo is as old as our stamp in it, and the other counts from its own: two heartbeats lie
// between at most. So this node stops to trust an echo before the other stops to see us.
net::Duration Cluster::Lease() const {
  return options_.timing.silence - 2 * options_.timing.heartbeat;
}

// So much later than one node another notices that a third is gone: the third's last heartbeat may
// have come to it alone.
net::Duration Cluster::SightLag() const { return 2 * options_.timing.heartbeat; }

void Cluster::OnNodeUp(const std::string& node, net::Time now) {
  Arrive(now);
  if (!IsNodeName(node) || node == self()) return;
  Peer& peer = peers_[node];
  peer.link = true;
  peer.greeted = false;
  peer.absent = false;
  peer.stopped = false;
  if (!peer.unsure_since) peer.unsure_since = now;
  for (auto& table : tables_) table->LinkDown(node);
  SendHello(node, true);
}

void Cluster::OnNodeDown(const std::string& node, LinkDown why, net::Time now) {
  Arrive(now);
  const auto it = peers_.find(node);
  if (it == peers_.end()) return;
  Peer& peer = it->second;
  if (peer.link || !peer.unsure_since) peer.unsure_since = now;
  peer.link = false;
  peer.greeted = false;
  peer.absent = why == LinkDown::kAbsent;
  if (peer.absent) peer.echo = 0;  // no grace: there is nothing to come back
  for (auto& table : tables_) table->LinkDown(node);
  for (Operation& operation : operations_) {
    if (operation.target != node || operation.kind != Operation::Kind::kJoin) continue;
    // An offer binds nobody, so it is asked for again.
    if (operation.step == Operation::Step::kAsked) operation.step = Operation::Step::kConnecting;
    if (peer.absent && operation.step == Operation::Step::kConnecting) operation.deadline = now;
  }
  look_ = true;
  RunOperations();
  Look();
}

bool Cluster::Send(const std::string& node, const FrameBody& body) {
  return SendToAll({node}, body).empty();
}

std::vector<std::string> Cluster::SendToAll(const std::vector<std::string>& nodes,
                                            const FrameBody& body) {
  std::vector<std::string> missed;
  std::vector<uint8_t> frame;
  for (const std::string& node : nodes) {
    const auto it = peers_.find(node);
    if (it == peers_.end() || !it->second.greeted) {
      missed.push_back(node);
      continue;
    }
    if (frame.empty()) frame = EncodeFrame({.from_incarnation = incarnation()}, body);
    SetReceiver(frame, it->second.incarnation);
    ++counters_.frames_out;
    if (transport_.Send(node, frame)) continue;
    ++counters_.sends_refused;
    missed.push_back(node);
  }
  return missed;
}

void Cluster::SendHello(const std::string& node, bool answer) {
  Peer& peer = peers_[node];
  if (!peer.link) return;
  peer.hello_at = now_;
  const ContentVersions& content = options_.content;
  const Hello hello{.features = uint64_t{content.oldest} << 8U | content.newest,
                    .answer = answer,
                    .known = peer.incarnation,
                    .view = file_.view};
  ++counters_.frames_out;
  transport_.Send(node, EncodeFrame({.from_incarnation = incarnation()}, hello));
}

bool Cluster::Mate(const std::string& node) const {
  const auto it = peers_.find(node);
  return it != peers_.end() && it->second.greeted && !Foreign(it->second) &&
         file_.view.Joined(node);
}

// --- frames
// ----------------------------------------------------------------------------------------

void Cluster::OnFrame(const std::string& from, std::span<const uint8_t> bytes, net::Time now) {
  Arrive(now);
  ++counters_.frames_in;
  const auto it = peers_.find(from);
  if (it == peers_.end() || !it->second.link) return;
  const auto frame = DecodeFrame(bytes);
  if (!frame) {
    ++counters_.frames_malformed;
    return;
  }
  if (const auto* hello = std::get_if<Hello>(&frame->body)) {
    OnHello(from, frame->header, *hello);
  } else if (!it->second.greeted || frame->header.from_incarnation != it->second.incarnation ||
             frame->header.to_incarnation != incarnation()) {
    ++counters_.frames_stale;
    if (now - it->second.hello_at >= kHelloGap) SendHello(from, true);
  } else {
    Dispatch(from, frame->body);
  }
  Look();
}

namespace {

std::string Speaks(unsigned their_oldest, unsigned their_newest, unsigned oldest, unsigned newest,
                   std::string_view what) {
  if (their_oldest <= newest && their_newest >= oldest) return {};
  return "speaks version " + std::to_string(their_oldest) + " to " + std::to_string(their_newest) +
         " of " + std::string(what) + ", this node " + std::to_string(oldest) + " to " +
         std::to_string(newest) + ": upgrade the older one";
}

ContentVersions ContentOf(const Hello& hello) {
  const auto version = [&](unsigned shift) {
    return std::max<uint8_t>(static_cast<uint8_t>(hello.features >> shift), 1);
  };
  return {.oldest = version(8), .newest = version(0)};
}

// Why nothing can be said to that node; "": it can.
std::string Incompatible(const Hello& hello, const ContentVersions& content) {
  std::string why =
      Speaks(hello.version_min, hello.version_max, kFrameVersionMin, kFrameVersion, "the links");
  if (!why.empty()) return why;
  const ContentVersions theirs = ContentOf(hello);
  return Speaks(theirs.oldest, theirs.newest, content.oldest, content.newest,
                "what sessions say to each other");
}

}  // namespace

void Cluster::OnHello(const std::string& from, const FrameHeader& header, const Hello& hello) {
  Peer& peer = peers_[from];
  peer.refusal = Incompatible(hello, options_.content);
  if (!peer.refusal.empty()) {
    look_ = true;
    return;
  }
  if (hello.known > incarnation()) RaiseIncarnation(hello.known);
  if (header.from_incarnation < peer.incarnation) {
    // A life before the one we know: it lost its disk and its clock. It learns of it by our Hello.
    SendHello(from, true);
    return;
  }
  if (header.from_incarnation != peer.incarnation) {
    peer.incarnation = header.from_incarnation;
    peer.echo = 0;
    peer.stamp = 0;
    peer.report = {};
    for (auto& table : tables_) table->LinkDown(from);
  }
  const bool fresh = !peer.greeted;
  peer.greeted = true;
  peer.content = std::min(ContentOf(hello).newest, options_.content.newest);
  peer.unsure_since.reset();
  peer.lineage = hello.view.lineage();
  look_ = true;
  if (hello.answer) SendHello(from, false);
  if (!Foreign(peer)) {
    TakeView(from, hello.view);
    // It finds out that it was removed.
    if (!file_.view.Joined(from) && file_.view.Related(hello.view)) {
      Send(from, ViewFrame{0, file_.view});
    }
  }
  RunOperations();
  if (!Mate(from)) return;
  SendHeartbeat(from);
  if (fresh && peer.in_side == peer.incarnation) {
    for (auto& table : tables_) table->Refollow(from, now_);
  }
}

void Cluster::Dispatch(const std::string& from, const FrameBody& body) {
  const auto with_table = [this](uint32_t id, auto&& call) {
    if (ReplicatedTable* found = table(id)) call(*found);
  };
  std::visit(
      [&](const auto& frame) {
        using T = std::decay_t<decltype(frame)>;
        if constexpr (std::is_same_v<T, Heartbeat>) {
          OnHeartbeat(from, frame);
        } else if constexpr (std::is_same_v<T, ViewFrame>) {
          OnView(from, frame);
        } else if constexpr (std::is_same_v<T, ViewAck>) {
          OnViewAck(from, frame);
        } else if constexpr (std::is_same_v<T, JoinRequest>) {
          OnJoinRequest(from, frame);
        } else if constexpr (std::is_same_v<T, JoinOffer>) {
          OnJoinOffer(from, frame);
        } else if constexpr (std::is_same_v<T, Refused>) {
          OnRefused(from, frame);
        } else if constexpr (std::is_same_v<T, Bye>) {
          peers_[from].stopped = true;
          look_ = true;
        } else if constexpr (std::is_same_v<T, SyncRequest>) {
          if (Mate(from)) with_table(frame.table, [&](auto& t) { t.OnSyncRequest(from, frame); });
        } else if constexpr (std::is_same_v<T, SyncAck>) {
          if (Mate(from)) with_table(frame.table, [&](auto& t) { t.OnSyncAck(from, frame); });
        } else if constexpr (std::is_same_v<T, SyncChunk>) {
          if (Mate(from))
            with_table(frame.table, [&](auto& t) { t.OnSyncChunk(from, frame, now_); });
        } else if constexpr (std::is_same_v<T, Batch>) {
          if (Mate(from)) with_table(frame.table, [&](auto& t) { t.OnBatch(from, frame, now_); });
        } else if constexpr (std::is_same_v<T, Message>) {
          if (Mate(from)) {
            Emit({.kind = ClusterEvent::Kind::kMessage,
                  .node = from,
                  .table = frame.channel,
                  .bytes = {frame.bytes.begin(), frame.bytes.end()}});
          }
        }
      },
      body);
}

bool Cluster::SendMessage(const std::string& node, uint32_t channel, std::span<const uint8_t> bytes,
                          net::Time now) {
  if (bytes.size() > kMessageBytesMax || node == self() || !MayRoute(node, now)) return false;
  return Send(node, Message{channel, bytes});
}

uint8_t Cluster::ContentVersion(std::string_view node) const {
  const auto it = peers_.find(node);
  return it == peers_.end() ? options_.content.oldest : it->second.content;
}

// --- heartbeats and reports
// ------------------------------------------------------------------------

void Cluster::SendHeartbeat(const std::string& node) {
  const Peer& peer = peers_[node];
  Heartbeat beat{.stamp = StampOf(now_), .echo = peer.stamp, .view_hash = view_hash_};
  beat.reports.push_back(OwnReport());
  beat.reports[0].sequence = ++report_sequence_;
  // Where all see all, everybody's own report says so. Else the others' are passed on, since the
  // cut ones do not hear each other.
  const size_t all = std::min(file_.view.joined_count(), kMembersMax);
  bool cut = beat.reports[0].sees.size() + 1 < all;
  std::vector<const Report*> others;
  for (const auto& [name, other] : peers_) {
    if (name == node || other.report.node.empty() || !file_.view.Joined(name)) continue;
    if (now_ - other.report_at > options_.timing.silence) continue;
    others.push_back(&other.report);
    cut = cut || other.report.sees.size() + 1 < all;
  }
  if (cut) {
    for (const Report* report : others) {
      if (beat.reports.size() < kMembersMax) beat.reports.push_back(*report);
    }
  }
  for (auto& table : tables_) beat.tables.push_back(table->Mark());
  Send(node, beat);
}

void Cluster::SendHeartbeats() {
  Flush();  // the marks speak of what was told
  heartbeat_at_ = now_;
  told_ = OwnReport();
  for (const auto& [name, peer] : peers_) {
    if (Mate(name)) SendHeartbeat(name);
  }
}

void Cluster::OnHeartbeat(const std::string& from, const Heartbeat& beat) {
  Peer& peer = peers_[from];
  if (!Mate(from)) {
    if (!Foreign(peer)) {
      Send(from, ViewFrame{0, file_.view});
    } else if (now_ - peer.hello_at >= kHelloGap) {
      SendHello(from, true);  // it takes us for a mate: its word that it has joined did not come
    }
    return;
  }
  peer.stamp = std::max(peer.stamp, beat.stamp);
  // An echo of what we never sent is no proof.
  if (beat.echo > peer.echo && beat.echo <= StampOf(now_)) peer.echo = beat.echo;
  TakeReports(beat.reports);
  if (beat.view_hash != view_hash_) Send(from, ViewFrame{0, file_.view});
  if (peer.in_side == peer.incarnation) {
    for (const TableMark& mark : beat.tables) {
      if (ReplicatedTable* found = table(mark.table)) found->OnMark(from, mark, now_);
    }
  }
  look_ = true;
  // It has nothing of ours yet: the sooner it has, the sooner we see each other.
  if (beat.echo == 0) SendHeartbeat(from);
}

void Cluster::TakeReports(const std::vector<Report>& reports) {
  for (const Report& report : reports) {
    if (report.node == self() || !file_.view.Joined(report.node)) continue;
    Peer& peer = peers_[report.node];
    const auto version = std::pair(report.incarnation, report.sequence);
    if (!peer.report.node.empty() &&
        version <= std::pair(peer.report.incarnation, peer.report.sequence)) {
      continue;
    }
    peer.report = report;
    peer.report_at = now_;
  }
}

bool Cluster::Sees(const Peer& peer) const {
  const ClusterTiming& timing = options_.timing;
  if (peer.stopped || peer.absent || Foreign(peer) || peer.echo == 0) return false;
  if (peer.unsure_since && now_ - *peer.unsure_since > timing.link_grace) return false;
  return AgeOf(peer.echo, now_) <= timing.silence;
}

Report Cluster::OwnReport() const {
  Report report{.node = self(), .incarnation = incarnation()};
  for (const auto& [name, peer] : peers_) {  // in the order of names
    if (!file_.view.Joined(name)) continue;
    if (Sees(peer)) report.sees.push_back(name);
    if (peer.absent || peer.stopped) report.absent.push_back(name);
  }
  // More than fit were joined by two at once; all cut the same ones off.
  if (report.sees.size() >= kMembersMax) report.sees.resize(kMembersMax - 1);
  if (report.absent.size() >= kMembersMax) report.absent.resize(kMembersMax - 1);
  return report;
}

// --- sight
// -----------------------------------------------------------------------------------------

void Cluster::Look() {
  if (!look_) return;
  look_ = false;
  std::vector<std::string> names = file_.view.JoinedNames();
  if (names.size() > kMembersMax) names.resize(kMembersMax);
  const auto index_of = [&names](const std::string& name) {
    return static_cast<size_t>(std::lower_bound(names.begin(), names.end(), name) - names.begin());
  };
  const size_t me = index_of(self());
  SightMatrix matrix{.count = names.size()};
  const auto fill = [&](size_t row, const Report& report) {
    for (const std::string& seen : report.sees) {
      const size_t at = index_of(seen);
      if (at < names.size() && names[at] == seen) matrix.sees[row] |= MaskOf(at);
    }
  };
  const Report own = OwnReport();
  std::set<std::string> side = {self()};
  bool stays_in = names.size() == 1;
  if (me < names.size() && names[me] == self()) {
    fill(me, own);
    for (size_t row = 0; row < names.size(); ++row) {
      const auto it = peers_.find(names[row]);
      if (it == peers_.end() || it->second.report.node.empty()) continue;
      const Peer& peer = it->second;
      // A report of an earlier life says nothing of this one.
      if (now_ - peer.report_at > options_.timing.silence) continue;
      if (peer.greeted && peer.report.incarnation != peer.incarnation) continue;
      fill(row, peer.report);
    }
    const SightMatrix mutual = matrix.Mutual();
    const MemberMask mask = StillIn(names, mutual.sees[me], SideOf(mutual, me));
    for (size_t i = 0; i < names.size(); ++i) {
      if ((mask & MaskOf(i)) != 0) side.insert(names[i]);
    }
    stays_in = StaysIn(mask, Counting(names, mask));
  }
  TakeSide(side);
  JudgeIsolation(stays_in);
  const bool changed = own.sees != told_.sees || own.absent != told_.absent;
  if (changed && now_ - heartbeat_at_ >= options_.timing.report_gap) SendHeartbeats();
}

// `by_rule`, and those of our side whom the rule takes out although we see each other. When a node
// goes or comes, the others hear of it one after another, and until all have, that is what the rule
// sees: a cut between two of them. Only a cut that lasts is one.
MemberMask Cluster::StillIn(const std::vector<std::string>& names, MemberMask in_sight,
                            MemberMask by_rule) {
  MemberMask side = by_rule;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto it = peers_.find(names[i]);
    if (it == peers_.end()) continue;
    Peer& peer = it->second;
    const bool ours = peer.in_side != 0 && peer.in_side == peer.incarnation;
    if (!ours || (by_rule & MaskOf(i)) != 0 || (in_sight & MaskOf(i)) == 0) {
      peer.ruled_out_since.reset();
      continue;
    }
    if (!peer.ruled_out_since) peer.ruled_out_since = now_;
    if (now_ - *peer.ruled_out_since < SightLag()) side |= MaskOf(i);
  }
  return side;
}

MemberMask Cluster::Counting(const std::vector<std::string>& names, MemberMask side) const {
  std::set<std::string_view> gone;
  for (size_t i = 0; i < names.size(); ++i) {
    if ((side & MaskOf(i)) == 0) continue;
    const auto it = peers_.find(names[i]);
    if (it == peers_.end()) continue;
    gone.insert(it->second.report.absent.begin(), it->second.report.absent.end());
  }
  MemberMask counting = side;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto it = peers_.find(names[i]);
    const bool told = it != peers_.end() && (it->second.absent || it->second.stopped);
    if (!told && !gone.contains(names[i])) counting |= MaskOf(i);
  }
  return counting;
}

void Cluster::TakeSide(const std::set<std::string>& side) {
  for (auto& [name, peer] : peers_) {
    const uint64_t in = side.contains(name) ? peer.incarnation : 0;
    if (in == peer.in_side) continue;
    const bool was = peer.in_side != 0;
    peer.in_side = in;
    for (auto& table : tables_) {
      in != 0 ? table->OwnerIn(name, in, now_) : table->OwnerOut(name);
    }
    if (was) Emit({.kind = ClusterEvent::Kind::kNodeDown, .node = name});
    if (in != 0) Emit({.kind = ClusterEvent::Kind::kNodeUp, .node = name});
  }
  side_ = side;
}

void Cluster::JudgeIsolation(bool stays_in) {
  if (!settled_) {
    // At the start and after a join, whoever has neither answered nor been found absent may still
    // come.
    const std::vector<std::string> names = file_.view.JoinedNames();
    settled_ = now_ - settle_from_ >= options_.timing.start_settle ||
               std::all_of(names.begin(), names.end(), [this](const std::string& name) {
                 const auto it = peers_.find(name);
                 return side_.contains(name) || (it != peers_.end() && it->second.absent);
               });
  }
  if (stays_in) {
    minority_since_.reset();
    if (isolated_) Emit({.kind = ClusterEvent::Kind::kHealed});
    isolated_ = false;
    return;
  }
  if (!minority_since_) minority_since_ = now_;
  if (isolated_ || now_ - *minority_since_ < options_.timing.isolate_after) return;
  isolated_ = true;
  Emit({.kind = ClusterEvent::Kind::kIsolated});
}

bool Cluster::MayRoute(std::string_view owner, net::Time now) const {
  if (now - now_ > Lease()) return false;  // paused, and not looked around yet
  if (owner == self()) return true;
  const auto it = peers_.find(owner);
  return it != peers_.end() && it->second.in_side != 0 && AgeOf(it->second.echo, now) <= Lease();
}

// --- time
// ------------------------------------------------------------------------------------------

void Cluster::Flush() {
  for (auto& table : tables_) table->Flush();
}

void Cluster::Tick(net::Time now, uint64_t wall_ms) {
  now_ = now;
  wall_ms_ = wall_ms;
  look_ = true;
  Look();
  for (auto& table : tables_) table->Tick(now);
  if (now - heartbeat_at_ >= options_.timing.heartbeat) SendHeartbeats();
  // A Hello that found the queue full is said again: two silent ends would wait for ever.
  for (const auto& [name, peer] : peers_) {
    if (peer.link && !peer.greeted && now - peer.hello_at >= options_.timing.heartbeat) {
      SendHello(name, true);
    }
  }
  if (unsaved_ && Save(file_)) unsaved_ = false;
  RunOperations();
  std::erase_if(peers_, [this](const auto& entry) {
    const auto& [name, peer] = entry;
    return !peer.link && !peer.wanted && peer.in_side == 0 && !file_.view.Joined(name);
  });
  JudgeAlarms();
}

void Cluster::Stop() {
  Flush();
  stopping_ = true;
  for (const auto& [name, peer] : peers_) {
    if (Mate(name)) Send(name, Bye{});
  }
}

ReplicatedTable* Cluster::table(uint32_t id) {
  for (auto& table : tables_) {
    if (table->options().id == id) return table.get();
  }
  return nullptr;
}

void Cluster::ConflictLost(uint32_t table, std::string_view key, std::string_view value,
                           std::string_view winner) {
  Emit({.kind = ClusterEvent::Kind::kConflictLost,
        .node = std::string(winner),
        .table = table,
        .key = std::string(key),
        .bytes = {value.begin(), value.end()}});
}

void Cluster::Emit(ClusterEvent event) {
  CHECK(events_.size() < kEventsMax);
  events_.push_back(std::move(event));
}

std::vector<ClusterEvent> Cluster::TakeEvents() { return std::exchange(events_, {}); }

}  // namespace server
