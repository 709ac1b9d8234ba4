// `mongooselb check`: one run tells everything, wherever it was found.
#include "lb/config/check_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/test_folder.h"

namespace lb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckFileTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_ + "/conf.d"); }
  std::vector<std::string> Mistakes() {
    std::vector<std::string> out;
    auto config = CheckFile(folder_ + "/lb.toml");
    if (config) return out;
    for (const net::ConfigError& error : config.error()) out.push_back(error.ToString());
    return out;
  }
  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
};

TEST_F(CheckFileTest, KeysNamesAndCertificatesAreJudgedInOneRun) {
  std::ofstream(folder_ + "/lb.toml") << R"(include = "conf.d"
[process]
wrokers = 2
[listener.a]
bind = "127.0.0.1:0"
pool = "x"
mode = "tls"
certificates = [{ chain = "/nonexistent/chain.pem", key = "/nonexistent/key.pem" }]
)";
  std::ofstream(folder_ + "/conf.d/x.toml") << R"([pool.x]
retires = 1
[[pool.x.node]]
name = "n1"
address = "no.such.name.invalid:5222"
)";
  EXPECT_THAT(Mistakes(),
              ElementsAre(HasSubstr("/lb.toml:3: process.wrokers: unknown key"),
                          HasSubstr("/lb.toml:8: listener.a.certificates: /nonexistent/chain.pem"),
                          HasSubstr("/conf.d/x.toml:2: pool.x.retires: unknown key"),
                          HasSubstr("/conf.d/x.toml:5: pool.x.node[1].address: host "
                                    "'no.such.name.invalid' cannot be resolved")));
}

TEST_F(CheckFileTest, AFileThatIsNoTomlIsTheOnlyMistake) {
  std::ofstream(folder_ + "/lb.toml") << "[process\n";
  EXPECT_THAT(Mistakes(), ElementsAre(HasSubstr("/lb.toml:1: not TOML")));
}

}  // namespace
}  // namespace lb
