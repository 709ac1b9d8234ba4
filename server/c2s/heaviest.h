// Which sessions go when a node is short of memory: those that wait with the most, wherever they
// are, and no more of them than what is needed.
//
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/im/ports.h"

namespace server {

// Below it a session with a connection has little to give: it stays, whatever memory there is.
inline constexpr uint64_t kHeavyBytes = 16 * 1024;

struct HeavySession {
  SessionId id;
  uint64_t bytes = 0;     // that it waits with: not acknowledged, not taken by the kernel
  uint64_t bound = 0;     // when it was bound; greater is newer
  bool detached = false;  // without a connection
  size_t worker = 0;      // that has it
};

// The first of them whose bytes reach `bytes`, or all: those with a connection that wait with
// kHeavyBytes or more and detached ones as heavy, the heaviest first; then detached ones, the
// oldest first. Of two that wait with much the same (within a factor of two) the newer goes first.
std::vector<HeavySession> ChooseHeaviest(std::vector<HeavySession> sessions, uint64_t bytes);

}  // namespace server
