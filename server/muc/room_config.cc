#include "server/muc/room_config.h"

#include <algorithm>
#include <charconv>

#include "server/modules/guards.h"
#include "server/muc/muc_xml.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kPrefix = "muc#roomconfig_";

struct TextField {
  std::string_view var;
  std::string_view type;
  std::string_view label;
  std::string RoomConfig::* at;
  uint32_t RoomLimits::* limit;
};
constexpr std::array kTexts = {
    TextField{"roomname", "text-single", "Name", &RoomConfig::name, &RoomLimits::name_bytes},
    TextField{"roomdesc", "text-single", "Description", &RoomConfig::description,
              &RoomLimits::description_bytes},
    TextField{"lang", "text-single", "Language of the discussion", &RoomConfig::lang,
              &RoomLimits::name_bytes},
    TextField{"roomsecret", "text-private", "Password", &RoomConfig::password,
              &RoomLimits::password_bytes},
};

struct FlagField {
  std::string_view var;
  std::string_view label;
  bool RoomConfig::* at;
};
constexpr std::array kFlags = {
    FlagField{"persistentroom", "Stays when the last occupant leaves", &RoomConfig::persistent},
    FlagField{"publicroom", "Is listed", &RoomConfig::listed},
    FlagField{"membersonly", "Only members may enter", &RoomConfig::members_only},
    FlagField{"moderatedroom", "Who enters may only listen", &RoomConfig::moderated},
    FlagField{"passwordprotectedroom", "A password is needed to enter",
              &RoomConfig::password_protected},
    FlagField{"changesubject", "Occupants may change the subject", &RoomConfig::change_subject},
    FlagField{"allowinvites", "Members may invite", &RoomConfig::allow_invites},
    FlagField{"enablearchiving", "Messages are archived", &RoomConfig::archive},
};

constexpr std::array<std::string_view, 4> kPmNames = {"anyone", "participants", "moderators",
                                                      "none"};
constexpr std::array<uint32_t, 6> kOccupantsChoices = {10, 20, 30, 50, 100, 500};

struct RolesField {
  std::string_view var;
  std::string_view label;
  std::array<bool, kRoles> RoomConfig::* at;
};
constexpr std::array kRolesFields = {
    RolesField{"presencebroadcast", "Roles whose presence is told", &RoomConfig::presence_told},
    RolesField{"getmemberlist", "Roles that may read the list of members",
               &RoomConfig::may_read_members},
};

struct Shown {
  std::string_view var;
  std::string_view type;
  std::string_view label;
  std::vector<std::string> values;
  std::vector<std::string> choices;
};

// With labels and choices where people are to read it.
void AppendField(std::string& out, const Shown& field, bool people) {
  out += "<field";
  AppendXmlAttribute(out, "var", field.var);
  if (people || field.type == "hidden") AppendXmlAttribute(out, "type", field.type);
  if (people && !field.label.empty()) AppendXmlAttribute(out, "label", field.label);
  out += '>';
  for (const std::string& value : field.values) AppendXmlElement(out, "value", value);
  if (people) {
    for (const std::string& choice : field.choices) {
      out += "<option>";
      AppendXmlElement(out, "value", choice);
      out += "</option>";
    }
  }
  out += "</field>";
}

std::string Var(std::string_view name) { return std::string(kPrefix) + std::string(name); }

std::vector<std::string> RoleNames(const std::array<bool, kRoles>& roles) {
  std::vector<std::string> names;
  for (int role = 1; role < kRoles; ++role) {
    if (roles[static_cast<size_t>(role)]) names.emplace_back(ToString(static_cast<Role>(role)));
  }
  return names;
}

using Read = std::expected<void, StanzaError>;
Read Wrong() { return std::unexpected(StanzaError::kNotAcceptable); }

Read ReadNumber(std::string_view text, uint32_t most, uint32_t& to) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return Wrong();
  to = std::min(number, most);
  return {};
}

Read ReadRoles(const FormField& field, std::array<bool, kRoles>& to) {
  std::array<bool, kRoles> roles{};
  for (const std::string& value : field.values) {
    const auto role = ParseRole(value);
    if (value == "none") continue;
    if (!role) return Wrong();
    roles[static_cast<size_t>(*role)] = true;
  }
  to = roles;
  return {};
}

