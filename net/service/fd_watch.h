// Tells when a plain descriptor (an event descriptor, a process descriptor, one end of a socket
// pair) has something to say.
//
// Loop's thread only. Multishot: after a call the owner reads until EAGAIN, or is not called again
// for what is left.
#pragma once

#include <functional>
#include <memory>

#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace net {

class FdWatch {
 public:
  // Owns `fd`. `on_ready` may destroy the watch.
  FdWatch(EventLoop& loop, UniqueFd fd, uint32_t events, std::function<void()> on_ready);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  int fd() const;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace net
