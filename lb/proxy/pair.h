// One proxied connection: the client's socket, the node's, and the bytes on their way between them.
//
//   accept → [kNaming] → [kHeader] → [kHello | kOpening → kHandshake | kHandshake] → [kQueued] →
//   kConnecting ⇄ kRetryWait → [kSecuring] → kOpen → [kLastWords] → kClosing → gone
//
// What a side has said is passed on before its end is, and its end as what it was: an orderly end
// as one, a reset as a reset. So a side whose socket failed is read to its end first, within
// fin_timeout (ends.cc).
//
// A Pair belongs to one worker and one thread. It is the Target of all its operations: the number
// of an operation says what it was, a bit in in_flight_ says that it has not come back. A Pair is
// freed when it is closing and no bit is left; buffers and slots go back to their owners no
// earlier.
//
// Direction d carries bytes from side d to side 1 - d; side 0 is the client, side 1 the node.
//
// An idle connection is these 128 bytes and nothing else: buffers belong to the pool and are lent
// to bytes in flight, timers are a link in the worker's wheel, and what few connections need for a
// while (a PROXY header, a splice, TLS) stands in a slab of its own, found by extra_.
#pragma once

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lb/balance/balancer.h"
#include "lb/proxy/runtime.h"
#include "lb/proxy/short_ms.h"
#include "net/base/address.h"
#include "net/io/buffer_pool.h"
#include "net/io/ring.h"
#include "net/io/timer_wheel.h"
#include "net/tls/tls_engine.h"

namespace lb {

class ProxyWorker;
struct Bulk;
struct Fed;
struct Tls;

// Why a connection ended, as the access log and the metrics name it.
enum class EndReason : uint8_t {
  kNone,
  kClientClosed,   // the client ended first, in good order
  kNodeClosed,     // the node did
  kClientReset,    // the client's socket failed
  kNodeReset,      // the node's did
  kIdle,           // idle_timeout
  kFinTimeout,     // one side had closed, the other did not within fin_timeout
  kConnectFailed,  // no node took the connection
  kConnectTimeout,
  kQueueTimeout,
  kQueueFull,
  kNoNode,   // no node was up
  kLimited,  // a limit of the listener or of the source address
  kProxyHeaderBad,
  kProxyHeaderTimeout,
  kShut,                 // by an operator
  kDrained,              // the deadline of a drain or of the process's end
  kExhausted,            // no slot or memory of ours was left
  kTlsHandshakeFailed,   // the client's
  kTlsHandshakeTimeout,  // or what comes before it
  kStartTlsRefused,      // the client's stream opening was not acceptable
  kNotTls,               // the client spoke something else
  kTlsError,             // after the handshake: a record that was not genuine, or an alert
  kNodeTlsFailed,        // the node did not come to TLS with us
  kClientTruncated,      // as kClientClosed, but its TLS did not say good-bye (RFC 8446, 6.1)
  kNodeTruncated,
  kMaxAge,
  kClientIdle,  // client_idle_timeout
  kNodeIdle,    // node_idle_timeout
  kNodeDown,    // its node was marked down, and the pool has on_down = "close"
};
inline constexpr size_t kEndReasons = static_cast<size_t>(EndReason::kNodeDown) + 1;
std::string_view EndReasonName(EndReason reason);

class alignas(128) Pair final : public net::Target {
 public:
  // More connections than these bits count do not begin within a millisecond.
  static constexpr unsigned kBirthBits = 22;

  enum class State : uint8_t {
    kNaming,      // waits for the client's address
    kHeader,      // waits for the client's PROXY header
    kHello,       // waits for the client's ClientHello, to pass it on
    kOpening,     // answers the client's stream until it wants TLS
    kHandshake,   // the client's
    kQueued,      // waits for a node that is not full
    kConnecting,  // to node_
    kRetryWait,   // before the same node is tried again
    kSecuring,    // the node's TLS handshake, and STARTTLS before it
    kOpen,
    kLastWords,  // an alert or a stream error is on its way to the client
    kClosing,    // waits for its operations to come back
  };

  Pair(ProxyWorker& worker, uint16_t listener, uint16_t pool, net::Slot client);

  // Begins its life; `peer` is null where the client's address must still be asked for;
  // then `name_bytes` is the exact size of a socket address there (0: it has none). May free
  // the Pair.
  void Start(const net::Address* peer, int32_t name_bytes);
  // Counted in its listener already. Before Start().
  void HoldsPlace() { Set(kCounted); }
  // Its pool's timeouts are others now.
  void OnTimesChanged();
  // Its listener has another table of sources (null: none) from now on.
  void OnSourceLimits(net::SourceLimits* limits);
  // The wheel came up. May free the Pair.
  void OnDue();
  // A node of its pool may have room again; false when none has. Else it leaves the queue, and may
  // be freed.
  bool OnDequeued();
  // A buffer came back after this Pair had found none.
  void OnBuffersAvailable();
  // Its turn for work on the client's handshake. May free the Pair.
  void OnHandshakeWork();
  // A place among the handshakes may be free; false when none is.
  bool OnHandshakePlace();
  // Ends it for this reason, at once. May free the Pair.
  void End(EndReason reason);

