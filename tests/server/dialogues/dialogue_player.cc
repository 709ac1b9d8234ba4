// Plays the scenes of dialogue files against a node that runs.
//
//   dialogue_player PORT STORE-URL DOMAIN-PATTERN FILE...
//
// The node takes clients from balancers at 127.0.0.1:PORT, has one worker, the store of that URL,
// and as many domains as there are scenes, named by the pattern with 0, 1, 2 … for its "%d". Scenes
// of homes alone are left out, and told.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "server/store/open_store.h"
#include "tests/server/dialogues/socket_stage.h"

namespace server::test {
namespace {

bool CanBePlayed(const Scene& scene) {
  return std::ranges::none_of(
      scene.steps, [](const Scene::Step& step) { return step.words == "at home alone"; });
}

std::string DomainOf(std::string pattern, int number) {
  return pattern.replace(pattern.find("%d"), 2, std::to_string(number));
}

int Main(const std::vector<std::string>& arguments) {
  uint16_t port = 0;
  std::from_chars(arguments[0].data(), arguments[0].data() + arguments[0].size(), port);
  auto store = OpenStore({.url = arguments[1], .folder = {}});
  if (!store) {
    std::cerr << store.error() << "\n";
    return 2;
  }
  StoreLoop loop;
  const auto client = (*store)->Client(loop.loop());
  int played = 0, left_out = 0, wrong = 0, number = 0;
  for (size_t i = 3; i < arguments.size(); ++i) {
    for (const Scene& scene : ReadScenes(arguments[i])) {
      if (!CanBePlayed(scene)) {
        ++left_out;
        std::cout << "left out: " << arguments[i] << ": " << scene.title << "\n";
        continue;
      }
      ++played;
      std::optional<std::string> error;
      try {
        SocketStage stage(net::Address::V4({127, 0, 0, 1}, port), loop, *client,
                          DomainOf(arguments[2], number++));
        error = Play(scene, stage);
      } catch (const std::exception& thrown) {
        error = thrown.what();
      }
      if (!error) continue;
      ++wrong;
      std::cout << "wrong: " << arguments[i] << ": " << scene.title << ": " << *error << "\n";
    }
  }
  std::cout << "played " << played << ", left out " << left_out << ", wrong " << wrong << "\n";
  return wrong == 0 && played > 0 ? 0 : 1;
}

}  // namespace
}  // namespace server::test

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 4) {
    std::fputs("dialogue_player PORT STORE-URL DOMAIN-PATTERN FILE...\n", stderr);
    return 2;
  }
  return server::test::Main(arguments);
}
