#include "bench/load/meter.h"

#include <algorithm>
#include <cstdio>

namespace bench {

void Meter::ShowLive(std::size_t open) {
  const std::uint64_t completed = result_.total.Count();
  std::fprintf(
      stderr, "\r\x1b[K%6.1f s  open %zu  %llu/s  p50 %.0f us  p99 %.0f us  failed %llu  lost %llu",
      static_cast<double>(now_ns_ - run_start_ns_) / 1e9, open,
      static_cast<unsigned long long>(completed - std::min(completed, live_completed_)),
      static_cast<double>(result_.total.Quantile(0.5)) / 1e3,
      static_cast<double>(result_.total.Quantile(0.99)) / 1e3,
      static_cast<unsigned long long>(result_.Failures()),
      static_cast<unsigned long long>(result_.lost));
  std::fflush(stderr);
  live_completed_ = completed;
}

}  // namespace bench
