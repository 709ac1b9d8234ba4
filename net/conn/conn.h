// A connection: a socket, what is on its way in and out, TLS where it is spoken, and an end that is
// told once. What a server's sessions are made of.
//
//   [kNaming | kConnecting] → [kHandshake] ⇄ kOpen → [kPeerDone | kSelfDone] → [kLastWords] →
//   kClosing → kGone
//
// At rest it is these 96 bytes, with a TlsEngine of 248 where TLS is spoken, and nothing else:
// receive buffers belong to the worker and are lent to bytes in flight, what waits to be sent
// stands in an Outbox that is there as long, timers are a link in the worker's wheel.
//
// Thread: its worker's; a Conn never changes it. Owner: the worker. A Conn is the Target of all its
// operations, and is freed when it has ended and none is left, at the end of a turn, behind
// OnClosed(): so whatever a host does in a callback, the Conn is there until that returns.
//
// The host hears of it through ConnHost and holds a pointer until OnClosed(), the last call, which
// comes exactly once for each Conn, never from within a call of the host's own. After End() nothing
// else is called.
//
// Not noticed: a reset of the peer's that arrives while the host has paused it, behind more than
// Ring::kToldBehind buffers of data (the kernel does not tell). Hosts have an idle time.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "net/conn/conn_ground.h"
#include "net/conn/end_reason.h"
#include "net/conn/shared_bytes.h"
#include "net/io/ring.h"
#include "net/io/timer_wheel.h"
#include "net/tls/context/tls_facts.h"
#include "net/tls/tls_engine.h"

namespace net {

class Conn;

enum class PeerEnd : uint8_t {
  kGraceful,
  kTruncated,  // TLS, and no close_notify: bytes may be missing, or somebody cut the wire
};

class ConnHost {
 public:
  // It may be written to and will bring bytes: accepted, connected, or secured where TLS was asked
  // for (then with what the handshake brought). Again after each StartTls().
  virtual void OnOpen(Conn& conn, std::unique_ptr<TlsFacts> facts) = 0;
  // All of them are the host's for the time of the call, to change in place if it likes. What it
  // does not need now it copies.
  virtual void OnBytes(Conn& conn, std::span<uint8_t> bytes) = 0;
  // The peer has said its last byte. It may still be written to; Shutdown() ends it then.
  virtual void OnEnd(Conn& conn, PeerEnd end) = 0;
  // The queue is below its low water again, after Send() had said that it was full.
  virtual void OnWritable(Conn&) {}
  // The time of WakeIn() is there.
  virtual void OnDue(Conn&) {}
  // The end. The pointer is nobody's afterwards.
  virtual void OnClosed(Conn& conn, const Ended& ended) = 0;

 protected:
  ~ConnHost() = default;
};

// What TLS to speak: as a server, or as a client to `peer`. None: in the clear.
struct ConnTls {
  std::shared_ptr<const TlsServerContext> server = nullptr;
  std::shared_ptr<const TlsClientContext> client = nullptr;
  TlsPeer peer = {};

  explicit operator bool() const { return server != nullptr || client != nullptr; }
};

// Until it is open.
struct ConnOpening {
  ConnTls tls;
  // What came while it waits for its place among the handshakes: the buffers are for those who are
  // at work.
  std::vector<uint8_t> early;
  SocketName to;        // of a connect; read as it is submitted
  sockaddr_in6 name{};  // of the peer, from the kernel
};

class alignas(16) Conn final : public Target {
 public:
  enum class State : uint8_t {
    kNaming,      // waits for the peer's address
    kConnecting,  // to the peer
    kHandshake,   // of TLS
    kOpen,
    kPeerDone,   // the peer has said its last byte, we have not
    kSelfDone,   // we have (or it is queued), the peer has not
    kLastWords,  // both have, or TLS failed; what is queued goes out, what comes is dropped
    kClosing,    // waits for its operations to come back
    kGone,       // OnClosed() is next
  };
  static constexpr size_t kStates = static_cast<size_t>(State::kGone) + 1;

  // --- For the host.

