// Software version (XEP-0092). The operating system is told where the operator wants it.
#pragma once

#include <string>

#include "server/im/iq.h"

namespace server {

struct VersionOptions {
  bool enabled = true;
  std::string name = "mongooseim";
  std::string version = MONGOOSE_VERSION;
  bool show_os = false;
};
void AddVersion(IqTable& table, ModuleGround& ground, const VersionOptions& options);

}  // namespace server
