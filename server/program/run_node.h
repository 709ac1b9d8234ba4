// A running node from its start to its end: the folder's lock, the log, the distribution with the
// cluster on it, the pages, signals, and what systemd and scripts are told.
//
// RunNode blocks its thread, which does nothing else; all else is on the distribution's. SIGTERM
// and SIGINT stop in order (the others are told first), a second one ends at once, SIGHUP opens the
// log again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/program/node_setup.h"

namespace server {

enum class RunMode : uint8_t {
  kLive,        // on a terminal, or under a service manager: the log on stderr too
  kBackground,  // the log's file only
};

struct RunOptions {
  RunMode mode = RunMode::kLive;
  // Once, when it can be called; not after a failure.
  std::function<void()> on_started = [] {};
};

enum class RunEnd : uint8_t { kStopped, kRestart, kFailed };

struct RunResult {
  RunEnd end = RunEnd::kStopped;
  std::vector<std::string> errors;  // of kFailed, each with its remedy
};

// Blocks signals: call it before any thread is there.
RunResult RunNode(const NodeFolder& folder, RunOptions options);

}  // namespace server
