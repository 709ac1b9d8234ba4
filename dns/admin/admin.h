// The admin pages over HTTP: /livez, /readyz, /status, /states, /view (for the other DNS nodes),
// /stats, /metrics. Read-only; meant for loopback or a management network. On the control loop.
#pragma once

#include <memory>
#include <string>

#include "dns/control/control.h"
#include "net/http/http.h"
#include "net/http/http_server.h"

namespace dns {

// The page for a request. Pure but for what `control` says.
net::HttpResponse AdminPage(const Control& control, const net::HttpRequest& request);

class AdminServer {
 public:
  AdminServer(net::EventLoop& loop, const Control& control) : loop_(loop), control_(control) {}

  std::string Listen(const std::string& address);  // "" or why not

 private:
  net::EventLoop& loop_;
  const Control& control_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace dns
