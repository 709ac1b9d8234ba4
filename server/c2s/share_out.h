// A whole number of things, shared out by weights: each has its part, rounded, and all of them
// together have all.
//
// Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace server {

// Nobody has more than its weight; above the sum of them the rest is nobody's.
inline std::vector<uint64_t> ShareOut(uint64_t count, std::span<const uint64_t> weights) {
  uint64_t all = 0;
  for (const uint64_t weight : weights) all += weight;
  count = std::min(count, all);
  std::vector<uint64_t> shares;
  // What all up to here have, rounded down: what one leaves of it the next one has.
  uint64_t up_to = 0;
  uint64_t given = 0;
  for (const uint64_t weight : weights) {
    up_to += weight;
    const uint64_t due = all == 0 ? 0 : count * up_to / all;
    shares.push_back(due - given);
    given = due;
  }
  return shares;
}

}  // namespace server
