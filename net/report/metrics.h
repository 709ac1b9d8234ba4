// Metrics for Prometheus, by pulling: at a scrape the owner of the numbers writes them out.
//
//   MetricsWriter out;
//   auto family = out.Gauge("mongooselb_node_connections", "Connections to the node.");
//   for (const auto& node : nodes) family.Add({{"pool", node.pool}, {"node", node.name}},
//   node.open); response.body = std::move(out).Take();
//
// Names carry the program as prefix, base units (seconds, bytes) and, for counters, `_total`;
// breaking that is a bug of ours and CHECKed. Label values are escaped, whatever they hold; never
// give a JID or an address of a peer as a label: that makes one series a peer.
//
// Counters are the cells in which workers count. Each worker has a cache line run of its own and is
// the only writer of it; a scrape adds them up.
//
// Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4)
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace net {

class Histogram;

struct MetricLabel {
  std::string_view name;
  std::string_view value;
};

class MetricsWriter {
 public:
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  class Family {
   public:
    template <std::integral T>
    void Add(std::initializer_list<MetricLabel> labels, T value) {
      AddText(labels, std::to_string(value));
    }
    void Add(std::initializer_list<MetricLabel> labels, double value);
    void Add(std::span<const MetricLabel> labels, double value);

   private:
    friend class MetricsWriter;
    Family(MetricsWriter* writer, std::string_view name) : writer_(writer), name_(name) {}
    void AddText(std::span<const MetricLabel> labels, std::string_view value);
    void AddText(std::initializer_list<MetricLabel> labels, std::string_view value) {
      AddText(std::span(labels.begin(), labels.size()), value);
    }

    MetricsWriter* writer_;
    std::string_view name_;
  };

  // Starts a family of series; add all of its series before the next family starts.
  Family Counter(std::string_view name, std::string_view help);  // the name ends with _total
  Family Gauge(std::string_view name, std::string_view help);

  // A whole family: NAME_bucket, NAME_sum, NAME_count. `unit` is what one of the name's unit is in
  // the histogram's values: 1e9 for a histogram of nanoseconds under a name that ends with
  // _seconds. Bounds are in the name's unit, ascending; +Inf is added.
  struct HistogramSeries {
    std::vector<MetricLabel> labels;
    const Histogram* values;
  };
  void Histograms(std::string_view name, std::string_view help, double unit,
                  std::span<const double> bounds, std::span<const HistogramSeries> series);

  std::string Take() && { return std::move(text_); }

 private:
  void Begin(std::string_view name, std::string_view help, std::string_view type);

  std::string text_;
  std::set<std::string, std::less<>> families_;  // each may start once
};

// Bounds for latencies, in seconds: 100 us to 60 s.
std::span<const double> LatencyBounds();

// Counters of an enum, one cell set a worker. The enum counts from 0 and ends with kCount.
//
//   enum class Event { kAccepted, kRefused, kCount };
//   Counters<Event> counters(workers);
//   counters.worker(3).Add(Event::kAccepted);   // by the thread of worker 3 only
//   counters.Sum(Event::kAccepted);             // by anybody
template <typename E>
class Counters {
 public:
  static constexpr size_t kCount = static_cast<size_t>(E::kCount);

  // One writing thread. Aligned so that no two workers share a line (nor a prefetched pair).
  class alignas(128) Cells {
   public:
    void Add(E which, uint64_t by = 1) noexcept {
      auto& cell = cells_[static_cast<size_t>(which)];
      // One thread writes, so a load and a store do, without a locked instruction.
      cell.store(cell.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }
    // For what goes up and down; only the sum over workers is meaningful.
    void Subtract(E which, uint64_t by = 1) noexcept { Add(which, uint64_t{0} - by); }
    uint64_t Get(E which) const noexcept {
      return cells_[static_cast<size_t>(which)].load(std::memory_order_relaxed);
    }

   private:
    std::atomic<uint64_t> cells_[kCount]{};
  };

  explicit Counters(size_t workers)
      : workers_(workers), cells_(std::make_unique<Cells[]>(workers)) {}

  size_t workers() const { return workers_; }
  Cells& worker(size_t index) { return cells_[index]; }
  const Cells& worker(size_t index) const { return cells_[index]; }

  uint64_t Sum(E which) const {
    uint64_t sum = 0;
    for (size_t i = 0; i < workers_; ++i) sum += cells_[i].Get(which);
    return sum;
  }

 private:
  size_t workers_;
  std::unique_ptr<Cells[]> cells_;
};

}  // namespace net
