#include "server/program/memory_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/test_folder.h"

namespace server {
namespace {

class MemoryFactsTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = root_.Path(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  MemoryFacts Read() { return ReadMemoryFacts(root_.path()); }
  net::TestFolder root_;
};

TEST_F(MemoryFactsTest, TheMachineAndTheProcessAreRead) {
  Write("proc/self/statm", "9000 250 10 1 0 1 0\n");
  Write("proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\n");
  EXPECT_EQ(Read().resident, 250U * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(Read().machine, 8'000U * 1'024);
  EXPECT_EQ(Read().cgroup, 0U);
}

TEST_F(MemoryFactsTest, TheLeastBoundOfTheGroupsAboveCounts) {
  Write("proc/self/cgroup", "0::/a/b\n");
  Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  Write("sys/fs/cgroup/a/memory.max", "5000\n");
  Write("sys/fs/cgroup/a/memory.high", "4000\n");
  Write("sys/fs/cgroup/memory.max", "9000\n");
  EXPECT_EQ(Read().cgroup, 4'000U);
}

TEST_F(MemoryFactsTest, OfTheFirstVersionToo) {
  Write("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/y\n");
  Write("sys/fs/cgroup/memory/docker/y/memory.limit_in_bytes", "7000\n");
  EXPECT_EQ(Read().cgroup, 7'000U);
}

TEST_F(MemoryFactsTest, WhatIsNotThereIsNoBound) { EXPECT_EQ(MemoryBound(0, Read()), 0U); }

TEST(MemoryBoundTest, IsWhatIsConfiguredOrFourFifthsOfTheLeast) {
  EXPECT_EQ(MemoryBound(123, {.machine = 10'000, .cgroup = 5'000}), 123U);
  EXPECT_EQ(MemoryBound(0, {.machine = 10'000, .cgroup = 5'000}), 4'000U);
  EXPECT_EQ(MemoryBound(0, {.machine = 10'000}), 8'000U);
}

TEST(MemoryBoundTest, OfThisProcessIsKnown) {
  const MemoryFacts facts = ReadMemoryFacts();
  EXPECT_GT(facts.resident, 0U);
  EXPECT_GT(MemoryBound(0, facts), 0U);
}

TEST(MemoryWatchTest, GoesUpAtOnceAndDownWhenThereIsRoomAgain) {
  MemoryWatch watch(1'000);
  EXPECT_EQ(watch.Look(850), MemoryPressure::kEnough);
  EXPECT_EQ(watch.Look(900), MemoryPressure::kShort);
  EXPECT_EQ(watch.Look(970), MemoryPressure::kFull);
  EXPECT_EQ(watch.Look(890), MemoryPressure::kShort);
  EXPECT_EQ(watch.Look(810), MemoryPressure::kShort) << "not to and fro";
  EXPECT_EQ(watch.Look(799), MemoryPressure::kEnough);
  EXPECT_EQ(MemoryWatch(0).Look(1'000'000), MemoryPressure::kEnough) << "nothing is known";
}

}  // namespace
}  // namespace server
