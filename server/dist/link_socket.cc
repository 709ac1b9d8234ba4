#include "server/dist/link_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/dist/dist_types.h"

namespace server {
namespace {

using net::Completion;

// How long what is queued may take to leave once the link is to end.
constexpr net::Duration kLinger = std::chrono::seconds(1);
// What a piece may keep of its memory when it has been sent.
constexpr size_t kKeepBytes = 256U << 10U;

}  // namespace

LinkSocket::LinkSocket(net::EventLoop& loop, net::TlsEnginePtr tls, const Options& options,
                       LinkSocketHandler* handler)
    : loop_(loop),
      options_(options),
      tls_(std::move(tls)),
      handler_(handler),
      last_sent_(loop.now()),
      last_received_(loop.now()),
      queue_(std::make_shared<OutQueue>(options.queue_bytes_max)) {}

std::shared_ptr<LinkSocket> LinkSocket::Connect(net::EventLoop& loop, const net::Address& to,
                                                net::TlsEnginePtr tls, const Options& options,
                                                LinkSocketHandler* handler) {
  auto socket = std::make_shared<LinkSocket>(loop, std::move(tls), options, handler);
  socket->slot_ = loop.ring().AllocateSlot();
  if (socket->slot_ == net::kNoSlot) {
    loop.Post([socket] { socket->Close("too many connections are open", true); });
    return socket;
  }
  socket->name_ = to.ToSocketName();
  socket->Began();
  loop.Hold();
  loop.ring().Connect(socket->slot_,
                      {.address = socket->name_.get(), .address_size = socket->name_.size()},
                      {socket.get(), kConnectOp});
  return socket;
}

std::shared_ptr<LinkSocket> LinkSocket::Accepted(net::EventLoop& loop, net::Slot slot,
                                                 net::TlsEnginePtr tls, const Options& options,
                                                 LinkSocketHandler* handler) {
  auto socket = std::make_shared<LinkSocket>(loop, std::move(tls), options, handler);
  socket->slot_ = slot;
  socket->Begin();
  return socket;
}

void LinkSocket::OnCompletion(unsigned op, Completion completion) {
  // Keeps the object until the end of this call, whatever the handler does.
  std::shared_ptr<LinkSocket> keep = self_;
  if (--in_flight_ == 0) self_.reset();
  loop_.Release();
  switch (op) {
    case kConnectOp:
      return OnConnect(completion.result);
    case kRecvOp:
      return OnRecv(completion.result);
    default:
      return OnSend(completion.result);
  }
}

void LinkSocket::OnConnect(int32_t result) {
  if (state_ != State::kConnecting) {
    if (slot_ != net::kNoSlot) loop_.ring().Close(std::exchange(slot_, net::kNoSlot));
    return;
  }
  refused_ = result == -ECONNREFUSED;
  if (result < 0) return Close(std::strerror(-result), true);
  Begin();
}

void LinkSocket::Begin() {
  if (tls_ == nullptr) {
    state_ = State::kOpen;
    StartRecv();
    // An accepted one is not known to its owner yet.
    loop_.Post([self = shared_from_this()] {
      if (self->state_ == State::kOpen) self->handler_->OnOpen();
    });
    return;
  }
  state_ = State::kTls;
  cipher_.resize(kReadBytes);
  StartRecv();
  Decrypt({});  // a client's handshake begins
}

// --- Reading ------------------------------------------------------------------------------------

bool LinkSocket::Reserve(size_t room) {
  const size_t needed = in_used_ + room;
  if (needed <= in_room_) return true;
  const size_t limit = options_.message_bytes_max + 2 * kReadBytes;
  if (needed > limit) return false;
  // Grows with what really came, not with what a length promises.
  const size_t grown = std::min(limit, std::max(needed, 2 * in_room_));
  auto larger = std::make_unique_for_overwrite<uint8_t[]>(grown);
  if (in_used_ > 0) std::memcpy(larger.get(), in_.get(), in_used_);
  in_ = std::move(larger);
  in_room_ = grown;
  return true;
}

void LinkSocket::StartRecv() {
  if (receiving_ || state_ == State::kClosing || state_ == State::kClosed) return;
  std::span<uint8_t> into;
  if (tls_ != nullptr) {
    into = cipher_;
  } else {
    if (in_used_ == 0 && in_room_ > 2 * read_bytes_) in_room_ = 0;  // after a large message
    if (!Reserve(read_bytes_ / 2)) return Close("a message that is too long", true);
    if (in_room_ < read_bytes_ && !Reserve(read_bytes_ - in_used_)) return;
    into = {in_.get() + in_used_, in_room_ - in_used_};
  }
  receiving_ = true;
  Began();
  loop_.Hold();
  loop_.ring().Recv(slot_, into, {this, kRecvOp});
}

void LinkSocket::OnRecv(int32_t result) {
  receiving_ = false;
  if (state_ == State::kClosed) return;
  if (result < 0) return Close(std::strerror(-result), true);
  if (result == 0) return Close("the peer closed the connection", true);
  last_received_ = loop_.now();
  if (state_ == State::kClosing) return;
  const auto size = static_cast<size_t>(result);
  if (tls_ != nullptr) {
    Decrypt(std::span(cipher_).first(size));
  } else {
    in_used_ += size;
    Hand();
  }
  StartRecv();
}

void LinkSocket::Hand() {
  if (state_ != State::kOpen || in_used_ == 0) return;
  const size_t taken = handler_->OnBytes({in_.get(), in_used_});
  if (state_ == State::kClosed) return;
  in_used_ -= taken;
  if (in_used_ > 0 && taken > 0) std::memmove(in_.get(), in_.get() + taken, in_used_);
}

void LinkSocket::Decrypt(std::span<uint8_t> cipher) {
  net::TlsNext next = net::TlsNext::kAgain;
  bool opened = false;
  while (next == net::TlsNext::kAgain && state_ != State::kClosed) {
    net::TlsPlaintext plain;
    const net::TlsFeed fed = tls_->Feed(cipher, &plain);
    cipher = cipher.subspan(fed.consumed);
    next = fed.next;
    opened = opened || fed.handshake_done;
    for (std::span<uint8_t> span : plain.view()) {
      if (!Reserve(span.size())) return Close("a message that is too long", true);
      std::memcpy(in_.get() + in_used_, span.data(), span.size());
      in_used_ += span.size();
    }
    tls_->Release();
    if (fed.state == net::TlsState::kFailed || fed.state == net::TlsState::kPeerClosed) {
      const bool failed = fed.state == net::TlsState::kFailed;
      FlushTls();
      return Close(failed ? "TLS: " + tls_->ErrorText() : "the peer closed the connection", true);
    }
    if (opened && state_ == State::kTls) {
      state_ = State::kOpen;
      handler_->OnOpen();
    }
    if (state_ == State::kOpen) Hand();
  }
  if (state_ != State::kClosed) FlushTls();
}

// --- Writing ------------------------------------------------------------------------------------

void LinkSocket::FlushTls() {
  if (sending_ || !tls_->wants_output()) return;
  sealed_.resize(kSealedRecordRoom);
  sealed_.resize(tls_->Flush(sealed_));
  sent_ = 0;
  StartSend();
}

void LinkSocket::Flush() {
  if (sending_) return;
  if (state_ != State::kOpen && state_ != State::kClosing) return;
  if (tls_ != nullptr && tls_->wants_output()) return FlushTls();
  if (piece_.capacity() > kKeepBytes) piece_ = {};
  piece_.clear();
  sent_ = 0;
  if (!queue_->Take(&piece_)) {
    if (state_ == State::kClosing) Close(std::exchange(close_why_, {}), true);
    return;
  }
  if (tls_ != nullptr && !Seal()) return Close("TLS: " + tls_->ErrorText(), true);
  StartSend();
}

bool LinkSocket::Seal() {
  sealed_.clear();
  std::span<const uint8_t> rest = piece_;
  while (!rest.empty()) {
    const size_t used = sealed_.size();
    sealed_.resize(used + kSealedRecordRoom);
    const net::TlsSealed sealed =
        tls_->Write({&rest, 1}, std::span<uint8_t>(sealed_).subspan(used));
    sealed_.resize(used + sealed.produced);
    if (sealed.consumed == 0 && sealed.produced == 0) return false;
    rest = rest.subspan(sealed.consumed);
  }
  return true;
}

void LinkSocket::StartSend() {
  const TermBuffer& out = tls_ != nullptr ? sealed_ : piece_;
  if (sent_ == out.size()) return;
  sending_ = true;
  Began();
  loop_.Hold();
  loop_.ring().Send(slot_, std::span<const uint8_t>(out).subspan(sent_), {this, kSendOp});
}

void LinkSocket::OnSend(int32_t result) {
  sending_ = false;
  if (state_ == State::kClosed) return;
  if (result < 0) return Close(std::strerror(-result), true);
  last_sent_ = loop_.now();
  sent_ += static_cast<size_t>(result);
  const TermBuffer& out = tls_ != nullptr ? sealed_ : piece_;
  if (sent_ < out.size()) return StartSend();
  Flush();
  if (state_ == State::kOpen) handler_->OnSent();
}

void LinkSocket::CloseWhenSent(std::string why) {
  if (state_ == State::kClosed || state_ == State::kClosing) return;
  if (state_ != State::kOpen) return Close(why, true);
  state_ = State::kClosing;
  close_why_ = std::move(why);
  loop_.Post([self = shared_from_this()] { self->Flush(); });
  loop_.After(kLinger, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Close(std::exchange(self->close_why_, {}), true);
  });
}

void LinkSocket::Close(std::string_view why, bool tell) {
  if (state_ == State::kClosed) return;
  std::shared_ptr<LinkSocket> keep = weak_from_this().lock();
  const State before = std::exchange(state_, State::kClosed);
  queue_->Close();
  if (receiving_) loop_.ring().Cancel({this, kRecvOp});
  if (sending_) loop_.ring().Cancel({this, kSendOp});
  if (before == State::kConnecting && in_flight_ > 0) {
    // In the next turn, when the chain has surely begun; the slot is closed when it has ended.
    loop_.Post([keep] {
      if (keep->in_flight_ > 0) keep->loop_.ring().Cancel({keep.get(), kConnectOp});
    });
  } else if (slot_ != net::kNoSlot) {
    loop_.ring().Close(std::exchange(slot_, net::kNoSlot));
  }
  LinkSocketHandler* handler = std::exchange(handler_, nullptr);
  if (tell && handler != nullptr) handler->OnClosed(why);
}

}  // namespace server
