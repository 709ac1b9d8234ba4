// force_stop: what ends a node that does not answer.
#pragma once

#include <sys/types.h>

namespace server {

// SIGTERM, SIGTERM again after 30 s (which ends it at once), SIGKILL after 60 s, as upstream's
// script. The exit code.
int ForceStop(pid_t pid);

}  // namespace server
