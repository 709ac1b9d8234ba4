#include "server/dist/side_thread.h"

#include <utility>

namespace server {

SideThread::SideThread(net::EventLoop& loop) : loop_(loop), thread_([this] { Loop(); }) {}

SideThread::~SideThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

bool SideThread::Run(Job job) {
  {
    std::lock_guard lock(mutex_);
    if (jobs_.size() >= kJobsMax) return false;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return true;
}

void SideThread::Loop() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    loop_.Post(job());
  }
}

}  // namespace server
