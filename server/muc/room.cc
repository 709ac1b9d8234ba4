#include "server/muc/room.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <utility>

#include "net/base/base64.h"
#include "net/base/check.h"

namespace server {

Parcel RoomStanza(StanzaKind kind, StanzaType type, const Jid& from, std::string content,
                  std::string_view id) {
  return {.kind = kind,
          .type = type,
          .traits = {},
          .from = from,
          .to = from,
          .id = std::string(id),
          .lang = {},
          .content =
              content.empty() ? nullptr : std::make_shared<const std::string>(std::move(content)),
          .mark = {},
          .iq_name = {},
          .iq_space = {}};
}

Room::Room(Jid jid, const RoomGround& ground, RoomConfig config, std::string secret)
    : jid_(std::move(jid)),
      ground_(ground),
      config_(std::move(config)),
      secret_(std::move(secret)) {}

std::unique_ptr<Room> Room::Restore(const StoredRoom& stored, const RoomGround& ground) {
  const auto xml = ParseStanza(stored.config, kClientSpace);
  const auto form = xml ? ReadDataForm(xml->root()) : std::nullopt;
  if (!form) return nullptr;
  auto config = ReadRoomConfig(*form, {}, ground.limits);
  if (!config) return nullptr;
  config->persistent = true;
  auto room = std::make_unique<Room>(Jid::OfPrepared(stored.jid), ground, std::move(*config),
                                     stored.secret);
  room->subject_ = {.text = stored.subject, .by = stored.subject_by, .time_us = stored.subject_us};
  for (const StoredAffiliation& row : stored.affiliations) {
    const auto affiliation = ParseAffiliation(row.affiliation);
    if (!affiliation || *affiliation == Affiliation::kNone) continue;
    room->members_[row.jid] = {.affiliation = *affiliation, .nick = row.nick, .reason = row.reason};
  }
  return room;
}

StoredRoom Room::Stored() const {
  StoredRoom stored{.jid = jid_.full(),
                    .name = config_.name,
                    .listed = config_.listed,
                    .config = RoomConfigXml(config_, "submit", ground_.limits),
                    .subject = subject_.text,
                    .subject_by = subject_.by,
                    .subject_us = subject_.time_us,
                    .secret = secret_,
                    .affiliations = {}};
  for (const auto& [jid, member] : members_) {
    stored.affiliations.push_back({.jid = jid,
                                   .affiliation = std::string(ToString(member.affiliation)),
                                   .nick = member.nick,
                                   .reason = member.reason});
  }
  return stored;
}

RoomOutputs Room::Create(const Parcel& presence, bool locked) {
  RoomOutputs out;
  members_[std::string(presence.from.bare())] = {
      .affiliation = Affiliation::kOwner, .nick = {}, .reason = {}};
  locked_ = locked;
  const auto content = ReadContent(presence.content_view());
  Enter(out, presence, ChildOf(content, "x", kMucSpace), true);
  return out;
}

RoomOutputs Room::Arrive(const Parcel& parcel) {
  RoomOutputs out;
  switch (parcel.kind) {
    case StanzaKind::kPresence:
      Presence(out, parcel);
      break;
    case StanzaKind::kMessage:
      Message(out, parcel);
      break;
    case StanzaKind::kIq:
      Iq(out, parcel);
      break;
  }
  return out;
}

RoomOutputs Room::Order(const Parcel& iq) {
  RoomOutputs out;
  ordered_ = true;
  Iq(out, iq);
  ordered_ = false;
  return out;
}

void Room::Found(const Jid& owner) {
  members_[std::string(owner.bare())] = {
      .affiliation = Affiliation::kOwner, .nick = {}, .reason = {}};
}

RoomOutputs Room::Shutdown() {
  RoomOutputs out;
  while (!occupants_.empty()) {
    Expel(out, *occupants_.back(),
          {.content = nullptr,
           .item = {.affiliation = AffiliationOf(occupants_.back()->bare.full())},
           .statuses = {MucStatus::kShutdown},
           .extra = {}});
  }
  return out;
}

// --- Who is where.

Affiliation Room::AffiliationOf(std::string_view bare) const {
  if (ordered_ && bare == jid_.full()) return Affiliation::kOwner;
  const auto at = members_.find(bare);
  return at == members_.end() ? Affiliation::kNone : at->second.affiliation;
}

Room::Occupant* Room::FindNick(std::string_view nick) const {
  const auto at = by_nick_.find(std::string(nick));
  return at == by_nick_.end() ? nullptr : at->second;
}

Room::Occupant* Room::FindSession(std::string_view full) const {
  const auto at = by_session_.find(std::string(full));
  return at == by_session_.end() ? nullptr : at->second;
}

std::vector<Room::Occupant*> Room::FindUser(std::string_view bare) const {
  std::vector<Occupant*> found;
  for (const auto& occupant : occupants_) {
    if (occupant->bare.full() == bare) found.push_back(occupant.get());
  }
  return found;
}

Room::Occupant& Room::Add(const Jid& bare, std::string nick, Role role) {
  auto in_room = jid_.With(nick);
  CHECK(in_room);  // it came as a resource
  auto occupant = std::make_unique<Occupant>(Occupant{.nick = std::move(nick),
                                                      .bare = bare,
                                                      .in_room = std::move(*in_room),
                                                      .role = role,
                                                      .id = OccupantId(bare),
                                                      .sessions = {},
                                                      .shown = {}});
  by_nick_[occupant->nick] = occupant.get();
  return *occupants_.emplace_back(std::move(occupant));
}

void Room::AddSession(Occupant& occupant, Jid full, std::shared_ptr<const std::string> presence) {
  by_session_[full.full()] = &occupant;
  occupant.sessions.push_back({std::move(full), std::move(presence), ground_.random()});
  occupant.shown[0] = occupant.shown[1] = nullptr;
}

void Room::RemoveSession(Occupant& occupant, std::string_view full) {
  by_session_.erase(std::string(full));
  std::erase_if(occupant.sessions,
                [full](const Session& session) { return session.full.full() == full; });
  occupant.shown[0] = occupant.shown[1] = nullptr;
}

void Room::Remove(const Occupant& occupant) {
  for (const Session& session : occupant.sessions) by_session_.erase(session.full.full());
  by_nick_.erase(occupant.nick);
  std::erase_if(occupants_, [&occupant](const auto& one) { return one.get() == &occupant; });
}

// XEP-0421: of the room and the account, the same at every visit, and nothing is learned from it.
std::string Room::OccupantId(const Jid& bare) const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  const std::string& user = bare.full();
  CHECK(HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
             reinterpret_cast<const unsigned char*>(user.data()), user.size(), digest.data(),
             &size) != nullptr);
  return net::Base64Encode({reinterpret_cast<const char*>(digest.data()), size});
}

