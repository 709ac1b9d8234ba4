// Plays tests/dialogues/modules over homes without sockets, with all modules.
#include "tests/server/im/dialogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "server/modules/modules.h"
#include "tests/server/im/world.h"

namespace server {
namespace {

std::vector<std::string> Files() {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(MONGOOSE_MODULE_DIALOGUES)) {
    files.push_back(file.path().stem().string());
  }
  std::ranges::sort(files);
  return files;
}

class ModuleDialogues : public testing::TestWithParam<std::string> {};

TEST_P(ModuleDialogues, HoldInEachScene) {
  const std::string path = std::string(MONGOOSE_MODULE_DIALOGUES) + "/" + GetParam() + ".txt";
  const auto scenes = ReadScenes(path);
  EXPECT_FALSE(scenes.empty()) << path;
  for (const Scene& scene : scenes) {
    World world;
    ModuleGround ground{.store = world.store,
                        .clock = world.clock,
                        .unix_us = [&world] { return world.unix_us; },
                        .domains = {world.domain()}};
    AddModules(world.handlers, ground, {});
    const auto wrong = Play(scene, world);
    EXPECT_FALSE(wrong) << path << ": " << scene.title << ": " << *wrong;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ModuleDialogues, testing::ValuesIn(Files()), [](const auto& file) {
  std::string name = file.param;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

}  // namespace
}  // namespace server
