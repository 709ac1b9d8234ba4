#include "bench/load/sink.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} * 1024;
constexpr std::size_t kPatternBytes = std::size_t{256} * 1024;
constexpr std::size_t kFirstLineMax = 64;
constexpr int kSinkEventsMax = 512;
constexpr std::string_view kAnswer = "200 served\n";
constexpr std::uint64_t kListenerTag = std::uint64_t{1} << 32;

}  // namespace

const char* ToString(SinkMode mode) {
  switch (mode) {
    case SinkMode::kAuto:
      return "auto";
    case SinkMode::kEcho:
      return "echo";
    case SinkMode::kDiscard:
      return "discard";
    case SinkMode::kRespond:
      return "respond";
  }
  return "?";
}

std::expected<SinkMode, std::string> ParseSinkMode(std::string_view text) {
  for (const SinkMode mode :
       {SinkMode::kAuto, SinkMode::kEcho, SinkMode::kDiscard, SinkMode::kRespond}) {
    if (text == ToString(mode)) return mode;
  }
  return std::unexpected("\"" + std::string(text) +
                         "\" is no mode: one of auto, echo, discard, respond");
}

Sink::Sink() : buffer_(kReadBytes), pattern_(kPatternBytes, '\0') {
  for (std::size_t i = 0; i < pattern_.size(); ++i) {
    pattern_[i] = static_cast<char>('a' + i % 23);
  }
}

std::expected<std::unique_ptr<Sink>, std::string> Sink::Create(
    const std::vector<SinkListen>& listens, int backlog) {
  std::unique_ptr<Sink> sink(new Sink());
  sink->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (sink->epoll_ < 0) return std::unexpected(std::string("epoll: ") + std::strerror(errno));
  sink->stats_.accepted.resize(listens.size());
  for (const SinkListen& listen : listens) {
    const auto fd = Listen(listen.at, backlog);
    if (!fd) return std::unexpected(fd.error());
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListenerTag + sink->listeners_.size();
    sink->listeners_.push_back(*fd);
    sink->modes_.push_back(listen.mode);
    if (epoll_ctl(sink->epoll_, EPOLL_CTL_ADD, *fd, &event) != 0) {
      return std::unexpected(std::string("epoll: ") + std::strerror(errno));
    }
  }
  return sink;
}

Sink::~Sink() {
  for (std::size_t fd = 0; fd < peers_.size(); ++fd) {
    if (peers_[fd].open) close(static_cast<int>(fd));
  }
  for (const int fd : listeners_) close(fd);
  if (epoll_ >= 0) close(epoll_);
}

std::vector<Endpoint> Sink::Bound() const {
  std::vector<Endpoint> bound;
  for (const int fd : listeners_) {
    Endpoint at;
    at.length = sizeof(at.storage);
    getsockname(fd, reinterpret_cast<sockaddr*>(&at.storage), &at.length);
    bound.push_back(at);
  }
  return bound;
}

void Sink::Run(const std::atomic<bool>& stop) {
  epoll_event events[kSinkEventsMax];
  while (!stop.load(std::memory_order_relaxed)) {
    const int count = epoll_wait(epoll_, events, kSinkEventsMax, 100);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = events[i].data.u64;
      if (tag >= kListenerTag) {
        AcceptAll(static_cast<std::size_t>(tag - kListenerTag));
      } else {
        OnEvent(static_cast<int>(tag), events[i].events);
      }
    }
  }
}

void Sink::AcceptAll(std::size_t listener) {
  for (int i = 0; i < 256; ++i) {
    const int fd = accept4(listeners_[listener], nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      // Out of descriptors: a short rest instead of a spin; the listener is level-triggered.
      if (errno == EMFILE || errno == ENFILE) usleep(1000);
      if (errno != EAGAIN) ++stats_.accept_errors;
      return;
    }
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    const auto slot = static_cast<std::size_t>(fd);
    if (slot >= peers_.size()) peers_.resize(slot + 1024);
    Peer& peer = peers_[slot];
    peer = Peer{};
    peer.open = true;
    peer.mode = modes_[listener];
    ++stats_.open;
    ++stats_.accepted[listener];
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = static_cast<std::uint64_t>(fd);
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) Close(fd, peer);
  }
}

