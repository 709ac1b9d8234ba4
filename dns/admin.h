// The admin pages over HTTP: /livez, /readyz, /status, /states, /view (for the other DNS nodes),
// /stats, /metrics. Read-only; meant for loopback or a management network. On the control loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dns/control.h"
#include "net/http.h"
#include "net/stream.h"

namespace dns {

constexpr size_t kAdminConnectionsMax = 64;
constexpr net::Duration kAdminIdle = std::chrono::seconds(10);

class AdminServer {
 public:
  AdminServer(net::EventLoop& loop, const Control& control);
  ~AdminServer();

  std::string Listen(const std::string& address);  // "" or why not

  // The page for a request. Pure but for what `control` says.
  static net::HttpResponse Page(const Control& control, const net::HttpRequest& request);

 private:
  class Connection;
  void Drop(Connection* connection);

  net::EventLoop& loop_;
  const Control& control_;
  std::unique_ptr<net::Acceptor> acceptor_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace dns
