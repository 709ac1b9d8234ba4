#include "server/program/daemon.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "net/io/socket.h"

namespace server {
namespace {

constexpr char kStarted = '+';  // else what came through the pipe is the reason

void Tell(const net::UniqueFd& pipe, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(pipe.get(), text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    text.remove_prefix(static_cast<size_t>(count));
  }
}

void LeaveTerminal(const NodeFolder& folder) {
  setsid();
  if (chdir(folder.root.c_str()) != 0) return;
  const net::UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null.get(), fd);
}

int AwaitStart(net::UniqueFd pipe, pid_t child) {
  std::string heard;
  char part[1024];
  while (true) {
    const ssize_t count = read(pipe.get(), part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    heard.append(part, static_cast<size_t>(count));
    if (heard[0] == kStarted) return 0;
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (heard.empty()) heard = "the node ended at its start; look at its log\n";
  std::fputs(heard.c_str(), stderr);
  return 1;
}

}  // namespace

DaemonResult RunInBackground(const NodeFolder& folder) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    std::fprintf(stderr, "mongooseim: no pipe: %s\n", std::strerror(errno));
    return {.exit_code = 1};
  }
  net::UniqueFd read_end(ends[0]);
  net::UniqueFd write_end(ends[1]);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    std::fprintf(stderr, "mongooseim: no process: %s\n", std::strerror(errno));
    return {.exit_code = 1};
  }
  if (child > 0) {
    write_end.Reset();
    return {.exit_code = AwaitStart(std::move(read_end), child)};
  }
  read_end.Reset();
  LeaveTerminal(folder);
  DaemonResult result{.in_background = true};
  result.node = RunNode(folder, {.mode = RunMode::kBackground, .on_started = [&] {
                                   Tell(write_end, {&kStarted, 1});
                                   write_end.Reset();
                                 }});
  for (const std::string& error : result.node.errors) Tell(write_end, "mongooseim: " + error + "\n");
  return result;
}

}  // namespace server
