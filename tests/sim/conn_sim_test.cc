// Seeded lives of net::Conn on the simulated ring: whatever peers, kernel and host do, each ends
// once, nothing is called behind the end, no byte changes place, and all that was lent comes back.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/conn/conn_worker.h"
#include "net/io/stream.h"
#include "net/tls/context/tls_context.h"
#include "tests/net/tls_test_certs.h"
#include "tests/sim/ring_sim.h"

namespace sim {
namespace {

using net::Conn;
using net::Ended;
using net::EndReason;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What one life has heard.
struct Life {
  bool connects = false;
  bool tls = false;
  int opens = 0, ends = 0, closes = 0;
  std::vector<uint8_t> received;
  std::vector<uint8_t> sent;
  Ended ended;
};

// A host without manners: it pauses, sends, ends and changes its mind by the seed.
class World final : public net::ConnHost {
 public:
  World(uint64_t seed, const Faults& faults, const net::ConnOptions& options, bool wild)
      : network(seed, faults), random_(seed ^ 0x5eedU), wild_(wild) {
    auto made = net::EventLoop::Create(
        {.submission_entries = 64, .accept_slots = 64, .outgoing_slots = 32}, network.clock());
    EXPECT_TRUE(made.has_value());
    loop = std::move(*made);
    auto worker_made = net::ConnWorker::Create(*loop, options);
    EXPECT_TRUE(worker_made.has_value());
    worker = std::move(*worker_made);
    listener = network.Listen();
    acceptor_ = std::make_unique<net::Acceptor>(*loop, net::UniqueFd(listener),
                                                [this](net::Slot slot) { Accept(slot); });
  }
  ~World() {
    acceptor_.reset();
    EXPECT_TRUE(loop->Drain(seconds(5)).has_value());
    worker.reset();
    loop.reset();
  }

  void Accept(net::Slot slot) {
    const bool tls = tls_context != nullptr && Chance(4);
    const int32_t name = network.faults().socket_options && Chance(2) ? sizeof(sockaddr_in) : 0;
    Conn* conn = worker->Accept(slot, nullptr, name, *this,
                                tls ? net::ConnTls{.server = tls_context} : net::ConnTls{});
    if (conn == nullptr) {
      ++refused;
      loop->ring().Close(slot);
      return;
    }
    Begin(*conn).tls = tls;
  }
  void Connect(const net::SocketName& to) {
    Conn* conn = worker->Connect(to, *this);
    if (conn == nullptr) {
      ++refused;
      return;
    }
    Life& life = Begin(*conn);
    life.connects = true;
    if (Chance(2)) Say(*conn, life, "before it is open");
    if (Chance(8)) conn->Shutdown();
  }
  Life& Begin(Conn& conn) {
    lives.push_back(std::make_unique<Life>());
    EXPECT_EQ(now_.count(&conn), 0U) << "a Conn in the place of one that lives";
    now_[&conn] = lives.back().get();
    return *lives.back();
  }

  void OnOpen(Conn& conn, std::unique_ptr<net::TlsFacts>) override {
    Life& life = Of(conn);
    EXPECT_EQ(++life.opens, 1);
    EXPECT_FALSE(life.tls) << "no client here speaks TLS";
    if (Chance(3)) conn.WakeIn(milliseconds(1 + random_.Below(500)));
    Act(conn, life);
  }
  void OnBytes(Conn& conn, std::span<uint8_t> bytes) override {
    Life& life = Of(conn);
    EXPECT_EQ(life.opens, 1);
    EXPECT_EQ(life.ends, 0);
    EXPECT_FALSE(bytes.empty());
    life.received.insert(life.received.end(), bytes.begin(), bytes.end());
    if (conn.Send(bytes) != Conn::Sent::kClosed) {
      life.sent.insert(life.sent.end(), bytes.begin(), bytes.end());
    }
    std::ranges::fill(bytes, uint8_t{0xee});  // they are ours
    Act(conn, life);
  }
  void OnEnd(Conn& conn, net::PeerEnd) override {
    Life& life = Of(conn);
    EXPECT_EQ(++life.ends, 1);
    if (wild_ && Chance(4)) {
      conn.WakeIn(milliseconds(1 + random_.Below(300)));  // answers later, in OnDue
    } else {
      conn.Shutdown();
    }
  }
  void OnWritable(Conn& conn) override {
    ++writable;
    Of(conn);
    conn.Resume();
  }
  void OnDue(Conn& conn) override {
    Life& life = Of(conn);
    conn.Resume();
    if (conn.state() == Conn::State::kPeerDone) {
      conn.Shutdown();
    } else {
      Act(conn, life);
    }
  }
  void OnClosed(Conn& conn, const Ended& ended) override {
    Life& life = Of(conn);
    EXPECT_EQ(++life.closes, 1);
    EXPECT_EQ(conn.state(), Conn::State::kGone);
    EXPECT_NE(ended.reason, EndReason::kNone);
    life.ended = ended;
    now_.erase(&conn);
  }

