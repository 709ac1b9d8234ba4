#include "server/dist/blocking_stream.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "server/dist/dist_types.h"

namespace server {
namespace {

constexpr size_t kReadBytes = 64U << 10U;

}  // namespace

std::expected<std::unique_ptr<BlockingStream>, BlockingStream::Error> BlockingStream::Connect(
    const net::Address& to, net::Time deadline) {
  const net::SocketName name = to.ToSocketName();
  net::UniqueFd fd(socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::unexpected(Error::kRefused);
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const bool done = connect(fd.get(), name.get(), name.size()) == 0;
  if (!done && errno != EINPROGRESS) return std::unexpected(Error::kRefused);
  std::unique_ptr<BlockingStream> stream(new BlockingStream(std::move(fd)));
  if (done) return stream;
  if (!stream->Wait(POLLOUT, deadline)) return std::unexpected(Error::kTimeout);
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(stream->fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return std::unexpected(Error::kRefused);
  return stream;
}

bool BlockingStream::Wait(short events, net::Time deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock_.Now());
    if (left.count() <= 0) return false;
    pollfd waits{fd_.get(), events, 0};
    const int ready = poll(&waits, 1, static_cast<int>(std::min<int64_t>(left.count(), INT32_MAX)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

std::expected<void, BlockingStream::Error> BlockingStream::WriteRaw(std::span<const uint8_t> bytes,
                                                                    net::Time deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!Wait(POLLOUT, deadline)) return std::unexpected(Error::kTimeout);
    } else if (errno != EINTR) {
      return std::unexpected(Error::kClosed);
    }
  }
  return {};
}

std::expected<std::vector<uint8_t>, BlockingStream::Error> BlockingStream::ReadRaw(
    net::Time deadline) {
  std::vector<uint8_t> bytes(kReadBytes);
  while (true) {
    if (!Wait(POLLIN, deadline)) return std::unexpected(Error::kTimeout);
    const ssize_t size = recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (size == 0) return std::unexpected(Error::kClosed);
    if (size > 0) {
      bytes.resize(static_cast<size_t>(size));
      return bytes;
    }
    if (errno != EINTR && errno != EAGAIN) return std::unexpected(Error::kClosed);
  }
}

std::expected<void, BlockingStream::Error> BlockingStream::FlushTls(net::Time deadline) {
  while (tls_->wants_output()) {
    std::vector<uint8_t> out(kSealedRecordRoom);
    const size_t size = tls_->Flush(out);
    if (size == 0) break;
    if (auto wrote = WriteRaw(std::span(out).first(size), deadline); !wrote) return wrote;
  }
  return {};
}

std::expected<void, BlockingStream::Error> BlockingStream::FeedTls(std::span<uint8_t> cipher,
                                                                   std::vector<uint8_t>* into,
                                                                   net::Time deadline) {
  net::TlsNext next = net::TlsNext::kAgain;
  while (next == net::TlsNext::kAgain) {
    net::TlsPlaintext plain;
    const net::TlsFeed fed = tls_->Feed(cipher, &plain);
    cipher = cipher.subspan(fed.consumed);
    next = fed.next;
    for (std::span<uint8_t> span : plain.view())
      into->insert(into->end(), span.begin(), span.end());
    tls_->Release();
  }
  if (auto flushed = FlushTls(deadline); !flushed) return flushed;
  if (tls_->state() == net::TlsState::kFailed) return std::unexpected(Error::kTls);
  if (tls_->state() == net::TlsState::kPeerClosed && into->empty()) {
    return std::unexpected(Error::kClosed);
  }
  return {};
}

std::expected<void, BlockingStream::Error> BlockingStream::StartTls(net::TlsEnginePtr engine,
                                                                    net::Time deadline) {
  tls_ = std::move(engine);
  std::vector<uint8_t> early;
  if (auto fed = FeedTls({}, &early, deadline); !fed) return fed;
  while (tls_->state() == net::TlsState::kHandshaking) {
    auto bytes = ReadRaw(deadline);
    if (!bytes) return std::unexpected(bytes.error());
    if (auto fed = FeedTls(*bytes, &early, deadline); !fed) return fed;
  }
  return {};
}

std::expected<void, BlockingStream::Error> BlockingStream::Write(std::span<const uint8_t> bytes,
                                                                 net::Time deadline) {
  if (tls_ == nullptr) return WriteRaw(bytes, deadline);
  while (!bytes.empty()) {
    std::vector<uint8_t> out(kSealedRecordRoom);
    const net::TlsSealed sealed = tls_->Write({&bytes, 1}, out);
    if (sealed.consumed == 0 && sealed.produced == 0) return std::unexpected(Error::kTls);
    bytes = bytes.subspan(sealed.consumed);
    if (auto wrote = WriteRaw(std::span(out).first(sealed.produced), deadline); !wrote) {
      return wrote;
    }
  }
  return {};
}

std::expected<void, BlockingStream::Error> BlockingStream::Read(std::vector<uint8_t>* into,
                                                                net::Time deadline) {
  const size_t before = into->size();
  while (into->size() == before) {
    auto bytes = ReadRaw(deadline);
    if (!bytes) return std::unexpected(bytes.error());
    if (tls_ == nullptr) {
      into->insert(into->end(), bytes->begin(), bytes->end());
    } else if (auto fed = FeedTls(*bytes, into, deadline); !fed) {
      return fed;
    }
  }
  return {};
}

}  // namespace server
