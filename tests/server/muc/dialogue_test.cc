// Plays tests/dialogues/muc: scenes of XEP-0045 and its kin, over homes and rooms without sockets.
#include "tests/server/im/dialogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/server/muc/muc_world.h"

namespace server {
namespace {

std::vector<std::string> Files() {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(MONGOOSE_MUC_DIALOGUES)) {
    if (file.path().extension() == ".txt") files.push_back(file.path().stem().string());
  }
  std::ranges::sort(files);
  return files;
}

class MucDialogues : public testing::TestWithParam<std::string> {};

TEST_P(MucDialogues, HoldInEachScene) {
  const std::string path = std::string(MONGOOSE_MUC_DIALOGUES) + "/" + GetParam() + ".txt";
  const auto scenes = ReadScenes(path);
  EXPECT_FALSE(scenes.empty()) << path;
  for (const Scene& scene : scenes) {
    for (const bool direct : {false, true}) {
      MucWorld world;
      world.direct = direct;
      const auto wrong = Play(scene, world);
      EXPECT_FALSE(wrong) << path << ": " << scene.title << (direct ? " (direct)" : "") << ": "
                          << *wrong;
      world.ForEachClient(
          [&](const World::Client& client) { EXPECT_EQ(client.settled_twice, 0) << scene.title; });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MucDialogues, testing::ValuesIn(Files()), [](const auto& file) {
  std::string name = file.param;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

}  // namespace
}  // namespace server
