// A machine-wide lock of a database file: FILE.lock, held for each write transaction, and
// FILE.checkpoint, held for each checkpoint. SQLite locks its file itself; these are there because
// SQLite before 3.51.3 may lose commits when a checkpoint that finds all of the log copied already
// overlaps a commit of another connection that begins it anew (sqlite.org/wal.html#walresetbug):
// what keeps that from happening stands in sqlite_checkpointer.h.
//
// Fair: who waits gets it before its last holder gets it again. Ends with the process, however
// that ends. One thread at a time.
//
// Who waits sleeps until the lock changes hands: the file has a word that counts that, and is a
// futex(2). It is a hint; an older release, or who died, gives none, so the lock is tried again all
// the same, a little later.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

namespace server {

class FileLock {
 public:
  // Between two tries of who will be told when it changes hands.
  static constexpr std::chrono::microseconds kTold{2000};

  // Creates the file where it is missing. The error says what to do.
  static std::expected<std::unique_ptr<FileLock>, std::string> Open(
      const std::string& path, std::chrono::microseconds told = kTold);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // False: another process had it for all of `limit`.
  bool Lock(std::chrono::milliseconds limit);
  void Unlock();

 private:
  FileLock(int fd, std::atomic<uint32_t>* changes, std::chrono::microseconds told)
      : fd_(fd), changes_(changes), told_(told) {}
  bool Wait(std::chrono::steady_clock::time_point end, bool (*attempt)(int fd));
  void Tell();

  int fd_;
  std::atomic<uint32_t>* changes_;  // null: the file has no room for it
  const std::chrono::microseconds told_;
};

// Why the folder of `path` must not hold a database: a file system of the network, whose locks and
// syncs do not hold what they promise. "": it may.
std::string RefusedFileSystem(const std::string& path);

// Makes an empty file that only its user may read, where there is none: it will hold keys of
// passwords. SQLite gives its log the same rights. What fails shows when the file is opened.
void MakePrivateFile(const std::string& path);

}  // namespace server
