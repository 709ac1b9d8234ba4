#include "net/report/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "net/base/text.h"

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

  bool Enabled(LogLevel level) const { return level >= level_.load(std::memory_order_relaxed); }

  void Write(LogLevel level, std::string_view component, std::string_view message,
             std::span<const LogField> fields) {
    fields = fields.first(std::min(fields.size(), kFieldsMax));
    bool json = format_.load(std::memory_order_relaxed) == LogFormat::kJson;
    std::lock_guard lock(mutex_);
    std::string line = json ? JsonLine(destination_, level, component, message, fields)
                            : TextLine(destination_, level, component, message, fields);
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
