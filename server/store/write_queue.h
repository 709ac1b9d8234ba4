// The writes that wait for a store's writer thread, in the order in which they came, bounded by
// count and by bytes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "server/store/backend.h"
#include "server/store/call.h"
#include "server/store/sql.h"
#include "server/store/store.h"

namespace server {

// What is done whole or not at all.
using WriteWork = std::variant<WriteBatch, SqlScript>;

struct WriteJob {
  WriteWork work;
  std::shared_ptr<Call> call;
  std::move_only_function<void()> good;  // ends the call well
  size_t bytes = 0;
};

struct WriteLimits {
  size_t waiting_max = 8'192;            // batches
  size_t waiting_bytes_max = 64U << 20;  // in them
  size_t transaction_batches_max = 1'024;
  size_t transaction_bytes_max = 8U << 20;
};

// Any thread adds, one takes.
class WriteQueue {
 public:
  WriteQueue(const WriteLimits& limits, StoreMetrics& metrics)
      : limits_(limits), metrics_(metrics) {}

  // False: too much waits, or it was stopped.
  bool Add(WriteWork work, std::shared_ptr<Call> call, std::move_only_function<void()> good);

  // Until something is there. False: stopped, and nothing is left.
  bool Wait();
  // Until it is stopped, for so long at most: a pause before something is tried again.
  void Pause(std::chrono::milliseconds limit);
  // A transaction's worth, claimed for the writer; what its caller gave up is left out. May be
  // empty.
  std::vector<WriteJob> Take();
  void Stop();
  bool stopped() const;
  // When it was stopped and cannot be served: what is left is dropped.
  void Clear();

 private:
  const WriteLimits limits_;
  StoreMetrics& metrics_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<WriteJob> jobs_;  // the rest is guarded by mutex_
  size_t bytes_ = 0;
  bool stopped_ = false;
};

// Ends of claimed jobs, counted.
void EndWell(std::vector<WriteJob>& jobs, StoreMetrics& metrics);
void EndBadly(std::vector<WriteJob>& jobs, StoreError error, StoreMetrics& metrics);

// A thread that writes; its destructor tries what is queued before.
class StoreWriter {
 public:
  virtual ~StoreWriter() = default;
  virtual WriteQueue& queue() = 0;
};

// Refers to `work`.
std::vector<SqlStep> StepsOf(const WriteWork& work, std::vector<std::unique_ptr<SqlSteps>>& keep);

}  // namespace server
