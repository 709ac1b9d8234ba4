// Messages, subject, invitations, voice (XEP-0045 sections 7.4, 7.5, 7.8, 7.13, 8.1, 8.6).
#include <algorithm>
#include <array>
#include <utility>

#include "server/im/stamps.h"
#include "server/modules/guards.h"
#include "server/muc/room.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kErrorSpace = "urn:ietf:params:xml:ns:xmpp-stanzas";

// Of an error that an occupant's side answers with: there is nobody any more. Not
// service-unavailable: clients answer so themselves, and servers for whom the user blocks.
constexpr std::array kGone = {StanzaError::kGone,
                              StanzaError::kInternalServerError,
                              StanzaError::kItemNotFound,
                              StanzaError::kJidMalformed,
                              StanzaError::kRecipientUnavailable,
                              StanzaError::kRedirect,
                              StanzaError::kRemoteServerNotFound,
                              StanzaError::kRemoteServerTimeout};

bool MeansGone(const Parcel& error) {
  if (error.traits.no_session) return true;
  if (error.kind == StanzaKind::kIq) return false;
  const auto content = ReadContent(error.content_view());
  const XmlElement element = ChildOf(content, "error", kClientSpace);
  if (!element) return false;
  return std::ranges::any_of(kGone, [&element](StanzaError condition) {
    return static_cast<bool>(element.Child(ToString(condition), kErrorSpace));
  });
}

// XEP-0313 section 5.1.3 for rooms, XEP-0334.
bool IsKept(const MessageTraits& traits) {
  if (traits.no_store || traits.no_permanent) return false;
  return traits.body || traits.encrypted || traits.store || traits.receipt || traits.subject_only;
}

}  // namespace

void Room::Message(RoomOutputs& out, const Parcel& message) {
  if (message.type == StanzaType::kError) return Error(out, message);
  const bool groupchat = message.type == StanzaType::kGroupchat;
  if (message.to.is_bare()) return groupchat ? Groupchat(out, message) : ToRoom(out, message);
  if (groupchat) return Refuse(out, message, StanzaError::kBadRequest);
  Private(out, message);
}

// --- To all.

void Room::Groupchat(RoomOutputs& out, const Parcel& message) {
  const Occupant* by = FindSession(message.from.full());
  if (by == nullptr) return Refuse(out, message, StanzaError::kNotAcceptable, "enter first");
  if (message.traits.subject_only) {
    const auto read = ReadContent(message.content_view());
    if (!ChildOf(read, "thread", kClientSpace)) {
      return SetSubject(out, *by, message, ChildOf(read, "subject", kClientSpace).Text());
    }
  }
  if (by->role < Role::kParticipant) return Refuse(out, message, StanzaError::kForbidden);
  const auto content = CleanContent(message.content, jid_.full());
  std::string written(content == nullptr ? std::string_view() : *content);
  written += OccupantIdXml(by->id);
  Parcel said = message;
  said.from = by->in_room;
  Publish(out, std::move(said), std::move(written));
}

void Room::Publish(RoomOutputs& out, Parcel message, std::string content) {
  const SenderMark mark = std::exchange(message.mark, {});
  message.traits.muc_user = false;
  const bool kept = IsKept(message.traits);
  const bool copied = kept && config_.archive;
  const uint64_t id = kept ? ground_.next_id() : 0;
  if (kept) content += StanzaIdXml(jid_.full(), id);
  message.content = std::make_shared<const std::string>(std::move(content));
  if (copied) {
    ArchiveEntry entry{.owner = jid_.full(),
                       .peer = jid_.full(),
                       .id = id,
                       .outgoing = false,
                       .origin_id = message.id,
                       .xml = {},
                       .resource = std::string(message.from.resource())};
    AppendParcelTo(entry.xml, message, {}, {}, kClientSpace);
    out.copies.push_back({std::move(entry), mark});
  } else if (mark) {
    out.settled.push_back(mark);
  }
  if (kept && !message.traits.subject_only && !message.from.is_bare()) {
    // About as many characters as the stanza has (maxchars).
    const size_t bytes = message.content->size() + message.from.full().size() + 64;
    Remember({.stanza = message, .id = id, .time_us = ground_.unix_us(), .bytes = bytes});
  }
  Send(out, std::move(message), AllSessions());
}

