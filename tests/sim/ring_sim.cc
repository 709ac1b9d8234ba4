#include "tests/sim/ring_sim.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/base/check.h"

namespace sim {
namespace {

// Completions of one multishot receive that may wait undelivered; the kernel yields, too.
constexpr uint32_t kBurst = 16;
// When a connect that nobody answers fails by itself, as with Linux' default of six SYNs.
constexpr net::Duration kSynTimeout = std::chrono::seconds(130);
// What a turn takes at least, so that who spins does not stop the clock.
constexpr net::Duration kTurnTime = std::chrono::microseconds(20);
constexpr uint32_t kBufferFlag = 1;
constexpr uint32_t kMoreFlag = 2;
constexpr uint8_t kPoison = 0xdd;

Network* g_network = nullptr;

using Parts = std::vector<std::span<const uint8_t>>;

uint64_t Checksum(const Parts& parts) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const auto& part : parts) {
    for (uint8_t byte : part) hash = (hash ^ byte) * 0x100000001b3U;
  }
  return hash;
}

size_t SizeOf(const Parts& parts) {
  size_t size = 0;
  for (const auto& part : parts) size += part.size();
  return size;
}

// Copies `count` bytes from `offset` on behind what is in `to`.
void AppendPart(const Parts& parts, size_t offset, size_t count, std::vector<uint8_t>* to) {
  for (const auto& part : parts) {
    const size_t skip = std::min(offset, part.size());
    const auto some = part.subspan(skip, std::min(count, part.size() - skip));
    to->insert(to->end(), some.begin(), some.end());
    offset -= skip;
    count -= some.size();
  }
}

std::vector<uint8_t> Copy(const sockaddr* address, socklen_t size) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(address);
  return {bytes, bytes + (address == nullptr ? 0 : size)};
}

struct Operation;
using OperationPtr = std::shared_ptr<Operation>;

}  // namespace

// Our end of a connection. Lives while a slot or an operation names it.
struct Socket {
  explicit Socket(Network& n) : network(n) {}
  ~Socket() {
    if (peer == nullptr) return;
    peer->socket = nullptr;
    if (aborted) return;
    // What was never read makes a reset of a close.
    if (!in.empty()) {
      network.OtherReset(*peer);
    } else if (error == 0) {
      network.OtherEnded(*peer);
    }
  }
  Network& network;
  Peer* peer = nullptr;
  std::vector<uint8_t> in;  // arrived and not yet received
  bool in_end = false;
  int error = 0;
  bool shut = false;     // told to shut down, which may not have run yet
  bool reset = false;    // by the peer; stays when the error has been told
  bool aborted = false;  // by us
  net::Time acked_at{};  // when the peer has acknowledged all that we sent
  std::vector<std::weak_ptr<Operation>> polls;
  std::weak_ptr<Operation> recv;
  std::weak_ptr<Operation> send;
};

namespace {

struct Operation {
  enum class Kind : uint8_t {
    kAccept,
    kAcceptOnce,
    kConnect,
    kPeerName,
    kSetOption,
    kRecvMultishot,
    kRecv,
    kSend,
    kShutdown,
    kReset,
    kUnsent,
    kPoll,
    kClose,
    kPollFd,
    kCancel,
  };
  Kind kind{};
  net::Tag tag;
  net::Slot slot = net::kNoSlot;
  int fd = -1;
  uint16_t group = 0;
  bool expect_data = false;
  bool deaf = false;  // to the reset that was there before it
  uint32_t events = 0;
  Parts data;  // of a send
  std::span<uint8_t> into;
  uint64_t checksum = 0;
  size_t sent = 0;
  const int* value = nullptr;
  net::ConnectOptions connect;
  std::vector<uint8_t> address;
  std::vector<uint8_t> source;
  void* name = nullptr;
  socklen_t* name_size = nullptr;
  std::vector<uint8_t> name_bytes;

  std::shared_ptr<Socket> socket;
  bool begun = false;
  bool terminal = false;  // its last completion is on its way
  uint32_t undelivered = 0;
  uint32_t on_their_way = 0;  // completions that are delayed
  net::Time last{};           // when its latest completion arrives
};
using Kind = Operation::Kind;

}  // namespace

// The simulated kernel's side of a ring.
struct Network::Kernel {
  struct Arrived {
    OperationPtr operation;
    net::Completion completion;
  };
  struct Buffer {
    uint8_t* data = nullptr;
    uint32_t size = 0;
    uint16_t id = 0;
  };
  enum class Holder : uint8_t { kUser, kRing, kUndelivered };
  struct Group {
    std::vector<Buffer> pending;
    std::deque<Buffer> ready;
    std::vector<Holder> holder;
    uint32_t count = 0;
  };
  using Key = std::pair<const net::Target*, unsigned>;

  Kernel(Network& n, const net::RingOptions& o, net::RingStats& s)
      : network(n),
        options(o),
        stats(s),
        table(o.accept_slots + o.outgoing_slots),
        owned(table.size(), false),
        slots(table.size()) {
    for (net::Slot slot = 0; slot < o.accept_slots; ++slot) free_accept.push_back(slot);
    network.kernel_ = this;
  }
  ~Kernel() {
    network.kernel_ = nullptr;
    for (auto& [key, operation] : pending) operation->terminal = true;
  }

