// XMPP ping (XEP-0199): who asks the server, or an account that it may see, is answered.
#pragma once

#include "server/im/iq.h"

namespace server {

struct PingOptions {
  bool enabled = true;
};
void AddPing(IqTable& table, ModuleGround& ground, const PingOptions& options);

}  // namespace server