  void OnCompletion(unsigned op, net::Completion completion) override;

  // The operations that have not come back, for whoever waits for its end.
  std::string Waiting() const;

  State state() const { return state_; }
  const Node* node() const { return node_; }
  const net::Address& client() const { return client_; }
  uint16_t listener() const { return listener_; }
  uint16_t pool() const { return pool_; }
  uint64_t bytes(unsigned direction) const { return bytes_[direction]; }
  uint64_t started_ms() const { return born_ >> kBirthBits; }  // wall clock
  // Unlike any other's of its worker.
  uint64_t birth() const { return born_; }
  // Since its last byte, or change of state.
  uint64_t idle_ms() const { return Since(active_); }
  // Now, as idle_ms() counts from it: once open, connections last longer than milliseconds do in 32
  // bits.
  uint32_t Moment() const;
  uint64_t connect_ms() const { return connect_time_.ms(); }
  uint64_t queue_ms() const { return queue_time_.ms(); }
  uint32_t retries() const { return retries_; }
  EndReason end_reason() const { return end_; }
  int error() const { return error_; }  // the errno that began the end; 0 for none
  bool queued_as(uint64_t started_ms) const {
    return state_ == State::kQueued && this->started_ms() == started_ms;
  }
  bool starved_as(uint64_t started_ms) const {
    return state_ != State::kClosing && this->started_ms() == started_ms &&
           (Has(kStarved, 0) || Has(kStarved, 1));
  }
  bool handshakes_as(uint64_t started_ms) const {
    return state_ == State::kHandshake && this->started_ms() == started_ms;
  }
  // Waits since then for its client to go on with the handshake.
  bool silent_as(uint64_t started_ms, uint32_t since_ms) const;
  bool holds_handshake_place() const;
  bool counted() const { return Has(kCounted); }
  bool sourced() const { return Has(kSourced); }
  net::WheelNode& wheel_node() { return wheel_; }

 private:
  friend class PairTest;

  enum Op : unsigned {
    kRecv = 0,     // + direction
    kSend = 2,     // + direction
    kPollIn = 4,   // + direction
    kPollOut = 6,  // + direction
    kInstall = 8,  // + side
    kConnect = 10,
    kName = 11,
    kHeaderOut = 12,
    kLocal = 13,  // the client's view of us; later what is unsent, when a reset is to be passed on
    kWatch = 14,  // + side
    kOps = 16
  };

  // Bits of flags_; those of direction 1 stand eight higher.
  enum Flag : uint16_t {
    kEof = 1U << 0U,       // the source has sent its last byte
    kShut = 1U << 1U,      // and the sink was told so
    kPaused = 1U << 2U,    // not receiving: too much waits to be sent
    kStarved = 1U << 3U,   // not receiving: the pool was empty
    kBulk = 1U << 4U,      // turning to splice, or there
    kCounted = 1U << 5U,   // (direction 0 only) counted in the listener
    kSourced = 1U << 6U,   // (direction 0 only) counted at its source address
    kTimers = 1U << 7U,    // (direction 0 only) the node's socket has its TCP timers
    kTls = 1U << 5U,       // (direction 1 only) extra_ is a Tls
    kNoName = 1U << 7U,    // (direction 1 only) our PROXY header waits for the client's address
    kNodeLast = 1U << 6U,  // (direction 1 only) active_ is the node's (ProxyWorker::QuietAt)
  };

  // Bits of sides_; those of side 1 stand four higher.
  enum SideFlag : uint8_t {
    kLost = 1U << 0U,     // its socket failed: nothing reaches it, and what it said is passed on
    kEndSeen = 1U << 1U,  // it has ended, behind bytes that are not received yet
    kUnsure = 1U << 2U,   // a reset of it may have gone unnoticed: it will be looked at
    kAsked = 1U << 3U,    // (side 0 only) kLocal asks what is unsent to the side that is left
    kQuiet = 1U << 3U,    // (side 1 only) nothing had been said for a while when a side was lost
  };

  // Received and not yet sent: a chain of buffers.
  struct Chain {
    uint16_t head = net::kNoBuffer;
    uint16_t tail = net::kNoBuffer;
    uint16_t offset = 0;  // into the head
    uint16_t count = 0;
  };

