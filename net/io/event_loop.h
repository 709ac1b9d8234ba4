// A thread's loop over its ring: completions, timers, and work handed in by other threads.
//
// One thread creates an EventLoop, runs it and destroys it. Post() is the only call for other
// threads. Timers here are for control work (a few hundred, with a callback each); connections on
// the data path use a TimerWheel.
#pragma once

#include <array>
#include <atomic>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/base/clock.h"
#include "net/io/gather.h"
#include "net/io/ring.h"

namespace net {

using Task = std::move_only_function<void()>;

class EventLoop final : private Target {
 public:
  using TimerId = std::pair<Time, uint64_t>;

  // On the thread that will run it. `clock` must outlive the loop.
  static std::expected<std::unique_ptr<EventLoop>, std::string> Create(const RingOptions& options,
                                                                       const Clock& clock);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  Ring& ring() { return *ring_; }
  // What the loop reads its time from, for whoever measures within a turn.
  const Clock& clock() const { return clock_; }
  // Read once a turn, so that all that happens in a turn happens at one time.
  Time now() const { return now_; }

  TimerId After(Duration delay, Task task);
  void CancelTimer(TimerId id);  // of a timer that ran: no effect

  // Thread-safe: runs `task` on the loop's thread, soon. Tasks left when the loop ends are dropped.
  void Post(Task task);

  // Runs at the end of each turn, after completions and timers; for batched work such as giving
  // buffers back. Set before Run().
  void SetTurnEnd(Task task) { turn_end_ = std::move(task); }

  // The gate: who has operations in flight holds it, and Drain() waits until nobody does. Memory
  // that the kernel may still write to must outlive the operation, so a loop is drained before it
  // ends. Timers and tasks run on meanwhile: who is being waited for may need them.
  enum class Work : uint8_t { kAccept, kStream, kLookup, kSignals, kOther };
  static constexpr size_t kWorks = static_cast<size_t>(Work::kOther) + 1;
  void Hold(Work what = Work::kOther) { ++held_[static_cast<size_t>(what)]; }
  void Release(Work what = Work::kOther) { --held_[static_cast<size_t>(what)]; }
  // Until all was released. The error names what was not within `limit`.
  std::expected<void, std::string> Drain(Duration limit);
  std::string Held() const;  // "2 accepts, 1 stream operations"; "" for nothing

  // Runs until Stop(). RunOnce: one turn, waiting at most `limit`.
  void Run();
  void RunOnce(Duration limit);
  // Run() returns at the end of this turn; timers and tasks stay. On the loop's thread; other
  // threads Post() it.
  void Stop() { stopped_ = true; }

 private:
  EventLoop(std::unique_ptr<Ring> ring, const Clock& clock);
  void OnCompletion(unsigned op, Completion completion) override;
  void ArmWake();
  void RunTimers();
  void RunTasks();

  std::unique_ptr<Ring> ring_;
  const Clock& clock_;
  Time now_;
  Gather gather_;
  std::map<TimerId, Task> timers_;
  uint64_t next_timer_ = 1;
  Task turn_end_;
  bool stopped_ = false;
  std::array<uint32_t, kWorks> held_{};

  int wake_fd_ = -1;
  std::atomic<bool> has_tasks_{false};
  std::mutex mutex_;
  std::vector<Task> tasks_;  // guarded by mutex_
};

}  // namespace net