  // Queues a copy, or the shared bytes themselves. They go out at the end of the turn, all that was
  // queued in it by one call of the kernel, and in the order in which they were queued; before it
  // is open they wait until it is. kFull: taken, but the host should queue no more until
  // OnWritable(). kClosed: not taken.
  enum class Sent : uint8_t { kQueued, kFull, kClosed };
  Sent Send(std::span<const uint8_t> bytes);
  Sent Send(std::string_view text) {
    return Send(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  Sent Send(const SharedBytes& bytes);

  // No bytes, and no end, until Resume(), but for what stands in the buffer whose bytes are being
  // handed out (with TLS it may hold several pieces).
  void Pause();
  void Resume();
  // From here on it speaks TLS (STARTTLS): what was queued before still goes in the clear, what is
  // queued later waits for OnOpen(). Only while kOpen, without TLS. The host has made sure that
  // nothing stood behind the word that asked for it. `early` is what it has from behind a word that
  // is known to be followed by TLS (a PROXY header): the handshake's first bytes.
  void StartTls(ConnTls tls, std::span<const uint8_t> early = {});
  // Our last word is queued: it goes out, then the peer is told our end. What it says until its own
  // is still handed out. The Conn ends when both have, or after `linger`.
  void Shutdown();
  // At once: what is queued is dropped.
  void End(EndReason reason, int error = 0);
  // OnDue() after that long, while kOpen or kPeerDone; replaces what was set before. Zero: never.
  void WakeIn(Duration from_now);
  // Another object is its host from here on: a listener's gives it to a session.
  void set_host(ConnHost& host) { host_ = &host; }

  State state() const { return state_; }
  const Address& peer() const { return peer_; }
  // As a balancer says who it is.
  void set_peer(const Address& peer) { peer_ = peer; }
  // Unlike any other of its worker's that live.
  uint32_t index() const;
  size_t queued() const;
  bool paused() const { return Has(kPaused); }
  bool secure() const { return tls_ != nullptr; }
  // Since the peer last said something.
  Duration idle() const { return std::chrono::milliseconds(ground_.NowMs() - active_ms_); }

  // --- For the worker.
  Conn(ConnGround& ground, ConnHost& host, Slot slot, State state);
  // `name_bytes`: the exact size of the peer's socket address, where it must be asked for.
  void BeginAccepted(const Address* peer, int32_t name_bytes, ConnTls tls);
  void BeginConnect(const SocketName& to, ConnTls tls);
  // What was put off to the end of the turn. True: it is gone, and may be freed.
  bool OnTurn();
  void OnWheel();
  bool starved() const { return Has(kStarved); }
  void OnBuffersAvailable();
  // Of the gate of handshakes.
  void OnHandshakeWork();
  HandshakeGate::Offer OnHandshakePlace();
  bool EvictIfSilent(Time since);
  WheelNode& wheel_node() { return wheel_; }
  // Turns of the wheel that are left beyond the one under way.
  uint16_t laps() const { return laps_; }
  void set_laps(uint16_t laps) { laps_ = laps; }
  // The operations that have not come back, for whoever waits for its end.
  std::string Waiting() const;
  // Of buffers that it holds; an idle one holds none.
  uint32_t held() const { return held_; }
  bool has_outbox() const { return outbox_ != kNoIndex; }

  void OnCompletion(unsigned op, Completion completion) override;

  // May it go from one state to the other?
  static bool MayEnter(State from, State to);

 private:
  enum Op : unsigned { kRecv, kSend, kConnect, kName, kOps };

  enum Flag : uint16_t {
    kPaused = 1U << 0U,         // by the host
    kStarved = 1U << 1U,        // not receiving: the pool was empty
    kEof = 1U << 2U,            // the peer's last byte is here
    kTruncated = 1U << 3U,      // and it was cut off
    kCongested = 1U << 4U,      // the host waits for OnWritable()
    kShutWanted = 1U << 5U,     // Shutdown() came before it was open
    kFinSaid = 1U << 6U,        // our end was told
    kGoodbye = 1U << 7U,        // so was TLS's
    kTlsNext = 1U << 8U,        // StartTls(): when what stands before it is sent
    kPlace = 1U << 9U,          // holds one among the handshakes
    kAwaits = 1U << 10U,        // waits for one
    kHandshakeDue = 1U << 11U,  // stands in line for work on it
    kListed = 1U << 12U,        // for the end of the turn, for:
    kOpenDue = 1U << 13U,       //   OnOpen()
    kTakeDue = 1U << 14U,       //   what was kept while it was paused
    kFlushDue = 1U << 15U,      //   what is queued
  };
  static constexpr uint8_t kManyHeld = UINT8_MAX;
  bool Has(unsigned flags) const { return (flags_ & flags) != 0; }
  void Set(unsigned flags) { flags_ = static_cast<uint16_t>(flags_ | flags); }
  void Clear(unsigned flags) { flags_ = static_cast<uint16_t>(flags_ & ~flags); }
  bool InFlight(unsigned op) const { return (in_flight_ >> op & 1U) != 0; }
  Tag Begin(unsigned op);

  // conn.cc: its life.
  void Enter(State to);
  void DueAtTurnEnd(unsigned what);
  void Welcome();
  void OnNamed(int32_t result);
  void OnConnected(int32_t result);
  void OnPeerEnd(PeerEnd end);
  void EndBySocket(int error);
  void CloseSlot();
  void LeaveIfJoined();
  size_t DropOutbox();
  bool EndedHere() const { return state_ >= State::kClosing; }

  // conn_bytes.cc: in and out.
  bool WantsInput() const;
  void AdjustRecv();
  void OnRecv(Completion completion);
  void Keep(uint16_t buffer);
  uint16_t PopHeld();
  void DropHeld();
  void DrainHeld();
  void Take(uint16_t buffer);
  // Ends it, and then nothing of it is queued.
  bool Overflows(size_t more);
  Sent AfterSend();
  Outbox* OutboxOf();
  void FreeOutboxIfEmpty();
  void Flush();
  void SendClear(size_t limit);
  void SendSealed();
  void OnSent(int32_t result);
  void CountSent(uint32_t sent);
  void TellWritable();
  void SayEnd();

  // conn_tls.cc
  void BeginTls();
  void OnHandshakeInput();
  void FeedTls(std::span<uint8_t> bytes);
  void OnSecured();
  void FailTls();
  bool SealSome();
  void LeavePlace();

  ConnGround& ground_;
  ConnHost* host_;
  TlsEnginePtr tls_;
  std::unique_ptr<ConnOpening> opening_;
  Slot slot_;
  uint32_t outbox_ = kNoIndex;
  [[no_unique_address]] WheelNode wheel_;
  EndWhen when_ = EndWhen::kConnecting;  // in what would be padding
  uint8_t in_flight_ = 0;
  Address peer_;
  // Received and not yet handed out: a chain of buffers.
  uint16_t held_head_ = kNoBuffer;
  uint16_t held_tail_ = kNoBuffer;
  uint32_t active_ms_;
  uint16_t flags_ = 0;
  State state_;
  EndReason end_ = EndReason::kNone;
  uint8_t error_ = 0;
  uint8_t held_ = 0;  // kManyHeld: that many, or more
  uint16_t laps_ = 0;
};
static_assert(sizeof(Conn) <= 96, "an idle connection");

std::string_view ConnStateName(Conn::State state);

}  // namespace net
