// One table that all nodes hold in memory: sessions, room owners and the like.
//
// A node writes its own records only and tells the others in numbered batches; who misses one
// copies the owner's records anew. The copy of one owner is taken in chunks that are acknowledged,
// each a short piece of work between others, so neither side stands still; batches go on meanwhile,
// and whatever is older than the copy goes when the copy is whole. Each heartbeat carries number
// and digest of the owner's records, so a difference of any cause is found and repaired.
//
// A record lives with its owner's incarnation. When the owner leaves our side (sight.h) its records
// are gone at once; the memory is freed over the next ticks.
//
// It does not decide who is alive, and sends through TableLink only. What it relies on: frames of a
// link arrive in their order or not at all. Control thread.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "server/cluster/frames.h"
#include "server/cluster/record_store.h"

namespace server {

struct TableOptions {
  uint32_t id = 0;   // the same on all nodes
  std::string name;  // "session"
  // Of two owners of one key the record with the higher stamp stays (then the greater name); the
  // other's owner deletes its own and says so.
  bool unique = false;
};

struct RecordView {
  std::string_view key;
  std::string_view group;
  std::string_view value;
  uint64_t stamp;
  std::string_view owner;
  uint64_t incarnation;  // of the owner; what is sent to it names this one
  bool own;
};

class TableLink {
 public:
  virtual ~TableLink() = default;
  // False: not sent, there is no link or its queue is full.
  virtual bool Send(const std::string& node, const FrameBody& body) = 0;
  // The same frame to several; those that it could not be sent to are in the answer.
  virtual std::vector<std::string> SendToAll(const std::vector<std::string>& nodes,
                                             const FrameBody& body) = 0;
  // The node's own record lost against another owner's and was deleted.
  virtual void ConflictLost(uint32_t table, std::string_view key, std::string_view value,
                            std::string_view winner) = 0;
};

struct TableTiming {
  net::Duration sync_stalled = std::chrono::seconds(5);  // then the copy is asked for anew
};

class ReplicatedTable {
 public:
  ReplicatedTable(TableOptions options, TableTiming timing, std::string self, uint64_t incarnation,
                  const net::HashKey& hash_key, TableLink& link);

  const TableOptions& options() const { return options_; }

  // --- our own records ---
  // Replaces the record of that key. The group is the first `group_bytes` of the key. False: a size
  // is beyond limits.h.
  bool Put(std::string_view key, size_t group_bytes, std::string_view value, uint64_t stamp);
  bool Erase(std::string_view key);  // false: we have no such record
  // Tells the others what changed. At the end of a turn of the event loop, and at each tick.
  void Flush();

  // --- reading; nothing may change in `visit` ---
  void ForEach(std::string_view key, const std::function<void(const RecordView&)>& visit);
  void ForEachInGroup(std::string_view group, const std::function<void(const RecordView&)>& visit);
  void ForEachRecord(const std::function<void(const RecordView&)>& visit);
  size_t size() const;  // of all owners
  size_t size_of(std::string_view owner) const;
  size_t memory_bytes() const { return store_.memory_bytes(); }
  // Of all owners' records; equal on all nodes of a side when nothing is under way.
  Digest digest() const;
  TableMark Mark() const;  // of our own records
  // All owners of our side are copied.
  bool whole() const;
  uint64_t repairs() const { return repairs_; }

  // Hears of each record of another owner that is put or deleted, as it comes; not of those that
  // vanish with their owner, nor of those that a copy does not have any more. It must not enter the
  // table.
  using Watcher = std::function<void(const RecordOp& op, std::string_view owner)>;
  void Watch(Watcher watcher) { watcher_ = std::move(watcher); }

  // --- who is on our side ---
  void OwnerIn(const std::string& owner, uint64_t incarnation, net::Time now);
  void OwnerOut(const std::string& owner);
  // A new link to a node of our side: what went lost with the old one is copied again.
  void Refollow(const std::string& owner, net::Time now);
  void LinkDown(const std::string& node);
  // The node itself began a new life without restarting (another had its number).
  void SetIncarnation(uint64_t incarnation) { slots_[0].incarnation = incarnation; }

  // --- frames ---
  void OnSyncRequest(const std::string& from, const SyncRequest& request);
  void OnSyncChunk(const std::string& from, const SyncChunk& chunk, net::Time now);
  void OnSyncAck(const std::string& from, const SyncAck& ack);
  void OnBatch(const std::string& from, const Batch& batch, net::Time now);
  void OnMark(const std::string& from, const TableMark& mark, net::Time now);
  void Tick(net::Time now);

 private:
  enum class Phase : uint8_t { kNone, kRequested, kCopying, kLive };

  // An owner; the first is this node.
  struct Slot {
    std::string name;  // empty: free
    uint64_t incarnation = 0;
    bool in = false;
    Phase phase = Phase::kNone;
    uint8_t generation = 0;
    uint8_t previous = 0;         // the generation of the copy that is being replaced
    bool previous_holds = false;  // and it is still good to read
    uint64_t request = 0;
    uint32_t next_index = 0;
    uint64_t sequence = 0;
    net::Time progress{};
    Digest digest;  // of the current generation
    size_t count = 0;
    size_t previous_count = 0;
  };
  // A node that copies or follows our records.
  struct Subscriber {
    uint64_t request = 0;
    size_t bucket = 0;
    uint32_t next_index = 0;
    uint32_t acknowledged = 0;
    bool done = false;
  };

  Slot* FindSlot(std::string_view owner);
  const Slot* FindSlot(std::string_view owner) const;
  Slot& SlotOf(const std::string& owner);
  bool Valid(const RecordStore::Header& record) const;
  RecordView ViewOf(const RecordStore::Header& record) const;
  void Apply(Slot& slot, const RecordOp& op);
  void Store(Slot& slot, const RecordOp& op);
  bool Remove(Slot& slot, std::string_view key);
  // Takes an existing record out of its slot's accounts.
  void Discount(Slot& slot, const RecordStore::Header& record);
  void Invalidate(Slot& slot);
  void NextGeneration(Slot& slot);
  void JudgeConflict(const Slot& theirs, const RecordOp& op);
  void Request(Slot& slot, net::Time now);
  void Queue(const RecordOp& op);
  void Pump(const std::string& node);
  bool SendChunk(const std::string& node, Subscriber& subscriber);
  void Sweep(size_t buckets);
  uint8_t IndexOf(const Slot& slot) const { return static_cast<uint8_t>(&slot - slots_.data()); }

  const TableOptions options_;
  const TableTiming timing_;
  TableLink& link_;
  RecordStore store_;
  std::vector<Slot> slots_;  // at most 256; reserved, so that they stay where they are
  std::map<std::string, Subscriber, std::less<>> subscribers_;
  Watcher watcher_;
  std::vector<uint8_t> pending_;
  size_t pending_ops_ = 0;
  uint64_t sequence_ = 0;  // of our batches
  uint64_t next_request_ = 1;
  uint64_t repairs_ = 0;
  bool sweeping_ = false;
  size_t sweep_at_ = 0;
  uint32_t generations_unswept_ = 0;
};

}  // namespace server
