#include "net/report/log.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "net/report/journal.h"
#include "net/report/line_out.h"
#include "net/report/log_line.h"
#include "net/report/log_output.h"
#include "net/report/log_target.h"

namespace net {
namespace {

constexpr size_t kFieldsMax = 64;
// How often it is said that lines were dropped.
constexpr Duration kSayDroppedEvery = std::chrono::minutes(1);

// systemd tells the device and inode of the journal's socket; stderr may have been redirected
// since.
LogReader ReaderOfStderr() {
  if (isatty(STDERR_FILENO) == 1) return LogReader::kPerson;
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info{};
  if (stream == nullptr || fstat(STDERR_FILENO, &info) != 0) return LogReader::kOther;
  std::string mine = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  return mine == stream ? LogReader::kJournal : LogReader::kOther;
}

// spdlog's part: lines to stderr. Under the logger's lock.
class StderrSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  bool taken() const { return taken_; }  // the last line

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    taken_ = out_.Write({message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

  LineOut out_{STDERR_FILENO};
  bool taken_ = true;
};

// A file that logrotate may move.
class LogFile {
 public:
  ~LogFile() { Close(); }

  // "", or why it cannot be opened; then what was open stays open.
  std::string Open(const std::string& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0) return path + ": cannot be opened: " + std::strerror(errno);
    Close();
    out_ = LineOut(fd);
    path_ = path;
    return "";
  }
  void Reopen() {
    if (!path_.empty()) Open(std::string(path_));
  }
  bool Write(std::string_view line) { return out_.Write(line); }

 private:
  void Close() {
    if (out_.fd() >= 0) close(out_.fd());
  }

  std::string path_;
  LineOut out_;
};

class Logger {
 public:
  Logger()
      : sink_stderr_(std::make_shared<StderrSink>()),
        stderr_("log", sink_stderr_),
        reader_(ReaderOfStderr()) {
    stderr_.set_level(spdlog::level::trace);
  }

  void Configure(LogOptions options) {
    std::lock_guard lock(mutex_);
    SetLevel(options.level);
    format_.store(options.format, std::memory_order_relaxed);
    sink_ = std::move(options.sink);
    reader_ = ReaderOfStderr();
  }

  void SetLevel(LogLevel level) { level_.store(level, std::memory_order_relaxed); }

  std::string SetTarget(LogTarget target, std::string_view program, const std::string& path) {
    auto journal = target == LogTarget::kJournal ? std::make_unique<Journal>() : nullptr;
    std::string error = journal ? journal->Open(program, path) : "";
    if (error.empty()) Set(std::move(journal), nullptr, false);
    return error;
  }

  std::string SetFile(const std::string& path, bool also_stderr) {
    auto file = std::make_unique<LogFile>();
    std::string error = file->Open(path);
    if (error.empty()) Set(nullptr, std::move(file), also_stderr);
    return error;
  }

  void SetClock(std::function<Time()> now) {
    std::lock_guard lock(mutex_);
    now_ = std::move(now);
    say_at_ = {};
    unsaid_ = 0;
  }

  void Reopen() {
    std::lock_guard lock(mutex_);
    if (file_) file_->Reopen();
  }

  bool Enabled(LogLevel level) const { return level >= level_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  void Write(LogLevel level, std::string_view component, std::string_view message,
             std::span<const LogField> fields) {
    fields = fields.first(std::min(fields.size(), kFieldsMax));
    std::lock_guard lock(mutex_);
    if (!Put(level, component, message, fields)) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      ++unsaid_;
    } else if (unsaid_ > 0) {
      SayDropped();
    }
  }

 private:
  void Set(std::unique_ptr<Journal> journal, std::unique_ptr<LogFile> file, bool also_stderr) {
    std::lock_guard lock(mutex_);
    journal_ = std::move(journal);
    file_ = std::move(file);
    also_stderr_ = also_stderr;
  }

  // Under the lock, in which nothing waits for a reader. False: a line was lost.
  bool Put(LogLevel level, std::string_view component, std::string_view message,
           std::span<const LogField> fields) {
    const LogFormat format = format_.load(std::memory_order_relaxed);
    const auto line_for = [&](LogReader reader) {
      return LogLine(reader, format, level, component, message, fields);
    };
    if (journal_) {
      // Its priority and its time are fields of the entry.
      const std::string line = line_for(LogReader::kJournal).substr(SyslogPrefix(level).size());
      if (journal_->Write(level, component, line, fields)) return true;
    }
    const bool filed = !file_ || file_->Write(line_for(LogReader::kPerson));
    if (file_ && !also_stderr_) return filed;
    return PutStderr(line_for(reader_)) && filed;
  }

  bool PutStderr(const std::string& line) {
    if (sink_) {
      sink_(line);
      return true;
    }
    stderr_.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
    return sink_stderr_->taken();
  }

  void SayDropped() {
    const Time now = now_ ? now_() : SystemClock().Now();
    if (now < say_at_) return;
    say_at_ = now + kSayDroppedEvery;
    const LogField lost{"dropped", unsaid_};
    if (Put(LogLevel::kWarn, "log", "lines were dropped: nobody took them", {&lost, 1})) {
      unsaid_ = 0;
    }
  }

  std::mutex mutex_;
  std::shared_ptr<StderrSink> sink_stderr_;
  spdlog::logger stderr_;
  std::function<void(std::string_view)> sink_;
  std::function<Time()> now_;
  LogReader reader_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<LogFile> file_;  // neither: lines go to stderr, or the sink
  bool also_stderr_ = false;
  uint64_t unsaid_ = 0;  // dropped since it was last said
  Time say_at_{};
  std::atomic<uint64_t> dropped_{0};
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

void SetLogLevel(LogLevel level) { TheLogger().SetLevel(level); }

std::string SetLogTarget(LogTarget target, std::string_view program, const std::string& journal) {
  return TheLogger().SetTarget(target, program, journal);
}

std::string SetLogFile(const std::string& path, bool also_stderr) {
  return TheLogger().SetFile(path, also_stderr);
}

void ReopenLogFile() { TheLogger().Reopen(); }

uint64_t LogLinesDropped() { return TheLogger().dropped(); }

void SetLogClock(std::function<Time()> now) { TheLogger().SetClock(std::move(now)); }

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