  void Queue(Operation&& made);
  void Submit();
  void Start(const OperationPtr& operation);
  bool TakeSocket(const OperationPtr& operation, const char* what);
  void StartClose(net::Slot slot);
  void StartShutdown(const OperationPtr& operation);
  void RunShutdown(const OperationPtr& operation);
  void CheckReuse(net::Slot slot);
  void Free(net::Slot slot, std::vector<net::Slot>& free_slots);
  void ShutdownDone(net::Slot slot, std::vector<net::Slot>& free_slots);
  void StartCancel(const OperationPtr& operation);
  void StartConnect(const OperationPtr& operation);
  void BeginConnect(const OperationPtr& operation);
  void StartReset(const OperationPtr& operation);
  void StartRecv(const OperationPtr& operation);
  void ServeAccept(int fd);
  void ServePolls(Socket& socket);
  void ServeRecv(Socket& socket);
  bool ServeRecvOnce(Operation& operation, const OperationPtr& shared);
  void ServeSend(Socket& socket);
  void Post(const OperationPtr& operation, int32_t result, uint32_t flags);
  void Finish(const OperationPtr& operation, int32_t result, uint32_t flags = 0) {
    operation->terminal = true;
    Post(operation, result, flags);
  }
  void Deliver(Arrived& arrived);
  void CheckBeforeDelivery(Operation& operation, const net::Completion& completion);
  uint32_t TakeBufferFlag(uint16_t group);
  void Turn(net::Duration timeout);

  Network& network;
  const net::RingOptions options;
  net::RingStats& stats;
  std::vector<OperationPtr> queue;
  std::deque<Arrived> arrived;
  std::map<Key, OperationPtr> pending;
  std::vector<OperationPtr> accepting;
  std::vector<OperationPtr> connecting;  // chains that have not begun
  std::vector<std::shared_ptr<Socket>> table;
  std::vector<bool> owned;
  // What the ring keeps of a slot: a close waits for the shutdowns before it.
  struct SlotState {
    uint32_t shutdowns = 0;
    bool close_after = false;
  };
  std::vector<SlotState> slots;
  std::vector<net::Slot> free_accept;
  std::map<uint16_t, Group> groups;
};

// --- Submission -------------------------------------------------------------------------------

void Network::Kernel::Queue(Operation&& made) {
  auto operation = std::make_shared<Operation>(std::move(made));
  if (operation->tag.target != nullptr && operation->kind != Kind::kCancel) {
    const auto [place, fresh] =
        pending.emplace(Key{operation->tag.target, operation->tag.op}, operation);
    if (!fresh) {
      network.Violation("operation " + std::to_string(operation->tag.op) +
                        " begun again before it came back");
    }
  }
  if (operation->slot < owned.size() && !owned[operation->slot] &&
      operation->kind != Kind::kClose) {
    network.Violation("an operation on slot " + std::to_string(operation->slot) +
                      ", which was closed");
  }
  if (queue.size() >= options.submission_entries) {
    ++network.submits_forced_;
    ++stats.enters;
    Submit();
  }
  queue.push_back(std::move(operation));
}

void Network::Kernel::Submit() {
  std::vector<OperationPtr> batch;
  batch.swap(queue);
  for (const OperationPtr& operation : batch) Start(operation);
}

bool Network::Kernel::TakeSocket(const OperationPtr& operation, const char* what) {
  if (operation->slot < table.size() && table[operation->slot]) {
    operation->socket = table[operation->slot];
    return true;
  }
  network.Violation(std::string(what) + " on slot " + std::to_string(operation->slot) +
                    ", which is not in use");
  if (operation->tag.target != nullptr) {
    Finish(operation, -EBADF);
  } else {
    ++stats.silent_errors;
  }
  return false;
}

void Network::Kernel::Start(const OperationPtr& operation) {
  switch (operation->kind) {
    case Kind::kAccept:
    case Kind::kAcceptOnce:
      ++network.accepts_armed_;
      accepting.push_back(operation);
      ServeAccept(operation->fd);
      break;
    case Kind::kConnect:
      StartConnect(operation);
      break;
    case Kind::kPeerName:
      if (!TakeSocket(operation, "a question for the peer's name")) break;
      if (operation->socket->error != 0 || operation->socket->peer == nullptr) {
        Finish(operation, -ENOTCONN);
      } else {
        const net::SocketName name = operation->socket->peer->address.ToSocketName();
        operation->name_bytes = Copy(name.get(), name.size());
        Finish(operation, static_cast<int32_t>(name.size()));
      }
      break;
    case Kind::kSetOption:
      if (!TakeSocket(operation, "an option")) break;
      if (*operation->value < 0) network.Violation("an option's value is gone");
      operation->socket.reset();
      break;
    case Kind::kRecvMultishot:
    case Kind::kRecv:
      StartRecv(operation);
      break;
    case Kind::kSend:
      if (!TakeSocket(operation, "a send")) break;
      if (!operation->socket->send.expired()) network.Violation("two sends at once on a socket");
      if (operation->socket->shut) network.Violation("a send after the shutdown");
      operation->socket->send = operation;
      ServeSend(*operation->socket);
      break;
    case Kind::kShutdown:
      StartShutdown(operation);
      break;
    case Kind::kReset:
      StartReset(operation);
      break;
    case Kind::kUnsent:
      if (!TakeSocket(operation, "a question for what is unsent")) break;
      Finish(operation, network.clock_.Now() < operation->socket->acked_at ? 1 : 0);
      break;
    case Kind::kPoll:
      if (!TakeSocket(operation, "a poll")) break;
      operation->socket->polls.push_back(operation);
      ServePolls(*operation->socket);
      break;
    case Kind::kClose:
      StartClose(operation->slot);
      break;
    case Kind::kPollFd:
      break;
    case Kind::kCancel:
      StartCancel(operation);
      break;
  }
}

void Network::Kernel::StartClose(net::Slot slot) {
  // A socket that could not be made leaves its slot empty; closing that is allowed.
  if (!table[slot]) {
    ++stats.silent_errors;
    return;
  }
  const std::shared_ptr<Socket> last = std::move(table[slot]);
  table[slot].reset();
  if (slot < options.accept_slots) {
    free_accept.push_back(slot);
    for (auto& [fd, backlog] : network.listeners_) ServeAccept(fd);
  }
}

