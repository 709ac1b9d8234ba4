// A listening socket of one worker: accepts, learns who it is (from the kernel, or from a balancer
// in front by the PROXY protocol), keeps to the limits, and hands the connection to a session.
//
// When the worker is full, or descriptors run out, it pauses: connections wait in the listen queue,
// nothing spins. At the listener's own limit new ones are closed at once.
//
// Thread: the worker's. Destroying it stops it: what the kernel has accepted by then and nobody was
// given yet is closed; what sessions have goes on. Before its worker.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/base/address.h"
#include "net/conn/admission.h"
#include "net/conn/conn_worker.h"
#include "net/io/socket.h"
#include "net/proxy_protocol/proxy_protocol.h"

namespace net {

class ConnAcceptor {
 public:
  // The session that serves `conn`, which it hears OnOpen() of next; it keeps `admission`. Null:
  // refused.
  virtual ConnHost* OnAccepted(Conn& conn, Admission admission) = 0;
  // The same of one that a balancer has announced; the header's views live during the call.
  virtual ConnHost* OnAnnounced(Conn& conn, Admission admission, const ProxyHeader&) {
    return OnAccepted(conn, std::move(admission));
  }

 protected:
  ~ConnAcceptor() = default;
};

struct ConnListenerOptions {
  // In the log: which listener, and what gives it more room.
  std::string name = {};
  const char* full_remedy = "";
  ConnTls tls;  // spoken at once
  // Instead: what is spoken from now on; asked for each connection, so that it may change.
  std::function<ConnTls()> tls_now = {};
  uint32_t connections_max = 0;  // of all workers; 0 = none
  // A PROXY header stands before all else, from these (none: from everybody).
  bool accept_proxy = false;
  std::vector<Cidr> proxy_trusted;
  Duration proxy_header_timeout = std::chrono::seconds(5);
};

class ConnListener {
 public:
  // `counts` is the same for all workers of a listener.
  ConnListener(ConnWorker& worker, UniqueFd socket, ConnListenerOptions options,
               std::shared_ptr<ListenerCounts> counts, ConnAcceptor& acceptor);
  ~ConnListener();
  ConnListener(const ConnListener&) = delete;
  ConnListener& operator=(const ConnListener&) = delete;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace net
