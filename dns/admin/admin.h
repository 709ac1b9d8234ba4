// The admin pages over HTTP: /livez, /readyz, /status, /states, /view (for the other DNS nodes),
// /stats, /metrics. Read-only, but for /order: orders of the other nodes, which are signed
// (fleet.h). Meant for loopback or a management network. On the control loop.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "dns/control/control.h"
#include "net/http/http.h"
#include "net/http/http_server.h"
#include "net/io/socket.h"

namespace dns {

// The page for a request. Pure but for what `control` says.
net::HttpResponse AdminPage(const Control& control, const net::HttpRequest& request);

class AdminServer {
 public:
  AdminServer(net::EventLoop& loop, Control& control, net::UniqueFd listener);

  static std::expected<net::UniqueFd, std::string> Listen(const std::string& address);

 private:
  Control& control_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace dns