  bool Has(Flag flag, unsigned direction = 0) const {
    return (flags_ >> (8 * direction) & flag) != 0;
  }
  void Set(Flag flag, unsigned direction = 0) {
    flags_ = static_cast<uint16_t>(flags_ | flag << (8 * direction));
  }
  void Clear(Flag flag, unsigned direction = 0) {
    flags_ = static_cast<uint16_t>(flags_ & ~(flag << (8 * direction)));
  }
  bool SideHas(SideFlag flag, unsigned side) const { return (sides_ >> (4 * side) & flag) != 0; }
  void SetSide(SideFlag flag, unsigned side) {
    sides_ = static_cast<uint8_t>(sides_ | flag << (4 * side));
  }
  void ClearSide(SideFlag flag, unsigned side) {
    sides_ = static_cast<uint8_t>(sides_ & ~(flag << (4 * side)));
  }
  bool AnyLost() const { return SideHas(kLost, 0) || SideHas(kLost, 1); }
  // Nobody is there any more whom this direction's bytes could reach.
  bool Vain(unsigned direction) const { return SideHas(kLost, 1 - direction); }
  bool InFlight(unsigned op) const { return (in_flight_ >> op & 1U) != 0; }
  net::Tag Begin(unsigned op) {
    DCHECK(!InFlight(op));
    in_flight_ = static_cast<uint16_t>(in_flight_ | 1U << op);
    return {this, op};
  }
  void Done(unsigned op) { in_flight_ = static_cast<uint16_t>(in_flight_ & ~(1U << op)); }

  // pair.cc: its life.
  void Enter(State to);
  bool NeedsNameFirst() const;
  void OnNamed(int32_t result);
  void Admit();
  void AdmitSource();
  bool Denied(const ListenerSettings& listener) const;
  PickResult PickNode();
  void Choose();
  void Place(const PickResult& picked);
  void OnDueOpen();
  void ConnectTo(Node& node);
  void OnConnect(int32_t result);
  void ConnectFailed(EndReason reason);
  void Open();
  void SetNodeTimers();
  void Schedule(net::Duration from_now);
  void ScheduleBy(net::Duration from_now);  // unless it comes up sooner anyway
  void Retry(EndReason reason, int error);
  uint64_t Since(uint32_t moment) const;  // milliseconds
  // Bytes of that side moved. Once a side is lost the time of that stands: what is left is bounded
  // by it.
  void Touch(unsigned direction);
  void TouchSide(unsigned side);
  uint64_t SilentMs(unsigned side) const;  // since its last byte
  bool EndIfSilent(unsigned side, net::Duration limit, EndReason reason, net::Duration* next);

  // ends.cc: how a side ends, and the Pair.
  void Unsure(unsigned side);
  void LookAtSides();
  void OnWatched(unsigned side, int32_t result);
  void Lose(unsigned side, int32_t error);
  bool MarkLost(unsigned side, int32_t error);
  void DropWay(unsigned direction);
  void FinishDirection(unsigned direction, bool truncated = false);
  void PassOnReset(unsigned side);
  void OnUnsent(int32_t result);
  void CloseSide(unsigned side);
  bool OnDueLost();
  bool Ending() const;
  net::Duration AgeLimit() const;
  void NoteError(unsigned side, int32_t error);
  void JudgeNode();
  void ReleaseNode();
  void CancelAll();
  void FreeIfJoined();

  // relay.cc: the bytes.
  void ArmRecv(unsigned direction);
  void OnRecv(unsigned direction, net::Completion completion);
  void OnBytes(unsigned direction, uint16_t buffer, uint32_t bytes);
  void OnSend(unsigned direction, int32_t result);
  void StartSend(unsigned direction);
  void MaybeSend(unsigned direction);
  void Append(unsigned direction, uint16_t buffer);
  void DropHead(unsigned direction);
  void DropChain(unsigned direction);
  void Pause(unsigned direction);
  void MaybeResume(unsigned direction);
  uint32_t BuffersAllowed(unsigned direction) const;
  bool ReceivesLarge(unsigned direction) const;
  static EndReason SideFailed(unsigned side) {
    return side == 0 ? EndReason::kClientReset : EndReason::kNodeReset;
  }
  void EndForLack(int error);

