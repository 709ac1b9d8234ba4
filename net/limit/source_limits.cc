#include "net/limit/source_limits.h"

#include <mutex>

#include "net/base/hash.h"

namespace net {
namespace {

constexpr size_t kShards = 16;

SourceTableConfig ForShard(SourceTableConfig config) {
  config.entries_max = (config.entries_max + kShards - 1) / kShards;
  return config;
}

}  // namespace

struct SourceLimits::Shard {
  std::mutex mutex;
  std::unique_ptr<SourceTable> table;  // guarded by mutex
};

SourceLimits::SourceLimits(const SourceTableConfig& config, const HashKey& key)
    : prefix_v6_(config.prefix_v6), key_(key), shards_(std::make_unique<Shard[]>(kShards)) {
  for (size_t i = 0; i < kShards; ++i) {
    // Another key a shard, lest the bits that chose the shard choose the place, too.
    shards_[i].table = std::make_unique<SourceTable>(ForShard(config), HashKey{key.k1, key.k0 + i});
  }
}

SourceLimits::~SourceLimits() = default;

SourceLimits::Shard& SourceLimits::ShardOf(const SourceKey& source) const {
  return shards_[KeyedHash(key_, source) % kShards];
}

bool SourceLimits::Enter(const Address& source, Time now) {
  const SourceKey key = SourceKeyOf(source, prefix_v6_);
  Shard& shard = ShardOf(key);
  std::lock_guard lock(shard.mutex);
  return shard.table->Admit(key, now).verdict == SourceVerdict::kAdmitted;
}

void SourceLimits::Leave(const Address& source) {
  const SourceKey key = SourceKeyOf(source, prefix_v6_);
  Shard& shard = ShardOf(key);
  std::lock_guard lock(shard.mutex);
  shard.table->ReleaseSource(key);
}

void SourceLimits::Hold(const Address& source, Time now) {
  const SourceKey key = SourceKeyOf(source, prefix_v6_);
  Shard& shard = ShardOf(key);
  std::lock_guard lock(shard.mutex);
  shard.table->Hold(key, now);
}

void SourceLimits::SetLimits(uint32_t connections_max, double rate) {
  for (size_t i = 0; i < kShards; ++i) {
    std::lock_guard lock(shards_[i].mutex);
    shards_[i].table->SetLimits(connections_max, rate);
  }
}

SourceTable::Counters SourceLimits::counters() const {
  SourceTable::Counters sum;
  for (size_t i = 0; i < kShards; ++i) {
    std::lock_guard lock(shards_[i].mutex);
    const SourceTable::Counters& one = shards_[i].table->counters();
    sum.admitted += one.admitted;
    sum.too_many += one.too_many;
    sum.too_fast += one.too_fast;
    sum.untracked += one.untracked;
    sum.evicted += one.evicted;
  }
  return sum;
}

}  // namespace net
