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
#include <expected>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/store/backend.h"
#include "server/store/file_lock.h"
#include "server/store/sqlite_checkpointer.h"
#include "server/store/sqlite_db.h"
#include "server/store/write_queue.h"

namespace server {

class SqliteWriter final : public StoreWriter {
 public:
  struct Options {
    std::string path;
    WriteLimits limits;
    std::chrono::milliseconds lock_limit{10'000};  // for other processes to end theirs
    std::chrono::milliseconds fence_limit{5'000};  // for a disk whose sync failed
    // So many pages of the log are copied into the file at once, beside the commits; when there are
    // twice as many in it, those wait for it.
    int checkpoint_pages = 1'000;
    std::chrono::milliseconds copy_limit{1'000};  // for a checkpoint that is under way
  };

  // `db` and the locks were opened with the schema; the metrics outlive this.
  SqliteWriter(const Options& options, std::unique_ptr<SqliteDb> db, std::unique_ptr<FileLock> lock,
               std::unique_ptr<FileLock> checkpoint_lock, StoreMetrics& metrics);
  ~SqliteWriter() override;
  SqliteWriter(const SqliteWriter&) = delete;
  SqliteWriter& operator=(const SqliteWriter&) = delete;

  WriteQueue& queue() override { return queue_; }

 private:
  using Jobs = std::vector<WriteJob>;
  // What each of the jobs ends with if the transaction is committed.
  using Ends = std::vector<std::expected<void, StoreError>>;

  void Loop();
  void Transact(Jobs& jobs);
  // 0, or the code with which the whole transaction failed.
  int Apply(const Jobs& jobs, Ends* ends);
  enum class Savepoints : uint8_t { kNone, kBatch };
  // `*halfway`: without savepoints it ended at a batch that was refused with a part of it done.
  int ApplyAll(const Jobs& jobs, Ends* ends, Savepoints savepoints, bool* halfway);
  // `*changed`: rows were, whether it is refused or not.
  std::expected<void, StoreError> ApplyOne(const WriteWork& work, int* code, bool* changed);
  int Commit();
  void Answer(Jobs& jobs, const Ends& ends);
  bool Fence();
  bool Open();
  void Failed(int code, const std::string& what);
  void CheckpointIfLong();

  const Options options_;
  std::unique_ptr<SqliteDb> db_;  // null: to be opened again
  std::unique_ptr<FileLock> lock_;
  StoreMetrics& metrics_;
  int copied_ = 0;     // pages that the log had when its last copy began
  int tried_ = 0;      // and at the last try to copy the rest
  bool rest_ = false;  // what came meanwhile is not copied
  bool was_down_ = false;
  std::unique_ptr<SqliteCheckpointer> checkpointer_;
  WriteQueue queue_;
  std::jthread thread_;
};

}  // namespace server
