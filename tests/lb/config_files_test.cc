// What a configuration names: files with passwords, and hosts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/lb/config_text.h"
#include "tests/test_folder.h"

namespace lb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class PasswordFile : public ::testing::Test {
 protected:
  void SetUp() override { path_ = folder_ + "/password"; }
  void Write(std::string_view text, mode_t mode) {
    std::ofstream(path_) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  std::string Text() {
    return AtEnd("[[pool.xmpp.check]]\ntype = \"http\"\nuser = \"u\"\npassword_file = \"" + path_ +
                 "\"");
  }
  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
  std::string path_;
};

TEST_F(PasswordFile, IsReadWithoutItsLineEnd) {
  Write("s3 cret\n", 0600);
  auto config = ParseConfig(Text(), "lb.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->pools[0].checks[0].password, "s3 cret");
}

TEST_F(PasswordFile, OfTheStatusSectionIsReadByTheSameRules) {
  const auto text = [this](const std::string& more) {
    return AtEnd("[pool.xmpp.status]\nport = 5280\nuser = \"u\"\npassword_file = \"" + path_ +
                 "\"\n" + more);
  };
  Write("secret\n", 0600);
  auto config = ParseConfig(text("drain = \"/api/drain\""), "lb.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->pools[0].status->drain, "/api/drain");
  EXPECT_EQ(config->pools[0].status->password, "secret");
  EXPECT_THAT(Mistakes(text("")), ElementsAre(HasSubstr("user: has no effect without drain")));
  EXPECT_THAT(Mistakes(text("drain = \"api\"")), ElementsAre(HasSubstr("is not an HTTP path")));
  Write("secret\n", 0644);
  EXPECT_THAT(Mistakes(text("drain = \"/api/drain\"")), ElementsAre(HasSubstr("chmod 0600")));
}

TEST_F(PasswordFile, ThatOthersMayReadIsRefused) {
  for (mode_t mode : {0640U, 0604U, 0620U, 0602U, 0644U}) {
    Write("secret\n", mode);
    char octal[8];
    std::snprintf(octal, sizeof(octal), "%04o", mode);
    EXPECT_THAT(
        Mistakes(Text()),
        ElementsAre("lb.toml:21: pool.xmpp.check[1].password_file: '" + path_ + "' has the mode " +
                    octal + ", so that others than its owner may read or write it; chmod 0600 " +
                    path_));
  }
  Write("secret\n", 0400);
  EXPECT_THAT(Mistakes(Text()), IsEmpty());
}

TEST_F(PasswordFile, WithoutOnePlainLineIsRefusedWithoutShowingIt) {
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string("a\nb\n"), std::string(2000, 'x')}) {
    Write(text, 0600);
    EXPECT_THAT(Mistakes(Text()),
                ElementsAre("lb.toml:21: pool.xmpp.check[1].password_file: '" + path_ +
                            "' does not hold one line with a password; write the password alone, "
                            "up to 1024 bytes"));
    ASSERT_EQ(std::remove(path_.c_str()), 0);
  }
  std::filesystem::create_directory(path_);
  ASSERT_EQ(chmod(path_.c_str(), 0700), 0);
  EXPECT_THAT(Mistakes(Text()), ElementsAre("lb.toml:21: pool.xmpp.check[1].password_file: '" +
                                            path_ + "' is not a file"));
}

NodeConfig NodeAt(std::string_view address) {
  return {.name = "n",
          .origin = {.file = "lb.toml", .line = 7, .key = "pool.p.node[1].address"},
          .address = net::Endpoint::Parse(address).value()};
}

TEST(ResolveNode, AddressesAndPathsStayAsTheyAre) {
  EXPECT_EQ(ResolveNode(NodeAt("[::1]:5222"))->ToString(), "[::1]:5222");
  EXPECT_EQ(ResolveNode(NodeAt("unix:/run/x"))->ToString(), "unix:/run/x");
}

TEST(ResolveNode, AHostNameBecomesItsAddress) {
  auto endpoint = ResolveNode(NodeAt("localhost:5222"));
  ASSERT_TRUE(endpoint) << endpoint.error().ToString();
  EXPECT_EQ(endpoint->kind, net::Endpoint::Kind::kIp);
  EXPECT_TRUE(endpoint->address.IsLoopback());
  EXPECT_EQ(endpoint->address.port(), 5222);
  EXPECT_EQ(endpoint->port, 5222);
}

TEST(ResolveNode, AnUnknownHostIsToldWithItsLineAndRemedy) {
  auto endpoint = ResolveNode(NodeAt("nowhere.invalid:5222"));
  ASSERT_FALSE(endpoint);
  EXPECT_THAT(endpoint.error().ToString(),
              StartsWith("lb.toml:7: pool.p.node[1].address: host 'nowhere.invalid' cannot be "
                         "resolved: "));
  EXPECT_THAT(endpoint.error().remedy, HasSubstr("write the IP address"));
}

}  // namespace
}  // namespace lb
