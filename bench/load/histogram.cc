#include "bench/load/histogram.h"

#include <algorithm>
#include <cmath>

namespace bench {

std::size_t Histogram::IndexOf(std::uint64_t value) {
  if (value < kSub) return static_cast<std::size_t>(value);
  const int shift = static_cast<int>(std::bit_width(value)) - 1 - kSubBits;
  const std::uint64_t mantissa = (value >> shift) - kSub;
  return static_cast<std::size_t>(kSub * static_cast<std::uint64_t>(shift + 1) + mantissa);
}

std::uint64_t Histogram::UpperEdge(std::size_t index) {
  if (index < kSub) return index;
  const auto shift = static_cast<unsigned>(index / kSub - 1);
  const std::uint64_t mantissa = index % kSub + kSub;
  return ((mantissa + 1) << shift) - 1;
}

void Histogram::Record(std::int64_t value_ns) {
  const std::int64_t value = std::max<std::int64_t>(value_ns, 0);
  ++counts_[IndexOf(static_cast<std::uint64_t>(value))];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

void Histogram::Clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = 0;
  sum_ = 0;
  min_ = 0;
  max_ = 0;
}

bool Histogram::Restore(std::size_t index, std::uint64_t count) {
  if (index >= counts_.size()) return false;
  if (count == 0) return true;
  const auto edge = static_cast<std::int64_t>(std::min<std::uint64_t>(UpperEdge(index), INT64_MAX));
  counts_[index] += count;
  min_ = count_ == 0 ? edge : std::min(min_, edge);
  max_ = std::max(max_, edge);
  sum_ += static_cast<double>(edge) * static_cast<double>(count);
  count_ += count;
  return true;
}

double Histogram::Mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

std::int64_t Histogram::Quantile(double q) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
  const std::uint64_t rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::min(static_cast<std::int64_t>(UpperEdge(i)), max_);
  }
  return max_;
}

}  // namespace bench
