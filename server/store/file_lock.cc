#include "server/store/file_lock.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

namespace server {
namespace {

// A sync of a disk takes some hundred microseconds: the lock is seldom free sooner.
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

}  // namespace

std::expected<std::unique_ptr<FileLock>, std::string> FileLock::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return std::unexpected("the lock " + path + " cannot be opened: " + std::strerror(errno) +
                           "; give the server's user the right to write into its folder");
  }
  return std::unique_ptr<FileLock>(new FileLock(fd));
}

FileLock::~FileLock() { close(fd_); }

bool FileLock::Lock(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  const auto wait = [&](auto&& attempt) {
    while (!attempt()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      std::this_thread::sleep_for(kPoll);
    }
    return true;
  };
  // Who stands in the turnstile is next: whoever unlocks and wants it again waits behind.
  if (!wait([this] { return Turnstile(fd_, F_WRLCK); })) return false;
  const bool locked = wait([this] { return flock(fd_, LOCK_EX | LOCK_NB) == 0; });
  Turnstile(fd_, F_UNLCK);
  return locked;
}

void FileLock::Unlock() { flock(fd_, LOCK_UN); }

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