  // tls_relay.cc: the bytes, with TLS on one side or both.
  Tls& TlsOf();
  void OnTlsBytes(unsigned direction, uint16_t buffer, uint32_t bytes);
  void ChooseSize(unsigned direction, uint32_t bytes);
  void ReceiveLarge(unsigned direction, bool large);
  void OnTlsEof(unsigned direction);
  void OnTlsSend(unsigned direction, int32_t result);
  void TlsMove(unsigned direction);
  void TlsSeal(unsigned direction, std::span<const std::span<const uint8_t>> parts);
  void TlsFinish(unsigned direction);
  void TlsDrop(unsigned direction);
  void TlsEndFailed();
  size_t TlsParts(unsigned direction, std::span<std::span<const uint8_t>> parts);
  size_t ChainParts(unsigned direction, std::span<std::span<const uint8_t>> parts);
  void TlsConsume(unsigned direction, size_t bytes);
  net::TlsFeed TlsFeedHead(unsigned direction);
  void DropFed(unsigned direction);
  void TlsFlush(unsigned side);
  bool SendWords(unsigned side, std::string_view words);
  void SendOut(unsigned side);
  void GiveOut(unsigned side);

  // tls_pair.cc: TLS before the node is reached, and towards it.
  void Welcome();
  bool TakeTls();
  void FreeTls();
  void FreeOpening();
  bool Early() const {
    return state_ == State::kHello || state_ == State::kOpening || state_ == State::kHandshake;
  }
  void OnEarlyBytes(uint16_t buffer);
  void KeepEarly(uint16_t buffer);
  bool KeepHello(uint16_t buffer);
  net::TlsFeed FeedHello();
  void ReceiveEarly();
  void OnHelloBytes(uint16_t buffer);
  void OnHandshakeBytes();
  bool StartHandshake();
  void OnClientSecured();
  void LeaveHandshakes();
  void RouteBy(std::string_view domain, std::span<const std::string> alpn);
  bool EarlyFull() const;
  void AwaitClient();
  void LeaveSilence();
  void RefuseTls(EndReason reason);
  void RefuseFirstWords(uint8_t first);
  void RefuseHello(EndReason reason, net::TlsAlert alert);
  void SayLastWords(EndReason reason);
  void OnLastWordsSaid();
  void OnDueEarly();
  void SecureNode();
  void StartNodeTls();
  void OnNodeBytes(uint16_t buffer);
  void DriveNodeTls();
  void NodeRefused(std::string_view how);

  // starttls_pair.cc: the words before TLS.
  void OnOpeningBytes(uint16_t buffer);
  void OnAgreed();
  void AskNodeForTls();
  void OnNodeWords(uint16_t buffer);

  // header.cc: PROXY headers, in and out.
  uint32_t& PreludeIndex();
  void OnHeaderBytes();
  void Consume(size_t bytes);
  bool HeaderPending() const { return InFlight(kHeaderOut) || InFlight(kLocal) || Has(kNoName, 1); }
  void StartHeaderOut();
  void OnLocalFd(int32_t result);
  void SendHeaderOut(const net::Address& local);
  void OnHeaderOut(int32_t result);

  // bulk_pair.cc: splice while a direction carries bulk.
  bool CountsAsBulk(unsigned direction, uint32_t bytes);
  Bulk& BulkOf();
  void WantBulk(unsigned direction);
  void MaybeStartBulk(unsigned direction);
  void OnInstalled(unsigned side, int32_t result);
  bool OpenPipe(unsigned direction);
  void Pump(unsigned direction);
  enum class Pumped : uint8_t { kMoved, kStill, kEnded };
  Pumped PumpOnce(unsigned direction);
  void OnPolled(unsigned direction, bool in);
  void CheckBulkIdle();
  void LeaveBulk(unsigned direction);
  void RefuseBulk(unsigned direction);
  void FreeExtra();

  ProxyWorker& worker_;
  Node* node_ = nullptr;  // reserved while set
  [[no_unique_address]] net::WheelNode wheel_;
  uint8_t sides_ = 0;  // in what would be padding
  uint8_t error_ = 0;
  net::Slot slot_[2];  // of the sides
  net::Address client_;
  Chain chain_[2];
  // Payload received from each side. Until a node is found the second one holds, as bits, which
  // nodes were tried.
  uint64_t bytes_[2] = {0, 0};
  const uint64_t born_;  // the time of its start, above a count of kBirthBits
  uint32_t active_ = 0;  // Moment() of the last byte or change of state
  ShortMs connect_time_;
  ShortMs queue_time_;
  uint16_t listener_;
  uint16_t pool_;
  uint16_t in_flight_ = 0;
  uint16_t flags_ = 0;
  State state_ = State::kNaming;
  EndReason end_ = EndReason::kNone;
  uint8_t retries_ = 0;
  uint8_t bulk_run_ = 0;  // four bits a direction: steps towards splice
  uint32_t extra_ = net::kNoIndex;
};

static_assert(ECONNRESET < 256 && EHWPOISON < 256, "an errno fits");
static_assert(sizeof(Pair) == 128, "an idle connection is two cache lines");

std::string_view PairStateName(Pair::State state);

}  // namespace lb
