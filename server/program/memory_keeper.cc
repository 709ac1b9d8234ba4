#include "server/program/memory_keeper.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace server {
namespace {

bool Due(const std::optional<net::Time>& last, net::Time now, net::Duration every) {
  return !last || now - *last >= every;
}

template <typename Orders>
uint64_t Sum(const Orders& orders) {
  return std::accumulate(orders.begin(), orders.end(), uint64_t{0},
                         [](uint64_t sum, const auto& one) { return sum + one.bytes; });
}

}  // namespace

// The worst of them counts.
std::optional<MemoryKeeper::Judged> MemoryKeeper::Judge(const MemoryReading& reading) const {
  std::optional<Judged> judged;
  const auto add = [&](std::optional<uint64_t> taken, uint64_t bound) {
    if (!taken || bound == 0) return;
    const auto over = static_cast<int64_t>(*taken) - static_cast<int64_t>(bound / 100 * kAim);
    if (!judged) judged = Judged{.percent = 0, .over = over};
    judged->percent = std::max(judged->percent, *taken * 100 / bound);
    judged->over = std::max(judged->over, over);
  };
  add(reading.resident, bounds_.process);
  add(reading.group, bounds_.group);
  if (judged) add(reading.messages, bounds_.messages);
  return judged;
}

void MemoryKeeper::Enter(const Judged& judged, net::Time now) {
  if (judged.percent < kHigh) {
    high_since_.reset();
  } else if (!high_since_) {
    high_since_ = now;
  }
  const bool out = pressure_ == MemoryPressure::kOut && judged.percent >= kOutEnds;
  if (judged.percent >= kFull) {
    pressure_ = judged.percent >= kOut || out ? MemoryPressure::kOut : MemoryPressure::kFull;
  } else if (judged.percent < kLow) {
    pressure_ = MemoryPressure::kEnough;
  } else if (pressure_ >= MemoryPressure::kFull) {
    if (judged.percent < kFullEnds) pressure_ = MemoryPressure::kShort;
  } else if (high_since_ && now - *high_since_ >= kEaseTime) {
    pressure_ = MemoryPressure::kShort;
  }
}

// What is seen to be gone, and what should be by now.
void MemoryKeeper::Settle(const MemoryReading& reading, const Judged& judged) {
  const net::Time now = reading.now;
  const uint64_t before = std::exchange(last_sheddable_, reading.sheddable);
  undone_ -= std::min(undone_, before - std::min(before, reading.sheddable));
  if (going_.empty() || now - going_.back().at >= kAnswerIn) undone_ = 0;
  uint64_t gone = 0;
  if (last_over_ && judged.over < *last_over_) {
    gone = static_cast<uint64_t>(*last_over_ - judged.over);
  }
  last_over_ = judged.over;
  while (gone > 0 && !going_.empty()) {
    const uint64_t part = std::min(gone, going_.front().bytes);
    gone -= part;
    going_.front().bytes -= part;
    if (going_.front().bytes == 0) going_.pop_front();
  }
  while (!going_.empty() && now - going_.front().at >= kGoneIn) going_.pop_front();
  while (!settled_.empty() && now - settled_.front().at >= kSettledIn) settled_.pop_front();
  if (asked_ && now - *asked_ >= kAnswerIn) asked_.reset();
}

uint64_t MemoryKeeper::ToShed(const MemoryReading& reading, const Judged& judged) {
  if (pressure_ == MemoryPressure::kEnough || asked_ || judged.over <= 0) return 0;
  const auto over = static_cast<uint64_t>(judged.over);
  const uint64_t going = std::max(Sum(going_), std::min(reading.settling, Sum(settled_)));
  if (over <= going) return 0;
  // Below the high mark there is time: what does not come back although it was freed is not for
  // others to make up for, while sessions do not hold most of what is too much.
  const bool presses = judged.percent >= kHigh;
  if (!presses && (!settled_.empty() || reading.sheddable < over / 2)) return 0;
  const uint64_t left = reading.sheddable - std::min(reading.sheddable, undone_);
  if (left < over / kWorthPart) return 0;
  return std::min(over - going, left);
}

MemoryOrders MemoryKeeper::Look(const MemoryReading& reading) {
  MemoryOrders orders;
  const auto judged = Judge(reading);
  if (!judged) return orders;  // nothing is known: it stays as it was
  const net::Time now = reading.now;
  const bool was_short = pressure_ != MemoryPressure::kEnough;
  Enter(*judged, now);
  Settle(reading, *judged);
  const bool is_short = pressure_ != MemoryPressure::kEnough;
  if (is_short != was_short) {
    orders.said = is_short ? MemoryOrders::Said::kBegins : MemoryOrders::Said::kEnds;
    said_ = now;
  } else if (is_short && now - said_ >= kSayEvery) {
    orders.said = MemoryOrders::Said::kGoesOn;
    said_ = now;
  }
  if (!is_short && !high_since_) return orders;
  if (Due(trimmed_, now, kTrimEvery)) {
    trimmed_ = now;
    orders.trim = true;
  }
  if (Due(eased_, now, kEaseEvery)) {
    eased_ = now;
    orders.ease = true;
  }
  // What the allocator gives back now is not to be made up for by sessions.
  if (!orders.trim) orders.shed = ToShed(reading, *judged);
  if (orders.shed > 0) {
    asked_ = now;
    going_.push_back({now, orders.shed});
    settled_.push_back({now, orders.shed});
    undone_ += orders.shed;
  }
  return orders;
}

void MemoryKeeper::Shed(uint64_t bytes) {
  if (!asked_) return;
  // More than was asked for where the last that went had much; less where there was not so much.
  for (auto* orders : {&going_, &settled_}) {
    if (!orders->empty() && orders->back().at == *asked_) orders->back().bytes = bytes;
  }
  asked_.reset();
}

}  // namespace server
