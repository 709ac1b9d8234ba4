// The memory of one replicated table: records of all owners, found by key and by group.
//
// A record costs 32 bytes, its key and its value, and about 12 bytes of index. Indexes grow by
// linear hashing, one bucket an insertion, so no insertion ever waits for a table to be built anew,
// and a cursor over bucket numbers never misses a record that stays: what moves, moves forward.
//
// A record belongs to an owner's slot and carries the generation it was written in; whether it is
// valid is its owner's state, so that all records of a dead owner vanish at once and are freed
// later, bucket by bucket.
//
// A group is a prefix of the key (the bare JID of a session's full JID): all records of a group
// are found in the time of their number. A group of many thousands makes its bucket slow, not
// others.
//
// Control thread. Views into records hold until the next change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "net/base/hash.h"

namespace server {

// Order does not matter to it: the digests of records are added and taken away.
struct Digest {
  uint64_t a = 0;
  uint64_t b = 0;

  Digest& operator+=(const Digest& other) {
    a += other.a;
    b += other.b;
    return *this;
  }
  Digest& operator-=(const Digest& other) {
    a -= other.a;
    b -= other.b;
    return *this;
  }
  bool operator==(const Digest&) const = default;
};

// The same on all nodes.
Digest DigestOf(std::string_view key, std::string_view value, uint64_t stamp, size_t group_bytes);

class RecordStore {
 public:
  struct Header {
    uint64_t stamp;
    uint32_t next;        // of the bucket of its key
    uint32_t hash;        // of the key
    uint32_t group_next;  // of the bucket of its group
    uint32_t group_prev;  // 0: the bucket's first
    uint16_t key_bytes;
    uint16_t group_bytes;  // 0: of no group
    uint16_t value_bytes;
    uint8_t owner;
    uint8_t generation;

    std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
    std::string_view group() const { return key().substr(0, group_bytes); }
    std::string_view value() const { return {key().data() + key_bytes, value_bytes}; }
    Digest digest() const { return DigestOf(key(), value(), stamp, group_bytes); }
  };
  static_assert(sizeof(Header) == 32);

  // The key of the hash is secret: clients choose keys of records.
  explicit RecordStore(const net::HashKey& hash_key) : hash_key_(hash_key) {}
  RecordStore(const RecordStore&) = delete;
  RecordStore& operator=(const RecordStore&) = delete;

  // Nothing when that owner has no such record, of whatever generation.
  Header* Find(uint8_t owner, std::string_view key);
  // There is no such record of that owner. Sizes are within limits.h.
  Header* Insert(uint8_t owner, uint8_t generation, std::string_view key, size_t group_bytes,
                 std::string_view value, uint64_t stamp);
  void Erase(Header* record);

  // `visit(Header&)` for all with that key, one an owner. Nothing may change in it.
  template <typename Visit>
  void ForEachOfKey(std::string_view key, Visit&& visit) {
    const uint32_t hash = HashOf(key);
    for (uint32_t at = keys_.At(hash); at != 0; at = Get(at).next) {
      Header& record = Get(at);
      if (record.hash == hash && record.key() == key) visit(record);
    }
  }
  template <typename Visit>
  void ForEachOfGroup(std::string_view group, Visit&& visit) {
    for (uint32_t at = groups_.At(HashOf(group)); at != 0; at = Get(at).group_next) {
      Header& record = Get(at);
      if (record.group() == group) visit(record);
    }
  }
  // Buckets of keys, for cursors; grows with insertions, never shrinks.
  size_t buckets() const { return keys_.count; }
  template <typename Visit>
  void ForEachOfBucket(size_t bucket, Visit&& visit) {
    for (uint32_t at = keys_.Head(bucket), next = 0; at != 0; at = next) {
      Header& record = Get(at);
      next = record.next;  // `visit` may erase the record it is given
      visit(record);
    }
  }

  size_t size() const { return size_; }
  size_t memory_bytes() const;

 private:
  static constexpr size_t kGranule = 16;
  static constexpr size_t kChunkGranules = 4096;  // 64 KiB
  static constexpr size_t kSegment = 1024;        // buckets

  // Heads of chains. Segments are never moved, so growing costs the same at any size.
  struct Buckets {
    std::vector<std::unique_ptr<uint32_t[]>> segments;
    size_t count = 0;

    uint32_t& Head(size_t bucket) { return segments[bucket / kSegment][bucket % kSegment]; }
    uint32_t At(uint32_t hash) { return count == 0 ? 0 : Head(Of(hash)); }
    size_t Of(uint32_t hash) const;
    // The bucket whose chain is to be dealt out between itself and the new one.
    size_t Grow();
  };

  uint32_t HashOf(std::string_view bytes) const {
    return static_cast<uint32_t>(
        net::KeyedHash(hash_key_, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  }
  Header& Get(uint32_t handle) {
    return *reinterpret_cast<Header*>(chunks_[handle / kChunkGranules].get() +
                                      handle % kChunkGranules * kGranule);
  }
  uint32_t Allocate(size_t granules);
  void Free(uint32_t handle, size_t granules);
  void GrowKeys();
  void GrowGroups();
  void LinkGroup(uint32_t handle);
  void UnlinkGroup(Header& record);

  const net::HashKey hash_key_;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  size_t used_ = kChunkGranules;  // granules of the last chunk
  std::vector<uint32_t> free_;    // by granules: the first free block; the next is in its bytes
  Buckets keys_;
  Buckets groups_;
  size_t size_ = 0;
  size_t grouped_ = 0;
};

}  // namespace server
