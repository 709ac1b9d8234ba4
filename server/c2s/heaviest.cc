#include "server/c2s/heaviest.h"

#include <algorithm>
#include <bit>
#include <tuple>

namespace server {
namespace {

// Smaller goes first.
std::tuple<bool, int, uint64_t> Rank(const HeavySession& session) {
  if (session.bytes < kHeavyBytes) return {true, 0, session.bound};
  return {false, -static_cast<int>(std::bit_width(session.bytes)), ~session.bound};
}

}  // namespace

std::vector<HeavySession> ChooseHeaviest(std::vector<HeavySession> sessions, uint64_t bytes) {
  std::erase_if(sessions, [](const auto& one) { return one.bytes < kHeavyBytes && !one.detached; });
  std::ranges::sort(sessions, {}, Rank);
  size_t chosen = 0;
  for (uint64_t sum = 0; chosen < sessions.size() && sum < bytes; ++chosen) {
    sum += sessions[chosen].bytes;
  }
  sessions.resize(chosen);
  return sessions;
}

}  // namespace server
