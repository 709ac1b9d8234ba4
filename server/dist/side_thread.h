// A thread beside the loop for calls that block: resolving a host's name, starting epmd. Jobs run
// one by one; what a job returns is a task for the loop's thread.
//
// Made and destroyed on the loop's thread. Destruction waits for the job that runs (a resolver's
// time-out at worst) and drops the others.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "net/io/event_loop.h"

namespace server {

class SideThread {
 public:
  using Job = std::move_only_function<net::Task()>;
  static constexpr size_t kJobsMax = 256;

  explicit SideThread(net::EventLoop& loop);
  ~SideThread();
  SideThread(const SideThread&) = delete;
  SideThread& operator=(const SideThread&) = delete;

  // False: kJobsMax wait already.
  bool Run(Job job);

 private:
  void Loop();

  net::EventLoop& loop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;   // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace server
