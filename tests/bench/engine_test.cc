// The generator against its own sink, over loopback.
#include "bench/load/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "bench/load/report.h"
#include "bench/load/scenarios.h"
#include "bench/load/sink.h"

namespace bench {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kDeadlineNs = 60'000 * kMs;

class RunningSink {
 public:
  explicit RunningSink(SinkMode mode, bool start = true) {
    auto sink = Sink::Create({{*ParseEndpoint("127.0.0.1:0", false), mode}}, 128);
    sink_ = std::move(*sink);
    at_ = sink_->Bound().front();
    if (start) Start();
  }
  ~RunningSink() { Destroy(); }

  void Start() {
    if (!thread_.joinable()) thread_ = std::thread([this] { sink_->Run(stop_); });
  }
  const SinkStats& Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return sink_->Stats();
  }
  // Ends its connections, too.
  void Destroy() {
    if (sink_ == nullptr) return;
    Stop();
    sink_.reset();
  }
  const Endpoint& At() const { return at_; }

 private:
  std::unique_ptr<Sink> sink_;
  Endpoint at_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

std::unique_ptr<Engine> MakeEngine(const Endpoint& to, std::size_t connections) {
  EngineOptions options;
  options.targets = {to};
  options.connections = connections;
  return std::move(*Engine::Create(std::move(options)));
}

Timing Window(std::int64_t duration_ns, std::uint64_t count_max = UINT64_MAX) {
  return {.warmup_ns = 1 * kMs, .duration_ns = duration_ns, .count_max = count_max};
}

Payload Text(const std::string& text) { return {text, text.size(), true}; }

TEST(Engine, ConnectCountsEachConnectionOnceAndTheSinkAgrees) {
  RunningSink sink(SinkMode::kAuto);
  const auto engine = MakeEngine(sink.At(), 4);
  ConnectScenario scenario(Window(kDeadlineNs, 500), Text("hello\n"), std::nullopt);
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  Result& result = engine->Out();
  JudgeResult(result);
  EXPECT_THAT(result.invalid, IsEmpty());
  EXPECT_GE(result.completed, 500U);
  EXPECT_EQ(result.total.Count(), result.completed);
  EXPECT_EQ(result.Failures(), 0U);
  EXPECT_GE(sink.Stop().accepted.front(), result.completed);
}

TEST(Engine, EchoKeepsOneRequestInFlightOnEachConnection) {
  RunningSink sink(SinkMode::kEcho);
  const auto engine = MakeEngine(sink.At(), 50);
  EchoScenario scenario(Window(kDeadlineNs, 2000), Text(std::string(300, 'x')), std::nullopt);
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  Result& result = engine->Out();
  JudgeResult(result);
  EXPECT_THAT(result.invalid, IsEmpty());
  EXPECT_EQ(result.held, 50U);
  EXPECT_GE(result.completed, 2000U);
  EXPECT_LE(result.started, result.completed + 50);
  EXPECT_EQ(sink.Stop().accepted.front(), 50U);
}

TEST(Engine, BulkReceivesEveryByteItAskedFor) {
  RunningSink sink(SinkMode::kAuto);
  const auto engine = MakeEngine(sink.At(), 3);
  BulkScenario scenario(30'000'000, 3);
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  EXPECT_EQ(engine->Out().bytes, 30'000'000U);
  EXPECT_EQ(engine->Out().completed, 3U);
  EXPECT_GE(sink.Stop().bytes_out, 30'000'000U);
}

TEST(Engine, AReplyThatIsNotTheRequestIsAFailure) {
  RunningSink sink(SinkMode::kRespond);
  const auto engine = MakeEngine(sink.At(), 2);
  ConnectScenario scenario(Window(50 * kMs), Text("hello\n"), std::nullopt);
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  Result& result = engine->Out();
  JudgeResult(result);
  EXPECT_GT(result.failed[static_cast<std::size_t>(FailReason::kMismatch)], 0U);
  EXPECT_EQ(result.completed, 0U);
  EXPECT_THAT(result.invalid, Contains(HasSubstr("failed")));
}

TEST(Engine, NobodyListeningIsAFailureAndNoSpin) {
  Endpoint gone;
  {
    RunningSink sink(SinkMode::kEcho);
    gone = sink.At();
  }
  const auto engine = MakeEngine(gone, 2);
  ConnectScenario scenario(Window(100 * kMs), Text("x\n"), std::nullopt);
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  const std::uint64_t failed = engine->Out().failed[static_cast<std::size_t>(FailReason::kConnect)];
  EXPECT_GT(failed, 0U);
  EXPECT_LT(failed, 200U);
}

// Starts the sink only when the generator has run for a while: a server that stalls.
class StalledStart final : public Scenario {
 public:
  StalledStart(Scenario& inner, RunningSink& sink, std::int64_t stall_ns)
      : inner_(inner), sink_(sink), stall_ns_(stall_ns) {}
  void OnStart(Engine& engine) override {
    start_ns_ = engine.Now();
    inner_.OnStart(engine);
  }
  void OnOpen(Engine& engine, Conn& conn) override { inner_.OnOpen(engine, conn); }
  void OnReply(Engine& engine, Conn& conn) override { inner_.OnReply(engine, conn); }
  void OnFail(Engine& engine, Conn& conn, FailReason reason, bool was_idle) override {
    inner_.OnFail(engine, conn, reason, was_idle);
  }
  std::int64_t OnTick(Engine& engine, std::int64_t now_ns) override {
    if (now_ns >= start_ns_ + stall_ns_) sink_.Start();
    return std::min(inner_.OnTick(engine, now_ns), now_ns + 10 * kMs);
  }
  bool Done() const override { return inner_.Done(); }

