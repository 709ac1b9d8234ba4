#include "net/base/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace net {
namespace {

struct Unit {
  std::string_view name;
  int64_t size;
};

constexpr std::array<Unit, 7> kTimeUnits = {{{"d", 86'400'000'000'000},
                                             {"h", 3'600'000'000'000},
                                             {"m", 60'000'000'000},
                                             {"s", 1'000'000'000},
                                             {"ms", 1'000'000},
                                             {"us", 1'000},
                                             {"ns", 1}}};
constexpr std::array<Unit, 5> kByteUnits = {{{"TiB", int64_t{1} << 40},
                                             {"GiB", int64_t{1} << 30},
                                             {"MiB", int64_t{1} << 20},
                                             {"KiB", int64_t{1} << 10},
                                             {"B", 1}}};
// Events per unit of so many seconds.
constexpr std::array<Unit, 4> kRateUnits = {{{"/d", 86'400}, {"/h", 3'600}, {"/m", 60}, {"/s", 1}}};

// With the largest unit that divides it: 90s, not 90000ms.
template <size_t N>
std::string WithUnit(int64_t value, const std::array<Unit, N>& units) {
  if (value == 0) return "0";
  for (const Unit& unit : units) {
    if (value % unit.size == 0) return std::to_string(value / unit.size) + std::string(unit.name);
  }
  return std::to_string(value);
}

template <typename T>
std::optional<T> ParseWhole(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "1.5h" → 5400 s in the smallest unit. nullopt: not a number with one of the units, negative, or
// more than fits.
template <size_t N>
std::optional<int64_t> ParseWithUnit(std::string_view text, const std::array<Unit, N>& units) {
  size_t digits = text.find_first_not_of("0123456789.");
  if (digits == std::string_view::npos || digits == 0) return std::nullopt;
  std::string_view number = text.substr(0, digits);
  std::string_view name = text.substr(digits);
  auto unit = std::ranges::find(units, name, &Unit::name);
  if (unit == units.end()) return std::nullopt;
  if (auto whole = ParseWhole<int64_t>(number)) {
    int64_t value = 0;
    if (__builtin_mul_overflow(*whole, unit->size, &value)) return std::nullopt;
    return value;
  }
  auto decimal = ParseWhole<double>(number);
  if (!decimal) return std::nullopt;
  double value = std::round(*decimal * static_cast<double>(unit->size));
  if (value >= 9.2e18) return std::nullopt;
  return static_cast<int64_t>(value);
}

}  // namespace

std::optional<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration(0);
  auto value = ParseWithUnit(text, kTimeUnits);
  if (!value) return std::nullopt;
  return Duration(*value);
}

std::optional<int64_t> ParseBytes(std::string_view text) {
  if (auto plain = ParseWhole<int64_t>(text)) return plain;
  return ParseWithUnit(text, kByteUnits);
}

std::optional<double> ParseRate(std::string_view text) {
  if (text == "0") return 0;
  const size_t slash = std::min(text.find('/'), text.size());
  auto number = ParseWhole<double>(text.substr(0, slash));
  auto unit = std::ranges::find(kRateUnits, text.substr(slash), &Unit::name);
  if (!number || unit == kRateUnits.end() || !std::isfinite(*number) || *number < 0) {
    return std::nullopt;
  }
  return *number / static_cast<double>(unit->size);
}

std::string DurationText(Duration value) { return WithUnit(value.count(), kTimeUnits); }

std::string BytesText(int64_t value) {
  std::string text = WithUnit(value, kByteUnits);
  if (text.ends_with("B") && !text.ends_with("iB")) text.pop_back();
  return text;
}

std::string RateText(double per_second) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g/s", per_second);
  return text.data();
}

}  // namespace net
