#include "server/store/sqlite_checkpointer.h"

#include <utility>

#include "server/store/store_thread.h"

namespace server {

SqliteCheckpointer::SqliteCheckpointer(std::string path, std::unique_ptr<FileLock> lock,
                                       StoreMetrics& metrics)
    : path_(std::move(path)), metrics_(metrics), lock_(std::move(lock)) {
  thread_ = std::thread([this] {
    BeStoreThread("store-copy", StoreThread::kCopy);
    Loop();
  });
}

SqliteCheckpointer::~SqliteCheckpointer() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool SqliteCheckpointer::TakeLock(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, limit, [this] { return !running_; })) return false;
  if (!lock_->Lock(limit)) return false;
  running_ = true;
  return true;
}

void SqliteCheckpointer::GiveLock() {
  {
    std::lock_guard lock(mutex_);
    lock_->Unlock();
    running_ = false;
  }
  changed_.notify_all();
}

bool SqliteCheckpointer::Pin() {
  if (pin_ == nullptr) {
    auto db = SqliteDb::Open(path_, SqliteDb::Mode::kReader);
    if (!db) return false;
    pin_ = std::move(*db);
  }
  // Only what reads is in the log.
  if (pin_->Run("BEGIN; SELECT count(*) FROM sqlite_schema") == SQLITE_OK) return true;
  pin_.reset();
  return false;
}

void SqliteCheckpointer::Unpin() {
  if (pin_->Run("COMMIT") != SQLITE_OK) pin_.reset();
}

bool SqliteCheckpointer::Begin() {
  if (!TakeLock({})) return false;
  if (!Pin()) {
    GiveLock();
    return false;
  }
  std::lock_guard lock(mutex_);
  asked_ = true;
  changed_.notify_all();
  return true;
}

bool SqliteCheckpointer::CopyAll(SqliteDb& db, std::chrono::milliseconds limit, bool truncate) {
  if (!TakeLock(limit)) return false;
  const SqliteDb::Copied copied = db.Checkpoint(truncate);
  if (copied.code == SQLITE_OK) ++metrics_.checkpoints;
  GiveLock();
  return copied.whole;
}

void SqliteCheckpointer::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || asked_; });
    if (!asked_) return;
    asked_ = false;
    lock.unlock();
    Copy();
    Unpin();
    GiveLock();
    lock.lock();
  }
}

// What fails is left for the next: the log has all of it still.
void SqliteCheckpointer::Copy() {
  if (db_ == nullptr) {
    auto db = SqliteDb::Open(path_, SqliteDb::Mode::kWriter);
    if (!db) return;
    db_ = std::move(*db);
  }
  const int code = db_->Checkpoint(false).code;
  if (code == SQLITE_OK) {
    ++metrics_.checkpoints;
  } else if (code != SQLITE_FULL && code != SQLITE_BUSY) {
    db_.reset();
  }
}

}  // namespace server
