// Limits per source address, counted over all workers: connections at once, and new ones a second.
//
// The table is of fixed size and split into shards with a lock each; it is asked only where a limit
// is configured, twice a connection. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>

#include "net/address.h"
#include "net/clock.h"

namespace lb {

struct SourceLimitOptions {
  uint32_t connections_max = 0;  // at once; 0 = none
  double rate = 0;               // new ones a second; 0 = none
  uint32_t entries_max = 65'536;
  uint8_t prefix_v6 = 64;
  uint64_t seed = 0;  // of the hash: peers choose the keys
};

class SourceLimits {
 public:
  explicit SourceLimits(const SourceLimitOptions& options);
  ~SourceLimits();

  // Counts a connection in; false when it is one too many (then it is not counted). Each true owes
  // one Leave().
  bool Enter(const net::Address& source, net::Time now);
  void Leave(const net::Address& source, net::Time now);

 private:
  struct Shard;
  const SourceLimitOptions options_;
  std::unique_ptr<Shard[]> shards_;
  Shard& ShardOf(const net::Address& source);
};

}  // namespace lb
