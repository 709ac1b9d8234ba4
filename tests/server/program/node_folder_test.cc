// A node's folder: how it is found, made, locked and read.
#include "server/program/node_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "server/node/discovery.h"
#include "server/program/descriptors.h"
#include "server/program/node_init.h"
#include "server/program/node_lock.h"
#include "server/program/node_setup.h"
#include "tests/test_folder.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class NodeFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    unsetenv("ERL_MAX_PORTS");
    const auto made = InitNodeFolder({.dir = root_, .name = "m1@localhost", .cookie = "C"},
                                     "/usr/bin/mongooseim");
    ASSERT_TRUE(made.has_value()) << made.error();
  }
  void Append(const std::string& name, const std::string& text) const {
    std::ofstream(root_ + "/" + name, std::ios::app) << text;
  }
  NodeFolder Folder() const { return {root_}; }

  const net::TestFolder scratch_;
  const std::string root_ = scratch_.path();
};

TEST_F(NodeFolderTest, WhatIsMadeIsGood) {
  const auto setup = ReadNodeSetup(Folder());
  ASSERT_TRUE(setup.has_value()) << setup.error()[0];
  EXPECT_EQ(setup->dist.node, "m1@localhost");
  EXPECT_EQ(setup->dist.cookie, "C");
  EXPECT_TRUE(setup->warnings.empty());
  EXPECT_EQ(setup->max_ports.value, 65536U);
}

TEST_F(NodeFolderTest, TheRangeIsTakenFromEitherFile) {
  Append("etc/vm.dist.args", "-kernel inet_dist_listen_min 50000 inet_dist_listen_max 50010\n");
  const auto setup = ReadNodeSetup(Folder());
  ASSERT_TRUE(setup.has_value());
  EXPECT_EQ(setup->dist.listen_min, 50000);
  EXPECT_EQ(setup->dist.listen_max, 50010);
  // A vm.args that names the other file has it read once.
  Append("etc/vm.args", "-args_file vm.dist.args\n");
  EXPECT_TRUE(ReadNodeSetup(Folder()).has_value());
}

TEST_F(NodeFolderTest, AllMistakesAreToldAtOnce) {
  Append("etc/vm.args", "-nonsense\n");
  Append("etc/vm.dist.args", "-kernel inet_dist_listen_min 0\n");
  Append("etc/mongooseim.toml", "nonsense = 1\n");
  const auto setup = ReadNodeSetup(Folder());
  ASSERT_FALSE(setup.has_value());
  EXPECT_THAT(setup.error(), ElementsAre(HasSubstr("-nonsense"), HasSubstr("inet_dist_listen_min"),
                                         HasSubstr("nonsense: unknown key")));
}

TEST_F(NodeFolderTest, ACookieThatOthersMayReadIsWarnedOf) {
  ASSERT_EQ(chmod((root_ + "/etc/vm.args").c_str(), 0644), 0);
  const auto setup = ReadNodeSetup(Folder());
  ASSERT_TRUE(setup.has_value());
  EXPECT_THAT(setup->warnings, ElementsAre(HasSubstr("chmod 0600")));
}

TEST_F(NodeFolderTest, IsHeldByOneProcess) {
  auto lock = NodeLock::Take(Folder().Lock());
  ASSERT_TRUE(lock.has_value()) << lock.error();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto again = NodeLock::Take(Folder().Lock());
    const bool told = !again &&
                      again.error().find(std::to_string(getppid())) != std::string::npos &&
                      NodeLock::Holder(Folder().Lock()) == getppid();
    _exit(told ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the other process was told who holds the folder";
}

TEST(DescriptorRemedy, IsThePagesOwn) {
  const std::string text = DescriptorRemedy(1024, 65536, "the default", "mongooseim");
  EXPECT_THAT(text, HasSubstr("the limit of open files is 1024"));
  EXPECT_THAT(text, HasSubstr("\n    mongooseim   soft   nofile   1000000\n"
                              "    mongooseim   hard   nofile   1000000\n"));
  EXPECT_THAT(text, HasSubstr("session required pam_limits.so"));
  EXPECT_THAT(DescriptorRemedy(1024, 2'000'000, "x", "u"), HasSubstr("LimitNOFILE=2000064"));
}

TEST(Discovery, ReadsANameALine) {
  EXPECT_THAT(ParseDiscovery("b@h\n  a@h  # the first\r\n\n# none\nnonsense\nb@h"),
              ElementsAre("a@h", "b@h"));
  EXPECT_THAT(ParseDiscovery(""), ElementsAre());
  std::string many;
  for (size_t i = 0; i < 2 * kDiscoveredMax; ++i) many += "n" + std::to_string(i) + "@h\n";
  EXPECT_EQ(ParseDiscovery(many).size(), kDiscoveredMax);
}

}  // namespace
}  // namespace server
