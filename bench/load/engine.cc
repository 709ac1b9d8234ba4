#include "bench/load/engine.h"

#include <openssl/err.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "net/base/check.h"

namespace bench {
namespace {

constexpr std::size_t kEngineBufferBytes = std::size_t{256} * 1024;

}  // namespace

const char* ToString(FailReason reason) {
  switch (reason) {
    case FailReason::kConnect:
      return "connect";
    case FailReason::kHandshake:
      return "handshake";
    case FailReason::kReset:
      return "reset";
    case FailReason::kClosed:
      return "closed";
    case FailReason::kTimeout:
      return "timeout";
    case FailReason::kMismatch:
      return "mismatch";
    case FailReason::kRefused:
      return "refused";
    case FailReason::kResources:
      return "resources";
  }
  return "?";
}

const char* ToString(ConnState state) {
  switch (state) {
    case ConnState::kFree:
      return "free";
    case ConnState::kConnecting:
      return "connecting";
    case ConnState::kHandshaking:
      return "handshaking";
    case ConnState::kIdle:
      return "idle";
    case ConnState::kBusy:
      return "busy";
  }
  return "?";
}

Engine::Engine(EngineOptions options)
    : Meter(options.watched),
      options_(std::move(options)),
      conns_(options_.connections),
      buffer_(kEngineBufferBytes) {
  for (std::size_t i = 0; i < conns_.size(); ++i) conns_[i].index = static_cast<std::uint32_t>(i);
  result_.tls = options_.tls.enabled;
  result_.resume = options_.tls.resume;
  result_.target = options_.targets.front().ToString();
}

std::expected<std::unique_ptr<Engine>, std::string> Engine::Create(EngineOptions options) {
  if (options.targets.empty()) return std::unexpected("no target");
  std::unique_ptr<Engine> engine(new Engine(std::move(options)));
  engine->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (engine->epoll_ < 0) return std::unexpected(std::string("epoll: ") + std::strerror(errno));
  const EngineOptions& used = engine->options_;
  if (used.tls.enabled) {
    auto tls = TlsClient::Create(used.tls);
    if (!tls) return std::unexpected("TLS: " + tls.error());
    engine->tls_ = std::move(*tls);
    if (used.tls.resume) {
      const Endpoint* source = used.sources.empty() ? nullptr : &used.sources.front();
      const auto primed = engine->tls_->Prime(used.targets.front(), source, used.prime_request);
      if (!primed) return std::unexpected(primed.error());
    }
  }
  return engine;
}

Engine::~Engine() {
  for (Conn& conn : conns_) {
    if (conn.state != ConnState::kFree) Close(conn);
  }
  if (epoll_ >= 0) close(epoll_);
}

void Engine::Run(Scenario& scenario, std::int64_t stop_ns) {
  scenario_ = &scenario;
  now_ns_ = MonotonicNs();
  run_start_ns_ = now_ns_;
  next_housekeeping_ns_ = now_ns_ + kHousekeepingNs;
  epoll_event events[kEventsMax];
  scenario.OnStart(*this);
  while (!scenario.Done()) {
    now_ns_ = MonotonicNs();
    if (StopRequested() || now_ns_ >= stop_ns) {
      result_.interrupted = true;
      break;
    }
    std::int64_t wake = scenario.OnTick(*this, now_ns_);
    if (scenario.Done()) break;
    wake = std::min({wake, next_housekeeping_ns_, stop_ns});
    const std::int64_t wait = std::max<std::int64_t>(wake - MonotonicNs(), 0);
    const timespec limit{wait / 1'000'000'000, wait % 1'000'000'000};
    const int count = epoll_pwait2(epoll_, events, kEventsMax, &limit, nullptr);
    now_ns_ = MonotonicNs();
    for (int i = 0; i < count; ++i) OnEvent(conns_[events[i].data.u32], events[i].events);
    if (now_ns_ >= next_housekeeping_ns_) {
      next_housekeeping_ns_ = now_ns_ + kHousekeepingNs;
      ExpireSlow();
      if (options_.live) ShowLive(open_);
    }
  }
  if (Measuring()) StopWindow();
  if (options_.live) std::fputs("\r\x1b[K", stderr);
}

void Engine::Open(Conn& conn, std::int64_t intended_ns) {
  CHECK(conn.state == ConnState::kFree);
  const std::uint64_t n = opened_++;
  const Endpoint& to = options_.targets[n % options_.targets.size()];
  const Endpoint* from =
      options_.sources.empty() ? nullptr : &options_.sources[n % options_.sources.size()];
  conn.intended_ns = intended_ns;
  conn.phase_ns = MonotonicNs();
  conn.state = ConnState::kConnecting;
  if (Measuring()) ++result_.started;
  const auto fd = Connect(to, from);
  ++open_;
  result_.held_max = std::max<std::uint64_t>(result_.held_max, open_);
  if (!fd) {
    const bool scarce = fd.error() == EMFILE || fd.error() == ENFILE ||
                        fd.error() == EADDRNOTAVAIL || fd.error() == ENOBUFS;
    Fail(conn, scarce ? FailReason::kResources : FailReason::kConnect);
    return;
  }
  conn.fd = *fd;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u32 = conn.index;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, conn.fd, &event) != 0) Fail(conn, FailReason::kResources);
}

