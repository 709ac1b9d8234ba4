// The server's sockets, and the threads that serve on them.
//
// Opened or taken over once, at start; the threads may stop and start again on the same sockets
// (what comes in between waits in their queues). All on the control thread, which owns this. Ends
// with Stop(); the sockets close with the object.
#pragma once

#include <array>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "dns/answer/publisher.h"
#include "dns/config/config.h"
#include "dns/serve/query_log.h"
#include "dns/serve/tcp_server.h"
#include "dns/serve/transfer.h"
#include "dns/serve/udp_worker.h"
#include "dns/serve/update_sink.h"
#include "net/service/hand_over.h"

namespace dns {

// Sockets that came from an older process, with the addresses they are bound to.
struct InheritedSockets {
  struct Udp {
    net::UniqueFd fd;
    net::Address local;
  };
  std::vector<Udp> udp;
  std::vector<TcpListenerFd> tcp;
};
// Those of them that are of this server, out of what an older process leaves.
InheritedSockets TakeSockets(net::Inheritance& inheritance);

// Sums over workers, those that have ended included.
struct Totals {
  std::array<uint64_t, kTransports> queries{};
  std::array<uint64_t, kRcodeCount> responses{};
  std::array<uint64_t, kCountedTypes.size() + 1> types{};
  uint64_t dropped = 0, malformed = 0, truncated = 0, additional_left_out = 0;
  uint64_t rrl_dropped = 0, rrl_slipped = 0, cookies_valid = 0, cookies_bad = 0, dnssec_ok = 0;
  uint64_t signed_on_demand = 0, sign_budget_spent = 0;
  uint64_t transfers = 0, transfers_incremental = 0, transfers_refused = 0;
  uint64_t tsig_refused = 0, tsig_good = 0, receive_errors = 0, send_errors = 0, batches = 0;

  void Add(const Counters& counters);
};

class Serving {
 public:
  Serving(const TransferSource& transfers, UpdateSink updates)
      : transfers_(transfers), updates_(std::move(updates)) {}

  // Takes over what has the right address, binds the rest. "" or why not. Sockets of addresses that
  // are no longer in the configuration close with `inherited`.
  std::string Open(const Config& config, InheritedSockets inherited);
  // The certificates of the configuration; null without DNS over TLS.
  static std::expected<std::shared_ptr<const net::TlsServerContext>, std::string> LoadTls(
      const Config& config);
  // For certificates that were renewed; before Start() or while it serves.
  void SetTls(std::shared_ptr<const net::TlsServerContext> tls);

  std::string Start(const Config& config, Publisher& publisher);  // "" or why not
  void Stop(bool drain);

  std::vector<net::Inheritance::Socket> Share() const;  // duplicates
  Totals Sum() const;
  // What an older process has counted.
  void SetRetired(const Totals& counts) { retired_ = counts; }
  const Totals& retired() const { return retired_; }
  // The address of a client that was rate-limited lately; "" when there was none.
  std::string LastLimited() const;
  void DrainQueryLogs();
  size_t udp_workers() const { return workers_.size(); }
  const TcpCounters* tcp_counters() const { return tcp_ ? &tcp_->tcp->tcp_counters() : nullptr; }

 private:
  struct Bound {
    net::UniqueFd fd;
    net::Address local;
  };
  struct Slot {
    std::unique_ptr<ResponderConfig> config;  // what the worker refers to
    std::unique_ptr<QueryLog> log;
    Publisher::Reader* reader = nullptr;
    std::unique_ptr<UdpWorker> udp;
    std::unique_ptr<TcpServer> tcp;
  };
  std::string OpenTcp(const std::vector<net::Address>& addresses, bool tls,
                      InheritedSockets& inherited);
  void StartUdp(const Config& config, Publisher& publisher);
  std::string StartTcp(const Config& config, Publisher& publisher);

  const TransferSource& transfers_;
  UpdateSink updates_;
  Publisher* publisher_ = nullptr;  // since Start()
  std::shared_ptr<const net::TlsServerContext> tls_;
  std::vector<Bound> udp_sockets_;
  std::vector<TcpListenerFd> tcp_sockets_;
  std::vector<Slot> workers_;
  std::unique_ptr<Slot> tcp_;
  Totals retired_;  // of workers that have ended
};

}  // namespace dns
