#include "server/cluster/record_store.h"

#include <bit>
#include <cstring>
#include <new>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "server/cluster/limits.h"

namespace server {
namespace {

size_t Granules(size_t bytes, size_t granule) { return (bytes + granule - 1) / granule; }

}  // namespace

Digest DigestOf(std::string_view key, std::string_view value, uint64_t stamp, size_t group_bytes) {
  // Fixed keys: digests are compared between nodes. They find faults, not forgeries.
  const uint64_t k = net::SipHash<1, 3>({0x6b, 0x7461626c65}, net::BytesOf(key));
  const uint64_t v = net::SipHash<1, 3>({0x76, 0x7461626c65}, net::BytesOf(value));
  const uint64_t a =
      net::FastRandom::Mix(k + std::rotl(v, 23) + std::rotl(stamp, 41) + group_bytes);
  return {a, net::FastRandom::Mix(a ^ (k + 3 * v + 5 * stamp))};
}

size_t RecordStore::Buckets::Of(uint32_t hash) const {
  const size_t mask = std::bit_ceil(count) - 1;
  const size_t bucket = hash & mask;
  return bucket < count ? bucket : bucket & (mask >> 1);
}

size_t RecordStore::Buckets::Grow() {
  if (count % kSegment == 0) segments.push_back(std::make_unique<uint32_t[]>(kSegment));
  const size_t fresh = count++;
  return fresh == 0 ? 0 : fresh - std::bit_floor(fresh);
}

RecordStore::Header* RecordStore::Find(uint8_t owner, std::string_view key) {
  const uint32_t hash = HashOf(key);
  for (uint32_t at = keys_.At(hash); at != 0; at = Get(at).next) {
    Header& record = Get(at);
    if (record.hash == hash && record.owner == owner && record.key() == key) return &record;
  }
  return nullptr;
}

RecordStore::Header* RecordStore::Insert(uint8_t owner, uint8_t generation, std::string_view key,
                                         size_t group_bytes, std::string_view value,
                                         uint64_t stamp) {
  CHECK(key.size() <= kKeyBytesMax && value.size() <= kValueBytesMax && group_bytes <= key.size());
  const size_t bytes = sizeof(Header) + key.size() + value.size();
  const uint32_t handle = Allocate(Granules(bytes, kGranule));
  Header& record = *new (&Get(handle)) Header{
      .stamp = stamp,
      .next = 0,
      .hash = HashOf(key),
      .group_next = 0,
      .group_prev = 0,
      .key_bytes = static_cast<uint16_t>(key.size()),
      .group_bytes = static_cast<uint16_t>(group_bytes),
      .value_bytes = static_cast<uint16_t>(value.size()),
      .owner = owner,
      .generation = generation,
  };
  char* text = reinterpret_cast<char*>(&record + 1);
  if (!key.empty()) std::memcpy(text, key.data(), key.size());
  if (!value.empty()) std::memcpy(text + key.size(), value.data(), value.size());
  ++size_;
  if (keys_.count < size_) GrowKeys();
  uint32_t& head = keys_.Head(keys_.Of(record.hash));
  record.next = head;
  head = handle;
  if (group_bytes != 0) {
    ++grouped_;
    if (groups_.count < grouped_) GrowGroups();
    LinkGroup(handle);
  }
  return &record;
}

void RecordStore::Erase(Header* record) {
  uint32_t* link = &keys_.Head(keys_.Of(record->hash));
  while (&Get(*link) != record) link = &Get(*link).next;
  const uint32_t handle = *link;
  *link = record->next;
  if (record->group_bytes != 0) {
    UnlinkGroup(*record);
    --grouped_;
  }
  --size_;
  Free(handle, Granules(sizeof(Header) + record->key_bytes + record->value_bytes, kGranule));
}

void RecordStore::GrowKeys() {
  const size_t fresh = keys_.count;
  const size_t source = keys_.Grow();
  if (source == fresh) return;
  uint32_t at = keys_.Head(source);
  keys_.Head(source) = 0;
  while (at != 0) {
    Header& record = Get(at);
    const uint32_t next = record.next;
    uint32_t& head = keys_.Head(keys_.Of(record.hash));
    record.next = head;
    head = at;
    at = next;
  }
}

void RecordStore::GrowGroups() {
  const size_t fresh = groups_.count;
  const size_t source = groups_.Grow();
  if (source == fresh) return;
  uint32_t at = groups_.Head(source);
  groups_.Head(source) = 0;
  while (at != 0) {
    const uint32_t next = Get(at).group_next;
    LinkGroup(at);
    at = next;
  }
}

void RecordStore::LinkGroup(uint32_t handle) {
  Header& record = Get(handle);
  uint32_t& head = groups_.Head(groups_.Of(HashOf(record.group())));
  record.group_next = head;
  record.group_prev = 0;
  if (head != 0) Get(head).group_prev = handle;
  head = handle;
}

void RecordStore::UnlinkGroup(Header& record) {
  if (record.group_prev != 0) {
    Get(record.group_prev).group_next = record.group_next;
  } else {
    groups_.Head(groups_.Of(HashOf(record.group()))) = record.group_next;
  }
  if (record.group_next != 0) Get(record.group_next).group_prev = record.group_prev;
}

uint32_t RecordStore::Allocate(size_t granules) {
  if (granules < free_.size() && free_[granules] != 0) {
    const uint32_t handle = free_[granules];
    std::memcpy(&free_[granules], &Get(handle), sizeof(uint32_t));
    return handle;
  }
  if (used_ + granules > kChunkGranules) {
    // What is left of the last chunk waits for a record of its size.
    if (used_ < kChunkGranules) {
      Free(static_cast<uint32_t>((chunks_.size() - 1) * kChunkGranules + used_),
           kChunkGranules - used_);
    }
    // Left as it is: every byte is written before it is read.
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(kChunkGranules * kGranule));
    used_ = chunks_.size() == 1 ? 1 : 0;  // handle 0 is nobody
  }
  const auto handle = static_cast<uint32_t>((chunks_.size() - 1) * kChunkGranules + used_);
  used_ += granules;
  return handle;
}

void RecordStore::Free(uint32_t handle, size_t granules) {
  if (free_.size() <= granules) free_.resize(granules + 1);
  std::memcpy(&Get(handle), &free_[granules], sizeof(uint32_t));
  free_[granules] = handle;
}

size_t RecordStore::memory_bytes() const {
  return chunks_.size() * (kChunkGranules * kGranule + sizeof(void*)) +
         (keys_.segments.size() + groups_.segments.size()) *
             (kSegment * sizeof(uint32_t) + sizeof(void*)) +
         free_.capacity() * sizeof(uint32_t) + sizeof(*this);
}

}  // namespace server
