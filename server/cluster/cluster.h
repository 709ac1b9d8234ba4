// The cluster as one node lives it: who belongs to it, who is seen, and the tables that all hold.
//
// It is pure: frames, links' ups and downs, orders and the time come in; frames go out through
// Transport, bytes through Storage, and what happened is taken as events. It opens no socket,
// starts no thread and asks no clock. What goes in may cause sends, never the other way round:
// Transport must not call back.
//
// How a node's life runs:
//   Open() reads the member file and counts the start; the node wants links to all members.
//   OnNodeUp: both say Hello with their views. Related views are merged; strangers stay strangers.
//   Heartbeats: each carries a stamp and the echo of the other's last one. A sees B as long as B
//   has
//     echoed a stamp that is younger than `silence`: so one-way cuts are seen by both ends, and a
//     node that was paused knows at its first look at the clock that it has no fresh proof of
//     anybody.
//   Reports travel in heartbeats; from them all compute the same sides (sight.h). Who comes to our
//     side has its records copied, who leaves it has them dropped (replicated_table.h).
//   Join, Leave and Remove are durable first, told then; every contact heals who was not reached.
//
// Control thread. Call Tick every 100 ms or so, Flush at the end of each turn that changed tables,
// TakeEvents after every call. Times are of one monotonic clock that counts through a suspend
// (CLOCK_BOOTTIME), or a paused machine would not know.
#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "net/base/random.h"
#include "server/cluster/frames.h"
#include "server/cluster/member_file.h"
#include "server/cluster/operation.h"
#include "server/cluster/replicated_table.h"
#include "server/cluster/sight.h"

namespace server {

class Transport {
 public:
  virtual ~Transport() = default;
  // Order is kept. False: no link, or its queue is full; then nothing of it was taken.
  virtual bool Send(const std::string& node, std::span<const uint8_t> frame) = 0;
  // Dial that node, and again whenever the link is lost, until it is wanted no more.
  virtual void Want(const std::string& node, bool wanted) = 0;
};

enum class LinkDown : uint8_t {
  kLost,    // the link broke or could not be made, for reasons not known
  kAbsent,  // the host answers, and nobody of that name is there
};

struct ClusterTiming {
  net::Duration heartbeat = std::chrono::seconds(1);
  net::Duration silence = std::chrono::seconds(8);            // without a fresh echo: not seen
  net::Duration link_grace = std::chrono::milliseconds(500);  // a broken link may come back
  net::Duration isolate_after = std::chrono::seconds(2);      // in the minority for so long
  net::Duration report_gap = std::chrono::milliseconds(50);   // between two reports of changes
  net::Duration operation = std::chrono::seconds(5);          // to reach a node, to hear its answer
  net::Duration start_settle = std::chrono::seconds(3);       // to meet the members at the start
  TableTiming table;
};

// Versions of what the cluster's messages carry, which it does not look into.
struct ContentVersions {
  uint8_t oldest = 1;
  uint8_t newest = 1;
};

struct ClusterOptions {
  std::string node;  // the own name
  ClusterTiming timing;
  uint64_t seed = 0;            // from the system's random source
  net::HashKey table_hash_key;  // likewise; secret
  std::vector<TableOptions> tables;
  ContentVersions content;  // a node that speaks none of them is refused, with words
};

struct ClusterEvent {
  enum class Kind : uint8_t {
    kOperationDone,  // operation, outcome, text is the detail
    kNodeUp,         // node came to our side
    kNodeDown,       // node left our side: its records are gone
    kMemberJoined,   // node
    kMemberRemoved,  // node
    kJoined,         // this node joined by way of `node`: connections and old data go
    kStandsAlone,    // this node left or was removed (text says which): connections go
    kIsolated,       // this node is on the minority's side
    kHealed,         // no longer
    kAlarmRaised,    // node, text
    kAlarmCleared,
    kConflictLost,  // table, key, bytes: the own record that was deleted; node won
    kMessage,       // node, table is the channel, bytes
  };
  Kind kind;
  std::string node;
  std::string text;
  uint64_t operation = 0;
  Outcome outcome = Outcome::kDone;
  uint32_t table = 0;
  std::string key;
  std::vector<uint8_t> bytes;
};

enum class NodeState : uint8_t { kStarting, kRunning, kJoining, kIsolated, kStopping };
std::string_view ToString(NodeState state);  // as in GET /api/cluster/status

struct ClusterStatus {
  std::string node;
  uint64_t incarnation = 0;
  NodeState state = NodeState::kStarting;
  bool minority = false;  // its side is not the one that stays in; isolated after a while
  bool ready = false;     // running, of the side that stays in, and all its tables are whole
  std::vector<std::string> members;
  std::vector<std::string> running;  // our side, this node included
  std::vector<std::string> stopped;  // the other members
  std::vector<std::string> alarms;   // "node: text"
};

struct ClusterCounters {
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;
  uint64_t frames_malformed = 0;
  uint64_t frames_stale = 0;  // of another life of their sender or receiver
  uint64_t sends_refused = 0;
  uint64_t saves_failed = 0;
};

class Cluster final : private TableLink {
 public:
  // The error is for the operator, with file, line and remedy. Transport and Storage outlive it.
  static std::expected<std::unique_ptr<Cluster>, std::string> Open(ClusterOptions options,
                                                                   Transport& transport,
                                                                   Storage& storage, net::Time now,
                                                                   uint64_t wall_ms);

