// The part of a Pair that moves bytes when TLS is spoken on one of its sides, or on both. It stands
// beside relay.cc and obeys the same rules: bytes wait in the chain of receive buffers, one send a
// direction is in flight, a slow reader stops its sender.
//
//   chain → [engine of the source: decrypted in place] → [engine of the sink: sealed] → send
//
// What goes to a TLS side is sealed into an output buffer of the worker, so that the receive
// buffers are free again at once. What goes to a plain side is sent from where it was decrypted,
// and its buffer stays at the chain's head until then.

#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"
#include "lb/proxy/tls_pair.h"

namespace lb {
namespace {

// Receives in a row that fill a small buffer before large ones are taken, and that would not have
// filled a small one before they are given up.
constexpr uint8_t kFullRun = 16;
constexpr uint8_t kScantRun = 8;
// Spans sealed at once: two records' worth of small receive buffers.
constexpr size_t kParts = 8;
// Below it, what is sealed goes into a small output buffer.
constexpr size_t kSmallPlain = net::OutputPool::kSmallBytes - 256;

}  // namespace

Tls& Pair::TlsOf() {
  DCHECK(Has(kTls, 1));
  worker_.tls_used_ = true;
  return worker_.tls_pairs_[extra_];
}

// --- In ---------------------------------------------------------------------------------------

void Pair::OnTlsBytes(unsigned direction, uint16_t buffer, uint32_t bytes) {
  if (state_ == State::kLastWords) {
    worker_.buffers_->Give(buffer);
    if (!InFlight(kRecv + direction)) ArmRecv(direction);
    return;
  }
  if (direction == 0 && Early()) {
    OnEarlyBytes(buffer);
    return;
  }
  if (direction == 1 && state_ == State::kSecuring) {
    OnNodeBytes(buffer);
    return;
  }
  const bool plain = TlsOf().engine[direction] == nullptr;
  Append(direction, buffer);
  if (plain && (state_ == State::kOpen || direction == 0)) bytes_[direction] += bytes;
  // Before they are moved, which may be the end of this Pair.
  if (chain_[direction].count >= BuffersAllowed(direction)) {
    Pause(direction);
  } else if (!InFlight(kRecv + direction)) {
    MaybeResume(direction);
  }
  if (state_ != State::kOpen) return;
  Touch(direction);
  ChooseSize(direction, bytes);
  TlsMove(direction);
}

// A stream goes on with large buffers, and whoever brings little with small ones.
void Pair::ChooseSize(unsigned direction, uint32_t bytes) {
  Tls& tls = TlsOf();
  const net::BufferPool& pool = *worker_.buffers_;
  const bool fills = bytes >= pool.buffer_bytes();
  if (fills == tls.large[direction] || pool.large() == 0) {
    tls.run[direction] = 0;
  } else if (++tls.run[direction] >= (fills ? kFullRun : kScantRun)) {
    ReceiveLarge(direction, fills);
    if (InFlight(kRecv + direction) && !Has(kPaused, direction)) {
      worker_.ring().Cancel({this, kRecv + direction});  // it is armed anew when it has ended
    }
  }
}

bool Pair::ReceivesLarge(unsigned direction) const {
  return Has(kTls, 1) && worker_.tls_pairs_[extra_].large[direction];
}

void Pair::ReceiveLarge(unsigned direction, bool large) {
  Tls& tls = TlsOf();
  tls.large[direction] = large;
  tls.run[direction] = 0;
  if (large) WorkerStats::Add(worker_.stats_.large_buffers_entered);
}

void Pair::OnTlsEof(unsigned direction) {
  switch (state_) {
    case State::kHello:
    case State::kOpening:
      End(EndReason::kClientClosed);
      return;
    case State::kHandshake:
      if (TlsOf().due) return;  // its last words are still to be read
      // Who has said nothing is a port scan or a health check, not a handshake that failed.
      End(TlsOf().engine[0] == nullptr ? EndReason::kClientClosed : EndReason::kTlsHandshakeFailed);
      return;
    case State::kLastWords:
      if (!InFlight(kSend + 1)) End(end_);
      return;
    case State::kSecuring:
      if (direction == 1) NodeRefused("closed by the node");
      return;
    case State::kOpen:
      TlsMove(direction);
      return;
    default:
      return;
  }
}

// Gives the engine the head of the chain, or asks it for what it holds. What comes of it stands in
// the direction's Fed, if anything does.
net::TlsFeed Pair::TlsFeedHead(unsigned direction) {
  Tls& tls = TlsOf();
  DCHECK(tls.fed[direction] == net::kNoIndex);
  const uint32_t index = worker_.feds_.Allocate();
  if (index == net::kNoIndex) return {.state = net::TlsState::kFailed};
  tls.fed[direction] = index;
  Fed& fed = worker_.feds_[index];
  Chain& chain = chain_[direction];
  const std::span<uint8_t> in = chain.count > 0
                                    ? worker_.buffers_->Bytes(chain.head).subspan(chain.offset)
                                    : std::span<uint8_t>();
  const net::TlsFeed feed = tls.engine[direction]->Feed(in, &fed.plain);
  chain.offset = static_cast<uint16_t>(chain.offset + feed.consumed);
  tls.more[direction] = feed.next == net::TlsNext::kAgain;
  fed.left = fed.plain.bytes;
  // Until the node is found the second count means something else.
  if (direction == 0 || state_ == State::kOpen) bytes_[direction] += fed.left;
  if (fed.left == 0) DropFed(direction);
  return feed;
}

// All of it was sent on, or there was nothing.
void Pair::DropFed(unsigned direction) {
  Tls& tls = TlsOf();
  tls.engine[direction]->Release();
  worker_.feds_.Free(tls.fed[direction]);
  tls.fed[direction] = net::kNoIndex;
  const Chain& chain = chain_[direction];
  if (chain.count > 0 && chain.offset >= worker_.buffers_->Length(chain.head)) DropHead(direction);
}

size_t Pair::ChainParts(unsigned direction, std::span<std::span<const uint8_t>> parts) {
  const Chain& chain = chain_[direction];
  size_t count = 0;
  for (uint16_t id = chain.head, left = chain.count; left > 0 && count < parts.size(); --left) {
    std::span<const uint8_t> bytes = worker_.buffers_->Bytes(id);
    parts[count] = count == 0 ? bytes.subspan(chain.offset) : bytes;
    ++count;
    id = worker_.buffers_->Next(id);
  }
  return count;
}

// The next bytes of a direction, in the clear. 0: none are there, for now or for ever; or the
// source's TLS failed, which stands in Tls::failed.
size_t Pair::TlsParts(unsigned direction, std::span<std::span<const uint8_t>> parts) {
  Tls& tls = TlsOf();
  net::TlsEngine* source = tls.engine[direction].get();
  if (source == nullptr) return ChainParts(direction, parts);
  while (tls.fed[direction] == net::kNoIndex) {
    if (chain_[direction].count == 0 && !tls.more[direction]) return 0;
    const net::TlsFeed feed = TlsFeedHead(direction);
    if (feed.state == net::TlsState::kPeerClosed) {
      Set(kEof, direction);
      tls.closed[direction] = true;
    }
    if (feed.state == net::TlsState::kFailed) {
      tls.failed = true;
      if (end_ == EndReason::kNone) end_ = EndReason::kTlsError;
      TlsFlush(direction);
      return 0;
    }
    if (source->wants_output()) TlsFlush(direction);
  }
  const Fed& fed = worker_.feds_[tls.fed[direction]];
  size_t count = 0;
  for (size_t i = fed.span; i < fed.plain.count && count < parts.size(); ++i) {
    const std::span<const uint8_t> span = fed.plain.spans[i];
    parts[count] = count == 0 ? span.subspan(fed.offset) : span;
    ++count;
  }
  return count;
}

void Pair::TlsConsume(unsigned direction, size_t bytes) {
  const Tls& tls = TlsOf();
  if (tls.engine[direction] == nullptr) {
    while (bytes > 0) {
      Chain& chain = chain_[direction];
      const size_t here = worker_.buffers_->Length(chain.head) - chain.offset;
      if (bytes < here) {
        chain.offset = static_cast<uint16_t>(chain.offset + bytes);
        return;
      }
      bytes -= here;
      DropHead(direction);
    }
    return;
  }
  Fed& fed = worker_.feds_[tls.fed[direction]];
  fed.left -= bytes;
  if (fed.left == 0) {
    DropFed(direction);
    return;
  }
  while (bytes > 0) {
    const size_t here = fed.plain.spans[fed.span].size() - fed.offset;
    const size_t now = std::min(here, bytes);
    fed.offset += now;
    bytes -= now;
    if (now == here) {
      ++fed.span;
      fed.offset = 0;
    }
  }
}

// --- Onwards ----------------------------------------------------------------------------------

// Sends the next bytes of a direction, if there are any and no send is in flight. May free the
// Pair.
void Pair::TlsMove(unsigned direction) {
  if (state_ == State::kSecuring) {
    // Our PROXY header is out.
    if (direction == 0 && !HeaderPending()) SecureNode();
    return;
  }
  if (state_ != State::kOpen || Vain(direction)) return;
  if (InFlight(kSend + direction) || (direction == 0 && HeaderPending())) return;
  const unsigned side = 1 - direction;
  const Tls& tls = TlsOf();
  if (!tls.failed) {
    std::array<std::span<const uint8_t>, kParts> room;
    const auto parts = std::span(room).first(TlsParts(direction, room));
    if (!tls.failed) {
      const bool sealed = tls.engine[side] != nullptr;
      if (parts.empty() && !(sealed && tls.engine[side]->wants_output())) {
        // All that came was a part of a record: no send will end that could resume.
        if (Has(kPaused, direction) && !InFlight(kRecv + direction)) MaybeResume(direction);
        TlsFinish(direction);
      } else if (sealed) {
        TlsSeal(direction, parts);
      } else {
        worker_.ring().Send(slot_[side], parts[0], Begin(kSend + direction));
      }
    }
  }
  if (tls.failed) TlsEndFailed();
}

void Pair::TlsSeal(unsigned direction, std::span<const std::span<const uint8_t>> parts) {
  const unsigned side = 1 - direction;
  Tls& tls = TlsOf();
  net::TlsEngine& sink = *tls.engine[side];
  Tls::Out& out = tls.out[side];
  size_t plain = 0;
  for (const auto& part : parts) plain += part.size();
  out.large = plain > kSmallPlain;
  out.data = worker_.outputs_.Take(out.large);
  const std::span<uint8_t> room(out.data, net::OutputPool::Capacity(out.large));
  size_t produced = sink.wants_output() ? sink.Flush(room) : 0;
  const net::TlsSealed sealed = sink.Write(parts, room.subspan(produced));
  produced += sealed.produced;
  out.size = static_cast<uint16_t>(produced);
  out.sent = 0;
  if (sealed.consumed > 0) TlsConsume(direction, sealed.consumed);
  if (produced == 0) {
    GiveOut(side);
    // Nothing could be sealed though there was all the room: this side is lost.
    tls.failed = true;
    if (end_ == EndReason::kNone) end_ = EndReason::kTlsError;
    return;
  }
  SendOut(side);
  if (Has(kPaused, direction) && !InFlight(kRecv + direction)) MaybeResume(direction);
}

// Nothing is left to send in this direction, for now. May free the Pair.
void Pair::TlsFinish(unsigned direction) {
  if (!Has(kEof, direction) || Has(kShut, direction)) return;
  const unsigned side = 1 - direction;
  Tls& tls = TlsOf();
  net::TlsEngine* sink = tls.engine[side].get();
  // An end that was cut off is passed on as one: without the word that says it is complete.
  const bool truncated = tls.engine[direction] != nullptr && !tls.closed[direction];
  if (sink != nullptr && !tls.goodbye[side] && !truncated && !SideHas(kLost, direction)) {
    tls.goodbye[side] = true;
    sink->Shutdown();
    if (sink->wants_output()) {
      TlsFlush(side);
      return;
    }
  }
  FinishDirection(direction, truncated);
}

// What is on its way to the sink, which is lost. No send is in flight.
void Pair::TlsDrop(unsigned direction) {
  Tls& tls = TlsOf();
  GiveOut(1 - direction);
  if (tls.fed[direction] != net::kNoIndex) DropFed(direction);
  tls.more[direction] = false;
}

// The last alert is given the time of its way; then this is the end. May free the Pair.
void Pair::TlsEndFailed() {
  // Behind what was under way when it failed.
  TlsFlush(0);
  TlsFlush(1);
  if (InFlight(kSend) || InFlight(kSend + 1)) {
    Schedule(std::chrono::seconds(1));
    return;
  }
  const net::TlsEngine* client = TlsOf().engine[0].get();
  if (client != nullptr && client->state() == net::TlsState::kFailed && !Has(kEof, 0)) {
    SayLastWords(EndReason::kTlsError);
  } else {
    End(EndReason::kTlsError);
  }
}

// --- Out --------------------------------------------------------------------------------------

// What the side's engine says by itself: its part of a handshake, tickets, alerts. With a send in
// flight it comes after that.
void Pair::TlsFlush(unsigned side) {
  const unsigned direction = 1 - side;
  if (InFlight(kSend + direction) || Has(kShut, direction)) return;
  Tls& tls = TlsOf();
  net::TlsEngine* engine = tls.engine[side].get();
  if (engine == nullptr || !engine->wants_output()) return;
  Tls::Out& out = tls.out[side];
  out.large = state_ != State::kOpen;
  out.data = worker_.outputs_.Take(out.large);
  out.size = static_cast<uint16_t>(engine->Flush({out.data, net::OutputPool::Capacity(out.large)}));
  out.sent = 0;
  if (out.size == 0) {
    GiveOut(side);
  } else {
    SendOut(side);
  }
}

// Words in the clear. They may join those that are still under way.
bool Pair::SendWords(unsigned side, std::string_view words) {
  if (words.empty()) return true;
  Tls::Out& out = TlsOf().out[side];
  if (out.data == nullptr) {
    out = {.data = worker_.outputs_.Take(true), .size = 0, .sent = 0, .large = true};
  }
  if (out.size + words.size() > net::OutputPool::Capacity(out.large)) return false;
  std::copy(words.begin(), words.end(), out.data + out.size);
  out.size = static_cast<uint16_t>(out.size + words.size());
  if (!InFlight(kSend + 1 - side)) SendOut(side);
  return true;
}

void Pair::SendOut(unsigned side) {
  const Tls::Out& out = TlsOf().out[side];
  worker_.ring().Send(slot_[side], std::span(out.data + out.sent, out.data + out.size),
                      Begin(kSend + 1 - side));
}

void Pair::GiveOut(unsigned side) {
  Tls::Out& out = TlsOf().out[side];
  if (out.data != nullptr) worker_.outputs_.Give(out.data, out.large);
  out = {};
}

void Pair::OnTlsSend(unsigned direction, int32_t result) {
  const unsigned side = 1 - direction;
  Tls& tls = TlsOf();
  Tls::Out& out = tls.out[side];
  if (result < 0) {
    Lose(side, result);
    return;
  }
  if (out.data != nullptr) {
    out.sent = static_cast<uint16_t>(out.sent + result);
    if (out.sent < out.size) {
      SendOut(side);
      return;
    }
    GiveOut(side);
  } else {
    TlsConsume(direction, static_cast<size_t>(result));
  }
  switch (state_) {
    case State::kOpen:
      Touch(direction);
      if (Has(kPaused, direction) && !InFlight(kRecv + direction)) MaybeResume(direction);
      TlsMove(direction);
      return;
    case State::kLastWords:
      TlsFlush(0);
      if (!InFlight(kSend + 1)) OnLastWordsSaid();
      return;
    case State::kOpening:
      if (tls.opening->agreed) OnAgreed();
      return;
    default:
      TlsFlush(side);
  }
}

}  // namespace lb
