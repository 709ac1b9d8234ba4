#include "server/modules/rate_table.h"

#include <cstdint>
#include <span>

namespace server {
namespace {

constexpr net::Duration kHour = std::chrono::hours(1);

}  // namespace

RateTable::RateTable(double per_hour, const net::HashKey& key, net::Time now)
    : key_(key), buckets_(std::make_unique<net::AtomicGcra[]>(kBuckets)) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i].SetRate(per_hour / 3'600, now, kHour);
}

bool RateTable::Take(std::string_view who, net::Time now) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(who.data());
  const uint64_t hash = net::KeyedHash(key_, std::span(bytes, who.size()));
  return buckets_[hash % kBuckets].Take(now, kHour, 1) == 1;
}

}  // namespace server
