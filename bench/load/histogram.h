// Latencies in a log-linear histogram: 64 buckets for every power of two, so that a reported
// quantile is at most 1.6 % above the true value, whatever its size. Fixed memory (30 KB), no
// allocation after construction, mergeable: percentiles of several generators are taken from the
// sum of their histograms, never averaged.
//
// Values are nanoseconds. Not thread-safe.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace bench {

class Histogram {
 public:
  static constexpr int kSubBits = 6;
  static constexpr std::uint64_t kSub = 1U << kSubBits;
  static constexpr std::size_t kBuckets = kSub * (64 - kSubBits + 1);

  Histogram() : counts_(kBuckets, 0) {}

  void Record(std::int64_t value_ns);
  void Merge(const Histogram& other);
  void Clear();
  // Puts back what ForEachBucket gave: `count` values in a bucket. False for a bucket that does not
  // exist. Minimum and maximum become the edges of the buckets.
  bool Restore(std::size_t index, std::uint64_t count);

  std::uint64_t Count() const { return count_; }
  std::int64_t Min() const { return count_ == 0 ? 0 : min_; }
  std::int64_t Max() const { return max_; }
  double Mean() const;

  // The upper edge of the bucket that holds the value of rank ceil(q * count), never above Max().
  // 0 when empty. `q` in [0, 1].
  std::int64_t Quantile(double q) const;

  // For results that are merged later: the occupied buckets, and one of them put back.
  template <typename Visitor>
  void ForEachBucket(Visitor visit) const {
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] != 0) visit(i, counts_[i]);
    }
  }

  static std::size_t IndexOf(std::uint64_t value);
  static std::uint64_t UpperEdge(std::size_t index);

 private:
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  double sum_ = 0;
  std::int64_t min_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace bench
