// A session as its home knows it, and on its way to be known by another node's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/im/parcel.h"

namespace server {

// What a home knows of a session, whichever node the home is on.
struct SessionAtHome {
  SessionId id;
  std::string resource;
  uint64_t resume_tag = 0;  // SessionState's
  int8_t priority = 0;
  bool available : 1 = false;
  bool interested : 1 = false;  // has asked for the roster
  bool blocklist : 1 = false;   // has asked for the blocking list
  bool carbons : 1 = false;
  bool detached : 1 = false;
  bool resumable : 1 = false;
  bool secure : 1 = false;
  // It has some of what waited, and more waits: what comes for it alone comes behind that. Never
  // while its connection is gone: nobody knows when it will take what it has.
  bool behind : 1 = false;
};

struct MovedSession : SessionAtHome {
  std::string node = {};                               // by its name
  std::optional<std::string> presence = std::nullopt;  // its content
  std::vector<std::string> directed = {};
};

}  // namespace server