void Room::Remember(Said said) {
  said_bytes_ += said.bytes;
  said_.push_back(std::move(said));
  const size_t most = std::min(config_.history, ground_.limits.history);
  while (!said_.empty() && (said_.size() > most || said_bytes_ > ground_.limits.history_bytes)) {
    said_bytes_ -= said_.front().bytes;
    said_.pop_front();
  }
}

void Room::RestoreHistory(const std::vector<ArchiveEntry>& entries) {
  for (const ArchiveEntry& entry : entries) {
    const auto stanza = ParseStanza(entry.xml, kClientSpace);
    const auto from = stanza ? Jid::Parse(stanza->root().Attribute("from")) : std::nullopt;
    if (!from || from->is_bare()) continue;  // the room's own words are no history
    std::string content;
    bool words = false;
    for (XmlElement child = stanza->root().FirstChild(); child; child = child.Next()) {
      if (!child.Is("subject", kClientSpace) && child.space() != kRetractSpace) words = true;
      if (child.Is("retracted", kRetractSpace)) words = false;
      child.AppendTo(content, kClientSpace);
    }
    const bool subject_alone = stanza->root().Child("subject", kClientSpace) &&
                               !stanza->root().Child("body", kClientSpace);
    if (!words || subject_alone || stanza->root().Child("retracted", kRetractSpace)) continue;
    const size_t bytes = content.size() + from->full().size() + 64;
    Parcel parcel = RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat, *from,
                               std::move(content), stanza->root().Attribute("id"));
    parcel.lang = stanza->root().lang();
    parcel.traits.body = true;
    Remember({.stanza = std::move(parcel),
              .id = entry.id,
              .time_us = static_cast<int64_t>(entry.id >> 8U),
              .bytes = bytes});
  }
}

// Section 8.1.
void Room::SetSubject(RoomOutputs& out, const Occupant& by, const Parcel& message,
                      std::string text) {
  if (by.role != Role::kModerator && !(by.role == Role::kParticipant && config_.change_subject)) {
    return Refuse(out, message, StanzaError::kForbidden);
  }
  if (text.size() > ground_.limits.subject_bytes) {
    return Refuse(out, message, StanzaError::kNotAcceptable, "the subject is too long");
  }
  const Subject subject{.text = std::move(text), .by = by.nick, .time_us = ground_.unix_us()};
  WriteBatch batch;
  if (config_.persistent) {
    batch.emplace_back(SetRoomSubject{.room = jid_.full(),
                                      .subject = subject.text,
                                      .by = subject.by,
                                      .time_us = subject.time_us});
  }
  Parcel said = message;
  said.from = by.in_room;
  Commit(out, message, std::move(batch),
         [said = std::move(said), subject, id = by.id](Room& room, RoomOutputs& to) mutable {
           room.subject_ = std::move(subject);
           const auto content = CleanContent(said.content, room.jid_.full());
           std::string written(content == nullptr ? std::string_view() : *content);
           room.Publish(to, std::move(said), written + OccupantIdXml(id));
         });
}

// --- To one (section 7.5).

void Room::Private(RoomOutputs& out, const Parcel& message) {
  const Occupant* by = FindSession(message.from.full());
  if (by == nullptr) return Refuse(out, message, StanzaError::kNotAcceptable, "enter first");
  const Occupant* to = FindNick(message.to.resource());
  if (to == nullptr) return Refuse(out, message, StanzaError::kItemNotFound);
  const Role least = config_.allow_pm == AllowPm::kAnyone         ? Role::kVisitor
                     : config_.allow_pm == AllowPm::kParticipants ? Role::kParticipant
                                                                  : Role::kModerator;
  if (config_.allow_pm == AllowPm::kNone || by->role < least) {
    return Refuse(out, message, StanzaError::kForbidden);
  }
  const auto content = CleanContent(message.content, jid_.full());
  std::string written(content == nullptr ? std::string_view() : *content);
  (written += OccupantIdXml(by->id)) += MucUserXml({});
  Parcel stanza = message;
  stanza.from = by->in_room;
  stanza.traits.muc_user = true;
  stanza.content = std::make_shared<const std::string>(std::move(written));
  // The first of its sessions has it for the account: that home says what became of it, and keeps
  // it where it is kept. The others are shown it.
  std::vector<Jid> others = SessionsOf(*to);
  const Jid first = others.front();
  others.erase(others.begin());
  Parcel shown = stanza;
  shown.mark = {};
  shown.traits.no_store = shown.traits.no_permanent = true;
  Send(out, std::move(stanza), {first});
  Send(out, std::move(shown), std::move(others));
}

