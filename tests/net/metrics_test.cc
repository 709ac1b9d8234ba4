#include "net/report/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "net/report/histogram.h"

namespace net {
namespace {

TEST(Metrics, FamiliesHaveHelpTypeAndSeries) {
  MetricsWriter out;
  auto connections = out.Gauge("mongooselb_node_connections", "Connections to the node.");
  connections.Add({{"pool", "xmpp"}, {"node", "n1"}}, 41'000);
  connections.Add({{"pool", "xmpp"}, {"node", "n2"}}, uint64_t{0});
  out.Counter("mongooselb_accepted_total", "Accepted connections.").Add({}, UINT64_MAX);
  out.Gauge("mongooselb_warm_ratio", "Warm-up.").Add({}, 0.1);
  EXPECT_EQ(std::move(out).Take(), R"(# HELP mongooselb_node_connections Connections to the node.
# TYPE mongooselb_node_connections gauge
mongooselb_node_connections{pool="xmpp",node="n1"} 41000
mongooselb_node_connections{pool="xmpp",node="n2"} 0
# HELP mongooselb_accepted_total Accepted connections.
# TYPE mongooselb_accepted_total counter
mongooselb_accepted_total 18446744073709551615
# HELP mongooselb_warm_ratio Warm-up.
# TYPE mongooselb_warm_ratio gauge
mongooselb_warm_ratio 0.1
)");
}

TEST(Metrics, LabelsCannotBreakOutOfTheirQuotes) {
  MetricsWriter out;
  out.Gauge("g", "Backslash \\ and\nnewline.").Add({{"v", "a\"} 1\nevil 2\\\x1b\xff"}}, 1);
  EXPECT_EQ(std::move(out).Take(),
            "# HELP g Backslash \\\\ and\\nnewline.\n# TYPE g gauge\n"
            "g{v=\"a\\\"} 1\\nevil 2\\\\??\"} 1\n");
}

TEST(Metrics, NumbersThatAreNoneHaveTheirNames) {
  MetricsWriter out;
  auto family = out.Gauge("g", "h");
  family.Add({}, std::nan(""));
  family.Add({}, std::numeric_limits<double>::infinity());
  family.Add({}, -std::numeric_limits<double>::infinity());
  EXPECT_THAT(std::move(out).Take(), ::testing::HasSubstr("g NaN\ng +Inf\ng -Inf\n"));
}

TEST(Metrics, HistogramsAreCumulativeAndEndWithInf) {
  Histogram h;
  h.Record(1'000'000, 3);     // 1 ms
  h.Record(400'000'000, 2);   // 400 ms
  h.Record(100'000'000'000);  // 100 s
  std::vector<double> bounds = {0.01, 0.5, 60};
  MetricsWriter out;
  std::vector<MetricsWriter::HistogramSeries> series;
  series.push_back({.labels = {{"pool", "x"}}, .values = &h});
  out.Histograms("connect_seconds", "Time to connect.", 1e9, bounds, series);
  EXPECT_EQ(std::move(out).Take(), R"(# HELP connect_seconds Time to connect.
# TYPE connect_seconds histogram
connect_seconds_bucket{pool="x",le="0.01"} 3
connect_seconds_bucket{pool="x",le="0.5"} 5
connect_seconds_bucket{pool="x",le="60"} 5
connect_seconds_bucket{pool="x",le="+Inf"} 6
connect_seconds_sum{pool="x"} 100.803
connect_seconds_count{pool="x"} 6
)");
}

TEST(Metrics, LatencyBoundsAscend) {
  EXPECT_THAT(LatencyBounds(), ::testing::SizeIs(18));
  EXPECT_TRUE(std::ranges::is_sorted(LatencyBounds()));
}

TEST(MetricsDeathTest, NamesAgainstTheConventionAreBugs) {
  EXPECT_DEATH({ MetricsWriter().Counter("accepted", "h"); }, "CHECK failed");
  EXPECT_DEATH({ MetricsWriter().Gauge("x_total", "h"); }, "CHECK failed");
  EXPECT_DEATH({ MetricsWriter().Gauge("bad name", "h"); }, "CHECK failed");
  EXPECT_DEATH(
      {
        MetricsWriter out;
        out.Gauge("a", "h");
        out.Gauge("a", "h");
      },
      "CHECK failed");
}

enum class Event : uint8_t { kAccepted, kRefused, kOpen, kCount };

TEST(Counters, SumOverWorkersThatCountAtOnce) {
  Counters<Event> counters(4);
  std::vector<std::jthread> threads;
  for (size_t w = 0; w < 4; ++w) {
    threads.emplace_back([&counters, w] {
      for (int i = 0; i < 10'000; ++i) counters.worker(w).Add(Event::kAccepted);
      counters.worker(w).Add(Event::kRefused, w);
    });
  }
  threads.clear();
  EXPECT_EQ(counters.Sum(Event::kAccepted), 40'000U);
  EXPECT_EQ(counters.Sum(Event::kRefused), 6U);
  EXPECT_EQ(counters.worker(3).Get(Event::kRefused), 3U);
}

TEST(Counters, OneWorkerMayCloseWhatAnotherOpened) {
  Counters<Event> counters(2);
  counters.worker(0).Add(Event::kOpen, 5);
  counters.worker(1).Subtract(Event::kOpen, 3);
  EXPECT_EQ(counters.Sum(Event::kOpen), 2U);
}

TEST(Counters, NoTwoWorkersShareACacheLine) {
  EXPECT_EQ(sizeof(Counters<Event>::Cells) % 128, 0U);
  EXPECT_EQ(alignof(Counters<Event>::Cells), 128U);
}

}  // namespace
}  // namespace net
