#include "dns/admin/admin.h"

#include <utility>

#include "dns/admin/ctl_server.h"
#include "net/io/socket.h"
#include "net/report/metrics.h"

namespace dns {

std::expected<net::UniqueFd, std::string> AdminServer::Listen(const std::string& text) {
  auto address = net::Address::Parse(text);
  if (!address) return std::unexpected(text + ": " + address.error().what);
  const net::SocketName name = address->ToSocketName();
  // Shared, since the listener of a process that was killed lives until the kernel has taken its
  // ring apart, which may be after the next one's start.
  return net::Listen(name.get(), name.size(), {.backlog = 128, .reuse_port = true});
}

AdminServer::AdminServer(net::EventLoop& loop, Control& control, net::UniqueFd listener)
    : control_(control),
      server_(std::make_unique<net::HttpServer>(
          loop, std::move(listener), [this](const net::HttpRequest& request) {
            if (request.path == "/order" && request.method == "POST") {
              return control_.TakeOrder(request, [this](const std::string& line) {
                return DoFleetOrder(control_, line);
              });
            }
            net::HttpResponse page = AdminPage(control_, request);
            return request.path == "/view" ? control_.SignView(request, std::move(page)) : page;
          })) {}

net::HttpResponse AdminPage(const Control& control, const net::HttpRequest& request) {
  net::HttpResponse response;
  if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.headers.push_back({"Allow", "GET, HEAD"});
    response.body = "only GET and HEAD\n";
    return response;
  }
  auto json = [&](std::string body) {
    response.content_type = "application/json";
    response.body = std::move(body) + "\n";
  };
  if (request.path == "/livez") {
    response.body = "ok\n";
  } else if (request.path == "/readyz") {
    response.status = control.ready() ? 200 : 503;
    response.body = control.ready() ? "ok\n" : "not ready\n";
  } else if (request.path == "/status") {
    json(control.StatusJson());
  } else if (request.path == "/states") {
    json(control.StatesJson());
  } else if (request.path == "/stats") {
    json(control.StatsJson());
  } else if (request.path == "/view") {
    json(control.ViewJson());
  } else if (request.path == "/metrics") {
    response.content_type = std::string(net::MetricsWriter::kContentType);
    response.body = control.Metrics();
  } else {
    response.status = 404;
    response.body = "pages: /livez /readyz /status /states /stats /view /metrics\n";
  }
  response.headers.push_back({"Cache-Control", "no-store"});
  response.headers.push_back({"X-Content-Type-Options", "nosniff"});
  return response;
}

}  // namespace dns
