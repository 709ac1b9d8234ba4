#include "net/io/stream.h"

#include <poll.h>

#include <cerrno>
#include <cstring>

namespace net {
namespace {

// How long a peer has to end its side after our last byte. A socket closed with unread bytes resets
// the connection, and the reset takes away what the peer had not read yet: our answer.
constexpr Duration kLinger = std::chrono::seconds(1);

}  // namespace

std::shared_ptr<Stream> Stream::Connect(EventLoop& loop, const sockaddr* address, socklen_t size,
                                        StreamHandler* handler) {
  auto stream = std::make_shared<Stream>(loop, handler);
  stream->slot_ = loop.ring().AllocateSlot();
  if (stream->slot_ == kNoSlot) {
    loop.Post([stream] {
      stream->error_ = EMFILE;
      stream->Close("too many connections are open", true);
    });
    return stream;
  }
  std::memcpy(&stream->address_, address, size);
  stream->Began();
  loop.Hold(EventLoop::Work::kStream);
  loop.ring().Connect(
      stream->slot_,
      {.address = reinterpret_cast<const sockaddr*>(&stream->address_), .address_size = size},
      {stream.get(), kConnect});
  return stream;
}

std::shared_ptr<Stream> Stream::Accepted(EventLoop& loop, Slot slot, StreamHandler* handler) {
  auto stream = std::make_shared<Stream>(loop, handler);
  stream->slot_ = slot;
  stream->state_ = State::kOpen;
  stream->StartRecv();
  return stream;
}

void Stream::OnCompletion(unsigned op, Completion completion) {
  // Keeps the object until the end of this call, whatever the handler does.
  std::shared_ptr<Stream> keep = self_;
  if (--in_flight_ == 0) self_.reset();
  loop_.Release(EventLoop::Work::kStream);
  switch (op) {
    case kConnect:
      OnConnect(completion.result);
      break;
    case kRecv:
      OnRecv(completion.result);
      break;
    default:
      OnSend(completion.result);
      break;
  }
}

void Stream::CloseSlot() {
  if (slot_ != kNoSlot) loop_.ring().Close(slot_);
  slot_ = kNoSlot;
}

void Stream::OnConnect(int32_t result) {
  if (state_ != State::kConnecting) {
    CloseSlot();
    return;
  }
  if (result < 0) {
    CloseFailed(-result);
    return;
  }
  state_ = State::kOpen;
  StartRecv();
  handler_->OnConnected();
}

void Stream::StartRecv() {
  if (receiving_ || reading_paused_ || ended_ || state_ == State::kClosed) return;
  receiving_ = true;
  Began();
  loop_.Hold(EventLoop::Work::kStream);
  loop_.ring().Recv(slot_, in_, {this, kRecv});
}

void Stream::ResumeReading() {
  reading_paused_ = false;
  StartRecv();
}

void Stream::OnRecv(int32_t result) {
  receiving_ = false;
  if (state_ == State::kClosed) return;
  if (result < 0) {
    CloseFailed(-result);
    return;
  }
  if (result == 0) {
    ended_ = true;
    if (lingering_) {
      Close("", true);
    } else {
      handler_->OnEnd();
    }
    return;
  }
  // Bytes that come after we said good-bye are read, so that the peer sees an orderly end, and
  // dropped.
  if (state_ == State::kOpen) {
    handler_->OnData(std::span(in_).first(static_cast<size_t>(result)));
  }
  StartRecv();
}

bool Stream::Write(std::string_view data) {
  if (state_ == State::kClosed || close_when_sent_) return false;
  if (queued() + data.size() > kQueueBytesMax) {
    Close("the peer reads too slowly", true);
    return false;
  }
  if (sending_) {
    waiting_.append(data);
  } else {
    out_.append(data);
    if (state_ == State::kOpen) StartSend();
  }
  return true;
}

void Stream::StartSend() {
  if (sending_ || unsent() == 0) return;
  sending_ = true;
  Began();
  loop_.Hold(EventLoop::Work::kStream);
  const auto* data = reinterpret_cast<const uint8_t*>(out_.data());
  loop_.ring().Send(slot_, {data + out_sent_, unsent()}, {this, kSend});
}

void Stream::OnSend(int32_t result) {
  sending_ = false;
  if (state_ == State::kClosed) return;
  if (result < 0) {
    CloseFailed(-result);
    return;
  }
  out_sent_ += static_cast<size_t>(result);
  if (unsent() == 0) {
    out_.clear();
    out_sent_ = 0;
    out_.swap(waiting_);
  }
  if (unsent() > 0) {
    StartSend();
    return;
  }
  if (close_when_sent_) {
    Linger();
    return;
  }
  handler_->OnDrained();
}

void Stream::Linger() {
  if (state_ == State::kClosed || lingering_) return;
  if (ended_) return Close("", true);
  lingering_ = true;
  loop_.ring().Shutdown(slot_, SHUT_WR);
  ResumeReading();
  loop_.After(kLinger, [weak = weak_from_this()] {
    if (auto stream = weak.lock()) stream->Close("", true);
  });
}

void Stream::CloseWhenSent() {
  if (state_ == State::kClosed || close_when_sent_) return;
  close_when_sent_ = true;
  if (state_ == State::kOpen) {
    state_ = State::kClosing;
    if (!sending_) {
      if (unsent() == 0) {
        // Not from inside the handler's own call.
        loop_.Post([self = shared_from_this()] { self->Linger(); });
      } else {
        StartSend();
      }
    }
  }
}

void Stream::CloseFailed(int error) {
  error_ = error;
  Close(std::strerror(error), true);
}

void Stream::Abort() { Close("", false); }

void Stream::Close(std::string_view why, bool tell) {
  if (state_ == State::kClosed) return;
  const State before = state_;
  state_ = State::kClosed;
  if (receiving_) loop_.ring().Cancel({this, kRecv});
  if (sending_) loop_.ring().Cancel({this, kSend});
  if (before == State::kConnecting && in_flight_ > 0) {
    // In the next turn, when the chain has surely begun; the slot is closed when it has ended.
    loop_.Post([self = shared_from_this()] {
      if (self->in_flight_ > 0) self->loop_.ring().Cancel({self.get(), kConnect});
    });
  } else {
    CloseSlot();
  }
  StreamHandler* handler = std::exchange(handler_, nullptr);
  if (tell && handler != nullptr) handler->OnClosed(why);
}

// --- Acceptor ---------------------------------------------------------------------------------

class Acceptor::State final : public Target, public std::enable_shared_from_this<State> {
 public:
  State(EventLoop& loop, UniqueFd listener, Callback callback, Failed failed)
      : loop_(loop),
        listener_(std::move(listener)),
        callback_(std::move(callback)),
        failed_(std::move(failed)) {}

