// The node's log in its folder, and on stderr where somebody looks at it. The file is opened again
// at SIGHUP, so that logrotate may move it.
//
// Thread-safe, as net::Log is. A full disk loses lines, never the service.
#pragma once

#include <expected>
#include <string>

#include "net/report/log.h"

namespace server {

struct LogFileOptions {
  net::LogLevel level = net::LogLevel::kInfo;
  net::LogFormat format = net::LogFormat::kText;
  std::string path;  // "": stderr only
  bool on_stderr = false;
};

// Once in a process. The error names the file and the remedy.
std::expected<void, std::string> StartLog(const LogFileOptions& options);
void ReopenLog();

// NONE … ALL, as upstream has them; the ones between are ours' next.
void SetLogLevelByName(std::string_view name);
std::string LogLevelName();

}  // namespace server
