// [log] as programs have it alike: level, format, target.
#pragma once

#include <string_view>

#include "net/config/toml_reader.h"
#include "net/report/log.h"
#include "net/report/log_target.h"

namespace net {

LogLevel ReadLogLevel(const TomlSection& section);
LogFormat ReadLogFormat(const TomlSection& section, std::string_view key = "format");
LogTarget ReadLogTarget(const TomlSection& section);

}  // namespace net
