#include "dns/answer/rrl.h"

#include <algorithm>
#include <bit>

namespace dns {

RateLimiter::RateLimiter(const RateLimitConfig& config, uint64_t seed)
    : config_(config), seed_(seed) {
  size_t sets = std::bit_ceil(std::max<size_t>(config.table_entries / kWays, 1));
  if (config.per_second == 0) sets = 1;
  mask_ = sets - 1;
  entries_.resize(sets * kWays);
}

RateLimitWatch::Event RateLimitWatch::Step(uint64_t limited, uint64_t now_ms) {
  bool more = limited != last_;
  if (!limiting_ && more) {
    limiting_ = true;
    before_ = std::min(last_, limited);
    last_ = limited;
    last_ms_ = now_ms;
    return Event::kBegan;
  }
  last_ = limited;
  if (more) last_ms_ = now_ms;
  if (!limiting_ || now_ms - last_ms_ < kQuietMs) return Event::kNone;
  limiting_ = false;
  return Event::kEnded;
}

RateVerdict RateLimiter::Check(const net::Address& client, uint64_t response, uint64_t now_ms) {
  if (config_.per_second == 0) return RateVerdict::kSend;
  uint64_t network = client.Network(config_.prefix_v4, config_.prefix_v6).HashIp(seed_);
  __uint128_t product =
      static_cast<__uint128_t>(network ^ seed_) * (response ^ 0xe7037ed1a0b428dbu);
  uint64_t key = (static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64)) | 1;
  Entry* set = &entries_[(key >> 16 & mask_) * kWays];
  Entry* entry = set;
  for (size_t i = 0; i < kWays; ++i) {
    if (set[i].key == key) {
      entry = &set[i];
      break;
    }
    if (set[i].last_ms < entry->last_ms) entry = &set[i];
  }
  uint64_t full = uint64_t{config_.per_second} * 1000;
  if (entry->key != key)
    *entry = {key, now_ms, static_cast<uint32_t>(std::min<uint64_t>(full, UINT32_MAX)), 0};
  uint64_t elapsed = now_ms > entry->last_ms ? now_ms - entry->last_ms : 0;
  uint64_t tokens = std::min(full, entry->milli_tokens + elapsed * config_.per_second);
  entry->last_ms = now_ms;
  entry->milli_tokens = static_cast<uint32_t>(tokens);
  if (tokens >= 1000) {
    entry->milli_tokens -= 1000;
    entry->over = 0;
    return RateVerdict::kSend;
  }
  // Only a response that is over is looked up in the list, so that the list costs others nothing.
  for (const net::Cidr& exempt : config_.exempt) {
    if (exempt.Contains(client)) return RateVerdict::kSend;
  }
  ++entry->over;
  bool slips = config_.slip != 0 && entry->over % config_.slip == 0;
  return slips ? RateVerdict::kSlip : RateVerdict::kDrop;
}

}  // namespace dns
