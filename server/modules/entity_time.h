// Entity time (XEP-0202) of the server.
#pragma once

#include "server/im/iq.h"

namespace server {

struct EntityTimeOptions {
  bool enabled = true;
};
void AddEntityTime(IqTable& table, ModuleGround& ground, const EntityTimeOptions& options);

}  // namespace server
