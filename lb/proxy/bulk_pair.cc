// The part of a Pair that carries bulk: when a direction has brought full buffers for long enough,
// its bytes go from socket to socket through a pipe and never see user space; when it idles, it
// goes back to buffers, and the descriptors with it.
//
// splice(2) is called directly: as an operation of the ring it would always go to a kernel thread.
// The ring only says when the sockets are ready.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lb/proxy/bulk.h"
#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"

namespace lb {
namespace {

// Steps until a direction counts as bulk; a step is splice_after / kSteps bytes in full buffers.
constexpr unsigned kSteps = 8;
constexpr unsigned kNeverAgain = 15;
// Rounds of one turn, so that one transfer does not keep the others waiting.
constexpr int kRounds = 4;

}  // namespace

bool Pair::CountsAsBulk(unsigned direction, uint32_t bytes) {
  const uint32_t after = worker_.SettingsOf(*this).splice_after;
  if (after == 0 || Has(kBulk, direction) || !worker_.ring().features().fd_install) return false;
  const unsigned shift = 4 * direction;
  const unsigned run = unsigned{bulk_run_} >> shift & 15U;
  if (run == kNeverAgain) return false;
  auto set_run = [&](unsigned value) {
    bulk_run_ = static_cast<uint8_t>((bulk_run_ & ~(15U << shift)) | value << shift);
  };
  if (bytes < worker_.buffers_->buffer_bytes() / 2) {
    if (run != 0) set_run(0);
    return false;
  }
  const uint32_t step = std::max(after / kSteps, 1U);
  if (bytes_[direction] / step == (bytes_[direction] - bytes) / step) return false;
  set_run(run + 1);
  return run + 1 >= kSteps;
}

Bulk& Pair::BulkOf() { return worker_.bulks_[extra_]; }

void Pair::WantBulk(unsigned direction) {
  if (HeaderPending() || InFlight(kName)) return;  // they have extra_; the next step asks again
  if (extra_ == net::kNoIndex) extra_ = worker_.bulks_.Allocate();
  if (extra_ == net::kNoIndex || Has(kEof, direction)) {
    RefuseBulk(direction);
    return;
  }
  Set(kBulk, direction);
  BulkOf().direction[direction].state = Bulk::State::kDraining;
  if (InFlight(kRecv + direction)) worker_.ring().Cancel({this, kRecv + direction});
  Unsure(direction);
  MaybeStartBulk(direction);
}

void Pair::MaybeStartBulk(unsigned direction) {
  Bulk& bulk = BulkOf();
  Bulk::Direction& way = bulk.direction[direction];
  if (way.state == Bulk::State::kOn || way.state == Bulk::State::kLeaving) return;
  if (InFlight(kRecv + direction) || InFlight(kSend + direction) || chain_[direction].count > 0) {
    return;
  }
  if (bulk.fd[0] < 0 || bulk.fd[1] < 0) {
    way.state = Bulk::State::kInstalling;
    for (unsigned side : {0U, 1U}) {
      if (bulk.fd[side] < 0 && !InFlight(kInstall + side)) {
        worker_.ring().InstallFd(slot_[side], Begin(kInstall + side));
      }
    }
    return;
  }
  if (!OpenPipe(direction)) {
    RefuseBulk(direction);
    return;
  }
  Clear(kPaused, direction);
  way.state = Bulk::State::kOn;
  way.last_ms = worker_.NowMs();
  WorkerStats::Add(worker_.stats_.bulk_entered);
  Schedule(std::chrono::milliseconds(kBulkIdleMs));
  // Ready at once if there is something; never from here, where a caller goes on with this Pair.
  worker_.ring().Poll(slot_[direction], POLLIN | POLLRDHUP, Begin(kPollIn + direction));
}

void Pair::OnInstalled(unsigned side, int32_t result) {
  if (state_ == State::kClosing) {
    if (result >= 0) close(result);
    FreeIfJoined();
    return;
  }
  Bulk& bulk = BulkOf();
  bulk.fd[side] = result < 0 ? -1 : result;
  if (InFlight(kInstall + 1 - side)) return;
  const bool failed = bulk.fd[0] < 0 || bulk.fd[1] < 0;
  for (unsigned direction : {0U, 1U}) {
    // The first that is refused may take the whole Bulk with it.
    if (extra_ == net::kNoIndex) return;
    if (BulkOf().direction[direction].state != Bulk::State::kInstalling) continue;
    if (failed) {
      RefuseBulk(direction);
    } else {
      MaybeStartBulk(direction);
    }
  }
  // Whoever wanted them may have left meanwhile.
  if (extra_ != net::kNoIndex && !Has(kBulk, 0) && !Has(kBulk, 1)) FreeExtra();
}

bool Pair::OpenPipe(unsigned direction) {
  Bulk& bulk = BulkOf();
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return false;
  fcntl(ends[1], F_SETPIPE_SZ, kBulkPipeBytes);
  bulk.direction[direction].pipe_out = ends[0];
  bulk.direction[direction].pipe_in = ends[1];
  // The ring polls by itself and does not mind; splice would block without it.
  for (int fd : bulk.fd) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return true;
}

// One round. After kEnded the Pair may be gone.
Pair::Pumped Pair::PumpOnce(unsigned direction) {
  Bulk& bulk = BulkOf();
  Bulk::Direction& way = bulk.direction[direction];
  bool moved = false;
  if (!Has(kEof, direction) && way.in_pipe < kBulkPipeBytes) {
    const ssize_t in = splice(bulk.fd[direction], nullptr, way.pipe_in, nullptr,
                              static_cast<size_t>(kBulkPipeBytes) - way.in_pipe,
                              SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (in > 0) {
      ClearSide(kQuiet, 1);
      way.in_pipe += static_cast<uint32_t>(in);
      bytes_[direction] += static_cast<uint64_t>(in);
      WorkerStats::Add(worker_.stats_.bulk_bytes, static_cast<uint64_t>(in));
      moved = true;
    } else if (in == 0) {
      Set(kEof, direction);
    } else if (errno != EAGAIN && errno != EINTR) {
      Set(kEof, direction);  // what it said before stands in the pipe
      if (!MarkLost(direction, -errno)) return Pumped::kEnded;
    }
  }
  if (way.in_pipe > 0) {
    const ssize_t out = splice(way.pipe_out, nullptr, bulk.fd[1 - direction], nullptr, way.in_pipe,
                               SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (out > 0) {
      way.in_pipe -= static_cast<uint32_t>(out);
      moved = true;
    } else if (out < 0 && errno != EAGAIN && errno != EINTR) {
      Lose(1 - direction, -errno);
      return Pumped::kEnded;
    }
  }
  return moved ? Pumped::kMoved : Pumped::kStill;
}

void Pair::Pump(unsigned direction) {
  bool moved = false;
  for (int round = 0; round < kRounds; ++round) {
    const Pumped pumped = PumpOnce(direction);
    if (pumped == Pumped::kEnded) return;
    if (pumped == Pumped::kStill) break;
    moved = true;
  }
  Bulk::Direction& way = BulkOf().direction[direction];
  if (moved) {
    Touch(direction);
    way.last_ms = worker_.NowMs();
  }
  if (way.in_pipe > 0) {
    if (!InFlight(kPollOut + direction)) {
      worker_.ring().Poll(slot_[1 - direction], POLLOUT, Begin(kPollOut + direction));
    }
    if (!InFlight(kPollIn + direction)) Unsure(direction);
  } else if (Has(kEof, direction)) {
    LeaveBulk(direction);
    FinishDirection(direction);
  } else if (!InFlight(kPollIn + direction)) {
    worker_.ring().Poll(slot_[direction], POLLIN | POLLRDHUP, Begin(kPollIn + direction));
  }
}

void Pair::OnPolled(unsigned direction, bool) {
  if (state_ == State::kClosing) {
    FreeIfJoined();
    return;
  }
  if (!Has(kBulk, direction)) return;
  if (BulkOf().direction[direction].state == Bulk::State::kLeaving) {
    LeaveBulk(direction);
  } else {
    Pump(direction);
  }
}

void Pair::CheckBulkIdle() {
  for (unsigned direction : {0U, 1U}) {
    if (!Has(kBulk, direction)) continue;
    const Bulk::Direction& way = BulkOf().direction[direction];
    if (way.state == Bulk::State::kOn && way.in_pipe == 0 &&
        worker_.NowMs() - way.last_ms >= kBulkIdleMs) {
      LeaveBulk(direction);
    }
  }
}

// Back to buffers. With a poll in flight it is asked back first, and this is called again then.
void Pair::LeaveBulk(unsigned direction) {
  Bulk& bulk = BulkOf();
  Bulk::Direction& way = bulk.direction[direction];
  if (InFlight(kPollIn + direction)) {
    if (way.state != Bulk::State::kLeaving) {
      way.state = Bulk::State::kLeaving;
      worker_.ring().Cancel({this, kPollIn + direction});
    }
    return;
  }
  if (way.pipe_in >= 0) close(way.pipe_in);
  if (way.pipe_out >= 0) close(way.pipe_out);
  way = {};
  Clear(kBulk, direction);
  bulk_run_ = static_cast<uint8_t>(bulk_run_ & ~(15U << (4 * direction)));
  const bool last = !Has(kBulk, 1 - direction) && !InFlight(kInstall) && !InFlight(kInstall + 1);
  if (last) FreeExtra();
  MaybeResume(direction);
}

void Pair::RefuseBulk(unsigned direction) {
  WorkerStats::Add(worker_.stats_.bulk_refused);
  if (Has(kBulk, direction)) LeaveBulk(direction);
  bulk_run_ = static_cast<uint8_t>(bulk_run_ | kNeverAgain << (4 * direction));
}

void Pair::FreeExtra() {
  if (extra_ == net::kNoIndex) return;
  Bulk& bulk = BulkOf();
  for (Bulk::Direction& way : bulk.direction) {
    if (way.pipe_in >= 0) close(way.pipe_in);
    if (way.pipe_out >= 0) close(way.pipe_out);
  }
  for (int fd : bulk.fd) {
    if (fd >= 0) close(fd);
  }
  worker_.bulks_.Free(extra_);
  extra_ = net::kNoIndex;
}

}  // namespace lb
