// Threads for calls that block: a database in a file, the C library's resolver, large files. A loop
// hands work in and hears the answer on its own thread.
//
//   BlockingPool pool({.name = "store", .threads = 1});        // of the process
//   BlockingPool::Client client(pool, loop);                   // of each loop that asks
//   client.Run([sql] { return Query(sql); }, [this](Rows rows) { OnRows(rows); });
//
// Bounded: `threads` jobs run and `waiting_max` wait; more are refused at once. With one thread
// they run in the order in which they came.
//
// A Client is its loop's: destroyed on its thread, before the loop; from then on no answer comes,
// and its jobs that have not begun are dropped. The pool ends after its clients' jobs: its
// destructor waits for those that run and drops the others. What a job and its answer captured may
// be destroyed on any of these threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "net/io/event_loop.h"
#include "net/io/mailbox.h"

namespace net {

class BlockingPool {
 public:
  struct Options {
    std::string name = "blocking";  // of its threads; up to 12 characters are shown
    size_t threads = 4;
    size_t waiting_max = 1024;
  };

  explicit BlockingPool(const Options& options);
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  size_t waiting() const;  // any thread

  class Client {
   public:
    Client(BlockingPool& pool, EventLoop& loop)
        : pool_(pool), answers_(loop, SIZE_MAX, [](std::vector<Task>& batch) {
            for (Task& answer : batch) answer();
          }) {}

    // `work()` on one of the threads, then `done(its result)`, or `done()` for none, on the loop's.
    // False: too many wait; nothing is called.
    template <typename Work, typename Done>
    bool Run(Work work, Done done) {
      return pool_.Add(
          [slot = answers_.slot(), work = std::move(work), done = std::move(done)]() mutable {
            if (slot.closed()) return;
            if constexpr (std::is_void_v<std::invoke_result_t<Work&>>) {
              work();
              slot.Add([done = std::move(done)]() mutable { done(); });
            } else {
              slot.Add(
                  [done = std::move(done), result = work()]() mutable { done(std::move(result)); });
            }
          });
    }

    // An answer without work: from the loop's next turn, and not behind the end.
    void Post(Task answer) { answers_.slot().Add(std::move(answer)); }

   private:
    BlockingPool& pool_;
    Mailbox<Task> answers_;  // as many as there are jobs: no bound of its own
  };

 private:
  bool Add(Task job);
  void Loop();

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> jobs_;  // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace net
