// What the connections of a worker share: the ground that a Conn stands on. ConnWorker makes it; a
// Conn knows no more of its worker than this.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "net/base/slab.h"
#include "net/conn/end_reason.h"
#include "net/conn/handshake_gate.h"
#include "net/conn/output_pool.h"
#include "net/conn/send_queue.h"
#include "net/io/buffer_pool.h"
#include "net/io/errors.h"
#include "net/io/event_loop.h"
#include "net/tls/tls_engine.h"

namespace net {

class Conn;

struct ConnOptions {
  uint32_t conns_max = 1024;
  uint32_t buffer_bytes = 4096;
  uint32_t buffers_initial = 256;
  uint32_t buffers_max = 16'384;

  // What waits to be sent on one connection. From `high` on Send() says so, at `low` the host
  // hears OnWritable(); at `max` the peer is taken for one that does not read.
  size_t send_queue_bytes_high = size_t{64} << 10U;
  size_t send_queue_bytes_low = size_t{16} << 10U;
  size_t send_queue_bytes_max = size_t{4} << 20U;

  Duration connect_timeout = std::chrono::seconds(10);
  Duration handshake_timeout = std::chrono::seconds(30);
  // From our last word until the peer has read it and ended its side.
  Duration linger = std::chrono::seconds(5);

  HandshakeGate::Options handshakes;
};

// Places beyond conns_max, for those that the kernel has accepted before a full worker could stop
// it.
inline constexpr uint32_t kConnsReserve = 512;

// Written by the worker alone, read by anyone.
struct ConnStats {
  using Counter = std::atomic<uint64_t>;
  Counter accepted{0};
  Counter connects{0};
  Counter refused_full{0};  // conns_max
  Counter open{0};          // now
  Counter output_bytes{0};  // now: buffers of what waits to be sent
  Counter bytes_in{0};      // as they came from the kernel
  Counter bytes_out{0};
  Counter buffer_starvations{0};
  Counter congestions{0};  // a queue passed its high water
  Counter handshakes_waited{0};
  std::array<std::array<Counter, kEndWhens>, kEndReasons> ended{};
  std::array<Counter, kErrnos> errnos{};  // that began an end
  // Of TLS: copies of what the TlsWorker counts.
  Counter tls_full{0};
  Counter tls_resumed{0};
  Counter tls_failed{0};
  Counter tls_records_failed{0};

  static void Add(Counter& counter, uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
};

// Of a connection while it has something to send, and no longer.
struct Outbox {
  static constexpr size_t kVectors = 16;  // parts of one send

  SendQueue queue;
  size_t clear_left = 0;      // of the queue, before TLS begins on an open connection
  uint8_t* sealed = nullptr;  // records on their way, from the output pool
  uint32_t sealed_size = 0;
  uint32_t sealed_sent = 0;
  bool sealed_large = false;
  std::array<iovec, kVectors> vectors;  // of the send under way
  msghdr message{};
};

class ConnGround {
 public:
  virtual ~ConnGround() = default;

  // Has something to do at the end of this turn.
  virtual void ListDue(Conn& conn) = 0;
  // Found no buffer; is told when there is one again.
  virtual void Starved(Conn& conn) = 0;
  virtual void Schedule(Conn& conn, Duration from_now) = 0;
  virtual void Unschedule(Conn& conn) = 0;
  // TLS was used in this turn, and its worker has work at the end of it.
  virtual void TlsUsed() = 0;

  Ring& ring() { return loop.ring(); }
  // Since the worker was made; wraps after 49 days, as all differences allow.
  uint32_t NowMs() const {
    return static_cast<uint32_t>((loop.now() - epoch) / std::chrono::milliseconds(1));
  }

  EventLoop& loop;
  const ConnOptions options;
  const Time epoch;
  ConnStats stats;
  std::unique_ptr<BufferPool> buffers;
  std::unique_ptr<TlsWorker> tls;
  OutputPool outputs;
  PartPool parts{outputs};
  Slab<Outbox, 64> outboxes;
  HandshakeGate gate;

 protected:
  ConnGround(EventLoop& l, const ConnOptions& o, std::atomic<uint32_t>& places)
      : loop(l),
        options(o),
        epoch(l.now()),
        outboxes(o.conns_max + kConnsReserve),
        gate(o.handshakes, places) {}
};

}  // namespace net
