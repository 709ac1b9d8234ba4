// A call that a loop made and a thread of the store answers, once: by whoever claims it first. The
// thread claims it when it begins with it; the loop does when nobody began within its patience.
//
// Both stores' clients stand on this.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "net/io/event_loop.h"
#include "net/io/mailbox.h"
#include "server/store/backend.h"
#include "server/store/store.h"

namespace server {

using Answers = net::Mailbox<net::Task>;

class Call {
 public:
  virtual ~Call() = default;
  // True once. Any thread.
  bool Claim() { return !claimed_.exchange(true); }
  bool claimed() const { return claimed_.load(); }
  // Whoever asked is gone: nothing needs to be begun for it.
  bool abandoned() const { return slot_.closed(); }
  // By who claimed it; called on the loop's thread, later.
  virtual void Fail(StoreError error) = 0;

 protected:
  explicit Call(Answers::Slot slot) : slot_(std::move(slot)) {}
  void Post(net::Task answer) { slot_.Add(std::move(answer)); }

 private:
  std::atomic<bool> claimed_{false};
  const Answers::Slot slot_;
};

template <typename T>
class CallOf final : public Call {
 public:
  CallOf(Answers::Slot slot, StoreClient::Done<T> done)
      : Call(std::move(slot)), done_(std::move(done)) {}

  // By who claimed it, once.
  void End(std::expected<T, StoreError> result) {
    Post([done = std::move(done_), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  }
  void Fail(StoreError error) override { End(std::unexpected(error)); }

 private:
  StoreClient::Done<T> done_;
};

// The calls of one loop that nobody has begun yet, oldest first. Loop's thread.
class Patience {
 public:
  Patience(net::EventLoop& loop, net::Duration limit, std::atomic<uint64_t>& refused)
      : loop_(loop), limit_(limit), refused_(refused) {}
  ~Patience() {
    if (armed_) loop_.CancelTimer(timer_);
  }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  void Watch(std::shared_ptr<Call> call) {
    while (!waiting_.empty() && waiting_.front().call->claimed()) waiting_.pop_front();
    waiting_.push_back({loop_.now() + limit_, std::move(call)});
    Arm();
  }

 private:
  struct Waiting {
    net::Time end;
    std::shared_ptr<Call> call;
  };

  void Arm() {
    if (armed_ || waiting_.empty()) return;
    armed_ = true;
    timer_ = loop_.After(waiting_.front().end - loop_.now(), [this] { GiveUp(); });
  }
  void GiveUp() {
    armed_ = false;
    while (!waiting_.empty()) {
      Waiting& first = waiting_.front();
      if (first.end > loop_.now() && !first.call->claimed()) break;
      if (first.call->Claim()) {
        ++refused_;
        first.call->Fail(StoreError::kBusy);
      }
      waiting_.pop_front();
    }
    Arm();
  }

  net::EventLoop& loop_;
  const net::Duration limit_;
  std::atomic<uint64_t>& refused_;
  std::deque<Waiting> waiting_;
  net::EventLoop::TimerId timer_;
  bool armed_ = false;
};

}  // namespace server
