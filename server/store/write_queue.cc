#include "server/store/write_queue.h"

#include "server/store/rows.h"

namespace server {
namespace {

size_t BytesOf(const WriteWork& work) {
  if (const WriteBatch* batch = std::get_if<WriteBatch>(&work)) return BatchBytes(*batch);
  size_t bytes = 0;
  for (const SqlOwned& owned : std::get<SqlScript>(work)) {
    for (const auto& value : owned.values) {
      const std::string* text = std::get_if<std::string>(&value);
      bytes += sizeof(value) + (text == nullptr ? 0 : text->size());
    }
  }
  return bytes;
}

}  // namespace

bool WriteQueue::Add(WriteWork work, std::shared_ptr<Call> call,
                     std::move_only_function<void()> good) {
  const size_t bytes = BytesOf(work);
  {
    std::lock_guard lock(mutex_);
    if (stopped_ || jobs_.size() >= limits_.waiting_max ||
        bytes_ + bytes > limits_.waiting_bytes_max) {
      return false;
    }
    bytes_ += bytes;
    jobs_.push_back({std::move(work), std::move(call), std::move(good), bytes});
    metrics_.waiting = jobs_.size();
    metrics_.waiting_bytes = bytes_;
  }
  wake_.notify_one();
  return true;
}

bool WriteQueue::Wait() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
  return !jobs_.empty();
}

void WriteQueue::Pause(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, limit, [this] { return stopped_; });
}

std::vector<WriteJob> WriteQueue::Take() {
  std::vector<WriteJob> taken;
  size_t bytes = 0;
  std::lock_guard lock(mutex_);
  while (!jobs_.empty() && taken.size() < limits_.transaction_batches_max &&
         bytes < limits_.transaction_bytes_max) {
    WriteJob job = std::move(jobs_.front());
    jobs_.pop_front();
    bytes_ -= job.bytes;
    // Whoever was told that it is not done must not find it done; whoever is gone asked for it all
    // the same.
    if (!job.call->Claim()) continue;
    bytes += job.bytes;
    taken.push_back(std::move(job));
  }
  metrics_.waiting = jobs_.size();
  metrics_.waiting_bytes = bytes_;
  return taken;
}

void WriteQueue::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
}

bool WriteQueue::stopped() const {
  std::lock_guard lock(mutex_);
  return stopped_;
}

void WriteQueue::Clear() {
  std::deque<WriteJob> dropped;  // their destructors run without the lock
  std::lock_guard lock(mutex_);
  dropped.swap(jobs_);
  bytes_ = 0;
}

void EndWell(std::vector<WriteJob>& jobs, StoreMetrics& metrics) {
  metrics.batches += jobs.size();
  for (WriteJob& job : jobs) job.good();
}

void EndBadly(std::vector<WriteJob>& jobs, StoreError error, StoreMetrics& metrics) {
  switch (error) {
    case StoreError::kUnknown:
      metrics.unknown += jobs.size();
      break;
    case StoreError::kConflict:
    case StoreError::kAbsent:
      metrics.conflicts += jobs.size();
      break;
    case StoreError::kBusy:
      metrics.refused += jobs.size();
      break;
    case StoreError::kDown:
      metrics.failures += jobs.size();
      break;
  }
  for (WriteJob& job : jobs) job.call->Fail(error);
}

std::vector<SqlStep> StepsOf(const WriteWork& work, std::vector<std::unique_ptr<SqlSteps>>& keep) {
  std::vector<SqlStep> steps;
  if (const SqlScript* script = std::get_if<SqlScript>(&work)) {
    for (const SqlOwned& owned : *script) steps.push_back({owned.sql, ValuesOf(owned), {}});
    return steps;
  }
  for (const StoreWrite& write : std::get<WriteBatch>(work)) {
    const auto& made = keep.emplace_back(std::make_unique<SqlSteps>(write))->steps();
    steps.insert(steps.end(), made.begin(), made.end());
  }
  return steps;
}

}  // namespace server
