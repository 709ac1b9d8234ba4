#include "net/ctl/ctl_connection.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/base/address.h"

namespace net {
namespace {

// An upgrade starts a whole process before it answers; everything else takes milliseconds.
constexpr timeval kAnswerTimeout{.tv_sec = 120, .tv_usec = 0};
// `stats` and `list` of hundreds of nodes stay far below.
constexpr size_t kAnswerMax = size_t{64} << 20U;

std::string Unreachable(const std::string& peer, int error) {
  std::string text = "cannot reach " + peer + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
    case ECONNREFUSED:
      return text + "; start it, or name the ctl_socket of its configuration with --socket";
    case EACCES:
    case EPERM:
      return text + "; the socket is for the user that it runs as: use sudo";
    default:
      return text;
  }
}

}  // namespace

std::expected<CtlConnection, std::string> CtlConnection::Open(const std::string& program,
                                                              const std::string& path) {
  const std::string peer = program + " at " + path;
  if (path.empty() || path.size() > kUnixPathMax) {
    return std::unexpected("'" + path + "' is no path of a socket: it has " +
                           std::to_string(path.size()) + " bytes, not 1 to " +
                           std::to_string(kUnixPathMax));
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return std::unexpected(Unreachable(peer, errno));
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  const SocketName name = SocketName::Unix(path);
  if (connect(fd.get(), name.get(), name.size()) != 0) {
    return std::unexpected(Unreachable(peer, errno));
  }
  return CtlConnection(std::move(fd), peer);
}

std::expected<void, std::string> CtlConnection::Send(const std::string& line) {
  size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = send(fd_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return std::unexpected(peer_ + " does not take the request: " + std::strerror(errno));
    }
    sent += static_cast<size_t>(n);
  }
  return {};
}

std::expected<std::string, std::string> CtlConnection::ReadLine() {
  size_t searched = 0;
  while (true) {
    const size_t end = in_.find('\n', searched);
    if (end != std::string::npos) {
      std::string line = in_.substr(0, end);
      in_.erase(0, end + 1);
      return line;
    }
    searched = in_.size();
    if (in_.size() > kAnswerMax)
      return std::unexpected("the answer from " + peer_ + " is too long");
    char buffer[65'536];
    const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) {
      return std::unexpected(peer_ + " closed the connection before it had answered; see its log");
    }
    if (n < 0) {
      return std::unexpected(peer_ + " does not answer: " + std::strerror(errno));
    }
    in_.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace net
