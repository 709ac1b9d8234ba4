#include "server/store/sqlite_writer.h"

#include <algorithm>

#include "net/report/log.h"
#include "server/store/store_thread.h"

namespace server {
namespace {

// A write of the whole transaction that changes nothing that anybody reads.
constexpr char kFence[] =
    "INSERT INTO meta (name, value) VALUES ('fence', '1') "
    "ON CONFLICT (name) DO UPDATE SET value = value + 1";
constexpr std::chrono::milliseconds kFencePause{50};
// Of checkpoint_pages: when so much is in the log, commits wait for what copies it.
constexpr int kMostTimes = 2;
// Pages between two tries to copy the rest, where somebody reads it.
constexpr int kRestEvery = 32;

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
                           std::unique_ptr<FileLock> lock,
                           std::unique_ptr<FileLock> checkpoint_lock, StoreMetrics& metrics)
    : options_(options),
      db_(std::move(db)),
      lock_(std::move(lock)),
      metrics_(metrics),
      checkpointer_(
          std::make_unique<SqliteCheckpointer>(options.path, std::move(checkpoint_lock), metrics)),
      queue_(options.limits, metrics) {
  thread_ = std::jthread([this] {
    BeStoreThread("store-write", StoreThread::kWrite);
    Loop();
  });
}

SqliteWriter::~SqliteWriter() {
  queue_.Stop();
  thread_.join();
}

void SqliteWriter::Loop() {
  while (queue_.Wait()) {
    // The lock first: what comes while another process writes is part of the same transaction.
    const bool locked = lock_->Lock(options_.lock_limit);
    Jobs jobs = queue_.Take();
    if (!locked) {
      Failed(SQLITE_BUSY, "another process keeps the database's lock");
      EndBadly(jobs, StoreError::kDown, metrics_);
      continue;
    }
    if (db_ != nullptr) db_->ForgetLogPages();
    if (!jobs.empty()) Transact(jobs);
    CheckpointIfLong();
    lock_->Unlock();
  }
  // Nothing of the log is needed by whoever opens the file next.
  if (db_ != nullptr && lock_->Lock({})) {
    checkpointer_->CopyAll(*db_, options_.copy_limit, true);
    lock_->Unlock();
  }
}

void SqliteWriter::Transact(Jobs& jobs) {
  if (db_ == nullptr && !Open()) return EndBadly(jobs, StoreError::kDown, metrics_);
  Ends ends(jobs.size());
  int code = Apply(jobs, &ends);
  bool sure = true;
  if (code == SQLITE_OK) {
    code = Commit();
    sure = SurelyNotCommitted(code);
  }
  if (code == SQLITE_OK) return Answer(jobs, ends);
  Failed(code, db_->ErrorText());
  db_->Run("ROLLBACK");
  // Not closed before: whoever opens the file next may read the log, and find the commit in doubt.
  sure = sure || Fence();
  if (code != SQLITE_FULL) db_.reset();
  EndBadly(jobs, sure ? StoreError::kDown : StoreError::kUnknown, metrics_);
}

// A savepoint keeps each page that is changed behind it. Hardly a batch is refused when a part of
// it is done: only a transaction in which one was is done again, with savepoints.
int SqliteWriter::Apply(const Jobs& jobs, Ends* ends) {
  bool halfway = false;
  int code = ApplyAll(jobs, ends, Savepoints::kNone, &halfway);
  if (code != SQLITE_OK || !halfway) return code;
  code = db_->Run("ROLLBACK");
  return code != SQLITE_OK ? code : ApplyAll(jobs, ends, Savepoints::kBatch, &halfway);
}

int SqliteWriter::ApplyAll(const Jobs& jobs, Ends* ends, Savepoints savepoints, bool* halfway) {
  const bool each = savepoints == Savepoints::kBatch;
  int code = db_->Run("BEGIN IMMEDIATE");
  for (size_t i = 0; i < jobs.size() && code == SQLITE_OK; ++i) {
    std::expected<void, StoreError>& end = (*ends)[i];
    bool changed = false;
    if (each) code = db_->Run("SAVEPOINT batch");
    if (code == SQLITE_OK) end = ApplyOne(jobs[i].work, &code, &changed);
    if (code == SQLITE_OK && !each && !end && changed) {
      *halfway = true;
      return code;
    }
    if (code == SQLITE_OK && each && !end) code = db_->Run("ROLLBACK TO batch");
    if (code == SQLITE_OK && each) code = db_->Run("RELEASE batch");
  }
  return code;
}

std::expected<void, StoreError> SqliteWriter::ApplyOne(const WriteWork& work, int* code,
                                                       bool* changed) {
  std::vector<std::unique_ptr<SqlSteps>> keep;
  for (const SqlStep& step : StepsOf(work, keep)) {
    SqliteQuery query = db_->Query(step.sql);
    query.BindAll(step.values).Row();
    *code = query.code();
    if (*code != SQLITE_OK) return {};
    const bool none = db_->Changes() == 0;
    if (none && step.unchanged) return std::unexpected(*step.unchanged);
    *changed = *changed || !none;
  }
  return {};
}

void SqliteWriter::Answer(Jobs& jobs, const Ends& ends) {
  if (was_down_) net::Log(net::LogLevel::kInfo, "store", "writes go on", {});
  was_down_ = false;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (ends[i]) {
      ++metrics_.batches;
      jobs[i].good();
    } else {
      ++metrics_.conflicts;
      jobs[i].call->Fail(ends[i].error());
    }
  }
}

int SqliteWriter::Commit() {
  const auto begin = std::chrono::steady_clock::now();
  const int code = db_->Run("COMMIT");
  const auto us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                            std::chrono::steady_clock::now() - begin)
                                            .count());
  if (code != SQLITE_OK) return code;
  ++metrics_.transactions;
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

// Behind a commit that put pages into the log, or there is nothing to do. Most of it is copied
// beside the commits, and then the rest, which is little, in front of the next: the log begins anew
// then. What others read, or a full disk, keeps some of it for the next try.
void SqliteWriter::CheckpointIfLong() {
  if (db_ == nullptr || db_->log_pages() == 0) return;
  const int pages = db_->log_pages();
  if (pages < copied_ || pages < tried_) {  // it began anew
    copied_ = tried_ = 0;
    rest_ = false;
  }
  const bool much = pages - copied_ >= options_.checkpoint_pages;
  const bool most = much && pages >= options_.checkpoint_pages * kMostTimes;
  if (most || (rest_ && !much && pages >= tried_ + kRestEvery)) {
    const auto limit = most ? options_.copy_limit : std::chrono::milliseconds(0);
    tried_ = pages;
    if (!checkpointer_->CopyAll(*db_, limit)) return;
    copied_ = pages;
    rest_ = false;
  } else if (much && checkpointer_->Begin()) {
    copied_ = pages;
    tried_ = 0;
    rest_ = true;
  }
}

}  // namespace server