  // One turn; then what must hold at any time.
  void Turn(net::Duration limit = seconds(1)) {
    loop->RunOnce(limit);
    worker->ForEach([&](Conn& conn) {
      EXPECT_EQ(now_.count(&conn), 1U);
      if (conn.held() > 0) {
        EXPECT_TRUE(conn.paused() || conn.state() == Conn::State::kHandshake ||
                    conn.state() == Conn::State::kOpen);
      }
      if (conn.queued() == 0 && conn.has_outbox()) ADD_FAILURE() << "an empty outbox is kept";
    });
  }
  void CheckTheEnd() {
    EXPECT_EQ(worker->size(), 0U);
    EXPECT_EQ(now_.size(), 0U);
    EXPECT_EQ(worker->output_buffers(), 0U);
    EXPECT_EQ(worker->outboxes_in_use(), 0U);
    EXPECT_EQ(worker->handshake_places(), 0U);
    EXPECT_EQ(worker->buffer_pool().in_use(), 0U);
    EXPECT_EQ(worker->conn_stats().open.load(), 0U);
    uint64_t counted = 0;
    for (const auto& row : worker->conn_stats().ended) {
      for (const auto& one : row) counted += one.load();
    }
    EXPECT_EQ(counted, lives.size());
    for (const auto& life : lives) EXPECT_EQ(life->closes, 1);
    for (const std::string& what : network.violations()) ADD_FAILURE() << what;
  }
  // What a peer read is the front of what its Conn was given to send; nothing came twice.
  void CheckBytes() {
    for (const auto& peer : network.peers()) {
      Life* life = LifeOf(*peer);
      if (life == nullptr || life->tls) continue;
      ASSERT_LE(life->received.size(), peer->written);
      for (size_t i = 0; i < life->received.size(); ++i) {
        ASSERT_EQ(life->received[i], Peer::Content(peer->id, i)) << "byte " << i;
      }
      ASSERT_LE(peer->received.size(), life->sent.size());
      ASSERT_TRUE(std::equal(peer->received.begin(), peer->received.end(), life->sent.begin()));
      const bool orderly = life->ended.reason == EndReason::kPeerClosed && peer->saw_end &&
                           !peer->reset && !peer->saw_reset;
      if (orderly) {
        EXPECT_EQ(peer->received.size(), life->sent.size());
        EXPECT_EQ(life->received.size(), peer->written);
      }
      orderly_lives += orderly;
    }
  }

  Network network;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<net::ConnWorker> worker;
  std::shared_ptr<const net::TlsServerContext> tls_context;
  int listener = -1;
  std::vector<std::unique_ptr<Life>> lives;
  uint32_t refused = 0;
  uint32_t writable = 0;
  uint32_t orderly_lives = 0;

 private:
  bool Chance(uint32_t one_in) { return random_.Below(one_in) == 0; }
  Life& Of(Conn& conn) {
    EXPECT_EQ(now_.count(&conn), 1U) << "a call behind the end";
    return *now_.at(&conn);
  }
  // The first eight bytes of a peer's payload name it.
  Life* LifeOf(const Peer& peer) {
    for (const auto& life : lives) {
      if (life->received.size() < 8) continue;
      bool same = true;
      for (uint64_t i = 0; i < 8; ++i) same &= life->received[i] == Peer::Content(peer.id, i);
      if (same) return life.get();
    }
    return nullptr;
  }
  void Say(Conn& conn, Life& life, std::string_view text) {
    if (conn.Send(text) != Conn::Sent::kClosed) {
      life.sent.insert(life.sent.end(), text.begin(), text.end());
    }
  }
  void Act(Conn& conn, Life& life) {
    if (!wild_) return;
    switch (random_.Below(16)) {
      case 0:
        conn.Pause();
        conn.WakeIn(milliseconds(1 + random_.Below(400)));
        break;
      case 1:
        conn.Pause();
        conn.Resume();
        break;
      case 2:
        Say(conn, life, "some words");
        break;
      case 3: {
        const net::SharedBytes shared(std::string(700, 's'));
        for (int i = 0; i < 20; ++i) {
          if (conn.Send(shared) == Conn::Sent::kClosed) break;
          life.sent.insert(life.sent.end(), 700, 's');
        }
        break;
      }
      case 4:
        if (!Chance(4)) break;
        conn.End(EndReason::kShut);
        break;
      case 5:
        if (!Chance(4)) break;
        conn.Shutdown();
        break;
      case 6:
        if (Chance(64)) worker->EndAll(EndReason::kDrained);
        break;
      default:
        break;
    }
  }