 private:
  Scenario& inner_;
  RunningSink& sink_;
  std::int64_t stall_ns_;
  std::int64_t start_ns_ = 0;
};

TEST(Engine, AStallShowsInEveryStartThatItDelayedNotOnlyInThoseInFlight) {
  RunningSink sink(SinkMode::kEcho, false);
  const auto engine = MakeEngine(sink.At(), 2);
  ConnectScenario scenario(Window(1000 * kMs), Text("x\n"),
                           Arrivals({{200, 2000 * kMs}}, ArrivalKind::kConstant, 1));
  StalledStart stalled(scenario, sink, 400 * kMs);
  engine->Run(stalled, MonotonicNs() + kDeadlineNs);
  const Histogram& total = engine->Out().total;
  // 80 starts were meant to happen in the stall. Counted from the real starts, only the two
  // connections in flight would be slow.
  std::uint64_t slow = 0;
  total.ForEachBucket([&](std::size_t index, std::uint64_t count) {
    if (Histogram::UpperEdge(index) > 100 * kMs) slow += count;
  });
  EXPECT_GE(slow, 40U);
  EXPECT_GE(total.Max(), 350 * kMs);
}

TEST(Engine, IdleConnectionsAreHeldAndTheirLossIsCounted) {
  RunningSink sink(SinkMode::kEcho);
  const auto engine = MakeEngine(sink.At(), 40);
  HoldOptions options;
  options.payload = Text("x\n");
  options.hold_ns = kNever;
  bool held = false;
  options.on_held = [&](Engine& e) {
    held = e.OpenCount() == 40;
    sink.Destroy();
  };
  options.told_to_stop = [&] { return engine->Out().lost == 40; };
  HoldScenario scenario(std::move(options), std::nullopt);
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  EXPECT_TRUE(held);
  EXPECT_EQ(engine->Out().completed, 40U);
  EXPECT_EQ(engine->Out().held, 40U);
  EXPECT_EQ(engine->Out().lost, 40U);
  EXPECT_FALSE(engine->Out().interrupted);
}

TEST(Engine, AStormRetriesWithBackOffAndGivesUpWhenTold) {
  Endpoint gone;
  {
    RunningSink sink(SinkMode::kEcho);
    gone = sink.At();
  }
  const auto engine = MakeEngine(gone, 20);
  HoldOptions options;
  options.payload = Text("x\n");
  options.retries_max = 2;
  options.retry_base_ns = 5 * kMs;
  options.hold_ns = 1;
  HoldScenario scenario(std::move(options),
                        Arrivals({{1000, 100 * kMs}}, ArrivalKind::kPoisson, 5));
  engine->Run(scenario, MonotonicNs() + kDeadlineNs);
  EXPECT_EQ(engine->Out().retries, 40U);
  EXPECT_EQ(engine->Out().Failures(), 60U);
  EXPECT_EQ(engine->Out().held, 0U);
  EXPECT_FALSE(engine->Out().interrupted);
}

}  // namespace
}  // namespace bench
