#include "server/dist/dist_listener.h"

#include <sys/socket.h>

#include "net/io/accept_failure.h"

namespace server {
namespace {

net::Address Unspecified(bool ipv6) { return *net::Address::FromIp(ipv6 ? "::" : "0.0.0.0", 0); }

}  // namespace

std::expected<DistSocket, DistError> ListenInRange(const DistOptions& options) {
  uint32_t first = options.listen_min;
  uint32_t last = options.listen_max;
  if (options.fixed_port) first = last = *options.fixed_port;
  const net::Address ip = options.interface ? options.interface : Unspecified(options.ipv6);
  std::string error;
  for (uint32_t port = first; port <= last; ++port) {
    const net::SocketName name = ip.WithPort(static_cast<uint16_t>(port)).ToSocketName();
    auto fd = net::Listen(name.get(), name.size(), {.backlog = 128});
    if (!fd) {
      error = fd.error();
      continue;
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    getsockname(fd->get(), reinterpret_cast<sockaddr*>(&bound), &size);
    auto address = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&bound), size);
    return DistSocket{std::move(*fd), address ? address->port() : static_cast<uint16_t>(port)};
  }
  if (options.fixed_port) {
    return std::unexpected(
        DistError{"the distribution cannot listen on port " + std::to_string(first) + ": " + error,
                  "choose another ERL_DIST_PORT, on all nodes, or stop what listens there"});
  }
  return std::unexpected(DistError{
      "no port of inet_dist_listen_min " + std::to_string(first) + " .. inet_dist_listen_max " +
          std::to_string(last) + " is free; the last attempt: " + error,
      "each node of a machine needs one: widen the range in vm.args, or stop what listens there"});
}

class DistListener::State final : public net::Target, public std::enable_shared_from_this<State> {
 public:
  State(net::EventLoop& loop, net::UniqueFd fd, Accepted accepted)
      : loop_(loop), fd_(std::move(fd)), accepted_(std::move(accepted)) {}

  void Arm() {
    self_ = shared_from_this();
    loop_.Hold();
    peer_size_ = sizeof peer_;
    loop_.ring().AcceptOnce(fd_.get(), reinterpret_cast<sockaddr*>(&peer_), &peer_size_, {this, 0});
  }
  void Stop() {
    stopped_ = true;
    if (self_) loop_.ring().Cancel({this, 0});
  }

  void OnCompletion(unsigned, net::Completion completion) override {
    std::shared_ptr<State> keep = std::move(self_);
    self_.reset();
    loop_.Release();
    if (completion.result >= 0) {
      const auto slot = static_cast<net::Slot>(completion.result);
      if (stopped_) {
        loop_.ring().Close(slot);
        return;
      }
      auto peer = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&peer_), peer_size_);
      accepted_(slot, peer.value_or(net::Address()).Unmapped());
      if (!stopped_) Arm();
      return;
    }
    if (stopped_) return;
    net::LogAcceptFailure("dist", "nodes", -completion.result);
    loop_.After(net::kAcceptPause, [weak = weak_from_this()] {
      auto state = weak.lock();
      if (state && !state->stopped_) state->Arm();
    });
  }

 private:
  net::EventLoop& loop_;
  net::UniqueFd fd_;
  Accepted accepted_;
  bool stopped_ = false;
  sockaddr_storage peer_{};
  socklen_t peer_size_ = 0;
  std::shared_ptr<State> self_;  // while the accept is in flight
};

DistListener::DistListener(net::EventLoop& loop, net::UniqueFd fd, Accepted accepted)
    : state_(std::make_shared<State>(loop, std::move(fd), std::move(accepted))) {
  state_->Arm();
}

DistListener::~DistListener() { state_->Stop(); }

}  // namespace server
