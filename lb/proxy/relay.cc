// The part of a Pair that moves bytes: receive into lent buffers, send from them, give them back.

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"

namespace lb {
namespace {

// While there is no node yet, the client's first words may wait here; XMPP's openings are short.
constexpr uint32_t kWaitingBuffers = 4;
// No direction may take more than this part of the free buffers, so that slow readers share what
// they leave to others.
constexpr uint32_t kFairShare = 16;
// Large ones that a direction may hold: some are filled while others are being sent.
constexpr uint32_t kLargeBuffers = 2;

}  // namespace

uint32_t Pair::BuffersAllowed(unsigned direction) const {
  if (state_ != State::kOpen) return kWaitingBuffers;
  const net::BufferPool& pool = *worker_.buffers_;
  if (ReceivesLarge(direction)) {
    const uint32_t configured =
        worker_.pools_[pool_]->settings->pending_bytes_max / pool.large_bytes();
    return std::clamp(configured, 1U, kLargeBuffers);
  }
  const uint32_t configured =
      worker_.pools_[pool_]->settings->pending_bytes_max / pool.buffer_bytes();
  const uint32_t unused = pool.free() + pool.maximum() - pool.provided();
  return std::max(2U, std::min(configured, unused / kFairShare));
}

void Pair::ArmRecv(unsigned direction) {
  if (InFlight(kRecv + direction)) return;
  const net::BufferPool& pool = *worker_.buffers_;
  const uint16_t group = ReceivesLarge(direction) ? pool.large_group() : pool.group();
  // Who was paused has something to say as a rule; and only so it is told that a reset stands
  // behind it.
  const bool at_once = state_ == State::kOpen;
  worker_.ring().RecvMultishot(slot_[direction], group, at_once, Begin(kRecv + direction));
  // It was looked at until now.
  if (InFlight(kWatch + direction)) worker_.ring().Cancel({this, kWatch + direction});
  if (!at_once) return;
  if (BuffersAllowed(direction) <= net::Ring::kToldBehind) {
    ClearSide(kUnsure, direction);
  } else if (!InFlight(kWatch + direction)) {
    Unsure(direction);
  }
}

void Pair::OnRecv(unsigned direction, net::Completion completion) {
  const int32_t result = completion.result;
  if (result > 0) {
    OnBytes(direction, completion.buffer(), static_cast<uint32_t>(result));
    return;
  }
  // An end or a failure may hold a buffer all the same: nothing is in it, but it was lent.
  if (completion.has_buffer()) {
    worker_.buffers_->Took(completion.buffer(), 0);
    worker_.buffers_->Give(completion.buffer());
  }
  if (state_ == State::kClosing) {
    FreeIfJoined();
    return;
  }
  if (result == 0) {
    Set(kEof, direction);
    const net::Duration fin = worker_.SettingsOf(*this).fin_timeout;
    if (state_ == State::kOpen && fin > net::Duration::zero()) ScheduleBy(fin);
    // A client that says nothing and leaves the queue would cost a node a connection for nothing.
    if (state_ == State::kQueued && chain_[0].count == 0) {
      End(EndReason::kClientClosed);
      return;
    }
    if (state_ == State::kHeader) {
      worker_.CountBadHeader(*this);
      End(EndReason::kProxyHeaderBad);
      return;
    }
    if (Has(kTls, 1)) {
      OnTlsEof(direction);
      return;
    }
    if (Has(kBulk, direction)) LeaveBulk(direction);
    if (state_ == State::kOpen && chain_[direction].count == 0) {
      MaybeSend(direction);
    }
    return;
  }
  if (result == -ENOBUFS) {
    if (ReceivesLarge(direction)) {
      // What it holds itself comes back soon. Else small ones do as well.
      if (chain_[direction].count > 0) {
        Set(kPaused, direction);
        return;
      }
      WorkerStats::Add(worker_.stats_.large_buffers_missed);
      ReceiveLarge(direction, false);
      MaybeResume(direction);
      return;
    }
    if (Has(kBulk, direction)) {  // it was to end anyway
      MaybeStartBulk(direction);
      return;
    }
    Set(kStarved, direction);
    Unsure(direction);
    worker_.Starved(*this);
    return;
  }
  if (result == -ECANCELED || result == -EINTR) {
    // We asked for it: to pause, or to turn to splice.
    if (Has(kBulk, direction)) {
      MaybeStartBulk(direction);
    } else {
      MaybeResume(direction);
    }
    return;
  }
  Set(kEof, direction);
  if (Has(kBulk, direction)) LeaveBulk(direction);
  Lose(direction, result);
}

void Pair::OnBytes(unsigned direction, uint16_t buffer, uint32_t bytes) {
  net::BufferPool& pool = *worker_.buffers_;
  pool.Took(buffer, bytes);
  if (state_ == State::kClosing) {
    pool.Give(buffer);
    FreeIfJoined();
    return;
  }
  if (Vain(direction)) {
    pool.Give(buffer);
    if (!InFlight(kRecv + direction)) MaybeResume(direction);
    return;
  }
  if (Has(kTls, 1)) {
    OnTlsBytes(direction, buffer, bytes);
    return;
  }
  if (state_ == State::kHeader) {
    // A header that comes byte by byte must not take a buffer for each.
    if (chain_[0].count > 0 && pool.Extend(chain_[0].tail, pool.Bytes(buffer))) {
      pool.Give(buffer);
    } else {
      Append(0, buffer);
    }
    OnHeaderBytes();
    return;
  }
  Append(direction, buffer);
  bytes_[direction] += bytes;
  if (state_ == State::kOpen) {
    Touch(direction);
    MaybeSend(direction);
    if (CountsAsBulk(direction, bytes)) WantBulk(direction);
  }
  if (chain_[direction].count >= BuffersAllowed(direction)) {
    Pause(direction);
  } else if (!InFlight(kRecv + direction)) {
    MaybeResume(direction);  // the kernel ended the multishot by itself
  }
}

void Pair::Append(unsigned direction, uint16_t buffer) {
  ClearSide(kQuiet, 1);
  Chain& chain = chain_[direction];
  if (chain.count++ == 0) {
    chain.head = buffer;
  } else {
    worker_.buffers_->SetNext(chain.tail, buffer);
  }
  chain.tail = buffer;
}

void Pair::DropHead(unsigned direction) {
  Chain& chain = chain_[direction];
  const uint16_t head = chain.head;
  chain.head = worker_.buffers_->Next(head);
  chain.offset = 0;
  if (--chain.count == 0) chain.tail = net::kNoBuffer;
  worker_.buffers_->Give(head);
}

void Pair::DropChain(unsigned direction) {
  while (chain_[direction].count > 0) DropHead(direction);
}

void Pair::Pause(unsigned direction) {
  if (Has(kPaused, direction)) return;
  Set(kPaused, direction);
  WorkerStats::Add(worker_.stats_.pauses);
  if (InFlight(kRecv + direction)) worker_.ring().Cancel({this, kRecv + direction});
  Unsure(direction);
}

void Pair::MaybeResume(unsigned direction) {
  if (Has(kEof, direction) || Has(kStarved, direction) || Has(kBulk, direction)) return;
  if (direction == 0 && EarlyFull()) return;
  if (Has(kPaused, direction)) {
    if (chain_[direction].count > BuffersAllowed(direction) / 4) return;
    Clear(kPaused, direction);
  }
  ArmRecv(direction);
}

void Pair::OnBuffersAvailable() {
  if (state_ == State::kClosing) return;
  for (unsigned direction : {0U, 1U}) {
    if (!Has(kStarved, direction)) continue;
    Clear(kStarved, direction);
    if (slot_[direction] != net::kNoSlot) MaybeResume(direction);
  }
}

void Pair::MaybeSend(unsigned direction) {
  if (Vain(direction)) return;
  if (Has(kTls, 1)) {
    TlsMove(direction);
    return;
  }
  if (InFlight(kSend + direction) || (direction == 0 && HeaderPending())) return;
  if (chain_[direction].count > 0) {
    StartSend(direction);
  } else if (Has(kEof, direction) && !Has(kShut, direction)) {
    FinishDirection(direction);
  } else if (Has(kBulk, direction)) {
    MaybeStartBulk(direction);
  }
}

void Pair::StartSend(unsigned direction) {
  const Chain& chain = chain_[direction];
  const std::span<const uint8_t> bytes = worker_.buffers_->Bytes(chain.head).subspan(chain.offset);
  // The last of what was said, of a side that goes on: nothing follows its being sent.
  const bool last = state_ == State::kOpen && chain.count == 1 && !Has(kEof, direction) &&
                    !Has(kPaused, direction) && !Has(kBulk, direction) && !AnyLost();
  if (last) {
    worker_.ring().SendQuietly(slot_[1 - direction], bytes, Begin(kSend + direction));
  } else {
    worker_.ring().Send(slot_[1 - direction], bytes, Begin(kSend + direction));
  }
}

void Pair::OnSend(unsigned direction, int32_t result) {
  if (state_ == State::kClosing) {
    FreeIfJoined();
    return;
  }
  if (Vain(direction)) {
    DropWay(direction);
    return;
  }
  if (Has(kTls, 1)) {
    OnTlsSend(direction, result);
    return;
  }
  if (result < 0) {
    Lose(1 - direction, result);
    return;
  }
  Touch(direction);
  Chain& chain = chain_[direction];
  const uint32_t sent = chain.offset + static_cast<uint32_t>(result);
  if (sent >= worker_.buffers_->Length(chain.head)) {
    DropHead(direction);
  } else {
    chain.offset = static_cast<uint16_t>(sent);
  }
  if (Has(kPaused, direction) && !InFlight(kRecv + direction)) MaybeResume(direction);
  MaybeSend(direction);
}

}  // namespace lb
