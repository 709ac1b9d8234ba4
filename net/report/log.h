// The log for operators: what changed and what is wrong, one line each, with named fields.
//
//   net::Log(net::LogLevel::kWarn, "health", "node is down", {{"node", name}, {"reason", why}});
//   → 2026-11-24T04:05:06.789Z WARN health: node is down node=n1 reason="connection refused"
//
// Lines go to stderr. Off a terminal each begins with the syslog priority ("<4>"), which journald
// and friends turn into the level; where stderr is the journal itself, the time is left to it. As
// JSON, a line is one object and has the prefix under the journal only.
//
// Thread-safe. It takes a lock and allocates: never on a hot path; what peers can cause goes
// through LOG_EVERY, so that nobody can fill the disk. Values are escaped (net/base/text.h) and
// cut, so nobody can forge a line either. Secrets are never logged: no passwords, cookies, tokens,
// keys, stanzas.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "net/base/clock.h"

namespace net {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };
std::string_view ToString(LogLevel level);

enum class LogFormat : uint8_t { kText, kJson };

// A text, a number, a truth value, or a length of time (printed with its unit, in JSON as seconds).
// Refers to the text it is given: use it in the call only.
class LogValue {
 public:
  LogValue(std::string_view text) : value_(text) {}               // NOLINT: implicit, so that
  LogValue(const char* text) : value_(std::string_view(text)) {}  // NOLINT: fields read well
  LogValue(const std::string& text) : value_(std::string_view(text)) {}  // NOLINT
  LogValue(bool value) : value_(value) {}                                // NOLINT
  LogValue(double value) : value_(value) {}                              // NOLINT
  template <std::signed_integral T>
  LogValue(T value) : value_(static_cast<int64_t>(value)) {}  // NOLINT
  template <std::unsigned_integral T>
  LogValue(T value) : value_(static_cast<uint64_t>(value)) {}  // NOLINT
  template <typename Rep, typename Period>
  LogValue(std::chrono::duration<Rep, Period> value)  // NOLINT
      : value_(std::chrono::duration_cast<Duration>(value)) {}

  using Variant = std::variant<std::string_view, bool, double, int64_t, uint64_t, Duration>;
  const Variant& variant() const { return value_; }

 private:
  Variant value_;
};

struct LogField {
  std::string_view key;  // snake_case, from our code: it is not escaped
  LogValue value;
};

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  // Where finished lines go instead of stderr (without a newline); for tests. Called with a lock
  // held: it must not log.
  std::function<void(std::string_view line)> sink = nullptr;
};

// At start and at reload. Before the first call, the defaults hold.
void ConfigureLog(LogOptions options);

// Whether a line of this level would be written; for fields that are dear to compute. Lock-free.
bool LogEnabled(LogLevel level);

void Log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields = {});
void LogFields(LogLevel level, std::string_view component, std::string_view message,
               std::span<const LogField> fields);

// Lets one event through per interval and counts the others. Thread-safe, lock-free.
class LogLimiter {
 public:
  explicit LogLimiter(Duration interval) : interval_(interval) {}

  // The number of events held back since the last one that passed; nullopt: hold this one back.
  std::optional<uint64_t> Pass(Time now);

 private:
  const Duration interval_;
  std::atomic<int64_t> next_ns_{INT64_MIN};
  std::atomic<uint64_t> suppressed_{0};
};

namespace log_internal {
std::optional<uint64_t> PassNow(LogLevel level, LogLimiter& limiter);
void LogPassed(uint64_t suppressed, LogLevel level, std::string_view component,
               std::string_view message, std::initializer_list<LogField> fields = {});
}  // namespace log_internal

}  // namespace net

// LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "listener", "accept failed",
//           {{"error", why}});
// One line per interval from this place in the code; the next one says how many were held back
// (suppressed=41). The arguments are evaluated only when the line is written.
#define LOG_EVERY(interval, level, ...)                                                 \
  do {                                                                                  \
    static ::net::LogLimiter log_limiter_here(interval);                                \
    if (auto log_passed_here = ::net::log_internal::PassNow(level, log_limiter_here)) { \
      ::net::log_internal::LogPassed(*log_passed_here, level, __VA_ARGS__);             \
    }                                                                                   \
  } while (false)
