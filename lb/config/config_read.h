// What the readers of the configuration's sections share. For lb/config*.cc only.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/config/config.h"
#include "net/base/address.h"
#include "net/base/text.h"
#include "net/config/toml_reader.h"

namespace lb {

inline constexpr net::Duration kDay = std::chrono::hours(24);
inline constexpr double kRateMax = 1e9;  // a second

inline uint32_t Natural(const net::TomlSection& section, std::string_view key, uint32_t fallback,
                        uint32_t min, uint32_t max) {
  return static_cast<uint32_t>(section.Int(key, fallback, {.min = min, .max = max}));
}

inline uint32_t Size(const net::TomlSection& section, std::string_view key, uint32_t fallback,
                     uint32_t min, uint32_t max) {
  return static_cast<uint32_t>(section.Bytes(key, fallback, {.min = min, .max = max}));
}

// `main_file`: for what stands nowhere.
inline ConfigOrigin OriginOf(const net::TomlSection& section, std::string_view key,
                             const std::string& main_file) {
  std::string path = section.path();
  if (!key.empty()) path += (path.empty() ? "" : ".") + std::string(key);
  std::string where = section.FileOf(key);
  return {.file = where.empty() ? main_file : std::move(where),
          .line = section.LineOf(key),
          .key = std::move(path)};
}

// An absolute path, or nothing.
inline std::string AbsolutePath(const net::TomlSection& section, std::string_view key,
                                std::string_view fallback) {
  std::string path = section.String(key, fallback);
  if (!path.empty() && path.front() != '/') {
    section.Error(key, "is " + net::Quoted(path) + ", which is not an absolute path",
                  "begin it with \"/\"");
  }
  return path;
}

inline std::optional<net::Endpoint> EndpointOf(const net::TomlSection& section,
                                               std::string_view key, std::string_view text) {
  auto endpoint = net::Endpoint::Parse(text);
  if (endpoint) return std::move(*endpoint);
  section.Error(key, endpoint.error().what, endpoint.error().remedy);
  return std::nullopt;
}

// Of what several keys add up to; each list has its own bound where it is read.
inline bool WithinBound(const net::TomlSection& section, std::string_view key, size_t count,
                        size_t max) {
  if (count <= max) return true;
  section.Error(key,
                "has " + std::to_string(count) + " entries, which is above the largest allowed, " +
                    std::to_string(max),
                "remove some");
  return false;
}

// Names stand in commands, metrics and logs: letters, digits, and - _ . : @, at most kNameMax.
inline void JudgeName(const net::TomlSection& section, std::string_view key,
                      std::string_view name) {
  bool plain = !name.empty() && name.size() <= kNameMax;
  for (char c : name) {
    plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("-_.:@").find(c) != std::string_view::npos);
  }
  if (plain) return;
  section.Error(
      key, "has the name " + net::Quoted(name) + ", which cannot be used in commands",
      "use up to " + std::to_string(kNameMax) + " letters, digits and the characters - _ . : @");
}

// Basic authentication: `user` and `password_file`, which is a file of mode 0600 with the password
// as its one line. Both or neither.
struct Credentials {
  std::string user;
  std::string password;
};
Credentials ReadCredentials(const net::TomlSection& section);

// An HTTP path: begins with a slash, holds no blanks, control characters or fragments.
void JudgePath(const net::TomlSection& section, std::string_view key, std::string_view path);

inline std::string Listed(const std::vector<std::string_view>& names) {
  std::string out;
  for (std::string_view name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

}  // namespace lb
