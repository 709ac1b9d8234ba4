// Limits per source address, counted over all workers: connections at once, and new ones a second.
//
// SourceTable is one thread's; this puts shards of it behind a lock each. It is asked only where a
// limit is configured, twice a connection. Thread-safe.
#pragma once

#include <memory>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/base/hash.h"
#include "net/limit/source_table.h"

namespace net {

class SourceLimits {
 public:
  // `key` is a secret, drawn at the start of the process.
  SourceLimits(const SourceTableConfig& config, const HashKey& key);
  ~SourceLimits();

  // Counts a connection in; false when it is one too many (then it is not counted). Each true owes
  // one Leave().
  bool Enter(const Address& source, Time now);
  void Leave(const Address& source);
  // Counts a connection in that is there already: limits that are switched on count from the truth.
  // Owes a Leave(), as each true.
  void Hold(const Address& source, Time now);
  // After a reload; counts stay.
  void SetLimits(uint32_t connections_max, double rate);
  SourceTable::Counters counters() const;

 private:
  struct Shard;
  Shard& ShardOf(const SourceKey& source) const;

  const uint8_t prefix_v6_;
  const HashKey key_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace net
