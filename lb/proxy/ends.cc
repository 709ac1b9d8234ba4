// The part of a Pair that ends: sees that a side is gone, passes on what it had said and then how
// it ended, and gives back what the Pair had.
//
// Three things make this more than a close. A receive does not tell of a reset that was there
// before it, behind data (Ring::RecvMultishot), and while a side is paused, because the other reads
// slowly, nothing is received from it at all: so a side that is not surely received from is looked
// at (Unsure, LookAtSides). A send that fails says nothing of what its side had said before, which
// may still stand in the socket: so it is read to its end first (Lose). And a reset overtakes what
// was sent before it: so it is passed on when that has been acknowledged, and could be read
// (PassOnReset).

#include "lb/proxy/ends.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"
#include "lb/proxy/tls_pair.h"
#include "net/base/random.h"

namespace lb {

// --- Is it still there? -----------------------------------------------------------------------

// A receive was begun, or none is: a reset may be there already, or come unnoticed.
void Pair::Unsure(unsigned side) {
  if (SideHas(kUnsure, side)) return;
  SetSide(kUnsure, side);
  if (state_ == State::kOpen) ScheduleBy(LookSoon(worker_.SettingsOf(*this)));
}

// Once behind a receive that was begun; where none is, for as long as that is so.
void Pair::LookAtSides() {
  for (unsigned side : {0U, 1U}) {
    if (!SideHas(kUnsure, side) || InFlight(kWatch + side)) continue;
    if (Has(kEof, side)) {  // and fin_timeout runs
      ClearSide(kUnsure, side);
      continue;
    }
    const uint32_t end = SideHas(kEndSeen, side) ? 0 : POLLRDHUP;
    worker_.ring().Poll(slot_[side], POLLERR | end, Begin(kWatch + side));
    const bool receives = InFlight(kRecv + side) && !Has(kPaused, side) && !Has(kBulk, side);
    if (!receives && !InFlight(kPollIn + side)) continue;
    ClearSide(kUnsure, side);
    worker_.ring().Cancel({this, kWatch + side});
  }
}

void Pair::OnWatched(unsigned side, int32_t result) {
  if (state_ == State::kClosing) {
    FreeIfJoined();
    return;
  }
  if (result < 0 || state_ != State::kOpen || SideHas(kLost, side)) return;
  if ((result & POLLERR) != 0) {
    Lose(side, -ECONNRESET);
    return;
  }
  // It has ended. What stands before that waits for the other side to read, and may do so for
  // fin_timeout. A reset may still follow.
  SetSide(kEndSeen, side);
  Unsure(side);
  ScheduleBy(LookSoon(worker_.SettingsOf(*this)));
}

// One side will say no more: the other has fin_timeout.
bool Pair::Ending() const {
  return Has(kShut, 0) || Has(kShut, 1) || Has(kEof, 0) || Has(kEof, 1) || SideHas(kEndSeen, 0) ||
         SideHas(kEndSeen, 1);
}

// Up to a tenth less than max_age, so that those that came together do not leave together.
net::Duration Pair::AgeLimit() const {
  const net::Duration limit = worker_.SettingsOf(*this).max_age;
  const uint64_t mixed = net::FastRandom::Mix(born_);
  return limit - limit / 10 / 1000 * static_cast<int64_t>(mixed % 1000);
}

// --- A side is lost ---------------------------------------------------------------------------

void Pair::NoteError(unsigned side, int32_t error) {
  if (error_ == 0) error_ = static_cast<uint8_t>(-error);
  worker_.CountSideError(side, -error);
}

// False: this was the end, and the Pair may be gone.
bool Pair::MarkLost(unsigned side, int32_t error) {
  if (!SideHas(kLost, side)) {
    NoteError(side, error);
    if (end_ == EndReason::kNone) end_ = SideFailed(side);
    if (std::chrono::milliseconds(idle_ms()) >= kReadTime) SetSide(kQuiet, 1);
    Touch(side);
    SetSide(kLost, side);
    if (SideHas(kLost, 1 - side)) {
      End(end_);  // nobody is left to tell
      return false;
    }
    ScheduleBy(kAskAgain);
  }
  DropWay(1 - side);
  return true;
}

// Its socket failed, by this negative errno. What it said before is still passed on. May free the
// Pair.
void Pair::Lose(unsigned side, int32_t error) {
  if (state_ == State::kLastWords && side == 1) return;  // they are for the client
  if (net::IsOurError(-error)) {  // it has not ended, and would not: what it was to get is lost
    NoteError(side, error);
    if (state_ == State::kOpen) SetSide(kLost, side);  // so that the other one is reset
    End(EndReason::kExhausted);
    return;
  }
  if (state_ != State::kOpen) {
    NoteError(side, error);
    if (side == 1 && state_ == State::kSecuring) {
      NodeRefused("reset");
    } else {
      End(SideFailed(side));
    }
    return;
  }
  if (!MarkLost(side, error)) return;
  if (Has(kShut, side)) {  // it had said its last
    PassOnReset(side);
    return;
  }
  if (chain_[side].count > 0) ClearSide(kQuiet, 1);
  // Whatever the receive in flight would tell, one that begins now tells the end for sure.
  if (InFlight(kRecv + side)) {
    if (!Has(kPaused, side)) worker_.ring().Cancel({this, kRecv + side});
  } else {
    MaybeResume(side);
  }
  MaybeSend(side);
}

// What is on its way to a side that is lost, and what will come.
void Pair::DropWay(unsigned direction) {
  if (Has(kBulk, direction)) {
    BulkOf().direction[direction].in_pipe = 0;
    LeaveBulk(direction);
  }
  if (InFlight(kSend + direction)) {  // it still reads its buffer; this is called again then
    worker_.ring().Cancel({this, kSend + direction});
    return;
  }
  if (Has(kTls, 1)) TlsDrop(direction);
  DropChain(direction);
  MaybeResume(direction);  // read and dropped: who else would tell of that side's end?
}

// The wheel came up for a Pair with a lost side. May free it; true then.
bool Pair::OnDueLost() {
  const unsigned side = SideHas(kLost, 0) ? 0 : 1;
  const net::Duration limit = LostLimit(worker_.SettingsOf(*this));
  if (std::chrono::milliseconds(idle_ms()) >= limit) {
    End(end_);
    return true;
  }
  Schedule(kAskAgain);
  if (Has(kShut, side)) {
    PassOnReset(side);
  } else if (InFlight(kRecv + side) && !Has(kPaused, side)) {
    worker_.ring().Cancel({this, kRecv + side});  // and begun afresh
  }
  return false;
}

// --- Its end is passed on ---------------------------------------------------------------------

// All that side `direction` said has been sent on. May free the Pair.
void Pair::FinishDirection(unsigned direction, bool truncated) {
  Set(kShut, direction);
  if (SideHas(kLost, direction)) {
    PassOnReset(direction);
    return;
  }
  if (end_ == EndReason::kNone) {
    if (truncated) {
      end_ = direction == 0 ? EndReason::kClientTruncated : EndReason::kNodeTruncated;
    } else {
      end_ = direction == 0 ? EndReason::kClientClosed : EndReason::kNodeClosed;
    }
  }
  if (Has(kShut, 1 - direction)) {
    End(end_);
    return;
  }
  worker_.ring().Shutdown(slot_[1 - direction], SHUT_WR);
  active_ = Moment();
  Schedule(worker_.SettingsOf(*this).fin_timeout);
}

// The reset of `side`, as a reset of the other. May free the Pair.
void Pair::PassOnReset(unsigned side) {
  if (InFlight(kLocal)) return;  // the wheel comes back here
  const net::Duration since = std::chrono::milliseconds(idle_ms());
  if (!SideHas(kQuiet, 1) && since < ReadTime(worker_.SettingsOf(*this))) return;  // likewise
  if (!worker_.ring().features().socket_options) {
    End(end_);  // the kernel cannot say what was acknowledged
    return;
  }
  SetSide(kAsked, 0);
  worker_.ring().Unsent(slot_[1 - side], Begin(kLocal));
}

void Pair::OnUnsent(int32_t result) {
  ClearSide(kAsked, 0);
  if (state_ == State::kClosing) {
    FreeIfJoined();
    return;
  }
  // One that had ended before may be gone by now, and nobody would tell: what it has not
  // acknowledged within that time it never will.
  const unsigned other = SideHas(kLost, 0) ? 1 : 0;
  const bool gone = Has(kEof, other) &&
                    std::chrono::milliseconds(idle_ms()) >= ReadTime(worker_.SettingsOf(*this));
  if (result <= 0 || gone) End(end_);
}

// As the other one ended.
void Pair::CloseSide(unsigned side) {
  if (SideHas(kLost, 1 - side) && !SideHas(kLost, side)) {
    worker_.ring().Reset(slot_[side]);
  } else {
    worker_.ring().Close(slot_[side]);
  }
}

// --- All of it ----------------------------------------------------------------------------------

// A node that takes connections and resets them before it has said a word serves nobody. One to
// which a client said much may have hung up with some of it unread, which is a reset as well and no
// fault of the node: that is the client's doing, and nobody shall mark nodes down from outside.
void Pair::JudgeNode() {
  if (bytes_[1] > 0) {
    node_->OnSpoke();
  } else if (end_ == EndReason::kNodeReset && bytes_[0] <= kOpeningMax) {
    worker_.CountNodeFailure(*node_, node_->OnEarlyReset(), "reset before it said anything");
  }
}

void Pair::ReleaseNode() {
  if (node_ == nullptr) return;
  node_->Release();
  node_ = nullptr;
}

void Pair::CancelAll() {
  for (unsigned op = 0; op < kOps; ++op) {
    // A descriptor or a name on its way comes back by itself.
    if (op == kInstall || op == kInstall + 1 || op == kName || op == kLocal) continue;
    if (!InFlight(op)) continue;
    worker_.ring().Cancel({this, op});
  }
}

// Something of ours was missing, and no call of the kernel said so. May free the Pair.
void Pair::EndForLack(int error) {
  if (error_ == 0) error_ = static_cast<uint8_t>(error);
  worker_.CountLack(error);
  End(EndReason::kExhausted);
}

void Pair::End(EndReason reason) {
  if (state_ == State::kClosing) return;
  // What began the end is what it is called: a reset after one side had closed is no new reason.
  // That the other side never closed is one.
  if (end_ == EndReason::kNone || reason == EndReason::kFinTimeout) end_ = reason;
  if (state_ == State::kQueued) worker_.LeftQueue(*this);
  if (state_ == State::kOpen) JudgeNode();
  if (Has(kTls, 1)) {
    LeaveSilence();
    LeaveHandshakes();
  }
  worker_.Finished(*this);
  // Refused in the turn that brought it: who it was is not known yet (OnNamed).
  if (!InFlight(kName)) worker_.LogEnd(*this);
  // A connect on its way still reads the node's address.
  if (!InFlight(kConnect)) ReleaseNode();
  if (in_flight_ != 0) CancelAll();
  CloseSide(0);
  if (slot_[1] != net::kNoSlot && !InFlight(kConnect)) {
    CloseSide(1);
    slot_[1] = net::kNoSlot;
  }
  state_ = State::kClosing;
  if (InFlight(kConnect)) Schedule(kCancelAgain);
  FreeIfJoined();
}

std::string Pair::Waiting() const {
  static constexpr std::array<const char*, kOps> kNames = {"a receive of the client",
                                                           "a receive of the node",
                                                           "a send to the node",
                                                           "a send to the client",
                                                           "a poll of the client",
                                                           "a poll of the node",
                                                           "a poll of the node",
                                                           "a poll of the client",
                                                           "a descriptor of the client",
                                                           "a descriptor of the node",
                                                           "a connect",
                                                           "a name",
                                                           "a PROXY header",
                                                           "a question to a socket",
                                                           "a watch of the client",
                                                           "a watch of the node"};
  std::string text;
  for (unsigned op = 0; op < kOps; ++op) {
    if (InFlight(op)) text += (text.empty() ? "" : " and ") + std::string(kNames[op]);
  }
  return text;
}

void Pair::FreeIfJoined() {
  if (in_flight_ != 0) return;
  DropChain(0);
  DropChain(1);
  if (Has(kTls, 1)) {
    FreeTls();
  } else {
    FreeExtra();
  }
  worker_.Free(*this);
}

}  // namespace lb
