// Carries out one request of the control socket and words the answer. Waiting for a drain to end is
// the session's work (ctl_server.h).
//
// Control thread only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_server.h"
#include "lb/control/control.h"

namespace lb {

// The reply comes at once, or, to an order that takes its time, when `later` is called: then this
// returns nothing. `later` may be called when who asked has gone.
using CtlLater = std::move_only_function<void(CtlReply)>;
std::optional<CtlReply> RunCtlRequest(Control& control, const CtlHooks& hooks,
                                      const CtlRequest& request, CtlLater later);

// What a request of the new process means for the old one's connections: drain, shut, ready and
// maint of a node are carried out here as well, whatever the nodes look like from here. Others are
// none of its business.
void RunForwardedRequest(Control& control, std::string_view line);

// A drain as a request of the control socket.
std::string DrainLine(const std::string& node, const DrainOrder& order);
// What the old process after an upgrade is told of a request that was carried out, as `line`, or
// whose `reply` comes later.
std::vector<std::string> LinesForward(const CtlRequest& request, std::string_view line,
                                      const std::optional<CtlReply>& reply);

// The node that an order names, as "n2" or "pool/n2"; nullptr where there is none or several.
const NodeView* FindNodeView(const std::vector<PoolView>& pools, std::string_view node);

}  // namespace lb
