// How connections end: what was said arrives, resets arrive as resets, nobody who is gone stays
// unnoticed, and our own lacks are blamed on nobody. Each played through in the simulated network.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/sim/proxy_world.h"

namespace sim {
namespace {

using Ends = Script::Ends;
using Speaks = Script::Speaks;

constexpr net::Duration kFin = seconds(2);

WorldOptions WithFin() {
  WorldOptions options;
  options.pool.fin_timeout = kFin;
  options.faults.reset_loses = 0;
  return options;
}

// --- Gone while the other side reads slowly ----------------------------------------------------

TEST(ProxyEnds, AResetOfASideThatIsPausedGivesBackSocketsAndMemoryWithinFinTimeout) {
  for (const bool by_client : {true, false}) {
    SCOPED_TRACE(by_client ? "the client resets" : "the node resets");
    World world(WithFin());
    const Script speaker{.bytes = 60'000, .ends = Ends::kHold, .reset_after = seconds(5)};
    const Script deaf{.ends = Ends::kHold, .reads = false, .window = 1'000};
    world.Answers(0, Accepts({}, by_client ? deaf : speaker));
    std::vector<Peer*> clients;
    for (uint32_t i = 0; i < 24; ++i) clients.push_back(&world.Dial(i, by_client ? speaker : deaf));
    world.RunFor(seconds(4));
    ASSERT_EQ(world.worker->size(), 24U);
    EXPECT_GT(world.worker->stats().pauses.load(), 0U);
    EXPECT_TRUE(world.RunUntil([&] { return world.worker->size() == 0; }, seconds(1) + kFin))
        << world.worker->size() << " connections stay";
    EXPECT_EQ(world.worker->buffers().in_use(), 0U);
    EXPECT_EQ(world.Ended(by_client ? lb::EndReason::kClientReset : lb::EndReason::kNodeReset),
              24U);
    for (const Peer* client : clients) EXPECT_TRUE(by_client || client->saw_reset);
    for (const Peer* node : world.NodePeers()) EXPECT_TRUE(!by_client || node->saw_reset);
    EXPECT_EQ(world.Log()[0]["error"], "ECONNRESET");
    world.Finish();
  }
}

TEST(ProxyEnds, AnEndBehindBytesThatNobodyTakesIsBoundedByFinTimeout) {
  World world(WithFin());
  world.Answers(0, Accepts({}, {.ends = Ends::kHold, .reads = false, .window = 1'000}));
  // Its end stands behind more than we receive while the node does not read.
  world.Dial(1, {.bytes = 20'000, .chunk_max = 30'000, .ends = Ends::kHalfClose});
  EXPECT_TRUE(world.RunUntil([&] { return world.worker->stats().pauses.load() > 0; }));
  EXPECT_TRUE(world.RunUntil([&] { return world.worker->size() == 0; }, 2 * kFin));
  EXPECT_EQ(world.Ended(lb::EndReason::kFinTimeout), 1U);
  world.Finish();
}

TEST(ProxyEnds, AResetThatWasThereBeforeTheReceiveIsNoticedBehindTheData) {
  for (const bool by_client : {true, false}) {
    SCOPED_TRACE(by_client ? "the client resets" : "the node resets");
    WorldOptions options = WithFin();
    options.faults.delayed = 1;  // we learn of the connection when all has come
    options.faults.completion_delay = milliseconds(20);
    World world(options);
    const Script speaker{
        .bytes = 100, .chunk_max = 1'000'000, .ends = Ends::kHold, .reset_after = net::Duration(1)};
    const Script holder{.ends = Ends::kHold};
    world.Answers(0, Accepts({}, by_client ? holder : speaker));
    Peer& client = world.Dial(1, by_client ? speaker : holder);
    ASSERT_TRUE(world.RunUntil([&] { return world.worker->stats().accepted.load() == 1; }));
    EXPECT_TRUE(world.RunUntil([&] { return world.worker->size() == 0; }, kFin))
        << "it stays for ever";
    // (A node is received from at once, when it is connected: that one is not deaf.)
    if (by_client) {
      EXPECT_GT(world.network.deaf_receives(), 0U);
    }
    ASSERT_EQ(world.NodePeers().size(), 1U);
    const Peer& node = *world.NodePeers()[0];
    const Peer& told = by_client ? node : client;
    EXPECT_EQ(told.received.size(), (by_client ? client : node).written) << "its words are lost";
    EXPECT_TRUE(told.saw_reset);
    world.Finish();
  }
}

// --- Last words ---------------------------------------------------------------------------------

// A node that refuses says why and closes, with what we send unread: our sends fail.
TEST(ProxyEnds, WhatANodeSaidReachesTheClientThoughOurSendToItFails) {
  uint64_t failed_sends = 0;
  uint64_t overtaken = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    WorldOptions options = WithFin();
    options.seed = seed;
    options.faults.delayed = 0.5;
    options.faults.completion_delay = milliseconds(5);
    options.faults.ack_delay = milliseconds(20);
    options.pool.send_proxy = seed % 2 == 0 ? lb::SendProxy::kV2 : lb::SendProxy::kOff;
    World world(options);
    world.Answers(0, Accepts({}, {.bytes = 700,
                                  .speaks = Speaks::kAfterFirstByte,
                                  .ends = Ends::kReset,
                                  .window = 2'000}));
    Peer& client = world.Dial(1, {.bytes = 20'000,
                                  .chunk_max = 2'000,
                                  .gap_max = milliseconds(1),
                                  .ends = Ends::kHold,
                                  .read_gap_max = milliseconds(30)});
    ASSERT_TRUE(world.RunUntil([&] { return world.NodePeers().size() == 1; }));
    const Peer& node = *world.NodePeers()[0];
    EXPECT_TRUE(
        world.RunUntil([&] { return world.worker->size() == 0 && client.done(); }, seconds(3)));
    EXPECT_EQ(client.received, Payload(node.id, 700));
    // The twin may delay the failed send's completion beyond that of the receive behind it, which
    // finds the socket's error taken and an orderly end. (The kernel completes them in order.)
    if (world.Ended(lb::EndReason::kNodeClosed) == 1) {
      ++overtaken;
      world.Finish();
      continue;
    }
    EXPECT_TRUE(client.saw_reset);
    EXPECT_EQ(world.Ended(lb::EndReason::kNodeReset), 1U);
    failed_sends += world.worker->stats().node_errnos[EPIPE].load();
    world.Finish();
  }
  EXPECT_LE(overtaken, 3U);
  EXPECT_GT(failed_sends, 5U) << "what is tested here did not happen";
}

TEST(ProxyEnds, WhatAClientSaidReachesTheNodeThoughOurSendToItFails) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    WorldOptions options = WithFin();
    options.seed = seed;
    options.faults.ack_delay = milliseconds(20);
    World world(options);
    world.Answers(0, Accepts({}, {.bytes = 20'000,
                                  .speaks = Speaks::kAfterFirstByte,
                                  .chunk_max = 2'000,
                                  .ends = Ends::kHold,
                                  .read_gap_max = milliseconds(30)}));
    Peer& client = world.Dial(1, {.bytes = 700, .ends = Ends::kReset, .window = 1'000});
    EXPECT_TRUE(world.RunUntil(
        [&] { return client.reset && world.worker->size() == 0 && world.NodePeers()[0]->done(); },
        seconds(5)));
    EXPECT_EQ(world.NodePeers()[0]->received, Payload(client.id, 700));
    EXPECT_TRUE(world.NodePeers()[0]->saw_reset);
    world.Finish();
  }
}

// --- Resets -------------------------------------------------------------------------------------

TEST(ProxyEnds, AResetIsPassedOnAsOneEitherWayAndAnOrderlyEndAsAnOrderlyEnd) {
  for (const bool options_in_ring : {true, false}) {
    for (const bool by_client : {true, false}) {
      for (const bool reset : {true, false}) {
        WorldOptions options = WithFin();
        options.faults.socket_options = options_in_ring;
        World world(options);
        const Script ends{.bytes = 100,
                          .ends = reset ? Ends::kReset : Ends::kHalfClose,
                          .end_after = milliseconds(100)};
        const Script holds{.bytes = 100, .ends = Ends::kHold};
        world.Answers(0, Accepts({}, by_client ? holds : ends));
        Peer& client = world.Dial(1, by_client ? ends : holds);
        EXPECT_TRUE(world.RunUntil([&] {
          return world.NodePeers().size() == 1 && world.worker->size() == 0 && client.done() &&
                 world.NodePeers()[0]->done();
        }));
        const Peer& node = *world.NodePeers()[0];
        const Peer& told = by_client ? node : client;
        EXPECT_EQ(told.saw_reset, reset);
        EXPECT_EQ(told.saw_end, !reset);
        EXPECT_EQ(told.received.size(), 100U);
        world.Finish();
      }
    }
  }
}

TEST(ProxyEnds, AResetWaitsUntilTheBytesBeforeItAreAcknowledged) {
  WorldOptions options = WithFin();
  options.faults.ack_delay = milliseconds(800);
  for (options.seed = 1; options.seed < 10; ++options.seed) {
    World world(options);
    world.Answers(0, Accepts({}, {.bytes = 5'000, .ends = Ends::kReset}));
    Peer& client =
        world.Dial(1, {.ends = Ends::kHold, .read_max = 100, .read_gap_max = milliseconds(2)});
    EXPECT_TRUE(world.RunUntil([&] { return client.done(); }, kFin));
    EXPECT_EQ(client.received.size(), 5'000U);
    EXPECT_TRUE(client.saw_reset);
    world.Finish();
  }
}

// --- The end of the worker ----------------------------------------------------------------------

TEST(ProxyEnds, AfterStopTimersRunOnAndADrainNeitherSpinsNorForgetsWhatItWaitsFor) {
  World world({});
  bool ran = false;
  world.loop->After(milliseconds(10), [&] { ran = true; });
  world.loop->After({}, [&] { world.loop->Stop(); });
  world.loop->Run();
  world.loop->Hold(net::EventLoop::Work::kStream);
  const uint64_t enters = world.loop->ring().stats().enters;
  const auto drained = world.loop->Drain(seconds(3));
  ASSERT_FALSE(drained.has_value());
  EXPECT_THAT(drained.error(), testing::HasSubstr("1 stream operations"));
  EXPECT_TRUE(ran);
  EXPECT_LT(world.loop->ring().stats().enters - enters, 100U) << "it spins";
  world.loop->Release(net::EventLoop::Work::kStream);
  world.Finish();
}

TEST(ProxyEnds, AConnectWhoseCancelMustBeGivenAgainEndsInTimeAfterStop) {
  World world({});
  world.Answers(0, {.kind = Answer::Kind::kSilent});
  world.Dial(1, {.bytes = 10, .ends = Ends::kHold});
  // In the turn that queues the connect: its chain has not begun when the cancel runs.
  while (world.network.connects() == 0 && world.worker->size() == 0) world.Turn(milliseconds(1));
  world.loop->Stop();
  const auto closed = world.worker->Close(lb::EndReason::kDrained, seconds(3));
  EXPECT_TRUE(closed.has_value()) << closed.error();
  world.Finish();
}

TEST(ProxyEnds, AWorkerThatCannotEndSaysWhatItWaitsFor) {
  WorldOptions options;
  options.faults.delayed = 1;
  options.faults.completion_delay = seconds(500);
  World world(options);
  world.Answers(0, Accepts({}, {.ends = Ends::kHold}));
  world.Dial(1, {.bytes = 100, .ends = Ends::kHold});
  EXPECT_TRUE(world.RunUntil([&] { return world.worker->size() == 1; }, seconds(600)));
  const auto closed = world.worker->Close(lb::EndReason::kDrained, milliseconds(200));
  ASSERT_FALSE(closed.has_value());
  EXPECT_THAT(closed.error(),
              testing::ContainsRegex("connection [0-9]+ with a receive of the client"));
  EXPECT_TRUE(world.RunUntil([&] { return world.worker->size() == 0; }, seconds(3'000)));
  EXPECT_TRUE(world.loop->Drain(seconds(3'000)).has_value());
  world.Finish();
}

TEST(ProxyEnds, NothingIsBornAfterTheEnd) {
  WorldOptions options;
  options.faults.delayed = 1;  // the kernel has accepted it, and we do not know yet
  options.faults.completion_delay = milliseconds(400);
  World world(options);
  world.Answers(0, Accepts({}, {.ends = Ends::kHold}));
  for (uint32_t i = 0; i < 20; ++i) world.Dial(i, {.bytes = 100, .ends = Ends::kHold});
  world.Turn(milliseconds(1));
  ASSERT_EQ(world.worker->size(), 0U);
  EXPECT_GT(world.network.sockets_in_use(), 0U);
  const auto closed = world.worker->Close(lb::EndReason::kDrained, seconds(5));
  EXPECT_TRUE(closed.has_value()) << closed.error();
  EXPECT_EQ(world.worker->stats().accepted.load(), 0U);
  world.Finish();
}

// --- Whose fault --------------------------------------------------------------------------------

TEST(ProxyEnds, WhatIsMissingHereIsNeverANodesFault) {
  for (const int error : {EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    SCOPED_TRACE(net::ErrnoName(error));
    WorldOptions options;
    options.faults.connect_error = 1;
    options.faults.connect_errno = error;
    options.pool.passive_errors = 1;
    uint32_t blamed = 0;
    options.passive_errors = [&](lb::Node&, uint32_t, const std::string&) { ++blamed; };
    World world(options);
    for (uint32_t i = 0; i < 5; ++i) world.Dial(i, {.bytes = 10, .ends = Ends::kHold});
    EXPECT_TRUE(world.RunUntil([&] { return world.Ended(lb::EndReason::kExhausted) == 5; }));
    EXPECT_EQ(blamed, 0U);
    EXPECT_EQ(world.worker->stats().connect_errors.load(), 0U);
    EXPECT_EQ(world.worker->stats().local_errors.load(), 15U) << "five, each tried three times";
    EXPECT_EQ(world.worker->stats().connect_errnos[static_cast<size_t>(error)].load(), 15U);
    EXPECT_EQ(world.Log()[0]["end"], "exhausted");
    EXPECT_EQ(world.Log()[0]["error"], net::ErrnoName(error));
    world.Finish();
  }
}

TEST(ProxyEnds, ASendThatFailsForWantOfMemoryHereIsNoResetOfTheNode) {
  for (const int error : {ENOBUFS, ENOMEM}) {
    SCOPED_TRACE(net::ErrnoName(error));
    WorldOptions options;
    options.faults.send_error = 1;
    options.faults.send_errno = error;
    options.pool.passive_errors = 1;
    uint32_t blamed = 0;
    options.passive_errors = [&](lb::Node&, uint32_t, const std::string&) { ++blamed; };
    World world(options);
    world.Answers(0, Accepts({}, {.ends = Ends::kHold}));
    for (uint32_t i = 0; i < 5; ++i) world.Dial(i, {.bytes = 10, .ends = Ends::kHold});
    EXPECT_TRUE(world.RunUntil([&] { return world.Ended(lb::EndReason::kExhausted) == 5; }));
    EXPECT_EQ(blamed, 0U);
    EXPECT_EQ(world.worker->stats().node_errnos[static_cast<size_t>(error)].load(), 5U);
    EXPECT_EQ(world.worker->stats().local_errors.load(), 5U);
    EXPECT_EQ(world.Log()[0]["end"], "exhausted");
    EXPECT_EQ(world.Log()[0]["error"], net::ErrnoName(error));
    world.Finish();
  }
}

TEST(ProxyEnds, ANodeThatGoesOnFailingIsBlamedAgainAndAgain) {
  WorldOptions options;
  options.pool.passive_errors = 2;
  options.pool.retries = 0;
  std::vector<uint32_t> blamed;
  options.passive_errors = [&](lb::Node&, uint32_t errors, const std::string&) {
    blamed.push_back(errors);
  };
  World world(options);
  world.Answers(0, {.kind = Answer::Kind::kRefuses});
  for (uint32_t i = 0; i < 7; ++i) world.Dial(i, {.bytes = 10, .ends = Ends::kHold});
  EXPECT_TRUE(world.RunUntil([&] { return world.Ended(lb::EndReason::kConnectFailed) == 7; }));
  EXPECT_THAT(blamed, testing::ElementsAre(2, 4, 6)) << "the first time, others may have been down";
  world.Finish();
}

TEST(ProxyEnds, ANodeThatRefusesIsBlamedAndTheErrnoIsInTheLogAndTheCounters) {
  WorldOptions options;
  options.pool.passive_errors = 3;
  uint32_t blamed = 0;
  options.passive_errors = [&](lb::Node&, uint32_t errors, const std::string&) { blamed = errors; };
  World world(options);
  world.Answers(0, {.kind = Answer::Kind::kRefuses});
  world.Dial(1, {.bytes = 10, .ends = Ends::kHold});
  EXPECT_TRUE(world.RunUntil([&] { return world.Ended(lb::EndReason::kConnectFailed) == 1; }));
  EXPECT_EQ(blamed, 3U);
  EXPECT_EQ(world.worker->stats().connect_errnos[ECONNREFUSED].load(), 3U);
  EXPECT_EQ(world.worker->stats().local_errors.load(), 0U);
  EXPECT_EQ(world.Log()[0]["error"], "ECONNREFUSED");
  world.Finish();
}

// --- Operators ----------------------------------------------------------------------------------

TEST(ProxyEnds, ANodeThatResetsBeforeItSaidAWordIsBlamedUnlessItsClientHadSaidMuch) {
  for (const uint64_t said : {0U, 300U, 20'000U}) {
    std::string why;
    WorldOptions options;
    options.pool.passive_errors = 3;
    options.passive_errors = [&](lb::Node&, uint32_t, const std::string& how) { why = how; };
    World world(options);
    world.Answers(0, {.kind = Answer::Kind::kAccepts,
                      .script = {.ends = Ends::kHold, .reset_after = milliseconds(500)}});
    for (uint32_t i = 0; i < 3; ++i) {
      world.Dial(i, {.bytes = said, .ends = Ends::kHold});
      EXPECT_TRUE(world.RunUntil([&] {
        return world.worker->stats().accepted.load() == i + 1 && world.worker->size() == 0;
      }));
    }
    EXPECT_EQ(world.Ended(lb::EndReason::kNodeReset), 3U);
    EXPECT_EQ(why, said > 2'048 ? "" : "reset before it said anything") << said;
    world.Finish();
  }
}

TEST(ProxyEnds, ConnectionsEndAtTheirAgeNotAllAtOnce) {
  WorldOptions options;
  options.pool.max_age = seconds(100);
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
  for (uint32_t i = 0; i < 50; ++i) world.Dial(i, {.bytes = 10, .ends = Ends::kHold});
  world.RunFor(seconds(89));
  EXPECT_EQ(world.worker->size(), 50U);
  world.RunFor(milliseconds(5'500));
  EXPECT_GT(world.worker->size(), 10U) << "they leave together";
  EXPECT_LT(world.worker->size(), 45U);
  world.RunFor(seconds(6));
  EXPECT_EQ(world.worker->size(), 0U);
  EXPECT_EQ(world.Ended(lb::EndReason::kMaxAge), 50U);
  world.Finish();
}

TEST(ProxyEnds, ASideThatIsSilentForItsTimeEndsTheConnectionWhateverTheOtherSays) {
  for (const bool client : {true, false}) {
    WorldOptions options;
    (client ? options.pool.client_idle_timeout : options.pool.node_idle_timeout) = seconds(20);
    World world(options);
    // The other one says something every few seconds, for minutes.
    const Script talks{.bytes = 200, .chunk_max = 2, .gap_max = seconds(3), .ends = Ends::kHold};
    const Script silent{.ends = Ends::kHold};
    world.Answers(0, Accepts({}, client ? talks : silent));
    const Script busy{.bytes = 400, .chunk_max = 2, .gap_max = seconds(3), .ends = Ends::kHold};
    world.Dial(1, client ? silent : busy);
    world.RunFor(seconds(18));
    EXPECT_EQ(world.worker->size(), 1U);
    world.RunFor(seconds(6));
    EXPECT_EQ(world.worker->size(), 0U);
    EXPECT_EQ(world.Ended(client ? lb::EndReason::kClientIdle : lb::EndReason::kNodeIdle), 1U);
    world.Finish();
  }
}

TEST(ProxyEnds, LimitsOfSourcesThatAreSwitchedOffAndOnCountWhoIsThere) {
  WorldOptions options;
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
  const auto limit = [&](std::shared_ptr<net::SourceLimits> limits) {
    lb::ListenerSettings listener = options.listener;
    listener.shared = world.shared;
    listener.source_limits = std::move(limits);
    world.worker->SetListener(0, std::make_shared<lb::ListenerSettings>(listener));
  };
  const auto table = [](uint32_t most) {
    return std::make_shared<net::SourceLimits>(net::SourceTableConfig{.connections_max = most},
                                               net::HashKey{1, 2});
  };
  const auto dial = [&] {
    world.Dial(1, {.bytes = 10, .ends = Ends::kHold});
    world.RunFor(seconds(1));
    return world.worker->size();
  };
  dial();
  EXPECT_EQ(dial(), 2U);
  limit(table(3));
  EXPECT_EQ(dial(), 3U);
  EXPECT_EQ(dial(), 3U) << "of four one is too many";
  limit(nullptr);
  EXPECT_EQ(dial(), 4U);
  limit(table(4));
  EXPECT_EQ(dial(), 4U);
  // What is given back was counted in this table.
  world.worker->ShutNode(nullptr, 2, lb::EndReason::kShut);
  world.RunFor(seconds(1));
  dial();
  EXPECT_EQ(dial(), 4U);
  EXPECT_EQ(dial(), 4U);
  EXPECT_EQ(world.shared->refused_source.load(), 3U);
  world.Finish();
}

TEST(ProxyEnds, AfterMoreThanFortyNineDaysTimesAndAgesAreTrue) {
  WorldOptions options;
  options.pool.idle_timeout = {};
  options.worker.wall_start_ms = 1'769'860'800'000;  // 2026-01-31T12:00:00Z
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
  world.Dial(1, {.bytes = 10, .ends = Ends::kHold});
  world.RunFor(seconds(1));
  world.network.clock().Advance(std::chrono::hours(24 * 60));
  world.RunFor(seconds(1));
  world.worker->ShutNode(nullptr, 1, lb::EndReason::kShut);
  world.RunFor(seconds(1));
  const LogLine line = world.Log().at(0);
  EXPECT_THAT(line["t"], testing::StartsWith("2026-04-01T12:00:0"));
  EXPECT_THAT(line["duration_ms"], testing::StartsWith("518400"));
  EXPECT_EQ(line["duration_ms"].size(), 10U);
  world.Finish();
}

TEST(ProxyEnds, HowLongOneHasBeenAtRestIsToldBeyondFortyNineDays) {
  WorldOptions options;
  options.pool.idle_timeout = {};
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
  world.Dial(1, {.bytes = 10, .ends = Ends::kHold});
  world.RunFor(seconds(5));
  world.network.clock().Advance(std::chrono::hours(24 * 60));
  world.RunFor(seconds(1));
  const uint64_t days60 = 60ULL * 24 * 3'600'000;
  world.worker->ForEachPair([&](lb::Pair& pair) {
    EXPECT_GE(pair.idle_ms(), days60);
    EXPECT_LE(pair.idle_ms(), days60 + 10'000);
  });
  const std::vector<uint64_t> times = world.worker->IdleTimes(nullptr, 10, lb::EndReason::kDrained);
  ASSERT_EQ(times.size(), 1U);
  EXPECT_GE(times[0], days60);
  world.Finish();
}

TEST(ProxyEnds, AnIdleTimeoutBeyondFortyNineDaysEndsConnectionsThenAndNotBefore) {
  for (const bool of_side : {false, true}) {
    WorldOptions options;
    options.pool.idle_timeout = of_side ? net::Duration{} : std::chrono::days(60);
    options.pool.client_idle_timeout = of_side ? std::chrono::days(60) : net::Duration{};
    World world(options);
    world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
    world.Dial(1, {.bytes = 10, .ends = Ends::kHold});
    world.RunFor(seconds(5));
    for (int day = 0; day < 59; ++day) {
      world.network.clock().Advance(std::chrono::days(1));
      world.RunFor(milliseconds(200));
      ASSERT_EQ(world.Log().size(), 0U) << "on day " << day;
    }
    world.network.clock().Advance(std::chrono::days(1));
    world.RunFor(seconds(5));
    ASSERT_EQ(world.Log().size(), 1U);
    EXPECT_EQ(world.Log()[0]["end"], of_side ? "client_idle" : "idle");
    world.Finish();
  }
}

TEST(ProxyEnds, TheLogTellsWaitsAndConnectsOfMinutes) {
  WorldOptions options;
  options.node_connections_max = 1;
  options.pool.queue_timeout = seconds(600);
  options.pool.connect_timeout = seconds(600);
  options.pool.idle_timeout = {};
  options.pool.fin_timeout = seconds(1);
  World world(options);
  uint32_t met = 0;
  world.network.AddNode(world.nodes[0]->address(), [&met](uint32_t) {
    return met++ == 0 ? Accepts({}, {.ends = Ends::kHold, .reset_after = seconds(100)})
                      : Answer{.kind = Answer::Kind::kAccepts, .after = seconds(200)};
  });
  world.Dial(1, {.bytes = 20, .ends = Ends::kHold});
  world.Dial(2, {.bytes = 20, .ends = Ends::kHold}, milliseconds(100));
  EXPECT_TRUE(world.RunUntil(
      [&] {
        bool open = false;
        world.worker->ForEachPair(
            [&](lb::Pair& pair) { open |= met == 2 && pair.state() == lb::Pair::State::kOpen; });
        return open;
      },
      seconds(400)));
  world.worker->ShutNode(nullptr, 1, lb::EndReason::kShut);
  world.RunFor(seconds(1));
  const LogLine line = world.Log().back();
  EXPECT_NEAR(std::stod(line["queue_ms"]), 100'000, 300);
  EXPECT_NEAR(std::stod(line["connect_ms"]), 200'000, 300);
  world.Finish();
}

TEST(ProxyEnds, AtItsLimitAListenerLeavesClientsInTheListenQueueWhenToldAndServesThemInTurn) {
  for (const bool one_by_one : {true, false}) {
    WorldOptions options;
    options.faults.socket_options = !one_by_one;
    options.listener.connections_max = 5;
    options.listener.wait_at_limit = true;
    World world(options);
    world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
    std::vector<Peer*> clients;
    for (uint32_t i = 0; i < 40; ++i) {
      clients.push_back(&world.Dial(i, {.bytes = 100, .end_after = seconds(1)}));
    }
    uint32_t most = 0;
    const net::Time start = world.network.clock().Now();
    EXPECT_TRUE(world.RunUntil([&] {
      most = std::max(most, world.worker->size());
      return std::ranges::all_of(clients, [](Peer* client) { return client->done(); });
    }));
    EXPECT_EQ(most, 5U);
    EXPECT_EQ(world.shared->refused_limit.load(), 0U);
    EXPECT_EQ(world.Ended(lb::EndReason::kLimited), 0U);
    EXPECT_LT(world.network.clock().Now() - start, seconds(12)) << "eight rounds of a second";
    world.Finish();
  }
}

TEST(ProxyEnds, OneConnectionIsShutByItsNameAndNoOtherInItsPlace) {
  World world({});
  world.Answers(0, Accepts({}, {.bytes = 10, .ends = Ends::kHold}));
  for (uint32_t i = 0; i < 3; ++i) world.Dial(i, {.bytes = 10, .ends = Ends::kHold}, seconds(i));
  world.RunFor(seconds(4));
  std::vector<std::pair<uint32_t, uint64_t>> names;
  world.worker->ForEachPair([&](lb::Pair& pair) {
    names.emplace_back(lb::ProxyWorker::IndexOf(pair), pair.started_ms());
  });
  ASSERT_EQ(names.size(), 3U);
  EXPECT_EQ(world.worker->IdleTimes(world.nodes[0].get(), 2, lb::EndReason::kShut).size(), 2U);
  EXPECT_GE(world.worker->IdleTimes(world.nodes[0].get(), 2, lb::EndReason::kShut)[0], 3'000U);
  EXPECT_FALSE(
      world.worker->ShutConnection(names[1].first, names[1].second + 1, lb::EndReason::kShut));
  EXPECT_TRUE(world.worker->ShutConnection(names[1].first, names[1].second, lb::EndReason::kShut));
  EXPECT_FALSE(world.worker->ShutConnection(names[1].first, names[1].second, lb::EndReason::kShut));
  world.RunFor(seconds(1));
  EXPECT_EQ(world.worker->size(), 2U);
  EXPECT_EQ(world.Ended(lb::EndReason::kShut), 1U);
  world.Dial(9, {.bytes = 10, .ends = Ends::kHold});
  world.RunFor(seconds(1));
  EXPECT_FALSE(world.worker->ShutConnection(names[1].first, names[1].second, lb::EndReason::kShut))
      << "another has its place";
  world.Finish();
}

}  // namespace
}  // namespace sim