void Network::Kernel::StartRecv(const OperationPtr& operation) {
  ++network.recvs_armed_;
  if (!TakeSocket(operation, "a receive")) return;
  Socket& socket = *operation->socket;
  if (operation->kind == Kind::kRecvMultishot && !operation->expect_data && socket.reset &&
      !socket.in.empty()) {
    operation->deaf = true;
    ++network.deaf_receives_;
  }
  socket.recv = operation;
  ServeRecv(socket);
}

void Network::Kernel::StartReset(const OperationPtr& operation) {
  if (!TakeSocket(operation, "a reset")) return;
  const std::shared_ptr<Socket> socket = std::exchange(operation->socket, nullptr);
  if (const auto send = socket->send.lock(); send && !send->terminal) {
    network.Violation("a reset before the send has ended");
  }
  socket->aborted = true;
  socket->in.clear();
  socket->error = ECONNRESET;
  Peer* peer = socket->peer;
  if (peer != nullptr && !peer->reset) {
    if (network.clock_.Now() < socket->acked_at || !peer->inbox.empty() || !peer->script.reads ||
        peer->saw_end) {
      network.OtherReset(*peer);  // what was not acknowledged, or not read, is lost
    } else {
      peer->other_reset = true;
      network.ScheduleRead(*peer);
    }
  }
  ServeRecv(*socket);
}

// What a poll would be told.
void Network::Kernel::ServePolls(Socket& socket) {
  uint32_t mask = 0;
  if (socket.in_end || socket.reset) mask |= POLLRDHUP | POLLIN;
  if (!socket.in.empty()) mask |= POLLIN;
  if (socket.error != 0) mask |= POLLERR;
  if (socket.reset || (socket.in_end && socket.shut)) mask |= POLLHUP;
  for (const auto& weak : std::exchange(socket.polls, {})) {
    const OperationPtr operation = weak.lock();
    if (!operation || operation->terminal) continue;
    const uint32_t told = mask & (operation->events | POLLERR | POLLHUP);
    if (told != 0) {
      Finish(operation, static_cast<int32_t>(told));
    } else {
      socket.polls.push_back(operation);
    }
  }
}

void Network::Kernel::StartShutdown(const OperationPtr& operation) {
  if (!TakeSocket(operation, "a shutdown")) {
    Finish(operation, -EBADF);
    return;
  }
  Socket& socket = *operation->socket;
  if (const auto send = socket.send.lock(); send && !send->terminal) {
    network.Violation("a shutdown before the send has ended");
  }
  if (socket.shut) network.Violation("a second shutdown");
  socket.shut = true;
  network.After(network.Upto(network.faults_.shutdown_delay), [this, operation] {
    if (network.kernel_ == this) RunShutdown(operation);
  });
}

// The kernel does it in a thread of its own, which meets whoever has the slot by then.
void Network::Kernel::RunShutdown(const OperationPtr& operation) {
  ++network.shutdowns_run_;
  const std::shared_ptr<Socket> met = table[operation->slot];
  if (met != operation->socket) {
    network.Violation("a shutdown came too late for its socket, and slot " +
                      std::to_string(operation->slot) +
                      (met ? " was another connection's" : " was empty"));
  }
  operation->socket.reset();
  if (met && met->peer != nullptr && met->error == 0) network.OtherEnded(*met->peer);
  Finish(operation, met ? 0 : -EBADF);
}

// Before a slot gets a socket.
void Network::Kernel::CheckReuse(net::Slot slot) {
  if (slots[slot].shutdowns == 0) return;
  network.Violation("slot " + std::to_string(slot) + " given again while a shutdown is pending");
}

void Network::Kernel::StartCancel(const OperationPtr& cancel) {
  const auto found = pending.find(Key{cancel->tag.target, cancel->tag.op});
  if (found == pending.end() || found->second->terminal) {
    ++stats.silent_errors;
    return;
  }
  const OperationPtr operation = found->second;
  const bool late = network.Chance(network.faults_.cancel_late);
  switch (operation->kind) {
    case Kind::kAccept:
    case Kind::kAcceptOnce:
      Finish(operation, -ECANCELED);
      std::erase(accepting, operation);
      break;
    case Kind::kConnect:
      if (!operation->begun) {
        ++stats.silent_errors;  // the chain is still at its first step
        return;
      }
      Finish(operation, -ECANCELED);
      break;
    case Kind::kRecvMultishot:
    case Kind::kRecv:
      if (late && operation->socket) ServeRecv(*operation->socket);
      if (operation->terminal) return;
      Finish(operation, -ECANCELED,
             operation->kind == Kind::kRecvMultishot ? TakeBufferFlag(operation->group) : 0);
      break;
    case Kind::kSend:
      if (late && operation->socket) ServeSend(*operation->socket);
      if (operation->terminal) return;
      Finish(operation, operation->sent > 0 ? static_cast<int32_t>(operation->sent) : -ECANCELED);
      break;
    case Kind::kPoll:
      Finish(operation, -ECANCELED);
      break;
    default:
      break;
  }
}

void Network::Kernel::StartConnect(const OperationPtr& operation) {
  ++network.connects_;
  const net::ConnectOptions& to = operation->connect;
  if (Copy(to.address, to.address_size) != operation->address ||
      Copy(to.source, to.source_size) != operation->source) {
    network.Violation("an address changed before its connect was submitted");
  }
  if (table[operation->slot]) {
    network.Violation("a connect in slot " + std::to_string(operation->slot) + ", which is in use");
  }
  if (network.Chance(network.faults_.connect_error)) {
    Finish(operation, -network.faults_.connect_errno);
    return;
  }
  CheckReuse(operation->slot);
  operation->socket = std::make_shared<Socket>(network);
  table[operation->slot] = operation->socket;
  connecting.push_back(operation);
}

