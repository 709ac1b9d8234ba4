// The DNS server's commands (net/ctl/ctl_table.h): the server reads requests by them, the client
// its command line.
//
// Pure; thread-safe.
#pragma once

#include <span>

#include "net/ctl/ctl_table.h"

namespace dns {

std::span<const net::CtlCommand> CtlCommands();

}  // namespace dns
