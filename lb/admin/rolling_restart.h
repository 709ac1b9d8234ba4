// `mongooselb ctl rolling-restart POOL`: leads a rolling restart (rollout.h) of a running
// balancer's pool: asks how its nodes are, gives the orders, runs the hook, and tells the balancer
// how it goes, where others see it and leave pause, resume and abort (lb/control/rollout_board.h).
//
// It outlives the balancer's upgrade and restart. SIGINT, SIGTERM and SIGHUP abort: the node that
// is out is brought back first. SIGINT or SIGTERM once more, and it ends where it is.
#pragma once

#include "net/ctl/ctl_client.h"

namespace lb {

// A net::CtlExit.
int RunRollingRestart(net::CtlClient& client);

}  // namespace lb