void Network::Kernel::BeginConnect(const OperationPtr& operation) {
  operation->begun = true;
  Node* node = network.NodeAt(operation->address);
  Answer answer{.kind = Answer::Kind::kRefuses};
  if (node != nullptr) answer = node->answer(node->met++);
  switch (answer.kind) {
    case Answer::Kind::kSilent:
      network.After(kSynTimeout, [this, operation] {
        if (!operation->terminal) Finish(operation, -ETIMEDOUT);
      });
      break;
    case Answer::Kind::kRefuses:
      network.After(answer.after, [this, operation] {
        if (!operation->terminal) Finish(operation, -ECONNREFUSED);
      });
      break;
    case Answer::Kind::kAccepts:
      network.After(answer.after, [this, operation, script = answer.script] {
        if (operation->terminal) return;
        auto peer = std::make_unique<Peer>();
        peer->id = network.next_id_++;
        peer->script = script;
        peer->socket = operation->socket.get();
        operation->socket->peer = peer.get();
        network.peers_.push_back(std::move(peer));
        Finish(operation, 0);
        network.PeerConnected(*network.peers_.back());
      });
      break;
  }
}

// --- The operations that wait -------------------------------------------------------------------

void Network::Kernel::ServeAccept(int fd) {
  Backlog& backlog = network.listeners_[fd];
  while (true) {
    const auto found = std::find_if(accepting.begin(), accepting.end(),
                                    [fd](const OperationPtr& o) { return o->fd == fd; });
    if (found == accepting.end() || backlog.waiting.empty()) return;
    const OperationPtr operation = *found;
    const bool multishot = operation->kind == Kind::kAccept;
    int error = 0;
    if (free_accept.empty()) error = ENFILE;
    if (network.Chance(network.faults_.accept_error)) error = EMFILE;
    if (error == 0 && network.Chance(network.faults_.accept_aborted)) error = ECONNABORTED;
    if (error != 0) {
      accepting.erase(found);
      Finish(operation, -error);
      continue;
    }
    const size_t which = network.random_.Below(static_cast<uint32_t>(free_accept.size()));
    const net::Slot slot = free_accept[which];
    free_accept[which] = free_accept.back();
    free_accept.pop_back();
    CheckReuse(slot);
    owned[slot] = true;
    table[slot] = std::move(backlog.waiting.front());
    backlog.waiting.pop_front();
    if (!multishot) {
      const net::SocketName name = table[slot]->peer->address.ToSocketName();
      operation->name_bytes = Copy(name.get(), name.size());
    }
    const bool more = multishot && !network.Chance(network.faults_.accept_ends);
    if (!more) {
      operation->terminal = true;
      accepting.erase(found);
    }
    Post(operation, static_cast<int32_t>(slot), more ? kMoreFlag : 0);
  }
}

uint32_t Network::Kernel::TakeBufferFlag(uint16_t group) {
  Group& g = groups[group];
  if (g.ready.empty() || !network.Chance(network.faults_.buffer_with_failure)) return 0;
  const uint16_t id = g.ready.front().id;
  g.ready.pop_front();
  g.holder[id] = Holder::kUndelivered;
  return kBufferFlag | static_cast<uint32_t>(id) << 16U;
}

void Network::Kernel::ServeRecv(Socket& socket) {
  ServePolls(socket);
  const OperationPtr operation = socket.recv.lock();
  if (!operation || operation->terminal) return;
  while (ServeRecvOnce(*operation, operation)) {
  }
  if (socket.peer != nullptr && socket.peer->blocked && !socket.in_end) {
    socket.peer->blocked = false;
    Peer* peer = socket.peer;
    network.After({}, [this, peer] { network.PeerWrites(*peer); });
  }
}

// True when there may be more to do.
bool Network::Kernel::ServeRecvOnce(Operation& operation, const OperationPtr& shared) {
  Socket& socket = *operation.socket;
  if (operation.terminal || operation.undelivered >= kBurst) return false;
  const bool data = !socket.in.empty();
  if (!data && socket.error == 0 && !socket.in_end) return false;
  if (!data && operation.deaf) return false;
  const bool multishot = operation.kind == Kind::kRecvMultishot;
  Group* group = multishot ? &groups[operation.group] : nullptr;
  // The kernel chooses the buffer before it looks what there is.
  if (multishot && group->ready.empty()) {
    ++network.buffers_failed_;
    Finish(shared, -ENOBUFS);
    return false;
  }
  if (!data) {
    int32_t result = 0;
    if (socket.error != 0) {
      result = -socket.error;
      socket.in_end = true;  // told once, then it is an end
      socket.error = 0;
    }
    Finish(shared, result, multishot ? TakeBufferFlag(operation.group) : 0);
    return false;
  }
  const size_t room = multishot ? group->ready.front().size : operation.into.size();
  size_t count = std::min(room, socket.in.size());
  if (network.Chance(network.faults_.short_read)) {
    count = 1 + network.random_.Below(static_cast<uint32_t>(count));
  }
  uint8_t* to = multishot ? group->ready.front().data : operation.into.data();
  std::memcpy(to, socket.in.data(), count);
  socket.in.erase(socket.in.begin(), socket.in.begin() + static_cast<ptrdiff_t>(count));
  if (!multishot) {
    Finish(shared, static_cast<int32_t>(count));
    return false;
  }
  const uint16_t id = group->ready.front().id;
  group->ready.pop_front();
  group->holder[id] = Holder::kUndelivered;
  const bool more = !network.Chance(network.faults_.recv_ends);
  if (!more) operation.terminal = true;
  Post(shared, static_cast<int32_t>(count),
       kBufferFlag | (more ? kMoreFlag : 0) | static_cast<uint32_t>(id) << 16U);
  return more;
}

