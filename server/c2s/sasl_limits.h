// Failed logins, counted by account and by address: who fails too often is not tried for a while.
// Successes cost nothing and are not counted, however many there are (mobile clients log in all
// day).
//
// Bounded: at most `entries_max` names are remembered, and what is paid off makes room first.
// Thread-safe: all workers share one.
#pragma once

#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/base/hash.h"
#include "net/limit/gcra.h"

namespace server {

class SaslLimits {
 public:
  struct Options {
    double account_per_s = 10.0 / 60;  // 0: no limit
    double address_per_s = 30.0 / 60;
    net::Duration burst = std::chrono::minutes(1);  // so long a time's failures may come at once
    size_t entries_max = 65'536;
  };
  // `key` is a secret: names are the clients' choice.
  SaslLimits(const Options& options, const net::HashKey& key) : options_(options), key_(key) {}

  bool MayTry(std::string_view account, const net::Address& address, net::Time now);
  // `account`: "" where none was named.
  void OnGuess(std::string_view account, const net::Address& address, net::Time now);
  size_t entries() const;

 private:
  uint64_t KeyOf(std::string_view account) const;
  uint64_t KeyOf(const net::Address& address) const;
  bool Free(uint64_t key, net::Time now) const;
  void Owe(uint64_t key, double per_s, net::Time now);

  const Options options_;
  const net::HashKey key_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, net::AtomicGcra> entries_;  // guarded by mutex_
};

}  // namespace server
