// The wall clock, for what people and other machines are told; it may jump. What waits or measures
// takes net::Clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace net {

inline constexpr int64_t kSecondUs = 1'000'000;

// Microseconds since 1970. Thread-safe.
inline int64_t UnixUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace net
