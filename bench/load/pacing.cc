#include "bench/load/pacing.h"

namespace bench {

void OpenLoop::Start(std::int64_t now_ns) {
  start_ns_ = now_ns;
  Advance();
}

void OpenLoop::Advance() {
  const std::optional<std::int64_t> next = arrivals_->Next();
  next_ns_ = next ? start_ns_ + *next : kNever;
}

std::optional<std::int64_t> OpenLoop::Take(Meter& meter) {
  const std::int64_t now = meter.Now();
  if (next_ns_ > now) return std::nullopt;
  const std::int64_t intended = next_ns_;
  if (meter.Measuring()) {
    ++meter.Out().offered;
    meter.Out().pacing_lag.Record(now - intended);
  }
  Advance();
  return intended;
}

bool Window::Update(Meter& meter, std::int64_t now_ns) {
  if (over_) return true;
  if (opened_ns_ == 0 && now_ns >= start_ns_ + timing_.warmup_ns) {
    opened_ns_ = now_ns;
    meter.StartWindow();
  }
  if (opened_ns_ == 0) return false;
  over_ = now_ns >= opened_ns_ + timing_.duration_ns || meter.Out().completed >= timing_.count_max;
  if (over_) meter.StopWindow();
  return over_;
}

std::int64_t Window::NextEdgeNs() const {
  return opened_ns_ == 0 ? start_ns_ + timing_.warmup_ns : opened_ns_ + timing_.duration_ns;
}

}  // namespace bench
