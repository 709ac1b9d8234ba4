// How long a Pair takes to see that a side is gone, and to pass its last words on (ends.cc).
#pragma once

#include <algorithm>

#include "lb/proxy/runtime.h"
#include "net/base/clock.h"

namespace lb {

// A side whose reset may have gone unnoticed is looked at within this part of fin_timeout, and what
// it had said is passed on within the rest of it.
inline constexpr int kLookPart = 4;
// It is looked at so soon at the latest.
inline constexpr net::Duration kLookSoon = std::chrono::seconds(1);
// What bounds the rest where fin_timeout is none: a socket that has failed is not kept for ever.
inline constexpr net::Duration kLostLimit = std::chrono::seconds(30);
// A cancel that came too early (see Ring::Cancel) is given again after this.
inline constexpr net::Duration kCancelAgain = std::chrono::seconds(1);
// How often a lost side is read afresh, and the other asked what it has acknowledged.
inline constexpr net::Duration kAskAgain = std::chrono::milliseconds(50);

// So long a reset keeps behind bytes that went out before it, unless they had been read for longer:
// it takes away what its receiver has not read yet, or makes it look no further (poll(2),
// SO_ERROR).
inline constexpr net::Duration kReadTime = std::chrono::seconds(1);

// What a client says first, a ClientHello or a stream's opening, is no longer. A node that resets
// the connection behind more of it than that is not blamed.
inline constexpr uint64_t kOpeningMax = 2048;

inline net::Duration LookSoon(const PoolSettings& settings) {
  if (settings.fin_timeout <= net::Duration::zero()) return kLookSoon;
  return std::min(kLookSoon, settings.fin_timeout / kLookPart);
}

inline net::Duration ReadTime(const PoolSettings& settings) {
  if (settings.fin_timeout <= net::Duration::zero()) return kReadTime;
  return std::min(kReadTime, settings.fin_timeout / kLookPart);
}

inline net::Duration LostLimit(const PoolSettings& settings) {
  if (settings.fin_timeout <= net::Duration::zero()) return kLostLimit;
  return settings.fin_timeout - settings.fin_timeout / kLookPart;
}

}  // namespace lb
