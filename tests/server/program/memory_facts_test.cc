#include "server/program/memory_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/test_folder.h"

namespace server {
namespace {

using ::testing::HasSubstr;

class MemoryFactsTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = root_.Path(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  MemoryFacts Read() { return ReadMemoryFacts(root_.path()); }
  static uint64_t Pages(uint64_t count) {
    return count * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
  net::TestFolder root_;
};

TEST_F(MemoryFactsTest, TheMachineAndTheProcessAreRead) {
  Write("proc/self/statm", "9000 250 10 1 0 1 0\n");
  Write("proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\n");
  EXPECT_EQ(Read().resident, Pages(250));
  EXPECT_EQ(Read().machine, 8'000U * 1'024);
  EXPECT_FALSE(Read().group);
  EXPECT_TRUE(Read().warnings.empty());
}

TEST_F(MemoryFactsTest, TheLeastLimitOfTheGroupsAboveCounts) {
  Write("proc/self/cgroup", "0::/a/b\n");
  Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  Write("sys/fs/cgroup/a/memory.max", "5000\n");
  Write("sys/fs/cgroup/a/memory.high", "4000\n");
  Write("sys/fs/cgroup/memory.max", "9000\n");
  ASSERT_TRUE(Read().group);
  EXPECT_EQ(Read().group->limit, 4'000U);
  EXPECT_TRUE(Read().group->folder.ends_with("/sys/fs/cgroup/a"));
}

TEST_F(MemoryFactsTest, OfTheFirstVersionToo) {
  Write("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/docker/y\n0::/\n");
  Write("sys/fs/cgroup/memory/docker/y/memory.limit_in_bytes", "7000\n");
  ASSERT_TRUE(Read().group);
  EXPECT_EQ(Read().group->limit, 7'000U);
  EXPECT_FALSE(Read().group->second);
}

// As a container sees it whose group's name is that of the machine.
TEST_F(MemoryFactsTest, AFolderThatIsNotThereIsLookedForAbove) {
  Write("proc/self/cgroup", "4:memory:/docker/y\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "7000\n");
  ASSERT_TRUE(Read().group);
  EXPECT_EQ(Read().group->limit, 7'000U);
}

TEST_F(MemoryFactsTest, WhatCannotBeReadIsNotKnownAndSaysSoWithARemedy) {
  EXPECT_FALSE(Read().resident);
  EXPECT_FALSE(Read().machine);
  EXPECT_EQ(MemoryBoundsOf(0, Read()).process, 0U);
  ASSERT_EQ(Read().warnings.size(), 1U);
  EXPECT_THAT(Read().warnings[0], HasSubstr("mount /proc"));
  for (const char* text : {"", "9000\n", "9000 0 0 0\n", "a b c\n"}) {
    Write("proc/self/statm", text);
    EXPECT_FALSE(Read().resident) << text;
  }
}

TEST_F(MemoryFactsTest, AGroupWhoseLimitCannotBeReadIsWarnedOf) {
  Write("proc/self/statm", "9000 250 10 1 0 1 0\n");
  Write("proc/self/cgroup", "0::/a\n");
  ASSERT_EQ(Read().warnings.size(), 1U);
  EXPECT_THAT(Read().warnings[0], HasSubstr("[limits] memory"));
  Write("sys/fs/cgroup/a/memory.max", "max\n");
  EXPECT_TRUE(Read().warnings.empty()) << "it has none";
  Write("proc/self/cgroup", "0::/\n");
  EXPECT_TRUE(Read().warnings.empty()) << "the machine's own";
}

TEST_F(MemoryFactsTest, AGroupIsWhatItHasWithoutTheCacheOfFiles) {
  Write("g/memory.stat",
        "anon 500\nanon_thp 7\nfile 400\nsock 30\nshmem 20\nslab_unreclaimable 5\n");
  EXPECT_EQ(MemoryGauge(MemoryGroup{.limit = 1, .folder = root_.Path("g")}).Group(), 555U);
  Write("h/memory.stat",
        "cache 9\nrss 1\nshmem 1\ntotal_cache 300\ntotal_rss 600\ntotal_shmem 8\n");
  const MemoryGroup first{.limit = 1, .folder = root_.Path("h"), .second = false};
  EXPECT_EQ(MemoryGauge(first).Group(), 608U);
  Write("h/memory.stat", "rss 1\n");
  EXPECT_FALSE(MemoryGauge(first).Group());
  EXPECT_FALSE(MemoryGauge(MemoryGroup{.limit = 1, .folder = root_.Path("none")}).Group());
  EXPECT_FALSE(MemoryGauge(std::nullopt).Group());
}

TEST(MemoryBoundsTest, AreTheLeastOfWhatIsConfiguredTheGroupsAndTheMachines) {
  const MemoryFacts both{.machine = 10'000, .group = MemoryGroup{.limit = 5'000}};
  EXPECT_EQ(MemoryBoundsOf(0, both).process, 4'000U);
  EXPECT_EQ(MemoryBoundsOf(0, both).group, 4'500U);
  EXPECT_EQ(MemoryBoundsOf(0, both).messages, 250U);
  EXPECT_EQ(MemoryBoundsOf(123, both).process, 123U);
  EXPECT_EQ(MemoryBoundsOf(9'000, both).process, 4'500U) << "more than there is";
  EXPECT_EQ(MemoryBoundsOf(0, {.machine = 10'000}).process, 8'000U);
  EXPECT_EQ(MemoryBoundsOf(0, {.machine = 10'000}).group, 0U);
  // As version 1 says that there is no limit.
  const MemoryFacts none{.machine = 10'000,
                         .group = MemoryGroup{.limit = 9'223'372'036'854'771'712U}};
  EXPECT_EQ(MemoryBoundsOf(0, none).process, 8'000U);
  EXPECT_EQ(MemoryBoundsOf(0, none).group, 0U);
  EXPECT_EQ(MemoryBoundsOf(77, {}).process, 77U) << "nothing else is known";
}

TEST(MemoryBoundsTest, OfThisProcessAreKnown) {
  const MemoryFacts facts = ReadMemoryFacts();
  EXPECT_GT(facts.resident.value_or(0), 0U);
  EXPECT_GT(MemoryBoundsOf(0, facts).process, 0U);
  EXPECT_GT(MemoryGauge(facts.group).Resident().value_or(0), 0U);
}

}  // namespace
}  // namespace server
