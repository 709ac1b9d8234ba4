#include "server/config/node_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "server/config/cookie_file.h"

namespace server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(NodeConfig, TheDocumentedFileHoldsTheDefaults) {
  const auto [config, errors] = ReadNodeConfig(MONGOOSEIM_TOML);
  EXPECT_THAT(errors, IsEmpty());
  const auto [defaults, none] = ParseNodeConfig("", "empty.toml");
  EXPECT_THAT(none, IsEmpty());
  EXPECT_EQ(config.log.level, defaults.log.level);
  EXPECT_EQ(config.log.file, defaults.log.file);
  EXPECT_EQ(config.http.listen, defaults.http.listen);
  EXPECT_EQ(config.dist.links_max, defaults.dist.links_max);
  EXPECT_EQ(config.cluster.heartbeat, defaults.cluster.heartbeat);
  EXPECT_EQ(config.cluster.silence, defaults.cluster.silence);
  EXPECT_EQ(config.cluster.link_grace, defaults.cluster.link_grace);
  EXPECT_EQ(config.cluster.isolate_after, defaults.cluster.isolate_after);
  EXPECT_EQ(config.cluster.operation_timeout, defaults.cluster.operation_timeout);
  EXPECT_EQ(config.cluster.auto_join, defaults.cluster.auto_join);
}

TEST(NodeConfig, AllMistakesAreToldWithTheirLines) {
  const auto errors =
      ParseNodeConfig("[log]\nlevle = \"info\"\n[cluster]\nheartbeat = \"3s\"\nauto_join = true\n",
                      "m.toml")
          .errors;
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_THAT(errors[0].ToString(), HasSubstr("m.toml:2: log.levle"));
  EXPECT_THAT(errors[0].ToString(), HasSubstr("did you mean 'level'?"));
  std::string all = errors[1].ToString() + errors[2].ToString();
  EXPECT_THAT(all, HasSubstr("less than four heartbeats"));
  EXPECT_THAT(all, HasSubstr("set discovery_file"));
}

TEST(CookieFile, OfOthersIsRefusedWithTheRemedyAndTheCookieIsInNoError) {
  const std::string path = ::testing::TempDir() + "/cookie_file_test";
  std::ofstream(path) << "  s3cret\n";
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(ReadCookieFile(path).error(), path +
                                              ": has mode 0644, so others may read the cookie; "
                                              "chmod 0600 " +
                                              path);
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(ReadCookieFile(path).value(), "s3cret");
  std::ofstream(path) << "two words";
  EXPECT_THAT(ReadCookieFile(path).error(), HasSubstr("is no cookie"));
  EXPECT_THAT(ReadCookieFile(path).error(), ::testing::Not(HasSubstr("two")));
  std::ofstream(path) << "";
  EXPECT_THAT(ReadCookieFile(path).error(), HasSubstr("is empty"));
  std::remove(path.c_str());
  EXPECT_THAT(ReadCookieFile(path).error(), HasSubstr("cannot be read"));
  EXPECT_THAT(ReadCookieFile("/dev").error(), HasSubstr("is not a file"));
}

}  // namespace
}  // namespace server
