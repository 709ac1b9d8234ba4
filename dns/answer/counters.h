// What a worker counts. One Counters a worker: it alone adds, anybody reads.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dns/wire/wire.h"
#include "net/base/address.h"

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

// An address that any thread may read while one writes it: the last client that was limited.
class LastClient {
 public:
  void Set(const net::Address& client) {
    std::array<uint64_t, 2> words{};
    auto ip = client.ip();
    std::memcpy(words.data(), ip.data(), std::min(ip.size(), sizeof words));
    // Whoever sees a part of what follows sees the odd version, too. (Orders, not fences: the
    // thread sanitizer knows none.)
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    size_.store(static_cast<uint32_t>(ip.size()), std::memory_order_release);
    for (size_t i = 0; i < 2; ++i) words_[i].store(words[i], std::memory_order_release);
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // Its bytes, 4 or 16; nothing when there was none, or when it is being written just now.
  std::vector<uint8_t> Get() const {
    uint32_t before = version_.load(std::memory_order_acquire);
    std::array<uint64_t, 2> words{};
    for (size_t i = 0; i < 2; ++i) words[i] = words_[i].load(std::memory_order_acquire);
    uint32_t size = size_.load(std::memory_order_acquire);
    if (before % 2 != 0 || version_.load(std::memory_order_relaxed) != before) return {};
    std::vector<uint8_t> ip(std::min<size_t>(size, sizeof words));
    std::memcpy(ip.data(), words.data(), ip.size());
    return ip;
  }

 private:
  std::atomic<uint32_t> version_{0};
  std::atomic<uint32_t> size_{0};
  std::array<std::atomic<uint64_t>, 2> words_{};
};

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
  LastClient rrl_last;
  Counter cookies_valid;
  Counter cookies_bad;
  Counter dnssec_ok;  // queries with DO
  Counter signed_on_demand;
  Counter sign_budget_spent;
  Counter transfers;
  Counter transfers_incremental;
  Counter transfers_refused;
  Counter tsig_refused;
  Counter tsig_good;
  Counter receive_errors;
  Counter send_errors;
  Counter batches;  // receive calls that brought something
};

}  // namespace dns