// --- To the room itself.

void Room::ToRoom(RoomOutputs& out, const Parcel& message) {
  const auto content = ReadContent(message.content_view());
  if (const XmlElement x = ChildOf(content, "x", kMucUserSpace)) {
    if (x.Child("invite", kMucUserSpace)) return Invite(out, message, x);
    if (const XmlElement decline = x.Child("decline", kMucUserSpace)) {
      return Decline(out, message, decline);
    }
  }
  const auto form = ReadDataForm(ChildOf(content, "x", kDataFormSpace));
  if (form && form->form_type() == kMucRequestForm) {
    Occupant* by = FindSession(message.from.full());
    if (by == nullptr) return Refuse(out, message, StanzaError::kNotAcceptable, "enter first");
    return Voice(out, *by, message, *form);
  }
  Refuse(out, message, StanzaError::kBadRequest);
}

// Section 7.8.2: of members-only rooms who administers it, or members where they may.
bool Room::MayInvite(const Occupant& by) const {
  const Affiliation affiliation = AffiliationOf(by.bare.full());
  if (!config_.members_only) return by.role >= Role::kParticipant;
  return affiliation >= Affiliation::kAdmin ||
         (config_.allow_invites && affiliation >= Affiliation::kMember);
}

std::string Room::InvitationXml(const Occupant& by, const XmlElement& invite) const {
  std::string inner = "<invite";
  AppendXmlAttribute(inner, "from", config_.non_anonymous ? by.bare.full() : by.in_room.full());
  inner += '>';
  if (const XmlElement reason = invite.Child("reason", kMucUserSpace)) {
    AppendXmlElement(inner, "reason", reason.Text());
  }
  if (const XmlElement goes_on = invite.Child("continue", kMucUserSpace)) {
    goes_on.AppendTo(inner, kMucUserSpace);
  }
  inner += "</invite>";
  if (config_.password_protected) AppendXmlElement(inner, "password", config_.password);
  return MucUserXml(inner);
}

void Room::Invite(RoomOutputs& out, const Parcel& message, const XmlElement& x) {
  const Occupant* by = FindSession(message.from.full());
  if (by == nullptr) return Refuse(out, message, StanzaError::kNotAcceptable, "enter first");
  if (!MayInvite(*by)) return Refuse(out, message, StanzaError::kForbidden);
  struct Invited {
    Jid to;
    std::string xml;
  };
  std::vector<Invited> invited;
  WriteBatch batch;
  std::vector<std::string> members;
  for (XmlElement invite = x.FirstChild(); invite; invite = invite.Next()) {
    if (!invite.Is("invite", kMucUserSpace)) continue;
    auto to = Jid::Parse(invite.Attribute("to"));
    if (!to || to->local().empty()) return Refuse(out, message, StanzaError::kJidMalformed);
    if (invited.size() >= ground_.limits.invites) {
      return Refuse(out, message, StanzaError::kPolicyViolation, "too many at once");
    }
    const std::string bare(to->bare());
    const Affiliation affiliation = AffiliationOf(bare);
    if (affiliation == Affiliation::kOutcast) return Refuse(out, message, StanzaError::kForbidden);
    if (config_.members_only && affiliation == Affiliation::kNone) {
      if (members_.size() + members.size() >= ground_.limits.affiliations) {
        return Refuse(out, message, StanzaError::kResourceConstraint);
      }
      members.push_back(bare);
      if (config_.persistent) {
        WriteAffiliation(batch, bare,
                         {.affiliation = Affiliation::kMember, .nick = {}, .reason = {}});
      }
    }
    invited.push_back({std::move(*to), InvitationXml(*by, invite)});
  }
  Commit(out, message, std::move(batch),
         [invited = std::move(invited), members = std::move(members), mark = message.mark](
             Room& room, RoomOutputs& to) {
           for (const std::string& bare : members) {
             if (room.AffiliationOf(bare) != Affiliation::kNone) continue;
             room.PutMember(bare, {.affiliation = Affiliation::kMember, .nick = {}, .reason = {}});
           }
           for (const auto& [jid, xml] : invited) {
             Parcel stanza = RoomStanza(StanzaKind::kMessage, StanzaType::kNormal, room.jid_, xml,
                                        room.NewId());
             stanza.traits.muc_user = true;
             room.Send(to, std::move(stanza), {jid});
           }
           if (mark) to.settled.push_back(mark);
         });
}

