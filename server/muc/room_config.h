// How a room is configured (XEP-0045 sections 10.1 and 10.2, form muc#roomconfig of 15.5.3): read
// from forms, written as forms, for owners and for the store alike.
//
// A value. Pure; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "server/im/iq.h"
#include "server/modules/data_form.h"
#include "server/muc/standing.h"

namespace server {

// Every list and text of a room ends somewhere.
struct RoomLimits {
  uint32_t occupants = 5'000;          // a room
  uint32_t sessions = 10;              // a nick
  uint32_t affiliations = 10'000;      // a room
  uint32_t history = 100;              // messages a room
  uint32_t history_bytes = 512 << 10;  // of them
  uint32_t nick_bytes = 256;
  uint32_t name_bytes = 256;
  uint32_t description_bytes = 4'096;
  uint32_t password_bytes = 256;
  uint32_t subject_bytes = 4'096;
  uint32_t reason_bytes = 1'024;
  uint32_t items = 200;   // of one request (muc#admin)
  uint32_t invites = 20;  // of one message
};

enum class AllowPm : uint8_t { kAnyone, kParticipants, kModerators, kNone };

struct RoomConfig {
  std::string name;
  std::string description;
  std::string lang;
  std::string password;  // where password_protected
  bool persistent = false;
  bool listed = true;  // publicroom
  bool members_only = false;
  bool moderated = false;
  bool password_protected = false;
  bool change_subject = false;  // by participants
  bool allow_invites = false;   // by members, where members_only; else anyone may
  bool non_anonymous = false;
  bool archive = true;
  AllowPm allow_pm = AllowPm::kAnyone;
  uint32_t occupants_max = 0;  // 0: the service's limit
  uint32_t history = 20;       // messages that who enters gets at most
  // By Role.
  std::array<bool, kRoles> presence_told = {false, true, true, true};
  std::array<bool, kRoles> may_read_members = {false, false, true, true};

  friend bool operator==(const RoomConfig&, const RoomConfig&) = default;
};

// The form, filled in. `type`: "form" for people (with titles and choices), "submit" for stores.
std::string RoomConfigXml(const RoomConfig& config, std::string_view type, const RoomLimits& limits,
                          const std::vector<FormField>& lists = {});

// `base` with what the form says; fields that it has not stay. not-acceptable where a value is none
// or too long, a password is wanted and empty, or the field is unknown within muc#roomconfig.
std::expected<RoomConfig, StanzaError> ReadRoomConfig(const DataForm& form, RoomConfig base,
                                                      const RoomLimits& limits);

}  // namespace server
