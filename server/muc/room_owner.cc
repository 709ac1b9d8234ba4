// Configuration and destruction (XEP-0045 section 10).
#include <algorithm>
#include <utility>

#include "server/modules/guards.h"
#include "server/muc/room.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kAdmins = "muc#roomconfig_roomadmins";
constexpr std::string_view kOwners = "muc#roomconfig_roomowners";

struct ListField {
  std::string_view var;
  Affiliation affiliation;
};
constexpr std::array kLists = {ListField{kAdmins, Affiliation::kAdmin},
                               ListField{kOwners, Affiliation::kOwner}};

}  // namespace

void Room::Owner(RoomOutputs& out, const Parcel& iq, const XmlElement& query) {
  if (AffiliationOf(iq.from.bare()) != Affiliation::kOwner) {
    return Refuse(out, iq, StanzaError::kForbidden);
  }
  if (iq.type == StanzaType::kGet) {
    std::vector<FormField> lists;
    for (const ListField& list : kLists) {
      FormField& field = lists.emplace_back(
          FormField{.var = std::string(list.var), .type = "jid-multi", .values = {}});
      for (const auto& [jid, member] : members_) {
        if (member.affiliation == list.affiliation) field.values.push_back(jid);
      }
    }
    std::string xml = "<query";
    AppendXmlAttribute(xml, "xmlns", kMucOwnerSpace);
    xml += '>';
    xml += RoomConfigXml(config_, "form", ground_.limits, lists);
    return Answer(out, iq, xml += "</query>");
  }
  if (const XmlElement destroy = query.Child("destroy", kMucOwnerSpace)) {
    return DestroyBy(out, iq, destroy);
  }
  Configure(out, iq, query.Child("x", kDataFormSpace));
}

// Sections 10.1.2, 10.1.3, 10.2.
void Room::Configure(RoomOutputs& out, const Parcel& iq, const XmlElement& x) {
  const auto form = ReadDataForm(x);
  if (!form) return Refuse(out, iq, StanzaError::kBadRequest);
  if (form->type == "cancel") {
    Answer(out, iq);
    if (locked_) End(out, "<destroy/>");  // section 10.1.3: then there is none
    return;
  }
  const bool instant = form->fields.empty();
  if (form->type != "submit" || (!instant && form->form_type() != kMucConfigForm)) {
    return Refuse(out, iq, StanzaError::kBadRequest);
  }
  auto config = ReadRoomConfig(*form, config_, ground_.limits);
  if (!config) return Refuse(out, iq, config.error());
  auto items = ReadLists(*form);
  if (!items) return Refuse(out, iq, items.error());
  if (const auto error = RefusalOfAll(iq, *items)) return Refuse(out, iq, *error);
  WriteBatch batch = WritesOf(*config);
  if (config->persistent) AddWrites(batch, *items);
  Commit(out, iq, std::move(batch),
         [iq, config = std::move(*config), items = std::move(*items)](Room& room, RoomOutputs& to) {
           room.Answer(to, iq);
           room.Reconfigure(to, config);
           for (const Item& item : items) room.Apply(to, item, room.NickOf(iq.from));
         });
}

// The lists are whole: who stands there no longer is a member from now on.
std::expected<std::vector<Room::Item>, StanzaError> Room::ReadLists(const DataForm& form) const {
  std::map<std::string, Affiliation> wanted;
  for (const ListField& list : kLists) {
    const FormField* field = form.Find(list.var);
    if (field == nullptr) continue;
    for (const auto& [jid, member] : members_) {
      if (member.affiliation == list.affiliation) wanted.try_emplace(jid, Affiliation::kMember);
    }
    for (const std::string& value : field->values) {
      const auto jid = Jid::Parse(value);
      if (!jid || jid->local().empty()) return std::unexpected(StanzaError::kJidMalformed);
      wanted[std::string(jid->bare())] = list.affiliation;
    }
  }
  std::vector<Item> items;
  for (const auto& [jid, affiliation] : wanted) {
    const auto at = members_.find(jid);
    const Affiliation before = at == members_.end() ? Affiliation::kNone : at->second.affiliation;
    if (before == affiliation) continue;
    items.push_back({.affiliation = affiliation,
                     .jid = jid,
                     .nick = at == members_.end() ? std::string() : at->second.nick});
  }
  return items;
}

