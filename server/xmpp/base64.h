// Base64 (RFC 4648 section 4) as SASL asks for it: no white space, no missing or needless padding,
// no bits behind the end.
//
// Pure; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace server {

std::string Base64Encode(std::string_view bytes);
std::optional<std::string> Base64Decode(std::string_view text);

}  // namespace server
