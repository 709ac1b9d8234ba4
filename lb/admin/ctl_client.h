// `mongooselb ctl` (net/ctl/ctl_client.h), with the balancer's commands and texts.
#pragma once

namespace lb {

inline constexpr const char* kCtlSocketDefault = "/run/mongooselb/ctl.sock";

// argv[0] is not looked at; argv[1] is the first word behind "ctl". Returns a net::CtlExit.
int RunCtl(int argc, const char* const* argv);

}  // namespace lb
