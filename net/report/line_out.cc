#include "net/report/line_out.h"

#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace net {
namespace {

// The descriptor may be another program's as well (a terminal, a pipe that a shell has made), so
// O_NONBLOCK is not ours to set. A pipe that says that it can be written to has room for so much.
ssize_t WritePart(int fd, bool socket, std::string_view part) {
  if (socket) return send(fd, part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
  if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return 0;
  return write(fd, part.data(), std::min<size_t>(part.size(), PIPE_BUF));
}

}  // namespace

size_t WriteNow(int fd, std::string_view bytes) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return 0;
  size_t done = 0;
  while (done < bytes.size()) {
    const std::string_view part = bytes.substr(done);
    // A file takes it all in one call, so that lines of two writers do not mix.
    const ssize_t taken = S_ISREG(info.st_mode) ? write(fd, part.data(), part.size())
                                                : WritePart(fd, S_ISSOCK(info.st_mode), part);
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) break;
    done += static_cast<size_t>(taken);
  }
  return done;
}

bool LineOut::Write(std::string_view line) {
  std::string text;
  text.reserve(line.size() + 2);
  if (torn_) text += '\n';
  text.append(line) += '\n';
  const size_t taken = WriteNow(fd_, text);
  if (taken > 0) torn_ = taken < text.size();
  return taken == text.size();
}

}  // namespace net