void Network::Kernel::ServeSend(Socket& socket) {
  const OperationPtr operation = socket.send.lock();
  if (!operation || operation->terminal) return;
  if (Checksum(operation->data) != operation->checksum) {
    network.Violation("a buffer changed while it was being sent");
  }
  auto result = [&] { return static_cast<int32_t>(operation->sent); };
  if (operation->sent == 0 && network.Chance(network.faults_.send_error)) {
    Finish(operation, -network.faults_.send_errno);
    return;
  }
  if (socket.error != 0 || socket.reset || socket.aborted || socket.peer == nullptr) {
    if (socket.error != 0) socket.in_end = true;
    socket.error = 0;  // told now: a receive sees an end
    Finish(operation, operation->sent > 0 ? result() : -EPIPE);
    return;
  }
  Peer& peer = *socket.peer;
  if (peer.reset) {  // closed: the first bytes bring the reset
    operation->sent = SizeOf(operation->data);
    socket.error = ECONNRESET;
    socket.reset = true;
    Finish(operation, result());
    ServeRecv(socket);
    return;
  }
  const size_t room = peer.script.window - std::min<size_t>(peer.script.window, peer.inbox.size());
  const size_t all = SizeOf(operation->data);
  const size_t count = std::min(room, all - operation->sent);
  AppendPart(operation->data, operation->sent, count, &peer.inbox);
  operation->sent += count;
  if (count > 0) network.ScheduleRead(peer);
  if (count > 0) {
    socket.acked_at = network.clock_.Now() + network.Upto(network.faults_.ack_delay);
  }
  if (operation->sent == all || (count > 0 && network.Chance(network.faults_.short_send))) {
    Finish(operation, result());
  }
}

// One call of the ring's Wait().
void Network::Kernel::Turn(net::Duration timeout) {
  Submit();
  std::vector<OperationPtr> begun;
  begun.swap(connecting);
  for (const OperationPtr& operation : begun) BeginConnect(operation);
  network.clock_.Advance(kTurnTime);
  network.Advance(network.clock_.Now() + std::max(timeout, net::Duration::zero()));
}

void Network::Kernel::Free(net::Slot slot, std::vector<net::Slot>& free_slots) {
  Queue({.kind = Kind::kClose, .slot = slot});
  if (slot >= options.accept_slots) free_slots.push_back(slot);
}

void Network::Kernel::ShutdownDone(net::Slot slot, std::vector<net::Slot>& free_slots) {
  SlotState& state = slots[slot];
  --state.shutdowns;
  if (state.shutdowns > 0 || !state.close_after) return;
  state.close_after = false;
  ++network.closes_waited_;
  Free(slot, free_slots);
}

// --- Completion ---------------------------------------------------------------------------------

void Network::Kernel::Post(const OperationPtr& operation, int32_t result, uint32_t flags) {
  ++operation->undelivered;
  const net::Time now = network.clock_.Now();
  net::Time when = now;
  if (network.Chance(network.faults_.delayed)) {
    when += network.Upto(network.faults_.completion_delay);
  }
  when = std::max(when, operation->last);  // those of one operation keep their order
  operation->last = when;
  Arrived arrival{operation, {result, flags}};
  if (when == now && operation->on_their_way == 0) {
    arrived.push_back(std::move(arrival));
    return;
  }
  ++operation->on_their_way;
  network.After(when - now, [this, arrival = std::move(arrival)]() mutable {
    --arrival.operation->on_their_way;
    arrived.push_back(std::move(arrival));
  });
}

void Network::Kernel::CheckBeforeDelivery(Operation& operation, const net::Completion& completion) {
  if (operation.kind == Kind::kSend && Checksum(operation.data) != operation.checksum) {
    network.Violation("a buffer changed before its send came back");
  }
  if (operation.kind == Kind::kPeerName && completion.result > 0) {
    std::memcpy(operation.name, operation.name_bytes.data(), operation.name_bytes.size());
  }
  if (operation.kind == Kind::kAcceptOnce && completion.result >= 0) {
    std::memcpy(operation.name, operation.name_bytes.data(), operation.name_bytes.size());
    *operation.name_size = static_cast<socklen_t>(operation.name_bytes.size());
  }
  if (completion.has_buffer()) groups[operation.group].holder[completion.buffer()] = Holder::kUser;
}

void Network::Kernel::Deliver(Arrived& arrival) {
  const OperationPtr operation = std::move(arrival.operation);
  --operation->undelivered;
  CheckBeforeDelivery(*operation, arrival.completion);
  if (!arrival.completion.more()) {
    pending.erase(Key{operation->tag.target, operation->tag.op});
    operation->socket.reset();
  }
  operation->tag.target->OnCompletion(operation->tag.op, arrival.completion);
  if (operation->socket && operation->kind == Kind::kRecvMultishot) {
    ServeRecv(*operation->socket);
  }
}

// --- The network --------------------------------------------------------------------------------

uint8_t Peer::Content(uint64_t id, uint64_t offset) {
  if (offset < 8) return static_cast<uint8_t>(id >> (8 * offset));
  const uint64_t word = net::FastRandom::Mix(id * 0x9e3779b97f4a7c15U + offset / 8);
  return static_cast<uint8_t>(word >> (8 * (offset % 8)));
}

Network::Network(uint64_t seed, const Faults& faults) : random_(seed), faults_(faults) {
  CHECK(g_network == nullptr);
  g_network = this;
}

