#include "server/store/sqlite_writer.h"

#include <pthread.h>

#include <algorithm>

#include "net/report/log.h"
#include "server/store/rows.h"

namespace server {
namespace {

// A write of the whole transaction that changes nothing that anybody reads.
constexpr char kFence[] =
    "INSERT INTO meta (name, value) VALUES ('fence', '1') "
    "ON CONFLICT (name) DO UPDATE SET value = value + 1";
constexpr std::chrono::milliseconds kFencePause{50};

size_t BytesOf(const SqliteWriter::Work& work) {
  const WriteBatch* batch = std::get_if<WriteBatch>(&work);
  return batch == nullptr ? 0 : BatchBytes(*batch);
}

// The commit's last page did not get into the log: it will be read as if it had not been written.
bool SurelyNotCommitted(int code) {
  switch (code) {
    case SQLITE_FULL:
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_READ:
    case SQLITE_BUSY:
    case SQLITE_BUSY_SNAPSHOT:
    case SQLITE_NOMEM:
    case SQLITE_IOERR_NOMEM:
      return true;
    default:
      return false;
  }
}

}  // namespace

SqliteWriter::SqliteWriter(const Options& options, std::unique_ptr<SqliteDb> db,
                           std::unique_ptr<FileLock> lock, StoreMetrics& metrics)
    : options_(options), db_(std::move(db)), lock_(std::move(lock)), metrics_(metrics) {
  thread_ = std::jthread([this] {
    pthread_setname_np(pthread_self(), "store-write");
    Loop();
  });
}

SqliteWriter::~SqliteWriter() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool SqliteWriter::Add(Work work, std::shared_ptr<Call> call,
                       std::move_only_function<void()> good) {
  const size_t bytes = BytesOf(work);
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= options_.waiting_max ||
        queued_bytes_ + bytes > options_.waiting_bytes_max) {
      return false;
    }
    queued_bytes_ += bytes;
    queue_.push_back({std::move(work), std::move(call), std::move(good), bytes});
    metrics_.waiting = queue_.size();
    metrics_.waiting_bytes = queued_bytes_;
  }
  wake_.notify_one();
  return true;
}

void SqliteWriter::Loop() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) break;
    }
    // The lock first: what comes while another process writes is part of the same transaction.
    const bool locked = lock_->Lock(options_.lock_limit);
    Jobs jobs = Take();
    if (!locked) {
      Failed(SQLITE_BUSY, "another process keeps the database's lock");
      Fail(jobs, StoreError::kDown);
      continue;
    }
    if (!jobs.empty()) Transact(jobs);
    CheckpointIfLong();
    lock_->Unlock();
  }
  // Nothing of the log is needed by whoever opens the file next.
  if (db_ != nullptr && lock_->Lock({})) {
    db_->Checkpoint(true);
    lock_->Unlock();
  }
}

SqliteWriter::Jobs SqliteWriter::Take() {
  Jobs jobs;
  std::lock_guard lock(mutex_);
  while (!queue_.empty() && jobs.size() < options_.transaction_batches_max) {
    Job job = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= job.bytes;
    // Whoever is gone asked for it all the same; whoever was told that it is not done must not
    // find it done.
    if (job.call->Claim()) jobs.push_back(std::move(job));
  }
  metrics_.waiting = queue_.size();
  metrics_.waiting_bytes = queued_bytes_;
  return jobs;
}

void SqliteWriter::Transact(Jobs& jobs) {
  if (db_ == nullptr && !Open()) return Fail(jobs, StoreError::kDown);
  int code = Apply(jobs);
  bool sure = true;
  if (code == SQLITE_OK) {
    code = Commit(jobs.size());
    sure = SurelyNotCommitted(code);
  }
  if (code == SQLITE_OK) return Answer(jobs);
  Failed(code, db_->ErrorText());
  db_->Run("ROLLBACK");
  // Not closed before: whoever opens the file next may read the log, and find the commit in doubt.
  sure = sure || Fence();
  if (code != SQLITE_FULL) db_.reset();
  Fail(jobs, sure ? StoreError::kDown : StoreError::kUnknown);
}

int SqliteWriter::Apply(Jobs& jobs) {
  int code = db_->Run("BEGIN IMMEDIATE");
  for (Job& job : jobs) {
    if (code == SQLITE_OK) code = db_->Run("SAVEPOINT batch");
    if (code == SQLITE_OK) job.applied = ApplyOne(job.work, &code);
    if (code == SQLITE_OK && !job.applied) code = db_->Run("ROLLBACK TO batch");
    if (code == SQLITE_OK) code = db_->Run("RELEASE batch");
  }
  return code;
}

