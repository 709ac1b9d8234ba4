// What `mongoosedns check` refuses: lists beyond what the answers can hold.
#include "dns/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/test_folder.h"

namespace dns {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class ConfigFile : public ::testing::Test {
 protected:
  // The mistakes of a good file with lines added to its sections.
  std::vector<std::string> Mistakes(const std::string& in_server, const std::string& in_pool,
                                    const std::string& in_zone, const std::string& in_use,
                                    const std::string& at_end = "") {
    const std::string path = folder_ + "/dns.toml";
    std::ofstream(path) << "[server]\nlisten = [\"127.0.0.1:0\"]\nctl_socket = \"\"\n"
                        << in_server << "\n[pool.xmpp]\n"
                        << in_pool << "\n"
                        << balancers_ << "[zone.\"example.org\"]\nns = [\"ns1\"]\n"
                        << in_zone << "\n[[zone.\"example.org\".pool]]\npool = \"xmpp\"\n"
                        << "name = \"xmpp\"\n"
                        << in_use << "\n"
                        << at_end;
    auto config = LoadConfig(path);
    return config ? std::vector<std::string>() : config.error();
  }
  void Balancers(int count) {
    balancers_.clear();
    for (int i = 0; i < count; ++i) {
      balancers_ += "[[pool.xmpp.balancer]]\nname = \"lb" + std::to_string(i) +
                    "\"\naddresses = [\"192.0.2." + std::to_string(i + 1) + "\"]\n";
    }
  }
  static std::string List(const std::string& key, int count, const std::string& prefix,
                          const std::string& suffix = "") {
    std::string out = key + " = [";
    for (int i = 0; i < count; ++i) {
      out += "\"" + prefix + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + suffix +
             "\", ";
    }
    return out + "]";
  }

  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
  std::string balancers_ = "[[pool.xmpp.balancer]]\nname = \"lb0\"\naddresses = [\"192.0.2.1\"]\n";
};

TEST_F(ConfigFile, WithoutAdditionsIsGood) {
  EXPECT_THAT(Mistakes("", "", "", ""), ::testing::IsEmpty());
}

TEST_F(ConfigFile, AFallbackBeyondWhatAnAnswerHoldsIsRefused) {
  EXPECT_THAT(Mistakes("", List("fallback", 256, "198.18."), "", ""), ::testing::IsEmpty());
  EXPECT_THAT(Mistakes("", List("fallback", 257, "198.18."), "", ""),
              Contains(HasSubstr("pool.xmpp.fallback: has 257 entries, which is above the largest "
                                 "allowed, 256")));
}

TEST_F(ConfigFile, EveryOtherListHasABoundToo) {
  EXPECT_THAT(Mistakes(List("listen2", 1, "127.0."), "", "", ""),
              Contains(HasSubstr("did you mean 'listen'")));
  EXPECT_THAT(Mistakes("", "", List("transfer_allow", 2000, "10.0.", "/32"), ""),
              Contains(HasSubstr("transfer_allow: has 2000 entries")));
  EXPECT_THAT(Mistakes("", "", List("notify", 100, "10.0."), ""),
              Contains(HasSubstr("notify: has 100 entries")));
  EXPECT_THAT(Mistakes("", "", "", "", "[rate_limit]\n" + List("exempt", 2000, "10.0.", "/32")),
              Contains(HasSubstr("rate_limit.exempt: has 2000 entries")));
  EXPECT_THAT(Mistakes("", "", "", "", "[quorum]\n" + List("peers", 17, "10.0.", ":1")),
              Contains(HasSubstr("quorum.peers: has 17 entries")));
  EXPECT_THAT(Mistakes("", "", "", "", "[tls]\n" + List("listen", 17, "127.0.")),
              Contains(HasSubstr("tls.listen: has 17 entries")));
}

// One service at two ports makes one SRV set; so do two uses at one place.
TEST_F(ConfigFile, ServicesBeyondWhatAnAnswerHoldsAreRefused) {
  Balancers(60);
  const std::string four =
      "services = [\"xmpp-client:1\", \"xmpp-client:2\", \"xmpp-client:3\", \"xmpp-client:4\"";
  EXPECT_THAT(Mistakes("", "", "", four + "]"), ::testing::IsEmpty());
  EXPECT_THAT(
      Mistakes("", "", "", four + ", \"xmpp-client:5\"]"),
      Contains(HasSubstr("has 300 SRV records of pools, which is above the largest allowed, "
                         "256")));
  EXPECT_THAT(Mistakes("", "", "", four + "]",
                       "[[zone.\"example.org\".pool]]\npool = \"xmpp\"\nname = \"xmpp\"\n"
                       "services = [\"xmpp-client:5\"]\n"),
              Contains(HasSubstr("has 300 SRV records of pools")));
}

TEST_F(ConfigFile, TwoPoolsDoNotShareAName) {
  EXPECT_THAT(
      Mistakes(
          "", "", "", "",
          "[[zone.\"example.org\".pool]]\npool = \"other\"\nname = \"xmpp\"\n"
          "[pool.other]\n[[pool.other.balancer]]\nname = \"x\"\naddresses = [\"192.0.2.9\"]\n"),
      Contains(HasSubstr("has the addresses of two pools")));
}

TEST_F(ConfigFile, CookieSecretsAreBounded) {
  std::ofstream secrets(folder_ + "/secrets");
  for (int i = 0; i < 17; ++i) secrets << "0123456789abcdef0123456789abcdef\n";
  secrets.close();
  EXPECT_THAT(Mistakes("[server.cookies]\nsecret_file = \"secrets\"", "", "", ""),
              Contains(HasSubstr("secret_file: holds more secrets")));
}

}  // namespace
}  // namespace dns
