#include "server/cluster/replicated_table.h"

#include <algorithm>
#include <utility>

#include "net/base/check.h"

namespace server {
namespace {

constexpr size_t kSlotsMax = 256;
// Generations are a byte: freeing must have seen all records before one comes again.
constexpr uint32_t kGenerationsUnsweptMax = 250;

}  // namespace

ReplicatedTable::ReplicatedTable(TableOptions options, TableTiming timing, std::string self,
                                 uint64_t incarnation, const net::HashKey& hash_key,
                                 TableLink& link)
    : options_(std::move(options)), timing_(timing), link_(link), store_(hash_key) {
  slots_.reserve(kSlotsMax);
  slots_.push_back(
      {.name = std::move(self), .incarnation = incarnation, .in = true, .phase = Phase::kLive});
}

// --- our own records
// -------------------------------------------------------------------------------

bool ReplicatedTable::Put(std::string_view key, size_t group_bytes, std::string_view value,
                          uint64_t stamp) {
  if (key.empty() || key.size() > kKeyBytesMax || value.size() > kValueBytesMax ||
      group_bytes > key.size()) {
    return false;
  }
  if (options_.unique) {
    // Whoever comes last has the key, even when its clock is behind. And a stamp never goes back:
    // two owners would each give way to the other's past.
    store_.ForEachOfKey(key, [&](const RecordStore::Header& record) {
      if (Valid(record)) stamp = std::max(stamp, record.stamp + 1);
    });
  }
  const RecordOp op{true, key, group_bytes, value, stamp};
  Store(slots_[0], op);
  Queue(op);
  return true;
}

bool ReplicatedTable::Erase(std::string_view key) {
  // The key may be the record's own bytes.
  const std::string copy(key);
  if (!Remove(slots_[0], copy)) return false;
  Queue({.put = false, .key = copy});
  return true;
}

void ReplicatedTable::Queue(const RecordOp& op) {
  ++pending_ops_;
  // A copy that begins later reads the records themselves.
  if (subscribers_.empty()) return;
  if (pending_.size() + EncodedBytes(op) > kBatchBytesMax) {
    Flush();
    ++pending_ops_;
  }
  AppendOp(&pending_, op);
}

void ReplicatedTable::Flush() {
  if (pending_ops_ == 0) return;
  pending_ops_ = 0;
  ++sequence_;
  std::vector<std::string> nodes;
  for (const auto& [node, subscriber] : subscribers_) nodes.push_back(node);
  const std::vector<uint8_t> records = std::exchange(pending_, {});
  if (nodes.empty()) return;
  // Who does not get this one finds the gap and copies anew.
  for (const std::string& node : link_.SendToAll(nodes, Batch{options_.id, sequence_, records})) {
    subscribers_.erase(node);
  }
}

// --- reading
// ---------------------------------------------------------------------------------------

bool ReplicatedTable::Valid(const RecordStore::Header& record) const {
  const Slot& slot = slots_[record.owner];
  return slot.in && (record.generation == slot.generation ||
                     (slot.previous_holds && record.generation == slot.previous));
}

RecordView ReplicatedTable::ViewOf(const RecordStore::Header& record) const {
  const Slot& slot = slots_[record.owner];
  return {record.key(), record.group(),   record.value(),   record.stamp,
          slot.name,    slot.incarnation, record.owner == 0};
}

void ReplicatedTable::ForEach(std::string_view key,
                              const std::function<void(const RecordView&)>& visit) {
  store_.ForEachOfKey(key, [&](const RecordStore::Header& record) {
    if (Valid(record)) visit(ViewOf(record));
  });
}

void ReplicatedTable::ForEachInGroup(std::string_view group,
                                     const std::function<void(const RecordView&)>& visit) {
  store_.ForEachOfGroup(group, [&](const RecordStore::Header& record) {
    if (Valid(record)) visit(ViewOf(record));
  });
}

void ReplicatedTable::ForEachRecord(const std::function<void(const RecordView&)>& visit) {
  for (size_t bucket = 0; bucket < store_.buckets(); ++bucket) {
    store_.ForEachOfBucket(bucket, [&](const RecordStore::Header& record) {
      if (Valid(record)) visit(ViewOf(record));
    });
  }
}

size_t ReplicatedTable::size() const {
  size_t sum = 0;
  for (const Slot& slot : slots_) sum += slot.count + slot.previous_count;
  return sum;
}

size_t ReplicatedTable::size_of(std::string_view owner) const {
  const Slot* slot = FindSlot(owner);
  return slot == nullptr ? 0 : slot->count + slot->previous_count;
}

Digest ReplicatedTable::digest() const {
  Digest sum;
  for (const Slot& slot : slots_) {
    if (!slot.in || slot.count == 0) continue;
    // Whose records they are is part of it.
    const uint64_t owner = net::StableHash(slot.name) + slot.incarnation;
    sum += {net::FastRandom::Mix(slot.digest.a ^ net::FastRandom::Mix(owner)),
            net::FastRandom::Mix(slot.digest.b + owner)};
  }
  return sum;
}

TableMark ReplicatedTable::Mark() const {
  return {options_.id, sequence_, slots_[0].count, slots_[0].digest};
}

bool ReplicatedTable::whole() const {
  return std::all_of(slots_.begin(), slots_.end(),
                     [](const Slot& slot) { return !slot.in || slot.phase == Phase::kLive; });
}

// --- slots
// -----------------------------------------------------------------------------------------

ReplicatedTable::Slot* ReplicatedTable::FindSlot(std::string_view owner) {
  const auto it = std::find_if(slots_.begin(), slots_.end(),
                               [&](const Slot& slot) { return slot.name == owner; });
  return it == slots_.end() ? nullptr : &*it;
}
const ReplicatedTable::Slot* ReplicatedTable::FindSlot(std::string_view owner) const {
  return const_cast<ReplicatedTable*>(this)->FindSlot(owner);
}

ReplicatedTable::Slot& ReplicatedTable::SlotOf(const std::string& owner) {
  if (Slot* slot = FindSlot(owner)) return *slot;
  if (slots_.size() < kSlotsMax) return slots_.emplace_back(Slot{.name = owner});
  // Names that came and went: whoever is not on our side gives way once its records are freed.
  while (sweeping_) Sweep(kSweepBucketsMax);
  for (Slot& slot : slots_) {
    if (slot.in) continue;
    const uint8_t generation = slot.generation;
    slot = {.name = owner, .generation = generation};
    return slot;
  }
  CHECK(false);  // kMembersMax is below kSlotsMax
  return slots_[0];
}

void ReplicatedTable::NextGeneration(Slot& slot) {
  ++slot.generation;
  if (++generations_unswept_ >= kGenerationsUnsweptMax) {
    while (sweeping_) Sweep(kSweepBucketsMax);
    generations_unswept_ = 1;
  }
}

void ReplicatedTable::Invalidate(Slot& slot) {
  const bool held = slot.count + slot.previous_count > 0;
  NextGeneration(slot);
  slot.previous_holds = false;
  slot.digest = {};
  slot.count = 0;
  slot.previous_count = 0;
  slot.phase = Phase::kNone;
  if (held) {
    sweeping_ = true;
    sweep_at_ = 0;
  }
}

void ReplicatedTable::OwnerIn(const std::string& owner, uint64_t incarnation, net::Time now) {
  Slot& slot = SlotOf(owner);
  if (slot.in && slot.incarnation == incarnation) return;
  Invalidate(slot);
  slot.in = true;
  slot.incarnation = incarnation;
  Request(slot, now);
}

void ReplicatedTable::OwnerOut(const std::string& owner) {
  Slot* slot = FindSlot(owner);
  if (slot == nullptr || !slot->in) return;
  Invalidate(*slot);
  slot->in = false;
}

void ReplicatedTable::Refollow(const std::string& owner, net::Time now) {
  Slot* slot = FindSlot(owner);
  if (slot != nullptr && slot->in) Request(*slot, now);
}

void ReplicatedTable::LinkDown(const std::string& node) { subscribers_.erase(node); }

void ReplicatedTable::Request(Slot& slot, net::Time now) {
  slot.phase = Phase::kRequested;
  slot.request = next_request_++;
  slot.progress = now;
  link_.Send(slot.name, SyncRequest{options_.id, slot.request});
}

// --- changes
// ---------------------------------------------------------------------------------------

void ReplicatedTable::Discount(Slot& slot, const RecordStore::Header& record) {
  if (record.generation == slot.generation) {
    slot.digest -= record.digest();
    --slot.count;
  } else if (slot.previous_holds && record.generation == slot.previous) {
    --slot.previous_count;
  }
}

void ReplicatedTable::Store(Slot& slot, const RecordOp& op) {
  const uint8_t index = IndexOf(slot);
  if (RecordStore::Header* record = store_.Find(index, op.key)) {
    Discount(slot, *record);
    store_.Erase(record);
  }
  store_.Insert(index, slot.generation, op.key, op.group_bytes, op.value, op.stamp);
  slot.digest += DigestOf(op.key, op.value, op.stamp, op.group_bytes);
  ++slot.count;
}

bool ReplicatedTable::Remove(Slot& slot, std::string_view key) {
  RecordStore::Header* record = store_.Find(IndexOf(slot), key);
  if (record == nullptr) return false;
  Discount(slot, *record);
  store_.Erase(record);
  return true;
}

void ReplicatedTable::Apply(Slot& slot, const RecordOp& op) {
  if (watcher_) watcher_(op, slot.name);
  if (!op.put) {
    Remove(slot, op.key);
    return;
  }
  Store(slot, op);
  if (options_.unique) JudgeConflict(slot, op);
}

void ReplicatedTable::JudgeConflict(const Slot& theirs, const RecordOp& op) {
  const RecordStore::Header* ours = store_.Find(0, op.key);
  if (ours == nullptr) return;
  const bool we_win =
      ours->stamp != op.stamp ? ours->stamp > op.stamp : slots_[0].name > theirs.name;
  if (we_win) return;
  link_.ConflictLost(options_.id, op.key, ours->value(), theirs.name);
  Erase(op.key);
}

// --- following an owner
// ----------------------------------------------------------------------------

void ReplicatedTable::OnBatch(const std::string& from, const Batch& batch, net::Time now) {
  Slot* slot = FindSlot(from);
  if (slot == nullptr || !slot->in) return;
  // Before the copy has begun there is nothing to add to.
  if (slot->phase != Phase::kCopying && slot->phase != Phase::kLive) return;
  if (batch.sequence <= slot->sequence) return;
  if (batch.sequence != slot->sequence + 1 ||
      !ForEachOp(batch.records, [&](const RecordOp& op) { Apply(*slot, op); })) {
    ++repairs_;
    Request(*slot, now);
    return;
  }
  slot->sequence = batch.sequence;
}

void ReplicatedTable::OnSyncChunk(const std::string& from, const SyncChunk& chunk, net::Time now) {
  Slot* slot = FindSlot(from);
  if (slot == nullptr || !slot->in || chunk.request != slot->request) return;
  if (slot->phase == Phase::kRequested && chunk.index == 0) {
    // What we have stays readable until the new copy is whole. A copy that was broken off is not
    // whole; then the one before it still counts.
    if (!slot->previous_holds) {
      slot->previous = slot->generation;
      slot->previous_count = slot->count;
      slot->previous_holds = slot->count > 0;
    }
    NextGeneration(*slot);
    slot->digest = {};
    slot->count = 0;
    slot->next_index = 0;
    slot->sequence = chunk.sequence;
    slot->phase = Phase::kCopying;
    // What a broken copy left is of no generation that counts.
    sweeping_ = true;
    sweep_at_ = 0;
  }
  if (slot->phase != Phase::kCopying) return;
  if (chunk.index != slot->next_index || chunk.sequence != slot->sequence ||
      !ForEachOp(chunk.records, [&](const RecordOp& op) { Apply(*slot, op); })) {
    ++repairs_;
    Request(*slot, now);
    return;
  }
  ++slot->next_index;
  slot->progress = now;
  link_.Send(from, SyncAck{options_.id, chunk.request, chunk.index});
  if (!chunk.last) return;
  slot->previous_holds = false;
  slot->previous_count = 0;
  sweeping_ = true;
  sweep_at_ = 0;
  if (slot->digest != chunk.digest) {
    ++repairs_;
    Request(*slot, now);
    return;
  }
  slot->phase = Phase::kLive;
}

void ReplicatedTable::OnMark(const std::string& from, const TableMark& mark, net::Time now) {
  Slot* slot = FindSlot(from);
  if (slot == nullptr || !slot->in || slot->phase != Phase::kLive) return;
  if (mark.sequence == slot->sequence && mark.digest == slot->digest && mark.count == slot->count) {
    return;
  }
  ++repairs_;
  Request(*slot, now);
}

// --- being followed
// --------------------------------------------------------------------------------

void ReplicatedTable::OnSyncRequest(const std::string& from, const SyncRequest& request) {
  subscribers_[from] = {.request = request.request};
  Pump(from);
}

void ReplicatedTable::OnSyncAck(const std::string& from, const SyncAck& ack) {
  const auto it = subscribers_.find(from);
  if (it == subscribers_.end() || it->second.request != ack.request) return;
  if (ack.index >= it->second.next_index) return;
  it->second.acknowledged = std::max(it->second.acknowledged, ack.index + 1);
  Pump(from);
}

void ReplicatedTable::Pump(const std::string& node) {
  const auto it = subscribers_.find(node);
  if (it == subscribers_.end() || it->second.done) return;
  if (it->second.next_index - it->second.acknowledged >= kSyncWindow) return;
  if (!SendChunk(node, it->second)) subscribers_.erase(node);
}

bool ReplicatedTable::SendChunk(const std::string& node, Subscriber& subscriber) {
  std::vector<uint8_t> records;
  for (size_t looked = 0; looked < kSyncBucketsMax && subscriber.bucket < store_.buckets() &&
                          records.size() < kBatchBytesMax;
       ++looked, ++subscriber.bucket) {
    store_.ForEachOfBucket(subscriber.bucket, [&](const RecordStore::Header& record) {
      if (record.owner != 0) return;
      AppendOp(&records, {true, record.key(), record.group_bytes, record.value(), record.stamp});
    });
  }
  const bool last = subscriber.bucket >= store_.buckets();
  if (last) {
    // The digest is of all that was told; the batch may find that this very link is gone.
    Flush();
    if (!subscribers_.contains(node)) return false;
  }
  SyncChunk chunk{options_.id, subscriber.request, subscriber.next_index++,
                  last,        sequence_,          last ? slots_[0].digest : Digest{},
                  records};
  subscriber.done = last;
  return link_.Send(node, chunk);
}

void ReplicatedTable::Sweep(size_t buckets) {
  for (; buckets > 0 && sweep_at_ < store_.buckets(); --buckets, ++sweep_at_) {
    store_.ForEachOfBucket(sweep_at_, [&](RecordStore::Header& record) {
      if (!Valid(record)) store_.Erase(&record);
    });
  }
  if (sweep_at_ < store_.buckets()) return;
  sweeping_ = false;
  generations_unswept_ = 0;
}

void ReplicatedTable::Tick(net::Time now) {
  Flush();
  for (Slot& slot : slots_) {
    const bool waits = slot.phase == Phase::kRequested || slot.phase == Phase::kCopying;
    if (slot.in && waits && now - slot.progress > timing_.sync_stalled) Request(slot, now);
  }
  std::vector<std::string> nodes;
  for (const auto& [node, subscriber] : subscribers_) {
    if (!subscriber.done) nodes.push_back(node);
  }
  for (const std::string& node : nodes) Pump(node);
  if (sweeping_) Sweep(kSweepBucketsMax);
}

}  // namespace server