void Engine::Close(Conn& conn) {
  CHECK(conn.state != ConnState::kFree);
  if (conn.ssl != nullptr) {
    if (conn.state != ConnState::kHandshaking) SSL_shutdown(conn.ssl);
    SSL_free(conn.ssl);
    ERR_clear_error();
    conn.ssl = nullptr;
  }
  if (conn.fd >= 0) close(conn.fd);
  conn.fd = -1;
  conn.state = ConnState::kFree;
  --open_;
}

void Engine::Fail(Conn& conn, FailReason reason) {
  const bool was_idle = conn.state == ConnState::kIdle;
  // After a failed handshake or a reset there is nobody to say goodbye to.
  if (conn.ssl != nullptr) SSL_set_quiet_shutdown(conn.ssl, 1);
  Close(conn);
  if (was_idle) {
    ++result_.lost;
  } else {
    ++result_.failed[static_cast<std::size_t>(reason)];
  }
  scenario_->OnFail(*this, conn, reason, was_idle);
}

void Engine::OnEvent(Conn& conn, std::uint32_t events) {
  switch (conn.state) {
    case ConnState::kFree:
      return;
    case ConnState::kConnecting:
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Fail(conn, FailReason::kConnect);
      if ((events & EPOLLOUT) != 0) OnConnected(conn);
      return;
    case ConnState::kHandshaking:
      return ContinueHandshake(conn);
    case ConnState::kIdle:
    case ConnState::kBusy:
      if ((events & EPOLLOUT) != 0 && conn.sent < conn.request.size()) Send(conn);
      if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 &&
          (conn.state == ConnState::kIdle || conn.state == ConnState::kBusy)) {
        Receive(conn);
      }
      return;
  }
}

void Engine::OnConnected(Conn& conn) {
  Record(result_.tcp_connect, conn.phase_ns);
  if (tls_ == nullptr) return OnReady(conn);
  conn.ssl = tls_->NewConnection(conn.fd);
  if (conn.ssl == nullptr) return Fail(conn, FailReason::kResources);
  SSL_set_connect_state(conn.ssl);
  conn.state = ConnState::kHandshaking;
  conn.phase_ns = MonotonicNs();
  ContinueHandshake(conn);
}

void Engine::ContinueHandshake(Conn& conn) {
  const int done = SSL_do_handshake(conn.ssl);
  if (done != 1) {
    const int error = SSL_get_error(conn.ssl, done);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
    return Fail(conn, FailReason::kHandshake);
  }
  if (Measuring()) {
    ++result_.handshakes;
    if (SSL_session_reused(conn.ssl) == 1) ++result_.resumed;
  }
  Record(result_.tls_handshake, conn.phase_ns);
  OnReady(conn);
}

void Engine::OnReady(Conn& conn) {
  conn.state = ConnState::kIdle;
  conn.request = {};
  conn.sent = 0;
  ++result_.opened;
  scenario_->OnOpen(*this, conn);
}

