#include "net/report/log_line.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <variant>

#include "net/base/text.h"

namespace net {
namespace {

constexpr size_t kMessageBytesMax = 1024;

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

}  // namespace

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

void AppendLogValue(std::string& out, const LogValue& value, LogFormat format) {
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

namespace {

std::string TextLine(LogReader reader, LogLevel level, std::string_view component,
                     std::string_view message, std::span<const LogField> fields) {
  std::string line;
  if (reader != LogReader::kPerson) line += SyslogPrefix(level);
  if (reader != LogReader::kJournal) {
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
    AppendLogValue(line, field.value, LogFormat::kText);
  }
  return line;
}

std::string JsonLine(LogReader reader, LogLevel level, std::string_view component,
                     std::string_view message, std::span<const LogField> fields) {
  std::string line;
  if (reader == LogReader::kJournal) line += SyslogPrefix(level);
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
    AppendLogValue(line, field.value, LogFormat::kJson);
  }
  return line + "}";
}

}  // namespace

std::string LogLine(LogReader reader, LogFormat format, LogLevel level, std::string_view component,
                    std::string_view message, std::span<const LogField> fields) {
  return format == LogFormat::kJson ? JsonLine(reader, level, component, message, fields)
                                    : TextLine(reader, level, component, message, fields);
}

}  // namespace net
