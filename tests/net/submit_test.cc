#include "net/io/submit.h"

#include <gtest/gtest.h>

#include <vector>

namespace net {
namespace {

// io_uring_enter as a script: what each call returns; then it takes all that waits.
struct Kernel {
  std::vector<int> results;
  size_t calls = 0;
  int waiting = 3;
  int rooms = 0;
  int pauses = 0;
  uint64_t errors = 0;

  int Submit() {
    return SubmitAll(
        [&] {
          const size_t call = calls++;
          const int result = call < results.size() ? results[call] : waiting;
          if (result > 0) waiting -= result;
          return result;
        },
        [&] { return waiting > 0; }, [&] { ++rooms; }, [&] { ++pauses; }, &errors);
  }
};

TEST(Submit, TakesCompletionsOnBusyPausesWithoutMemoryAndGoesOnUntilAllIsSubmitted) {
  Kernel kernel{.results = {-EINTR, -EBUSY, 1, -EAGAIN, -EBUSY, 1}};
  EXPECT_EQ(kernel.Submit(), 0);
  EXPECT_EQ(kernel.waiting, 0);
  EXPECT_EQ(kernel.rooms, 2);
  EXPECT_EQ(kernel.pauses, 1);
  EXPECT_EQ(kernel.errors, 4U);
  EXPECT_EQ(kernel.calls, 7U);
}

TEST(Submit, ARingThatHasBrokenIsGivenUpAtOnce) {
  for (const int error : {EBADF, EEXIST, EFAULT, EINVAL, ENXIO, EOPNOTSUPP}) {
    Kernel kernel{.results = {-error}};
    EXPECT_EQ(kernel.Submit(), error);
    EXPECT_EQ(kernel.calls, 1U);
    EXPECT_EQ(kernel.errors, 1U);
  }
}

TEST(Submit, WithoutMemoryOrRoomForTooLongItGivesUpInsteadOfSpinning) {
  for (const int result : {-EAGAIN, -EBUSY, -EINTR, 0}) {
    Kernel kernel{.results = std::vector<int>(5'000, result)};
    EXPECT_EQ(kernel.Submit(), result == 0 ? EAGAIN : -result);
    EXPECT_LE(kernel.calls, size_t{kSubmitTries} + 1);
  }
}

TEST(Submit, WhatIsTakenAgainStartsTheTriesAnew) {
  Kernel kernel{.results = {}, .waiting = 3};
  for (int i = 0; i < 3; ++i) {
    kernel.results.insert(kernel.results.end(), 900, -EAGAIN);
    kernel.results.push_back(1);
  }
  EXPECT_EQ(kernel.Submit(), 0);
}

}  // namespace
}  // namespace net
