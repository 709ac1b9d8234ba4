// The life of a Conn: how it begins, what states it goes through, how it ends.

#include "net/conn/conn.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "net/base/check.h"

namespace net {
namespace {

// A cancel that came too early (see Ring::Cancel) is given again after this.
constexpr Duration kCancelAgain = std::chrono::seconds(1);

using State = Conn::State;

constexpr uint16_t Bit(State state) {
  return static_cast<uint16_t>(1U << static_cast<unsigned>(state));
}

struct Transition {
  State from;
  uint16_t to;  // bits
};

// All there are; every build asserts them.
constexpr std::array<Transition, Conn::kStates> kTransitions = {{
    {State::kNaming, Bit(State::kHandshake) | Bit(State::kOpen) | Bit(State::kClosing)},
    {State::kConnecting, Bit(State::kHandshake) | Bit(State::kOpen) | Bit(State::kClosing)},
    {State::kHandshake, Bit(State::kOpen) | Bit(State::kLastWords) | Bit(State::kClosing)},
    {State::kOpen, Bit(State::kHandshake) | Bit(State::kPeerDone) | Bit(State::kSelfDone) |
                       Bit(State::kLastWords) | Bit(State::kClosing)},
    {State::kPeerDone, Bit(State::kLastWords) | Bit(State::kClosing)},
    {State::kSelfDone, Bit(State::kLastWords) | Bit(State::kClosing)},
    {State::kLastWords, Bit(State::kClosing)},
    {State::kClosing, Bit(State::kGone)},
    {State::kGone, 0},
}};

constexpr bool TransitionsInOrder() {
  for (size_t i = 0; i < kTransitions.size(); ++i) {
    if (static_cast<size_t>(kTransitions[i].from) != i) return false;
  }
  return true;
}
static_assert(TransitionsInOrder());

EndWhen WhenOf(State state) {
  switch (state) {
    case State::kNaming:
    case State::kConnecting:
      return EndWhen::kConnecting;
    case State::kHandshake:
      return EndWhen::kHandshake;
    case State::kOpen:
      return EndWhen::kOpen;
    default:
      return EndWhen::kEnding;
  }
}

}  // namespace

std::string_view ConnStateName(Conn::State state) {
  static constexpr std::array<std::string_view, Conn::kStates> kNames = {
      "naming",    "connecting", "handshake", "open", "peer_done",
      "self_done", "last_words", "closing",   "gone"};
  return kNames[static_cast<size_t>(state)];
}

bool Conn::MayEnter(State from, State to) {
  return (kTransitions[static_cast<size_t>(from)].to & Bit(to)) != 0;
}

Conn::Conn(ConnGround& ground, ConnHost& host, Slot slot, State state)
    : ground_(ground), host_(&host), slot_(slot), active_ms_(ground.NowMs()), state_(state) {}

uint32_t Conn::index() const { return Slab<Conn>::IndexOf(*this); }

void Conn::Enter(State to) {
  CHECK(MayEnter(state_, to));
  state_ = to;
}

Tag Conn::Begin(unsigned op) {
  CHECK(!InFlight(op) && state_ < State::kClosing);
  in_flight_ = static_cast<uint8_t>(in_flight_ | 1U << op);
  return {this, op};
}

void Conn::DueAtTurnEnd(unsigned what) {
  const bool listed = Has(kListed);
  Set(kListed | what);
  if (!listed) ground_.ListDue(*this);
}

// --- The beginning ----------------------------------------------------------------------------

void Conn::BeginAccepted(const Address* peer, int32_t name_bytes, ConnTls tls) {
  if (tls) {
    opening_ = std::make_unique<ConnOpening>();
    opening_->tls = std::move(tls);
  }
  if (peer != nullptr) peer_ = peer->Unmapped();
  if (peer != nullptr || name_bytes == 0) {
    Welcome();
    return;
  }
  if (opening_ == nullptr) opening_ = std::make_unique<ConnOpening>();
  ground_.ring().PeerName(slot_, &opening_->name, name_bytes, Begin(kName));
}

void Conn::OnNamed(int32_t result) {
  if (result > 0) {
    peer_ = Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&opening_->name),
                                  static_cast<socklen_t>(result))
                .value_or(Address())
                .Unmapped();
  }
  // A socket without a name has ended; the receive says how.
  Welcome();
}

