// Two judgements, both pure: whether a run may be believed, and whether one result is worse than
// another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/load/histogram.h"

namespace bench {

// ---- may the run be believed? ----------------------------------------------------------------

// What the generator observed of itself.
struct RunHealth {
  bool open_loop = false;
  double seconds = 0;
  std::int64_t cpu_ns = 0;       // the generator's CPU time in the window
  std::int64_t runqueue_ns = 0;  // time it was runnable but waited for the core
  std::int64_t pacing_lag_p99_ns = 0;
  std::uint64_t offered = 0;  // operations meant to start in the window
  std::uint64_t started = 0;  // of these, how many did
  std::uint64_t attempted = 0;
  std::uint64_t failed = 0;
  bool resumption_wanted = false;
  std::uint64_t handshakes = 0;
  std::uint64_t resumed = 0;
};

struct HealthLimits {
  double busy_share_max = 0.90;                    // CPU plus waiting for it, of the wall clock
  std::int64_t pacing_lag_p99_max_ns = 5'000'000;  // open loop only
  double failed_share_max = 0.001;
  double started_share_min = 0.99;  // open loop only
};

// Reasons why the run is INVALID, in words with figures; empty when it may be believed. A busy
// generator is no fault in a closed loop (it is the ceiling), only in an open one.
std::vector<std::string> Judge(const RunHealth& health, const HealthLimits& limits);

// ---- is B worse than A? ------------------------------------------------------------------------

enum class Better : std::uint8_t { kLower, kHigher };

struct Measure {
  std::string name;
  Better better = Better::kLower;
  double value = 0;
};

enum class Change : std::uint8_t { kSame, kImproved, kRegressed, kMissing };

const char* ToString(Change change);

struct Comparison {
  std::string name;
  double before = 0;
  double after = 0;
  double ratio = 0;  // after / before; 0 when before is 0
  Change change = Change::kSame;
};

// One entry for every measure of `before`, in its order. A measure that `after` lacks is kMissing
// and counts as a regression: a result that cannot be shown is not a good one. `tolerance` is a
// share: 0.05 lets a value be 5 % worse.
std::vector<Comparison> Compare(const std::vector<Measure>& before,
                                const std::vector<Measure>& after, double tolerance);

bool HasRegression(const std::vector<Comparison>& comparisons);

}  // namespace bench