void Engine::Request(Conn& conn, std::string_view request, std::uint64_t reply_bytes, bool verify) {
  CHECK(conn.state == ConnState::kIdle);
  conn.state = ConnState::kBusy;
  conn.request = request;
  conn.sent = 0;
  conn.received = 0;
  conn.wanted = reply_bytes;
  conn.verify = verify;
  conn.first_byte = false;
  conn.phase_ns = MonotonicNs();
  Send(conn);
}

void Engine::Send(Conn& conn) {
  while (conn.sent < conn.request.size()) {
    const char* data = conn.request.data() + conn.sent;
    const std::size_t left = conn.request.size() - conn.sent;
    std::int64_t n = 0;
    if (conn.ssl != nullptr) {
      n = SSL_write(conn.ssl, data, static_cast<int>(left));
      if (n <= 0) {
        const int error = SSL_get_error(conn.ssl, static_cast<int>(n));
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
        return Fail(conn, FailReason::kReset);
      }
    } else {
      n = send(conn.fd, data, left, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) return;
        return Fail(conn, FailReason::kReset);
      }
    }
    conn.sent += static_cast<std::size_t>(n);
  }
}

std::int64_t Engine::ReceiveSome(Conn& conn) {
  std::size_t room = buffer_.size();
  if (conn.state == ConnState::kBusy && conn.wanted != 0) {
    room = std::min<std::uint64_t>(room, conn.wanted - conn.received);
  }
  if (conn.ssl != nullptr) {
    const int n = SSL_read(conn.ssl, buffer_.data(), static_cast<int>(room));
    if (n > 0) return n;
    const int error = SSL_get_error(conn.ssl, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return kWouldBlock;
    return error == SSL_ERROR_ZERO_RETURN ? kEnded : kBroken;
  }
  // Bulk is counted, not copied: the generator must not be the ceiling.
  const bool count_only = conn.state == ConnState::kBusy && !conn.verify && conn.wanted > room;
  if (count_only) {
    const std::uint64_t left = std::min<std::uint64_t>(conn.wanted - conn.received, 1U << 30);
    const std::int64_t n = recv(conn.fd, buffer_.data(), left, MSG_TRUNC);
    if (n >= 0) return n;
  } else {
    const std::int64_t n = recv(conn.fd, buffer_.data(), room, 0);
    if (n >= 0) return n;
  }
  return errno == EAGAIN || errno == EINTR ? kWouldBlock : kBroken;
}

void Engine::Receive(Conn& conn) {
  while (true) {
    const std::int64_t n = ReceiveSome(conn);
    if (n == kWouldBlock) return;
    if (n == kEnded) return Fail(conn, FailReason::kClosed);
    if (n == kBroken) return Fail(conn, FailReason::kReset);
    if (conn.state == ConnState::kIdle) continue;  // unasked for: read and forgotten
    if (Accept(conn, static_cast<std::size_t>(n))) return;
  }
}

// Takes received bytes in; true when the caller must not go on reading.
bool Engine::Accept(Conn& conn, std::size_t received) {
  if (!conn.first_byte) {
    conn.first_byte = true;
    Record(result_.reply, conn.phase_ns);
  }
  if (conn.verify &&
      (conn.received + received > conn.request.size() ||
       std::memcmp(buffer_.data(), conn.request.data() + conn.received, received) != 0)) {
    Fail(conn, FailReason::kMismatch);
    return true;
  }
  conn.received += received;
  if (Measuring()) result_.bytes += received;
  if (conn.wanted != 0 && conn.received < conn.wanted) return false;
  conn.state = ConnState::kIdle;
  scenario_->OnReply(*this, conn);
  return true;
}

void Engine::ExpireSlow() {
  for (Conn& conn : conns_) {
    const bool at_rest = conn.state == ConnState::kFree || conn.state == ConnState::kIdle;
    if (at_rest || now_ns_ - conn.phase_ns < options_.timeout_ns) continue;
    // A bulk reply that moves is not slow; only a reply that has not begun is.
    if (conn.state == ConnState::kBusy && conn.first_byte) continue;
    Fail(conn, FailReason::kTimeout);
  }
}

}  // namespace bench
