#include "net/conn/channel.h"

#include <array>
#include <vector>

namespace net {
namespace {

// A record of the largest size, sealed.
constexpr size_t kSealedBytes = 17 * 1024;

std::vector<uint8_t>& Scratch() {
  thread_local std::vector<uint8_t> scratch(kSealedBytes);
  return scratch;
}

}  // namespace

Channel::Channel(EventLoop& loop, Slot accepted, TlsEnginePtr tls, ChannelHandler* handler)
    : tls_(std::move(tls)), handler_(handler), stream_(Stream::Accepted(loop, accepted, this)) {}

Channel::Channel(EventLoop& loop, const SocketName& to, TlsEnginePtr tls, ChannelHandler* handler)
    : name_(to),
      tls_(std::move(tls)),
      handler_(handler),
      stream_(Stream::Connect(loop, name_.get(), name_.size(), this)) {}

Channel::~Channel() { Abort(); }

void Channel::OnConnected() {
  if (tls_ == nullptr) {
    handler_->OnOpen();
    return;
  }
  OnData({});  // a client's handshake begins
}

void Channel::StartTls(TlsEnginePtr tls) {
  if (closed_) return;
  tls_ = std::move(tls);
  OnData({});
}

void Channel::FlushTls() {
  while (tls_ != nullptr && tls_->wants_output() && !closed_) {
    size_t size = tls_->Flush(Scratch());
    if (size == 0) break;
    stream_->Write(std::span<const uint8_t>(Scratch()).first(size));
  }
}

void Channel::OnHandshakeDone() {
  if (auto facts = tls_->TakeFacts(); facts && facts->peer) {
    peer_verified_ = facts->peer->verified;
  }
  handler_->OnOpen();
}

void Channel::OnData(std::span<const uint8_t> data) {
  if (tls_ == nullptr) {
    handler_->OnBytes(data);
    return;
  }
  std::vector<uint8_t> cipher(data.begin(), data.end());  // decrypted in place
  std::span<uint8_t> rest = cipher;
  TlsNext next = TlsNext::kAgain;
  while (next == TlsNext::kAgain && !closed_) {
    TlsPlaintext plain;
    TlsFeed fed = tls_->Feed(rest, &plain);
    rest = rest.subspan(fed.consumed);
    next = fed.next;
    FlushTls();
    if (fed.handshake_done) OnHandshakeDone();
    for (std::span<uint8_t> span : plain.view()) {
      if (!closed_) handler_->OnBytes(span);
    }
    tls_->Release();
    if (fed.state == TlsState::kFailed) {
      if (closed_) return;
      closed_ = true;
      std::string why = "TLS: " + tls_->ErrorText();
      stream_->CloseWhenSent();
      handler_->OnClosed(why);
      return;
    }
    if (fed.state == TlsState::kPeerClosed) {
      if (!closed_) handler_->OnEnd();
      return;
    }
  }
}

void Channel::Write(std::span<const uint8_t> bytes) {
  if (closed_) return;
  if (tls_ == nullptr) {
    stream_->Write(bytes);
    return;
  }
  while (!bytes.empty()) {
    std::span<const uint8_t> part = bytes;
    TlsSealed sealed = tls_->Write({&part, 1}, Scratch());
    if (sealed.produced > 0) {
      stream_->Write(std::span<const uint8_t>(Scratch()).first(sealed.produced));
    }
    if (sealed.consumed == 0 && sealed.produced == 0) return;  // failed or closed
    bytes = bytes.subspan(sealed.consumed);
  }
}

void Channel::CloseWhenSent() {
  if (closed_) return;
  if (tls_ != nullptr) {
    tls_->Shutdown();
    FlushTls();
  }
  stream_->CloseWhenSent();
}

void Channel::Abort() {
  closed_ = true;
  if (stream_) stream_->Abort();
}

void Channel::OnEnd() {
  if (!closed_) handler_->OnEnd();
}

void Channel::OnDrained() {
  if (!closed_) handler_->OnDrained();
}

void Channel::OnClosed(std::string_view why) {
  if (closed_) return;
  closed_ = true;
  handler_->OnClosed(why);
}

}  // namespace net
