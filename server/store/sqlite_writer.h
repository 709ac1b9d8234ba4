// The one thread of a process that writes into an SQLite file. It takes all that is queued as one
// transaction, under the FileLock: one sync of the disk for many batches. Each batch is a savepoint
// of its own, so that one that cannot be (kConflict, kAbsent) leaves the others alone.
//
// A batch is answered behind the COMMIT and its sync. Where the disk is full or fails, the whole
// transaction is rolled back and its batches end with kDown; the next ones try again. Where the
// sync itself failed, the log may hold a commit that nobody knows of: the writer puts an empty
// transaction in its place before it answers.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "server/store/backend.h"
#include "server/store/call.h"
#include "server/store/file_lock.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_reads.h"

namespace server {

class SqliteWriter {
 public:
  struct Options {
    std::string path;
    size_t waiting_max = 8'192;            // batches
    size_t waiting_bytes_max = 64U << 20;  // in them
    size_t transaction_batches_max = 1'024;
    std::chrono::milliseconds lock_limit{10'000};  // for other processes to end theirs
    std::chrono::milliseconds fence_limit{5'000};  // for a disk whose sync failed
    int checkpoint_pages = 1'000;                  // of the log
  };

  // What a queued call does within its savepoint.
  using Work = std::variant<WriteBatch, Doomed>;

  // `db` and `lock` were opened with the schema; the metrics outlive this.
  SqliteWriter(const Options& options, std::unique_ptr<SqliteDb> db, std::unique_ptr<FileLock> lock,
               StoreMetrics& metrics);
  ~SqliteWriter();
  SqliteWriter(const SqliteWriter&) = delete;
  SqliteWriter& operator=(const SqliteWriter&) = delete;

  // False: too much waits. Any thread.
  bool Add(Work work, std::shared_ptr<Call> call, std::move_only_function<void()> good);

 private:
  struct Job {
    Work work;
    std::shared_ptr<Call> call;
    std::move_only_function<void()> good;  // ends the call well
    size_t bytes = 0;
    std::expected<void, StoreError> applied{};  // what it ends with if the rest is committed
  };
  using Jobs = std::vector<Job>;

  void Loop();
  Jobs Take();
  void Transact(Jobs& jobs);
  // 0, or the code with which the whole transaction failed.
  int Apply(Jobs& jobs);
  std::expected<void, StoreError> ApplyOne(const Work& work, int* code);
  std::expected<void, StoreError> ApplyBatch(const WriteBatch& batch, int* code);
  int Commit(size_t batches);
  void Answer(Jobs& jobs);
  bool Fence();
  bool Open();
  void Failed(int code, const std::string& what);
  void Fail(Jobs& jobs, StoreError error);
  void CheckpointIfLong();

  const Options options_;
  std::unique_ptr<SqliteDb> db_;  // null: to be opened again
  std::unique_ptr<FileLock> lock_;
  StoreMetrics& metrics_;
  bool was_down_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;    // guarded by mutex_
  size_t queued_bytes_ = 0;  // guarded by mutex_
  bool stopping_ = false;    // guarded by mutex_
  std::jthread thread_;
};

}  // namespace server