void Sink::OnEvent(int fd, std::uint32_t events) {
  Peer& peer = peers_[static_cast<std::size_t>(fd)];
  if (!peer.open) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Close(fd, peer);
  if (peer.to_send > 0 && !SendBulk(fd, peer)) return;
  if (peer.decided && !peer.pending.empty() && !Flush(fd, peer)) return;
  Read(fd, peer);
}

void Sink::Read(int fd, Peer& peer) {
  const bool count_only = peer.mode == SinkMode::kDiscard;
  while (true) {
    const std::size_t room = count_only ? std::size_t{1} << 30 : buffer_.size();
    const ssize_t n = recv(fd, buffer_.data(), room, count_only ? MSG_TRUNC : 0);
    if (n == 0) return Close(fd, peer);
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      return Close(fd, peer);
    }
    stats_.bytes_in += static_cast<std::uint64_t>(n);
    if (!TakeIn(fd, peer, static_cast<std::size_t>(n))) return;
    // Less than asked for: nothing more is there, and new bytes raise a new event.
    if (static_cast<std::size_t>(n) < room) return;
  }
}

bool Sink::TakeIn(int fd, Peer& peer, std::size_t received) {
  switch (peer.mode) {
    case SinkMode::kDiscard:
      return true;
    case SinkMode::kRespond:
      if (send(fd, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL) > 0) {
        stats_.bytes_out += kAnswer.size();
      }
      Close(fd, peer);
      return false;
    case SinkMode::kAuto:
      if (!peer.decided) return Decide(fd, peer, received);
      return EchoBack(fd, peer, received);
    case SinkMode::kEcho:
      return EchoBack(fd, peer, received);
  }
  return true;
}

// The first bytes of an auto connection: "GET n\n", or something to echo.
bool Sink::Decide(int fd, Peer& peer, std::size_t received) {
  static constexpr std::string_view kGet = "GET ";
  const std::string_view fresh(buffer_.data(), received);
  if (peer.pending.empty() && !fresh.starts_with('G')) {
    peer.decided = true;
    return EchoBack(fd, peer, received);
  }
  peer.pending.append(fresh);
  const std::size_t common = std::min(kGet.size(), peer.pending.size());
  const std::size_t end = peer.pending.find('\n');
  const bool may_be_get = peer.pending.compare(0, common, kGet, 0, common) == 0;
  if (may_be_get && end == std::string::npos && peer.pending.size() < kFirstLineMax) return true;
  peer.decided = true;
  std::uint64_t wanted = 0;
  if (may_be_get && end != std::string::npos) {
    std::from_chars(peer.pending.data() + kGet.size(), peer.pending.data() + end, wanted);
  }
  if (wanted == 0) return Flush(fd, peer);
  peer.pending.clear();
  peer.to_send = wanted;
  return SendBulk(fd, peer);
}

bool Sink::SendBulk(int fd, Peer& peer) {
  while (peer.to_send > 0) {
    const std::size_t size = std::min<std::uint64_t>(peer.to_send, pattern_.size());
    const ssize_t n = send(fd, pattern_.data(), size, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      Close(fd, peer);
      return false;
    }
    peer.to_send -= static_cast<std::uint64_t>(n);
    stats_.bytes_out += static_cast<std::uint64_t>(n);
  }
  // A second "GET" may follow on the same connection.
  peer.decided = peer.mode != SinkMode::kAuto;
  return true;
}

bool Sink::EchoBack(int fd, Peer& peer, std::size_t received) {
  peer.decided = true;
  const ssize_t n = send(fd, buffer_.data(), received, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    Close(fd, peer);
    return false;
  }
  const std::size_t sent = n < 0 ? 0 : static_cast<std::size_t>(n);
  stats_.bytes_out += sent;
  if (sent == received) return true;
  peer.pending.assign(buffer_.data() + sent, received - sent);
  return false;
}

bool Sink::Flush(int fd, Peer& peer) {
  const ssize_t n = send(fd, peer.pending.data(), peer.pending.size(), MSG_NOSIGNAL);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    Close(fd, peer);
    return false;
  }
  stats_.bytes_out += static_cast<std::uint64_t>(n);
  peer.pending.erase(0, static_cast<std::size_t>(n));
  return peer.pending.empty();
}

void Sink::Close(int fd, Peer& peer) {
  close(fd);
  peer.open = false;
  peer.pending.clear();
  peer.pending.shrink_to_fit();
  --stats_.open;
}

}  // namespace bench
