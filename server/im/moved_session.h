// A session as its home knows it, on its way to be known by another node's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/im/parcel.h"

namespace server {

struct MovedSession {
  SessionId id;
  std::string node;  // by its name, where it goes from one node to another
  std::string resource;
  std::optional<std::string> presence;  // its content
  std::vector<std::string> directed;
  uint64_t resume_tag = 0;
  int8_t priority = 0;
  bool available = false;
  bool interested = false;
  bool blocklist = false;
  bool carbons = false;
  bool detached = false;
  bool resumable = false;
  bool secure = false;
  bool behind = false;
};

}  // namespace server