// What makes `config` durable, and the room, where it becomes that.
WriteBatch Room::WritesOf(const RoomConfig& config) const {
  WriteBatch batch;
  if (config.persistent && !config_.persistent) {
    StoredRoom stored = Stored();
    stored.name = config.name;
    stored.listed = config.listed;
    stored.config = RoomConfigXml(config, "submit", ground_.limits);
    batch.emplace_back(PutRoom{std::move(stored)});
  } else if (config.persistent && config != config_) {
    batch.emplace_back(SetRoomConfig{.room = jid_.full(),
                                     .name = config.name,
                                     .listed = config.listed,
                                     .config = RoomConfigXml(config, "submit", ground_.limits)});
  } else if (!config.persistent && config_.persistent) {
    batch.emplace_back(RemoveRoom{jid_.full()});
  }
  return batch;
}

// Section 10.2.1: all are told what concerns them.
void Room::Reconfigure(RoomOutputs& out, RoomConfig config) {
  const RoomConfig before = std::exchange(config_, std::move(config));
  const bool was_locked = std::exchange(locked_, false);
  std::vector<MucStatus> statuses;
  if (before.non_anonymous != config_.non_anonymous) {
    statuses.push_back(config_.non_anonymous ? MucStatus::kNowNonAnonymous
                                             : MucStatus::kNowSemiAnonymous);
  }
  if (before.archive != config_.archive) {
    statuses.push_back(config_.archive ? MucStatus::kLogged : MucStatus::kNotLogged);
  }
  if (before != config_) statuses.push_back(MucStatus::kConfigChanged);
  if (!statuses.empty() && !was_locked) SendStatuses(out, statuses);
  // Where it is moderated no longer, nobody is silent.
  std::vector<std::string> speak;
  std::vector<std::string> leave;
  for (const auto& occupant : occupants_) {
    const Affiliation affiliation = AffiliationOf(occupant->bare.full());
    if (config_.members_only && affiliation < Affiliation::kMember) {
      leave.push_back(occupant->nick);
    } else if (before.moderated && !config_.moderated && occupant->role == Role::kVisitor) {
      speak.push_back(occupant->nick);
    }
  }
  for (const std::string& nick : speak) SetRole(out, *FindNick(nick), Role::kParticipant, {}, {});
  for (const std::string& nick : leave) {
    Expel(out, *FindNick(nick), {.statuses = {MucStatus::kMembersOnlyNow}});
  }
}

// --- Section 10.9.

void Room::DestroyBy(RoomOutputs& out, const Parcel& iq, const XmlElement& destroy) {
  std::string xml = "<destroy";
  if (const auto venue = destroy.Find("jid")) {
    const auto jid = Jid::Parse(*venue);
    if (!jid) return Refuse(out, iq, StanzaError::kJidMalformed);
    AppendXmlAttribute(xml, "jid", jid->full());
  }
  xml += '>';
  for (const std::string_view name : {"reason", "password"}) {
    const XmlElement child = destroy.Child(name, kMucOwnerSpace);
    if (!child) continue;
    const std::string text = child.Text();
    if (text.size() > ground_.limits.reason_bytes) {
      return Refuse(out, iq, StanzaError::kNotAcceptable);
    }
    AppendXmlElement(xml, name, text);
  }
  xml += "</destroy>";
  WriteBatch batch;
  if (config_.persistent) batch.emplace_back(RemoveRoom{jid_.full()});
  Commit(out, iq, std::move(batch), [iq, xml = std::move(xml)](Room& room, RoomOutputs& to) {
    room.Answer(to, iq);
    room.End(to, xml);
  });
}

RoomOutputs Room::Destroy(const std::string& reason) {
  RoomOutputs out;
  std::string xml = "<destroy>";
  if (!reason.empty()) AppendXmlElement(xml, "reason", reason);
  End(out, xml += "</destroy>");
  return out;
}

void Room::End(RoomOutputs& out, const std::string& destroy_xml) {
  destroyed_ = true;
  for (const auto& occupant : occupants_) {
    TellGoneToSelf(out, *occupant, SessionsOf(*occupant), {.extra = destroy_xml});
  }
  occupants_.clear();
  by_nick_.clear();
  by_session_.clear();
}

}  // namespace server
