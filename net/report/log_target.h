// Where a program's log (net/report/log.h) goes: to stderr, as it does unless this is called, or to
// journald by its own protocol, where each field of a line is a field of the entry:
//
//   journalctl SYSLOG_IDENTIFIER=mongooselb MONGOOSELB_COMPONENT=lb MONGOOSELB_NODE=n1
//
// MESSAGE is the line as stderr would have it, without its time; PRIORITY is its level. A field's
// name is its key in capitals behind the program's. Where the journal does not take an entry (it is
// away, or full), the line goes to stderr, if that takes it at once (log_output.h).
//
// Thread-safe; at start.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace net {

enum class LogTarget : uint8_t { kStderr, kJournal };

inline constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

// `program`: "mongooselb". The error says why there is no socket to speak from; then nothing has
// changed.
std::string SetLogTarget(LogTarget target, std::string_view program,
                         const std::string& journal = kJournalSocket);

}  // namespace net