Network::~Network() {
  // Sockets that events and queues hold know their peers, which go last.
  auto events = std::exchange(events_, {});
  events = {};
  for (auto& [fd, backlog] : listeners_) backlog.waiting.clear();
  g_network = nullptr;
}

bool Network::Chance(double probability) { return probability > 0 && random_.Unit() < probability; }

net::Duration Network::Upto(net::Duration most) {
  return net::Duration(static_cast<int64_t>(random_.Unit() * static_cast<double>(most.count())));
}

void Network::Violation(std::string what) {
  if (violations_.size() < 20) violations_.push_back(std::move(what));
}

void Network::After(net::Duration delay, std::function<void()> action) {
  events_.push({clock_.Now() + delay, next_order_++, std::move(action)});
}

void Network::Advance(net::Time until) {
  auto run_due = [this] {
    while (!events_.empty() && events_.top().when <= clock_.Now()) {
      auto action = std::move(const_cast<Event&>(events_.top()).action);
      events_.pop();
      action();
    }
  };
  run_due();
  while (kernel_->arrived.empty() && !events_.empty() && events_.top().when <= until) {
    clock_.Set(events_.top().when);
    run_due();
  }
  if (kernel_->arrived.empty()) clock_.Set(std::max(clock_.Now(), until));
}

int Network::Listen() {
  // A real socket, for whoever asks it for its family; nothing ever comes through it.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  listeners_[fd] = {};
  return fd;
}

Peer& Network::Dial(int listener, const net::Address& from, const Script& script,
                    net::Duration after) {
  auto made = std::make_unique<Peer>();
  Peer& peer = *made;
  peer.id = next_id_++;
  peer.address = from;
  peer.script = script;
  peer.client = true;
  peers_.push_back(std::move(made));
  After(after, [this, &peer, listener] {
    auto socket = std::make_shared<Socket>(*this);
    socket->peer = &peer;
    peer.socket = socket.get();
    listeners_[listener].waiting.push_back(std::move(socket));
    PeerConnected(peer);
    if (kernel_ != nullptr) kernel_->ServeAccept(listener);
  });
  return peer;
}

void Network::AddNode(const net::SocketName& where, std::function<Answer(uint32_t)> answer) {
  nodes_.push_back({Copy(where.get(), where.size()), std::move(answer)});
}

void Network::RemoveNode(const net::SocketName& where) {
  std::erase_if(nodes_, [address = Copy(where.get(), where.size())](const Node& node) {
    return node.where == address;
  });
}

Network::Node* Network::NodeAt(const std::vector<uint8_t>& where) {
  for (Node& node : nodes_) {
    if (node.where == where) return &node;
  }
  return nullptr;
}

// --- Peers --------------------------------------------------------------------------------------

void Network::PeerConnected(Peer& peer) {
  peer.connected = true;
  if (peer.script.reset_after > net::Duration::zero()) {
    After(peer.script.reset_after, [this, &peer] { Reset(peer); });
  }
  if (peer.script.speaks == Script::Speaks::kAtOnce) {
    peer.speaking = true;
    After(Upto(peer.script.gap_max), [this, &peer] { PeerWrites(peer); });
  }
}

void Network::PeerWrites(Peer& peer) {
  if (peer.reset || peer.saw_reset || peer.ended || peer.other_reset) return;
  if (peer.socket == nullptr) {
    // Closed by us: what it writes meets a reset.
    if (peer.written < peer.script.bytes) OtherReset(peer);
    if (!peer.saw_reset) PeerEnds(peer);
    return;
  }
  Socket& socket = *peer.socket;
  const uint64_t all = peer.script.preface.size() + peer.script.bytes;
  const uint64_t done = peer.preface_written + peer.written;
  const size_t room = peer.script.window - std::min<size_t>(peer.script.window, socket.in.size());
  if (done < all && room == 0) {
    peer.blocked = true;
    return;
  }
  uint64_t count = std::min<uint64_t>({all - done, room, 1 + random_.Below(peer.script.chunk_max)});
  for (; count > 0; --count) {
    if (peer.preface_written < peer.script.preface.size()) {
      socket.in.push_back(peer.script.preface[peer.preface_written++]);
    } else {
      socket.in.push_back(Peer::Content(peer.id, peer.written++));
    }
  }
  if (kernel_ != nullptr) kernel_->ServeRecv(socket);
  if (peer.preface_written + peer.written < all) {
    After(Upto(peer.script.gap_max), [this, &peer] { PeerWrites(peer); });
  } else {
    After(peer.script.end_after, [this, &peer] { PeerEnds(peer); });
  }
}

void Network::PeerEnds(Peer& peer) {
  if (peer.ended || peer.reset || peer.saw_reset) return;
  switch (peer.script.ends) {
    case Script::Ends::kHold:
      if (!peer.saw_end) return;
      [[fallthrough]];
    case Script::Ends::kHalfClose:
      peer.ended = true;
      if (peer.socket == nullptr) return;
      peer.socket->in_end = true;
      if (kernel_ != nullptr) kernel_->ServeRecv(*peer.socket);
      return;
    case Script::Ends::kClose:
      if (!peer.inbox.empty()) {
        Reset(peer);
        return;
      }
      peer.reset = true;
      peer.ended = true;
      if (peer.socket == nullptr) return;
      peer.socket->in_end = true;
      if (kernel_ != nullptr) {
        kernel_->ServeRecv(*peer.socket);
        if (peer.socket != nullptr) kernel_->ServeSend(*peer.socket);
      }
      return;
    case Script::Ends::kReset:
      Reset(peer);
      return;
  }
}

