#include "tests/server/store/disk_shim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <string_view>

#include "net/base/check.h"

namespace server::test {

DiskShim& Disk() {
  static DiskShim disk;
  return disk;
}

namespace {

// The file's path where it is one of the folder's; "": not.
std::string Watched(int fd) {
  const std::string& folder = Disk().folder;
  if (folder.empty()) return {};
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), path.data(), path.size());
  if (length <= 0) return {};
  const std::string_view found(path.data(), static_cast<size_t>(length));
  return found.starts_with(folder + "/") ? std::string(found) : std::string();
}

// Under another name first: who is killed meanwhile leaves the copy of the sync before.
void KeepSynced(int fd, const std::string& path) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  const std::string to = Disk().synced_folder + path.substr(path.rfind('/'));
  const std::string made = to + ".part";
  const int out = open(made.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(out >= 0);
  std::array<char, 65536> block;
  off_t at = 0;
  while (true) {
    const ssize_t got = pread(fd, block.data(), block.size(), at);
    CHECK(got >= 0);
    if (got == 0) break;
    CHECK(syscall(SYS_write, out, block.data(), static_cast<size_t>(got)) == got);
    at += got;
  }
  close(out);
  CHECK(rename(made.c_str(), to.c_str()) == 0);
}

int Sync(long call, int fd) {
  DiskShim& disk = Disk();
  const std::string path = Watched(fd);
  if (path.empty()) return static_cast<int>(syscall(call, fd));
  ++disk.in_sync;
  disk.stalled.wait(true);
  --disk.in_sync;
  int failing = disk.failing_syncs.load();
  while (failing > 0 && !disk.failing_syncs.compare_exchange_weak(failing, failing - 1)) {
  }
  if (failing > 0) {
    errno = EIO;
    return -1;
  }
  const int result = static_cast<int>(syscall(call, fd));
  if (result != 0) return result;
  struct stat is{};
  if (!disk.synced_folder.empty() && fstat(fd, &is) == 0 && S_ISREG(is.st_mode)) {
    KeepSynced(fd, path);
  }
  ++disk.syncs;
  return 0;
}

ssize_t Write(int fd, const void* data, size_t size, off_t at) {
  if (Disk().full.load() && !Watched(fd).empty()) {
    struct stat is{};
    if (fstat(fd, &is) == 0 && at + static_cast<off_t>(size) > is.st_size) {
      errno = ENOSPC;
      return -1;
    }
  }
  return syscall(SYS_pwrite64, fd, data, size, at);
}

}  // namespace
}  // namespace server::test

// The program's own come before the C library's for every library that it has.
extern "C" {
int fsync(int fd) { return server::test::Sync(SYS_fsync, fd); }
int fdatasync(int fd) { return server::test::Sync(SYS_fdatasync, fd); }
ssize_t pwrite64(int fd, const void* data, size_t size, off_t at) {
  return server::test::Write(fd, data, size, at);
}
}
