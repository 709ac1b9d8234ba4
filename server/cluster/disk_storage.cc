#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "server/cluster/limits.h"
#include "server/cluster/member_file.h"

namespace server {
namespace {

// A view of kEntriesReadMax entries of the longest names.
constexpr size_t kFileBytesMax = (kEntriesReadMax + kLineageMax) * (kNodeNameMax + 64);

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<std::string> Failed(std::string_view what, const std::string& path) {
  return std::unexpected("cannot " + std::string(what) + " " + path + ": " + std::strerror(errno));
}

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

std::expected<std::optional<std::string>, std::string> DiskStorage::Load() {
  const File file(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) {
    if (errno == ENOENT) return std::nullopt;
    return Failed("open", path_);
  }
  std::string text;
  char buffer[16384];
  while (true) {
    const ssize_t n = read(file.fd(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("read", path_);
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kFileBytesMax) {
      errno = EFBIG;
      return Failed("read", path_);
    }
  }
}

std::expected<void, std::string> DiskStorage::Save(std::string_view bytes) {
  const std::string fresh = path_ + ".new";
  {
    const File file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.fd() < 0) return Failed("create", fresh);
    if (!WriteAll(file.fd(), bytes)) return Failed("write", fresh);
    if (fsync(file.fd()) != 0) return Failed("flush", fresh);
  }
  if (rename(fresh.c_str(), path_.c_str()) != 0) return Failed("replace", path_);
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  // The rename is durable only with its folder.
  const File dir(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.fd() < 0 || fsync(dir.fd()) != 0) return Failed("flush", folder);
  return {};
}

}  // namespace server
