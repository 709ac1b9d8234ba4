// A new binary takes over from a running one without a connect refused: the old process starts the
// new one and hands it the listening sockets (SCM_RIGHTS) and what it knows (SaveState). Both
// accept until the new one says that it serves; then the old one stops accepting and finishes its
// connections, up to process.drain_deadline.
//
// The hand-over goes through a socket pair: a line of JSON {"v":1,"sockets":[names],"state":{…}}
// and the descriptors, kFdsPerMessage at a time, in the order of the names. The new process answers
// "ready\n", or closes, which means that it failed and the old one goes on.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "lb/control/control.h"
#include "net/io/socket.h"

namespace lb {

// Names under which the sockets of operators travel, beside those of the listeners.
inline constexpr const char* kAdminSocketName = "@admin";
inline constexpr const char* kCtlSocketName = "@ctl";

// The old process: starts `program` with `run FILE --inherit 3`, hands over, and waits for "ready".
// Returns the new process's id. Blocks its thread for kReadyWithin at most; the workers go on.
std::expected<int, std::string> HandOver(const std::string& program, const std::string& config_path,
                                         const Inheritance& inheritance);
inline constexpr int kReadyWithinMs = 15'000;

// The new process.
std::expected<Inheritance, std::string> TakeOver(int fd);
void TellReady(int fd);

}  // namespace lb
