// Entering, presence, nicks, leaving (XEP-0045 sections 7.1, 7.2, 7.6, 7.7, 7.14).
#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "server/im/stamps.h"
#include "server/modules/guards.h"
#include "server/muc/room.h"
#include "server/xmpp/date_time.h"

namespace server {
namespace {

constexpr int64_t kSecond = 1'000'000;

// Refusals of who wants in or another nick show what was wanted (sections 7.2 and 7.6): clients
// know them by that.
std::string OfEntry(std::string_view error_xml) {
  return "<x xmlns='http://jabber.org/protocol/muc'/>" + std::string(error_xml);
}

// Without blanks at its ends or two in a row: nobody can look like another by them.
std::string CleanNick(std::string_view nick) {
  std::string clean;
  for (const char c : nick) {
    if (c == ' ' && (clean.empty() || clean.back() == ' ')) continue;
    clean += c;
  }
  if (clean.ends_with(' ')) clean.pop_back();
  return clean;
}

bool SamePassword(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::optional<uint64_t> NumberOf(const XmlElement& element, std::string_view name) {
  const std::string_view text = element ? element.Attribute(name) : std::string_view();
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

void AppendStatuses(std::string& out, const std::vector<MucStatus>& statuses) {
  for (const MucStatus status : statuses) AppendStatus(out, status);
}

}  // namespace

void Room::Presence(RoomOutputs& out, const Parcel& presence) {
  Occupant* occupant = FindSession(presence.from.full());
  switch (presence.type) {
    case StanzaType::kUnavailable:
      if (occupant == nullptr) return;
      return Leave(out, *occupant, presence.from, CleanContent(presence.content, jid_.full()), {});
    case StanzaType::kError:
      return Error(out, presence);
    case StanzaType::kProbe: {
      // Whoever asks is in the room, or learns nothing.
      Occupant* asked = FindNick(presence.to.resource());
      if (occupant == nullptr || asked == nullptr) return;
      Parcel shown = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable, asked->in_room, {});
      shown.content = Shown(*asked, SeesAddresses(*occupant));
      return Send(out, std::move(shown), {presence.from});
    }
    case StanzaType::kAvailable:
      break;
    default:
      return;  // nobody subscribes to a room
  }
  const auto content = presence.content_view().contains(kMucSpace)
                           ? ReadContent(presence.content_view())
                           : std::nullopt;
  const XmlElement x = ChildOf(content, "x", kMucSpace);
  if (occupant == nullptr) {
    // One that believes to be in the room and is not: it hears that, and does not come in unaware
    // of it, without history and the others' presence.
    if (!x) {
      return Refuse(out, presence, StanzaError::kItemNotFound,
                    "enter the room before you send it your presence");
    }
    return Enter(out, presence, x, false);
  }
  const std::string nick = CleanNick(presence.to.resource());
  if (nick != occupant->nick) return ChangeNick(out, *occupant, presence, nick);
  if (!x) return Update(out, *occupant, presence);
  // It lost what it knew and enters again; nobody else notices.
  RemoveSession(*occupant, presence.from.full());
  AddSession(*occupant, presence.from, CleanContent(presence.content, jid_.full()));
  Welcome(out, *occupant, x, {.fresh = presence.from, .id = presence.id, .fresh_only = true});
}

// Section 7.2, in its order.
std::optional<std::string> Room::RefusalToEnter(const Parcel& presence, std::string_view nick,
                                                const XmlElement& x) const {
  const std::string bare(presence.from.bare());
  const Affiliation affiliation = AffiliationOf(bare);
  if (nick.empty()) return ErrorXml(StanzaError::kJidMalformed, "a nick is needed");
  if (nick.size() > ground_.limits.nick_bytes) {
    return ErrorXml(StanzaError::kNotAcceptable, "the nick is too long");
  }
  if (affiliation == Affiliation::kOutcast) return ErrorXml(StanzaError::kForbidden);
  if (locked_ && affiliation != Affiliation::kOwner) return ErrorXml(StanzaError::kItemNotFound);
  if (config_.members_only && affiliation < Affiliation::kMember) {
    return ErrorXml(StanzaError::kRegistrationRequired);
  }
  if (config_.password_protected) {
    const XmlElement password = x.Child("password", kMucSpace);
    if (!password || !SamePassword(password.Text(), config_.password)) {
      return ErrorXml(StanzaError::kNotAuthorized);
    }
  }
  const Occupant* there = FindNick(nick);
  if (there != nullptr && there->bare.full() != bare) return ErrorXml(StanzaError::kConflict);
  for (const auto& [jid, member] : members_) {
    if (member.nick == nick && jid != bare) return ErrorXml(StanzaError::kConflict);
  }
  if (there != nullptr && there->sessions.size() >= ground_.limits.sessions) {
    return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint);
  }
  const size_t most = config_.occupants_max == 0 || affiliation >= Affiliation::kAdmin
                          ? ground_.limits.occupants
                          : config_.occupants_max;
  if (there == nullptr && occupants_.size() >= most) {
    return ErrorXml(ErrorType::kWait, StanzaError::kServiceUnavailable);
  }
  return std::nullopt;
}

void Room::Enter(RoomOutputs& out, const Parcel& presence, const XmlElement& x, bool created) {
  std::string nick = CleanNick(presence.to.resource());
  if (auto error = RefusalToEnter(presence, nick, x)) {
    return RefuseWith(out, presence, OfEntry(*error));
  }
  std::vector<MucStatus> statuses;
  if (created) statuses.push_back(MucStatus::kCreated);
  if (nick != presence.to.resource()) statuses.push_back(MucStatus::kNickModified);
  Occupant* occupant = FindNick(nick);
  if (occupant == nullptr) {
    const Jid bare = presence.from.Bare();
    const Role role = RoleOnEntry(AffiliationOf(bare.full()), config_.moderated);
    occupant = &Add(bare, std::move(nick), role);
  }
  AddSession(*occupant, presence.from, CleanContent(presence.content, jid_.full()));
  Welcome(out, *occupant, x,
          {.fresh = presence.from, .fresh_statuses = std::move(statuses), .id = presence.id});
}

void Room::Welcome(RoomOutputs& out, Occupant& occupant, const XmlElement& x,
                   const Telling& telling) {
  const bool addresses = SeesAddresses(occupant);
  for (const auto& other : occupants_) {
    if (other.get() == &occupant || !IsTold(other->role)) continue;
    Parcel shown = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable, other->in_room, {});
    shown.content = Shown(*other, addresses);
    Send(out, std::move(shown), {*telling.fresh});
  }
  Telling own = telling;
  if (config_.non_anonymous) own.fresh_statuses.push_back(MucStatus::kNonAnonymous);
  if (config_.archive) own.fresh_statuses.push_back(MucStatus::kLogged);
  TellPresence(out, occupant, own);
  SendHistory(out, *telling.fresh, x.Child("history", kMucSpace));
  SendSubject(out, *telling.fresh);
}

