// Signals as events of a loop, by signalfd: no handler ever interrupts anything.
//
// Block() first, before any thread starts, so that all threads inherit the mask.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>

#include "net/io/event_loop.h"

namespace net {

void BlockSignals(std::initializer_list<int> signals);

class SignalWatcher {
 public:
  // `on_signal` runs on the loop's thread, once for each signal.
  SignalWatcher(EventLoop& loop, std::initializer_list<int> signals,
                std::function<void(int)> on_signal);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace net
