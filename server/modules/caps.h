// The verification string of entity capabilities (XEP-0115 section 5): a hash of what an entity
// says about itself, so that nobody asks twice.
//
// Pure; thread-safe.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/modules/data_form.h"

namespace server {

struct DiscoIdentity {
  std::string category;
  std::string type;
  std::string name;
  std::string lang;
};

// Base64 of the SHA-1. In any order; written sorted.
std::string CapsVer(std::vector<DiscoIdentity> identities, std::vector<std::string> features,
                    std::vector<DataForm> forms);

}  // namespace server
