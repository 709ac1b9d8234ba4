// A room's configuration as MongooseIM's commands show it and take it (MUCRoomConfig,
// MUCRoomConfigInput).
#pragma once

#include <expected>
#include <string>

#include "server/ctl/ctl_json.h"
#include "server/muc/room_config.h"

namespace server {

CtlJson RoomConfigJson(const RoomConfig& config);
// <x/> of muc#roomconfig with what the object asks for; else what is wrong with it.
std::expected<std::string, std::string> RoomConfigForm(const CtlJson& input);

}  // namespace server