  // --- what comes in ---
  void OnNodeUp(const std::string& node, net::Time now);
  void OnNodeDown(const std::string& node, LinkDown why, net::Time now);
  void OnFrame(const std::string& from, std::span<const uint8_t> bytes, net::Time now);
  void Tick(net::Time now, uint64_t wall_ms);
  void Flush();  // tells what changed in the tables
  // Tells the others that this node stops in order; after it only the end.
  void Stop();

  // --- orders; each ends with one kOperationDone of the returned number. One runs at a time, and
  // the same join ordered twice is one.
  uint64_t Join(const std::string& target);
  uint64_t Leave(bool force);
  uint64_t Remove(const std::string& target);

  // --- data ---
  ReplicatedTable* table(uint32_t id);
  // May something be sent to the sessions of `owner` now? False for who is not on our side, and for
  // everybody after a pause, until the others have answered anew.
  bool MayRoute(std::string_view owner, net::Time now) const;
  // Reaches the life of the node that we know, or nobody. False: it may not be routed to, is too
  // large, or the link is full.
  bool SendMessage(const std::string& node, uint32_t channel, std::span<const uint8_t> bytes,
                   net::Time now);
  // The newest version of what messages carry (ClusterOptions::content) that it speaks as well.
  uint8_t ContentVersion(std::string_view node) const;

  // --- what is known ---
  std::vector<ClusterEvent> TakeEvents();
  ClusterStatus Status() const;
  const MemberView& view() const { return file_.view; }
  const std::string& self() const { return options_.node; }
  uint64_t incarnation() const { return file_.incarnation; }
  bool isolated() const { return isolated_; }
  bool busy() const { return !operations_.empty(); }
  const ClusterCounters& counters() const { return counters_; }

 private:
  struct Peer {
    bool link = false;
    bool wanted = false;
    bool greeted = false;  // its Hello came over this link
    bool absent = false;
    bool stopped = false;
    std::vector<uint64_t> lineage;  // of its cluster, as it last said
    std::string refusal;            // why we cannot talk
    uint8_t content = 1;            // the newest version of it that both speak
    uint64_t incarnation = 0;
    uint64_t stamp = 0;                     // its last one
    uint64_t echo = 0;                      // the youngest of our stamps that it has seen
    std::optional<net::Time> unsure_since;  // the link is lost, or new and not greeted yet
    net::Time hello_at{};
    Report report;
    net::Time report_at{};
    uint64_t in_side = 0;  // the incarnation that our side holds; 0: it does not
    std::optional<net::Time> ruled_out_since;  // in sight, but not on our side by the rule
  };
  struct Operation {
    enum class Kind : uint8_t { kJoin, kLeave, kRemove };
    enum class Step : uint8_t { kQueued, kConnecting, kAsked, kTold };
    Kind kind;
    std::vector<uint64_t> ids;  // of all who ordered the same
    std::string target;
    bool force = false;
    Step step = Step::kQueued;
    net::Time deadline{};
  };