void Conn::Welcome() {
  if (opening_ != nullptr && opening_->tls) {
    BeginTls();
    return;
  }
  opening_.reset();
  Enter(State::kOpen);
  DueAtTurnEnd(kOpenDue);
  AdjustRecv();
}

void Conn::BeginConnect(const SocketName& to, ConnTls tls) {
  opening_ = std::make_unique<ConnOpening>();
  opening_->tls = std::move(tls);
  opening_->to = to;
  peer_ = Address::FromSockaddr(to.get(), to.size()).value_or(Address());
  ground_.ring().Connect(
      slot_, {.address = opening_->to.get(), .address_size = opening_->to.size()}, Begin(kConnect));
  ground_.Schedule(*this, ground_.options.connect_timeout);
}

void Conn::OnConnected(int32_t result) {
  if (result < 0) {
    const int error = -result;
    CloseSlot();
    if (error == ECANCELED || error == ETIMEDOUT) {
      End(EndReason::kConnectTimeout, ETIMEDOUT);
    } else {
      End(IsOurError(error) ? EndReason::kNoResources : EndReason::kConnectFailed, error);
    }
    return;
  }
  ground_.Unschedule(*this);
  active_ms_ = ground_.NowMs();
  if (opening_->tls) {
    BeginTls();
    return;
  }
  opening_.reset();
  Enter(State::kOpen);
  AdjustRecv();
  host_->OnOpen(*this, nullptr);
  if (EndedHere()) return;
  if (Has(kShutWanted)) Shutdown();
  if (has_outbox() || state_ != State::kOpen) DueAtTurnEnd(kFlushDue);
}

// --- The end ----------------------------------------------------------------------------------

void Conn::OnPeerEnd(PeerEnd end) {
  Set(kEof);
  switch (state_) {
    case State::kHandshake:
      End(EndReason::kPeerTlsFailed);
      return;
    case State::kOpen:
      if (end == PeerEnd::kTruncated) Set(kTruncated);
      Enter(State::kPeerDone);
      AdjustRecv();
      host_->OnEnd(*this, end);
      return;
    case State::kSelfDone:
      if (end_ == EndReason::kNone) end_ = EndReason::kClosed;
      Enter(State::kLastWords);
      host_->OnEnd(*this, end);
      break;
    case State::kLastWords:
      break;
    default:
      return;
  }
  if (!EndedHere() && Has(kFinSaid)) End(end_);
}

void Conn::Shutdown() {
  switch (state_) {
    case State::kNaming:
    case State::kConnecting:
    case State::kHandshake:
      Set(kShutWanted);
      return;
    case State::kOpen:
      if (Has(kTlsNext)) {
        Set(kShutWanted);
        return;
      }
      Enter(State::kSelfDone);
      break;
    case State::kPeerDone:
      end_ = Has(kTruncated) ? EndReason::kPeerTruncated : EndReason::kPeerClosed;
      Enter(State::kLastWords);
      break;
    default:
      return;
  }
  ground_.Schedule(*this, ground_.options.linger);
  DueAtTurnEnd(kFlushDue);
}

// Its socket failed.
void Conn::EndBySocket(int error) {
  End(IsOurError(error) ? EndReason::kNoResources : EndReason::kPeerReset, error);
}

void Conn::CloseSlot() {
  if (slot_ != kNoSlot) ground_.ring().Close(slot_);
  slot_ = kNoSlot;
}

void Conn::End(EndReason reason, int error) {
  if (EndedHere()) return;
  // What began the end is what it is called, but for an orderly one that is cut short.
  const bool orderly = end_ == EndReason::kClosed || end_ == EndReason::kPeerClosed ||
                       end_ == EndReason::kPeerTruncated;
  if (end_ == EndReason::kNone || orderly) {
    end_ = reason;
    error_ = static_cast<uint8_t>(error < 256 ? error : 0);
  }
  when_ = WhenOf(state_);
  LeavePlace();
  for (const unsigned op : {kRecv, kSend, kConnect}) {
    if (InFlight(op)) ground_.ring().Cancel({this, op});
  }
  DropHeld();
  if (InFlight(kConnect)) {
    ground_.Schedule(*this, kCancelAgain);
  } else {
    ground_.Unschedule(*this);
    CloseSlot();
  }
  Enter(State::kClosing);
  LeaveIfJoined();
}