  net::FastRandom random_;
  const bool wild_;
  std::unique_ptr<net::Acceptor> acceptor_;
  std::map<const Conn*, Life*> now_;
};

net::ConnOptions SmallOptions() {
  return {.conns_max = 12,
          .buffer_bytes = 256,
          .buffers_initial = 8,
          .buffers_max = 64,
          .send_queue_bytes_high = 4'000,
          .send_queue_bytes_low = 1'000,
          .send_queue_bytes_max = 60'000,
          .connect_timeout = seconds(2),
          .handshake_timeout = seconds(3),
          .linger = seconds(4)};
}

Faults FaultsOf(net::FastRandom& random) {
  if (random.Below(4) == 0) return {};
  auto rate = [&] { return random.Below(3) == 0 ? random.Unit() * 0.3 : 0; };
  return {.socket_options = random.Below(4) != 0,
          .completion_delay = milliseconds(random.Below(20)),
          .delayed = rate(),
          .shutdown_delay = milliseconds(random.Below(20)),
          .short_read = rate(),
          .short_send = rate(),
          .recv_ends = rate(),
          .accept_ends = rate(),
          .accept_error = rate() / 4,
          .accept_aborted = rate(),
          .connect_error = rate(),
          .cancel_late = rate(),
          .buffer_with_failure = rate()};
}

Script ScriptOf(net::FastRandom& random) {
  Script script;
  // Some say nothing at all, or not enough for a hello.
  script.bytes = random.Below(3) == 0 ? random.Below(40'000) : random.Below(900);
  if (random.Below(8) == 0) {
    script.bytes = random.Below(2);
    script.end_after = seconds(20);
  }
  script.chunk_max = 1 + random.Below(2'000);
  script.gap_max = milliseconds(random.Below(50));
  script.end_after = milliseconds(random.Below(200));
  script.ends = static_cast<Script::Ends>(random.Below(4));
  script.reads = random.Below(12) != 0;
  script.read_max = 1 + random.Below(5'000);
  script.read_gap_max = milliseconds(random.Below(60));
  script.window = 200 + random.Below(20'000);
  if (random.Below(8) == 0) script.reset_after = milliseconds(1 + random.Below(300));
  return script;
}

TEST(ConnSimTest, ThousandsOfLivesEndOnceAndGiveAllBack) {
  const net::TestCertificate certificate{net::TestCertificateOptions{}};
  const net::TestFolder folder;
  const std::string chain = folder.Write("chain.pem", certificate.chain_pem(), 0644);
  const std::string key = folder.Write("key.pem", certificate.key_pem());
  net::TlsServerOptions tls;
  tls.sites.push_back({.certificates = {{.chain = chain, .key = key}}});
  const auto context = net::TlsServerContext::Create(tls);
  ASSERT_TRUE(context.has_value());

  uint64_t lives = 0, orderly = 0, refused = 0, writable = 0, starved = 0;
  std::map<EndReason, uint64_t> reasons;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    net::FastRandom random(seed);
    World world(seed, FaultsOf(random), SmallOptions(), seed % 3 != 0);
    world.tls_context = *context;
    const net::SocketName node = net::Address::V4({10, 0, 0, 1}, 5269).ToSocketName();
    world.network.AddNode(node, [&random](uint32_t) {
      return Answer{
          .kind = static_cast<Answer::Kind>(random.Below(8) < 6 ? 0 : 1 + random.Below(2)),
          .after = milliseconds(random.Below(100)),
          .script = ScriptOf(random)};
    });
    const uint32_t clients = 4 + random.Below(40);
    for (uint32_t i = 0; i < clients; ++i) {
      world.network.Dial(world.listener,
                         net::Address::V4({192, 0, 2, static_cast<uint8_t>(i)}, 40'000),
                         ScriptOf(random), milliseconds(random.Below(400)));
    }
    const uint32_t connects = random.Below(8);
    for (uint32_t i = 0; i < connects; ++i) {
      world.loop->After(milliseconds(random.Below(300)), [&world, node] { world.Connect(node); });
    }
    const net::Time end = world.network.clock().Now() + seconds(30);
    while (world.network.clock().Now() < end && !testing::Test::HasFatalFailure()) {
      world.Turn(milliseconds(200));
    }
    const auto closed = world.worker->Close(EndReason::kDrained, seconds(200));
    EXPECT_TRUE(closed.has_value()) << closed.error();
    world.CheckTheEnd();
    world.CheckBytes();
    lives += world.lives.size();
    orderly += world.orderly_lives;
    refused += world.refused;
    writable += world.writable;
    starved += world.worker->conn_stats().buffer_starvations.load();
    for (const auto& life : world.lives) ++reasons[life->ended.reason];
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "seed " << seed;
      break;
    }
  }
  std::string text;
  for (const auto& [reason, count] : reasons) {
    text += " " + std::string(net::EndReasonName(reason)) + "=" + std::to_string(count);
  }
  std::printf("%lu lives, %lu of them whole, %lu refused, %lu writable, %lu starved:%s\n", lives,
              orderly, refused, writable, starved, text.c_str());
  // The run met what it is there for.
  EXPECT_GE(lives, 2'000U);
  EXPECT_GT(orderly, 150U);
  EXPECT_GT(starved, 0U);
  EXPECT_GT(writable, 0U);
  EXPECT_GT(refused, 0U);
  for (const EndReason reason :
       {EndReason::kPeerClosed, EndReason::kPeerReset, EndReason::kPeerTlsFailed,
        EndReason::kPeerSlow, EndReason::kHandshakeTimeout, EndReason::kLingerTimeout,
        EndReason::kConnectFailed, EndReason::kConnectTimeout, EndReason::kClosed, EndReason::kShut,
        EndReason::kDrained, EndReason::kNoResources}) {
    EXPECT_GT(reasons[reason], 0U) << net::EndReasonName(reason);
  }
}

TEST(ConnSimTest, OurLastWordReplacesTheTimeThatTheHostHadSet) {
  World world(1, {}, SmallOptions(), false);
  const Script silent{.bytes = 0, .ends = Script::Ends::kHold};
  world.network.Dial(world.listener, net::Address::V4({192, 0, 2, 1}, 40'000), silent, {});
  while (world.lives.empty()) world.Turn(milliseconds(10));
  Conn* conn = nullptr;
  world.worker->ForEach([&](Conn& one) { conn = &one; });
  ASSERT_NE(conn, nullptr);
  const net::Time asked = world.loop->now();
  conn->WakeIn(seconds(180));
  conn->Shutdown();  // what is asked for afterwards counts: the linger
  while (world.lives[0]->closes == 0) world.Turn();
  EXPECT_EQ(world.lives[0]->ended.reason, EndReason::kClosed);
  EXPECT_LT(world.loop->now() - asked, seconds(6));
  world.CheckTheEnd();
}

// A host that does nothing but wake.
class Sleeper final : public net::ConnHost {
 public:
  void OnOpen(Conn& conn, std::unique_ptr<net::TlsFacts>) override { conn.WakeIn(wake); }
  void OnBytes(Conn&, std::span<uint8_t>) override {}
  void OnEnd(Conn&, net::PeerEnd) override {}
  void OnDue(Conn& conn) override {
    ++due;
    conn.End(EndReason::kIdle);
  }
  void OnClosed(Conn&, const Ended& how) override { ended = how; }
  net::Duration wake{};
  int due = 0;
  Ended ended;
};

TEST(ConnSimTest, ATimeBeyondATurnOfTheWheelIsKept) {
  for (const auto wake : {milliseconds(50), milliseconds(51'000), milliseconds(50'000),
                          milliseconds(100'000), milliseconds(7'200'000)}) {
    World world(1, {}, SmallOptions(), false);
    Sleeper sleeper;
    sleeper.wake = wake;
    const net::SocketName node = net::Address::V4({10, 0, 0, 1}, 5269).ToSocketName();
    world.network.AddNode(node,
                          [](uint32_t) { return Answer{.script = {.ends = Script::Ends::kHold}}; });
    ASSERT_NE(world.worker->Connect(node, sleeper), nullptr);
    const net::Time asked = world.loop->now();
    while (sleeper.due == 0) world.loop->RunOnce(seconds(1));
    EXPECT_GE(world.loop->now() - asked, wake);
    EXPECT_LE(world.loop->now() - asked, wake + milliseconds(300)) << wake.count();
    while (world.worker->size() > 0) world.loop->RunOnce(seconds(1));
    EXPECT_EQ(sleeper.ended.reason, EndReason::kIdle);
  }
}

}  // namespace
}  // namespace sim
