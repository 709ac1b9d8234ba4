#include "net/io/blocking_pool.h"

#include <pthread.h>

#include "net/base/check.h"

namespace net {

BlockingPool::BlockingPool(const Options& options) : options_(options) {
  CHECK(options.threads > 0);
  for (size_t i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, i] {
      const std::string name = options_.name.substr(0, 12) + "-" + std::to_string(i + 1);
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      Loop();
    });
  }
}

BlockingPool::~BlockingPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  threads_.clear();
}

size_t BlockingPool::waiting() const {
  std::lock_guard lock(mutex_);
  return jobs_.size();
}

bool BlockingPool::Add(Task job) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || jobs_.size() >= options_.waiting_max) return false;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return true;
}

void BlockingPool::Loop() {
  while (true) {
    Task job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace net
