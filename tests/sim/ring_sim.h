// A network in memory for tests of what stands on net::Ring: clients and nodes are scripts, time is
// a ManualClock that only Ring::Wait() moves, and faults come from a seed, so that a run repeats
// exactly.
//
// ring_sim.cc implements the class Ring over it; a test links net_ring_sim instead of
// net_ring.
//
//   sim::Network network(seed, faults);            // Rings made from here on use it
//   auto loop = net::EventLoop::Create(options, network.clock());
//   int fd = network.Listen();                     // for ProxyWorker::AddSocket
//   network.AddNode(name, [&](uint32_t nth) { return sim::Answer{...}; });
//   sim::Peer& client = network.Dial(fd, address, script, after);
//   while (...) loop->RunOnce(limit);              // moves the clock
//   EXPECT_EQ(network.violations(), ...);          // what the user of the ring did wrong
//
// What counts as a violation: an operation on a slot that is not in use, a slot closed twice or
// while its connect runs, a tag in use twice, a buffer of a send that changes before its
// completion, an address that changes before its connect is submitted, a shutdown before the sends
// have ended, a buffer that is provided twice; and what the ring itself could do wrong: a slot
// given again while a shutdown of it is pending, a shutdown that meets another socket than was
// meant. What is left at the end shows in the counts below.
//
// A shutdown runs later, as the kernel's does: in a thread that looks the slot up only then. A
// receive that waits for readiness first never tells of a reset that stood behind data when it
// began, as the kernel's does not. A send that fails takes the socket's error with it: a receive
// then sees an end. A reset of ours drops what the peer has not acknowledged, or has not read.
//
// Not simulated: splice (InstallFd) and datagrams; RingFeatures says so for the former.
//
// One thread. At most one Network at a time.
#pragma once

#include <cerrno>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/base/random.h"
#include "net/io/ring.h"

namespace sim {

// How often what goes wrong; probabilities. The default is a network without faults.
struct Faults {
  bool socket_options = true;        // RingFeatures::socket_options
  net::Duration completion_delay{};  // at most; completions of different operations change places
  double delayed = 0;                // completions that come late at all
  net::Duration shutdown_delay{};    // at most, until a shutdown runs
  double short_read = 0;             // a receive brings less than there is
  double short_send = 0;             // a send ends early
  double recv_ends = 0;              // a multishot receive ends though nothing is wrong
  double accept_ends = 0;            // a multishot accept does
  double accept_error = 0;           // EMFILE
  double accept_aborted = 0;         // ECONNABORTED
  double connect_error = 0;          // no socket or port for an outgoing connection
  int connect_errno = EMFILE;
  double send_error = 0;  // no memory for a send; nothing of it went out
  int send_errno = ENOBUFS;
  double cancel_late = 0;          // a cancelled operation still brings what it can get
  double buffer_with_failure = 0;  // the last completion of a receive holds a buffer, too
  double reset_loses = 0.5;        // a peer's reset takes with it what had arrived before
  net::Duration ack_delay{};       // at most, until what we sent is acknowledged
};

// What a peer does, once connected.
struct Script {
  enum class Speaks : uint8_t { kAtOnce, kAfterFirstByte, kAfterEnd };  // (of the other side)
  enum class Ends : uint8_t {
    kHalfClose,  // tells its end, then reads until the other side ends
    kClose,      // closes, whatever is still on its way
    kReset,
    kHold,  // stays until the other side ends
  };
  std::vector<uint8_t> preface;  // sent first; not counted as payload
  uint64_t bytes = 0;            // payload: Content() of its id
  Speaks speaks = Speaks::kAtOnce;
  uint32_t chunk_max = 1'000;  // a write
  net::Duration gap_max{};     // between writes
  Ends ends = Ends::kHalfClose;
  net::Duration end_after{};  // pause before the end

  bool reads = true;
  uint32_t read_max = 65'536;
  net::Duration read_gap_max{};
  uint32_t window = 65'536;     // bytes that wait unread on its side, and on ours
  net::Duration reset_after{};  // since the connection stands; 0 = never
};

// How a node meets a connect.
struct Answer {
  enum class Kind : uint8_t { kAccepts, kRefuses, kSilent };
  Kind kind = Kind::kAccepts;
  net::Duration after{};
  Script script;
};
inline Answer Accepts(net::Duration after, const Script& script) {
  return {.kind = Answer::Kind::kAccepts, .after = after, .script = script};
}

struct Socket;

// The far end of a connection: a client, or a node's end of one connection.
class Peer {
 public:
  uint64_t id = 0;       // > 0, unique in the network
  net::Address address;  // a client's
  Script script;
  bool client = false;

