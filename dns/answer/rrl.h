// Response rate limiting: a server that answers spoofed sources must not become their weapon.
//
// Equal responses to one network (a /24, a /56) share a token bucket. Above the rate they are
// dropped, but every `slip`-th goes out truncated and empty, so that a real client behind the
// network comes back over TCP. Counted apart are: each positive answer by its question, denials by
// zone, referrals by zone, errors together. The table is of fixed size; what has not been asked for
// longest is forgotten first.
//
// One a worker, no locks; the worker's share of the rate is set by the caller. No allocation after
// construction.
#pragma once

#include <cstdint>
#include <vector>

#include "net/base/address.h"

namespace dns {

struct RateLimitConfig {
  uint32_t per_second = 200;  // equal responses to one network; 0: no limit
  uint32_t slip = 2;          // every n-th that is over goes out truncated; 0: none
  uint8_t prefix_v4 = 24;
  uint8_t prefix_v6 = 56;
  uint32_t table_entries = 65'536;
  std::vector<net::Cidr> exempt = {};

  bool operator==(const RateLimitConfig&) const = default;
};

enum class RateVerdict { kSend, kSlip, kDrop };

class RateLimiter {
 public:
  RateLimiter(const RateLimitConfig& config, uint64_t seed);

  // `response`: what the response is counted as. `now_ms`: milliseconds from any start.
  RateVerdict Check(const net::Address& client, uint64_t response, uint64_t now_ms);

 private:
  static constexpr size_t kWays = 4;
  struct Entry {
    uint64_t key = 0;
    uint64_t last_ms = 0;
    uint32_t milli_tokens = 0;
    uint32_t over = 0;
  };

  RateLimitConfig config_;
  uint64_t seed_;
  size_t mask_;
  std::vector<Entry> entries_;
};

}  // namespace dns
