// One value of a JSON document, by its dotted path: "data.server.status.statusCode",
// "nodes.0.name". For health checks that expect a value. Bounded; any thread.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

namespace net {

inline constexpr size_t kJsonPathBodyMax = size_t{256} * 1024;
inline constexpr size_t kJsonNestingMax = 32;

// False when brackets nest deeper than kJsonNestingMax: checked before a parser that would build
// all of them. Says nothing about whether it is JSON.
bool JsonNestingBounded(std::string_view body);

// A string as it is, numbers and booleans as JSON writes them, null as "null". The error says what
// stood in the way: "not JSON", "no 'server' under 'data'", "'data.server' is no plain value".
std::expected<std::string, std::string> JsonValueAt(std::string_view body, std::string_view path);

}  // namespace net