void Network::Reset(Peer& peer) {
  if (peer.reset || peer.saw_reset || (peer.ended && peer.saw_end)) return;
  peer.reset = true;
  peer.inbox.clear();
  if (peer.socket == nullptr) return;
  Socket& socket = *peer.socket;
  socket.error = ECONNRESET;
  socket.reset = true;
  if (Chance(faults_.reset_loses)) socket.in.clear();
  if (kernel_ == nullptr) return;
  kernel_->ServeSend(socket);
  if (peer.socket != nullptr) kernel_->ServeRecv(*peer.socket);
}

void Network::ScheduleRead(Peer& peer) {
  if (peer.read_scheduled || !peer.script.reads || peer.reset || peer.saw_reset) return;
  peer.read_scheduled = true;
  After(Upto(peer.script.read_gap_max), [this, &peer] {
    peer.read_scheduled = false;
    PeerReads(peer);
  });
}

void Network::PeerReads(Peer& peer) {
  if (peer.reset || peer.saw_reset || peer.saw_end) return;
  const size_t count = std::min<size_t>(peer.inbox.size(), 1 + random_.Below(peer.script.read_max));
  peer.received.insert(peer.received.end(), peer.inbox.begin(),
                       peer.inbox.begin() + static_cast<ptrdiff_t>(count));
  peer.inbox.erase(peer.inbox.begin(), peer.inbox.begin() + static_cast<ptrdiff_t>(count));
  if (count > 0 && peer.socket != nullptr && kernel_ != nullptr) kernel_->ServeSend(*peer.socket);
  if (peer.inbox.empty() && peer.other_reset) {
    OtherReset(peer);
    return;
  }
  const bool end = peer.inbox.empty() && peer.other_ended;
  if (end) {
    peer.saw_end = true;
    peer.saw_end_at = clock_.Now();
  } else if (!peer.inbox.empty()) {
    ScheduleRead(peer);
  }
  const bool speak = !peer.speaking &&
                     (end || (count > 0 && peer.script.speaks == Script::Speaks::kAfterFirstByte));
  if (speak) {
    peer.speaking = true;
    After(Upto(peer.script.gap_max), [this, &peer] { PeerWrites(peer); });
  } else if (end && peer.script.ends == Script::Ends::kHold) {
    After({}, [this, &peer] { PeerWrites(peer); });
  }
}

// What we sent is all there was.
void Network::OtherEnded(Peer& peer) {
  if (peer.reset) return;
  // Writes that wait for room meet a closed socket.
  if (peer.socket == nullptr && peer.blocked) {
    peer.blocked = false;
    After({}, [this, &peer] { PeerWrites(peer); });
  }
  if (peer.other_ended) return;
  peer.other_ended = true;
  ScheduleRead(peer);
}

void Network::OtherReset(Peer& peer) {
  if (peer.reset || (peer.ended && peer.saw_end)) return;
  peer.saw_reset = true;
  peer.saw_reset_at = clock_.Now();
  peer.inbox.clear();
}

uint32_t Network::sockets_in_use() const {
  return static_cast<uint32_t>(std::count_if(kernel_->table.begin(), kernel_->table.end(),
                                             [](const auto& socket) { return socket != nullptr; }));
}

uint32_t Network::operations_pending() const {
  uint32_t count = 0;
  for (const auto& [key, operation] : kernel_->pending) {
    if (operation->kind != Kind::kPollFd) ++count;
  }
  return count;
}

uint32_t Network::buffers_with_kernel(uint16_t group) const {
  const auto found = kernel_->groups.find(group);
  return found == kernel_->groups.end() ? 0 : static_cast<uint32_t>(found->second.ready.size());
}

}  // namespace sim

// --- net::Ring
// ------------------------------------------------------------------------------------

namespace net {

struct Ring::Impl {
  Impl(sim::Network& network, const RingOptions& options, RingStats& stats)
      : kernel(network, options, stats) {}
  sim::Network::Kernel kernel;
};

namespace {
using sim::Kind;
}  // namespace

Ring::Ring(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ring::~Ring() = default;

std::expected<std::unique_ptr<Ring>, std::string> Ring::Create(const RingOptions& options) {
  CHECK(sim::g_network != nullptr);
  std::unique_ptr<Ring> ring(new Ring(nullptr));
  ring->impl_ = std::make_unique<Impl>(*sim::g_network, options, ring->stats_);
  for (uint32_t i = options.outgoing_slots; i > 0; --i) {
    ring->free_slots_.push_back(options.accept_slots + i - 1);
  }
  ring->features_.socket_options = sim::g_network->faults().socket_options;
  ring->features_.bind = ring->features_.socket_options;
  return ring;
}

Slot Ring::AllocateSlot() {
  if (free_slots_.empty()) return kNoSlot;
  const Slot slot = free_slots_.back();
  free_slots_.pop_back();
  impl_->kernel.owned[slot] = true;
  return slot;
}

void Ring::AcceptMultishot(int listener, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kAccept, .tag = tag, .fd = listener});
}

void Ring::AcceptOnce(int listener, sockaddr* peer, socklen_t* peer_size, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kAcceptOnce,
                       .tag = tag,
                       .fd = listener,
                       .name = peer,
                       .name_size = peer_size});
}

void Ring::Connect(Slot slot, const ConnectOptions& options, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kConnect,
                       .tag = tag,
                       .slot = slot,
                       .connect = options,
                       .address = sim::Copy(options.address, options.address_size),
                       .source = sim::Copy(options.source, options.source_size)});
}

void Ring::PeerName(Slot slot, void* peer, int32_t, Tag tag) {
  CHECK(features_.socket_options);
  impl_->kernel.Queue({.kind = Kind::kPeerName, .tag = tag, .slot = slot, .name = peer});
}

void Ring::SetOption(Slot slot, int, int, const int* value) {
  CHECK(features_.socket_options);
  impl_->kernel.Queue({.kind = Kind::kSetOption, .slot = slot, .value = value});
}

