// mongoosedns' control socket (net/ctl/ctl_server.h) over its commands (ctl_commands.h). A new
// process that takes over gets the socket, too.
//
// Control loop's thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dns/control/control.h"
#include "net/ctl/ctl_server.h"
#include "net/io/socket.h"

namespace dns {

// Lets a new process take over; `answer` comes once, when it serves, or says why it does not.
using UpgradeAnswer = std::function<void(const std::string& error)>;
using UpgradeOrder = std::function<void(const std::string& binary, UpgradeAnswer answer)>;

std::unique_ptr<net::CtlServer> MakeCtlServer(net::EventLoop& loop, Control& control,
                                              net::UniqueFd listener, UpgradeOrder upgrade);

// Does what a request asks that another node passes on, and words the answer: of those commands
// alone that may be meant for all.
std::string DoFleetOrder(Control& control, const std::string& request);

}  // namespace dns
