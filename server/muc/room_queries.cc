// What is asked of a room, and of its occupants through it: XEP-0030 with the form of XEP-0045
// section 15.5.4, 0199, self-pings (0410), moderation (0425).
#include <algorithm>
#include <utility>

#include "server/im/archive_prefs.h"
#include "server/modules/archive_request.h"
#include "server/modules/guards.h"
#include "server/muc/room.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kReservedNick = "x-roomuser-item";
constexpr size_t kTagDigits = 16;

std::string TagText(uint64_t tag) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string text(kTagDigits, '0');
  for (size_t i = kTagDigits; i-- > 0; tag >>= 4U) text[i] = kHex[tag & 15U];
  return text;
}

void AppendFeature(std::string& out, std::string_view feature) {
  out += "<feature";
  AppendXmlAttribute(out, "var", feature);
  out += "/>";
}

std::string QueryStart(std::string_view space, std::string_view node) {
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", space);
  if (!node.empty()) AppendXmlAttribute(xml, "node", node);
  return xml += '>';
}

}  // namespace

void Room::Iq(RoomOutputs& out, const Parcel& iq) {
  if (iq.type == StanzaType::kResult || iq.type == StanzaType::kError) {
    IqAnswer(out, iq);
    if (iq.traits.no_session) Error(out, iq);
    return;
  }
  iq.to.is_bare() ? IqToRoom(out, iq) : IqToOccupant(out, iq);
}

void Room::IqToRoom(RoomOutputs& out, const Parcel& iq) {
  const bool get = iq.type == StanzaType::kGet;
  const auto content = ReadContent(iq.content_view());
  const XmlElement payload = content ? content->root().FirstChild() : XmlElement();
  if (!payload) return Refuse(out, iq, StanzaError::kBadRequest);
  if (payload.Is("query", kMucAdminSpace)) return Admin(out, iq, payload);
  if (payload.Is("query", kMucOwnerSpace)) return Owner(out, iq, payload);
  if (get && payload.Is("query", kDiscoInfoSpace)) return Info(out, iq, payload);
  if (get && payload.Is("query", kDiscoItemsSpace)) return Items(out, iq);
  if (get && payload.Is("ping", kPingSpace)) return Answer(out, iq);
  if (!get && payload.Is("moderate", kModerateSpace)) return Moderate(out, iq, payload);
  Refuse(out, iq, StanzaError::kServiceUnavailable);
}

// To an occupant's session, from another; its own by XEP-0410, which the room answers itself.
void Room::IqToOccupant(RoomOutputs& out, const Parcel& iq) {
  const Occupant* by = FindSession(iq.from.full());
  if (by == nullptr) return Refuse(out, iq, StanzaError::kNotAcceptable);
  const Occupant* to = FindNick(iq.to.resource());
  if (to == nullptr) return Refuse(out, iq, StanzaError::kItemNotFound);
  if (to == by && iq.iq_space == kPingSpace) return Answer(out, iq);
  uint64_t tag = 0;
  for (const Session& session : by->sessions) {
    if (session.full == iq.from) tag = session.tag;
  }
  Parcel request = iq;
  request.from = by->in_room;
  request.id = TagText(tag) + iq.id;
  request.mark = {};
  // A vCard is the account's.
  const bool of_account = iq.iq_space == "vcard-temp";
  Send(out, std::move(request), {of_account ? to->bare : to->sessions.back().full});
}

void Room::IqAnswer(RoomOutputs& out, const Parcel& answer) const {
  const Occupant* to = FindNick(answer.to.resource());
  const std::vector<Occupant*> of_account = FindUser(answer.from.bare());
  const Occupant* by = FindSession(answer.from.full());
  if (by == nullptr && answer.from.is_bare() && !of_account.empty()) by = of_account.front();
  if (to == nullptr || by == nullptr || answer.id.size() < kTagDigits) return;
  for (const Session& session : to->sessions) {
    if (!answer.id.starts_with(TagText(session.tag))) continue;
    Parcel stanza = answer;
    stanza.from = by->in_room;
    stanza.id = answer.id.substr(kTagDigits);
    stanza.mark = {};
    return Send(out, std::move(stanza), {session.full});
  }
}

// --- XEP-0030, sections 6.4 and 6.5; the reserved nick of section 7.12.

