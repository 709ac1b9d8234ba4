// Publishes generations to the workers: one atomic pointer, read without locks.
//
// A worker takes the current generation for a batch of queries and lets it go before it waits again
// (hazard pointers). The control thread frees an old generation when no worker holds it.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "dns/answer/answer.h"

namespace dns {

class Publisher {
 public:
  // One worker's place. Made before the worker's thread starts, lives until it has ended.
  class Reader {
   public:
    explicit Reader(const Publisher& publisher) : publisher_(publisher) {}

    // The current generation; it stays valid until Release(). On the worker's thread.
    const Generation& Acquire() {
      const Generation* generation = publisher_.current_.load(std::memory_order_acquire);
      while (true) {
        held_.store(generation, std::memory_order_seq_cst);
        const Generation* again = publisher_.current_.load(std::memory_order_seq_cst);
        if (again == generation) return *generation;
        generation = again;
      }
    }
    void Release() { held_.store(nullptr, std::memory_order_release); }

   private:
    friend class Publisher;
    const Publisher& publisher_;
    alignas(64) std::atomic<const Generation*> held_{nullptr};
  };

  explicit Publisher(std::shared_ptr<const Generation> first);

  // All on the control thread.
  Reader* AddReader();
  void RemoveReader(Reader* reader);  // when its worker has ended
  void Publish(std::shared_ptr<const Generation> next);
  const std::shared_ptr<const Generation>& current() const { return owner_; }
  size_t retired() const { return retired_.size(); }

 private:
  void Collect();

  std::atomic<const Generation*> current_;
  std::shared_ptr<const Generation> owner_;
  std::vector<std::shared_ptr<const Generation>> retired_;
  std::vector<std::unique_ptr<Reader>> readers_;
};

}  // namespace dns