// Section 7.2.13: what was said, as much of it as is wanted, with the time of then.
void Room::SendHistory(RoomOutputs& out, const Jid& to, const XmlElement& wish) const {
  const int64_t now = ground_.unix_us();
  int64_t since = 0;
  if (const auto seconds = NumberOf(wish, "seconds")) {
    since = now - static_cast<int64_t>(std::min<uint64_t>(*seconds, 1U << 30U)) * kSecond;
  }
  if (const auto time = ParseDateTime(wish ? wish.Attribute("since") : std::string_view())) {
    since = std::max(since, *time);
  }
  const uint64_t most =
      std::min<uint64_t>(NumberOf(wish, "maxstanzas").value_or(UINT64_MAX), config_.history);
  const uint64_t chars = NumberOf(wish, "maxchars").value_or(UINT64_MAX);
  size_t from = said_.size();
  uint64_t bytes = 0;
  while (from > 0 && said_.size() - from < most) {
    const Said& said = said_[from - 1];
    if (said.time_us < since || chars - bytes < said.bytes) break;
    bytes += said.bytes;
    --from;
  }
  for (; from < said_.size(); ++from) {
    Parcel stanza = said_[from].stanza;
    std::string content(stanza.content_view());
    content += DelayXml(jid_.full(), said_[from].time_us);
    stanza.content = std::make_shared<const std::string>(std::move(content));
    Send(out, std::move(stanza), {to});
  }
}

