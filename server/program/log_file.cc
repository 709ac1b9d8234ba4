#include "server/program/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "net/io/socket.h"

namespace server {
namespace {

struct State {
  std::mutex mutex;
  LogFileOptions options;
  net::UniqueFd file;
  std::string level_name = "INFO";
};

// Never destroyed: threads may log until the very end.
State& TheState() {
  static State* state = new State;
  return *state;
}

net::UniqueFd OpenFile(const std::string& path) {
  return net::UniqueFd(
      open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
}

void WriteLine(int fd, std::string line) {
  line += '\n';
  // One call a line, so that lines of two writers do not mix. What does not fit is lost.
  if (write(fd, line.data(), line.size()) < 0) return;
}

void Sink(std::string_view line) {
  State& state = TheState();
  std::lock_guard lock(state.mutex);
  if (state.options.on_stderr || state.options.path.empty()) {
    WriteLine(STDERR_FILENO, std::string(line));
  }
  if (!state.file) return;
  // The priority in front is for the journal.
  if (line.size() > 3 && line[0] == '<' && line[2] == '>') line.remove_prefix(3);
  WriteLine(state.file.get(), std::string(line));
}

void Configure() {
  const LogFileOptions& options = TheState().options;
  net::ConfigureLog({.level = options.level, .format = options.format, .sink = Sink});
}

std::string NameOf(net::LogLevel level) {
  switch (level) {
    case net::LogLevel::kDebug:
      return "DEBUG";
    case net::LogLevel::kInfo:
      return "INFO";
    case net::LogLevel::kWarn:
      return "WARNING";
    case net::LogLevel::kError:
      break;
  }
  return "ERROR";
}

}  // namespace

std::expected<void, std::string> StartLog(const LogFileOptions& options) {
  State& state = TheState();
  {
    std::lock_guard lock(state.mutex);
    state.options = options;
    state.level_name = NameOf(options.level);
    if (!options.path.empty()) {
      state.file = OpenFile(options.path);
      if (!state.file) {
        return std::unexpected(options.path + ": cannot be opened: " + std::strerror(errno) +
                               "; make its folder, owned by the user that the node runs as, or "
                               "set log.file = \"\" for stderr");
      }
    }
  }
  Configure();
  return {};
}

void ReopenLog() {
  State& state = TheState();
  std::lock_guard lock(state.mutex);
  if (state.options.path.empty()) return;
  if (net::UniqueFd fresh = OpenFile(state.options.path)) state.file = std::move(fresh);
}

void SetLogLevelByName(std::string_view name) {
  State& state = TheState();
  {
    std::lock_guard lock(state.mutex);
    state.level_name = name;
    state.options.level = name == "DEBUG" || name == "ALL"     ? net::LogLevel::kDebug
                          : name == "INFO" || name == "NOTICE" ? net::LogLevel::kInfo
                          : name == "WARNING"                  ? net::LogLevel::kWarn
                                                               : net::LogLevel::kError;
  }
  Configure();
}

std::string LogLevelName() {
  State& state = TheState();
  std::lock_guard lock(state.mutex);
  return state.level_name;
}

}  // namespace server
