#include "lb/control/node_checks.h"

#include <sys/socket.h>

#include <array>

#include "net/base/check.h"
#include "net/proxy_protocol/proxy_protocol.h"

namespace lb {
namespace {

// The PROXY header of a connection that is the balancer's own (PROXY protocol, 2.1 and 2.2).
std::string OwnProxyHeader(SendProxy version) {
  switch (version) {
    case SendProxy::kOff:
      return {};
    case SendProxy::kV1:
      return "PROXY UNKNOWN\r\n";
    case SendProxy::kV2:
      break;
  }
  std::array<uint8_t, net::kProxyV2LocalCheckBytes> header{};
  auto size = net::EncodeProxyV2LocalCheck(header);
  CHECK(size.has_value());
  return {reinterpret_cast<const char*>(header.data()), *size};
}

net::CheckSpec SpecOf(const CheckConfig& config) {
  net::CheckSpec spec{.type = config.type,
                      .preamble = OwnProxyHeader(config.send_proxy),
                      .method = config.method,
                      .path = config.path,
                      .host = config.host,
                      .body = config.body,
                      .user = config.user,
                      .password = config.password,
                      .expect_status = config.expect_status,
                      .expect_json = config.expect_json,
                      .expect_value = config.expect_value,
                      .to = config.to,
                      .xmlns = config.xmlns};
  for (const net::HttpHeader& header : config.headers) {
    spec.headers.emplace_back(header.name, header.value);
  }
  return spec;
}

}  // namespace

net::SocketName OnPort(const net::SocketName& address, uint16_t port) {
  if (port == 0 || address.family() == AF_UNIX) return address;
  auto ip = net::Address::FromSockaddr(address.get(), address.size());
  CHECK(ip.has_value());
  return ip->WithPort(port).ToSocketName();
}

NodeChecks::NodeChecks(net::EventLoop& loop, net::FastRandom& random, const NodeHealth& health,
                       const PoolConfig& pool, const net::SocketName& address, Events events)
    : loop_(loop),
      random_(random),
      health_(health),
      address_(address),
      status_(pool.status),
      events_(std::move(events)) {
  for (const CheckConfig& check : pool.checks) {
    runs_.push_back({.spec = SpecOf(check),
                     .address = OnPort(address, check.port),
                     .timeout = check.timeout,
                     .tls = check.tls});
  }
  for (size_t i = 0; i < runs_.size(); ++i) ScheduleCheck(i, health.check(i).FirstIn(random_));
  if (status_) ScheduleFetch(net::Duration::zero());
}

NodeChecks::~NodeChecks() {
  *alive_ = false;
  for (Run& run : runs_) loop_.CancelTimer(run.timer);
  loop_.CancelTimer(fetch_timer_);
}

void NodeChecks::ScheduleCheck(size_t index, net::Duration in) {
  runs_[index].timer = loop_.After(in, [this, index] { RunCheck(index); });
}

void NodeChecks::RunCheck(size_t index) {
  Run& run = runs_[index];
  if (!health_.checks_wanted()) {
    ScheduleCheck(index, health_.check(index).NextIn(random_));
    return;
  }
  run.probe = std::make_unique<net::Probe>(
      loop_, run.address, run.spec.preamble,
      net::MakeCheckScript(run.spec, net::AddressText(run.address.get(), run.address.size())),
      run.timeout,
      [this, index](bool ok, const std::string& why) {
        // The probe may not destroy itself from inside its own report.
        auto keep = std::shared_ptr<net::Probe>(std::move(runs_[index].probe));
        loop_.Post([keep] {});
        // The next check's time depends on what the result changed; who hears of it may end us.
        const Events tell = events_;
        const auto alive = alive_;
        if (keep->ours()) {
          tell.on_not_checked(why);
        } else {
          tell.on_result(index, ok, why);
        }
        if (*alive) ScheduleCheck(index, health_.check(index).NextIn(random_));
      },
      run.tls ? std::optional(events_.tls()) : std::nullopt);
}

void NodeChecks::ScheduleFetch(net::Duration in) {
  fetch_timer_ = loop_.After(in, [this] { Fetch(); });
}

void NodeChecks::Fetch() {
  if (!health_.checks_wanted()) return ScheduleFetch(status_->interval);
  const net::SocketName address = OnPort(address_, status_->port);
  fetch_ = std::make_unique<net::HttpFetch>(
      loop_, address, net::AddressText(address.get(), address.size()), status_->path,
      status_->timeout, kClusterStatusMax, [this](std::expected<std::string, std::string> body) {
        auto keep = std::shared_ptr<net::HttpFetch>(std::move(fetch_));
        loop_.Post([keep] {});
        ScheduleFetch(status_->interval);
        const Events tell = events_;
        if (keep->ours()) {
          tell.on_not_checked(body.error());
        } else {
          tell.on_status(std::move(body));
        }
      });
}

}  // namespace lb