  uint64_t written = 0;           // payload that left it
  std::vector<uint8_t> received;  // what it read
  bool connected = false;         // (a client: accepted by us)
  bool ended = false;             // told its end
  bool reset = false;             // it reset the connection, or closed it early
  bool saw_end = false;           // read until the other side's orderly end
  bool saw_reset = false;
  net::Time saw_end_at{};
  net::Time saw_reset_at{};

  // It and its connection came to an end by themselves.
  bool done() const { return saw_reset || reset || (ended && saw_end); }
  // The byte at an offset of the payload of the peer `id`; the first eight are the id.
  static uint8_t Content(uint64_t id, uint64_t offset);

 private:
  friend class Network;
  friend struct Socket;
  Socket* socket = nullptr;    // ours; null once we have let go of it
  std::vector<uint8_t> inbox;  // sent by us and unread
  size_t preface_written = 0;
  bool speaking = false;
  bool blocked = false;  // its writes wait for us
  bool read_scheduled = false;
  bool other_ended = false;  // behind what is in the inbox
  bool other_reset = false;  // likewise
};

class Network {
 public:
  Network(uint64_t seed, const Faults& faults);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  net::ManualClock& clock() { return clock_; }
  net::FastRandom& random() { return random_; }
  const Faults& faults() const { return faults_; }
  void SetFaults(const Faults& faults) { faults_ = faults; }

  // A listening descriptor; whoever takes it closes it.
  int Listen();
  // A client that connects `after` from now.
  Peer& Dial(int listener, const net::Address& from, const Script& script, net::Duration after);
  // Connects to this address are answered by `answer`, given how many came before.
  void AddNode(const net::SocketName& where, std::function<Answer(uint32_t nth)> answer);
  void RemoveNode(const net::SocketName& where);  // what is connected stays; others are refused
  void After(net::Duration delay, std::function<void()> action);
  void Reset(Peer& peer);

  // --- What happened.
  const std::vector<std::string>& violations() const { return violations_; }
  void Violation(std::string what);
  const std::deque<std::unique_ptr<Peer>>& peers() const { return peers_; }
  uint32_t sockets_in_use() const;      // slots that are not empty
  uint32_t operations_pending() const;  // without those on plain descriptors
  uint32_t buffers_with_kernel(uint16_t group) const;
  uint64_t submits_forced() const { return submits_forced_; }
  uint64_t connects() const { return connects_; }              // begun
  uint64_t buffers_failed() const { return buffers_failed_; }  // receives that found none
  uint64_t accepts_armed() const { return accepts_armed_; }
  uint64_t recvs_armed() const { return recvs_armed_; }
  uint64_t shutdowns_run() const { return shutdowns_run_; }
  uint64_t closes_waited() const { return closes_waited_; }  // for a shutdown before them
  uint64_t deaf_receives() const { return deaf_receives_; }  // that will not tell of a reset

  struct Kernel;  // ring_sim.cc

 private:
  friend struct Kernel;
  friend struct Socket;
  struct Event {
    net::Time when;
    uint64_t order;
    std::function<void()> action;
    bool operator>(const Event& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };
  struct Node {
    std::vector<uint8_t> where;
    std::function<Answer(uint32_t)> answer;
    uint32_t met = 0;
  };
  struct Backlog {
    std::deque<std::shared_ptr<Socket>> waiting;
  };

  bool Chance(double probability);
  net::Duration Upto(net::Duration most);
  // Runs what is due, and moves the clock until a completion is there or `until` is reached.
  void Advance(net::Time until);

  void PeerConnected(Peer& peer);
  void PeerWrites(Peer& peer);
  void PeerEnds(Peer& peer);
  void PeerReads(Peer& peer);
  void ScheduleRead(Peer& peer);
  void OtherEnded(Peer& peer);
  void OtherReset(Peer& peer);
  Node* NodeAt(const std::vector<uint8_t>& where);

  net::ManualClock clock_;
  net::FastRandom random_;
  Faults faults_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t next_order_ = 0;
  uint64_t next_id_ = 1;
  std::deque<std::unique_ptr<Peer>> peers_;
  std::map<int, Backlog> listeners_;
  std::vector<Node> nodes_;
  std::vector<std::string> violations_;
  Kernel* kernel_ = nullptr;  // of the one ring
  uint64_t submits_forced_ = 0;
  uint64_t connects_ = 0;
  uint64_t buffers_failed_ = 0;
  uint64_t accepts_armed_ = 0;
  uint64_t recvs_armed_ = 0;
  uint64_t shutdowns_run_ = 0;
  uint64_t closes_waited_ = 0;
  uint64_t deaf_receives_ = 0;
};

}  // namespace sim
