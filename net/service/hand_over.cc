#include "net/service/hand_over.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "net/io/errors.h"
#include "net/report/log.h"

extern char** environ;

namespace net {
namespace {

using nlohmann::json;

constexpr size_t kFdsPerMessage = 200;  // SCM_MAX_FD is 253
constexpr size_t kHeaderMax = 8U << 20U;
constexpr size_t kAnswerMax = 64U << 10U;
constexpr Duration kSendAgain = std::chrono::milliseconds(5);
constexpr int kTakeOverWithinS = 30;

// By system call: the C library's header lacks its linkage for C++ before 2.37.
int OpenProcess(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }
void SignalProcess(int process, int signal) {
  syscall(SYS_pidfd_send_signal, process, signal, nullptr, 0);
}

// 1: sent; 0: the other end's queue is full; -1: it is gone.
int SendFds(int fd, std::span<const Inheritance::Socket> sockets) {
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
  if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) return 1;
  // ETOOMANYREFS: descriptors that are under way count against the limit of open files.
  return errno == EAGAIN || errno == EINTR || errno == ETOOMANYREFS ? 0 : -1;
}

bool ReceiveFds(int fd, std::vector<UniqueFd>& into) {
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

// Ours, without what names us: sd_watchdog_enabled() is false for a process that WATCHDOG_PID does
// not name, and the new one's watchdog would never be fed.
std::vector<char*> SuccessorEnvironment() {
  std::vector<char*> out;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string_view entry(*one);
    if (entry.starts_with("WATCHDOG_PID=") || entry.starts_with("LISTEN_PID=")) continue;
    out.push_back(*one);
  }
  out.push_back(nullptr);
  return out;
}

std::expected<pid_t, std::string> Spawn(const SuccessorProgram& program, int fd) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // dup2 onto itself would leave the close-on-exec flag where it is; go through another number.
  const UniqueFd high(fcntl(fd, F_DUPFD_CLOEXEC, 10));
  posix_spawn_file_actions_adddup2(&actions, high.get(), kInheritFd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  // What the old process ignores is its own affair.
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGCHLD);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> words = {program.name};
  words.insert(words.end(), program.arguments.begin(), program.arguments.end());
  words.emplace_back("--inherit");
  words.push_back(std::to_string(kInheritFd));
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char*> environment = SuccessorEnvironment();
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.path.c_str(), &actions, &attributes, arguments.data(),
                                environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return std::unexpected("cannot start " + program.path + ": " + std::strerror(error));
  }
  return pid;
}