void Ring::RecvMultishot(Slot slot, uint16_t group, bool expect_data, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kRecvMultishot,
                       .tag = tag,
                       .slot = slot,
                       .group = group,
                       .expect_data = expect_data});
}

void Ring::Recv(Slot slot, std::span<uint8_t> into, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kRecv, .tag = tag, .slot = slot, .into = into});
}

void Ring::Send(Slot slot, std::span<const uint8_t> data, Tag tag) {
  CHECK(!data.empty());
  impl_->kernel.Queue({.kind = Kind::kSend,
                       .tag = tag,
                       .slot = slot,
                       .data = {data},
                       .checksum = sim::Checksum({data})});
}

// Told at a time that the seed chooses, as all are.
void Ring::SendQuietly(Slot slot, std::span<const uint8_t> data, Tag tag) { Send(slot, data, tag); }
void Ring::Hurry() {}

void Ring::SendParts(Slot slot, const msghdr* parts, Tag tag) {
  sim::Parts list;
  for (size_t i = 0; i < parts->msg_iovlen; ++i) {
    const iovec& one = parts->msg_iov[i];
    CHECK(one.iov_len > 0);
    list.emplace_back(static_cast<const uint8_t*>(one.iov_base), one.iov_len);
  }
  CHECK(!list.empty());
  const uint64_t checksum = sim::Checksum(list);
  impl_->kernel.Queue({.kind = Kind::kSend,
                       .tag = tag,
                       .slot = slot,
                       .data = std::move(list),
                       .checksum = checksum});
}

void Ring::Shutdown(Slot slot, int) {
  ++impl_->kernel.slots[slot].shutdowns;
  impl_->kernel.Queue({.kind = Kind::kShutdown, .slot = slot});
}

void Ring::Poll(Slot slot, uint32_t events, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kPoll, .tag = tag, .slot = slot, .events = events});
}

void Ring::Reset(Slot slot) {
  impl_->kernel.Queue({.kind = Kind::kReset, .slot = slot});
  Close(slot);
}

void Ring::Unsent(Slot slot, Tag tag) {
  CHECK(features_.socket_options);
  impl_->kernel.Queue({.kind = Kind::kUnsent, .tag = tag, .slot = slot});
}

void Ring::InstallFd(Slot, Tag) { CHECK(false && "no plain descriptors here"); }

void Ring::Close(Slot slot) {
  sim::Network::Kernel& kernel = impl_->kernel;
  if (slot >= kernel.owned.size() || !kernel.owned[slot]) {
    kernel.network.Violation("slot " + std::to_string(slot) + " closed twice");
    return;
  }
  for (const auto& [key, operation] : kernel.pending) {
    if (operation->kind == Kind::kConnect && operation->slot == slot) {
      kernel.network.Violation("a slot closed while its connect runs");
    }
  }
  kernel.owned[slot] = false;
  sim::Network::Kernel::SlotState& state = kernel.slots[slot];
  if (state.shutdowns > 0) {
    state.close_after = true;
  } else {
    kernel.Free(slot, free_slots_);
  }
}

void Ring::PollFd(int fd, uint32_t, Tag tag) {
  impl_->kernel.Queue({.kind = Kind::kPollFd, .tag = tag, .fd = fd});
}

void Ring::PollFdOnce(int fd, uint32_t events, Tag tag) { PollFd(fd, events, tag); }

void Ring::Cancel(Tag tag) { impl_->kernel.Queue({.kind = Kind::kCancel, .tag = tag}); }

std::expected<void, std::string> Ring::RegisterBuffers(uint16_t group, uint32_t count) {
  sim::Network::Kernel::Group& g = impl_->kernel.groups[group];
  g.count = count;
  g.holder.assign(size_t{1} << 16, sim::Network::Kernel::Holder::kUser);  // ids are the caller's
  return {};
}

void Ring::UnregisterBuffers(uint16_t group) { impl_->kernel.groups.erase(group); }

void Ring::ProvideBuffer(uint16_t group, uint8_t* data, uint32_t size, uint16_t id) {
  using Holder = sim::Network::Kernel::Holder;
  sim::Network::Kernel::Group& g = impl_->kernel.groups[group];
  if (g.holder[id] != Holder::kUser) {
    impl_->kernel.network.Violation("buffer " + std::to_string(id) + " provided twice");
    return;
  }
  if (g.pending.size() + g.ready.size() == g.count) {
    impl_->kernel.network.Violation("more buffers in a ring than it has room for");
    return;
  }
  g.holder[id] = Holder::kRing;
  // Who still reads it will notice.
  std::memset(data, sim::kPoison, size);
  g.pending.push_back({data, size, id});
}

void Ring::PublishBuffers(uint16_t group) {
  sim::Network::Kernel::Group& g = impl_->kernel.groups[group];
  g.ready.insert(g.ready.end(), g.pending.begin(), g.pending.end());
  g.pending.clear();
}

void Ring::Wait(Duration timeout, Duration) {
  ++stats_.enters;
  impl_->kernel.Turn(timeout);
}

Delivered Ring::Deliver() {
  sim::Network::Kernel& kernel = impl_->kernel;
  const size_t ready = std::min<size_t>(kernel.arrived.size(), kernel.options.completion_entries);
  for (size_t i = 0; i < ready; ++i) {
    auto arrival = std::move(kernel.arrived.front());
    kernel.arrived.pop_front();
    if (arrival.operation->kind == sim::Kind::kShutdown) {
      kernel.ShutdownDone(arrival.operation->slot, free_slots_);
    } else {
      kernel.Deliver(arrival);
    }
  }
  stats_.completions += ready;
  return {.completions = static_cast<unsigned>(ready), .alone = static_cast<unsigned>(ready)};
}

}  // namespace net
