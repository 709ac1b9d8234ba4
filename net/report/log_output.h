// Where a program's log goes besides what log_target.h says: into a file that logrotate may move,
// and what is told of the lines that nobody took.
//
// No thread waits for a reader by the log: a line that is not taken at once (a pipe that nobody
// reads, a journal that stands still, a disk without room) is dropped, counted, and told of behind
// the next one that is taken, once a minute.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "net/base/clock.h"
#include "net/report/log.h"

namespace net {

// Lines go into the file, and to stderr as well where somebody looks there; until SetLogTarget() is
// called. "", or which file cannot be opened and why; then nothing has changed.
std::string SetLogFile(const std::string& path, bool also_stderr);
// The file at its path. Where that fails, lines go on into the old one.
void ReopenLogFile();

void SetLogLevel(LogLevel level);

// Lines so far that were lost.
uint64_t LogLinesDropped();

// By which it is a minute; null: the system's. For tests.
void SetLogClock(std::function<Time()> now);

}  // namespace net
