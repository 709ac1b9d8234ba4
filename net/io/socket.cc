#include "net/io/socket.h"

#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include "net/base/address.h"

namespace net {
namespace {

constexpr int kOne = 1;

void SetInt(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

const char* BindRemedy(int error) {
  switch (error) {
    case EADDRINUSE:
      return "; another program listens there: stop it or choose another port (ss -ltnp shows who)";
    case EACCES:
      return "; ports below 1024 need CAP_NET_BIND_SERVICE, a Unix socket needs a writable folder";
    case EADDRNOTAVAIL:
      return "; no interface of this machine has that address (ip addr shows them)";
    case ENOENT:
      return "; the folder of the socket does not exist";
    default:
      return "";
  }
}

// Does somebody listen at this file? One that nobody listens on is left from a crash: it is
// removed.
bool IsAnswered(const sockaddr* address, socklen_t size) {
  const auto* un = reinterpret_cast<const sockaddr_un*>(address);
  struct stat info{};
  if (lstat(un->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return false;
  if (connect(probe.get(), address, size) == 0 || errno == EAGAIN) return true;  // EAGAIN: many do
  if (errno == ECONNREFUSED) unlink(un->sun_path);
  return false;
}

void MakeRoomForUnixSocket(const sockaddr* address, socklen_t size, Duration patience) {
  constexpr auto kLookEvery = std::chrono::milliseconds(20);
  const auto end = std::chrono::steady_clock::now() + patience;
  while (IsAnswered(address, size) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kLookEvery);
  }
}

// Before anybody may connect. "" or why not.
std::string GiveSocketFile(const sockaddr* address, const ListenOptions& options) {
  const char* path = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
  if ((options.unix_user.empty() && options.unix_group.empty()) || *path == '\0') return "";
  uid_t uid = static_cast<uid_t>(-1);  // stays
  gid_t gid = static_cast<gid_t>(-1);
  if (!options.unix_user.empty()) {
    const passwd* entry = getpwnam(options.unix_user.c_str());
    if (entry == nullptr) return "there is no user '" + options.unix_user + "'";
    uid = entry->pw_uid;
    gid = entry->pw_gid;
  }
  if (!options.unix_group.empty()) {
    const group* entry = getgrnam(options.unix_group.c_str());
    if (entry == nullptr) return "there is no group '" + options.unix_group + "'";
    gid = entry->gr_gid;
  }
  struct stat info{};
  const bool has = stat(path, &info) == 0 &&
                   (uid == static_cast<uid_t>(-1) || info.st_uid == uid) &&
                   (gid == static_cast<gid_t>(-1) || info.st_gid == gid);
  if (has || chown(path, uid, gid) == 0) return "";
  return std::string("chown: ") + std::strerror(errno) +
         "; only root may give files to others, start as root or leave the owner out";
}

void SetTcpOptions(int fd, const ListenOptions& options) {
  SetInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.keepalive_idle_s > 0) {
    SetInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, options.keepalive_idle_s);
    SetInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, options.keepalive_interval_s);
    SetInt(fd, IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_count);
  }
  if (options.user_timeout_ms > 0) {
    SetInt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms);
  }
}

}  // namespace

void UniqueFd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

std::expected<UniqueFd, std::string> Listen(const sockaddr* address, socklen_t size,
                                            const ListenOptions& options) {
  auto failed = [&](const char* call, const char* remedy) {
    return std::unexpected(AddressText(address, size) + ": " + call + ": " + std::strerror(errno) +
                           remedy);
  };
  UniqueFd fd(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return failed("socket", "");
  const bool is_unix = address->sa_family == AF_UNIX;
  if (is_unix) {
    MakeRoomForUnixSocket(address, size, options.unix_patience);
  } else {
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &kOne, sizeof kOne);
    if (options.reuse_port) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &kOne, sizeof kOne);
    if (address->sa_family == AF_INET6) {
      setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &kOne, sizeof kOne);
    }
    SetTcpOptions(fd.get(), options);
  }
  // The file must never be there with a wider mode, not even for a moment.
  mode_t old_mask = is_unix ? umask(0777 & ~static_cast<mode_t>(options.unix_mode)) : 0;
  int bound = bind(fd.get(), address, size);
  int error = errno;
  if (is_unix) umask(old_mask);
  errno = error;
  if (bound != 0) return failed("bind", BindRemedy(error));
  if (is_unix) {
    if (std::string why = GiveSocketFile(address, options); !why.empty()) {
      unlink(reinterpret_cast<const sockaddr_un*>(address)->sun_path);
      return std::unexpected(AddressText(address, size) + ": " + why);
    }
  }
  if (listen(fd.get(), options.backlog) != 0) return failed("listen", BindRemedy(errno));
  return fd;
}

std::string RefitSocketFile(const sockaddr* address, const ListenOptions& options) {
  const char* path = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
  if (*path == '\0') return "";
  std::string why = GiveSocketFile(address, options);
  struct stat info{};
  const auto mode = static_cast<mode_t>(options.unix_mode);
  if (why.empty() && stat(path, &info) == 0 && (info.st_mode & 0777U) != mode &&
      chmod(path, mode) != 0) {
    why = std::string("chmod: ") + std::strerror(errno);
  }
  return why;
}

int32_t PeerNameBytes(int listener) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size) != 0) return 0;
  switch (name.ss_family) {
    case AF_INET:
      return sizeof(sockaddr_in);
    case AF_INET6:
      return sizeof(sockaddr_in6);
    default:
      return 0;
  }
}

std::string AddressText(const sockaddr* address, socklen_t size) {
  switch (address->sa_family) {
    case AF_INET:
    case AF_INET6:
      return Address::FromSockaddr(address, size).value_or(Address()).ToString();
    case AF_UNIX: {
      const auto* un = reinterpret_cast<const sockaddr_un*>(address);
      size_t room =
          size > offsetof(sockaddr_un, sun_path) ? size - offsetof(sockaddr_un, sun_path) : 0;
      return "unix:" + std::string(un->sun_path, strnlen(un->sun_path, room));
    }
    default:
      return "unknown";
  }
}

}  // namespace net
