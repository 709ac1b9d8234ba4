// Ten thousand short lives of connections, with everything going wrong that a seed can think of.
//
// A failing seed is printed; run it alone with MONGOOSE_SIM_SEED=n, and more of them with
// MONGOOSE_SIM_SEEDS=n.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/proxy_world.h"

namespace sim {
namespace {

constexpr uint32_t kLives = 50;  // a seed
constexpr uint64_t kSeeds = 200;

// What a seed decides.
struct Plan {
  explicit Plan(uint64_t seed) : random(seed * 7'919 + 1) {
    // Gentle: nothing times out and no socket of an orderly peer fails, so that all its bytes must
    // arrive. Else only what has arrived is looked at.
    gentle = Chance(0.5);
    nodes_wait = Chance(0.5);
    PlanFaults(seed);
    PlanLimits();
    PlanPool();
    PlanListener();
  }

  bool Chance(double probability) { return random.Unit() < probability; }
  uint32_t Between(uint32_t low, uint32_t high) { return low + random.Below(high - low + 1); }
  net::Duration Upto(uint32_t ms) { return milliseconds(random.Below(ms + 1)); }
  double Sometimes(double most) { return Chance(0.5) ? 0 : random.Unit() * most; }

  void PlanFaults(uint64_t seed) {
    options.seed = seed;
    Faults& faults = options.faults;
    faults.socket_options = Chance(0.7);
    faults.completion_delay = milliseconds(Between(1, 50));
    faults.delayed = Sometimes(0.5);
    faults.shutdown_delay = Chance(0.5) ? net::Duration::zero() : milliseconds(Between(1, 200));
    faults.short_read = Sometimes(0.8);
    faults.short_send = Sometimes(0.5);
    faults.recv_ends = Sometimes(0.3);
    faults.accept_ends = Sometimes(0.3);
    faults.accept_error = Sometimes(0.1);
    faults.accept_aborted = Sometimes(0.1);
    faults.connect_error = Sometimes(0.1);
    faults.cancel_late = Sometimes(0.5);
    faults.buffer_with_failure = Sometimes(0.3);
  }

  void PlanLimits() {
    options.ring.submission_entries = Between(4, 64);
    options.ring.completion_entries = Between(4, 256);
    options.ring.accept_slots = Between(8, 64);
    options.ring.outgoing_slots = Between(8, 64);
    options.worker.pairs_max = Between(6, 64);
    options.worker.buffer_bytes = 64U << random.Below(5);
    options.worker.buffers_initial = Between(8, 32);
    options.worker.buffers_max = Between(32, 512);
    options.worker.seed = random.Next();
  }

