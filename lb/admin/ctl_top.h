// `mongooselb ctl top`: the nodes as a live table. Plain escape sequences, no library; on anything
// but a terminal, one frame.
#pragma once

#include <string>

#include "lb/admin/ctl_connection.h"

namespace lb {

// Until q or Ctrl-C; returns the exit status. `once`: one frame, without control sequences.
int RunCtlTop(CtlConnection& connection, bool once, bool colours);

}  // namespace lb
