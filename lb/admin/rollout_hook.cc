#include "lb/admin/rollout_hook.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace lb {
namespace {

std::vector<std::string> Environment(const std::vector<std::pair<std::string, std::string>>& more) {
  std::vector<std::string> lines;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view line = *at;
    const bool set = std::ranges::any_of(more, [line](const auto& one) {
      return line.size() > one.first.size() && line[one.first.size()] == '=' &&
             line.starts_with(one.first);
    });
    if (!set) lines.emplace_back(line);
  }
  for (const auto& [name, value] : more) lines.push_back(name + "=" + value);
  return lines;
}

// Signals as a program expects them, whatever this one ignores or catches.
void SetAttributes(posix_spawnattr_t& attributes) {
  sigset_t set;
  sigemptyset(&set);
  posix_spawnattr_setsigmask(&attributes, &set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&set, signal);
  posix_spawnattr_setsigdefault(&attributes, &set);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

std::string EndText(const siginfo_t& end) {
  if (end.si_code == CLD_EXITED) {
    return end.si_status == 0 ? "" : "it exited with " + std::to_string(end.si_status);
  }
  return "it was ended by signal " + std::to_string(end.si_status) + " (" +
         strsignal(end.si_status) + ")";
}

}  // namespace

std::expected<RolloutHook, std::string> RolloutHook::Start(
    const std::string& command, const std::vector<std::pair<std::string, std::string>>& more) {
  const std::vector<std::string> lines = Environment(more);
  std::vector<char*> environment;
  for (const std::string& line : lines) environment.push_back(const_cast<char*>(line.c_str()));
  environment.push_back(nullptr);
  std::string shell = "/bin/sh";
  std::string dash_c = "-c";
  std::string words = command;
  char* const argv[] = {shell.data(), dash_c.data(), words.data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  SetAttributes(attributes);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, shell.c_str(), &actions, &attributes, argv, environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return std::unexpected("it cannot be started: " + std::string(strerror(error)));
  net::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    const int failed = errno;
    kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return std::unexpected("it cannot be watched: " + std::string(strerror(failed)));
  }
  return RolloutHook(pid, std::move(pidfd));
}

std::optional<std::string> RolloutHook::Wait(net::Duration for_at_most) {
  pollfd watched{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(for_at_most).count();
  if (poll(&watched, 1, static_cast<int>(std::clamp<int64_t>(ms, 0, 60'000))) <= 0) {
    return std::nullopt;
  }
  siginfo_t end{};
  if (waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &end, WEXITED) != 0) {
    return "nobody knows how it ended: " + std::string(strerror(errno));
  }
  return EndText(end);
}

void RolloutHook::Signal(int signal) const { kill(-pid_, signal); }

}  // namespace lb
