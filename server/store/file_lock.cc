#include "server/store/file_lock.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <thread>

namespace server {
namespace {

// Between two tries of who will not be told. A sync of a disk takes some hundred microseconds: the
// lock is seldom free sooner.
constexpr std::chrono::microseconds kPoll{100};

// linux/magic.h has not all of them.
constexpr uint32_t kCifs = 0xff534d42, kSmb2 = 0xfe534d42, kCeph = 0x00c36400, kLustre = 0x0bd00bd0,
                   kGfs2 = 0x01161970, kGpfs = 0x47504653, kBeegfs = 0x19830326;

const char* NetworkFileSystem(uint32_t type) {
  switch (type) {
    case NFS_SUPER_MAGIC:
      return "NFS";
    case SMB_SUPER_MAGIC:
    case kCifs:
    case kSmb2:
      return "SMB/CIFS";
    case AFS_SUPER_MAGIC:
    case AFS_FS_MAGIC:
      return "AFS";
    case CODA_SUPER_MAGIC:
      return "Coda";
    case V9FS_MAGIC:
      return "9P";
    case FUSE_SUPER_MAGIC:
      return "FUSE";
    case OCFS2_SUPER_MAGIC:
      return "OCFS2";
    case kCeph:
      return "Ceph";
    case kLustre:
      return "Lustre";
    case kGfs2:
      return "GFS2";
    case kGpfs:
      return "GPFS";
    case kBeegfs:
      return "BeeGFS";
    default:
      return nullptr;
  }
}

// The turnstile in front of the lock: an open file description's lock on one byte.
bool Turnstile(int fd, int16_t type) {
  struct flock byte{};
  byte.l_type = type;
  byte.l_whence = SEEK_SET;
  byte.l_len = 1;
  return fcntl(fd, F_OFD_SETLK, &byte) == 0;
}

// Written before it is mapped, so that the disk has a place for it. Null: it has none.
std::atomic<uint32_t>* MapWord(int fd) {
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
  constexpr uint32_t kZero = 0;
  struct stat found{};
  if (fstat(fd, &found) != 0) return nullptr;
  if (found.st_size < static_cast<off_t>(sizeof kZero) &&
      pwrite(fd, &kZero, sizeof kZero, 0) != static_cast<ssize_t>(sizeof kZero)) {
    return nullptr;
  }
  void* word = mmap(nullptr, sizeof kZero, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return word == MAP_FAILED ? nullptr : static_cast<std::atomic<uint32_t>*>(word);
}

void FutexWait(std::atomic<uint32_t>* word, uint32_t seen, std::chrono::microseconds limit) {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(limit);
  const timespec time{.tv_sec = whole.count(),
                      .tv_nsec = std::chrono::nanoseconds(limit - whole).count()};
  syscall(SYS_futex, word, FUTEX_WAIT, seen, &time, nullptr, 0);
}

}  // namespace

std::expected<std::unique_ptr<FileLock>, std::string> FileLock::Open(
    const std::string& path, std::chrono::microseconds told) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return std::unexpected("the lock " + path + " cannot be opened: " + std::strerror(errno) +
                           "; give the server's user the right to write into its folder");
  }
  return std::unique_ptr<FileLock>(new FileLock(fd, MapWord(fd), told));
}

FileLock::~FileLock() {
  if (changes_ != nullptr) munmap(changes_, sizeof *changes_);
  close(fd_);
}

bool FileLock::Wait(std::chrono::steady_clock::time_point end, bool (*attempt)(int fd)) {
  using std::chrono::microseconds;
  while (true) {
    const uint32_t seen = changes_ == nullptr ? 0 : changes_->load(std::memory_order_acquire);
    if (attempt(fd_)) return true;
    const auto left = std::chrono::ceil<microseconds>(end - std::chrono::steady_clock::now());
    if (left <= microseconds(0)) return false;
    if (changes_ == nullptr) {
      std::this_thread::sleep_for(std::min(left, kPoll));
    } else {
      FutexWait(changes_, seen, std::min(left, told_));
    }
  }
}

void FileLock::Tell() {
  if (changes_ == nullptr) return;
  changes_->fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, changes_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool FileLock::Lock(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  // Who stands in the turnstile is next: whoever unlocks and wants it again waits behind.
  if (!Wait(end, [](int fd) { return Turnstile(fd, F_WRLCK); })) return false;
  const bool locked = Wait(end, [](int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; });
  Turnstile(fd_, F_UNLCK);
  Tell();
  return locked;
}

void FileLock::Unlock() {
  flock(fd_, LOCK_UN);
  Tell();
}

std::string RefusedFileSystem(const std::string& path) {
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  struct statfs fs{};
  if (statfs(folder.c_str(), &fs) != 0) {
    return "the folder " + folder.string() + " cannot be looked at: " + std::strerror(errno) +
           "; make it, and give the server's user the right to write there";
  }
  const char* name = NetworkFileSystem(static_cast<uint32_t>(fs.f_type));
  if (name == nullptr) return {};
  return folder.string() + " is on " + name +
         ", whose locks and syncs cannot be relied on; put the database on a local disk, or use "
         "PostgreSQL for nodes of several machines";
}

void MakePrivateFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
}

}  // namespace server
