// Lengths of time, sizes and rates as people write them: "30s", "64KiB", "50/s". Configurations and
// command lines read them here, so that both know the same units.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/base/clock.h"

namespace net {

// nullopt: not one of these, negative, or more than fits.
std::optional<Duration> ParseDuration(std::string_view text);  // "1.5h"; "0"; else with a unit
std::optional<int64_t> ParseBytes(std::string_view text);      // "64KiB", "4096"
std::optional<double> ParseRate(std::string_view text);        // "50/m" → events a second; "0"

// What to write instead; fits ConfigError::remedy.
inline constexpr std::string_view kDurationRemedy =
    "write a number and a unit in quotes, as in \"5s\"; units: ns, us, ms, s, m, h, d";
inline constexpr std::string_view kBytesRemedy =
    "write a number of bytes, or with a unit in quotes, as in \"64KiB\"; units: KiB, MiB, GiB, TiB";
inline constexpr std::string_view kRateRemedy =
    "write a number by a unit in quotes, as in \"200/s\"; units: /s, /m, /h, /d; \"0\" for none";

// With the largest unit that divides it: "90s", not "90000ms"; "64KiB".
std::string DurationText(Duration value);
std::string BytesText(int64_t value);
std::string RateText(double per_second);  // "50/s"

}  // namespace net
