#include "net/report/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "net/base/text.h"
#include "net/report/log_target.h"

namespace net {
namespace {

constexpr size_t kFieldsMax = 64;
constexpr size_t kMessageBytesMax = 1024;

enum class Destination : uint8_t { kTerminal, kJournal, kOther };

// systemd tells the device and inode of the journal's socket; stderr may have been redirected
// since.
Destination DestinationOfStderr() {
  if (isatty(STDERR_FILENO) == 1) return Destination::kTerminal;
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info{};
  if (stream == nullptr || fstat(STDERR_FILENO, &info) != 0) return Destination::kOther;
  std::string mine = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  return mine == stream ? Destination::kJournal : Destination::kOther;
}

// sd-daemon(3): SD_ERR, SD_WARNING, SD_INFO, SD_DEBUG.
std::string_view SyslogPrefix(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "<7>";
    case LogLevel::kInfo:
      return "<6>";
    case LogLevel::kWarn:
      return "<4>";
    case LogLevel::kError:
      return "<3>";
  }
  return "<5>";
}

std::string_view TextLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "DEBUG";
    case LogLevel::kInfo:
      return "INFO";
    case LogLevel::kWarn:
      return "WARN";
    case LogLevel::kError:
      return "ERROR";
  }
  return "?";
}

void AppendWallClock(std::string& out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  std::array<char, 40> text{};
  size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  out.append(text.data(), size);
  std::snprintf(text.data(), text.size(), ".%03dZ", static_cast<int>(now.tv_nsec / 1'000'000));
  out += text.data();
}

void AppendShortNumber(std::string& out, double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  out += text.data();
}

// 1.5s, 250ms, 80us: the unit in which the number has one to three digits before the point.
void AppendDuration(std::string& out, Duration value) {
  double ns = static_cast<double>(value.count());
  double size = std::abs(ns);
  if (size >= 1e9) {
    AppendShortNumber(out, ns / 1e9);
    out += "s";
  } else if (size >= 1e6) {
    AppendShortNumber(out, ns / 1e6);
    out += "ms";
  } else if (size >= 1e3) {
    AppendShortNumber(out, ns / 1e3);
    out += "us";
  } else {
    out += std::to_string(value.count()) + "ns";
  }
}

// Bare where a reader cannot mistake it, else in double quotes.
void AppendTextValue(std::string& out, std::string_view text) {
  std::string shown = Printable(text);
  bool bare = !text.empty() && shown == text && text.find_first_of(" =") == std::string_view::npos;
  if (bare) {
    out += shown;
  } else {
    out += '"' + shown + '"';
  }
}

void AppendValue(std::string& out, const LogValue& value, LogFormat format) {
  bool json = format == LogFormat::kJson;
  if (const auto* text = std::get_if<std::string_view>(&value.variant())) {
    json ? AppendJsonString(out, *text, kShownBytesMax) : AppendTextValue(out, *text);
  } else if (const auto* truth = std::get_if<bool>(&value.variant())) {
    out += *truth ? "true" : "false";
  } else if (const auto* number = std::get_if<double>(&value.variant())) {
    json && !std::isfinite(*number) ? out += "null" : (AppendShortNumber(out, *number), out);
  } else if (const auto* whole = std::get_if<int64_t>(&value.variant())) {
    out += std::to_string(*whole);
  } else if (const auto* natural = std::get_if<uint64_t>(&value.variant())) {
    out += std::to_string(*natural);
  } else if (const auto* time = std::get_if<Duration>(&value.variant())) {
    json ? AppendShortNumber(out, Seconds(*time)) : AppendDuration(out, *time);
  }
}

std::string TextLine(Destination destination, LogLevel level, std::string_view component,
                     std::string_view message, std::span<const LogField> fields) {
  std::string line;
  if (destination != Destination::kTerminal) line += SyslogPrefix(level);
  if (destination != Destination::kJournal) {
    AppendWallClock(line);
    line += ' ';
    line += TextLevel(level);
    line += ' ';
  }
  line += component;
  line += ": ";
  AppendPrintable(line, message, kMessageBytesMax);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    AppendValue(line, field.value, LogFormat::kText);
  }
  return line;
}

std::string JsonLine(Destination destination, LogLevel level, std::string_view component,
                     std::string_view message, std::span<const LogField> fields) {
  std::string line;
  if (destination == Destination::kJournal) line += SyslogPrefix(level);
  line += "{\"time\":\"";
  AppendWallClock(line);
  line += "\",\"level\":\"";
  line += ToString(level);
  line += "\",\"component\":";
  AppendJsonString(line, component);
  line += ",\"message\":";
  AppendJsonString(line, message, kMessageBytesMax);
  for (const LogField& field : fields) {
    line += ',';
    AppendJsonString(line, field.key);
    line += ':';
    AppendValue(line, field.value, LogFormat::kJson);
  }
  return line + "}";
}

// Who may write to journald's socket does so in datagrams of KEY=value lines, one an entry.
class Journal {
 public:
  ~Journal() {
    if (fd_ >= 0) close(fd_);
  }

  std::string Open(std::string_view program, const std::string& path) {
    if (path.size() >= sizeof address_.sun_path) return path + " is too long for a socket's name";
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return std::string("no socket for the journal: ") + std::strerror(errno);
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
    address_ = {};
    address_.sun_family = AF_UNIX;
    path.copy(address_.sun_path, path.size());
    program_ = program;
    prefix_ = Upper(program) + "_";
    return "";
  }

