#include "bench/load/verdict.h"

#include <algorithm>
#include <cstdio>

namespace bench {
namespace {

std::string Format(const char* format, double a, double b) {
  char text[160];
  // The formats are literals of this file.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  std::snprintf(text, sizeof(text), format, a, b);
#pragma GCC diagnostic pop
  return text;
}

double Share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

Change Classify(const Measure& before, double after, double tolerance) {
  const bool lower = before.better == Better::kLower;
  const double worse_edge = before.value * (lower ? 1 + tolerance : 1 - tolerance);
  const double better_edge = before.value * (lower ? 1 - tolerance : 1 + tolerance);
  if (lower ? after > worse_edge : after < worse_edge) return Change::kRegressed;
  if (lower ? after < better_edge : after > better_edge) return Change::kImproved;
  return Change::kSame;
}

}  // namespace

std::vector<std::string> Judge(const RunHealth& health, const HealthLimits& limits) {
  std::vector<std::string> reasons;
  if (health.attempted == 0) reasons.emplace_back("nothing was attempted");
  const double failed = Share(health.failed, health.attempted);
  if (failed > limits.failed_share_max) {
    reasons.push_back(Format("%.2f %% of the operations failed (limit %.2f %%)", failed * 100,
                             limits.failed_share_max * 100));
  }
  if (health.resumption_wanted && health.resumed != health.handshakes) {
    reasons.push_back(Format("only %.0f of %.0f handshakes were resumed",
                             static_cast<double>(health.resumed),
                             static_cast<double>(health.handshakes)));
  }
  if (!health.open_loop) return reasons;
  if (health.pacing_lag_p99_ns > limits.pacing_lag_p99_max_ns) {
    reasons.push_back(Format("pacing lagged: p99 %.1f ms behind the intended start (limit %.1f ms)",
                             static_cast<double>(health.pacing_lag_p99_ns) / 1e6,
                             static_cast<double>(limits.pacing_lag_p99_max_ns) / 1e6));
  }
  const double started = Share(health.started, health.offered);
  if (health.offered != 0 && started < limits.started_share_min) {
    reasons.push_back(Format("only %.1f %% of the offered operations were started (limit %.1f %%)",
                             started * 100, limits.started_share_min * 100));
  }
  const double busy =
      health.seconds <= 0
          ? 0
          : static_cast<double>(health.cpu_ns + health.runqueue_ns) / 1e9 / health.seconds;
  if (busy > limits.busy_share_max) {
    reasons.push_back(Format("the generator's core was saturated: %.0f %% busy (limit %.0f %%)",
                             busy * 100, limits.busy_share_max * 100));
  }
  return reasons;
}

const char* ToString(Change change) {
  switch (change) {
    case Change::kSame:
      return "same";
    case Change::kImproved:
      return "improved";
    case Change::kRegressed:
      return "REGRESSED";
    case Change::kMissing:
      return "MISSING";
  }
  return "?";
}

std::vector<Comparison> Compare(const std::vector<Measure>& before,
                                const std::vector<Measure>& after, double tolerance) {
  std::vector<Comparison> result;
  result.reserve(before.size());
  for (const Measure& old : before) {
    Comparison entry{old.name, old.value, 0, 0, Change::kMissing};
    const auto found = std::find_if(after.begin(), after.end(),
                                    [&](const Measure& m) { return m.name == old.name; });
    if (found != after.end()) {
      entry.after = found->value;
      entry.ratio = old.value > 0 ? found->value / old.value : 0;
      entry.change = Classify(old, found->value, tolerance);
    }
    result.push_back(std::move(entry));
  }
  return result;
}

bool HasRegression(const std::vector<Comparison>& comparisons) {
  return std::any_of(comparisons.begin(), comparisons.end(), [](const Comparison& c) {
    return c.change == Change::kRegressed || c.change == Change::kMissing;
  });
}

}  // namespace bench
