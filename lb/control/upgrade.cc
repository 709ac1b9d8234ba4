#include "lb/control/upgrade.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

extern char** environ;

namespace lb {
namespace {

using nlohmann::json;

constexpr size_t kFdsPerMessage = 200;  // SCM_MAX_FD is 253
constexpr size_t kHeaderMax = 8U << 20U;
constexpr size_t kSocketsMax = 16'384;
constexpr int kInheritFd = 3;

std::string Failed(const char* call) { return std::string(call) + ": " + std::strerror(errno); }

bool WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool SendFds(int fd, std::span<const Inheritance::Socket> sockets) {
  std::vector<int> fds;
  for (const Inheritance::Socket& socket : sockets) fds.push_back(socket.fd.get());
  char byte = 'f';
  iovec io{&byte, 1};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  return sendmsg(fd, &message, MSG_NOSIGNAL) == 1;
}

bool ReceiveFds(int fd, std::vector<net::UniqueFd>& into) {
  char byte = 0;
  iovec io{&byte, 1};
  std::vector<char> control(CMSG_SPACE(kFdsPerMessage * sizeof(int)));
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != 1 || byte != 'f') return false;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::vector<int> fds(count);
    std::memcpy(fds.data(), CMSG_DATA(header), count * sizeof(int));
    for (int one : fds) into.emplace_back(one);
  }
  return (message.msg_flags & MSG_CTRUNC) == 0;
}

std::expected<pid_t, std::string> Spawn(const std::string& program, const std::string& config_path,
                                        int fd) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // dup2 onto itself would leave the close-on-exec flag where it is; go through another number.
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  posix_spawn_file_actions_adddup2(&actions, high, kInheritFd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::string words[] = {program, "run", config_path, "--inherit", std::to_string(kInheritFd)};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(),
                       words[3].data(), words[4].data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(high);
  if (error != 0) {
    return std::unexpected("cannot start " + program + ": " + std::strerror(error));
  }
  return pid;
}

// True when the new process says that it serves.
bool WaitReady(int fd) {
  pollfd event{fd, POLLIN, 0};
  if (poll(&event, 1, kReadyWithinMs) != 1) return false;
  char answer[8] = "";
  return recv(fd, answer, sizeof answer, 0) == 6 && std::memcmp(answer, "ready\n", 6) == 0;
}

}  // namespace

std::expected<int, std::string> HandOver(const std::string& program, const std::string& config_path,
                                         const Inheritance& inheritance) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return std::unexpected(Failed("socketpair"));
  }
  net::UniqueFd ours(pair[0]);
  net::UniqueFd theirs(pair[1]);
  // A program that never reads must not hold this thread for longer than it may.
  const timeval limit{.tv_sec = kReadyWithinMs / 1000, .tv_usec = 0};
  setsockopt(ours.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  auto pid = Spawn(program, config_path, theirs.get());
  if (!pid) return std::unexpected(pid.error());
  theirs.Reset();
  json header = {{"v", 1}, {"sockets", json::array()}, {"state", inheritance.state}};
  for (const Inheritance::Socket& socket : inheritance.sockets) {
    header["sockets"].push_back(socket.bind);
  }
  bool sent = WriteAll(ours.get(), header.dump() + "\n");
  const std::span all(inheritance.sockets);
  for (size_t at = 0; sent && at < all.size(); at += kFdsPerMessage) {
    sent = SendFds(ours.get(), all.subspan(at, std::min(kFdsPerMessage, all.size() - at)));
  }
  if (!sent || !WaitReady(ours.get())) {
    kill(*pid, SIGTERM);
    waitpid(*pid, nullptr, 0);
    return std::unexpected("the new process did not come up; its log says why. This one goes on");
  }
  return *pid;
}

std::expected<Inheritance, std::string> TakeOver(int fd) {
  std::string line;
  // Byte by byte: what follows the line are descriptors, which must not be read past.
  for (char byte = 0; recv(fd, &byte, 1, 0) == 1 && byte != '\n';) {
    line += byte;
    if (line.size() > kHeaderMax) return std::unexpected("the header is too long");
  }
  Inheritance inheritance;
  std::vector<std::string> names;
  try {
    const json header = json::parse(line);
    if (header.at("v") != 1) return std::unexpected("the old process is of another version");
    names = header.at("sockets").get<std::vector<std::string>>();
    inheritance.state = header.at("state").get<std::string>();
  } catch (const json::exception& error) {
    return std::unexpected(std::string("the header cannot be read: ") + error.what());
  }
  if (names.size() > kSocketsMax) return std::unexpected("too many sockets");
  std::vector<net::UniqueFd> fds;
  while (fds.size() < names.size()) {
    const size_t before = fds.size();
    if (!ReceiveFds(fd, fds) || fds.size() == before) {
      return std::unexpected("the sockets did not come: raise the limit of open files");
    }
  }
  for (size_t i = 0; i < names.size(); ++i) {
    inheritance.sockets.push_back({names[i], std::move(fds[i])});
  }
  return inheritance;
}

void TellReady(int fd) {
  WriteAll(fd, "ready\n");
  close(fd);
}

}  // namespace lb
