#include "net/service/line_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace net {
namespace {

// A peer that is busy starting reads again soon.
constexpr Duration kWriteAgain = std::chrono::milliseconds(5);

}  // namespace

LineChannel::LineChannel(EventLoop& loop, UniqueFd fd, OnLine on_line, OnEnd on_end)
    : loop_(loop), on_line_(std::move(on_line)), on_end_(std::move(on_end)) {
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  watch_ = std::make_unique<FdWatch>(loop, std::move(fd), POLLIN, [this] { Read(); });
}

LineChannel::~LineChannel() {
  *alive_ = false;
  if (retrying_) loop_.CancelTimer(retry_);
}

void LineChannel::End() {
  if (!watch_) return;
  watch_.reset();
  if (on_end_) std::exchange(on_end_, nullptr)();
}

void LineChannel::Read() {
  const auto alive = alive_;
  std::array<char, 4096> bytes;
  bool ended = false;
  while (watch_) {
    const ssize_t count = recv(watch_->fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    ended = count <= 0 || in_.size() > kChannelLineMax;
    if (ended) break;
    in_.append(bytes.data(), static_cast<size_t>(count));
    for (size_t end = in_.find('\n'); end != std::string::npos; end = in_.find('\n')) {
      const std::string line = in_.substr(0, end);
      in_.erase(0, end + 1);
      on_line_(line);
      if (!*alive) return;
    }
  }
  if (ended) End();
}

void LineChannel::Send(std::string_view line) {
  if (!watch_) return;
  if (out_.size() + line.size() > kChannelBacklogMax) {
    // Not from here: the caller is in the middle of something.
    out_.clear();
    loop_.Post([this, alive = alive_] {
      if (*alive) End();
    });
    return;
  }
  out_.append(line);
  out_ += '\n';
  if (!retrying_) Write();
}

void LineChannel::Write() {
  while (watch_ && !out_.empty()) {
    const ssize_t count = send(watch_->fd(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      retrying_ = true;
      retry_ = loop_.After(kWriteAgain, [this] {
        retrying_ = false;
        Write();
      });
      return;
    }
    if (count <= 0) {
      out_.clear();  // the watch tells the end
      return;
    }
    out_.erase(0, static_cast<size_t>(count));
  }
}

}  // namespace net
