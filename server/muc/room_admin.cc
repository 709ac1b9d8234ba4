// Roles and affiliations (XEP-0045 sections 8 and 9, and 10.3 to 10.8).
#include <algorithm>
#include <utility>

#include "server/muc/room.h"
#include "server/xmpp/xml_text.h"

namespace server {

Standing Room::StandingOf(const Jid& who) const {
  if (ordered_ && who == jid_)
    return {.affiliation = Affiliation::kOwner, .role = Role::kModerator};
  const Occupant* occupant = FindSession(who.full());
  return {.affiliation = AffiliationOf(who.bare()),
          .role = occupant == nullptr ? Role::kNone : occupant->role};
}

std::string Room::NickOf(const Jid& from) const {
  const Occupant* occupant = FindSession(from.full());
  return occupant == nullptr ? std::string() : occupant->nick;
}

void Room::Admin(RoomOutputs& out, const Parcel& iq, const XmlElement& query) {
  if (iq.type == StanzaType::kGet) {
    const XmlElement item = query.Child("item", kMucAdminSpace);
    if (!item) return Refuse(out, iq, StanzaError::kBadRequest);
    return List(out, iq, item);
  }
  auto items = ReadItems(query);
  if (!items) return Refuse(out, iq, items.error());
  if (const auto error = RefusalOfAll(iq, *items)) return Refuse(out, iq, *error);
  WriteBatch batch;
  if (config_.persistent) AddWrites(batch, *items);
  Commit(out, iq, std::move(batch), [iq, items = std::move(*items)](Room& room, RoomOutputs& to) {
    const std::string actor = room.NickOf(iq.from);
    room.Answer(to, iq);
    for (const Item& item : items) room.Apply(to, item, actor);
  });
}

// --- Lists.

bool Room::MayList(const Parcel& iq, std::optional<Affiliation> affiliation,
                   std::optional<Role> role) const {
  const Standing standing = StandingOf(iq.from);
  if (standing.affiliation >= Affiliation::kAdmin) return true;
  if (role) return standing.role == Role::kModerator;
  // Who may see the members of a room that is theirs alone, or that hides nobody.
  return *affiliation != Affiliation::kOutcast && (config_.members_only || config_.non_anonymous) &&
         config_.may_read_members[static_cast<size_t>(standing.role)];
}

void Room::List(RoomOutputs& out, const Parcel& iq, const XmlElement& item) const {
  const auto affiliation = ParseAffiliation(item.Attribute("affiliation"));
  const auto role = ParseRole(item.Attribute("role"));
  if (affiliation.has_value() == role.has_value() || affiliation == Affiliation::kNone ||
      role == Role::kNone) {
    return Refuse(out, iq, StanzaError::kBadRequest);
  }
  if (!MayList(iq, affiliation, role)) return Refuse(out, iq, StanzaError::kForbidden);
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", kMucAdminSpace);
  xml += '>';
  if (affiliation) {
    for (const auto& [jid, member] : members_) {
      if (member.affiliation != *affiliation) continue;
      MucItem one{
          .affiliation = *affiliation, .jid = jid, .nick = member.nick, .reason = member.reason};
      // Who is who is the moderators' to know, where it is not everybody's.
      const Standing asks = StandingOf(iq.from);
      const bool all = config_.non_anonymous || asks.role == Role::kModerator ||
                       asks.affiliation >= Affiliation::kAdmin;
      for (const Occupant* occupant : all ? FindUser(jid) : std::vector<Occupant*>()) {
        one.role = std::max(one.role, occupant->role);
        if (one.nick.empty()) one.nick = occupant->nick;
      }
      AppendItem(xml, one);
    }
  } else {
    for (const auto& occupant : occupants_) {
      if (occupant->role != *role) continue;
      AppendItem(xml, {.affiliation = AffiliationOf(occupant->bare.full()),
                       .role = *role,
                       .jid = occupant->sessions.back().full.full(),
                       .nick = occupant->nick});
    }
  }
  Answer(out, iq, xml += "</query>");
}

// --- Changes: all of a request, or none.

std::expected<Room::Item, StanzaError> Room::ReadItem(const XmlElement& element) const {
  Item item;
  if (const XmlElement reason = element.Child("reason", kMucAdminSpace)) {
    item.reason = reason.Text();
    if (item.reason.size() > ground_.limits.reason_bytes) {
      return std::unexpected(StanzaError::kNotAcceptable);
    }
  }
  const std::string nick(element.Attribute("nick"));
  const auto affiliation = element.Find("affiliation");
  const auto role = element.Find("role");
  if (affiliation) {
    item.affiliation = ParseAffiliation(*affiliation);
    if (!item.affiliation) return std::unexpected(StanzaError::kBadRequest);
    const auto jid_text = element.Find("jid");
    if (!jid_text) {  // of an occupant by its nick
      const Occupant* occupant = FindNick(nick);
      if (occupant == nullptr) return std::unexpected(StanzaError::kItemNotFound);
      item.jid = occupant->bare.full();
      return item;
    }
    const auto jid = Jid::Parse(*jid_text);
    if (!jid || jid->local().empty()) return std::unexpected(StanzaError::kJidMalformed);
    item.jid = jid->bare();
    // Section 9.5: a nick is kept for it.
    if (!nick.empty() && *item.affiliation >= Affiliation::kMember) {
      if (nick.size() > ground_.limits.nick_bytes || !jid_.With(nick)) {
        return std::unexpected(StanzaError::kJidMalformed);
      }
      item.nick = jid_.With(nick)->resource();
    }
    return item;
  }
  const auto to = ParseRole(role.value_or(std::string_view()));
  if (!to || nick.empty()) return std::unexpected(StanzaError::kBadRequest);
  const auto in_room = jid_.With(nick);
  if (!in_room || FindNick(in_room->resource()) == nullptr) {
    return std::unexpected(StanzaError::kItemNotFound);
  }
  item.nick = in_room->resource();
  item.role = *to;
  return item;
}

std::expected<std::vector<Room::Item>, StanzaError> Room::ReadItems(const XmlElement& query) const {
  std::vector<Item> items;
  for (XmlElement element = query.FirstChild(); element; element = element.Next()) {
    if (!element.Is("item", kMucAdminSpace)) continue;
    if (items.size() >= ground_.limits.items) {
      return std::unexpected(StanzaError::kPolicyViolation);
    }
    auto item = ReadItem(element);
    if (!item) return std::unexpected(item.error());
    items.push_back(std::move(*item));
  }
  if (items.empty()) return std::unexpected(StanzaError::kBadRequest);
  return items;
}

std::optional<StanzaError> Room::RefusalOf(const Parcel& iq, const Item& item) const {
  const Standing actor = StandingOf(iq.from);
  if (!item.affiliation) {
    const Occupant* target = FindNick(item.nick);
    if (target == nullptr) return StanzaError::kItemNotFound;
    return RefusalOfRole(actor, StandingOf(target->sessions.back().full), item.role);
  }
  // Section 9.1: nobody bans itself.
  if (*item.affiliation == Affiliation::kOutcast && item.jid == iq.from.bare() &&
      actor.affiliation >= Affiliation::kAdmin) {
    return StanzaError::kConflict;
  }
  return RefusalOfAffiliation(actor.affiliation, AffiliationOf(item.jid), *item.affiliation);
}

std::optional<StanzaError> Room::RefusalOfAll(const Parcel& iq,
                                              const std::vector<Item>& items) const {
  std::map<std::string, Affiliation> after;
  for (const Item& item : items) {
    if (auto error = RefusalOf(iq, item)) return error;
    if (item.affiliation) after[item.jid] = *item.affiliation;
  }
  if (after.empty()) return std::nullopt;
  // Section 10.4: a room is never without an owner.
  size_t owners = 0;
  size_t size = members_.size();
  for (const auto& [jid, member] : members_) {
    owners += member.affiliation == Affiliation::kOwner && !after.contains(jid) ? 1U : 0U;
  }
  for (const auto& [jid, affiliation] : after) {
    owners += affiliation == Affiliation::kOwner ? 1U : 0U;
    size += affiliation != Affiliation::kNone && !members_.contains(jid) ? 1U : 0U;
  }
  if (owners == 0) return StanzaError::kConflict;
  if (size > ground_.limits.affiliations) return StanzaError::kResourceConstraint;
  return std::nullopt;
}

void Room::WriteAffiliation(WriteBatch& batch, std::string_view jid, const Member& member) const {
  batch.emplace_back(
      SetRoomAffiliation{.room = jid_.full(),
                         .row = {.jid = std::string(jid),
                                 .affiliation = std::string(ToString(member.affiliation)),
                                 .nick = member.nick,
                                 .reason = member.reason}});
}

void Room::AddWrites(WriteBatch& batch, const std::vector<Item>& items) const {
  for (const Item& item : items) {
    if (!item.affiliation) continue;
    WriteAffiliation(batch, item.jid,
                     {.affiliation = *item.affiliation, .nick = item.nick, .reason = item.reason});
  }
}

void Room::PutMember(const std::string& jid, Member member) {
  if (member.affiliation == Affiliation::kNone) {
    members_.erase(jid);
  } else {
    members_[jid] = std::move(member);
  }
  for (Occupant* occupant : FindUser(jid)) occupant->shown[0] = occupant->shown[1] = nullptr;
}

void Room::Apply(RoomOutputs& out, const Item& item, std::string_view actor) {
  if (item.affiliation) return SetAffiliation(out, item, actor);
  // Between the request and now it may have gone.
  Occupant* occupant = FindNick(item.nick);
  if (occupant != nullptr) SetRole(out, *occupant, item.role, item.reason, actor);
}

void Room::SetRole(RoomOutputs& out, Occupant& occupant, Role role, std::string_view reason,
                   std::string_view actor) {
  const Affiliation affiliation = AffiliationOf(occupant.bare.full());
  if (role == Role::kNone) {
    return Expel(out, occupant,
                 {.item = {.affiliation = affiliation,
                           .actor = std::string(actor),
                           .reason = std::string(reason)},
                  .statuses = {MucStatus::kKicked}});
  }
  const Role before = std::exchange(occupant.role, role);
  occupant.shown[0] = occupant.shown[1] = nullptr;
  if (IsTold(before) && !IsTold(role)) {
    // Others see it no longer.
    occupant.role = before;
    TellGone(out, occupant, {}, {.item = {.affiliation = affiliation}});
    occupant.role = role;
  }
  TellPresence(out, occupant, {.reason = reason, .actor = actor});
}

// What becomes of who is here is section 5.1.2 again, but nobody loses a role that it was given.
void Room::SetAffiliation(RoomOutputs& out, const Item& item, std::string_view actor) {
  const Affiliation before = AffiliationOf(item.jid);
  const Affiliation now = *item.affiliation;
  PutMember(item.jid, {.affiliation = now, .nick = item.nick, .reason = item.reason});
  for (Occupant* occupant : FindUser(item.jid)) {
    const bool out_of_members = config_.members_only && now < Affiliation::kMember;
    if (now == Affiliation::kOutcast || out_of_members) {
      Expel(out, *occupant,
            {.item = {.affiliation = now, .actor = std::string(actor), .reason = item.reason},
             .statuses = {now == Affiliation::kOutcast ? MucStatus::kBanned
                                                       : MucStatus::kNotMemberNow}});
      continue;
    }
    Role role = RoleOnEntry(now, config_.moderated);
    const bool was_privileged = before >= Affiliation::kAdmin;
    if (!was_privileged && (now > before || !config_.moderated)) {
      role = std::max(role, occupant->role);
    }
    if (!was_privileged && occupant->role == Role::kModerator) role = Role::kModerator;
    SetRole(out, *occupant, role, item.reason, actor);
  }
}

}  // namespace server
