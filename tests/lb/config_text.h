// A configuration that is good, and what is wrong with one, for tests of what configurations say.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "lb/config/config.h"

namespace lb {

inline constexpr std::string_view kGood = R"([process]
workers = 2

[listener.c2s]
bind = "127.0.0.1:5222"
pool = "xmpp"

[pool.xmpp]
balance = "leastconn"

[[pool.xmpp.node]]
name = "n1"
address = "127.0.0.1:15222"

[[pool.xmpp.node]]
name = "n2"
address = "xmpp2.example.org:5222"
)";

inline std::vector<std::string> Mistakes(std::string_view text) {
  std::vector<std::string> out;
  auto config = ParseConfig(text, "lb.toml");
  if (!config) {
    for (const auto& error : config.error()) out.push_back(error.ToString());
  }
  return out;
}

// The good file with one text replaced.
inline std::string With(std::string_view from, std::string_view to) {
  std::string text(kGood);
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// The good file with lines added to one of its sections.
inline std::string InListener(const std::string& lines) {
  return With("pool = \"xmpp\"\n", "pool = \"xmpp\"\n" + lines + "\n");
}
inline std::string InPool(const std::string& lines) {
  return With("balance = \"leastconn\"\n", lines + "\n");
}
inline std::string InNode(const std::string& lines) {
  return With("name = \"n1\"\n", "name = \"n1\"\n" + lines + "\n");
}
inline std::string InProcess(const std::string& lines) {
  return With("workers = 2\n", lines + "\n");
}
inline std::string AtEnd(const std::string& lines) { return std::string(kGood) + lines + "\n"; }

}  // namespace lb
