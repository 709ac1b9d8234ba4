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

// Why 1000 a second: the resolvers of a whole provider may stand in one /24, and when a name's TTL
// is short each of them asks for it by itself. 786 queries a second for one name have been measured
// behind one provider; a limit of 200 (NSD's) lost 40 % of them. On the other side, what a forged
// source gets of one answer stays small: eight addresses are 170 bytes, three times the query,
// so 1.4 Mbit/s at the limit, and an attacker who asks for many names is not held by any limit of
// equal responses. Beyond it every second response is a truncated one, by which a real resolver
// comes back over TCP or proves itself with a cookie.
struct RateLimitConfig {
  uint32_t per_second = 1000;  // equal responses to one network; 0: no limit
  uint32_t slip = 2;           // every n-th that is over goes out truncated; 0: none
  uint8_t prefix_v4 = 24;
  uint8_t prefix_v6 = 56;
  uint32_t table_entries = 65'536;
  std::vector<net::Cidr> exempt = {};

  bool operator==(const RateLimitConfig&) const = default;
};

enum class RateVerdict { kSend, kSlip, kDrop };

// Says when limiting begins and when it has ended: a line each, however long it lasts. Pure; the
// log's thread.
class RateLimitWatch {
 public:
  // So long without a limited response is the end.
  static constexpr uint64_t kQuietMs = 60'000;
  enum class Event { kNone, kBegan, kEnded };

  // `limited`: all responses that were limited so far.
  Event Step(uint64_t limited, uint64_t now_ms);
  // How many since it began.
  uint64_t count() const { return last_ - before_; }

 private:
  bool limiting_ = false;
  uint64_t before_ = 0;
  uint64_t last_ = 0;
  uint64_t last_ms_ = 0;
};

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
