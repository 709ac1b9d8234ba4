#include "server/store/sqlite_checkpointer.h"

#include <pthread.h>

#include <utility>

namespace server {

SqliteCheckpointer::SqliteCheckpointer(std::string path, std::unique_ptr<FileLock> lock,
                                       StoreMetrics& metrics)
    : path_(std::move(path)), metrics_(metrics), lock_(std::move(lock)) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "store-copy");
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

bool SqliteCheckpointer::Begin() {
  if (!TakeLock({})) return false;
  std::lock_guard lock(mutex_);
  asked_ = true;
  changed_.notify_all();
  return true;
}

bool SqliteCheckpointer::CopyAll(SqliteDb& db, std::chrono::milliseconds limit, bool truncate) {
  if (!TakeLock(limit)) return false;
  const bool good = db.Checkpoint(truncate) == SQLITE_OK;
  if (good) ++metrics_.checkpoints;
  std::lock_guard lock(mutex_);
  lock_->Unlock();
  running_ = false;
  return good;
}

void SqliteCheckpointer::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || asked_; });
    if (!asked_) return;
    lock.unlock();
    Copy();
    lock.lock();
    asked_ = false;
    lock_->Unlock();
    running_ = false;
    changed_.notify_all();
  }
}

// What fails is left for the next: the log has all of it still.
void SqliteCheckpointer::Copy() {
  if (db_ == nullptr) {
    auto db = SqliteDb::Open(path_, SqliteDb::Mode::kWriter);
    if (!db) return;
    db_ = std::move(*db);
  }
  const int code = db_->Checkpoint(false);
  if (code == SQLITE_OK) {
    ++metrics_.checkpoints;
  } else if (code != SQLITE_FULL && code != SQLITE_BUSY) {
    db_.reset();
  }
}

}  // namespace server