  // False: it was not taken.
  bool Write(LogLevel level, std::string_view component, std::string_view line,
             std::span<const LogField> fields) const {
    std::string entry = "PRIORITY=";
    entry += SyslogPrefix(level)[1];
    entry += "\nSYSLOG_IDENTIFIER=" + program_ + "\n" + prefix_ + "COMPONENT=";
    entry.append(component) += "\nMESSAGE=";
    entry.append(line) += '\n';
    for (const LogField& field : fields) {
      entry += prefix_ + Upper(field.key) + '=';
      AppendPlainValue(entry, field.value);
      entry += '\n';
    }
    ssize_t sent = 0;
    do {
      sent = sendto(fd_, entry.data(), entry.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
  }

 private:
  static std::string Upper(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return out;
  }
  // What is printable holds no newline, which would begin another field.
  static void AppendPlainValue(std::string& out, const LogValue& value) {
    if (const auto* text = std::get_if<std::string_view>(&value.variant())) {
      out += Printable(*text);
    } else {
      AppendValue(out, value, LogFormat::kText);
    }
  }

  int fd_ = -1;
  sockaddr_un address_{};
  std::string program_;
  std::string prefix_;
};

// spdlog's part: the sink that writes whole lines, each flushed, to stderr.
class Logger {
 public:
  Logger()
      : stderr_("log", std::make_shared<spdlog::sinks::stderr_sink_mt>()),
        destination_(DestinationOfStderr()) {
    stderr_.set_pattern("%v");
    stderr_.set_level(spdlog::level::trace);
    stderr_.flush_on(spdlog::level::trace);
    stderr_.set_error_handler([](const std::string&) {});  // a full disk must not stop the service
  }

  void Configure(LogOptions options) {
    std::lock_guard lock(mutex_);
    level_.store(options.level, std::memory_order_relaxed);
    format_.store(options.format, std::memory_order_relaxed);
    sink_ = std::move(options.sink);
    destination_ = DestinationOfStderr();
  }

  std::string SetTarget(LogTarget target, std::string_view program, const std::string& journal) {
    std::lock_guard lock(mutex_);
    if (target == LogTarget::kStderr) {
      journal_.reset();
      return "";
    }
    auto made = std::make_unique<Journal>();
    std::string error = made->Open(program, journal);
    if (error.empty()) journal_ = std::move(made);
    return error;
  }

  bool Enabled(LogLevel level) const { return level >= level_.load(std::memory_order_relaxed); }

  void Write(LogLevel level, std::string_view component, std::string_view message,
             std::span<const LogField> fields) {
    fields = fields.first(std::min(fields.size(), kFieldsMax));
    bool json = format_.load(std::memory_order_relaxed) == LogFormat::kJson;
    std::lock_guard lock(mutex_);
    const auto line_for = [&](Destination destination) {
      return json ? JsonLine(destination, level, component, message, fields)
                  : TextLine(destination, level, component, message, fields);
    };
    if (journal_ != nullptr) {
      // Its priority and its time are fields of the entry.
      const std::string line = line_for(Destination::kJournal).substr(SyslogPrefix(level).size());
      if (journal_->Write(level, component, line, fields)) return;
    }
    const std::string line = line_for(destination_);
    if (sink_) {
      sink_(line);
    } else {
      stderr_.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
    }
  }

 private:
  std::mutex mutex_;
  spdlog::logger stderr_;
  std::function<void(std::string_view)> sink_;
  Destination destination_;
  std::unique_ptr<Journal> journal_;  // null: lines go to stderr, or the sink
  std::atomic<LogLevel> level_{LogLevel::kInfo};
  std::atomic<LogFormat> format_{LogFormat::kText};
};

// Never destroyed: threads may log until the very end.
Logger& TheLogger() {
  static Logger* logger = new Logger;
  return *logger;
}

}  // namespace

std::string_view ToString(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "?";
}

void ConfigureLog(LogOptions options) { TheLogger().Configure(std::move(options)); }

std::string SetLogTarget(LogTarget target, std::string_view program, const std::string& journal) {
  return TheLogger().SetTarget(target, program, journal);
}

bool LogEnabled(LogLevel level) { return TheLogger().Enabled(level); }

void LogFields(LogLevel level, std::string_view component, std::string_view message,
               std::span<const LogField> fields) {
  if (LogEnabled(level)) TheLogger().Write(level, component, message, fields);
}

void Log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields) {
  LogFields(level, component, message, {fields.begin(), fields.size()});
}

std::optional<uint64_t> LogLimiter::Pass(Time now) {
  int64_t now_ns = now.time_since_epoch().count();
  int64_t next_ns = next_ns_.load(std::memory_order_relaxed);
  // Of threads that arrive together one wins the exchange; the others count as held back.
  if (now_ns < next_ns || !next_ns_.compare_exchange_strong(next_ns, now_ns + interval_.count(),
                                                            std::memory_order_relaxed)) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return suppressed_.exchange(0, std::memory_order_relaxed);
}

namespace log_internal {

std::optional<uint64_t> PassNow(LogLevel level, LogLimiter& limiter) {
  if (!LogEnabled(level)) return std::nullopt;
  return limiter.Pass(SystemClock().Now());
}

void LogPassed(uint64_t suppressed, LogLevel level, std::string_view component,
               std::string_view message, std::initializer_list<LogField> fields) {
  std::vector<LogField> all(fields);
  if (suppressed > 0) all.push_back({"suppressed", suppressed});
  LogFields(level, component, message, all);
}

}  // namespace log_internal

}  // namespace net
