// Splice through the real ring and real sockets: a transfer turns to it, arrives whole, and leaves
// nothing behind.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <vector>

#include "lb/proxy/proxy_worker.h"
#include "net/base/random.h"
#include "tests/net/loopback.h"

namespace lb {
namespace {

using net::test::BoundAddress;
using net::test::Dial;
using net::test::ListenLoopback;
using net::test::RunUntil;

constexpr uint32_t kSpliceAfter = 256 * 1024;

size_t OpenDescriptors() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

// One end of a connection: what it sends and gets is a stream of known bytes.
struct End {
  explicit End(net::UniqueFd socket, uint64_t salt_out, uint64_t salt_in)
      : fd(std::move(socket)), out(salt_out), in(salt_in) {}

  static uint8_t Byte(uint64_t salt, uint64_t offset) {
    return static_cast<uint8_t>(net::FastRandom::Mix(salt + offset / 8) >> (8 * (offset % 8)));
  }
  // A piece at a time, so that on a slow machine nothing idles meanwhile.
  void Send() {
    for (int chunks = 0; chunks < 16 && sent < target; ++chunks) {
      std::array<uint8_t, 16'384> chunk;
      const size_t count = std::min<uint64_t>(chunk.size(), target - sent);
      for (size_t i = 0; i < count; ++i) chunk[i] = Byte(out, sent + i);
      const ssize_t done = send(fd.get(), chunk.data(), count, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (done <= 0) return;
      sent += static_cast<uint64_t>(done);
    }
  }
  void Receive() {
    std::array<uint8_t, 65'536> chunk;
    for (int chunks = 0; chunks < 8; ++chunks) {
      const ssize_t done = recv(fd.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
      if (done == 0) ended = true;
      if (done < 0 && errno != EAGAIN) failed = true;
      if (done <= 0) return;
      for (ssize_t i = 0; i < done; ++i) {
        if (chunk[static_cast<size_t>(i)] != Byte(in, got + static_cast<uint64_t>(i))) {
          differs = true;
        }
      }
      got += static_cast<uint64_t>(done);
    }
  }
  void Shut() { shutdown(fd.get(), SHUT_WR); }
  void Reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd.Reset();
  }

  net::UniqueFd fd;
  uint64_t out;
  uint64_t in;
  uint64_t target = 0;
  uint64_t sent = 0;
  uint64_t got = 0;
  bool ended = false;
  bool failed = false;
  bool differs = false;
};

class Proxy {
 public:
  explicit Proxy(const net::RingOptions& ring = {}, const ProxyWorker::Options& options = {}) {
    node_listener = ListenLoopback();
    auto made = net::EventLoop::Create(ring, clock_);
    EXPECT_TRUE(made.has_value()) << made.error();
    loop = std::move(*made);
    auto worker_made = ProxyWorker::Create(*loop, options, {});
    EXPECT_TRUE(worker_made.has_value()) << worker_made.error();
    worker = std::move(*worker_made);
    const sockaddr_in at = BoundAddress(node_listener.get());
    const auto address = net::Address::FromSockaddr(net::test::Plain(at), sizeof at);
    node = std::make_shared<Node>("pool", "n1", address->ToSocketName(), 100U, 0U);
    PoolSettings pool{.name = "pool",
                      .connect_timeout = std::chrono::seconds(5),
                      .pending_bytes_max = 65'536,
                      .splice_after = kSpliceAfter};
    std::vector<BalancerNode> nodes;
    nodes.push_back({.name = "n1", .state = node});
    worker->SetPool(0, std::make_shared<PoolSettings>(pool),
                    std::make_shared<Balancer>(std::move(nodes), BalancerOptions{}));
    ListenerSettings listener{.name = "in", .shared = std::make_shared<ListenerShared>()};
    worker->SetListener(0, std::make_shared<ListenerSettings>(listener));
    net::UniqueFd socket = ListenLoopback();
    where = BoundAddress(socket.get());
    worker->AddSocket(0, 1, std::move(socket));
  }
  ~Proxy() {
    worker->StopAccepting();
    worker->EndAll(EndReason::kShut);
    EXPECT_TRUE(RunUntil(*loop, [&] { return worker->size() == 0; }));
    EXPECT_EQ(worker->buffers().in_use(), 0U);
    EXPECT_EQ(node->active(), 0U);
    EXPECT_TRUE(loop->Drain(std::chrono::seconds(5)));
    worker.reset();
  }