void Conn::LeaveIfJoined() {
  if (state_ != State::kClosing || in_flight_ != 0) return;
  ground_.Unschedule(*this);
  Enter(State::kGone);
  DueAtTurnEnd(0);
}

// What is left in it was never sent.
size_t Conn::DropOutbox() {
  const size_t unsent = queued();
  if (outbox_ == kNoIndex) return unsent;
  Outbox& outbox = ground_.outboxes[outbox_];
  outbox.queue.Clear(ground_.parts);
  if (outbox.sealed != nullptr) ground_.outputs.Give(outbox.sealed, outbox.sealed_large);
  ground_.outboxes.Free(std::exchange(outbox_, kNoIndex));
  return unsent;
}

bool Conn::OnTurn() {
  Clear(kListed);
  if (state_ == State::kGone) {
    ConnStats::Add(ground_.stats.ended[static_cast<size_t>(end_)][static_cast<size_t>(when_)]);
    if (error_ != 0 && error_ < kErrnos) ConnStats::Add(ground_.stats.errnos[error_]);
    host_->OnClosed(*this,
                    {.reason = end_, .when = when_, .error = error_, .unsent = DropOutbox()});
    return true;
  }
  if (Has(kOpenDue)) {
    Clear(kOpenDue);
    if (state_ == State::kOpen) {
      host_->OnOpen(*this, nullptr);
      if (Has(kShutWanted) && state_ == State::kOpen) Shutdown();
    }
  }
  if (Has(kTakeDue)) {
    Clear(kTakeDue);
    DrainHeld();
  }
  if (Has(kFlushDue)) {
    Clear(kFlushDue);
    Flush();
  }
  return false;
}

// --- Time -------------------------------------------------------------------------------------

void Conn::WakeIn(Duration from_now) {
  if (state_ != State::kOpen && state_ != State::kPeerDone) return;
  if (from_now > Duration::zero()) {
    ground_.Schedule(*this, from_now);
  } else {
    ground_.Unschedule(*this);
  }
}

void Conn::OnWheel() {
  switch (state_) {
    case State::kConnecting:
      ground_.ring().Cancel({this, kConnect});
      ground_.Schedule(*this, kCancelAgain);
      break;
    case State::kHandshake:
      End(EndReason::kHandshakeTimeout);
      break;
    case State::kOpen:
    case State::kPeerDone:
      host_->OnDue(*this);
      break;
    case State::kSelfDone:
    case State::kLastWords:
      End(EndReason::kLingerTimeout);
      break;
    case State::kClosing:
      if (!InFlight(kConnect)) break;
      ground_.ring().Cancel({this, kConnect});
      ground_.Schedule(*this, kCancelAgain);
      break;
    case State::kNaming:
    case State::kGone:
      break;
  }
}

// --- Completions ------------------------------------------------------------------------------

void Conn::OnCompletion(unsigned op, Completion completion) {
  CHECK(InFlight(op) && state_ != State::kGone);
  if (!completion.more()) in_flight_ = static_cast<uint8_t>(in_flight_ & ~(1U << op));
  if (op == kRecv) {
    OnRecv(completion);
    return;
  }
  if (state_ == State::kClosing) {
    if (op == kConnect) CloseSlot();
    // The send that was under way: the kernel may have had some of it before it was cancelled.
    if (op == kSend && completion.result > 0) CountSent(static_cast<uint32_t>(completion.result));
    LeaveIfJoined();
    return;
  }
  switch (op) {
    case kSend:
      OnSent(completion.result);
      break;
    case kConnect:
      OnConnected(completion.result);
      break;
    default:
      OnNamed(completion.result);
  }
}

std::string Conn::Waiting() const {
  static constexpr std::array<const char*, kOps> kNames = {"a receive", "a send", "a connect",
                                                           "a name"};
  std::string text;
  for (unsigned op = 0; op < kOps; ++op) {
    if (InFlight(op)) text += (text.empty() ? "" : " and ") + std::string(kNames[op]);
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace net
