// What a worker counts. One Counters a worker: it alone adds, anybody reads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dns/wire/wire.h"

namespace dns {

class Counter {
 public:
  // By the owning thread only: a plain add, no locked instruction.
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

enum class Transport : uint8_t { kUdp, kTcp, kTls };
constexpr size_t kTransports = 3;
constexpr std::array<const char*, kTransports> kTransportNames = {"udp", "tcp", "tls"};

// Query types that have a counter of their own; all others share the last.
constexpr std::array<Type, 14> kCountedTypes = {
    Type::kA,  Type::kAaaa, Type::kSrv,   Type::kNs,     Type::kSoa,  Type::kMx,  Type::kTxt,
    Type::kDs, Type::kPtr,  Type::kHttps, Type::kDnskey, Type::kTlsa, Type::kCaa, Type::kAny};

struct alignas(64) Counters {
  std::array<Counter, kTransports> queries;
  std::array<Counter, kRcodeCount> responses;
  std::array<Counter, kCountedTypes.size() + 1> types;
  Counter dropped;    // no response: too short, or itself a response
  Counter malformed;  // FORMERR
  Counter truncated;  // TC
  Counter additional_left_out;
  Counter rrl_dropped;
  Counter rrl_slipped;
  Counter cookies_valid;
  Counter cookies_bad;
  Counter dnssec_ok;  // queries with DO
  Counter signed_on_demand;
  Counter sign_budget_spent;
  Counter transfers;
  Counter transfers_refused;
  Counter tsig_refused;
  Counter tsig_good;
  Counter receive_errors;
  Counter send_errors;
  Counter batches;  // receive calls that brought something
};

}  // namespace dns
