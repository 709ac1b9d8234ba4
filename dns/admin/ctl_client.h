// `mongoosedns ctl` (net/ctl/ctl_client.h), with the DNS server's commands and texts.
#pragma once

namespace dns {

inline constexpr const char* kCtlSocketDefault = "/run/mongoosedns/ctl.sock";

// argv[0] is not looked at; argv[1] is the first word behind "ctl". Returns a net::CtlExit.
int RunCtl(int argc, const char* const* argv);

}  // namespace dns
