// What a command of the newer generation is given and what comes of it, wherever it runs: in
// mongooseimctl itself or in its node.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/ctl/ctl_json.h"

namespace server {

using CtlArguments = std::map<std::string, std::string, std::less<>>;

// An entry of GraphQL's list of errors, without its path.
struct CtlFault {
  std::string message;
  std::vector<std::pair<std::string, std::string>> extensions;  // "code" among them
};

struct CtlAnswer {
  CtlJson data = CtlJson::Null();
  std::vector<CtlFault> faults;
};

}  // namespace server