  void PlanPool() {
    lb::PoolSettings& pool = options.pool;
    options.nodes = Between(1, 3);
    options.node_connections_max = Chance(0.5) ? 0 : Between(1, 8);
    options.balancer.policy = static_cast<lb::Policy>(random.Below(6));
    options.balancer.maglev_table = 251;
    pool.hashes_source = options.balancer.policy >= lb::Policy::kSource;
    pool.connect_timeout = milliseconds(Between(300, 2'000));
    pool.queue_timeout = milliseconds(Between(200, 3'000));
    pool.retries = Between(0, 3);
    pool.redispatch = Chance(0.6);
    pool.queue_max = Between(0, 20);
    pool.pending_bytes_max = Between(1, 16) * options.worker.buffer_bytes;
    if (!gentle) {
      pool.idle_timeout = milliseconds(Between(200, 3'000));
      pool.fin_timeout = milliseconds(Between(200, 2'000));
    }
    pool.keepalive_idle_s = Chance(0.5) ? 60 : 0;
    pool.user_timeout_ms = Chance(0.5) ? 30'000 : 0;
    pool.send_proxy = static_cast<lb::SendProxy>(random.Below(3));
    pool.proxy_unique_id = Chance(0.5);
    pool.proxy_crc32c = Chance(0.5);
    if (Chance(0.3)) {
      for (uint8_t i = 1; i < 4; ++i) {
        pool.sources_v4.push_back(net::Address::V4({127, 0, 0, i}, 0).ToSocketName());
      }
    }
  }

  void PlanListener() {
    lb::ListenerSettings& listener = options.listener;
    listener.accept_proxy = Chance(0.4);
    listener.proxy_header_timeout = gentle ? seconds(1'000) : milliseconds(Between(200, 2'000));
    if (Chance(0.2)) listener.connections_max = Between(3, 30);
    if (Chance(0.2)) {
      listener.source_limits = std::make_shared<net::SourceLimits>(
          net::SourceTableConfig{.entries_max = 1'024, .connections_max = 2}, net::HashKey{1, 2});
    }
  }

  void Manners(Script& script) {
    script.bytes = Chance(0.1) ? 0 : 8 + random.Below(Chance(0.1) ? 30'000 : 2'000);
    script.chunk_max = 1U << random.Below(13);
    script.bytes = std::min<uint64_t>(script.bytes, uint64_t{script.chunk_max} * 200);
    script.gap_max = Upto(20);
    script.window = 256U << random.Below(8);
    script.read_max = 64U << random.Below(10);
    script.read_gap_max = Upto(20);
    script.end_after = Chance(0.3) ? Upto(500) : net::Duration::zero();
  }

  Script Client(uint32_t number) {
    Script script;
    Manners(script);
    // (Without its header a client would wait for ever.)
    if (!nodes_wait && !options.listener.accept_proxy && Chance(0.3))
      script.speaks = Script::Speaks::kAfterFirstByte;
    if (options.listener.accept_proxy) script.preface = HeaderOf(number);
    if (Chance(0.15)) script.ends = Script::Ends::kReset;
    if (Chance(0.1)) script.ends = Script::Ends::kClose;
    if (Chance(0.1)) script.reset_after = milliseconds(1 + random.Below(2'000));
    if (Chance(0.05)) {
      script.reads = false;
      script.reset_after = milliseconds(1 + random.Below(5'000));
    }
    return script;
  }

  // As a client in front of us would have it: its own address is then what the log shows.
  std::vector<uint8_t> HeaderOf(uint32_t number) {
    std::array<uint8_t, 512> out;
    const auto from = net::ProxyEndpoint::FromAddress(World::ClientAddress(number + 10'000));
    const auto to = net::ProxyEndpoint::FromAddress(net::Address::V4({198, 51, 100, 1}, 5222));
    const std::vector<uint8_t> filler(Chance(0.2) ? 400 : 0);
    const std::vector<net::ProxyTlv> more = {{.type = 0xe5, .value = filler}};
    const auto size = Chance(0.5) ? net::EncodeProxyV1(from, to, out)
                                  : net::EncodeProxyV2(from, to, {.more = more}, out);
    std::vector<uint8_t> header(out.begin(), out.begin() + static_cast<ptrdiff_t>(size.value()));
    if (Chance(0.05)) header[random.Below(8)] ^= 0x40U;
    return header;
  }

  Answer Node() {
    Answer answer;
    answer.after = Upto(Chance(0.1) ? 3'000 : 100);
    if (Chance(0.1)) answer.kind = Answer::Kind::kRefuses;
    if (Chance(0.05)) answer.kind = Answer::Kind::kSilent;
    Manners(answer.script);
    if (nodes_wait) answer.script.speaks = static_cast<Script::Speaks>(random.Below(3));
    if (Chance(0.3)) {
      answer.script.ends = Script::Ends::kHold;
      // A client that waits for a word must get one.
      if (!nodes_wait) answer.script.bytes = std::max<uint64_t>(answer.script.bytes, 8);
    }
    if (Chance(0.1)) answer.script.ends = Script::Ends::kReset;
    if (Chance(0.1)) answer.script.ends = Script::Ends::kClose;
    if (Chance(0.1)) answer.script.reset_after = milliseconds(1 + random.Below(2'000));
    if (Chance(0.05)) {
      answer.script.reads = false;
      answer.script.reset_after = milliseconds(1 + random.Below(5'000));
    }
    return answer;
  }

  net::FastRandom random;
  bool gentle = false;
  bool nodes_wait = false;
  WorldOptions options;
};

bool Orderly(const Script& script) {
  return script.reset_after == net::Duration::zero() && script.ends != Script::Ends::kReset &&
         script.ends != Script::Ends::kClose;
}

class Life {
 public:
  explicit Life(uint64_t seed) : plan_(seed), world_(plan_.options) {}

  void Run() {
    for (uint32_t i = 0; i < plan_.options.nodes; ++i) {
      world_.network.AddNode(world_.nodes[i]->address(), [this](uint32_t) { return plan_.Node(); });
    }
    for (uint32_t i = 0; i < kLives; ++i) {
      clients_.push_back(&world_.Dial(i, plan_.Client(i), plan_.Upto(5'000)));
    }
    if (plan_.Chance(0.5)) ScheduleOperations();
    const bool all =
        world_.RunUntil([&] { return AllDone(); }, plan_.gentle ? seconds(400) : seconds(40));
    EXPECT_TRUE(all || !plan_.gentle) << "connections stand still: " << WhoIsLeft();
    world_.Finish();
    CheckBytes();
  }

  uint64_t accepted() const { return world_.worker->stats().accepted.load(); }
  uint64_t whole() const { return whole_; }
  const World& world() const { return world_; }

 private:
  // What an operator does meanwhile.
  void ScheduleOperations() {
    for (int i = 0; i < 4; ++i) {
      const uint32_t what = plan_.random.Below(4);
      world_.network.After(plan_.Upto(6'000), [this, what] {
        world_.loop->Post([this, what] {
          lb::ProxyWorker& worker = *world_.worker;
          switch (what) {
            case 0:
              worker.SetBalancer(0, world_.MakeBalancer(plan_.random.Below(4)));
              break;
            case 1: {
              lb::PoolSettings pool = plan_.options.pool;
              pool.send_proxy = static_cast<lb::SendProxy>(plan_.random.Below(3));
              worker.SetPool(0, std::make_shared<lb::PoolSettings>(pool), world_.MakeBalancer());
              reloaded_ = true;
              break;
            }
            case 2:
              shut_ += worker.ShutNode(world_.nodes[0].get(), 2, lb::EndReason::kShut);
              break;
            default:
              if (plan_.gentle) break;
              worker.EndAll(lb::EndReason::kDrained);
          }
        });
      });
    }
  }

  std::string WhoIsLeft() {
    std::string text;
    for (const auto& client : world_.network.peers()) {
      if (client->connected && client->done()) continue;
      text += (client->client ? "\n client " : "\n node's end ") + std::to_string(client->id) +
              (client->connected ? "" : " not accepted") + ", wrote " +
              std::to_string(client->written) + " of " + std::to_string(client->script.bytes) +
              ", got " + std::to_string(client->received.size()) +
              (client->ended ? ", ended" : "") + (client->saw_end ? ", saw the end" : "");
    }
    world_.worker->ForEachPair([&](lb::Pair& pair) {
      text += "\n pair " + std::string(lb::PairStateName(pair.state())) + " of " +
              pair.client().ToString() + ", bytes " + std::to_string(pair.bytes(0)) + " and " +
              std::to_string(pair.bytes(1)) + ", buffers " +
              std::to_string(lb::PairTest::Buffers(pair, 0)) + " and " +
              std::to_string(lb::PairTest::Buffers(pair, 1)) + ", " + lb::PairTest::Inside(pair);
    });
    return text;
  }

  // Nodes read what is left after we have let go.
  bool AllDone() const {
    const auto& peers = world_.network.peers();
    return std::all_of(peers.begin(), peers.end(),
                       [](const auto& peer) { return peer->connected && peer->done(); });
  }

  // Where our own header ends, in what a node received; SIZE_MAX when it did not come whole.
  size_t CheckHeader(const Peer& node, net::Address& source) {
    if (!reloaded_ && plan_.options.pool.send_proxy == lb::SendProxy::kOff) return 0;
    net::ProxyHeader header;
    const auto decoded = net::DecodeProxyHeader(node.received, header);
    if (decoded.status == net::ProxyDecoded::Status::kNeedMore) return SIZE_MAX;
    if (decoded.status == net::ProxyDecoded::Status::kReject) {
      EXPECT_TRUE(reloaded_) << "a node got a malformed PROXY header: "
                             << net::ProxyRejectName(decoded.reject);
      return 0;
    }
    source = header.source.ToAddress();
    return decoded.size;
  }

  void CheckBytes() {
    std::map<std::string, LogLine> log;
    for (const LogLine& line : world_.Log()) log[line["client"]] = line;
    std::map<const Peer*, const Peer*> node_of;
    for (const Peer* node : world_.NodePeers()) {
      net::Address source;
      const size_t from = CheckHeader(*node, source);
      if (from == SIZE_MAX) continue;
      const Peer* client = nullptr;
      EXPECT_EQ(CheckPrefix(world_.network, node->received, from, true, client), "")
          << "at node's end " << node->id;
      if (client == nullptr) continue;
      EXPECT_TRUE(node_of.emplace(client, node).second) << "a client's bytes came to two nodes";
      if (source) {
        EXPECT_EQ(source, NameOf(*client)) << "PROXY header of another client";
      }
    }
    for (const Peer* client : clients_) {
      const Peer* node = nullptr;
      EXPECT_EQ(CheckPrefix(world_.network, client->received, 0, false, node), "")
          << "at client " << client->id;
      const auto found = node_of.find(client);
      if (found == node_of.end()) continue;
      EXPECT_TRUE(node == nullptr || node == found->second) << "bytes of another connection";
      CheckWhole(*client, *found->second, log[NameOf(*client).ToString()]);
    }
  }

  net::Address NameOf(const Peer& client) const {
    const auto number = static_cast<uint32_t>(std::find(clients_.begin(), clients_.end(), &client) -
                                              clients_.begin());
    return plan_.options.listener.accept_proxy ? World::ClientAddress(number + 10'000)
                                               : client.address;
  }

  // Both sides behaved, and no time ran out: all bytes and both ends have arrived.
  void CheckWhole(const Peer& client, const Peer& node, const LogLine& line) {
    if (!plan_.gentle || !Orderly(client.script) || !Orderly(node.script)) return;
    if (line["end"] == "shut" || shut_ > 0) return;
    ++whole_;
    EXPECT_THAT(line["end"], testing::AnyOf("client_closed", "node_closed"));
    EXPECT_TRUE(client.saw_end && node.saw_end) << "a half-close did not arrive";
    net::Address source;
    const size_t from = CheckHeader(node, source);
    EXPECT_EQ(node.received.size() - from, client.script.bytes) << "lost on the way to the node";
    EXPECT_EQ(client.received.size(), node.script.bytes) << "lost on the way to the client";
    EXPECT_EQ(line["bytes_in"], std::to_string(client.script.bytes));
    EXPECT_EQ(line["bytes_out"], std::to_string(node.script.bytes));
  }

  Plan plan_;
  World world_;
  std::vector<Peer*> clients_;
  uint32_t shut_ = 0;
  bool reloaded_ = false;
  uint64_t whole_ = 0;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(ProxySimulation, TenThousandShortLivesLeakNothingLoseNothingAndUseNothingAfterItsEnd) {
  uint64_t first = FromEnvironment("MONGOOSE_SIM_SEED", 1);
  const bool one = std::getenv("MONGOOSE_SIM_SEED") != nullptr;
  const uint64_t last = one ? first : FromEnvironment("MONGOOSE_SIM_SEEDS", kSeeds);
  uint64_t accepted = 0;
  uint64_t whole = 0;
  std::array<uint64_t, lb::kEndReasons> ended{};
  uint64_t starved = 0;
  uint64_t forced = 0;
  uint64_t pauses = 0;
  uint64_t waited = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("MONGOOSE_SIM_SEED=" + std::to_string(seed));
    Life life(seed);
    life.Run();
    accepted += life.accepted();
    whole += life.whole();
    const lb::WorkerStats& stats = life.world().worker->stats();
    for (size_t i = 0; i < ended.size(); ++i) ended[i] += stats.ended[i].load();
    starved += stats.buffer_starvations.load();
    pauses += stats.pauses.load();
    forced += life.world().network.submits_forced();
    waited += life.world().network.closes_waited();
    if (HasFailure()) break;
  }
  std::printf(
      "%lu accepted, %lu whole; starved %lu, paused %lu, submits forced %lu, closes after a late "
      "shutdown %lu\n",
      accepted, whole, starved, pauses, forced, waited);
  for (size_t i = 0; i < ended.size(); ++i) {
    std::printf("  %-22s %lu\n",
                std::string(lb::EndReasonName(static_cast<lb::EndReason>(i))).c_str(), ended[i]);
  }
  if (one || HasFailure()) return;
  // The faults happened: a simulation in which all goes well shows nothing.
  EXPECT_GT(accepted, (last - first + 1) * kLives * 9 / 10);
  EXPECT_GT(whole, accepted / 20);
  EXPECT_GT(starved, 0U);
  EXPECT_GT(forced, 0U);
  EXPECT_GT(pauses, 0U);
  EXPECT_GT(waited, 0U);
  // The lives here are of plain listeners; TLS has a test over real rings (tests/lb).
  for (size_t i = 1; i < ended.size(); ++i) {
    if (i >= static_cast<size_t>(lb::EndReason::kTlsHandshakeFailed)) break;
    EXPECT_GT(ended[i], 0U) << lb::EndReasonName(static_cast<lb::EndReason>(i));
  }
}

}  // namespace
}  // namespace sim
