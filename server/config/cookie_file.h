// A cookie in a file of its own (~/.erlang.cookie, or cookie_file of mongooseim.toml), for those
// who do not write it into vm.args. Whoever may read it may order anything, so the file is refused
// when others than its owner may; as Erlang does.
//
// Other secrets of one word are read by the same rules.
//
// Used at the start. The secret is in no error.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace server {

inline constexpr size_t kCookieBytesMax = 255;

// The error names file, fault and remedy. Blanks and line ends around the cookie do not count.
std::expected<std::string, std::string> ReadCookieFile(const std::string& path);
// `what`: "cookie", for errors.
std::expected<std::string, std::string> ReadSecretFile(const std::string& path,
                                                       std::string_view what);

}  // namespace server
