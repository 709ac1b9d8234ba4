// The balancer's commands (net/ctl/ctl_table.h), and a request of one of them as the balancer reads
// it.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/ctl/ctl_table.h"

namespace lb {

using net::CtlArg;
using net::CtlArgKind;
using net::CtlCommand;
using net::CtlExit;
using net::CtlReply;
using net::CtlReplyLine;
using net::kCtlLineMax;
using net::kCtlRateMax;
using net::kCtlSecondsMax;
using net::kCtlVersion;

inline constexpr uint32_t kCtlWeightMax = 1000;

std::span<const CtlCommand> CtlCommands();
const CtlCommand* FindCtlCommand(std::string_view name);

struct CtlRequest {
  const CtlCommand* command = nullptr;
  std::string node;
  std::string pool;
  std::string address;
  std::string connection;    // an id
  std::string after;         // the id where the page before ended
  bool connections = false;  // list them
  std::string leader;        // of a rolling restart, and what it reports
  std::string text;
  bool ended = false;
  bool paused = false;
  uint32_t resumes = 0;
  std::optional<double> rate;        // a second, >= 0
  std::optional<double> deadline_s;  // >= 0
  std::optional<uint32_t> weight;
  bool weight_default = false;
  bool wait = false;
  bool force = false;
  bool dry_run = false;
  bool forwarded = false;  // by the new process after an upgrade, which saw to the rest
};

// Reads one line. The error says what is wrong and what there is.
std::expected<CtlRequest, std::string> ParseCtlRequest(std::string_view line);
CtlRequest ReadCtlRequest(const net::CtlValues& values);

std::string CtlDescription();

}  // namespace lb
