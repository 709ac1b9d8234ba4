// `PROGRAM ctl`: sends one command over the control socket and prints the answer, as a table or,
// with --json, as the server sent it. Plain blocking I/O in a process of its own.
//
// The exit status is CtlExit. With --json every error is JSON, too, on stdout, whoever found it:
// {"v":1,"ok":false,"exit":2,"error":"..."}; its words stand on stderr in any case.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/ctl/ctl_line.h"
#include "net/ctl/ctl_table.h"
#include "net/ctl/ctl_text.h"

namespace net {

class CtlClient;

// What makes one program's ctl.
struct CtlProgram {
  std::string name;    // "mongooselb"
  std::string socket;  // where it listens unless told
  std::span<const CtlCommand> commands;
  // What is printed for the last line of an answer that is ok.
  std::string (*text)(std::string_view command, std::string_view reply_json,
                      const TextStyle& style) = nullptr;
  // Before a request is sent: what it says of who asks. May be null.
  void (*prepare)(CtlLine& line) = nullptr;
  // Commands that take more than one question: the exit status, or nothing for all others.
  std::optional<int> (*special)(CtlClient& client) = nullptr;
};

class CtlClient {
 public:
  CtlClient(const CtlProgram& program, const CtlLine& line) : program_(program), line_(line) {}

  const CtlLine& line() const { return line_; }
  TextStyle style() const;
  bool terminal() const;  // stdout is one
  // One question over a connection of its own: the answer's last line.
  std::expected<std::string, std::string> Ask(const std::string& request_line) const;
  // Prints why not; returns `exit` as a status.
  int Fail(CtlExit exit, const std::string& why) const;
  // Prints an answer's last line; returns the status that it tells.
  int Finish(const std::string& reply) const;
  // One question, with its progress; what most commands are.
  int Converse() const;

 private:
  const CtlProgram& program_;
  const CtlLine& line_;
};

// argv[0] is not looked at; argv[1] is the first word behind "ctl".
int RunCtl(const CtlProgram& program, int argc, const char* const* argv);

}  // namespace net