void Room::Info(RoomOutputs& out, const Parcel& iq, const XmlElement& query) const {
  const std::string_view node = query.Attribute("node");
  const bool hidden = locked_ && AffiliationOf(iq.from.bare()) != Affiliation::kOwner;
  if (hidden || (!node.empty() && node != kReservedNick)) {
    return Refuse(out, iq, StanzaError::kItemNotFound);
  }
  std::string xml = QueryStart(kDiscoInfoSpace, node);
  xml += "<identity category='conference' type='text'";
  if (node == kReservedNick) {
    const auto at = members_.find(iq.from.bare());
    if (at == members_.end() || at->second.nick.empty()) {
      return Answer(out, iq, QueryStart(kDiscoInfoSpace, node) + "</query>");
    }
    AppendXmlAttribute(xml, "name", at->second.nick);
    return Answer(out, iq, xml += "/></query>");
  }
  if (!config_.name.empty()) AppendXmlAttribute(xml, "name", config_.name);
  xml += "/>";
  const auto feature = [&xml](std::string_view name) { AppendFeature(xml, name); };
  feature(kDiscoInfoSpace);
  feature(kDiscoItemsSpace);
  feature(kMucSpace);
  feature(config_.listed ? "muc_public" : "muc_hidden");
  feature(config_.persistent ? "muc_persistent" : "muc_temporary");
  feature(config_.members_only ? "muc_membersonly" : "muc_open");
  feature(config_.moderated ? "muc_moderated" : "muc_unmoderated");
  feature(config_.non_anonymous ? "muc_nonanonymous" : "muc_semianonymous");
  feature(config_.password_protected ? "muc_passwordprotected" : "muc_unsecured");
  feature(kMucRequestForm);
  feature("http://jabber.org/protocol/muc#stable_id");
  feature("http://jabber.org/protocol/muc#self-ping-optimization");
  feature(kOccupantIdSpace);
  feature(kPingSpace);
  feature("urn:xmpp:sid:0");
  feature(kModerateSpace);
  feature(kRetractSpace);
  if (config_.archive) {
    feature(kArchiveSpace);
    feature(std::string(kArchiveSpace) + "#extended");
  }
  const auto flag = [](bool value) { return std::string(value ? "1" : "0"); };
  const DataForm form{
      .type = "result",
      .fields = {
          {.var = "FORM_TYPE", .type = "hidden", .values = {std::string(kMucInfoForm)}},
          {.var = "muc#roominfo_description", .type = {}, .values = {config_.description}},
          {.var = "muc#roominfo_subject", .type = {}, .values = {subject_.text}},
          {.var = "muc#roominfo_occupants", .type = {}, .values = {std::to_string(occupants())}},
          {.var = "muc#roominfo_lang", .type = {}, .values = {config_.lang}},
          {.var = "muc#roomconfig_roomname", .type = {}, .values = {config_.name}},
          {.var = "muc#roomconfig_changesubject",
           .type = "boolean",
           .values = {flag(config_.change_subject)}},
          {.var = "muc#roominfo_changesubject",
           .type = "boolean",
           .values = {flag(config_.change_subject)}},
          {.var = "muc#maxhistoryfetch", .type = {}, .values = {std::to_string(config_.history)}}}};
  AppendDataForm(xml, form);
  Answer(out, iq, xml += "</query>");
}

// Who is there is told to those who could see it anyway.
void Room::Items(RoomOutputs& out, const Parcel& iq) const {
  std::string xml = QueryStart(kDiscoItemsSpace, {});
  const Standing standing = StandingOf(iq.from);
  const bool open = config_.listed && !config_.members_only && !config_.password_protected &&
                    !locked_ && standing.affiliation != Affiliation::kOutcast;
  if (open || standing.role != Role::kNone) {
    for (const auto& occupant : occupants_) {
      if (!IsTold(occupant->role)) continue;
      xml += "<item";
      AppendXmlAttribute(xml, "jid", occupant->in_room.full());
      xml += "/>";
    }
  }
  Answer(out, iq, xml += "</query>");
}

// --- XEP-0425 with XEP-0424: nobody gets the message any more, all are told.

void Room::Moderate(RoomOutputs& out, const Parcel& iq, const XmlElement& moderate) {
  const Occupant* by = FindSession(iq.from.full());
  if (by == nullptr || by->role != Role::kModerator) {
    return Refuse(out, iq, StanzaError::kForbidden);
  }
  if (!moderate.Child("retract", kRetractSpace)) {
    return Refuse(out, iq, StanzaError::kFeatureNotImplemented);
  }
  const auto id = ParseArchiveId(moderate.Attribute("id"));
  if (!id) return Refuse(out, iq, StanzaError::kItemNotFound);
  const auto said = std::ranges::find(said_, *id, &Said::id);
  if (!config_.archive && said == said_.end()) return Refuse(out, iq, StanzaError::kItemNotFound);
  std::string inner = "<moderated";
  AppendXmlAttribute(inner, "xmlns", kModerateSpace);
  AppendXmlAttribute(inner, "by", by->in_room.full());
  ((inner += '>') += OccupantIdXml(by->id)) += "</moderated>";
  if (const XmlElement reason = moderate.Child("reason", kModerateSpace)) {
    const std::string text = reason.Text();
    if (text.size() > ground_.limits.reason_bytes) {
      return Refuse(out, iq, StanzaError::kNotAcceptable);
    }
    AppendXmlElement(inner, "reason", text);
  }
  WriteBatch batch;
  if (config_.archive) {
    std::string grave = "<retracted";
    AppendXmlAttribute(grave, "xmlns", kRetractSpace);
    AppendXmlAttribute(grave, "stamp", DateTimeText(ground_.unix_us()));
    ((grave += '>') += inner) += "</retracted>";
    const bool known = said != said_.end();
    Parcel stanza = RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat,
                               known ? said->stanza.from : jid_, std::move(grave),
                               known ? std::string_view(said->stanza.id) : std::string_view());
    std::string xml;
    AppendParcelTo(xml, stanza, {}, {}, kClientSpace);
    batch.emplace_back(ReplaceArchive{.owner = jid_.full(), .id = *id, .xml = std::move(xml)});
  }
  Commit(out, iq, std::move(batch), [iq, id = *id, inner](Room& room, RoomOutputs& to) {
    room.Answer(to, iq);
    const auto gone = std::ranges::find(room.said_, id, &Said::id);
    if (gone != room.said_.end()) {
      room.said_bytes_ -= gone->bytes;
      room.said_.erase(gone);
    }
    std::string content = "<retract";
    AppendXmlAttribute(content, "xmlns", kRetractSpace);
    AppendXmlAttribute(content, "id", ArchiveIdText(id));
    ((content += '>') += inner) += "</retract>";
    Parcel message =
        RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat, room.jid_, {}, room.NewId());
    message.traits.store = true;  // it is archived, and no history
    room.Publish(to, std::move(message), std::move(content));
  });
}

}  // namespace server
