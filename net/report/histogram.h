// A histogram of fixed precision: log-linear buckets, each at most 1/64 of its value wide, so that
// a percentile is within 0.8 % of the truth. Values are whole numbers from 0 to about 35e12: with
// nanoseconds, up to 9.7 hours; larger ones are counted in the last bucket and in clamped().
//
// Recording takes a few nanoseconds and never allocates or locks. One thread records; any thread
// may read, merge from or export it meanwhile, and sees counts that may be some records apart.
// Histograms of threads, runs and machines merge without loss.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace net {

class Histogram {
 public:
  static constexpr int kPrecisionBits = 6;
  static constexpr int kValueBits = 45;
  static constexpr int64_t kValueMax = (int64_t{1} << kValueBits) - 1;
  static constexpr size_t kBuckets = size_t{kValueBits - kPrecisionBits + 1} << kPrecisionBits;

  Histogram();  // allocates its 20 KiB
  Histogram(const Histogram& other);
  Histogram& operator=(const Histogram& other);
  Histogram(Histogram&&) noexcept = default;
  Histogram& operator=(Histogram&&) noexcept = default;

  // Negative values count as 0 (clocks of two threads may differ by a little).
  void Record(int64_t value, uint64_t times = 1) noexcept {
    if (value > kValueMax) {
      Bump(cells_->clamped, times);
      value = kValueMax;
    } else if (value < 0) {
      value = 0;
    }
    Bump(cells_->buckets[BucketOf(value)], times);
    Bump(cells_->count, times);
    Bump(cells_->sum, static_cast<uint64_t>(value) * times);
    if (value < cells_->min.load(kRelaxed)) cells_->min.store(value, kRelaxed);
    if (value > cells_->max.load(kRelaxed)) cells_->max.store(value, kRelaxed);
  }
  void Merge(const Histogram& other);
  void Reset();  // by the recording thread

  uint64_t count() const { return cells_->count.load(kRelaxed); }
  uint64_t clamped() const { return cells_->clamped.load(kRelaxed); }
  double sum() const { return static_cast<double>(cells_->sum.load(kRelaxed)); }
  // 0 while empty.
  int64_t min() const;
  int64_t max() const { return cells_->max.load(kRelaxed); }
  double Mean() const;
  // The value at or below which `percent` of the records lie; 0 while empty. Percentile(100) is
  // max() exactly.
  int64_t Percentile(double percent) const;
  // Records at or below the value, to the precision of the buckets; monotonous in the value.
  uint64_t CountAtMost(int64_t value) const;

  // {"version":1,"unit":"ns","precision_bits":6,"count":..,"sum":..,"min":..,"max":..,
  //  "clamped":..,"buckets":[[index,count],...]}: only the buckets that hold something.
  std::string ToJson(std::string_view unit) const;
  // Reads what ToJson wrote and refuses everything else (other versions, precision or unit, counts
  // that do not add up): the error says what is wrong.
  static std::expected<Histogram, std::string> FromJson(std::string_view json,
                                                        std::string_view unit);

  // The bucket of a value in [0, kValueMax], and the smallest and largest value of a bucket.
  static constexpr size_t BucketOf(int64_t value) {
    auto bits = static_cast<uint64_t>(value);
    if (bits < kSubBuckets) return static_cast<size_t>(bits);
    int shift = kWordBits - 1 - __builtin_clzll(bits) - kPrecisionBits;
    return static_cast<size_t>(((static_cast<uint64_t>(shift) + 1) << kPrecisionBits) +
                               ((bits >> shift) & (kSubBuckets - 1)));
  }
  static constexpr int64_t LowestOf(size_t bucket) {
    if (bucket < kSubBuckets) return static_cast<int64_t>(bucket);
    uint64_t shift = (bucket >> kPrecisionBits) - 1;
    return static_cast<int64_t>((kSubBuckets + (bucket & (kSubBuckets - 1))) << shift);
  }
  static constexpr int64_t HighestOf(size_t bucket) { return LowestOf(bucket + 1) - 1; }

 private:
  static constexpr uint64_t kSubBuckets = uint64_t{1} << kPrecisionBits;
  static constexpr int kWordBits = 64;
  static constexpr auto kRelaxed = std::memory_order_relaxed;

  struct Cells {
    std::atomic<uint64_t> count{0};
    std::atomic<uint64_t> sum{0};
    std::atomic<uint64_t> clamped{0};
    std::atomic<int64_t> min{INT64_MAX};
    std::atomic<int64_t> max{0};
    std::atomic<uint64_t> buckets[kBuckets]{};
  };

  // One thread writes, so a load and a store do, without a locked instruction.
  static void Bump(std::atomic<uint64_t>& cell, uint64_t by) noexcept {
    cell.store(cell.load(kRelaxed) + by, kRelaxed);
  }

  std::unique_ptr<Cells> cells_;
};

}  // namespace net
