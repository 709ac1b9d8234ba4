#include "lb/admin/ctl_top.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_text.h"

namespace lb {
namespace {

constexpr int kRefreshMs = 1000;
constexpr const char* kRequest = "{\"v\":1,\"command\":\"list\"}\n";

volatile std::sig_atomic_t interrupted = 0;
void OnSignal(int) { interrupted = 1; }

// The terminal's other screen, without echo; put back however we leave.
class FullScreen {
 public:
  FullScreen() {
    struct sigaction action{};
    action.sa_handler = OnSignal;  // without SA_RESTART, so that poll() ends
    for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
    keys_ = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &before_) == 0;
    if (keys_) {
      termios raw = before_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    std::fputs("\x1b[?1049h\x1b[?25l", stdout);
  }
  ~FullScreen() {
    std::fputs("\x1b[?25h\x1b[?1049l", stdout);
    std::fflush(stdout);
    if (keys_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  // True when it is time to leave.
  bool WaitForQuit() const {
    pollfd key{.fd = keys_ ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0};
    const int ready = poll(&key, 1, kRefreshMs);
    if (interrupted != 0) return true;
    if (ready <= 0) return false;
    char pressed = 0;
    return read(STDIN_FILENO, &pressed, 1) != 1 || pressed == 'q' || pressed == 'Q';
  }

 private:
  bool keys_ = false;
  termios before_{};
};

winsize ScreenSize() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return {24, 80, 0, 0};
  return size;
}

// The first `rows` lines, each cleared to its end, then the rest of the screen cleared.
std::string OnScreen(const std::string& frame, size_t rows) {
  std::string out = "\x1b[H";
  size_t at = 0;
  for (size_t row = 0; row + 1 < rows && at < frame.size(); ++row) {
    const size_t end = std::min(frame.find('\n', at), frame.size());
    out.append(frame, at, end - at);
    out += "\x1b[K\r\n";
    at = end + 1;
  }
  return out + "\x1b[J";
}

std::expected<std::string, std::string> Ask(CtlConnection& connection) {
  if (auto sent = connection.Send(kRequest); !sent) return std::unexpected(sent.error());
  return connection.ReadLine();
}

}  // namespace

int RunCtlTop(CtlConnection& connection, bool once, bool colours) {
  std::string trouble;
  const auto show = [&](const auto& print) {
    auto reply = Ask(connection);
    if (reply) {
      print(*reply);
    } else {
      trouble = reply.error();
    }
    return reply.has_value();
  };
  if (once) {
    show([&](const std::string& reply) {
      std::fputs(CtlTopFrame(reply, {.colours = colours}).c_str(), stdout);
    });
  } else {
    const FullScreen screen;
    while (show([&](const std::string& reply) {
      const winsize size = ScreenSize();
      const std::string frame = CtlTopFrame(reply, {.colours = colours, .width = size.ws_col}) +
                                "\nq leaves; a * marks weights set by an operator\n";
      std::fputs(OnScreen(frame, size.ws_row).c_str(), stdout);
      std::fflush(stdout);
    })) {
      if (screen.WaitForQuit()) break;
    }
  }
  if (trouble.empty() || interrupted != 0) return static_cast<int>(CtlExit::kDone);
  std::fprintf(stderr, "mongooselb ctl: %s\n", trouble.c_str());
  return static_cast<int>(CtlExit::kNotFound);
}

}  // namespace lb
