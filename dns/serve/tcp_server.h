// Queries over TCP (RFC 7766) and TLS (RFC 7858), and zone transfers: one thread with a loop of its
// own.
//
// Clients may pipeline. Each bound has a name in TcpConfig and a counter: clients in all (the
// longest idle one makes room), clients of one address (further ones are closed at once), queries
// on a connection, idle time (counted from the last whole query, so that dripping bytes does not
// help). Answers that a client does not read stop the reading of its queries at kQueueBytesMax.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dns/answer/publisher.h"
#include "dns/answer/responder.h"
#include "dns/config/config.h"
#include "dns/serve/query_log.h"
#include "dns/serve/transfer.h"
#include "dns/serve/update_sink.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"
#include "net/tls/context/tls_context.h"

namespace dns {

constexpr size_t kQueueBytesMax = 256 * 1024;
constexpr size_t kTransfersMax = 8;

struct TcpListenerFd {
  net::UniqueFd fd;
  net::Address local;
  bool tls = false;
};

struct TcpCounters {
  std::atomic<uint64_t> clients{0};  // now
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> refused_address{0};
  std::atomic<uint64_t> evicted{0};
  std::atomic<uint64_t> idle_closed{0};
  std::atomic<uint64_t> queries_max_closed{0};
  std::atomic<uint64_t> accept_errors{0};
  std::atomic<uint64_t> tls_failed{0};
};

class TcpServer {
 public:
  TcpServer(std::vector<TcpListenerFd> listeners, const TcpConfig& config,
            std::shared_ptr<const net::TlsServerContext> tls, const ResponderConfig& responder,
            Publisher::Reader* reader, QueryLog* log, const TransferSource* transfers,
            const UpdateSink* updates = nullptr);
  ~TcpServer();

  std::string Start();  // "" or why not
  // Stops accepting; connections have until `deadline` to finish what they asked.
  void Stop(net::Duration deadline);
  void Join();
  // For certificates that were renewed. Any thread.
  void SetTls(std::shared_ptr<const net::TlsServerContext> tls);

  const Counters& counters() const;
  const TcpCounters& tcp_counters() const { return tcp_counters_; }
  const std::vector<TcpListenerFd>& listeners() const { return listeners_; }

 private:
  class Loop;

  std::vector<TcpListenerFd> listeners_;
  TcpConfig config_;
  std::shared_ptr<const net::TlsServerContext> tls_;
  Responder responder_;
  Publisher::Reader* reader_;
  QueryLog* log_;
  const TransferSource* transfers_;
  const UpdateSink* updates_;
  // False when this is gone; the control thread looks before it hands a response back.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  TcpCounters tcp_counters_;
  std::thread thread_;
  std::mutex posting_;  // held while the loop is posted to, and as it goes
  std::atomic<net::EventLoop*> event_loop_{nullptr};
  std::atomic<Loop*> loop_{nullptr};
};

}  // namespace dns
