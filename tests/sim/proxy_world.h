// A ProxyWorker in the simulated network, and what must hold of it whatever happened.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lb/proxy/proxy_worker.h"
#include "net/io/event_loop.h"
#include "net/limit/source_limits.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "tests/sim/ring_sim.h"

namespace lb {

// What a test may know of a Pair that nobody else may.
class PairTest {
 public:
  static uint32_t Buffers(const Pair& pair, unsigned direction) {
    return pair.chain_[direction].count;
  }
  static std::string Inside(const Pair& pair) {
    return "operations " + std::to_string(pair.in_flight_) + ", flags " +
           std::to_string(pair.flags_);
  }
  static bool HasOperations(const Pair& pair) { return pair.in_flight_ != 0; }
  // Whether a reset of that side would be noticed: by a receive, by a watch, or by the wheel.
  static bool Watched(Pair& pair, unsigned side) {
    if (pair.AnyLost()) return pair.wheel_node().in();
    if (pair.Has(Pair::kEof, side)) return true;  // fin_timeout bounds it
    if (pair.SideHas(Pair::kUnsure, side)) return pair.wheel_node().in();
    if (pair.InFlight(Pair::kWatch + side)) return true;
    return pair.InFlight(Pair::kRecv + side) && !pair.Has(Pair::kPaused, side);
  }
};

}  // namespace lb

