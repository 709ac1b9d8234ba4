// `mongooseim start`: the node goes into the background, and who started it learns what became of
// it: it returns when the node can be called, or with the node's own words.
#pragma once

#include <string>

#include "server/program/node_folder.h"
#include "server/program/run_node.h"

namespace server {

// In the process that was called: its exit code. In the background one it does not return until the
// node has ended, and `*in_background` says so.
struct DaemonResult {
  bool in_background = false;
  RunResult node;     // of the background one
  int exit_code = 0;  // of the one that was called
};
DaemonResult RunInBackground(const NodeFolder& folder);

}  // namespace server
