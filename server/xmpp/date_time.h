// Points in time as XMPP writes them (XEP-0082's DateTime): "2026-11-28T07:10:31.25Z". Written in
// UTC, with a fraction only where there is one; read with any offset.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace server {

// Microseconds since 1970 in UTC, of the years 0001 to 9999; what lies beyond becomes the nearest.
std::string DateTimeText(int64_t unix_us);
// Nothing where it is not one. What is finer than a microsecond is cut off.
std::optional<int64_t> ParseDateTime(std::string_view text);

}  // namespace server
