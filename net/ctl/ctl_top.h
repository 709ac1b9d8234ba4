// `PROGRAM ctl top`: a table that lives. Plain escape sequences, no library; on anything but a
// terminal, one frame after the other.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>

#include "net/ctl/ctl_text.h"

namespace net {

struct CtlTopOptions {
  bool live = false;    // a terminal's whole screen, until q or Ctrl-C
  uint32_t rounds = 0;  // frames; 0 = no end where live, else one
  TextStyle style;
};

// One frame, which may ask the server; the error ends it all.
using CtlFrame = std::function<std::expected<std::string, std::string>(const TextStyle& style)>;

// The error is the frame's.
std::expected<void, std::string> RunCtlTop(const CtlTopOptions& options, const CtlFrame& frame);

// The whole command, with `once` and `rounds` as its arguments: a table that lives on a terminal,
// one frame elsewhere and with --json. `frame` is told whether it lives. The exit status.
class CtlClient;
using CtlLiveFrame =
    std::function<std::expected<std::string, std::string>(const TextStyle& style, bool live)>;
int RunCtlTop(const CtlClient& client, const CtlLiveFrame& frame);

}  // namespace net