std::string Room::NewId() const {
  static constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuv";
  std::string id;
  uint64_t random = ground_.random();
  for (int i = 0; i < 12; ++i, random >>= 5U) id += kDigits[random & 31U];
  return id;
}

bool Room::MayReadArchive(const Jid& from) const {
  const std::string bare(from.bare());
  if (!FindUser(bare).empty()) return true;
  const Affiliation affiliation = AffiliationOf(bare);
  if (affiliation >= Affiliation::kMember) return !locked_ || affiliation == Affiliation::kOwner;
  return affiliation != Affiliation::kOutcast && !config_.members_only &&
         !config_.password_protected && !locked_;
}

// --- Out.

std::vector<Jid> Room::SessionsOf(const Occupant& occupant) {
  std::vector<Jid> to;
  to.reserve(occupant.sessions.size());
  for (const Session& session : occupant.sessions) to.push_back(session.full);
  return to;
}

std::vector<Jid> Room::AllSessions() const {
  std::vector<Jid> to;
  to.reserve(by_session_.size());
  for (const auto& occupant : occupants_) {
    for (const Session& session : occupant->sessions) to.push_back(session.full);
  }
  return to;
}

void Room::Send(RoomOutputs& out, Parcel stanza, std::vector<Jid> to) const {
  if (!to.empty()) out.stanzas.push_back({std::move(stanza), std::move(to)});
}

void Room::Answer(RoomOutputs& out, const Parcel& request, std::string content) const {
  Send(out,
       RoomStanza(StanzaKind::kIq, StanzaType::kResult, request.to, std::move(content), request.id),
       {request.from});
}

void Room::RefuseWith(RoomOutputs& out, const Parcel& request, std::string error_xml) const {
  if (request.mark) out.settled.push_back(request.mark);
  if (request.type == StanzaType::kError || request.type == StanzaType::kResult) return;
  Parcel error = ErrorFor(request, std::move(error_xml));
  Send(out, std::move(error), {request.from});
}

void Room::Refuse(RoomOutputs& out, const Parcel& request, StanzaError error,
                  std::string_view text) const {
  RefuseWith(out, request, ErrorXml(error, text));
}

void Room::Commit(RoomOutputs& out, const Parcel& request, WriteBatch batch,
                  RoomOutputs::Apply apply) {
  if (batch.empty()) return apply(*this, out);
  out.changes.push_back({.batch = std::move(batch), .request = request, .apply = std::move(apply)});
}

void Room::SendStatuses(RoomOutputs& out, const std::vector<MucStatus>& statuses) const {
  std::string inner;
  for (const MucStatus status : statuses) AppendStatus(inner, status);
  Send(out,
       RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat, jid_, MucUserXml(inner), NewId()),
       AllSessions());
}

}  // namespace server
