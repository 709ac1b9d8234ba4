// What becomes of an error of io_uring_enter(2) while operations wait to be submitted. Pure: the
// call and the making of room are handed in.
//
// An error is never passed over. Interrupted calls are made again. Where the kernel keeps
// completions that found no room (-EBUSY), they are taken first. Without memory for a request
// (-EAGAIN) it is tried again for about a second, in which the thread stands still: nothing else
// that it could do would need less. All else is a ring that has broken (its descriptor closed,
// another thread): no connection of it can go on, so the process ends, and its manager starts a
// new one.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>

namespace net {

// Tries without memory, and the pause between them.
inline constexpr int kSubmitTries = 1000;
inline constexpr std::chrono::microseconds kSubmitPause{1000};

enum class EnterError : uint8_t {
  kNone,    // (also: the time is over)
  kAgain,   // interrupted: once more
  kFull,    // completions must be taken first
  kMemory,  // none for a request: after a pause
  kBroken,  // for ever
};

inline EnterError EnterErrorOf(int result) {
  if (result >= 0) return EnterError::kNone;
  switch (-result) {
    case ETIME:
      return EnterError::kNone;
    case EINTR:
      return EnterError::kAgain;
    case EBUSY:
      return EnterError::kFull;
    case EAGAIN:
    case ENOMEM:
      return EnterError::kMemory;
    default:
      return EnterError::kBroken;
  }
}

// Submits until `waiting()` says that nothing is left. `enter` returns as the system call does, a
// negative errno; `make_room` takes completions; `pause` lets time pass. 0, or the errno for which
// it was given up. `errors` counts what was met.
template <typename Enter, typename Waiting, typename MakeRoom, typename Pause>
int SubmitAll(Enter&& enter, Waiting&& waiting, MakeRoom&& make_room, Pause&& pause,
              uint64_t* errors) {
  int tries = 0;
  while (waiting()) {
    const int result = enter();
    const EnterError error = EnterErrorOf(result);
    if (error == EnterError::kNone) {
      if (result > 0) tries = 0;
      if (result > 0 || ++tries <= kSubmitTries) continue;
      return EAGAIN;  // it takes nothing, and does not say why
    }
    ++*errors;
    if (error == EnterError::kBroken) return -result;
    if (error == EnterError::kFull) make_room();
    if (error == EnterError::kMemory) pause();
    if (++tries > kSubmitTries) return -result;
  }
  return 0;
}

}  // namespace net
