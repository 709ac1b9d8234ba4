// Limits per source address, counted over all workers: connections at once, and new ones a second.
//
// SourceTable is one thread's; this puts shards of it behind a lock each. It is asked only where a
// limit is configured, twice a connection. Thread-safe.
#pragma once

#include <memory>

#include "lb/source_table.h"
#include "net/address.h"
#include "net/clock.h"

namespace lb {

class SourceLimits {
 public:
  explicit SourceLimits(const SourceTableConfig& config);
  ~SourceLimits();

  // Counts a connection in. An admission owes one Release() of its handle.
  SourceTable::Admission Admit(const net::Address& source, net::Time now);
  void Release(const net::Address& source, SourceTable::Handle handle);
  // After a reload; counts stay.
  void SetLimits(uint32_t connections_max, double rate);
  SourceTable::Counters counters() const;

 private:
  struct Shard;
  Shard& ShardOf(const SourceKey& key) const;

  const uint8_t prefix_v6_;
  HashKey shard_key_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace lb
