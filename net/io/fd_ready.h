// Tells when a descriptor that belongs to somebody else is ready: a library's connection (libpq),
// of which only the library knows what it waits for next, and which it may close and open again.
//
// One answer an Await(). Loop's thread only. Stop() or Await() before the library may close the
// descriptor; its number may be another file's afterwards.
#pragma once

#include <functional>
#include <memory>

#include "net/io/event_loop.h"

namespace net {

class FdReady {
 public:
  // With the poll(2) events that are there, errors and hang-ups among them. It may call all of
  // this, and destroy it.
  using Callback = std::function<void(uint32_t events)>;

  FdReady(EventLoop& loop, Callback on_ready);
  ~FdReady();
  FdReady(const FdReady&) = delete;
  FdReady& operator=(const FdReady&) = delete;

  // In place of what was awaited before.
  void Await(int fd, uint32_t events);
  // Nothing is told until the next Await().
  void Stop();

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace net
