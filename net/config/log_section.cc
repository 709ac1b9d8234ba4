#include "net/config/log_section.h"

namespace net {

LogLevel ReadLogLevel(const TomlSection& section) {
  return section.Enum<LogLevel>("level", LogLevel::kInfo,
                                {{"debug", LogLevel::kDebug},
                                 {"info", LogLevel::kInfo},
                                 {"warn", LogLevel::kWarn},
                                 {"warning", LogLevel::kWarn},
                                 {"error", LogLevel::kError}});
}

LogFormat ReadLogFormat(const TomlSection& section, std::string_view key) {
  return section.Enum<LogFormat>(key, LogFormat::kText,
                                 {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
}

LogTarget ReadLogTarget(const TomlSection& section) {
  return section.Enum<LogTarget>(
      "target", LogTarget::kStderr,
      {{"stderr", LogTarget::kStderr}, {"journald", LogTarget::kJournal}});
}

}  // namespace net
