// The socket of one link: large reads for whole batches of frames, one write at a time for all that
// waits in the OutQueue, with or without TLS.
//
// One thread, the loop's. Owned by a shared_ptr, and by itself while operations are in flight. The
// handler must outlive it or be detached with Abort(), after which it hears nothing more.
//
// Life: Connect() or Accepted() → OnOpen → OnBytes… → OnClosed, once, with the reason.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/io/ring.h"
#include "net/tls/tls_engine.h"
#include "server/dist/out_queue.h"

namespace server {

class LinkSocketHandler {
 public:
  virtual void OnOpen() = 0;  // connected, and TLS is there where it is wanted
  // Takes whole messages off the front and returns how many bytes that were; the rest comes again
  // with more behind it.
  virtual size_t OnBytes(std::span<const uint8_t> bytes) = 0;
  // All that was taken from the queue is with the kernel's socket.
  virtual void OnSent() {}
  virtual void OnClosed(std::string_view why) = 0;

 protected:
  ~LinkSocketHandler() = default;
};

class LinkSocket final : private net::Target, public std::enable_shared_from_this<LinkSocket> {
 public:
  // Reads while the peer is not known yet, and afterwards.
  static constexpr size_t kSmallReadBytes = 4096;
  static constexpr size_t kReadBytes = 64U << 10U;

  struct Options {
    // A message that is longer than this ends the link.
    size_t message_bytes_max = 16U << 20U;
    size_t queue_bytes_max = 8U << 20U;
  };

  static std::shared_ptr<LinkSocket> Connect(net::EventLoop& loop, const net::Address& to,
                                             net::TlsEnginePtr tls, const Options& options,
                                             LinkSocketHandler* handler);
  static std::shared_ptr<LinkSocket> Accepted(net::EventLoop& loop, net::Slot slot,
                                              net::TlsEnginePtr tls, const Options& options,
                                              LinkSocketHandler* handler);
  LinkSocket(net::EventLoop& loop, net::TlsEnginePtr tls, const Options& options,
             LinkSocketHandler* handler);
  ~LinkSocket() = default;

  // Kept by whoever sends; it lives on after the socket, closed.
  const std::shared_ptr<OutQueue>& queue() const { return queue_; }
  // Takes from the queue; nothing while a piece is with the kernel.
  void Flush();
  // From here on it is worth reading much at once.
  void ReadLarge() { read_bytes_ = kReadBytes; }
  // Closes when what is queued has been sent, or a second has passed. Nothing is read any more, and
  // OnClosed comes with `why`.
  void CloseWhenSent(std::string why);
  // Closes at once. OnClosed is not called.
  void Abort() { Close("", false); }
  // The same, with OnClosed.
  void Fail(std::string_view why) { Close(why, true); }

  bool open() const { return state_ == State::kOpen; }
  bool refused() const { return refused_; }  // by the host: nobody listens there
  // When the kernel last took bytes, and when bytes last came.
  net::Time last_sent() const { return last_sent_; }
  net::Time last_received() const { return last_received_; }
  bool sending() const { return sending_; }

 private:
  enum class State : uint8_t { kConnecting, kTls, kOpen, kClosing, kClosed };
  enum Op : unsigned { kConnectOp, kRecvOp, kSendOp };

  void OnCompletion(unsigned op, net::Completion completion) override;
  void OnConnect(int32_t result);
  void OnRecv(int32_t result);
  void OnSend(int32_t result);
  void Begin();
  void StartRecv();
  void StartSend();
  bool Seal();
  void Received(size_t size);
  void Decrypt(std::span<uint8_t> cipher);
  void FlushTls();
  void Hand();
  bool Reserve(size_t room);
  void Close(std::string_view why, bool tell);
  void Began() {
    if (in_flight_++ == 0) self_ = shared_from_this();
  }

  net::EventLoop& loop_;
  const Options options_;
  net::TlsEnginePtr tls_;
  LinkSocketHandler* handler_;
  net::SocketName name_;
  net::Slot slot_ = net::kNoSlot;
  State state_ = State::kConnecting;
  bool receiving_ = false;
  bool sending_ = false;
  bool refused_ = false;
  unsigned in_flight_ = 0;
  std::shared_ptr<LinkSocket> self_;  // while operations are in flight
  std::string close_why_;
  net::Time last_sent_;
  net::Time last_received_;

  // Bytes that came and were not taken are [0, in_used_). With TLS cipher_ is what the kernel
  // writes to, and in_ holds what was decrypted.
  std::unique_ptr<uint8_t[]> in_;
  size_t in_room_ = 0;
  size_t in_used_ = 0;
  size_t read_bytes_ = kSmallReadBytes;
  std::vector<uint8_t> cipher_;

  std::shared_ptr<OutQueue> queue_;
  TermBuffer piece_;   // with the kernel, from sent_ on; with TLS what it was sealed from
  TermBuffer sealed_;  // with TLS: with the kernel
  size_t sent_ = 0;
};

}  // namespace server
