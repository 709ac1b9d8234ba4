#include "bench/load/arrivals.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace bench {
namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kRateMax = 10e6;

std::optional<double> ParsePositive(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value) || value <= 0) return std::nullopt;
  return value;
}

std::expected<RateStep, std::string> ParseStep(std::string_view text) {
  const std::string shown(text);
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return std::unexpected("step \"" + shown + "\" has no duration: write RATE/s:DURATION");
  }
  std::string_view rate_text = text.substr(0, colon);
  if (!rate_text.ends_with("/s")) {
    return std::unexpected("step \"" + shown + "\": the rate must end in /s, e.g. 500/s");
  }
  rate_text.remove_suffix(2);
  const std::optional<double> rate = ParsePositive(rate_text);
  if (!rate || *rate > kRateMax) {
    return std::unexpected("step \"" + shown + "\": the rate must lie in (0, 10000000]");
  }
  const auto duration = ParseDurationNs(text.substr(colon + 1));
  if (!duration) return std::unexpected("step \"" + shown + "\": " + duration.error());
  return RateStep{*rate, *duration};
}

}  // namespace

const char* ToString(ArrivalKind kind) {
  switch (kind) {
    case ArrivalKind::kConstant:
      return "constant";
    case ArrivalKind::kPoisson:
      return "poisson";
    case ArrivalKind::kJittered:
      return "jittered";
  }
  return "?";
}

std::expected<std::int64_t, std::string> ParseDurationNs(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ms", 1e6}, {"us", 1e3}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  for (const auto& [unit, scale] : kUnits) {
    if (!text.ends_with(unit)) continue;
    const std::optional<double> value = ParsePositive(text.substr(0, text.size() - unit.size()));
    if (!value || *value * scale > 24 * 3600e9) break;
    return static_cast<std::int64_t>(*value * scale);
  }
  return std::unexpected("\"" + std::string(text) +
                         "\" is no duration: a positive number of us, ms, s, m or h, at most 24h");
}

std::expected<std::vector<RateStep>, std::string> ParseProfile(std::string_view text) {
  std::vector<RateStep> steps;
  while (true) {
    const std::size_t comma = text.find(',');
    const auto step = ParseStep(text.substr(0, comma));
    if (!step) return std::unexpected(step.error());
    if (steps.size() == kRateStepsMax) return std::unexpected("a profile has at most 64 steps");
    steps.push_back(*step);
    if (comma == std::string_view::npos) return steps;
    text.remove_prefix(comma + 1);
  }
}

Arrivals::Arrivals(std::vector<RateStep> profile, ArrivalKind kind, std::uint64_t seed)
    : profile_(std::move(profile)), kind_(kind), random_(seed) {}

std::optional<std::int64_t> Arrivals::Next() {
  double gap = 1;
  if (kind_ == ArrivalKind::kPoisson) gap = std::exponential_distribution<double>(1)(random_);
  while (step_ < profile_.size()) {
    const RateStep& step = profile_[step_];
    const double in_step =
        step.per_second * static_cast<double>(step.duration_ns) / kNsPerSecond - position_;
    // A hair of tolerance, so that 10/s over 1 s means 10 starts and not 9.
    if (gap <= in_step + 1e-9) {
      // Constant arrivals sit at the start of their interval, so that the first is at once.
      double at = kind_ == ArrivalKind::kPoisson ? position_ + gap : position_;
      if (kind_ == ArrivalKind::kJittered) {
        at += std::uniform_real_distribution<double>(0, 1)(random_);
      }
      position_ += gap;
      return static_cast<std::int64_t>(step_start_ns_ + at / step.per_second * kNsPerSecond);
    }
    gap -= std::max(in_step, 0.0);
    step_start_ns_ += static_cast<double>(step.duration_ns);
    position_ = 0;
    ++step_;
    if (kind_ != ArrivalKind::kPoisson) gap = 1;
  }
  return std::nullopt;
}

std::int64_t Arrivals::DurationNs() const {
  std::int64_t total = 0;
  for (const RateStep& step : profile_) total += step.duration_ns;
  return total;
}

}  // namespace bench
