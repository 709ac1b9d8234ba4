#include "net/conn/conn_worker.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "net/base/check.h"

namespace net {
namespace {

// What a worker that does not come to its end names of what it waits for.
constexpr size_t kWaitedForMax = 1024;
// Entries of connections that left, beyond those that a line may hold, before it is swept.
constexpr size_t kStaleMax = 64;
// Further away than a turn of the wheel is waited for in laps.
constexpr uint64_t kLap = 1000;
// Passes over what is due in one turn; what a host brings about again and again comes in the next.
constexpr int kPasses = 4;

}  // namespace

std::expected<std::unique_ptr<ConnWorker>, std::string> ConnWorker::Create(
    EventLoop& loop, const ConnOptions& options,
    std::shared_ptr<std::atomic<uint32_t>> handshakes) {
  if (handshakes == nullptr) handshakes = std::make_shared<std::atomic<uint32_t>>(0);
  std::unique_ptr<ConnWorker> worker(new ConnWorker(loop, options, std::move(handshakes)));
  auto buffers = BufferPool::Create(
      loop.ring(), {.buffer_bytes = options.buffer_bytes,
                    .initial = std::min(options.buffers_initial, options.buffers_max),
                    .maximum = options.buffers_max});
  if (!buffers) return std::unexpected(buffers.error());
  worker->buffers = std::move(*buffers);
  auto tls = TlsWorker::Create();
  if (!tls) return std::unexpected(tls.error());
  worker->tls = std::move(*tls);
  loop.SetTurnEnd([raw = worker.get()] { raw->OnTurnEnd(); });
  return worker;
}

ConnWorker::ConnWorker(EventLoop& l, const ConnOptions& o,
                       std::shared_ptr<std::atomic<uint32_t>> places)
    : ConnGround(l, o, *places), places_(std::move(places)), conns_(o.conns_max + kConnsReserve) {}

ConnWorker::~ConnWorker() {
  CHECK(conns_.size() == 0 && outboxes.size() == 0);
  loop.SetTurnEnd({});
}

// --- Connections ------------------------------------------------------------------------------

Conn* ConnWorker::Made(uint32_t index) {
  stats.open.store(conns_.size(), std::memory_order_relaxed);
  return &conns_[index];
}

Conn* ConnWorker::Accept(Slot slot, const Address* peer, int32_t name_bytes, ConnHost& host,
                         ConnTls tls_spec) {
  const uint32_t index =
      closed_ ? kNoIndex
              : conns_.Allocate(static_cast<ConnGround&>(*this), host, slot, Conn::State::kNaming);
  if (index == kNoIndex) {
    ConnStats::Add(stats.refused_full);
    return nullptr;
  }
  ConnStats::Add(stats.accepted);
  Conn* conn = Made(index);
  conn->BeginAccepted(peer, name_bytes, std::move(tls_spec));
  return conn;
}

Conn* ConnWorker::Connect(const SocketName& to, ConnHost& host, ConnTls tls_spec) {
  if (closed_ || full()) return nullptr;
  const Slot slot = ring().AllocateSlot();
  if (slot == kNoSlot) return nullptr;
  const uint32_t index =
      conns_.Allocate(static_cast<ConnGround&>(*this), host, slot, Conn::State::kConnecting);
  if (index == kNoIndex) {
    ring().Close(slot);
    ConnStats::Add(stats.refused_full);
    return nullptr;
  }
  ConnStats::Add(stats.connects);
  Conn* conn = Made(index);
  conn->BeginConnect(to, std::move(tls_spec));
  return conn;
}

void ConnWorker::EndAll(EndReason reason) {
  ForEach([&](Conn& conn) { conn.End(reason); });
}

std::expected<void, std::string> ConnWorker::Close(EndReason reason, Duration limit) {
  closed_ = true;
  EndAll(reason);
  const Time end = loop.clock().Now() + limit;
  while (conns_.size() > 0) {
    const Duration left = end - loop.clock().Now();
    if (left > Duration::zero()) {
      loop.RunOnce(due_.empty() ? left : Duration::zero());
      continue;
    }
    std::string what;
    conns_.ForEach([&](uint32_t index, Conn& conn) {
      if (what.size() > kWaitedForMax) return;
      what += (what.empty() ? "" : ", ") + std::string("connection ") + std::to_string(index) +
              " with " + conn.Waiting();
    });
    return std::unexpected(std::move(what));
  }
  return {};
}

// --- The end of a turn ------------------------------------------------------------------------

void ConnWorker::ServeDue() {
  for (int pass = 0; pass < kPasses && !due_.empty(); ++pass) {
    serving_.clear();
    serving_.swap(due_);
    for (const uint32_t index : serving_) {
      if (!conns_[index].OnTurn()) continue;
      conns_.Free(index);
      stats.open.store(conns_.size(), std::memory_order_relaxed);
    }
  }
}

void ConnWorker::ServeHandshakes() {
  auto live = [this](uint32_t index) { return conns_.Live(index) ? &conns_[index] : nullptr; };
  const bool more = gate.Serve(
      loop.clock(),
      [&](uint32_t index) {
        if (Conn* conn = live(index)) conn->OnHandshakeWork();
      },
      [&](uint32_t index) {
        Conn* conn = live(index);
        return conn == nullptr ? HandshakeGate::Offer::kGone : conn->OnHandshakePlace();
      },
      [&](uint32_t index, Time since) {
        Conn* conn = live(index);
        return conn != nullptr && conn->EvictIfSilent(since);
      });
  if (more) loop.After({}, [this] { tls_used_ = true; });  // lets the loop turn at once
  // Places are shared with other workers, who do not tell.
  if (gate.has_waiting()) ArmTick();
}

void ConnWorker::ServeStarved() {
  // One waiter for each free buffer, in order: more would only come back empty-handed.
  for (uint32_t room = buffers->free(); room > 0 && !starved_.empty();) {
    const uint32_t index = starved_.front();
    starved_.pop_front();
    if (!conns_.Live(index) || !conns_[index].starved()) continue;
    conns_[index].OnBuffersAvailable();
    --room;
  }
  // Those who were woken may need none after all; the next ones get their turn soon.
  if (!starved_.empty() && buffers->free() > 0) ArmTick();
}

void ConnWorker::OnTurnEnd() {
  if (host_turn_end_) host_turn_end_();
  ServeDue();
  if (tls_used_) {
    ServeHandshakes();
    ServeDue();
    tls->EndTurn();
    PublishTls();
    tls_used_ = gate.has_work();
  }
  // First, since it may add buffers: who waits must not wait for the next turn then.
  buffers->Publish();
  stats.output_bytes.store(outputs.out_bytes(), std::memory_order_relaxed);
  ServeStarved();
  if (!due_.empty()) loop.After({}, [] {});
}

void ConnWorker::PublishTls() {
  auto set = [](ConnStats::Counter& counter, uint64_t value) {
    counter.store(value, std::memory_order_relaxed);
  };
  const TlsCounters& counters = tls->counters();
  set(stats.tls_full, counters.handshakes_full);
  set(stats.tls_resumed, counters.handshakes_resumed);
  set(stats.tls_failed, counters.handshakes_failed);
  set(stats.tls_records_failed, counters.records_failed);
}

void ConnWorker::Starved(Conn& conn) {
  if (starved_.size() > 2 * size_t{conns_.size()} + kStaleMax) {
    std::erase_if(starved_, [this](uint32_t index) {
      return !conns_.Live(index) || !conns_[index].starved();
    });
  }
  starved_.push_back(conn.index());
}

// --- Time -------------------------------------------------------------------------------------

void ConnWorker::Schedule(Conn& conn, Duration from_now) {
  auto node_of = [this](uint32_t index) -> WheelNode& { return NodeOf(index); };
  const auto ticks = static_cast<uint64_t>((from_now + kTick - Duration(1)) / kTick);
  wheel_.Remove(conn.index(), node_of);
  wheel_.Insert(conn.index(), Tick() + ticks % kLap, node_of);
  conn.set_laps(static_cast<uint16_t>(std::min<uint64_t>(ticks / kLap, UINT16_MAX)));
  ArmTick();
}

void ConnWorker::Unschedule(Conn& conn) {
  wheel_.Remove(conn.index(), [this](uint32_t index) -> WheelNode& { return NodeOf(index); });
}

void ConnWorker::ArmTick() {
  if (tick_armed_) return;
  tick_armed_ = true;
  loop.After(kTick, [this] { OnTick(); });
}

void ConnWorker::OnTick() {
  tick_armed_ = false;
  auto node_of = [this](uint32_t index) -> WheelNode& { return NodeOf(index); };
  wheel_.Advance(Tick(), node_of, [&](uint32_t index) {
    Conn& conn = conns_[index];
    if (conn.laps() == 0) {
      conn.OnWheel();
      return;
    }
    conn.set_laps(static_cast<uint16_t>(conn.laps() - 1));
    wheel_.Insert(index, Tick() + kLap, node_of);
  });
  if (gate.has_waiting()) tls_used_ = true;
  if (tls->HeapTrimDue()) malloc_trim(0);
  if (wheel_.size() > 0 || gate.has_waiting()) ArmTick();
}

}  // namespace net
