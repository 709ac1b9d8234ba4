// Copies the log of an SQLite file into the file on a thread and a connection of its own, so that
// commits go on meanwhile: of a thousand pages the sync alone takes tens of milliseconds.
//
// Why that is sound where SQLite has the fault of file_lock.h: what goes wrong there is a
// checkpoint that begins when all of the log is in the file already, while a commit begins the log
// anew. Here a checkpoint either has the FileLock from its begin to its end, so that nobody commits
// (a program of a release before copies like this alone); or a reader of ours was in the log, and
// stays there, from behind a commit under the FileLock until the copy has ended: nobody can begin
// a log anew that somebody reads. That reader is in the log, not in the file, because pages of that
// commit are in the log alone: whoever copies without the FileLock holds a second lock of the
// machine, FILE.checkpoint, and that is ours by then.
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
  // it is still, the copy failed, or somebody reads what stands in the log alone. `truncate`: the
  // log is empty then; behind no commit as well.
  bool CopyAll(SqliteDb& db, std::chrono::milliseconds limit, bool truncate = false);

 private:
  void Loop();
  void Copy();
  bool TakeLock(std::chrono::milliseconds limit);
  void GiveLock();
  bool Pin();
  void Unpin();

  const std::string path_;
  StoreMetrics& metrics_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::unique_ptr<FileLock> lock_;  // who has set running_ has it
  bool running_ = false;                  // the rest is guarded by mutex_
  bool asked_ = false;
  bool stopped_ = false;
  std::unique_ptr<SqliteDb> db_;   // the thread's
  std::unique_ptr<SqliteDb> pin_;  // the reader; whose running_ it is
  std::thread thread_;
};

}  // namespace server
