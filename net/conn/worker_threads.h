// Threads with a loop each, and something that lives on it: starts them, hands them work, asks
// them, ends them.
//
// For one thread, which is none of them. They never wait for it, so it may wait for them: a
// question takes as long as the turn of a loop.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <expected>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/base/clock.h"
#include "net/io/event_loop.h"

namespace net {

// `Worker` is made on its thread, and destroyed there when its loop has ended.
template <typename Worker>
class WorkerThreads {
 public:
  struct Options {
    size_t workers = 1;
    std::string name = "worker";  // of the threads; up to 12 characters are shown
    RingOptions ring;             // of each
    std::vector<int> cpus = {};   // of each; none: where the system puts them
  };
  // On the new thread. The error is the whole start's.
  using Make = std::function<std::expected<std::unique_ptr<Worker>, std::string>(EventLoop& loop,
                                                                                 size_t index)>;
  // On the thread, behind the last turn: until all operations have come back. False: the kernel may
  // still write to what the worker has, which stays until the process has ended.
  using End = std::function<bool(Worker& worker)>;

  // `clock` must outlive them.
  static std::expected<std::unique_ptr<WorkerThreads>, std::string> Start(const Options& options,
                                                                          const Clock& clock,
                                                                          Make make, End end) {
    std::unique_ptr<WorkerThreads> all(new WorkerThreads);
    for (size_t index = 0; index < options.workers; ++index) {
      all->threads_.push_back(std::make_unique<Thread>());
      Thread& one = *all->threads_.back();
      std::promise<std::string> started;
      auto result = started.get_future();
      // The ring belongs to the thread that makes it.
      one.thread = std::jthread([&one, &options, &clock, make, end, index, &started] {
        Run(one, options, clock, make, end, index, &started);
      });
      const std::string error = result.get();
      if (error.empty()) continue;
      one.thread.join();
      all->threads_.pop_back();
      return std::unexpected(options.name + " " + std::to_string(index + 1) + ": " + error);
    }
    return all;
  }
  ~WorkerThreads() { Stop(); }
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  // Ends them and waits. What is posted from now on is dropped.
  void Stop() {
    for (const auto& one : threads_) {
      EventLoop* loop = one->loop.get();
      loop->Post([loop] { loop->Stop(); });
    }
    for (const auto& one : threads_) {
      if (one->thread.joinable()) one->thread.join();
    }
  }

  size_t size() const { return threads_.size(); }
  EventLoop& loop(size_t index) { return *threads_[index]->loop; }
  // For what it lets other threads read. Gone behind Stop().
  const Worker& worker(size_t index) const { return *threads_[index]->worker; }
  void Post(size_t index, std::move_only_function<void(Worker&)> task) {
    Thread& one = *threads_[index];
    one.loop->Post([&one, task = std::move(task)]() mutable { task(*one.worker); });
  }
  void PostAll(const std::function<void(Worker&)>& task) {
    for (size_t index = 0; index < threads_.size(); ++index) Post(index, task);
  }
  // Runs it there and waits. Not behind Stop().
  void Ask(size_t index, const std::function<void(Worker&)>& task) {
    std::latch done(1);
    Post(index, [&](Worker& worker) {
      task(worker);
      done.count_down();
    });
    done.wait();
  }
  // On each, one after the other.
  void AskAll(const std::function<void(Worker&)>& task) {
    for (size_t index = 0; index < threads_.size(); ++index) Ask(index, task);
  }

 private:
  struct Thread {
    std::unique_ptr<EventLoop> loop;
    std::unique_ptr<Worker> worker;
    std::jthread thread;
  };
  WorkerThreads() = default;

  static void Run(Thread& one, const Options& options, const Clock& clock, const Make& make,
                  const End& end, size_t index, std::promise<std::string>* started) {
    const std::string name = options.name.substr(0, 12) + "-" + std::to_string(index + 1);
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    // Before the ring, whose memory is then near.
    if (!options.cpus.empty()) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<size_t>(options.cpus[index]), &set);
      pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
    auto loop = EventLoop::Create(options.ring, clock);
    if (!loop) {
      started->set_value(loop.error());
      return;
    }
    auto worker = make(**loop, index);
    if (!worker) {
      started->set_value(worker.error());
      return;
    }
    one.loop = std::move(*loop);
    one.worker = std::move(*worker);
    started->set_value("");  // (what was handed in by reference may be gone from here on)
    one.loop->Run();
    if (end(*one.worker)) {
      one.worker.reset();
    } else {
      static_cast<void>(one.worker.release());
    }
    // The loop stays until the thread is joined: what is posted to it from here on is dropped.
  }

  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace net
