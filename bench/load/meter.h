// What every kind of run measures by: the result under way, the measuring window over it, and the
// time that the loop took last. The engines are meters; pacing.h works on any.
#pragma once

#include <atomic>
#include <utility>
#include <vector>

#include "bench/load/cpu_clock.h"
#include "bench/load/result.h"

namespace bench {

inline constexpr std::int64_t kNever = INT64_MAX;

// Of the engines' loops.
inline constexpr int kEventsMax = 512;
inline constexpr std::int64_t kHousekeepingNs = 1'000'000'000;
// Results of ReceiveSome beside a count of bytes.
inline constexpr std::int64_t kWouldBlock = -1;
inline constexpr std::int64_t kBroken = -2;
inline constexpr std::int64_t kEnded = 0;

class Meter {
 public:
  explicit Meter(std::vector<pid_t> watched) : cpu_(watched) {
    result_.watched = std::move(watched);
  }

  // From a signal handler: every run ends soon.
  static void RequestStop() { stop_requested_.store(true, std::memory_order_relaxed); }

  Result& Out() { return result_; }
  std::int64_t Now() const { return now_ns_; }

  void StartWindow() {
    measuring_ = true;
    cpu_.Start();
  }
  void StopWindow() {
    if (!measuring_) return;
    result_.window = cpu_.Stop();
    measuring_ = false;
  }
  bool Measuring() const { return measuring_; }
  void Record(Histogram& histogram, std::int64_t since_ns) {
    if (measuring_) histogram.Record(MonotonicNs() - since_ns);
  }

 protected:
  ~Meter() = default;
  static bool StopRequested() { return stop_requested_.load(std::memory_order_relaxed); }

  // The line on a terminal: once a housekeeping, of what has come since the last.
  void ShowLive(std::size_t open);

  Result result_;
  std::int64_t now_ns_ = 0;
  std::int64_t run_start_ns_ = 0;

 private:
  inline static std::atomic<bool> stop_requested_{false};

  CpuWindow cpu_;
  bool measuring_ = false;
  std::uint64_t live_completed_ = 0;
};

}  // namespace bench