namespace sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct WorldOptions {
  uint64_t seed = 1;
  Faults faults;
  net::RingOptions ring{.submission_entries = 64, .accept_slots = 64, .outgoing_slots = 64};
  lb::ProxyWorker::Options worker{
      .pairs_max = 64, .buffer_bytes = 256, .buffers_initial = 16, .buffers_max = 512};
  lb::PoolSettings pool{.name = "pool",
                        .connect_timeout = seconds(2),
                        .queue_timeout = seconds(2),
                        .idle_timeout = seconds(1'000),
                        .fin_timeout = seconds(1'000),
                        .retries = 2,
                        .redispatch = true,
                        .queue_max = 16,
                        .pending_bytes_max = 1'024};
  lb::ListenerSettings listener{.name = "in", .proxy_header_timeout = seconds(5)};
  lb::BalancerOptions balancer;
  uint32_t nodes = 1;
  uint32_t node_connections_max = 0;
  std::function<void(lb::Node&, uint32_t errors, std::string how)> passive_errors = nullptr;
};

struct LogLine {
  std::map<std::string, std::string> fields;
  std::string operator[](const std::string& key) const {
    const auto found = fields.find(key);
    return found == fields.end() ? "" : found->second;
  }
};

class World {
 public:
  explicit World(const WorldOptions& options)
      : options_(options), network(options.seed, options.faults) {
    log_fd_ = net::UniqueFd(memfd_create("log", MFD_CLOEXEC));
    auto made = net::EventLoop::Create(options.ring, network.clock());
    EXPECT_TRUE(made.has_value());
    loop = std::move(*made);
    log_ = std::make_unique<lb::AccessLog>(log_fd_.get(), lb::AccessLogFormat::kText);
    lb::ProxyWorker::Hooks hooks;
    hooks.access_log = log_.get();
    hooks.passive_errors = options.passive_errors;
    auto worker_made = lb::ProxyWorker::Create(*loop, options.worker, hooks);
    EXPECT_TRUE(worker_made.has_value());
    worker = std::move(*worker_made);
    for (uint32_t i = 0; i < options.nodes; ++i) {
      nodes.push_back(std::make_shared<lb::Node>("pool", "n" + std::to_string(i),
                                                 NodeAddress(i).ToSocketName(), 100U,
                                                 options.node_connections_max));
    }
    shared = std::make_shared<lb::ListenerShared>();
    options_.listener.shared = shared;
    worker->SetPool(0, std::make_shared<lb::PoolSettings>(options_.pool), MakeBalancer());
    worker->SetListener(0, std::make_shared<lb::ListenerSettings>(options_.listener));
    listener = network.Listen();
    worker->AddSocket(0, 1, net::UniqueFd(listener));
  }

  ~World() {
    worker.reset();
    loop.reset();
  }

  static net::Address NodeAddress(uint32_t i) {
    return net::Address::V4({10, 0, 0, static_cast<uint8_t>(i + 1)}, 5222);
  }
  static net::Address ClientAddress(uint32_t i) {
    return net::Address::V4({192, 0, static_cast<uint8_t>(i >> 8U), static_cast<uint8_t>(i)},
                            40'000);
  }

  std::shared_ptr<const lb::Balancer> MakeBalancer(uint32_t down = UINT32_MAX) const {
    std::vector<lb::BalancerNode> list;
    for (uint32_t i = 0; i < nodes.size(); ++i) {
      list.push_back(
          {.name = nodes[i]->name,
           .state = nodes[i],
           .availability = i == down ? lb::NodeAvailability::kDown : lb::NodeAvailability::kUp});
    }
    return std::make_shared<const lb::Balancer>(std::move(list), options_.balancer);
  }

  // Answers all connects to a node in the same way.
  void Answers(uint32_t node, const Answer& answer) {
    network.AddNode(nodes[node]->address(), [answer](uint32_t) { return answer; });
  }

  Peer& Dial(uint32_t number, const Script& script, net::Duration after = {}) {
    return network.Dial(listener, ClientAddress(number), script, after);
  }

  // Far more than the busiest run takes.
  static constexpr uint64_t kTurnsMax = 200'000;

  // One turn; then what must hold at any time.
  void Turn(net::Duration limit = seconds(1)) {
    loop->RunOnce(limit);
    ++turns;
    CheckBounds();
  }
  // True when `done` within that time of the network.
  bool RunUntil(const std::function<bool()>& done, net::Duration limit = seconds(60)) {
    const net::Time end = network.clock().Now() + limit;
    while (!done()) {
      if (network.clock().Now() >= end) return false;
      if (turns > kTurnsMax) {
        ADD_FAILURE() << "it spins: " << network.recvs_armed() << " receives, "
                      << network.accepts_armed() << " accepts, " << network.connects()
                      << " connects begun, " << network.buffers_failed() << " without a buffer";
        return false;
      }
      Turn(std::min<net::Duration>(seconds(1), end - network.clock().Now()));
    }
    return true;
  }
  void RunFor(net::Duration time) {
    RunUntil([] { return false; }, time);
  }

  // A direction holds no more than its bound, and what a turn may bring beyond it: what was on its
  // way when it was told to stop.
  void CheckBounds() {
    constexpr uint32_t kOnItsWay = 40;
    const uint32_t allowed =
        std::max({4U, 2U, options_.pool.pending_bytes_max / options_.worker.buffer_bytes});
    worker->ForEachPair([&](lb::Pair& pair) {
      for (unsigned direction : {0U, 1U}) {
        most_buffers = std::max(most_buffers, lb::PairTest::Buffers(pair, direction));
      }
      for (unsigned side : {0U, 1U}) {
        if (pair.state() == lb::Pair::State::kOpen && !lb::PairTest::Watched(pair, side)) {
          network.Violation("a reset would go unnoticed: " + lb::PairTest::Inside(pair));
        }
      }
      if (pair.state() == lb::Pair::State::kClosing && !lb::PairTest::HasOperations(pair)) {
        network.Violation("a pair that is closing waits for nothing");
      }
    });
    if (most_buffers > allowed + kOnItsWay) {
      network.Violation("a direction holds " + std::to_string(most_buffers) + " buffers");
    }
  }

  // Ends what is left, and looks for what was left behind.
  void Finish() {
    const auto closed = worker->Close(lb::EndReason::kShut, seconds(5));
    EXPECT_TRUE(closed.has_value()) << closed.error();
    // A close may wait for a shutdown that the kernel runs late.
    EXPECT_TRUE(RunUntil([&] { return network.sockets_in_use() == 0; }, seconds(5)));
    Turn(milliseconds(1));
    EXPECT_THAT(network.violations(), testing::IsEmpty());
    EXPECT_EQ(network.operations_pending(), 0U);
    EXPECT_EQ(network.sockets_in_use(), 0U);
    EXPECT_EQ(loop->ring().free_slots(), options_.ring.outgoing_slots);
    EXPECT_EQ(worker->buffers().in_use(), 0U);
    EXPECT_EQ(network.buffers_with_kernel(worker->buffers().group()), worker->buffers().provided());
    for (const auto& node : nodes) EXPECT_EQ(node->active(), 0U) << node->name;
    EXPECT_EQ(shared->active.load(), 0U);
    uint64_t ended = 0;
    for (const auto& count : worker->stats().ended) ended += count.load();
    EXPECT_EQ(worker->stats().accepted.load(), ended);
    EXPECT_EQ(shared->accepted.load(), ended);
    EXPECT_EQ(worker->stats().ended[0].load(), 0U) << "a connection ended without a reason";
    log_->Flush(true);
    EXPECT_EQ(Log().size(), ended);
  }

  const std::vector<LogLine>& Log() {
    log_->Flush(true);
    std::string text(static_cast<size_t>(lseek(log_fd_.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(log_fd_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    lines_.clear();
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      LogLine line;
      for (size_t word = at; word < end;) {
        const size_t stop = std::min(text.find(' ', word), end);
        const size_t equals = text.find('=', word);
        if (equals < stop) {
          line.fields[text.substr(word, equals - word)] =
              text.substr(equals + 1, stop - equals - 1);
        }
        word = stop + 1;
      }
      lines_.push_back(std::move(line));
      at = end + 1;
    }
    return lines_;
  }
  uint64_t Ended(lb::EndReason reason) const {
    return worker->stats().ended[static_cast<size_t>(reason)].load();
  }
  // The node's ends of connections, in the order of their connects.
  std::vector<Peer*> NodePeers() const {
    std::vector<Peer*> found;
    for (const auto& peer : network.peers()) {
      if (!peer->client) found.push_back(peer.get());
    }
    return found;
  }

 private:
  WorldOptions options_;
  net::UniqueFd log_fd_;
  std::unique_ptr<lb::AccessLog> log_;
  std::vector<LogLine> lines_;

 public:
  Network network;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<lb::ProxyWorker> worker;
  std::vector<std::shared_ptr<lb::Node>> nodes;
  std::shared_ptr<lb::ListenerShared> shared;
  int listener = -1;
  uint32_t most_buffers = 0;
  uint64_t turns = 0;
};

// --- What a peer has got ------------------------------------------------------------------------

inline std::vector<uint8_t> Payload(uint64_t id, uint64_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint64_t i = 0; i < size; ++i) bytes[i] = Peer::Content(id, i);
  return bytes;
}

// Empty when `received`, from `from` on, is a prefix of the payload of the peer that it names in
// its first eight bytes, and no more than that peer wrote; `sender` is that peer then, or null when
// too little came.
inline std::string CheckPrefix(const Network& network, const std::vector<uint8_t>& received,
                               size_t from, bool sender_is_client, const Peer*& sender) {
  sender = nullptr;
  const size_t size = received.size() - from;
  if (size < 8) return "";
  uint64_t id = 0;
  for (size_t i = 0; i < 8; ++i) id |= uint64_t{received[from + i]} << (8 * i);
  for (const auto& peer : network.peers()) {
    if (peer->id == id) sender = peer.get();
  }
  if (sender == nullptr) return "the first bytes are nobody's";
  if (sender->client != sender_is_client) return "the bytes come from the wrong side";
  if (size > sender->written) return "more bytes than were sent";
  for (size_t i = 0; i < size; ++i) {
    if (received[from + i] == Peer::Content(id, i)) continue;
    // Where the stream goes on, if it does: lost bytes, doubled ones, or foreign ones.
    std::string text = "byte " + std::to_string(i) + " of " + std::to_string(size) + " differs";
    for (uint64_t at = 0; at < sender->written && i + 8 <= size; ++at) {
      uint64_t same = 0;
      while (same < 8 && received[from + i + same] == Peer::Content(id, at + same)) ++same;
      if (same == 8) text += "; what follows is byte " + std::to_string(at);
    }
    return text + (i + 4 <= size ? "; its values " + std::to_string(received[from + i]) + " " +
                                       std::to_string(received[from + i + 1]) + " " +
                                       std::to_string(received[from + i + 2])
                                 : "");
  }
  return "";
}

}  // namespace sim
