// A byte stream with or without TLS, over Stream: what TCP queries, DNS over TLS and the
// checks are made of. One thread, the loop's.
//
// The handler may call everything from within its callbacks, but must not destroy the Channel
// there: post that to the loop. After Abort(), and after OnClosed(), nothing is called any more.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "net/base/address.h"
#include "net/io/stream.h"
#include "net/tls/tls_engine.h"

namespace net {

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

class Channel final : private StreamHandler {
 public:
  // `tls`: null for a plain connection.
  Channel(EventLoop& loop, Slot accepted, TlsEnginePtr tls, ChannelHandler* handler);
  Channel(EventLoop& loop, const Address& to, TlsEnginePtr tls, ChannelHandler* handler)
      : Channel(loop, to.ToSocketName(), std::move(tls), handler) {}
  Channel(EventLoop& loop, const SocketName& to, TlsEnginePtr tls, ChannelHandler* handler);
  ~Channel();

  void Write(std::span<const uint8_t> bytes);
  void Write(std::string_view text) {
    Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  // What was in the clear until now goes on in TLS, as a client: OnOpen() comes again when its
  // handshake is done.
  void StartTls(TlsEnginePtr tls);
  void CloseWhenSent();
  void Abort();
  void PauseReading() { stream_->PauseReading(); }
  void ResumeReading() { stream_->ResumeReading(); }
  size_t queued() const { return stream_->queued(); }
  // The errno that ended it, or 0.
  int error() const { return stream_->error(); }
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

  SocketName name_;
  TlsEnginePtr tls_;
  ChannelHandler* handler_;
  bool peer_verified_ = false;
  bool closed_ = false;
  std::shared_ptr<Stream> stream_;
};

}  // namespace net
