#include "server/program/room_config_json.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "net/base/ascii.h"
#include "server/modules/guards.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

struct FlagField {
  std::string_view json;
  std::string_view var;
  bool RoomConfig::* at;
  bool inverse = false;
};
// In upstream's order, but for those that have a type of their own.
constexpr std::array kFlags = {
    FlagField{"allowChangeSubject", "changesubject", &RoomConfig::change_subject},
    FlagField{"public", "publicroom", &RoomConfig::listed},
    FlagField{"publicList", "publicroom", &RoomConfig::listed},
    FlagField{"persistent", "persistentroom", &RoomConfig::persistent},
    FlagField{"moderated", "moderatedroom", &RoomConfig::moderated},
    FlagField{"membersByDefault", "moderatedroom", &RoomConfig::moderated, true},
    FlagField{"membersOnly", "membersonly", &RoomConfig::members_only},
    FlagField{"allowUserInvites", "allowinvites", &RoomConfig::allow_invites},
    FlagField{"passwordProtected", "passwordprotectedroom", &RoomConfig::password_protected},
};
// Always so in rooms of ours.
constexpr std::array kFixed = std::to_array<std::string_view>(
    {"allowQueryUsers", "allowVisitorStatus", "allowVisitorNickchange", "allowMultipleSession"});
struct TextField {
  std::string_view json;
  std::string_view var;
  std::string RoomConfig::* at;
};
constexpr std::array kRoomTexts = {TextField{"title", "roomname", &RoomConfig::name},
                                   TextField{"description", "roomdesc", &RoomConfig::description},
                                   TextField{"password", "roomsecret", &RoomConfig::password}};

void AppendField(std::string& xml, std::string_view var, const std::vector<std::string>& values) {
  xml += "<field";
  AppendXmlAttribute(xml, "var", "muc#roomconfig_" + std::string(var));
  xml += '>';
  for (const std::string& value : values) AppendXmlElement(xml, "value", value);
  xml += "</field>";
}

// What a field of the input asks for; a text: what is wrong with it.
std::expected<std::string, std::string> FieldXml(const std::string& name, const CtlJson& value) {
  std::string xml;
  for (const TextField& field : kRoomTexts) {
    if (name != field.json) continue;
    AppendField(xml, field.var, {value.Plain()});
    return xml;
  }
  if (name == "mayGetMemberList") {
    std::vector<std::string> roles;
    for (const auto& [_, role] : value.values()) roles.push_back(net::AsciiLower(role.Plain()));
    if (roles.empty()) roles.emplace_back("none");
    AppendField(xml, "getmemberlist", roles);
    return xml;
  }
  if (name == "maxUsers") {
    AppendField(xml, "maxusers", {value.null() ? "none" : value.Plain()});
    return xml;
  }
  const std::string flag = value.Plain();
  if (flag != "true" && flag != "false") return std::unexpected("'" + name + "' is true or false");
  const bool on = flag == "true";
  if (std::ranges::find(kFixed, name) != kFixed.end()) {
    if (on) return xml;
    return std::unexpected("'" + name + "' is always true here");
  }
  if (name == "allowPrivateMessages") {
    AppendField(xml, "allowpm", {on ? "anyone" : "none"});
    return xml;
  }
  if (name == "anonymous") {
    AppendField(xml, "whois", {on ? "moderators" : "anyone"});
    return xml;
  }
  const auto field = std::ranges::find(kFlags, name, &FlagField::json);
  if (field == kFlags.end()) return std::unexpected("'" + name + "' is no field of a room");
  AppendField(xml, field->var, {on != field->inverse ? "1" : "0"});
  return xml;
}

}  // namespace

CtlJson RoomConfigJson(const RoomConfig& config) {
  CtlJson json = CtlJson::Object();
  for (const TextField& field : kRoomTexts) json.Set(field.json, CtlJson::Text(config.*field.at));
  for (const FlagField& field : kFlags) {
    json.Set(field.json, CtlJson::Bool(config.*field.at != field.inverse));
  }
  for (const std::string_view name : kFixed) json.Set(name, CtlJson::Bool(true));
  json.Set("allowPrivateMessages", CtlJson::Bool(config.allow_pm != AllowPm::kNone));
  json.Set("anonymous", CtlJson::Bool(!config.non_anonymous));
  std::vector<std::string> roles;
  for (size_t role = 1; role < config.may_read_members.size(); ++role) {
    if (config.may_read_members[role]) roles.emplace_back(ToString(static_cast<Role>(role)));
  }
  json.Set("mayGetMemberList", CtlJson::Texts(roles));
  json.Set("maxUsers",
           config.occupants_max == 0 ? CtlJson::Null() : CtlJson::Count(config.occupants_max));
  return json;
}

std::expected<std::string, std::string> RoomConfigForm(const CtlJson& input) {
  std::string xml =
      "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
      "<value>http://jabber.org/protocol/muc#roomconfig</value></field>";
  for (const auto& [name, value] : input.values()) {
    auto field = FieldXml(name, value);
    if (!field) return field;
    xml += *field;
  }
  return xml + "</x>";
}

}  // namespace server
