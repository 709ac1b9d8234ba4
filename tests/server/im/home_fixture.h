// A home with two accounts, for tests that dialogues cannot say.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "server/im/home.h"
#include "tests/server/im/world.h"

namespace server {

inline constexpr std::string_view kHi =
    "<message to='bob@a.example' type='chat'><body>hi</body></message>";

class HomeTest : public testing::Test {
 protected:
  HomeTest() {
    world_.Account("alice");
    world_.Account("bob");
  }
  void Online(const std::string& client, const std::string& presence = "<presence/>") {
    world_.Connect(client);
    world_.Send(client, presence);
    while (world_.Next(client)) {
    }
  }
  std::string Next(const std::string& client) { return world_.Next(client).value_or(""); }
  auto& Bob() { return world_.store.users["bob@a.example"]; }
  auto& Alice() { return world_.store.users["alice@a.example"]; }

  World world_;
};

}  // namespace server
