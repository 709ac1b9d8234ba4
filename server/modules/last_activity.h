// Last activity (XEP-0012): how long the server has been up, and for how long an account has had no
// session. Of an account only who sees its presence may know (section 4).
#pragma once

#include <string_view>

#include "server/im/iq.h"

namespace server {

struct LastActivityOptions {
  bool enabled = true;
};
void AddLastActivity(IqTable& table, ModuleGround& ground, const LastActivityOptions& options);

}  // namespace server
