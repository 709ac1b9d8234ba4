// A thread's share of all connections: their slab, buffers, timers, and the work that is put off to
// the end of a turn.
//
// Everything here runs on the loop's thread; other threads reach it with EventLoop::Post or a
// Mailbox. Only stats() may be read by anyone. One worker a loop: it takes the loop's turn end.
//
// End: Close(); from then on nothing is taken in. Destroy it afterwards, before the loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/base/slab.h"
#include "net/conn/conn.h"
#include "net/conn/conn_ground.h"
#include "net/io/timer_wheel.h"

namespace net {

class ConnWorker final : private ConnGround {
 public:
  // A tick of the timer wheel: what is due comes up to so much later.
  static constexpr Duration kTick = std::chrono::milliseconds(50);

  // `loop` must outlive the worker. `handshakes` counts the places of all workers that share it;
  // null for this one's own.
  static std::expected<std::unique_ptr<ConnWorker>, std::string> Create(
      EventLoop& loop, const ConnOptions& options,
      std::shared_ptr<std::atomic<uint32_t>> handshakes = nullptr);
  ~ConnWorker() override;
  ConnWorker(const ConnWorker&) = delete;
  ConnWorker& operator=(const ConnWorker&) = delete;

  // A socket that was accepted, and whose peer is known, or is asked for: `name_bytes` is the exact
  // size of an address there, 0 on a Unix socket. Null: closed, or not even the reserve
  // has a place; the slot is the caller's still.
  Conn* Accept(Slot slot, const Address* peer, int32_t name_bytes, ConnHost& host,
               ConnTls tls = {});
  // Null as above, or no slot is free; else the host hears OnOpen() or OnClosed().
  Conn* Connect(const SocketName& to, ConnHost& host, ConnTls tls = {});

  void EndAll(EndReason reason);
  // The end: nothing is served from here on, and nothing taken in. Turns the loop until all
  // operations have come back. The error says what has not within `limit`; its memory must stay.
  std::expected<void, std::string> Close(EndReason reason, Duration limit);

  // Runs at the end of each turn, before what was queued in it goes out.
  void SetTurnEnd(Task task) { host_turn_end_ = std::move(task); }

  template <typename F>
  void ForEach(F&& f) {
    conns_.ForEach([&](uint32_t, Conn& conn) {
      if (conn.state() < Conn::State::kClosing) f(conn);
    });
  }
  uint32_t size() const { return conns_.size(); }
  bool full() const { return conns_.size() >= options.conns_max; }
  const ConnStats& conn_stats() const { return stats; }
  EventLoop& event_loop() { return loop; }
  BufferPool& buffer_pool() { return *buffers; }
  TlsWorker& tls_worker() { return *tls; }
  // What is lent out, for tests: an idle worker's are zero.
  size_t output_buffers() const { return outputs.out(); }
  uint32_t outboxes_in_use() const { return outboxes.size(); }
  uint32_t handshake_places() const { return places_->load(std::memory_order_relaxed); }

 private:
  ConnWorker(EventLoop& l, const ConnOptions& o, std::shared_ptr<std::atomic<uint32_t>> places);

  void ListDue(Conn& conn) override { due_.push_back(conn.index()); }
  void Starved(Conn& conn) override;
  void Schedule(Conn& conn, Duration from_now) override;
  void Unschedule(Conn& conn) override;
  void TlsUsed() override { tls_used_ = true; }

  Conn* Made(uint32_t index);
  WheelNode& NodeOf(uint32_t index) { return conns_[index].wheel_node(); }
  uint64_t Tick() const { return static_cast<uint64_t>((loop.now() - epoch) / kTick); }
  void ArmTick();
  void OnTick();
  void OnTurnEnd();
  void ServeDue();
  void ServeHandshakes();
  void ServeStarved();
  void PublishTls();

  const std::shared_ptr<std::atomic<uint32_t>> places_;
  Slab<Conn> conns_;
  TimerWheel<> wheel_{0};
  bool tick_armed_ = false;
  bool closed_ = false;
  bool tls_used_ = false;
  std::vector<uint32_t> due_;
  std::vector<uint32_t> serving_;  // of due_, at the moment
  std::deque<uint32_t> starved_;   // those that found no buffer, in order
  Task host_turn_end_;
};

}  // namespace net
