// The rooms that live on this node, gathered from all of its workers.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/c2s/xmpp_service.h"

namespace server {

struct RoomFacts {
  std::string jid;
  std::string name;
  bool listed = false;  // and open
  size_t occupants = 0;
};

// `done` on one of the workers.
void GatherRooms(XmppService& service, std::string_view muc_service,
                 std::move_only_function<void(const std::vector<RoomFacts>& rooms)> done);

}  // namespace server