// To whoever invited, as long as it is here: the room carries no mail to others.
void Room::Decline(RoomOutputs& out, const Parcel& message, const XmlElement& decline) const {
  const auto to = Jid::Parse(decline.Attribute("to"));
  if (!to) return Refuse(out, message, StanzaError::kJidMalformed);
  const std::string decliner(message.from.bare());
  if (AffiliationOf(decliner) == Affiliation::kOutcast) {
    return Refuse(out, message, StanzaError::kForbidden);
  }
  std::vector<Jid> told;
  if (to->bare() == jid_.full()) {
    if (const Occupant* by = FindNick(to->resource())) told = SessionsOf(*by);
  } else {
    for (const Occupant* by : FindUser(to->bare())) {
      for (Jid& session : SessionsOf(*by)) told.push_back(std::move(session));
    }
  }
  std::string inner = "<decline";
  AppendXmlAttribute(inner, "from", decliner);
  inner += '>';
  if (const XmlElement reason = decline.Child("reason", kMucUserSpace)) {
    AppendXmlElement(inner, "reason", reason.Text());
  }
  Parcel stanza = RoomStanza(StanzaKind::kMessage, StanzaType::kNormal, jid_,
                             MucUserXml(inner += "</decline>"), NewId());
  stanza.traits.muc_user = true;
  Send(out, std::move(stanza), std::move(told));
  if (message.mark) out.settled.push_back(message.mark);
}

// Section 7.13, and 8.6: what moderators answer it with.
void Room::Voice(RoomOutputs& out, Occupant& by, const Parcel& message, const DataForm& form) {
  if (form.type != "submit") return Refuse(out, message, StanzaError::kBadRequest);
  const std::string_view nick = form.Value("muc#roomnick");
  if (form.Find("muc#request_allow") == nullptr) {
    if (by.role == Role::kVisitor) AskForVoice(out, by);
  } else if (by.role != Role::kModerator) {
    return Refuse(out, message, StanzaError::kForbidden);
  } else if (FormBoolean(form.Value("muc#request_allow")).value_or(false)) {
    Occupant* asked = FindNick(nick);
    if (asked == nullptr) return Refuse(out, message, StanzaError::kItemNotFound);
    if (asked->role == Role::kVisitor) SetRole(out, *asked, Role::kParticipant, {}, by.nick);
  }
  if (message.mark) out.settled.push_back(message.mark);
}

void Room::AskForVoice(RoomOutputs& out, const Occupant& by) const {
  std::vector<Jid> moderators;
  for (const auto& one : occupants_) {
    if (one->role != Role::kModerator) continue;
    for (Jid& session : SessionsOf(*one)) moderators.push_back(std::move(session));
  }
  const DataForm form{
      .type = "form",
      .fields = {
          {.var = "FORM_TYPE", .type = "hidden", .values = {std::string(kMucRequestForm)}},
          {.var = "muc#role", .type = "list-single", .values = {"participant"}},
          {.var = "muc#jid", .type = "jid-single", .values = {by.sessions.back().full.full()}},
          {.var = "muc#roomnick", .type = "text-single", .values = {by.nick}},
          {.var = "muc#request_allow", .type = "boolean", .values = {"false"}}}};
  std::string content;
  AppendDataForm(content, form);
  Send(out,
       RoomStanza(StanzaKind::kMessage, StanzaType::kNormal, jid_, std::move(content), NewId()),
       std::move(moderators));
}

// --- Errors: of who is gone, or back to who wrote.

void Room::Error(RoomOutputs& out, const Parcel& error) {
  if (error.mark) out.settled.push_back(error.mark);
  Occupant* who = FindSession(error.from.full());
  if (who == nullptr) return;
  if (MeansGone(error)) {
    return Leave(out, *who, error.from, nullptr, {MucStatus::kKicked, MucStatus::kError});
  }
  if (error.kind != StanzaKind::kMessage || error.to.is_bare()) return;
  const Occupant* to = FindNick(error.to.resource());
  if (to == nullptr) return;
  Parcel stanza = error;
  stanza.mark = {};
  stanza.from = who->in_room;
  stanza.content = CleanContent(error.content, jid_.full());
  Send(out, std::move(stanza), SessionsOf(*to));
}

}  // namespace server
