// How often each of many may do something: token buckets in a fixed table, by a keyed hash of who
// it is. Two that fall on one bucket share it; nobody can aim at another's, and no number of them
// costs more memory.
//
// Thread-safe.
#pragma once

#include <memory>
#include <string_view>

#include "net/base/clock.h"
#include "net/base/hash.h"
#include "net/limit/gcra.h"

namespace server {

class RateTable {
 public:
  static constexpr size_t kBuckets = 4'096;

  // `per_hour` at once, too. `key` is a secret, drawn at the start of the process.
  RateTable(double per_hour, const net::HashKey& key, net::Time now);

  bool Take(std::string_view who, net::Time now);

 private:
  const net::HashKey key_;
  std::unique_ptr<net::AtomicGcra[]> buckets_;
};

}  // namespace server
