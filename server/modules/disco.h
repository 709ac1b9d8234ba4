// Service discovery (XEP-0030) of the server and its accounts, with forms (XEP-0128) and the
// server's own capabilities (XEP-0115 section 6.3: in its stream features).
//
// What is told is what the table was given when everything was added to it.
#pragma once

#include <string>
#include <vector>

#include "server/im/iq.h"

namespace server {

struct DiscoItem {
  std::string jid;
  std::string name;
  std::string domain = {};  // of which it is told; "": of all
};
struct DiscoOptions {
  bool enabled = true;
  std::string name = "mongooseim";  // of the server's identity
  std::vector<DiscoItem> items;     // what else there is: rooms, gateways
};
void AddDisco(IqTable& table, ModuleGround& ground, const DiscoOptions& options);

// <c/> for stream features. `table` is full. Pure.
std::string ServerCaps(const IqTable& table, const DiscoOptions& options);

}  // namespace server
