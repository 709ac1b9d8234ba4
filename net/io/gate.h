// Who is inside, and an end behind which nobody enters: work is stopped by closing the gate and
// waiting until the last one has left (as Seastar's gate does it).
//
// Any thread. A Pass is held for as long as the work takes; it may be moved to another thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "net/base/check.h"

namespace net {

class Gate {
 public:
  class Pass {
   public:
    Pass() = default;  // none
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    friend class Gate;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Gate* gate_ = nullptr;
  };

  Gate() = default;
  // Nobody may be inside.
  ~Gate() { CHECK(inside() == 0); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // None behind Close().
  Pass Enter() {
    uint64_t state = state_.load(std::memory_order_relaxed);
    do {
      if ((state & kClosed) != 0) return {};
    } while (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    return Pass(this);
  }

  // Once. `empty` is called when nobody is inside any more, once, by the last one to leave, or from
  // here; it must not destroy the gate.
  void Close(std::move_only_function<void()> empty = {}) {
    CHECK(!closed());
    empty_ = std::move(empty);
    if ((state_.fetch_or(kClosed, std::memory_order_acq_rel) & ~kClosed) == 0) Emptied();
  }
  // Behind Close(): until the last one has left, and `empty` has been called. Not from inside.
  void Wait() const {
    uint64_t state = state_.load(std::memory_order_acquire);
    CHECK((state & kClosed) != 0);
    while ((state & kEmptied) == 0) {
      state_.wait(state, std::memory_order_acquire);
      state = state_.load(std::memory_order_acquire);
    }
  }

  bool closed() const { return (state_.load(std::memory_order_relaxed) & kClosed) != 0; }
  uint64_t inside() const { return state_.load(std::memory_order_relaxed) & ~(kClosed | kEmptied); }

 private:
  static constexpr uint64_t kClosed = uint64_t{1} << 63U;
  static constexpr uint64_t kEmptied = uint64_t{1} << 62U;

  void Leave() {
    if (state_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) Emptied();
  }
  void Emptied() {
    if (empty_) std::exchange(empty_, {})();
    // Behind this another thread may destroy the gate, but for the notification it waits for.
    state_.fetch_or(kEmptied, std::memory_order_release);
    state_.notify_all();
  }

  mutable std::atomic<uint64_t> state_{0};
  std::move_only_function<void()> empty_;
};

}  // namespace net
