// The command line of `PROGRAM ctl`, read by the program's table of commands.
//
// Pure.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/ctl/ctl_table.h"

namespace net {

struct CtlLine {
  std::string socket;  // "" : the program's own
  bool json = false;
  bool help = false;                    // asked for; of `command` where there is one
  const CtlCommand* command = nullptr;  // null with help only
  // What was typed; values are checked by their kinds, numbers read.
  CtlValues values;
};

// `words` are those behind "ctl". The error is what is wrong, in one sentence with the remedy.
std::expected<CtlLine, std::string> ParseCtlLine(std::span<const CtlCommand> table,
                                                 std::span<const std::string_view> words);
// Is --json among the words? For errors about the others.
bool CtlJsonWanted(std::span<const std::string_view> words);

// "drain NODE [--rate N/s] [--deadline TIME] [--wait] [--force]"
std::string CtlUsage(const CtlCommand& command);
// All commands with a line each, and the exit codes; or one command with its arguments.
std::string CtlHelp(std::string_view program, std::string_view socket,
                    std::span<const CtlCommand> table, const CtlCommand* command);

// {"v":1,"command":"drain","node":"n2",...}\n
std::string CtlRequestLine(const CtlValues& values);

}  // namespace net
