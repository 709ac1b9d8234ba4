// What a node knows of its own sessions, gathered from all of its workers: connections from where
// they are, presence from where their users are at home.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/c2s/xmpp_service.h"

namespace server {

struct SessionFacts {
  std::string full;
  std::string ip;  // "": no connection now
  uint16_t port = 0;
  bool secure = false;
  int64_t bound_us = 0;
  bool available = false;
  int priority = 0;
  std::string show;    // RFC 6121 section 4.7.2.1; "": none
  std::string status;  // the first text
};

// `done` on one of the workers, sorted by address.
void GatherSessions(XmppService& service,
                    std::move_only_function<void(std::vector<SessionFacts>)> done);

}  // namespace server
