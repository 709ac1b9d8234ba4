// What an idle connection costs: many of them at an echo server, in the clear and over TLS, while
// nothing is said. The peers live in a process of their own, so that the memory is the server's.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <vector>

#include "tests/net/conn_fixture.h"
#include "tests/net/echo_server.h"

namespace net::test {
namespace {

// A ring's table is bounded by the limit of open files: one such worker beside the other.
constexpr uint32_t kSlotsSpare = 600;

uint32_t FileLimit() {
  rlimit limit{};
  EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<uint32_t>(std::min<rlim_t>(limit.rlim_cur, 60'000));
}

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0;
  statm >> pages >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// A loop and a worker for a share of the connections.
struct Shard {
  Shard(const Clock& clock, uint32_t accepted, uint32_t outgoing) {
    const uint32_t conns = accepted + outgoing;
    auto made = EventLoop::Create({.submission_entries = 4096,
                                   .completion_entries = 16'384,
                                   .accept_slots = accepted + 64,
                                   .outgoing_slots = outgoing + 64},
                                  clock);
    CHECK(made.has_value());
    loop = std::move(*made);
    auto worker_made = ConnWorker::Create(*loop, {.conns_max = conns + 64,
                                                  .buffers_initial = 64,
                                                  .handshake_timeout = std::chrono::seconds(100)});
    CHECK(worker_made.has_value());
    worker = std::move(*worker_made);
  }
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<ConnWorker> worker;
};

// The peers: each says a word, hears it, and says nothing more.
class Talker final : public ConnHost {
 public:
  void OnOpen(Conn& conn, std::unique_ptr<TlsFacts>) override { conn.Send("word"); }
  void OnBytes(Conn&, std::span<uint8_t> bytes) override { heard += bytes.size(); }
  void OnEnd(Conn& conn, PeerEnd) override { conn.Shutdown(); }
  void OnClosed(Conn&, const Ended&) override { ++closed; }
  size_t heard = 0;
  size_t closed = 0;
};

// Of the process with the peers. Waits for a byte on `order` when all have been heard.
[[noreturn]] void BePeers(const std::vector<SocketName>& to, uint32_t each, const ConnTls& tls,
                          int order, int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const SystemClock clock;
  std::vector<std::unique_ptr<Shard>> shards;
  Talker talker;
  uint32_t begun = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    shards.push_back(std::make_unique<Shard>(clock, 0, each));
  }
  for (uint32_t i = 0; i < each * to.size(); ++i) {
    const size_t at = i % to.size();
    begun += shards[at]->worker->Connect(to[at], talker, tls) != nullptr;
    // No more at once than a listen queue takes.
    while (talker.heard / 4 + 300 < begun && talker.closed == 0) {
      for (const auto& shard : shards) shard->loop->RunOnce(std::chrono::milliseconds(1));
    }
  }
  while (talker.heard / 4 < begun && talker.closed == 0) {
    for (const auto& shard : shards) shard->loop->RunOnce(std::chrono::milliseconds(1));
  }
  const uint32_t heard = static_cast<uint32_t>(talker.heard / 4);
  if (write(report, &heard, sizeof heard) != sizeof heard) _exit(1);
  char byte = 0;
  _exit(read(order, &byte, 1) == 1 ? 0 : 1);
}

struct Cost {
  uint32_t connections = 0;
  double bytes_each = 0;
};

Cost Measure(uint32_t wanted, const ConnTls& server_tls, const ConnTls& client_tls) {
  const uint32_t limit = FileLimit();
  const uint32_t each = std::min(wanted, limit - kSlotsSpare);
  const uint32_t shards_wanted = (wanted + each - 1) / each;
  const uint32_t share = wanted / shards_wanted;
  const SystemClock clock;
  const TestFolder folder;
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<std::unique_ptr<EchoServer>> servers;
  std::vector<SocketName> names;
  for (uint32_t i = 0; i < shards_wanted; ++i) {
    names.push_back(SocketName::Unix(folder.Path("s" + std::to_string(i))));
    auto listener = Listen(names.back().get(), names.back().size(), {});
    CHECK(listener.has_value());
    shards.push_back(std::make_unique<Shard>(clock, share, 0));
    servers.push_back(
        std::make_unique<EchoServer>(*shards.back()->worker, std::move(*listener), 0, server_tls));
  }
  int order[2], report[2];
  CHECK(pipe(order) == 0 && pipe(report) == 0);
  const pid_t peers = fork();
  if (peers == 0) BePeers(names, share, client_tls, order[0], report[1]);
  close(report[1]);

  auto open = [&] {
    uint32_t count = 0;
    for (const auto& server : servers) count += server->opened;
    return count;
  };
  auto turn = [&] {
    for (const auto& shard : shards) shard->loop->RunOnce(std::chrono::milliseconds(1));
  };
  // The slope: what the second half takes, when all that is bought once is there.
  const Time end = clock.Now() + std::chrono::seconds(200);
  while (open() < wanted / 2 && clock.Now() < end) turn();
  malloc_trim(0);
  const uint32_t first = open();
  const size_t before = ResidentBytes();
  while (open() < share * shards_wanted && clock.Now() < end) turn();
  const int flags = fcntl(report[0], F_GETFL);
  fcntl(report[0], F_SETFL, flags | O_NONBLOCK);
  uint32_t heard = 0;
  while (read(report[0], &heard, sizeof heard) != sizeof heard && clock.Now() < end) turn();
  for (int i = 0; i < 20; ++i) turn();
  malloc_trim(0);
  const size_t after = ResidentBytes();
  EXPECT_EQ(heard, share * shards_wanted);
  for (const auto& shard : shards) {
    EXPECT_EQ(shard->worker->buffer_pool().in_use(), 0U);
    EXPECT_EQ(shard->worker->output_buffers(), 0U);
    EXPECT_EQ(shard->worker->outboxes_in_use(), 0U);
  }
  const Cost cost{
      .connections = heard,
      .bytes_each = (static_cast<double>(after) - static_cast<double>(before)) / (heard - first)};
  EXPECT_EQ(write(order[1], "x", 1), 1);
  int status = 0;
  EXPECT_EQ(waitpid(peers, &status, 0), peers);
  EXPECT_EQ(status, 0);
  for (const auto& shard : shards) {
    EXPECT_TRUE(shard->worker->Close(EndReason::kDrained, std::chrono::seconds(20)).has_value());
  }
  servers.clear();
  for (const auto& shard : shards) {
    EXPECT_TRUE(shard->loop->Drain(std::chrono::seconds(5)).has_value());
  }
  for (const int fd : {order[0], order[1], report[0]}) close(fd);
  return cost;
}

TEST(ConnIdleTest, InTheClearItIsItsStruct) {
  const Cost cost = Measure(50'000, {}, {});
  std::printf("%u idle connections in the clear: %.0f bytes each (a Conn is %zu)\n",
              cost.connections, cost.bytes_each, sizeof(Conn));
  EXPECT_GE(cost.connections, 49'990U);  // each shard has the same
  EXPECT_LE(cost.bytes_each, sizeof(Conn) + 64);
}

TEST(ConnIdleTest, OverTlsItIsItsStructAndItsKeys) {
  const TlsPair tls;
  const Cost cost = Measure(4'000, tls.Server(), tls.Client());
  std::printf("%u idle connections over TLS: %.0f bytes each (a Conn and a TlsEngine are %zu)\n",
              cost.connections, cost.bytes_each, sizeof(Conn) + sizeof(TlsEngine));
  EXPECT_EQ(cost.connections, 4'000U);
  EXPECT_LE(cost.bytes_each, sizeof(Conn) + sizeof(TlsEngine) + 256);
}

}  // namespace
}  // namespace net::test
