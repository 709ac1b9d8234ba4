#include "net/io/event_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace net {
namespace {

// An idle loop still turns this often, so that now() never gets old for whoever looks at it.
constexpr Duration kTurnMax = std::chrono::seconds(1);

}  // namespace

EventLoop::EventLoop(std::unique_ptr<Ring> ring, const Clock& clock)
    : ring_(std::move(ring)), clock_(clock), now_(clock.Now()), gather_(now_) {}

std::expected<std::unique_ptr<EventLoop>, std::string> EventLoop::Create(const RingOptions& options,
                                                                         const Clock& clock) {
  auto ring = Ring::Create(options);
  if (!ring) return std::unexpected(ring.error());
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(*ring), clock));
  loop->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (loop->wake_fd_ < 0) {
    return std::unexpected(std::string("eventfd: ") + std::strerror(errno) +
                           "; raise the limit of open files (ulimit -n, LimitNOFILE=1048576)");
  }
  loop->ArmWake();
  return loop;
}

EventLoop::~EventLoop() {
  {
    const std::lock_guard last(mutex_);
  }  // who posted is out
  // The ring goes first: its end cancels and joins the poll on the wake descriptor.
  ring_.reset();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void EventLoop::ArmWake() { ring_->PollFd(wake_fd_, POLLIN, {this, 0}); }

void EventLoop::OnCompletion(unsigned, Completion completion) {
  uint64_t count = 0;
  static_cast<void>(!read(wake_fd_, &count, sizeof count));
  if (!completion.more()) ArmWake();
}

EventLoop::TimerId EventLoop::After(Duration delay, Task task) {
  TimerId id{now_ + delay, next_timer_++};
  timers_.emplace(id, std::move(task));
  return id;
}

void EventLoop::CancelTimer(TimerId id) { timers_.erase(id); }

void EventLoop::Post(Task task) {
  // The wake is inside: the loop runs the task behind this, so a task that ends the loop does not
  // take it from under who posted it.
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  if (!has_tasks_.exchange(true, std::memory_order_acq_rel)) {
    uint64_t one = 1;
    static_cast<void>(!write(wake_fd_, &one, sizeof one));
  }
}

void EventLoop::RunTimers() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    auto node = timers_.extract(timers_.begin());
    node.mapped()();
  }
}

void EventLoop::RunTasks() {
  if (!has_tasks_.load(std::memory_order_relaxed)) return;
  std::vector<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
    has_tasks_.store(false, std::memory_order_release);
  }
  for (Task& task : tasks) task();
}

void EventLoop::RunOnce(Duration limit) {
  Duration wait = limit;
  if (has_tasks_.load(std::memory_order_acquire)) wait = Duration::zero();
  if (!timers_.empty()) {
    wait = std::min(wait, std::max(Duration::zero(), timers_.begin()->first.first - clock_.Now()));
  }
  ring_->Wait(wait, gather_.window());
  now_ = clock_.Now();
  gather_.Count(now_, ring_->Deliver().alone);
  RunTimers();
  RunTasks();
  if (turn_end_) turn_end_();
}

std::string EventLoop::Held() const {
  static constexpr std::array<const char*, kWorks> kNames = {
      "accepts", "stream operations", "lookups", "signal descriptors", "operations"};
  std::string text;
  for (size_t i = 0; i < kWorks; ++i) {
    if (held_[i] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(held_[i]) + " " + kNames[i];
  }
  return text;
}

std::expected<void, std::string> EventLoop::Drain(Duration limit) {
  const Time end = clock_.Now() + limit;
  while (true) {
    std::string held = Held();
    if (held.empty()) return {};
    const Duration left = end - clock_.Now();
    if (left <= Duration::zero()) return std::unexpected(std::move(held));
    RunOnce(std::min(left, kTurnMax));
  }
}

void EventLoop::Run() {
  stopped_ = false;
  while (!stopped_) RunOnce(kTurnMax);
}

}  // namespace net
