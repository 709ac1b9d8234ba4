// The commands of the control socket, as one table: the server reads requests by it, the client
// builds its command line and its help from it, and `describe` prints it.
//
// A request is one JSON object in a line: {"v":1,"command":"drain","node":"n2","rate":50,
// "deadline":600,"wait":true}. Rates are events a second, times seconds. The answer is a stream of
// JSON objects, one a line; the last has "ok" and "exit", the exit status for the shell.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lb {

inline constexpr int kCtlVersion = 1;
inline constexpr size_t kCtlLineMax = 64 * 1024;  // bytes of a request

// The exit status of `mongooselb ctl`, and "exit" in the last line of an answer.
enum class CtlExit : uint8_t {
  kDone = 0,
  kRefused = 1,   // with the reason
  kUsage = 2,     // no such command or argument
  kNotFound = 3,  // no such node or pool, or no balancer that answers
  kDeadline = 4,  // the deadline came before the last connection had gone
};

enum class CtlArgKind : uint8_t {
  kText,      // a word
  kRate,      // a number a second; "50/s" on the command line
  kDuration,  // seconds; "30s" on the command line
  kWeight,    // 0..1000 or "default"
  kFlag,
};

struct CtlArg {
  std::string_view name;
  CtlArgKind kind = CtlArgKind::kText;
  bool positional = false;
  bool required = false;
  std::string_view help;
};

struct CtlCommand {
  std::string_view name;
  std::string_view help;
  bool order = false;  // changes something, and is logged
  std::span<const CtlArg> args;
};

std::span<const CtlCommand> CtlCommands();
const CtlCommand* FindCtlCommand(std::string_view name);
// "there is no command 'drian'; did you mean 'drain'? (there are: list, ...)"
std::string UnknownCtlCommand(std::string_view name);

struct CtlRequest {
  const CtlCommand* command = nullptr;
  std::string node;
  std::string pool;
  std::string address;
  std::string connection;            // an id
  std::string after;                 // the id where the page before ended
  bool connections = false;          // list them
  std::optional<double> rate;        // a second, >= 0
  std::optional<double> deadline_s;  // >= 0
  std::optional<uint32_t> weight;
  bool weight_default = false;
  bool wait = false;
  bool force = false;
};

// Reads one line. The error says what is wrong and what there is.
std::expected<CtlRequest, std::string> ParseCtlRequest(std::string_view line);

// For the log: "drain n2 rate=50 wait".
std::string CtlRequestText(const CtlRequest& request);

// {"v":1,"commands":[...],"exits":{...}}
std::string CtlDescription();

inline constexpr double kCtlRateMax = 1e9;
inline constexpr double kCtlSecondsMax = 365.0 * 86'400;
inline constexpr uint32_t kCtlWeightMax = 1000;

}  // namespace lb
