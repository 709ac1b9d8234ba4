// What a node knows of sessions, gathered from all of its workers: connections from where they are,
// presence from where their users are at home, which may be two nodes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/c2s/xmpp_service.h"

namespace server {

struct SessionFacts {
  std::string full;
  // Of a connection.
  std::string ip;  // "": none now
  uint16_t port = 0;
  bool secure = false;
  int64_t bound_us = 0;
  // Of its presence, at home.
  bool available = false;
  int priority = 0;
  std::string show;    // RFC 6121 section 4.7.2.1; "": none
  std::string status;  // the first text
};

struct NodeSessions {
  std::vector<SessionFacts> connections;  // sorted by address, as the others
  std::vector<SessionFacts> presences;
};

// `done` on one of the workers.
void GatherSessions(XmppService& service,
                    std::move_only_function<void(const NodeSessions& sessions)> done);

}  // namespace server
