// One line of the log (log.h) as text: pure, but for the time of day in front.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "net/report/log.h"

namespace net {

// Who reads it: a person at a terminal or in a file, the journal behind stderr, or whatever else
// takes the priority in front of a line for its level.
enum class LogReader : uint8_t { kPerson, kJournal, kOther };

// sd-daemon(3): "<3>" for an error.
std::string_view SyslogPrefix(LogLevel level);
void AppendLogValue(std::string& out, const LogValue& value, LogFormat format);
std::string LogLine(LogReader reader, LogFormat format, LogLevel level, std::string_view component,
                    std::string_view message, std::span<const LogField> fields);

}  // namespace net
