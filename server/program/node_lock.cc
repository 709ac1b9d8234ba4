#include "server/program/node_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace server {
namespace {

// The process's lock, whose holder the kernel names. It goes with any descriptor of that file that
// the process closes: who holds it opens the file only once.
struct flock WholeFile() {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

std::expected<NodeLock, std::string> NodeLock::Take(const std::string& path) {
  net::UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) {
    return std::unexpected(path + ": cannot be opened: " + std::strerror(errno) +
                           "; make its folder, owned by the user that the node runs as");
  }
  struct flock lock = WholeFile();
  if (fcntl(fd.get(), F_SETLK, &lock) != 0) {
    const pid_t holder = Holder(path);
    return std::unexpected(path + ": a node runs with this folder already, as process " +
                           std::to_string(holder) +
                           "; stop it, or give this node a folder of its own (`mongooseim init`)");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd.get(), 0) != 0 ||
      write(fd.get(), pid.data(), pid.size()) != static_cast<ssize_t>(pid.size())) {
    return std::unexpected(path + ": cannot be written: " + std::strerror(errno));
  }
  return NodeLock(std::move(fd));
}

pid_t NodeLock::Holder(const std::string& path) {
  const net::UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return 0;
  struct flock lock = WholeFile();
  if (fcntl(fd.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid;
}

}  // namespace server
