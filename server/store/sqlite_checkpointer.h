// Copies the log of an SQLite file into the file on a thread and a connection of its own, so that
// commits go on meanwhile: of a thousand pages the sync alone takes tens of milliseconds.
//
// Why that is sound where SQLite has the fault of file_lock.h: what goes wrong there is a
// checkpoint that begins when all of the log is in the file already, while a commit begins the log
// anew. Here one begins only behind a commit of the caller's, under the FileLock, which has put
// pages into the log that no other checkpoint has copied: those that copy hold a second lock of the
// machine, FILE.checkpoint, from before they begin until they have ended. So while one runs the log
// is not all copied, and nobody begins it anew.
//
// What comes into the log meanwhile stays in it; so that it does not grow without end, the writer
// copies the rest of it now and then itself, under both locks, and the next commit begins it anew.
//
// Threads: the writer's, and one of its own, which ends with it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "server/store/backend.h"
#include "server/store/file_lock.h"
#include "server/store/sqlite_db.h"

namespace server {

class SqliteCheckpointer {
 public:
  SqliteCheckpointer(std::string path, std::unique_ptr<FileLock> lock, StoreMetrics& metrics);
  ~SqliteCheckpointer();
  SqliteCheckpointer(const SqliteCheckpointer&) = delete;
  SqliteCheckpointer& operator=(const SqliteCheckpointer&) = delete;

  // --- By the writer, under the FileLock, right behind a commit that put pages into the log.

  // One begins. False: one is under way, here or in another process.
  bool Begin();
  // All of the log, by the writer's own connection; waits `limit` for one that is under way. False:
  // it is still, or the copy failed. `truncate`: the log is empty then; behind no commit as well.
  bool CopyAll(SqliteDb& db, std::chrono::milliseconds limit, bool truncate = false);

 private:
  void Loop();
  void Copy();
  bool TakeLock(std::chrono::milliseconds limit);

  const std::string path_;
  StoreMetrics& metrics_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::unique_ptr<FileLock> lock_;  // who has set running_ has it
  bool running_ = false;                  // the rest is guarded by mutex_
  bool asked_ = false;
  bool stopped_ = false;
  std::unique_ptr<SqliteDb> db_;  // the thread's
  std::thread thread_;
};

}  // namespace server
