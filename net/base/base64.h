// Base64 (RFC 4648 section 4), with padding. What is read has one way of being written: no white
// space, no missing or needless padding, no bits behind the end, as SASL asks for it.
//
// Pure; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace net {

std::string Base64Encode(std::string_view bytes);
std::optional<std::string> Base64Decode(std::string_view text);

}  // namespace net
