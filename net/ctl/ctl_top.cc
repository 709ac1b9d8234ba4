#include "net/ctl/ctl_top.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "net/ctl/ctl_client.h"

namespace net {
namespace {

constexpr int kRefreshMs = 1000;

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

// A second's rest without a screen; true when it is time to leave.
bool Rest() {
  poll(nullptr, 0, kRefreshMs);
  return interrupted != 0;
}

}  // namespace

std::expected<void, std::string> RunCtlTop(const CtlTopOptions& options, const CtlFrame& frame) {
  if (!options.live) {
    const uint32_t rounds = options.rounds == 0 ? 1 : options.rounds;
    for (uint32_t round = 0; round < rounds; ++round) {
      if (round > 0 && Rest()) break;
      auto text = frame(options.style);
      if (!text) return std::unexpected(text.error());
      std::fputs(text->c_str(), stdout);
      std::fflush(stdout);
    }
    return {};
  }
  std::string trouble;
  {
    const FullScreen screen;
    for (uint32_t round = 0; options.rounds == 0 || round < options.rounds; ++round) {
      const winsize size = ScreenSize();
      auto text = frame({.colours = options.style.colours, .width = size.ws_col});
      if (!text) {
        trouble = text.error();
        break;
      }
      std::fputs(OnScreen(*text, size.ws_row).c_str(), stdout);
      std::fflush(stdout);
      if (screen.WaitForQuit()) break;
    }
  }
  if (trouble.empty() || interrupted != 0) return {};
  return std::unexpected(std::move(trouble));
}

int RunCtlTop(const CtlClient& client, const CtlLiveFrame& frame) {
  const CtlLine& line = client.line();
  const bool once = line.values.Flag("once");
  const bool live = client.terminal() && !once && !line.json;
  const auto shown = RunCtlTop(
      {.live = live,
       .rounds = once ? 1 : static_cast<uint32_t>(line.values.Number("rounds").value_or(0)),
       .style = client.style()},
      [&](const TextStyle& style) { return frame(style, live); });
  if (shown) return static_cast<int>(CtlExit::kDone);
  return client.Fail(CtlExit::kNotFound, shown.error());
}

}  // namespace net
