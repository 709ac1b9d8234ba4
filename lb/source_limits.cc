#include "lb/source_limits.h"

#include <mutex>
#include <unordered_map>

namespace lb {
namespace {
constexpr size_t kShards = 16;
}

struct SourceLimits::Shard {
  struct Entry {
    uint32_t active = 0;
    net::Time next{};
  };
  std::mutex mutex;
  std::unordered_map<net::Address, Entry> entries;
};

SourceLimits::SourceLimits(const SourceLimitOptions& options)
    : options_(options), shards_(std::make_unique<Shard[]>(kShards)) {}
SourceLimits::~SourceLimits() = default;

SourceLimits::Shard& SourceLimits::ShardOf(const net::Address& source) {
  return shards_[source.HashIp(options_.seed) % kShards];
}

bool SourceLimits::Enter(const net::Address& source, net::Time) {
  Shard& shard = ShardOf(source);
  std::lock_guard lock(shard.mutex);
  Shard::Entry& entry = shard.entries[source.Network(32, options_.prefix_v6)];
  if (options_.connections_max != 0 && entry.active >= options_.connections_max) return false;
  ++entry.active;
  return true;
}

void SourceLimits::Leave(const net::Address& source, net::Time) {
  Shard& shard = ShardOf(source);
  std::lock_guard lock(shard.mutex);
  --shard.entries[source.Network(32, options_.prefix_v6)].active;
}

}  // namespace lb
