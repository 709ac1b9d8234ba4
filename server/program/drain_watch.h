// How far a node is that is taken out of service: whose connection was closed comes back elsewhere,
// and has a while for it, in which its session moves; then the homes of those move as well.
//
// Pure; one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "net/base/clock.h"

namespace server {

class DrainWatch {
 public:
  // From when no connection is left.
  static constexpr net::Duration kComeBack = std::chrono::seconds(10);
  static constexpr net::Duration kMoveHomes = std::chrono::seconds(30);

  struct Seen {
    uint64_t connections = 0;
    uint64_t detached = 0;  // sessions that may be resumed
    uint64_t guests = 0;    // of other nodes, whose homes may yet move there
    bool alone = false;     // nobody else is there to resume them at
  };

  // Of a drain that must be over within that: when its last connection is to be closed.
  static net::Duration Pace(net::Duration within, bool alone) {
    return alone ? within : std::max(within - kComeBack, within / 2);
  }

  bool draining() const { return draining_; }
  // Ordered again it is the same drain.
  void Begin() {
    if (!std::exchange(draining_, true)) empty_since_.reset();
  }
  void End() { draining_ = false; }

  // What is to be waited for before the node may stop.
  uint64_t Left(const Seen& seen, net::Time now) {
    // One that does not drain has just lost whom it lost.
    if (seen.connections > 0 || !draining_) empty_since_.reset();
    if (seen.connections > 0) return seen.connections;
    if (!empty_since_) empty_since_ = now;
    if (seen.alone) return 0;
    const net::Duration empty = now - *empty_since_;
    return (empty >= kComeBack ? 0 : seen.detached) + (empty >= kMoveHomes ? 0 : seen.guests);
  }

 private:
  bool draining_ = false;
  std::optional<net::Time> empty_since_;  // without a connection since then
};

}  // namespace server
