// Which rooms of a node live, for all its workers: how many a service has, and what is listed
// (XEP-0045 section 6.3). What stays without anybody in it is the store's to know.
//
// Thread-safe. Outlives the hosts.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/store/store.h"

namespace server {

class RoomDirectory {
 public:
  struct Room {
    std::string name;
    bool listed = true;
  };

  // False: the service has `most` already.
  bool Add(const std::string& jid, Room room, uint32_t most);
  void Set(const std::string& jid, Room room);
  void Remove(const std::string& jid);

  std::optional<Room> Find(std::string_view jid) const;
  // In order of their addresses, behind `after`; listed ones.
  std::vector<RoomName> List(std::string_view service, std::string_view after, size_t most) const;
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Room, std::less<>> rooms_;
  std::map<std::string, uint32_t, std::less<>> counts_;  // by service
};

}  // namespace server
