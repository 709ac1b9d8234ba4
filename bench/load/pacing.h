// The course of a run: when its operations are meant to start, and when they count.
#pragma once

#include <optional>

#include "bench/load/arrivals.h"
#include "bench/load/meter.h"

namespace bench {

inline constexpr std::int64_t kFailurePauseNs = 10'000'000;  // before the next try
inline constexpr std::int64_t kHoldPollNs = 250'000'000;
inline constexpr std::int64_t kHoldLongestNs = 3600'000'000'000;  // of one that ends when told

struct Timing {
  std::int64_t warmup_ns = 500'000'000;
  std::int64_t duration_ns = 5'000'000'000;
  std::uint64_t count_max = UINT64_MAX;  // operations in the window
};

// The arrival side of an open-loop run: which starts are due, and by how much we are late.
class OpenLoop {
 public:
  explicit OpenLoop(std::optional<Arrivals> arrivals) : arrivals_(std::move(arrivals)) {}

  bool Active() const { return arrivals_.has_value(); }
  void Start(std::int64_t now_ns);
  // The intended start of the next operation that is due; counts it as offered and notes the lag.
  // Nothing: none is due.
  std::optional<std::int64_t> Take(Meter& meter);
  std::int64_t NextNs() const { return next_ns_; }
  bool Exhausted() const { return next_ns_ == kNever; }

 private:
  void Advance();

  std::optional<Arrivals> arrivals_;
  std::int64_t start_ns_ = 0;
  std::int64_t next_ns_ = kNever;
};

// Warm-up, window, end.
class Window {
 public:
  explicit Window(Timing timing) : timing_(timing) {}
  void Start(std::int64_t now_ns) { start_ns_ = now_ns; }
  // Opens and closes the measuring window; true once the run is over.
  bool Update(Meter& meter, std::int64_t now_ns);
  std::int64_t NextEdgeNs() const;

 private:
  Timing timing_;
  std::int64_t start_ns_ = 0;
  std::int64_t opened_ns_ = 0;
  bool over_ = false;
};

}  // namespace bench