// Section 7.2.15: it ends what who enters is told, also where there is none.
void Room::SendSubject(RoomOutputs& out, const Jid& to) const {
  std::string content;
  AppendXmlElement(content, "subject", subject_.text);
  auto by = subject_.by.empty() ? std::nullopt : jid_.With(subject_.by);
  if (!subject_.text.empty()) content += DelayXml(jid_.full(), subject_.time_us);
  Parcel stanza = RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat, by ? *by : jid_,
                             std::move(content), NewId());
  stanza.traits.subject_only = true;
  Send(out, std::move(stanza), {to});
}

std::shared_ptr<const std::string> Room::Shown(Occupant& occupant, bool address) const {
  auto& shown = occupant.shown[address ? 1 : 0];
  if (shown != nullptr) return shown;
  const Session& session = occupant.sessions.back();
  std::string content(session.presence == nullptr ? std::string_view() : *session.presence);
  content += OccupantIdXml(occupant.id);
  std::string item;
  AppendItem(item, {.affiliation = AffiliationOf(occupant.bare.full()),
                    .role = occupant.role,
                    .jid = address ? session.full.full() : std::string()});
  content += MucUserXml(item);
  return shown = std::make_shared<const std::string>(std::move(content));
}

void Room::TellPresence(RoomOutputs& out, Occupant& occupant, const Telling& telling) const {
  const Session& session = occupant.sessions.back();
  const auto make = [&](bool address, const std::vector<MucStatus>& more) {
    Parcel stanza = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable, occupant.in_room, {});
    if (more.empty() && telling.statuses.empty() && telling.reason.empty() &&
        telling.actor.empty()) {
      stanza.content = Shown(occupant, address);
      return stanza;
    }
    std::string content(session.presence == nullptr ? std::string_view() : *session.presence);
    content += OccupantIdXml(occupant.id);
    std::string inner;
    AppendItem(inner, {.affiliation = AffiliationOf(occupant.bare.full()),
                       .role = occupant.role,
                       .jid = address ? session.full.full() : std::string(),
                       .actor = std::string(telling.actor),
                       .reason = std::string(telling.reason)});
    AppendStatuses(inner, more);
    AppendStatuses(inner, telling.statuses);
    content += MucUserXml(inner);
    stanza.content = std::make_shared<const std::string>(std::move(content));
    return stanza;
  };
  std::vector<Jid> to[2];
  std::vector<Jid> own;
  for (const auto& other : occupants_) {
    for (const Session& one : other->sessions) {
      if (other.get() == &occupant) {
        if (telling.fresh != one.full) own.push_back(one.full);
      } else if (IsTold(occupant.role)) {
        to[SeesAddresses(*other) ? 1 : 0].push_back(one.full);
      }
    }
  }
  if (!telling.fresh_only) {
    for (const bool address : {false, true}) {
      if (!to[address].empty()) Send(out, make(address, {}), std::move(to[address]));
    }
    if (!own.empty()) Send(out, make(true, {MucStatus::kSelf}), std::move(own));
  }
  if (!telling.fresh) return;
  std::vector<MucStatus> statuses = telling.fresh_statuses;
  statuses.insert(statuses.begin(), MucStatus::kSelf);
  Parcel stanza = make(true, statuses);
  stanza.id = telling.id;
  Send(out, std::move(stanza), {*telling.fresh});
}

void Room::Update(RoomOutputs& out, Occupant& occupant, const Parcel& presence) {
  RemoveSession(occupant, presence.from.full());
  AddSession(occupant, presence.from, CleanContent(presence.content, jid_.full()));
  TellPresence(out, occupant, {.fresh = presence.from, .id = presence.id});
}

