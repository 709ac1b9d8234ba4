// `mongooselb ctl`: sends one command over the control socket and prints the answer, as a table or,
// with --json, as the balancer sent it. Plain blocking I/O in a process of its own.
//
// Exit status, see CtlExit: 0 done, 1 refused (the reason on stderr), 2 wrong usage, 3 no such node
// or pool, or the balancer cannot be reached, 4 the deadline came with connections left.
#pragma once

namespace lb {

inline constexpr const char* kCtlSocketDefault = "/run/mongooselb/ctl.sock";

// argv[0] is not looked at; argv[1] is the first word behind "ctl".
int RunCtl(int argc, const char* const* argv);

}  // namespace lb
