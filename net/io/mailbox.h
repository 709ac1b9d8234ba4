// What other threads have for a loop, in batches: however many put something in during a turn, the
// loop is woken once and takes all of it at once.
//
// Made and closed on the loop's thread; Put() from any. Whoever has the Mailbox may put until
// Close(), and after it as well: then it is refused, so the order in which threads end does not
// matter. What was not taken by then is dropped. Bounded: `most` items wait.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "net/io/event_loop.h"

namespace net {

template <typename T>
class Mailbox {
  struct State;

 public:
  enum class Put : uint8_t { kTaken, kFull, kClosed };
  // Has the items of a turn, in the order in which each thread put them in; on the loop's thread.
  using Take = std::move_only_function<void(std::vector<T>& batch)>;

  Mailbox(EventLoop& loop, size_t most, Take take)
      : state_(std::make_shared<State>(loop, most, std::move(take))) {}
  ~Mailbox() { Close(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // What others hold to put things in; may outlive the Mailbox.
  class Slot {
   public:
    Slot() = default;
    Put Add(T item) const { return state_->Add(std::move(item)); }
    // All or none, under one lock; emptied where they were taken.
    Put AddAll(std::vector<T>* items) const { return state_->AddAll(items); }
    // Beyond `most` as well: for who has a bound of its own, and cannot come again.
    Put AddAlways(T item) const { return state_->Add(std::move(item), SIZE_MAX); }
    bool closed() const { return state_->Closed(); }

   private:
    friend class Mailbox;
    explicit Slot(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
  };
  Slot slot() const { return Slot(state_); }

  // Nothing is taken from here on. On the loop's thread, also from within Take.
  void Close() { state_->Close(); }

 private:
  struct State : std::enable_shared_from_this<State> {
    State(EventLoop& l, size_t m, Take t) : loop(l), most(m), take(std::move(t)) {}

    Put Add(T item) { return Add(std::move(item), most); }
    Put Add(T item, size_t fits) {
      std::lock_guard lock(mutex);
      if (closed) return Put::kClosed;
      if (waiting.size() >= fits) return Put::kFull;
      waiting.push_back(std::move(item));
      Wake();
      return Put::kTaken;
    }
    Put AddAll(std::vector<T>* items) {
      std::lock_guard lock(mutex);
      if (closed) return Put::kClosed;
      if (items->size() > most - std::min(most, waiting.size())) return Put::kFull;
      for (T& item : *items) waiting.push_back(std::move(item));
      if (!items->empty()) Wake();
      items->clear();
      return Put::kTaken;
    }
    // Under the lock: behind Close() the loop is not touched any more.
    void Wake() {
      if (woken) return;
      woken = true;
      loop.Post([state = this->shared_from_this()] { state->Deliver(); });
    }
    void Deliver() {
      {
        std::lock_guard lock(mutex);
        woken = false;
        if (closed) return;
        batch.swap(waiting);
      }
      take(batch);
      batch.clear();
    }
    void Close() {
      std::vector<T> dropped;  // their destructors run without the lock
      std::lock_guard lock(mutex);
      closed = true;
      dropped.swap(waiting);
    }
    bool Closed() {
      std::lock_guard lock(mutex);
      return closed;
    }

    EventLoop& loop;
    const size_t most;
    Take take;             // loop's thread
    std::vector<T> batch;  // likewise
    std::mutex mutex;
    std::vector<T> waiting;  // the rest is guarded by mutex
    bool woken = false;
    bool closed = false;
  };

  std::shared_ptr<State> state_;
};

}  // namespace net