// How it ended, in words; "" while it runs. Reaps.
std::string Reap(pid_t pid) {
  int status = 0;
  const pid_t reaped = waitpid(pid, &status, WNOHANG);
  if (reaped == 0) return "";
  if (reaped < 0) return "ended";  // SIGCHLD is ignored: nobody kept its status
  if (WIFSIGNALED(status)) return std::string("was killed: ") + strsignal(WTERMSIG(status));
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

bool IsProgram(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(path.c_str(), X_OK) == 0;
}

std::string RunningFile() {
  std::error_code error;
  std::string path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

}  // namespace

std::string ProgramPath(const char* argv0) {
  const std::string name = argv0 == nullptr ? "" : argv0;
  if (name.empty() || name.starts_with("/proc/")) return RunningFile();
  if (name.find('/') != std::string::npos) {
    std::error_code error;
    const std::string path = std::filesystem::absolute(name, error).lexically_normal().string();
    return !error && IsProgram(path) ? path : RunningFile();
  }
  const char* from = std::getenv("PATH");
  std::string_view rest = from == nullptr ? "" : from;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string path = std::string(rest.substr(0, end)) + "/" + name;
    if (path.front() == '/' && IsProgram(path)) return path;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return RunningFile();
}

// One attempt. Lives until its process serves or has ended, whatever the owner does.
class HandOver::Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(EventLoop& loop, std::string path, Inheritance inheritance, Done done,
          HandOverOptions options)
      : loop_(loop),
        path_(std::move(path)),
        inheritance_(std::move(inheritance)),
        done_(std::move(done)),
        options_(options) {}

  ~Attempt() { CancelTimers(); }

  void Begin(const SuccessorProgram& program) {
    int pair[2];
    if (inheritance_.sockets.size() > kInheritedSocketsMax) return FailSoon("too many sockets");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      return FailSoon(CallFailed("socketpair"));
    }
    UniqueFd ours(pair[0]);
    const UniqueFd theirs(pair[1]);
    json header = {{"v", 1}, {"sockets", json::array()}, {"state", inheritance_.state}};
    for (const Inheritance::Socket& socket : inheritance_.sockets) {
      header["sockets"].push_back(socket.name);
    }
    header_ = header.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    auto pid = Spawn(program, theirs.get());
    if (!pid) return FailSoon(pid.error());
    pid_ = *pid;
    UniqueFd process(OpenProcess(pid_));
    if (!process) {
      FailSoon(CallFailed("pidfd_open"));
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      return;
    }
    running_ = true;
    process_ = std::make_unique<FdWatch>(loop_, std::move(process), POLLIN,
                                         [self = shared_from_this()] { self->OnExit(); });
    answer_ = std::make_unique<FdWatch>(loop_, std::move(ours), POLLIN,
                                        [self = shared_from_this()] { self->OnAnswer(); });
    late_ = loop_.After(options_.ready_within, [self = shared_from_this()] {
      self->Fail(self->path_ + " did not serve within " +
                 std::to_string(self->options_.ready_within / std::chrono::seconds(1)) +
                 " seconds; its log says how far it came");
    });
    Pump();
  }

  // The owner is gone: nobody is told any more.
  void Leave() {
    done_ = nullptr;
    if (!running_) return;
    Signal(SIGKILL);
    CancelTimers();
    answer_.reset();
    process_.reset();
    running_ = false;
    waitpid(pid_, nullptr, 0);  // of one that was killed
  }

  bool ended() const { return !running_ && !done_; }

 private:
  void CancelTimers() {
    loop_.CancelTimer(late_);
    loop_.CancelTimer(again_);
    loop_.CancelTimer(grace_);
  }

  void FailSoon(std::string why) {
    loop_.Post([self = shared_from_this(), why = std::move(why)]() mutable {
      self->Fail(std::move(why));
    });
  }

  // Sends what the other end takes now: the header, then the descriptors.
  void Pump() {
    while (answer_ && sent_ < header_.size()) {
      const ssize_t count = send(answer_->fd(), header_.data() + sent_, header_.size() - sent_,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return PumpAgain();
      if (count <= 0) return;  // it has ended: OnExit says how
      sent_ += static_cast<size_t>(count);
    }
    const std::span<const Inheritance::Socket> all(inheritance_.sockets);
    while (answer_ && sent_fds_ < all.size()) {
      const size_t count = std::min(kFdsPerMessage, all.size() - sent_fds_);
      const int sent = SendFds(answer_->fd(), all.subspan(sent_fds_, count));
      if (sent == 0) return PumpAgain();
      if (sent < 0) return;
      sent_fds_ += count;
    }
    inheritance_ = {};  // the new process has its own; ours need not stay open
  }

  void PumpAgain() {
    again_ = loop_.After(kSendAgain, [self = shared_from_this()] { self->Pump(); });
  }

  void OnAnswer() {
    auto keep = shared_from_this();
    char bytes[4096];
    while (answer_) {
      const ssize_t count = recv(answer_->fd(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0 || said_.size() > kAnswerMax) return OnSilence();
      said_.append(bytes, static_cast<size_t>(count));
      const size_t end = said_.find('\n');
      if (end != std::string::npos) return OnLine(said_.substr(0, end));
    }
  }

  void OnLine(const std::string& line) {
    if (line == "ready") return Succeed();
    const json answer = json::parse(line, nullptr, false);
    if (answer.is_object() && answer.contains("failed") && answer["failed"].is_string()) {
      return Fail(answer["failed"].get<std::string>());
    }
    Fail(path_ + " answers what no " + path_.substr(path_.rfind('/') + 1) + " answers");
  }

  // The other end closed without a word: a program that fails early, or another one altogether.
  // How it ended is known in a moment.
  void OnSilence() {
    answer_.reset();
    loop_.CancelTimer(late_);
    late_ = loop_.After(options_.grace, [self = shared_from_this()] {
      self->Fail(self->path_ + " closed the hand-over without a word and goes on");
    });
  }

  void OnExit() {
    auto keep = shared_from_this();
    // What it said before it ended counts.
    if (answer_ && done_) OnAnswer();
    std::string how = Reap(pid_);
    if (how.empty()) return;
    running_ = false;
    process_.reset();
    Fail(path_ + " " + how + " before it served; its log says why");
    CancelTimers();
  }

  void Succeed() {
    if (!done_) return;
    CancelTimers();
    running_ = false;  // no longer ours to end
    UniqueFd channel(fcntl(answer_->fd(), F_DUPFD_CLOEXEC, 3));
    answer_.reset();
    // Whoever outlives its successor must reap it.
    process_.reset();
    Tell(Successor{pid_, std::move(channel)});
  }

  void Fail(std::string why) {
    if (!done_) return;
    loop_.CancelTimer(late_);
    loop_.CancelTimer(again_);
    answer_.reset();
    inheritance_ = {};
    if (running_) {
      Signal(SIGTERM);
      grace_ = loop_.After(options_.grace, [self = shared_from_this()] {
        Log(LogLevel::kWarn, "service", "a successor that failed did not end; it is killed",
            {{"pid", self->pid_}});
        self->Signal(SIGKILL);
      });
    }
    Tell(std::unexpected(std::move(why)));
  }

  void Tell(std::expected<Successor, std::string> result) {
    Done done = std::exchange(done_, nullptr);
    done(std::move(result));
  }

  void Signal(int signal) {
    if (process_) SignalProcess(process_->fd(), signal);
  }

  EventLoop& loop_;
  const std::string path_;
  Inheritance inheritance_;
  Done done_;
  const HandOverOptions options_;
  std::string header_;
  size_t sent_ = 0;
  size_t sent_fds_ = 0;
  std::string said_;
  pid_t pid_ = 0;
  bool running_ = false;              // and ours to end
  std::unique_ptr<FdWatch> process_;  // readable when it has ended
  std::unique_ptr<FdWatch> answer_;
  EventLoop::TimerId late_{};
  EventLoop::TimerId again_{};
  EventLoop::TimerId grace_{};
};

HandOver::HandOver(EventLoop& loop, const SuccessorProgram& program, Inheritance inheritance,
                   Done done, HandOverOptions options)
    : attempt_(std::make_shared<Attempt>(loop, program.path, std::move(inheritance),
                                         std::move(done), options)) {
  attempt_->Begin(program);
}

HandOver::~HandOver() { attempt_->Leave(); }

bool HandOver::ended() const { return attempt_->ended(); }

// --- The new process --------------------------------------------------------------------------

std::expected<Inheritance, std::string> TakeOver(int fd) {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  const timeval limit{.tv_sec = kTakeOverWithinS, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string line;
  // What follows the line are descriptors, which must not be read past: look first, then take.
  char part[4096];
  for (bool whole = false; !whole;) {
    const ssize_t seen = recv(fd, part, sizeof part, MSG_PEEK);
    if (seen < 0 && errno == EINTR) continue;
    if (seen <= 0) return std::unexpected("the old process does not go on sending");
    const void* end = std::memchr(part, '\n', static_cast<size_t>(seen));
    whole = end != nullptr;
    const size_t take = whole ? static_cast<size_t>(static_cast<const char*>(end) - part) + 1
                              : static_cast<size_t>(seen);
    if (recv(fd, part, take, 0) != static_cast<ssize_t>(take)) {
      return std::unexpected("the header cannot be read");
    }
    line.append(part, take);
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
  if (names.size() > kInheritedSocketsMax) return std::unexpected("too many sockets");
  std::vector<UniqueFd> fds;
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

namespace {

void Say(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // the old process has ended: nobody waits for it
    text.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace

void TellReady(int fd) { Say(fd, "ready\n"); }

void TellFailed(int fd, std::string_view why) {
  const json line = {{"failed", std::string(why)}};
  Say(fd, line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace net