  // A connection through the proxy, both ends.
  std::pair<std::unique_ptr<End>, std::unique_ptr<End>> Connection() {
    auto client = std::make_unique<End>(Dial(where), 1'000'000, 2'000'000);
    fcntl(node_listener.get(), F_SETFL, O_NONBLOCK);
    net::UniqueFd accepted;
    EXPECT_TRUE(RunUntil(*loop, [&] {
      accepted = net::UniqueFd(accept4(node_listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      return static_cast<bool>(accepted);
    }));
    return {std::move(client), std::make_unique<End>(std::move(accepted), 2'000'000, 1'000'000)};
  }

  bool Move(End& a, End& b, const std::function<bool()>& done) {
    return RunUntil(*loop, [&] {
      for (End* end : {&a, &b}) {
        if (!end->fd) continue;
        end->Send();
        end->Receive();
      }
      return done();
    });
  }
  uint64_t entered() const { return worker->stats().bulk_entered.load(); }
  uint64_t spliced() const { return worker->stats().bulk_bytes.load(); }

 private:
  net::SystemClock clock_;

 public:
  net::UniqueFd node_listener;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<ProxyWorker> worker;
  std::shared_ptr<Node> node;
  sockaddr_in where{};
};

TEST(Bulk, TransfersInBothDirectionsAtOnceTurnToSpliceAndArriveWhole) {
  Proxy proxy;
  const size_t before = OpenDescriptors();
  auto [client, node] = proxy.Connection();
  client->target = 4'000'001;
  node->target = 3'000'003;
  ASSERT_TRUE(proxy.Move(
      *client, *node, [&] { return client->got == node->target && node->got == client->target; }))
      << "client got " << client->got << ", node got " << node->got;
  EXPECT_FALSE(client->differs);
  EXPECT_FALSE(node->differs);
  EXPECT_GE(proxy.entered(), 2U);
  EXPECT_GT(proxy.spliced(), 2'000'000U);
  client->Shut();
  ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->ended; }));
  EXPECT_FALSE(client->ended) << "a half-close is one direction's";
  node->Shut();
  ASSERT_TRUE(
      proxy.Move(*client, *node, [&] { return client->ended && proxy.worker->size() == 0; }));
  client.reset();
  node.reset();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(Bulk, ADirectionThatIdlesGoesBackToBuffersAndClosesItsDescriptors) {
  Proxy proxy;
  auto [client, node] = proxy.Connection();
  const size_t before = OpenDescriptors();
  client->target = 4'000'000;
  ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->got == client->target; }));
  const uint64_t entered = proxy.entered();
  EXPECT_GE(entered, 1U);
  EXPECT_GT(OpenDescriptors(), before);
  ASSERT_TRUE(proxy.Move(*client, *node, [&] { return OpenDescriptors() == before; }))
      << "descriptors stay";
  const uint64_t spliced = proxy.spliced();
  client->target += 100;
  node->target += 100;
  ASSERT_TRUE(proxy.Move(
      *client, *node, [&] { return node->got == client->target && client->got == node->target; }));
  EXPECT_EQ(proxy.spliced(), spliced) << "small talk goes through buffers";
  client->target += 4'000'000;
  ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->got == client->target; }));
  EXPECT_GT(proxy.entered(), entered);
  EXPECT_FALSE(node->differs || client->differs);
}

