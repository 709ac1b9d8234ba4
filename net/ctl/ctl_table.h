// What both ends of a control socket know: a program's commands as one table, by which the server
// reads requests, the client builds its command line and help, and `describe` answers; and the
// exit codes, which mean the same for every program.
//
// A request is one JSON object in a line: {"v":1,"command":"drain","node":"n2","rate":50,
// "deadline":600,"wait":true}. Rates are events a second, times seconds. The answer is a stream of
// JSON objects, one a line; the last has "ok" and "exit", the exit status for the shell, and where
// not ok "error", the reason in words.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace net {

inline constexpr int kCtlVersion = 1;
inline constexpr size_t kCtlLineMax = 64 * 1024;  // bytes of a request

// The exit status of `PROGRAM ctl`, and "exit" in the last line of an answer.
enum class CtlExit : uint8_t {
  kDone = 0,
  kRefused = 1,   // with the reason
  kUsage = 2,     // no such command or argument
  kNotFound = 3,  // what was named does not exist, or nobody answers on the socket
  kDeadline = 4,  // the deadline came before it was done
};
inline constexpr size_t kCtlExits = static_cast<size_t>(CtlExit::kDeadline) + 1;
// "refused, with the reason"; for help, descriptions and manuals.
std::string_view CtlExitText(CtlExit exit);

enum class CtlArgKind : uint8_t {
  kText,      // a word
  kRate,      // a number a second; "50/s" on the command line
  kDuration,  // seconds; "30s" on the command line
  kNumber,    // a whole number up to CtlArg::max
  kFlag,
};

struct CtlArg {
  std::string_view name;
  CtlArgKind kind = CtlArgKind::kText;
  bool positional = false;
  bool required = false;
  std::string_view help;
  uint64_t max = 0;         // kNumber
  bool or_default = false;  // kNumber: the word "default" may stand there
};

struct CtlCommand {
  std::string_view name;  // one word, or two: "acme set"
  std::string_view help;
  bool order = false;  // changes something, and is logged
  std::span<const CtlArg> args;
  bool local = false;  // the client's own (top): the server does not know it
};

inline constexpr double kCtlRateMax = 1e9;
inline constexpr double kCtlSecondsMax = 365.0 * 86'400;

const CtlCommand* FindCtlCommand(std::span<const CtlCommand> table, std::string_view name);
// "there is no command 'drian'; did you mean 'drain'? (there are: list, ...)"
std::string UnknownCtlCommand(std::span<const CtlCommand> table, std::string_view name);

// What was asked: a value for each argument that was given, judged by its kind.
struct CtlValues {
  struct Value {
    std::string text;
    double number = 0;  // kRate, kDuration, kNumber
    bool is_default = false;
    bool flag = false;
  };

  const CtlCommand* command = nullptr;
  std::map<std::string, Value, std::less<>> values;

  bool Has(std::string_view name) const { return values.contains(name); }
  std::string Text(std::string_view name) const;  // "" where it was not given
  std::optional<double> Number(std::string_view name) const;
  bool Default(std::string_view name) const;
  bool Flag(std::string_view name) const;
};

// Reads one line. The error says what is wrong and what there is.
std::expected<CtlValues, std::string> ParseCtlValues(std::span<const CtlCommand> table,
                                                     std::string_view line);

// For the log: "drain n2 rate=50/s wait".
std::string CtlValuesText(const CtlValues& values);

struct CtlReply {
  CtlExit exit = CtlExit::kDone;
  std::string message;        // what was done, or why not; may be empty
  std::string object = "{}";  // what the answer holds beside: one JSON object
};

// {"v":1,"ok":true,"exit":0,"message":...,...}\n; where not ok, the message is called "error".
std::string CtlReplyLine(const CtlReply& reply);

// {"commands":[...],"exits":{...}}
std::string CtlDescription(std::span<const CtlCommand> table);

}  // namespace net