void SqliteWriter::Answer(Jobs& jobs) {
  if (was_down_) net::Log(net::LogLevel::kInfo, "store", "writes go on", {});
  was_down_ = false;
  for (Job& job : jobs) {
    if (job.applied) {
      job.good();
    } else {
      ++metrics_.conflicts;
      job.call->Fail(job.applied.error());
    }
  }
}

std::expected<void, StoreError> SqliteWriter::ApplyOne(const Work& work, int* code) {
  if (const WriteBatch* batch = std::get_if<WriteBatch>(&work)) return ApplyBatch(*batch, code);
  const Doomed& doomed = std::get<Doomed>(work);
  const auto remove = [this, code](const char* sql, const std::vector<SqlValue>& values) {
    if (*code != SQLITE_OK) return;
    SqliteQuery query = db_->Query(sql);
    query.BindAll(values).Row();
    *code = query.code();
  };
  for (const Doomed::Range& range : doomed.archive) {
    remove(sql::kDeleteArchive, {std::string_view(range.owner), static_cast<int64_t>(range.first),
                                 static_cast<int64_t>(range.last)});
  }
  for (const auto& [owner, id] : doomed.offline) {
    remove(sql::kDeleteOffline, {std::string_view(owner), static_cast<int64_t>(id)});
  }
  return {};
}

std::expected<void, StoreError> SqliteWriter::ApplyBatch(const WriteBatch& batch, int* code) {
  for (const StoreWrite& write : batch) {
    const SqlSteps steps(write);
    for (const SqlStep& step : steps.steps()) {
      SqliteQuery query = db_->Query(step.sql);
      query.BindAll(step.values).Row();
      *code = query.code();
      if (*code != SQLITE_OK) return {};
      if (step.unchanged && db_->Changes() == 0) return std::unexpected(*step.unchanged);
    }
  }
  return {};
}

int SqliteWriter::Commit(size_t batches) {
  const auto begin = std::chrono::steady_clock::now();
  const int code = db_->Run("COMMIT");
  const auto us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                            std::chrono::steady_clock::now() - begin)
                                            .count());
  if (code != SQLITE_OK) return code;
  ++metrics_.transactions;
  metrics_.batches += batches;
  metrics_.commit_us += us;
  metrics_.commit_us_max = std::max(metrics_.commit_us_max.load(), us);
  return code;
}

// Under the lock still: nobody else's commit can stand behind the one in doubt.
bool SqliteWriter::Fence() {
  const auto end = std::chrono::steady_clock::now() + options_.fence_limit;
  while (true) {
    if (db_->Run("BEGIN IMMEDIATE") == SQLITE_OK && db_->Run(kFence) == SQLITE_OK &&
        db_->Run("COMMIT") == SQLITE_OK) {
      return true;
    }
    db_->Run("ROLLBACK");
    if (std::chrono::steady_clock::now() + kFencePause > end) return false;
    std::this_thread::sleep_for(kFencePause);
  }
}

bool SqliteWriter::Open() {
  ++metrics_.reconnects;
  auto db = SqliteDb::Open(options_.path, SqliteDb::Mode::kWriter);
  if (!db) {
    Failed(db.error().code, db.error().text);
    return false;
  }
  db_ = std::move(*db);
  return true;
}

void SqliteWriter::Failed(int code, const std::string& what) {
  if (!was_down_) {
    net::Log(net::LogLevel::kError, "store", "writes fail",
             {{"file", options_.path}, {"code", code}, {"reason", what}});
  }
  was_down_ = true;
}

void SqliteWriter::Fail(Jobs& jobs, StoreError error) {
  (error == StoreError::kUnknown ? metrics_.unknown : metrics_.failures) += jobs.size();
  for (Job& job : jobs) job.call->Fail(error);
}

void SqliteWriter::CheckpointIfLong() {
  if (db_ == nullptr || db_->log_pages() < options_.checkpoint_pages) return;
  // Read by another connection, the rest of the log stays for the next time; a full disk as well.
  if (db_->Checkpoint(false) == SQLITE_OK) ++metrics_.checkpoints;
  db_->ForgetLogPages();
}

}  // namespace server
