// Plays tests/dialogues over homes without sockets.
#include "tests/server/im/dialogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/server/im/world.h"

namespace server {
namespace {

std::vector<std::string> Files() {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(MONGOOSE_DIALOGUES)) {
    if (file.path().extension() == ".txt") files.push_back(file.path().stem().string());
  }
  std::ranges::sort(files);
  return files;
}

class Dialogues : public testing::TestWithParam<std::string> {};

TEST_P(Dialogues, HoldInEachScene) {
  const std::string path = std::string(MONGOOSE_DIALOGUES) + "/" + GetParam() + ".txt";
  const auto scenes = ReadScenes(path);
  EXPECT_FALSE(scenes.empty()) << path;
  for (const Scene& scene : scenes) {
    for (const bool direct : {false, true}) {
      World world;
      world.direct = direct;
      const auto wrong = Play(scene, world);
      EXPECT_FALSE(wrong) << path << ": " << scene.title << (direct ? " (direct)" : "") << ": "
                          << *wrong;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Dialogues, testing::ValuesIn(Files()), [](const auto& file) {
  std::string name = file.param;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(Dialogue, TemplateThatDiffersIsFound) {
  EXPECT_FALSE(Mismatch("<message to='*'><body>a</body></message>",
                        "<message id='x' to='b@c'><body>a</body></message>"));
  EXPECT_TRUE(Mismatch("<message to='b@c'/>", "<message to='b@d'/>"));
  EXPECT_TRUE(Mismatch("<message/>", "<message to='b@d'/>"));
  EXPECT_TRUE(Mismatch("<message to='b@d'/>", "<message/>"));
  EXPECT_TRUE(Mismatch("<message><body>a</body></message>", "<message><body>b</body></message>"));
  EXPECT_TRUE(Mismatch("<message><body/></message>", "<message/>"));
  EXPECT_TRUE(Mismatch("<message/>", "<message><body/></message>"));
  EXPECT_TRUE(Mismatch("<message><x xmlns='a'/></message>", "<message><x xmlns='b'/></message>"));
}

}  // namespace
}  // namespace server
