// A byte stream for control work: health checks, the admin pages, ctl, DNS over TCP. It is easy to
// use and frugal enough for some thousands; the relay of the balancer has its own, smaller form.
//
// One thread, the loop's. A Stream is owned by a shared_ptr, and by itself while operations are in
// flight, so a handler may drop it at any time. The handler must outlive the stream or be detached
// with Abort(), after which it hears nothing more.
//
// Life: Connect() or Accepted() → OnConnected → OnData… → OnEnd (the peer sent its last byte) →
// OnClosed, once, always last, with the reason. A handler may call everything from everywhere.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/io/event_loop.h"
#include "net/io/ring.h"
#include "net/io/socket.h"

namespace net {

class StreamHandler {
 public:
  virtual void OnConnected() {}
  virtual void OnData(std::span<const uint8_t> data) = 0;
  virtual void OnEnd() = 0;
  // All that was written has been taken by the kernel.
  virtual void OnDrained() {}
  // `why` is empty after an orderly close on our side.
  virtual void OnClosed(std::string_view why) = 0;

 protected:
  ~StreamHandler() = default;
};

class Stream final : private Target, public std::enable_shared_from_this<Stream> {
 public:
  // The outgoing queue above which Write() refuses and the stream is aborted.
  static constexpr size_t kQueueBytesMax = 4U << 20U;

  static std::shared_ptr<Stream> Connect(EventLoop& loop, const sockaddr* address, socklen_t size,
                                         StreamHandler* handler);
  // Takes over an accepted socket.
  static std::shared_ptr<Stream> Accepted(EventLoop& loop, Slot slot, StreamHandler* handler);

  Stream(EventLoop& loop, StreamHandler* handler) : loop_(loop), handler_(handler) {}
  ~Stream() = default;

  // Queues bytes; false (and abort) when the queue would pass kQueueBytesMax.
  bool Write(std::string_view data);
  bool Write(std::span<const uint8_t> data) {
    return Write({reinterpret_cast<const char*>(data.data()), data.size()});
  }
  // No more writes; once all is sent, our side ends, and the connection closes when the peer has
  // ended its own or a second has passed. What it sends meanwhile is dropped.
  void CloseWhenSent();
  // Closes at once. OnClosed is not called.
  void Abort();
  // Stops and resumes reading, for back-pressure.
  void PauseReading() { reading_paused_ = true; }
  void ResumeReading();

  // Bytes that were written and that the kernel has not taken.
  size_t queued() const { return unsent() + waiting_.size(); }
  bool open() const { return state_ == State::kOpen; }
  // The errno that ended it, or 0: OnClosed has its words.
  int error() const { return error_; }

 private:
  enum class State : uint8_t { kConnecting, kOpen, kClosing, kClosed };
  enum Op : unsigned { kConnect, kRecv, kSend };

  // Of what is with the kernel, or goes to it next.
  size_t unsent() const { return out_.size() - out_sent_; }
  void OnCompletion(unsigned op, Completion completion) override;
  void OnConnect(int32_t result);
  void OnRecv(int32_t result);
  void OnSend(int32_t result);
  void StartRecv();
  void StartSend();
  void Close(std::string_view why, bool tell);
  void CloseFailed(int error);
  void CloseSlot();
  void Linger();
  void Began() {
    if (in_flight_++ == 0) self_ = shared_from_this();
  }

  EventLoop& loop_;
  StreamHandler* handler_;
  Slot slot_ = kNoSlot;
  State state_ = State::kConnecting;
  bool receiving_ = false;
  bool sending_ = false;
  bool reading_paused_ = false;
  bool ended_ = false;
  bool close_when_sent_ = false;
  bool lingering_ = false;
  int error_ = 0;
  unsigned in_flight_ = 0;
  std::shared_ptr<Stream> self_;  // while operations are in flight
  sockaddr_storage address_{};
  std::string out_;  // being sent, from out_sent_ on
  size_t out_sent_ = 0;
  std::string waiting_;  // written while out_ is with the kernel
  std::array<uint8_t, 4096> in_;
};

// Accepts on a listening socket and hands the slots on. Backs off for a moment when descriptors run
// out, instead of spinning, and tells `failed` the errno. Neither is called after the Acceptor's
// end.
class Acceptor {
 public:
  using Callback = std::move_only_function<void(Slot)>;
  using Failed = std::move_only_function<void(int error)>;
  Acceptor(EventLoop& loop, UniqueFd listener, Callback callback, Failed failed = {});
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace net
