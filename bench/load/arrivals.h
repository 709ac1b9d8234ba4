// When the work is meant to start. An open-loop run follows a profile of rates ("1000/s:10s,
// 4000/s:5s"), evenly or as a Poisson process, whatever the system under test does; latencies are
// then counted from these intended starts, so that a stalled server cannot hide its stall by
// slowing the generator down.
//
// Pure: times are nanoseconds from the start of the run, randomness comes from the seed.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

// Jittered: each start lies somewhere in its even interval, as clients do that wait a random while
// before they come back.
enum class ArrivalKind : std::uint8_t { kConstant, kPoisson, kJittered };

const char* ToString(ArrivalKind kind);

struct RateStep {
  double per_second = 0;
  std::int64_t duration_ns = 0;
};

// "RATE/s:DURATION[,...]", e.g. "500/s:10s,2000/s:2.5s"; at most kRateStepsMax steps. The error
// names the part that is wrong.
inline constexpr std::size_t kRateStepsMax = 64;
std::expected<std::vector<RateStep>, std::string> ParseProfile(std::string_view text);

// "10s", "250ms", "1.5m", "2h"; positive. The error names the units.
std::expected<std::int64_t, std::string> ParseDurationNs(std::string_view text);

class Arrivals {
 public:
  Arrivals(std::vector<RateStep> profile, ArrivalKind kind, std::uint64_t seed);

  // The next intended start, or nothing when the profile has ended. Non-decreasing.
  std::optional<std::int64_t> Next();

  std::int64_t DurationNs() const;

 private:
  std::vector<RateStep> profile_;
  ArrivalKind kind_;
  std::mt19937_64 random_;
  std::size_t step_ = 0;
  double step_start_ns_ = 0;
  double position_ = 0;  // in units of expected starts since the step began
};

}  // namespace bench
