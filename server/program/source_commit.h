// The commit of the sources that this program was built from, for `server status` and reports of
// faults.
#pragma once

#include <string>

namespace server {

// Abbreviated, with "+" where files were changed; "" for sources that are no checkout.
std::string SourceCommit();

}  // namespace server
