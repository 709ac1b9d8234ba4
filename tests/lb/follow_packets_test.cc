// Where each worker stands a processor of its own, and where that would do harm.
#include "lb/config/follow_packets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/test_folder.h"

namespace lb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A folder in the place of /sys/class/net.
class FollowPacketsTest : public ::testing::Test {
 protected:
  void SetUp() override { Interface("lo", "unknown", {"0"}); }
  // With the RPS masks of its receive queues.
  void Interface(const std::string& name, const std::string& state,
                 const std::vector<std::string>& masks) {
    const std::filesystem::path path = std::filesystem::path(folder_) / name;
    std::filesystem::remove_all(path);
    for (size_t i = 0; i < masks.size(); ++i) {
      const auto queue = path / "queues" / ("rx-" + std::to_string(i));
      std::filesystem::create_directories(queue);
      std::ofstream(queue / "rps_cpus") << masks[i] << "\n";
      std::filesystem::create_directories(path / "queues" / ("tx-" + std::to_string(i)));
    }
    std::ofstream(path / "operstate") << state << "\n";
  }
  std::vector<int> Auto(size_t workers, const std::vector<int>& cpus) {
    return WorkerCpus(FollowPackets::kAuto, workers, cpus, folder_);
  }

  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
};

TEST_F(FollowPacketsTest, AutoIsOnWhereEveryProcessorGetsItsPackets) {
  EXPECT_THAT(Auto(2, {0, 1}), ElementsAre(0, 1)) << "loopback alone";
  Interface("eth0", "up", {"0", "0"});
  EXPECT_THAT(Auto(2, {2, 5}), ElementsAre(2, 5)) << "a queue for each";
  Interface("eth0", "up", {"0"});
  EXPECT_THAT(Auto(2, {0, 1}), IsEmpty()) << "one queue for all";
  Interface("eth0", "down", {"0"});
  EXPECT_THAT(Auto(2, {0, 1}), ElementsAre(0, 1)) << "which carries nothing";
  Interface("eth0", "up", {"00000000,00000003"});
  EXPECT_THAT(Auto(2, {0, 1}), ElementsAre(0, 1)) << "spread by RPS";
  EXPECT_THAT(Auto(3, {0, 1, 2}), IsEmpty()) << "over two of three";
  Interface("eth0", "up", {"00000001,00000001"});
  EXPECT_THAT(Auto(2, {0, 32}), ElementsAre(0, 32));
}

TEST_F(FollowPacketsTest, AutoIsOffUnlessThereAreAsManyWorkersAsProcessors) {
  EXPECT_THAT(Auto(1, {0, 1}), IsEmpty());
  EXPECT_THAT(Auto(4, {0, 1}), IsEmpty());
  EXPECT_THAT(Auto(1, {0}), IsEmpty());
  EXPECT_THAT(WorkerCpus(FollowPackets::kAuto, 2, {0, 1}, folder_ + "/none"), IsEmpty());
}

TEST_F(FollowPacketsTest, OnAndOffDoNotLook) {
  Interface("eth0", "up", {"0"});
  EXPECT_THAT(WorkerCpus(FollowPackets::kOn, 3, {4, 6}, folder_), ElementsAre(4, 6, 4));
  EXPECT_THAT(WorkerCpus(FollowPackets::kOff, 2, {0, 1}, folder_), IsEmpty());
}

}  // namespace
}  // namespace lb