  Cluster(ClusterOptions options, Transport& transport, Storage& storage, MemberFile file,
          net::Time now, uint64_t wall_ms);

  // cluster.cc: links, frames, sight
  void Arrive(net::Time now);
  net::Duration Lease() const;
  net::Duration SightLag() const;
  bool Send(const std::string& node, const FrameBody& body) override;
  std::vector<std::string> SendToAll(const std::vector<std::string>& nodes,
                                     const FrameBody& body) override;
  void ConflictLost(uint32_t table, std::string_view key, std::string_view value,
                    std::string_view winner) override;
  void SendHello(const std::string& node, bool answer);
  void SendHeartbeat(const std::string& node);
  void SendHeartbeats();
  void OnHello(const std::string& from, const FrameHeader& header, const Hello& hello);
  void Dispatch(const std::string& from, const FrameBody& body);
  void OnHeartbeat(const std::string& from, const Heartbeat& beat);
  void TakeReports(const std::vector<Report>& reports);
  bool Mate(const std::string& node) const;  // a member other than us that we can talk to
  // It said last that it is of another cluster.
  bool Foreign(const Peer& peer) const { return !file_.view.RelatedTo(peer.lineage); }
  bool Sees(const Peer& peer) const;
  Report OwnReport() const;
  void Look();  // compares the reports and acts on who came and went
  MemberMask StillIn(const std::vector<std::string>& names, MemberMask in_sight,
                     MemberMask by_rule);
  MemberMask Counting(const std::vector<std::string>& names, MemberMask side) const;
  void TakeSide(const std::set<std::string>& side);
  void JudgeIsolation(bool stays_in);
  void JudgeAlarms();
  void Emit(ClusterEvent event);
  NodeState state() const;

  // cluster_members.cc: the view and the orders
  uint64_t EpochFloor() const { return wall_ms_ / 1000; }
  std::expected<void, std::string> Save(const MemberFile& file);
  void Adopt(MemberView view, const std::string& from);
  bool TakeView(const std::string& from, const MemberView& view);
  void StandAlone(std::string why);
  void UpdateWants();
  void TellView(const std::string& except);
  void TellLineage();
  void RaiseIncarnation(uint64_t known);
  void OnView(const std::string& from, const ViewFrame& frame);
  void OnViewAck(const std::string& from, const ViewAck& ack);
  void OnJoinRequest(const std::string& from, const JoinRequest& request);
  void OnJoinOffer(const std::string& from, const JoinOffer& offer);
  void OnRefused(const std::string& from, const Refused& refused);
  uint64_t Order(Operation operation);
  void RunOperations();
  void BeginJoin(Operation& operation);
  void BeginLeave(Operation& operation);
  void BeginRemove(Operation& operation);
  void AskToJoin(Operation& operation);
  void OperationTimedOut(Operation& operation);
  void Finish(Outcome outcome, std::string detail = "");
  Operation* Current(Operation::Kind kind, Operation::Step step, uint64_t id);

  const ClusterOptions options_;
  Transport& transport_;
  Storage& storage_;
  net::FastRandom random_;
  net::Time now_;
  uint64_t wall_ms_;
  net::Time settle_from_;

  MemberFile file_;
  uint64_t view_hash_ = 0;
  bool unsaved_ = false;  // adopted from others, and the disk refused
  std::string save_error_;
  std::map<std::string, Peer, std::less<>> peers_;
  std::vector<std::unique_ptr<ReplicatedTable>> tables_;

  uint64_t report_sequence_ = 0;
  Report told_;  // what the others know of our sight
  net::Time heartbeat_at_{};
  bool look_ = true;
  bool settled_ = false;  // since the start or a join the members were met, or there was time to
  bool joined_ = false;   // and it was a join
  bool stopping_ = false;
  bool isolated_ = false;
  std::optional<net::Time> minority_since_;
  std::set<std::string> side_;

  std::deque<Operation> operations_;  // the first runs
  uint64_t next_operation_ = 1;
  std::map<std::pair<std::string, std::string>, bool> alarms_;  // (node, text) → still so
  std::vector<ClusterEvent> events_;
  ClusterCounters counters_;
};

}  // namespace server
