// One thread, one UDP socket: receives queries in batches, answers them, sends the batch.
//
// Two engines behind one interface: recvmmsg/sendmmsg, and io_uring (multishot receive into
// provided buffers). dns/README.md has what they measured; the faster one is the default.
//
// A worker blocks while nothing comes. Stop() makes it leave within kWakeInterval; what stood in
// the socket's queue by then has been answered, unless the socket goes on living elsewhere (an
// upgrade), whose new owner answers it.
#pragma once

#include <atomic>
#include <chrono>
#include <expected>
#include <memory>
#include <string>
#include <thread>

#include "dns/answer/publisher.h"
#include "dns/answer/responder.h"
#include "dns/serve/query_log.h"
#include "dns/serve/udp.h"
#include "dns/serve/update_sink.h"
#include "net/base/address.h"
#include "net/io/socket.h"

namespace dns {

enum class UdpEngine { kRecvmmsg, kIoUring };
std::string_view ToString(UdpEngine engine);

struct UdpWorkerOptions {
  UdpEngine engine = UdpEngine::kRecvmmsg;
  int receive_buffer_bytes = 4 << 20;
  int cpu = -1;  // pinned to this one; -1: not
  // Answers are small enough for every path, so that they are sent with DF and never in fragments,
  // which can be spoofed (RFC 9715). It also spares the kernel the search for an IP identification.
  bool dont_fragment = true;
  const UpdateSink* updates = nullptr;  // null: they are refused
};

// A bound UDP socket with SO_REUSEPORT. On a wildcard address it reports the destination of each
// query, so that the answer leaves from there.
std::expected<net::UniqueFd, std::string> BindUdp(const net::Address& address,
                                                  const UdpWorkerOptions& options);

// The options that may change while it is bound.
void ApplyUdpOptions(int fd, const net::Address& address, const UdpWorkerOptions& options);

class UdpWorker {
 public:
  UdpWorker(net::UniqueFd socket, const net::Address& local, const UdpWorkerOptions& options,
            const ResponderConfig& config, Publisher::Reader* reader, QueryLog* log);
  ~UdpWorker();  // stops and joins

  void Start();
  // Leaves without reading on; `drain`: first answers what is in the socket's queue.
  void Stop(bool drain);
  void Join();

  int fd() const { return socket_.get(); }
  const net::Address& local() const { return local_; }
  const Counters& counters() const { return responder_.counters(); }

 private:
  struct Batch;

  void Run();
  void RunRecvmmsg();
  void RunIoUring();
  int Receive(Batch& batch, bool wait);
  void Answer(Batch& batch, int received);

  net::UniqueFd socket_;
  net::Address local_;
  UdpWorkerOptions options_;
  bool wildcard_;
  Responder responder_;
  Publisher::Reader* reader_;
  QueryLog* log_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> drain_{false};
  std::thread thread_;
};

}  // namespace dns