// In a child: its limit of open files leaves room for so many more, where splice needs four.
void TransferWithSpareDescriptors(size_t spare) {
  bool whole = false;
  bool refused = false;
  {
    Proxy proxy;
    auto [client, node] = proxy.Connection();
    // directory_iterator's own is among those counted, and free again.
    const rlimit limit{.rlim_cur = OpenDescriptors() - 1 + spare, .rlim_max = 4'096};
    setrlimit(RLIMIT_NOFILE, &limit);
    client->target = 3'000'000;
    node->target = 3'000'000;
    whole =
        proxy.Move(*client, *node,
                   [&] { return node->got == client->target && client->got == node->target; }) &&
        !node->differs && !client->differs;
    refused = proxy.worker->stats().bulk_refused.load() > 0;
  }
  _exit((whole ? 0 : 1) + (refused ? 0 : 2) + (testing::Test::HasFailure() ? 4 : 0));
}

TEST(BulkDeathTest, WithoutDescriptorsForSplicingATransferStaysOnBuffersAndLosesNothing) {
  for (size_t spare : {0U, 1U, 2U, 3U}) {
    EXPECT_EXIT(TransferWithSpareDescriptors(spare), testing::ExitedWithCode(0), "") << spare;
  }
}

TEST(Bulk, AResetDuringSpliceEndsBothSidesAndLeaksNothing) {
  for (const bool by_client : {true, false}) {
    Proxy proxy;
    const size_t before = OpenDescriptors();
    auto [client, node] = proxy.Connection();
    client->target = node->target = 1'000'000'000;
    ASSERT_TRUE(proxy.Move(*client, *node, [&] {
      return proxy.entered() >= 2 && client->got > 1'000'000 && node->got > 1'000'000;
    }));
    End& gone = by_client ? *client : *node;
    End& left = by_client ? *node : *client;
    gone.Reset();
    ASSERT_TRUE(proxy.Move(
        *client, *node, [&] { return proxy.worker->size() == 0 && (left.ended || left.failed); }))
        << proxy.worker->size() << " pairs left";
    const EndReason reason = by_client ? EndReason::kClientReset : EndReason::kNodeReset;
    EXPECT_EQ(proxy.worker->stats().ended[static_cast<size_t>(reason)].load(), 1U);
    EXPECT_FALSE(left.differs);
    client.reset();
    node.reset();
    EXPECT_EQ(OpenDescriptors(), before);
  }
}

// Case 23 of what has broken others: the kernel keeps completions that found no room.
TEST(ProxyOnATinyRing, AnOverflowingCompletionQueueLeavesNoConnectionStuck) {
  Proxy proxy({.submission_entries = 4, .completion_entries = 8});
  std::vector<std::pair<std::unique_ptr<End>, std::unique_ptr<End>>> connections;
  for (int i = 0; i < 100; ++i) connections.push_back(proxy.Connection());
  // All speak at once, and nobody turns the loop meanwhile.
  for (auto& [client, node] : connections) {
    client->target = node->target = 3'000;
    client->Send();
    node->Send();
  }
  ASSERT_TRUE(RunUntil(*proxy.loop, [&] {
    bool all = true;
    for (auto& [client, node] : connections) {
      client->Receive();
      node->Receive();
      all = all && client->got == 3'000 && node->got == 3'000;
    }
    return all;
  }));
  EXPECT_GT(proxy.loop->ring().stats().overflows, 0U);
  for (auto& [client, node] : connections) {
    EXPECT_FALSE(client->differs || node->differs);
    client->Shut();
    node->Shut();
  }
  EXPECT_TRUE(RunUntil(*proxy.loop, [&] { return proxy.worker->size() == 0; }));
}

// Case 22, against the real kernel.
TEST(ProxyOnATinyRing, WithFarTooFewBuffersEveryByteArrivesAndReceivesAreNotBegunInVain) {
  Proxy proxy({}, {.buffer_bytes = 512, .buffers_initial = 8, .buffers_max = 8});
  std::vector<std::pair<std::unique_ptr<End>, std::unique_ptr<End>>> connections;
  for (int i = 0; i < 40; ++i) connections.push_back(proxy.Connection());
  constexpr uint64_t kEach = 20'000;
  for (auto& [client, node] : connections) client->target = node->target = kEach;
  ASSERT_TRUE(RunUntil(*proxy.loop, [&] {
    bool all = true;
    for (auto& [client, node] : connections) {
      for (End* end : {client.get(), node.get()}) {
        end->Send();
        end->Receive();
      }
      all = all && client->got == kEach && node->got == kEach;
    }
    return all;
  }));
  EXPECT_GT(proxy.worker->stats().buffer_starvations.load(), 0U);
  // Each buffer that is given back may wake one waiter in vain.
  const uint64_t bytes = 2 * kEach * connections.size();
  EXPECT_LT(proxy.worker->stats().buffer_starvations.load(), 20 * bytes / 512);
  for (auto& [client, node] : connections) EXPECT_FALSE(client->differs || node->differs);
  // Who waits for bytes and not for buffers costs no turn.
  const uint64_t completions = proxy.loop->ring().stats().completions;
  for (int i = 0; i < 20; ++i) proxy.loop->RunOnce(std::chrono::milliseconds(20));
  EXPECT_LT(proxy.loop->ring().stats().completions - completions, 20U);
}

// Case 16, against the real kernel.
TEST(ProxyOnATinyRing, AFullWorkerPausesAcceptWithoutSpinningAndServesTheRestInTheirTurn) {
  Proxy proxy({}, {.pairs_max = 4});
  std::vector<std::pair<std::unique_ptr<End>, std::unique_ptr<End>>> served;
  for (int i = 0; i < 4; ++i) served.push_back(proxy.Connection());
  std::vector<std::unique_ptr<End>> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(std::make_unique<End>(Dial(proxy.where), 1'000'000, 2'000'000));
  }
  const uint64_t completions = proxy.loop->ring().stats().completions;
  net::SystemClock clock;
  const net::Time end = clock.Now() + std::chrono::milliseconds(500);
  while (clock.Now() < end) proxy.loop->RunOnce(std::chrono::milliseconds(20));
  EXPECT_EQ(proxy.worker->size(), 4U);
  EXPECT_LT(proxy.loop->ring().stats().completions - completions, 100U) << "it spins";
  for (size_t next = 0; next < waiting.size(); ++next) {
    served.front().first->Shut();
    served.front().second->Shut();
    served.erase(served.begin());
    net::UniqueFd accepted;
    ASSERT_TRUE(RunUntil(*proxy.loop, [&] {
      accepted = net::UniqueFd(accept4(proxy.node_listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      return static_cast<bool>(accepted);
    })) << next;
    served.emplace_back(std::move(waiting[next]),
                        std::make_unique<End>(std::move(accepted), 2'000'000, 1'000'000));
    auto& [client, node] = served.back();
    client->target = node->target = 1'000;
    ASSERT_TRUE(
        proxy.Move(*client, *node, [&] { return client->got == 1'000 && node->got == 1'000; }));
    EXPECT_FALSE(client->differs || node->differs);
  }
}

}  // namespace
}  // namespace lb