Read ReadChoice(std::string_view name, std::string_view value, RoomConfig& config,
                const RoomLimits& limits) {
  if (name == "whois") {
    if (value != "anyone" && value != "moderators") return Wrong();
    config.non_anonymous = value == "anyone";
    return {};
  }
  if (name == "allowpm") {
    const auto at = std::ranges::find(kPmNames, value);
    if (at == kPmNames.end()) return Wrong();
    config.allow_pm = static_cast<AllowPm>(at - kPmNames.begin());
    return {};
  }
  if (name == "maxusers") {
    if (value == "none" || value.empty()) {
      config.occupants_max = 0;
      return {};
    }
    return ReadNumber(value, limits.occupants, config.occupants_max);
  }
  if (name == "enablelogging") {  // the older name of the same wish
    const auto flag = FormBoolean(value);
    if (!flag) return Wrong();
    config.archive = *flag;
    return {};
  }
  return Wrong();
}

Read ReadField(const FormField& field, std::string_view name, RoomConfig& config,
               const RoomLimits& limits) {
  const std::string_view value =
      field.values.empty() ? std::string_view() : std::string_view(field.values.front());
  for (const RolesField& one : kRolesFields) {
    if (name == one.var) return ReadRoles(field, config.*one.at);
  }
  if (field.values.size() > 1) return Wrong();
  for (const TextField& one : kTexts) {
    if (name != one.var) continue;
    if (value.size() > limits.*one.limit) return Wrong();
    config.*one.at = value;
    return {};
  }
  for (const FlagField& one : kFlags) {
    if (name != one.var) continue;
    const auto flag = FormBoolean(value);
    if (!flag) return Wrong();
    config.*one.at = *flag;
    return {};
  }
  return ReadChoice(name, value, config, limits);
}

}  // namespace

std::string RoomConfigXml(const RoomConfig& config, std::string_view type, const RoomLimits& limits,
                          const std::vector<FormField>& lists) {
  const bool people = type == "form";
  std::string xml = "<x";
  AppendXmlAttribute(xml, "xmlns", kDataFormSpace);
  AppendXmlAttribute(xml, "type", type);
  xml += '>';
  const auto add = [&](std::string_view var, std::string_view field_type, std::string_view label,
                       std::vector<std::string> values, std::vector<std::string> choices = {}) {
    AppendField(xml, {var, field_type, label, std::move(values), std::move(choices)}, people);
  };
  if (people) AppendXmlElement(xml, "title", "Configuration of the room");
  add("FORM_TYPE", "hidden", {}, {std::string(kMucConfigForm)});
  for (const TextField& one : kTexts) {
    add(Var(one.var), one.type, one.label, {config.*one.at});
  }
  for (const FlagField& one : kFlags) {
    add(Var(one.var), "boolean", one.label, {config.*one.at ? "1" : "0"});
  }
  add(Var("whois"), "list-single", "Who may see real addresses",
      {config.non_anonymous ? "anyone" : "moderators"}, {"moderators", "anyone"});
  add(Var("allowpm"), "list-single", "Who may send private messages",
      {std::string(kPmNames[static_cast<size_t>(config.allow_pm)])},
      {kPmNames.begin(), kPmNames.end()});
  std::vector<std::string> choices;
  for (const uint32_t choice : kOccupantsChoices) {
    if (choice <= limits.occupants) choices.push_back(std::to_string(choice));
  }
  choices.emplace_back("none");
  add(Var("maxusers"), "list-single", "Occupants at most",
      {config.occupants_max == 0 ? "none" : std::to_string(config.occupants_max)}, choices);
  for (const RolesField& one : kRolesFields) {
    add(Var(one.var), "list-multi", one.label, RoleNames(config.*one.at),
        {"moderator", "participant", "visitor"});
  }
  add("muc#maxhistoryfetch", "text-single", "Messages that who enters gets at most",
      {std::to_string(config.history)});
  for (const FormField& list : lists) add(list.var, list.type, {}, list.values);
  return xml += "</x>";
}

std::expected<RoomConfig, StanzaError> ReadRoomConfig(const DataForm& form, RoomConfig base,
                                                      const RoomLimits& limits) {
  for (const FormField& field : form.fields) {
    std::string_view name = field.var;
    if (name == "muc#maxhistoryfetch") {
      const std::string_view value =
          field.values.empty() ? std::string_view() : std::string_view(field.values.front());
      if (auto read = ReadNumber(value, limits.history, base.history); !read) {
        return std::unexpected(read.error());
      }
      continue;
    }
    if (!name.starts_with(kPrefix)) continue;  // FORM_TYPE, and what others may add
    name.remove_prefix(kPrefix.size());
    if (name == "roomadmins" || name == "roomowners") continue;  // the room's own to read
    if (auto read = ReadField(field, name, base, limits); !read) {
      return std::unexpected(read.error());
    }
  }
  if (base.password_protected && base.password.empty()) {
    return std::unexpected(StanzaError::kNotAcceptable);
  }
  return base;
}

}  // namespace server
