// What `mongoosedns check` refuses: lists beyond what the answers can hold.
#include "dns/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dns/config/reload_table.h"
#include "tests/known_keys.h"
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

TEST_F(ConfigFile, TheLogGoesWhereItIsTold) {
  EXPECT_THAT(Mistakes("", "", "", "", "[log]\ntarget = \"journald\"\n"), ::testing::IsEmpty());
  EXPECT_EQ(LoadConfig(folder_ + "/dns.toml")->log_target, net::LogTarget::kJournal);
  EXPECT_THAT(Mistakes("", "", "", "", "[log]\ntarget = \"syslog\"\n"),
              ::testing::ElementsAre(AllOf(HasSubstr("log.target"), HasSubstr("journald"))));
}

TEST_F(ConfigFile, AFileThatIsNoTomlIsToldAtItsLineAndNothingBehindIt) {
  EXPECT_THAT(Mistakes("workers = = 1", "", "", ""),
              ::testing::ElementsAre(HasSubstr("dns.toml:4: not TOML: ")));
  EXPECT_EQ(LoadConfig(folder_ + "/none.toml").error().size(), 1u);
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

// --- What a reload does with each key ------------------------------------------------------------

// Every key that the readers ask for, by section: each section of a file has a key that nobody
// knows, and the error lists those that are known.
std::set<std::string> KeysOfReaders(const std::string& path) {
  const std::string unknown = "zzzzzzzzzzzzzzzzzzzz";
  const std::string it = unknown + " = 1\n";
  std::string text = it;
  for (const char* section : {"server", "server.cookies", "rate_limit", "tcp", "tls", "dnssec",
                              "log", "tsig", "quorum", "pool.p", "zone.own", "zone.own.soa"}) {
    text += "[" + std::string(section) + "]\n" + it;
  }
  text += "[zone.had]\nprimary = [\"192.0.2.1\"]\n" + it;
  for (const char* section :
       {"pool.p.balancer", "pool.p.check", "zone.own.pool", "zone.own.secondary"}) {
    text += "[[" + std::string(section) + "]]\n" + it;
    if (std::string_view(section) == "zone.own.pool") text += "pool = \"p\"\n";
  }
  std::ofstream(path) << text;
  auto config = LoadConfig(path);
  std::set<std::string> keys;
  if (config) return keys;
  const std::string known = "known here: ";
  for (const std::string& error : config.error()) {
    const size_t at = error.find(unknown);
    const size_t list = error.find(known);
    if (at == std::string::npos || list == std::string::npos) continue;
    // "dns.toml:5: pool.p.check[1].zzz" is of "pool.*.check."
    const size_t begin = error.rfind(' ', at) + 1;
    std::string section = error.substr(begin, at - begin);
    if (const size_t bracket = section.find('['); bracket != std::string::npos) {
      section.erase(bracket, section.find(']') + 1 - bracket);
    }
    for (std::string_view name : {"pool.p", "zone.own", "zone.had"}) {
      if (!section.starts_with(name)) continue;
      section = section.substr(0, section.find('.') + 1) + "*" + section.substr(name.size());
    }
    InsertKnownKeys(keys, section, std::string_view(error).substr(list + known.size()));
  }
  return keys;
}

TEST_F(ConfigFile, TheReloadTableNamesEveryKeyThatTheReadersKnowAndNoOther) {
  const std::set<std::string> read = KeysOfReaders(folder_ + "/keys.toml");
  EXPECT_GT(read.size(), 80U);
  ExpectEachKeyInOneRow(read, net::KeysOfTable(ReloadTable()));
}

TEST_F(ConfigFile, AReloadRefusesWithNameLineAndRemedyAndOnlyWhatDiffers) {
  const std::string path = folder_ + "/dns.toml";
  auto load = [&](const std::string& server, const std::string& rest) {
    std::ofstream(path) << "[server]\n"
                        << server << rest << "[zone.\"example.org\"]\nns = [\"ns1\"]\n";
    auto config = LoadConfig(path);
    EXPECT_TRUE(config.has_value()) << config.error()[0];
    return std::move(*config);
  };
  const Config now = load("listen = [\"127.0.0.1:0\"]\n", "");
  EXPECT_THAT(RefusedKeys(now, now), ::testing::IsEmpty());
  const Config next =
      load("# listen = []\nlisten = [\"127.0.0.1:1\"]\nuser = \"nobody\"\nworkers = 3\n",
           "nsid = \"x\"\n[tls]\n\nlisten = [\"127.0.0.1:2\"]\ncertificate = \"c\"\nkey = \"k\"\n");
  const std::string cannot = ": cannot change while the process runs; ";
  const std::string upgrade =
      cannot + "take the change over without losing a query by `mongoosedns ctl upgrade`";
  EXPECT_THAT(RefusedKeys(now, next),
              ::testing::ElementsAre(path + ":3: server.listen" + upgrade,
                                     path + ":5: server.workers" + upgrade,
                                     path + ":4: server.user" + cannot + "restart the service",
                                     path + ":9: tls.listen" + upgrade));
}

}  // namespace
}  // namespace dns
