// What has broken other balancers, each played through once in the simulated network.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/proxy_world.h"

namespace sim {
namespace {

using Ends = Script::Ends;

// Case 3. Nothing here can make a socket of IPv6: the address is a name, for the log.
TEST(ProxyCases, AClientsIpv6AddressInAProxyHeaderNeedsNoIpv6OfTheHost) {
  const net::Address from = net::Address::Parse("[2001:db8::7]:1234").value();
  const net::Address to = net::Address::Parse("[2001:db8::1]:5222").value();
  for (const bool v1 : {true, false}) {
    WorldOptions options;
    options.listener.accept_proxy = true;
    World world(options);
    world.Answers(0, Accepts({}, {.bytes = 50}));
    std::array<uint8_t, 256> header;
    const auto source = net::ProxyEndpoint::FromAddress(from);
    const auto target = net::ProxyEndpoint::FromAddress(to);
    const auto size = v1 ? net::EncodeProxyV1(source, target, header)
                         : net::EncodeProxyV2(source, target, {}, header);
    ASSERT_TRUE(size.has_value());
    Peer& six = world.Dial(
        1,
        {.preface = {header.begin(), header.begin() + static_cast<ptrdiff_t>(*size)}, .bytes = 40});
    EXPECT_TRUE(world.RunUntil([&] { return six.done() && world.worker->size() == 0; }));
    ASSERT_EQ(world.NodePeers().size(), 1U);
    EXPECT_EQ(world.NodePeers()[0]->received, Payload(six.id, 40));
    EXPECT_EQ(six.received.size(), 50U);
    EXPECT_EQ(world.Log()[0]["client"], from.ToString());
    world.Finish();
  }
}

// Case 12.
TEST(ProxyCases, AClientThatLeavesWhileItsNodeConnectsLeavesNothingBehind) {
  // Before, during and just as the connect begins; the kernel answers the cancel late or not.
  for (int at_us = 0; at_us < 2'000; at_us += 40) {
    WorldOptions options;
    options.faults.cancel_late = 0.5;
    World world(options);
    world.Answers(0, Accepts(milliseconds(1), {.ends = Ends::kHold}));
    world.Dial(
        1,
        {.bytes = 100, .ends = Ends::kHold, .reset_after = std::chrono::microseconds(1 + at_us)});
    EXPECT_TRUE(world.RunUntil(
        [&] { return world.worker->stats().accepted.load() == 1 && world.worker->size() == 0; }));
    EXPECT_EQ(world.Ended(lb::EndReason::kClientReset), 1U);
    world.Finish();
  }
}

TEST(ProxyCases, AConnectToASilentNodeIsCancelledSoonAfterItsClientLeft) {
  for (int at_us = 0; at_us < 400; at_us += 10) {
    World world({});
    world.Answers(0, {.kind = Answer::Kind::kSilent});
    world.Dial(1, {.ends = Ends::kHold, .reset_after = std::chrono::microseconds(1 + at_us)});
    const net::Time start = world.network.clock().Now();
    EXPECT_TRUE(world.RunUntil(
        [&] { return world.worker->stats().accepted.load() == 1 && world.worker->size() == 0; }));
    EXPECT_LT(world.network.clock().Now() - start, seconds(2)) << "the kernel would give up in 130";
    EXPECT_EQ(world.nodes[0]->active(), 0U);
    world.Finish();
  }
}

// Case 13.
TEST(ProxyCases, AClientsEndWhileItsNodeConnectsSurvivesTheRetryAndArrivesAsHalfClose) {
  WorldOptions options;
  options.nodes = 2;
  World world(options);
  uint32_t met = 0;
  const auto first_refuses = [&met](uint32_t) {
    if (met++ == 0) return Answer{.kind = Answer::Kind::kRefuses, .after = milliseconds(50)};
    return Accepts(milliseconds(50), {.bytes = 3'000, .speaks = Script::Speaks::kAfterEnd});
  };
  for (const auto& node : world.nodes) world.network.AddNode(node->address(), first_refuses);
  Peer& client = world.Dial(1, {.bytes = 700});
  EXPECT_TRUE(world.RunUntil([&] { return client.done(); }));
  ASSERT_EQ(world.NodePeers().size(), 1U);
  const Peer& node = *world.NodePeers()[0];
  EXPECT_EQ(node.received, Payload(client.id, 700));
  EXPECT_TRUE(node.saw_end);
  EXPECT_EQ(client.received, Payload(node.id, 3'000)) << "the answer came after the half-close";
  EXPECT_EQ(world.worker->stats().retries.load(), 1U);
  world.Finish();
}

TEST(ProxyCases, AHalfCloseWithTheOtherDirectionFullWaitsWithoutSpinning) {
  World world({});
  // The client ends and then does not read for a long time; the node has much to say.
  Script node{.bytes = 60'000, .chunk_max = 5'000};
  world.Answers(0, Accepts({}, node));
  Peer& client = world.Dial(
      1, {.bytes = 500, .read_max = 60'000, .read_gap_max = seconds(60), .window = 1'000});
  world.RunFor(seconds(5));
  const uint64_t turns = world.turns;
  const uint64_t enters = world.loop->ring().stats().completions;
  world.RunFor(seconds(20));
  EXPECT_LT(world.turns - turns, 1'000U) << "only the ticks of the clock";
  EXPECT_LT(world.loop->ring().stats().completions - enters, 100U);
  EXPECT_TRUE(world.RunUntil([&] { return client.done(); }, seconds(10'000)));
  EXPECT_EQ(client.received.size(), 60'000U);
  world.Finish();
}

// Case 14.
TEST(ProxyCases, AReceiveThatEndsWithoutReasonNeitherSpinsNorLosesTheEnd) {
  WorldOptions options;
  options.faults.recv_ends = 1;  // every receive brings one buffer and ends
  options.faults.short_read = 1;
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 2'000, .ends = Ends::kHold}));
  // What is available is exactly read, then comes the end.
  Peer& client = world.Dial(1, {.bytes = 2'000, .chunk_max = 256});
  EXPECT_TRUE(world.RunUntil([&] { return client.done() && world.worker->size() == 0; }));
  EXPECT_EQ(client.received.size(), 2'000U);
  EXPECT_LT(world.network.recvs_armed(), 4'100U) << "no more than bytes";
  world.Finish();
}

TEST(ProxyCases, AnErrorBeforeTheFirstByteEndsBothSides) {
  for (const bool by_client : {true, false}) {
    World world({});
    Script resets{.ends = Ends::kHold, .reset_after = milliseconds(500)};
    Script holds{.ends = Ends::kHold};
    world.Answers(0, Accepts({}, by_client ? holds : resets));
    Peer& client = world.Dial(1, by_client ? resets : holds);
    EXPECT_TRUE(world.RunUntil([&] {
      return client.connected && world.NodePeers().size() == 1 && world.worker->size() == 0;
    }));
    EXPECT_EQ(world.Ended(by_client ? lb::EndReason::kClientReset : lb::EndReason::kNodeReset), 1U);
    world.Finish();
  }
}

// Cases 16 and 24.
TEST(ProxyCases, WithoutDescriptorsAcceptPausesAndRecovers) {
  WorldOptions options;
  options.faults.accept_error = 1;
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 100}));
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 20; ++i) clients.push_back(&world.Dial(i, {.bytes = 100}));
  world.RunFor(seconds(10));
  EXPECT_EQ(world.worker->stats().accepted.load(), 0U);
  // Ten tries a second, not a storm.
  EXPECT_LE(world.network.accepts_armed(), 110U);
  EXPECT_GE(world.network.accepts_armed(), 50U);
  EXPECT_EQ(world.worker->stats().accept_errors.load(), world.network.accepts_armed());
  world.network.SetFaults({});
  EXPECT_TRUE(world.RunUntil([&] {
    return std::all_of(clients.begin(), clients.end(), [](Peer* client) { return client->done(); });
  }));
  world.Finish();
}

TEST(ProxyCases, AcceptIsArmedAgainOnlyWhenTheKernelHasEndedIt) {
  World world({});
  world.Answers(0, Accepts({}, {}));
  for (uint32_t i = 0; i < 50; ++i) world.Dial(i, {.bytes = 8}, milliseconds(10 * i));
  world.RunFor(seconds(5));
  EXPECT_EQ(world.worker->stats().accepted.load(), 50U);
  EXPECT_EQ(world.network.accepts_armed(), 1U) << "one multishot operation took all";
  world.Finish();
}

TEST(ProxyCases, ConnectionsBeyondAllSlotsWaitInTheListenQueueAndAreServedInTheirTurn) {
  WorldOptions options;
  options.ring.accept_slots = 4;
  options.ring.outgoing_slots = 4;
  World world(options);
  world.Answers(0, Accepts(milliseconds(5), {.bytes = 300}));
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 60; ++i) clients.push_back(&world.Dial(i, {.bytes = 300}));
  EXPECT_TRUE(world.RunUntil([&] {
    return std::all_of(clients.begin(), clients.end(), [](Peer* client) { return client->done(); });
  }));
  for (const Peer* client : clients) EXPECT_EQ(client->received.size(), 300U);
  world.Finish();
}

TEST(ProxyCases, WithAllNodesFullConnectionsQueueThenTimeOutAndNothingSpins) {
  WorldOptions options;
  options.node_connections_max = 2;
  options.pool.queue_max = 5;
  options.pool.queue_timeout = seconds(3);
  World world(options);
  world.Answers(0, Accepts({}, {.ends = Ends::kHold}));
  for (uint32_t i = 0; i < 10; ++i) world.Dial(i, {.bytes = 20, .ends = Ends::kHold});
  world.RunFor(seconds(2));
  EXPECT_EQ(world.nodes[0]->active(), 2U);
  EXPECT_EQ(world.Ended(lb::EndReason::kQueueFull), 3U);
  world.RunFor(seconds(2));
  EXPECT_EQ(world.Ended(lb::EndReason::kQueueTimeout), 5U);
  EXPECT_LT(world.turns, 500U);
  world.Finish();
}

TEST(ProxyCases, AConnectToASilentNodeTimesOutInTimeAfterAWaitInTheQueue) {
  WorldOptions options;
  options.node_connections_max = 1;
  options.pool.queue_timeout = seconds(60);
  options.pool.connect_timeout = milliseconds(500);
  options.pool.retries = 0;
  World world(options);
  uint32_t met = 0;
  world.network.AddNode(world.nodes[0]->address(), [&met](uint32_t) {
    return met++ == 0 ? Accepts({}, {.ends = Ends::kHold, .reset_after = seconds(1)})
                      : Answer{.kind = Answer::Kind::kSilent};
  });
  world.Dial(1, {.bytes = 20, .ends = Ends::kHold});
  world.Dial(2, {.bytes = 20, .ends = Ends::kHold}, milliseconds(100));
  EXPECT_TRUE(
      world.RunUntil([&] { return world.Ended(lb::EndReason::kConnectTimeout) == 1; }, seconds(3)));
  world.Finish();
}

TEST(ProxyCases, AClientThatFilledItsPlaceAndGoesToTheQueueStaysPaused) {
  WorldOptions options;
  options.nodes = 2;
  options.node_connections_max = 1;
  World world(options);
  // One node is full; the other refuses after the client has filled its early buffers.
  world.network.AddNode(world.nodes[0]->address(), [](uint32_t) {
    return Answer{.kind = Answer::Kind::kRefuses, .after = seconds(1)};
  });
  world.network.AddNode(world.nodes[1]->address(),
                        [](uint32_t) { return Accepts({}, {.ends = Ends::kHold}); });
  for (uint32_t i = 0; i < 4; ++i) {
    world.Dial(i,
               {.bytes = 60'000, .chunk_max = 64, .gap_max = milliseconds(2), .ends = Ends::kHold},
               milliseconds(i));
  }
  world.RunFor(seconds(10));
  EXPECT_LT(world.most_buffers, 16U);
  world.Finish();
}

TEST(ProxyCases, AProxyHeaderByteByByteTakesTwoBuffersAtMost) {
  WorldOptions options;
  options.listener.accept_proxy = true;
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 50}));
  std::array<uint8_t, 1'024> header;
  const std::vector<uint8_t> filler(500);
  const std::vector<net::ProxyTlv> more = {{.type = 0xe5, .value = filler}};
  const net::Address from = net::Address::V4({198, 51, 100, 7}, 1'234);
  const auto size =
      net::EncodeProxyV2(net::ProxyEndpoint::FromAddress(from),
                         net::ProxyEndpoint::FromAddress(from), {.more = more}, header);
  ASSERT_TRUE(size.has_value());
  Peer& client =
      world.Dial(1, {.preface = {header.begin(), header.begin() + static_cast<ptrdiff_t>(*size)},
                     .bytes = 40,
                     .chunk_max = 1,
                     .gap_max = milliseconds(2)});
  EXPECT_TRUE(world.RunUntil([&] { return client.done() && world.worker->size() == 0; }));
  EXPECT_EQ(world.NodePeers()[0]->received, Payload(client.id, 40));
  EXPECT_LE(world.most_buffers, 4U);
  EXPECT_EQ(world.Log()[0]["client"], from.ToString());
  EXPECT_EQ(world.Log()[0]["bytes_in"], "40");
  world.Finish();
}

// Case 18.
TEST(ProxyCases, AShutdownThatRunsLateNeverMeetsWhoGotItsSlotNext) {
  WorldOptions options;
  options.ring.accept_slots = 2;
  options.ring.outgoing_slots = 16;
  options.faults.shutdown_delay = milliseconds(300);
  options.pool.connect_timeout = seconds(60);
  World world(options);
  // Both sides end at once, so that the last close follows the shutdowns in the same turn.
  world.Answers(0, Accepts({}, {.bytes = 100}));
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 200; ++i) clients.push_back(&world.Dial(i, {.bytes = 100}));
  EXPECT_TRUE(world.RunUntil(
      [&] {
        const auto& peers = world.network.peers();
        return std::all_of(peers.begin(), peers.end(),
                           [](const auto& peer) { return peer->connected && peer->done(); });
      },
      seconds(600)));
  EXPECT_GT(world.network.closes_waited(), 100U);
  for (const Peer* client : clients) EXPECT_EQ(client->received.size(), 100U);
  for (const Peer* node : world.NodePeers()) EXPECT_TRUE(node->saw_end);
  world.Finish();  // the network looks at whom each shutdown met
}

// Case 19.
TEST(ProxyCases, ABufferStaysUntilItsCancelledSendHasComeBack) {
  WorldOptions options;
  options.faults.delayed = 1;  // the completion of the send comes long after the end
  options.faults.completion_delay = milliseconds(200);
  World world(options);
  world.Answers(0, Accepts({}, {.ends = Ends::kHold, .reads = false, .window = 600}));
  for (uint32_t i = 0; i < 10; ++i) world.Dial(i, {.bytes = 20'000, .ends = Ends::kHold});
  world.RunFor(seconds(5));
  EXPECT_GT(world.worker->buffers().in_use(), 0U);
  world.worker->EndAll(lb::EndReason::kShut);
  EXPECT_GT(world.worker->size(), 0U) << "their sends are still with the kernel";
  world.Finish();  // the network compares each buffer when its send comes back
}

// Case 20.
TEST(ProxyCases, AFullSubmissionQueueInTheMiddleOfATurnChangesNothing) {
  WorldOptions options;
  options.ring.submission_entries = 1;
  options.pool.send_proxy = lb::SendProxy::kV2;
  World world(options);
  world.Answers(0, Accepts(milliseconds(1), {.bytes = 2'000, .ends = Ends::kHold}));
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 40; ++i) clients.push_back(&world.Dial(i, {.bytes = 2'000}));
  EXPECT_TRUE(world.RunUntil([&] {
    return std::all_of(clients.begin(), clients.end(), [](Peer* client) { return client->done(); });
  }));
  EXPECT_GT(world.network.submits_forced(), 100U);
  for (const Peer* client : clients) EXPECT_EQ(client->received.size(), 2'000U);
  world.Finish();
}

// Case 21.
TEST(ProxyCases, ABufferThatComesWithAFailureGoesBack) {
  WorldOptions options;
  options.faults.buffer_with_failure = 1;
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 100}));
  // Far more ends than there are buffers.
  for (uint32_t i = 0; i < 2'000; ++i) {
    Script script{.bytes = 100};
    if (i % 3 == 0) script.reset_after = milliseconds(5);
    world.Dial(i, script, milliseconds(i));
  }
  world.RunFor(seconds(10));
  EXPECT_EQ(world.worker->stats().accepted.load(), 2'000U);
  EXPECT_EQ(world.worker->size(), 0U);
  world.Finish();
}

// Case 22.
TEST(ProxyCases, AnEmptyBufferRingNeitherStallsNorStorms) {
  WorldOptions options;
  options.worker.buffers_initial = 8;
  options.worker.buffers_max = 8;
  World world(options);
  Script slow{.bytes = 5'000, .read_max = 200, .read_gap_max = milliseconds(20), .window = 512};
  world.Answers(0, Accepts({}, slow));
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 40; ++i) clients.push_back(&world.Dial(i, slow));
  EXPECT_TRUE(world.RunUntil(
      [&] {
        return std::all_of(clients.begin(), clients.end(),
                           [](Peer* client) { return client->done(); });
      },
      seconds(120)));
  EXPECT_GT(world.worker->stats().buffer_starvations.load(), 10U);
  // Each byte moved may wake one waiter in vain, no more.
  EXPECT_LT(world.network.buffers_failed(), 40'000U);
  for (const Peer* client : clients) EXPECT_EQ(client->received.size(), 5'000U);
  world.Finish();
}

TEST(ProxyCases, WhileNobodyGivesABufferBackThoseWithoutOneWaitInSilence) {
  WorldOptions options;
  options.worker.buffers_initial = 8;
  options.worker.buffers_max = 8;
  World world(options);
  world.Answers(0, Accepts({}, {.ends = Ends::kHold, .reads = false, .window = 256}));
  for (uint32_t i = 0; i < 30; ++i) world.Dial(i, {.bytes = 5'000, .ends = Ends::kHold});
  world.RunFor(seconds(5));
  EXPECT_EQ(world.worker->buffers().free(), 0U);
  const uint64_t armed = world.network.recvs_armed();
  world.RunFor(seconds(20));
  EXPECT_EQ(world.network.recvs_armed(), armed);
  world.Finish();
}

// Case 23.
TEST(ProxyCases, CompletionsThatComeLateAndFewAtATimeLeaveNoConnectionStuck) {
  WorldOptions options;
  options.ring.completion_entries = 1;
  options.faults.delayed = 0.5;
  options.faults.completion_delay = milliseconds(30);
  options.faults.recv_ends = 0.5;  // as the kernel does when the queue overflows
  options.faults.accept_ends = 0.5;
  World world(options);
  world.Answers(0, Accepts({}, {.bytes = 1'000, .ends = Ends::kHold}));
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 50; ++i) clients.push_back(&world.Dial(i, {.bytes = 1'000}));
  EXPECT_TRUE(world.RunUntil([&] {
    return std::all_of(clients.begin(), clients.end(), [](Peer* client) { return client->done(); });
  }));
  for (const Peer* client : clients) EXPECT_EQ(client->received.size(), 1'000U);
  world.Finish();
}

}  // namespace
}  // namespace sim
