// A byte stream with or without TLS, over net::Stream: what TCP queries, DNS over TLS and the
// checks are made of. One thread, the loop's.
//
// The handler may call everything from within its callbacks, but must not destroy the Channel
// there: post that to the loop. After Abort(), and after OnClosed(), nothing is called any more.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/address.h"
#include "net/stream.h"
#include "net/tls_engine.h"

namespace dns {

class ChannelHandler {
 public:
  virtual void OnOpen() {}  // connected, and the handshake is done
  virtual void OnBytes(std::span<const uint8_t> bytes) = 0;
  virtual void OnDrained() {}
  virtual void OnEnd() = 0;  // the peer will send nothing more
  virtual void OnClosed(std::string_view why) = 0;

 protected:
  ~ChannelHandler() = default;
};

class Channel final : private net::StreamHandler {
 public:
  // `tls`: null for a plain connection.
  Channel(net::EventLoop& loop, net::Slot accepted, net::TlsEnginePtr tls, ChannelHandler* handler);
  Channel(net::EventLoop& loop, const net::Address& to, net::TlsEnginePtr tls,
          ChannelHandler* handler);
  ~Channel();

  void Write(std::span<const uint8_t> bytes);
  void Write(std::string_view text) {
    Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void CloseWhenSent();
  void Abort();
  void PauseReading() { stream_->PauseReading(); }
  void ResumeReading() { stream_->ResumeReading(); }
  size_t queued() const { return stream_->queued(); }
  // The peer showed a certificate that verifies.
  bool peer_verified() const { return peer_verified_; }

 private:
  void OnConnected() override;
  void OnData(std::span<const uint8_t> data) override;
  void OnEnd() override;
  void OnDrained() override;
  void OnClosed(std::string_view why) override;
  void FlushTls();
  void OnHandshakeDone();

  net::SocketName name_;
  net::TlsEnginePtr tls_;
  ChannelHandler* handler_;
  bool peer_verified_ = false;
  bool closed_ = false;
  std::shared_ptr<net::Stream> stream_;
};

}  // namespace dns
