// What a Pair keeps while a direction carries bulk: plain descriptors of both sockets, and a pipe
// for each direction, for splice(2). An idle connection has none of it.
#pragma once

#include <cstdint>

namespace lb {

struct Bulk {
  enum class State : uint8_t {
    kOff,
    kDraining,    // the receive was told to stop; what was received is still being sent
    kInstalling,  // the plain descriptors are on their way
    kOn,
    kLeaving,  // the pipe runs empty, then back to buffers
  };
  struct Direction {
    State state = State::kOff;
    int pipe_in = -1;
    int pipe_out = -1;
    uint32_t in_pipe = 0;  // bytes
    uint32_t last_ms = 0;  // when bytes moved
  };

  int fd[2] = {-1, -1};  // of the sides
  Direction direction[2];
};

// What a pipe is asked to hold. A process may be refused (fs.pipe-user-pages-soft); the 64 KiB that
// it gets then work, too.
inline constexpr int kBulkPipeBytes = 1 << 20;
// A direction that has brought nothing for so long goes back to buffers.
inline constexpr uint32_t kBulkIdleMs = 500;

}  // namespace lb