// Section 7.6. A session of several under one nick goes alone, the others stay.
void Room::ChangeNick(RoomOutputs& out, Occupant& occupant, const Parcel& presence,
                      std::string nick) {
  Occupant* there = FindNick(nick);
  const std::string bare = occupant.bare.full();
  const auto refuse = [&](const std::string& error) { RefuseWith(out, presence, OfEntry(error)); };
  if (nick.empty()) return refuse(ErrorXml(StanzaError::kJidMalformed, "a nick is needed"));
  if (nick.size() > ground_.limits.nick_bytes) {
    return refuse(ErrorXml(StanzaError::kNotAcceptable, "the nick is too long"));
  }
  const bool reserved = std::ranges::any_of(
      members_, [&](const auto& one) { return one.second.nick == nick && one.first != bare; });
  if (reserved || (there != nullptr && there->bare.full() != bare)) {
    return refuse(ErrorXml(StanzaError::kConflict));
  }
  if (there != nullptr && there->sessions.size() >= ground_.limits.sessions) {
    return refuse(ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint));
  }
  const Role role = occupant.role;
  const Going going{.item = {.affiliation = AffiliationOf(bare), .role = role, .nick = nick},
                    .statuses = {MucStatus::kNewNick}};
  if (occupant.sessions.size() > 1) {
    TellGoneToSelf(out, occupant, {presence.from}, going);
    const bool was_shown = occupant.sessions.back().full == presence.from;
    RemoveSession(occupant, presence.from.full());
    if (was_shown) TellPresence(out, occupant, {});
  } else {
    TellGone(out, occupant, {presence.from}, going);
    Remove(occupant);
  }
  const bool modified = nick != presence.to.resource();
  if (there == nullptr) there = &Add(presence.from.Bare(), std::move(nick), role);
  AddSession(*there, presence.from, CleanContent(presence.content, jid_.full()));
  Telling telling{.fresh = presence.from, .id = presence.id};
  if (modified) telling.fresh_statuses.push_back(MucStatus::kNickModified);
  TellPresence(out, *there, telling);
}

// Section 7.14.
void Room::Leave(RoomOutputs& out, Occupant& occupant, const Jid& session,
                 const std::shared_ptr<const std::string>& content,
                 std::vector<MucStatus> statuses) {
  const Going going{.content = content,
                    .item = {.affiliation = AffiliationOf(occupant.bare.full())},
                    .statuses = std::move(statuses)};
  if (occupant.sessions.size() == 1) return Expel(out, occupant, going);
  TellGoneToSelf(out, occupant, {session}, going);
  const bool was_shown = occupant.sessions.back().full == session;
  RemoveSession(occupant, session.full());
  if (was_shown) TellPresence(out, occupant, {});
}

void Room::TellGoneToSelf(RoomOutputs& out, const Occupant& occupant, std::vector<Jid> own,
                          const Going& going) const {
  Going to_self = going;
  to_self.statuses.insert(to_self.statuses.begin(), MucStatus::kSelf);
  if (to_self.item.jid.empty()) to_self.item.jid = occupant.sessions.back().full.full();
  Parcel stanza = RoomStanza(StanzaKind::kPresence, StanzaType::kUnavailable, occupant.in_room, {});
  std::string content(going.content == nullptr ? std::string_view() : *going.content);
  content += OccupantIdXml(occupant.id);
  std::string inner;
  AppendItem(inner, to_self.item);
  inner += going.extra;
  AppendStatuses(inner, to_self.statuses);
  content += MucUserXml(inner);
  stanza.content = std::make_shared<const std::string>(std::move(content));
  Send(out, std::move(stanza), std::move(own));
}

void Room::TellGone(RoomOutputs& out, const Occupant& occupant, std::vector<Jid> own,
                    const Going& going) const {
  std::vector<Jid> to[2];
  for (const auto& other : occupants_) {
    if (other.get() == &occupant || !IsTold(occupant.role)) continue;
    for (const Session& one : other->sessions) {
      to[SeesAddresses(*other) ? 1 : 0].push_back(one.full);
    }
  }
  for (const bool address : {false, true}) {
    if (to[address].empty()) continue;
    Parcel stanza =
        RoomStanza(StanzaKind::kPresence, StanzaType::kUnavailable, occupant.in_room, {});
    std::string content(going.content == nullptr ? std::string_view() : *going.content);
    content += OccupantIdXml(occupant.id);
    MucItem item = going.item;
    item.jid = address ? occupant.sessions.back().full.full() : std::string();
    std::string inner;
    AppendItem(inner, item);
    inner += going.extra;
    AppendStatuses(inner, going.statuses);
    content += MucUserXml(inner);
    stanza.content = std::make_shared<const std::string>(std::move(content));
    Send(out, std::move(stanza), std::move(to[address]));
  }
  if (!own.empty()) TellGoneToSelf(out, occupant, std::move(own), going);
}

void Room::Expel(RoomOutputs& out, Occupant& occupant, const Going& going) {
  TellGone(out, occupant, SessionsOf(occupant), going);
  Remove(occupant);
}

}  // namespace server