  void Arm() {
    self_ = shared_from_this();
    loop_.Hold(EventLoop::Work::kAccept);
    loop_.ring().AcceptMultishot(listener_.get(), {this, 0});
  }

  void Stop() {
    stopped_ = true;
    if (self_) loop_.ring().Cancel({this, 0});
  }

  void OnCompletion(unsigned, Completion completion) override {
    std::shared_ptr<State> keep = self_;
    if (!completion.more()) {
      self_.reset();
      loop_.Release(EventLoop::Work::kAccept);
    }
    if (completion.result >= 0) {
      Slot slot = static_cast<Slot>(completion.result);
      if (stopped_) {
        loop_.ring().Close(slot);
      } else {
        callback_(slot);
      }
    }
    if (stopped_ || self_) return;
    if (completion.result >= 0) {
      Arm();
      return;
    }
    if (failed_) failed_(-completion.result);
    loop_.After(kAcceptPause, [weak = weak_from_this()] {
      auto state = weak.lock();
      if (state && !state->stopped_ && !state->self_) state->Arm();
    });
  }

 private:
  EventLoop& loop_;
  UniqueFd listener_;
  Callback callback_;
  Failed failed_;
  bool stopped_ = false;
  std::shared_ptr<State> self_;  // while the accept is in flight
};

Acceptor::Acceptor(EventLoop& loop, UniqueFd listener, Callback callback, Failed failed)
    : state_(std::make_shared<State>(loop, std::move(listener), std::move(callback),
                                     std::move(failed))) {
  state_->Arm();
}

Acceptor::~Acceptor() { state_->Stop(); }

}  // namespace net
