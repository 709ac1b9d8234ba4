#include "dns/admin.h"

#include <algorithm>

#include "net/metrics.h"
#include "net/socket.h"

namespace dns {

class AdminServer::Connection final : public net::StreamHandler {
 public:
  Connection(AdminServer& owner, net::Slot slot)
      : owner_(owner), stream_(net::Stream::Accepted(owner.loop_, slot, this)) {
    timer_ = owner_.loop_.After(kAdminIdle, [this] { owner_.Drop(this); });
  }
  ~Connection() {
    owner_.loop_.CancelTimer(timer_);
    stream_->Abort();
  }
  bool dropped = false;

 private:
  void OnData(std::span<const uint8_t> data) override {
    auto fed = parser_.Feed({reinterpret_cast<const char*>(data.data()), data.size()});
    if (!fed) return Fail(fed.error());
    while (!closing_) {
      auto request = parser_.Next();
      if (!request) return Fail(request.error());
      if (!*request) return;
      net::HttpResponse response = Page(owner_.control_, **request);
      stream_->Write(net::SerializeResponse(response, **request));
      if (!(*request)->keep_alive) Close();
    }
  }
  void OnEnd() override { Close(); }
  void OnClosed(std::string_view) override { owner_.Drop(this); }

  void Fail(net::HttpError error) {
    stream_->Write(net::SerializeError(error));
    Close();
  }
  void Close() {
    closing_ = true;
    stream_->CloseWhenSent();
  }

  AdminServer& owner_;
  net::HttpRequestParser parser_;
  std::shared_ptr<net::Stream> stream_;
  net::EventLoop::TimerId timer_;
  bool closing_ = false;
};

AdminServer::AdminServer(net::EventLoop& loop, const Control& control)
    : loop_(loop), control_(control) {}

AdminServer::~AdminServer() = default;

std::string AdminServer::Listen(const std::string& text) {
  auto address = net::Address::Parse(text);
  if (!address) return text + ": " + address.error().what;
  net::SocketName name = address->ToSocketName();
  auto fd = net::Listen(name.get(), name.size(), {.backlog = 128, .reuse_port = true});
  if (!fd) return fd.error();
  acceptor_ = std::make_unique<net::Acceptor>(loop_, std::move(*fd), [this](net::Slot slot) {
    if (connections_.size() >= kAdminConnectionsMax) {
      loop_.ring().Close(slot);
      return;
    }
    connections_.push_back(std::make_unique<Connection>(*this, slot));
  });
  return "";
}

void AdminServer::Drop(Connection* connection) {
  if (connection->dropped) return;
  connection->dropped = true;
  // Behind the callback that we may be in.
  loop_.Post([this, connection] {
    std::erase_if(connections_, [&](const auto& owned) { return owned.get() == connection; });
  });
}

net::HttpResponse AdminServer::Page(const Control& control, const net::HttpRequest& request) {
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
