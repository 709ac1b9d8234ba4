#include "server/muc/muc_host.h"

#include <algorithm>
#include <utility>

#include "server/im/archive_prefs.h"
#include "server/modules/archive.h"
#include "server/muc/muc_xml.h"

namespace server {
namespace {

// What was wanted: clients know a refusal of it by that.
constexpr std::string_view kEntry = "<x xmlns='http://jabber.org/protocol/muc'/>";
constexpr std::string_view kTooMany = "the service has as many rooms as it may";

std::string StoreFailureXml(StoreError error) {
  if (error == StoreError::kAbsent) return ErrorXml(StanzaError::kItemNotFound);
  return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "the store does not answer");
}

bool IsAnswer(const Parcel& parcel) {
  return parcel.type == StanzaType::kError || parcel.type == StanzaType::kResult;
}

std::string NewSecret(const std::function<uint64_t()>& random) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string secret;
  for (int word = 0; word < 4; ++word) {
    uint64_t bits = random();
    for (int i = 0; i < 16; ++i, bits >>= 4U) secret += kHex[bits & 15U];
  }
  return secret;
}

}  // namespace

// What a query of an archive asks of its owner; a room tells who asked by its address.
class MucHost::View final : public AccountView {
 public:
  View(MucHost& host, Jid room) : host_(host), alive_(host.alive_), room_(std::move(room)) {}

  const Jid& user() const override { return room_; }
  bool SeenBy(const Jid&) const override { return false; }
  bool Blocks(const Jid&) const override { return false; }
  size_t sessions() const override { return 0; }
  size_t available() const override { return 0; }
  void ForEachSession(const std::function<void(const SessionView&)>&) const override {}
  void Push(const SessionId&, std::string) override {}
  void Changed(AccountChange) override {}
  void Tell(const Parcel& request, const SessionId&, std::string content) override {
    if (alive_.expired()) return;
    const Turn turn(host_);
    Parcel message =
        RoomStanza(StanzaKind::kMessage, StanzaType::kNormal, room_, std::move(content));
    // A page of an archive waits for nobody, and is nobody else's.
    message.traits.no_store = message.traits.no_copy = true;
    host_.Send({std::move(message), {request.from}});
  }

 private:
  MucHost& host_;
  const std::weak_ptr<int> alive_;
  const Jid room_;
};

MucHost::MucHost(MucOptions options, std::shared_ptr<ArchiveIds> ids, RoomDirectory& directory,
                 SessionGate& sessions, HomeGate& homes, StoreClient& store,
                 const net::Clock& clock, std::function<int64_t()> unix_us,
                 std::function<uint64_t()> random)
    : options_(std::move(options)),
      directory_(directory),
      sessions_(sessions),
      homes_(homes),
      store_(store),
      clock_(clock),
      ground_{.limits = options_.limits,
              .unix_us = unix_us,
              .random = std::move(random),
              .next_id = [ids = std::move(ids), unix_us] { return ids->Next(unix_us()); }},
      modules_{.store = store,
               .clock = clock,
               .unix_us = std::move(unix_us),
               .domains = options_.services,
               .aside = nullptr} {}

MucHost::~MucHost() {
  for (const auto& [jid, hall] : rooms_) directory_.Remove(jid);
}

bool MucHost::Serves(std::string_view domain) const {
  return std::ranges::find(options_.services, domain) != options_.services.end();
}

// --- Out.

void MucHost::Send(RoomOut out) { out_.emplace_back(std::move(out)); }

void MucHost::Flush() {
  if (flushing_) return;
  flushing_ = true;
  while (!out_.empty()) {
    auto next = std::move(out_.front());
    out_.pop_front();
    if (const auto* mark = std::get_if<SenderMark>(&next)) {
      sessions_.Settled(*mark);
      continue;
    }
    RoomOut& out = std::get<RoomOut>(next);
    if (TakeAnswer(out)) continue;
    for (size_t i = 0; i < out.to.size(); ++i) {
      Parcel parcel = i + 1 < out.to.size() ? out.stanza : std::move(out.stanza);
      parcel.to = std::move(out.to[i]);
      homes_.Route(std::move(parcel));
    }
  }
  flushing_ = false;
}

void MucHost::Bounce(const Parcel& parcel, std::string error_xml) {
  if (parcel.mark) out_.emplace_back(parcel.mark);
  const bool silent = parcel.kind == StanzaKind::kPresence && parcel.type != StanzaType::kAvailable;
  if (IsAnswer(parcel) || silent) return;
  Send({ErrorFor(parcel, std::move(error_xml)), {parcel.from}});
}

// --- In.

void MucHost::Route(Parcel parcel) {
  const Turn turn(*this);
  if (parcel.to.local().empty()) return Service(parcel);
  if (shut_) return Bounce(parcel, ErrorXml(StanzaError::kServiceUnavailable));
  const std::string jid(parcel.to.bare());
  const auto at = rooms_.find(jid);
  if (at != rooms_.end() && at->second.room != nullptr) return Give(jid, parcel);
  if (at == rooms_.end()) {
    // Who was in a room that is no more has nothing to take leave of.
    if (parcel.kind == StanzaKind::kPresence && parcel.type != StanzaType::kAvailable) return;
    if (IsAnswer(parcel)) return Bounce(parcel, {});
    rooms_[jid].waiting.push_back(std::move(parcel));
    return Load(jid);
  }
  if (at->second.waiting.size() >= options_.waiting) {
    ++counters_.refused;
    return Bounce(parcel, StoreFailureXml(StoreError::kBusy));
  }
  at->second.waiting.push_back(std::move(parcel));
}

void MucHost::Load(const std::string& jid) {
  store_.Room(jid, InTurn<StoredRoom>([this, jid](std::expected<StoredRoom, StoreError> stored) {
                Loaded(jid, std::move(stored));
              }));
}

void MucHost::Loaded(const std::string& jid, std::expected<StoredRoom, StoreError> stored) {
  if (!stored) return Failed(jid, stored.error());
  if (stored->jid.empty()) return Missing(jid);
  auto room = Room::Restore(*stored, ground_);
  if (room == nullptr) return Failed(jid, StoreError::kDown);
  const RoomConfig& config = room->config();
  if (!config.archive || config.history == 0) return Ready(jid, std::move(room));
  ArchiveQuery query;
  query.owner = jid;
  query.backwards = true;
  query.most = config.history;
  // Shared, since the store may drop what waits for it.
  auto held = std::make_shared<std::unique_ptr<Room>>(std::move(room));
  store_.Archive(std::move(query), InTurn<ArchivePage>([this, jid, held](const auto& page) {
                   if (page) (*held)->RestoreHistory(page->entries);
                   Ready(jid, std::move(*held));
                 }));
}

void MucHost::Ready(const std::string& jid, std::unique_ptr<Room> room) {
  Hall& hall = rooms_[jid];
  const RoomConfig& config = room->config();
  if (!Begin(jid, {.name = config.name, .listed = config.listed})) {
    return Failed(jid, StoreError::kBusy);
  }
  hall.room = std::move(room);
  hall.life = ++lives_;
  hall.stored = true;
  hall.idle_since = clock_.Now();
  for (const Parcel& parcel : std::exchange(hall.waiting, {})) Give(jid, parcel);
}

void MucHost::Failed(const std::string& jid, StoreError error) {
  auto node = rooms_.extract(jid);
  for (const Parcel& parcel : node.mapped().waiting) {
    ++counters_.refused;
    Bounce(parcel, StoreFailureXml(error));
  }
}

// --- There is no such room: who enters makes it, all else is refused.

bool MucHost::MayCreate(const Parcel& presence) {
  if (presence.kind != StanzaKind::kPresence || presence.type != StanzaType::kAvailable ||
      !presence.content_view().contains(kMucSpace)) {
    return false;
  }
  const auto content = ReadContent(presence.content_view());
  return static_cast<bool>(ChildOf(content, "x", kMucSpace));
}

void MucHost::RefuseMissing(const Parcel& parcel) {
  // XEP-0410 section 3: of an occupant that is not there the one error says "you are not either".
  const bool self_ping = parcel.kind == StanzaKind::kIq && !parcel.to.is_bare();
  Bounce(parcel, ErrorXml(self_ping ? StanzaError::kNotAcceptable : StanzaError::kItemNotFound));
}

bool MucHost::MakeRoom(const std::string& jid) {
  if (!Begin(jid, {.name = {}, .listed = false})) return false;
  Hall& hall = rooms_[jid];
  hall.room = std::make_unique<Room>(Jid::OfPrepared(jid), ground_, options_.defaults,
                                     NewSecret(ground_.random));
  hall.life = ++lives_;
  // What a room of this name left when the node was killed is not this one's.
  store_.Write({RemoveRoom{jid}}, [](const auto&) {});
  return true;
}

void MucHost::Missing(const std::string& jid) {
  std::deque<Parcel> waiting = std::exchange(rooms_[jid].waiting, {});
  while (!waiting.empty()) {
    const Parcel parcel = std::move(waiting.front());
    waiting.pop_front();
    if (const auto at = rooms_.find(jid); at != rooms_.end() && at->second.room != nullptr) {
      Give(jid, parcel);
      continue;
    }
    Order* order = OrderOf(parcel);
    const bool ordered = order != nullptr && order->owner;
    if (!ordered && !MayCreate(parcel)) {
      RefuseMissing(parcel);
    } else if (!ordered && !options_.anyone_creates) {
      Bounce(parcel, std::string(kEntry) +
                         ErrorXml(StanzaError::kNotAllowed, "rooms are made by operators"));
    } else if (!MakeRoom(jid)) {
      ++counters_.refused;
      Bounce(parcel, std::string(ordered ? "" : kEntry) +
                         ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, kTooMany));
    } else if (ordered) {
      Hall& hall = rooms_[jid];
      hall.held = true;
      hall.idle_since = clock_.Now();
      hall.room->Found(*std::exchange(order->owner, std::nullopt));
      Give(jid, parcel);
    } else {
      Do(jid, rooms_[jid].room->Create(parcel, options_.lock_new));
    }
  }
  const auto at = rooms_.find(jid);
  if (at != rooms_.end() && at->second.room == nullptr) rooms_.erase(at);
}

// --- A room's work.

void MucHost::Give(const std::string& jid, const Parcel& parcel) {
  const auto at = rooms_.find(jid);
  if (at == rooms_.end()) return RefuseMissing(parcel);
  Room& room = *at->second.room;
  if (room.destroyed()) return RefuseMissing(parcel);
  if (const Order* order = OrderOf(parcel)) return Obey(jid, room, parcel, *order);
  if (parcel.kind == StanzaKind::kIq && !IsAnswer(parcel) && parcel.to.is_bare() &&
      parcel.iq_space == kArchiveSpace) {
    return AnswerArchive(room, parcel);
  }
  Do(jid, room.Arrive(parcel));
}

void MucHost::AnswerArchive(const Room& room, const Parcel& iq) {
  const bool query = iq.iq_name == "query";
  if (!room.config().archive || (!query && iq.iq_name != "metadata")) {
    return Bounce(iq, ErrorXml(StanzaError::kServiceUnavailable));
  }
  if (!room.MayReadArchive(iq.from)) return Bounce(iq, ErrorXml(StanzaError::kForbidden));
  auto answer = [this, alive = std::weak_ptr<int>(alive_), id = iq.id, from = iq.to, to = iq.from](
                    StanzaType type, std::string content) {
    if (alive.expired()) return;
    const Turn turn(*this);
    Send({RoomStanza(StanzaKind::kIq, type, from, std::move(content), id), {to}});
  };
  IqCall call(iq, IqTarget::kAccount, {}, std::make_shared<View>(*this, room.jid()),
              std::move(answer));
  query ? AnswerArchiveQuery(modules_, options_.archive, std::move(call))
        : AnswerArchiveMetadata(modules_, std::move(call));
}

void MucHost::Do(const std::string& jid, RoomOutputs outputs) {
  for (RoomOut& out : outputs.stanzas) Send(std::move(out));
  for (const SenderMark& mark : outputs.settled) out_.emplace_back(mark);
  if (!outputs.copies.empty()) rooms_[jid].stored = true;
  for (RoomOutputs::Copy& copy : outputs.copies) Copy(std::move(copy));
  for (RoomOutputs::Change& change : outputs.changes) Change(jid, std::move(change));
  Look(jid);
}

// The room as it is now: in the directory, in memory.
void MucHost::Look(const std::string& jid) {
  const auto at = rooms_.find(jid);
  if (at == rooms_.end() || at->second.room == nullptr) return;
  Hall& hall = at->second;
  const Room& room = *hall.room;
  if (room.occupants() > 0 || room.destroyed()) hall.held = false;
  if (room.over() && hall.pending == 0 && !hall.held) {
    const bool leaves = hall.stored && !room.config().persistent;
    rooms_.erase(at);
    End(jid);
    if (leaves) store_.Write({RemoveRoom{jid}}, [](const auto&) {});
    return;
  }
  directory_.Set(jid,
                 {.name = room.config().name, .listed = room.config().listed && !room.locked()});
  if (room.occupants() > 0) hall.idle_since = net::Time::max();
  if (room.occupants() == 0 && hall.idle_since == net::Time::max()) {
    hall.idle_since = clock_.Now();
  }
}

void MucHost::Copy(RoomOutputs::Copy copy) {
  const SenderMark mark = copy.mark;
  WriteBatch batch;
  batch.emplace_back(AddArchive{std::move(copy.entry)});
  // Who was in the room has the message: what the archive did not take is no reason to hold the
  // sender's count.
  store_.Write(std::move(batch), InTurn<std::monostate>([this, mark](const auto& done) {
                 if (!done) ++counters_.archive_failed;
                 if (mark) out_.emplace_back(mark);
               }));
}

void MucHost::Change(const std::string& jid, RoomOutputs::Change change) {
  Hall& hall = rooms_[jid];
  ++hall.pending;
  WriteBatch batch = std::move(change.batch);
  store_.Write(std::move(batch),
               InTurn<std::monostate>([this, jid, life = hall.life,
                                       change = std::move(change)](const auto& done) mutable {
                 Changed(jid, life, std::move(change), done);
               }));
}

void MucHost::Changed(const std::string& jid, uint64_t life, RoomOutputs::Change change,
                      std::expected<std::monostate, StoreError> done) {
  const auto at = rooms_.find(jid);
  if (at == rooms_.end() || at->second.life != life || at->second.room == nullptr) {
    return Bounce(change.request, ErrorXml(StanzaError::kItemNotFound));
  }
  --at->second.pending;
  if (!done) {
    Bounce(change.request, StoreFailureXml(done.error()));
    return Look(jid);
  }
  RoomOutputs outputs;
  change.apply(*at->second.room, outputs);
  Do(jid, std::move(outputs));
}

void MucHost::Forget(net::Duration idle) {
  const Turn turn(*this);
  const net::Time now = clock_.Now();
  std::erase_if(rooms_, [&](const auto& one) {
    const Hall& hall = one.second;
    if (hall.room == nullptr || hall.pending > 0 || hall.room->occupants() > 0) return false;
    if (hall.idle_since == net::Time::max() || now - hall.idle_since < idle) return false;
    End(one.first);
    return true;
  });
}

// --- Which rooms are here.

bool MucHost::Begin(const std::string& jid, RoomDirectory::Room entry) {
  if (!directory_.Add(jid, std::move(entry), options_.rooms_max)) return false;
  if (on_begin_) on_begin_(jid);
  return true;
}

void MucHost::End(const std::string& jid) {
  directory_.Remove(jid);
  if (on_end_) on_end_(jid);
}

void MucHost::Close(const std::string& jid) {
  const Turn turn(*this);
  const auto at = rooms_.find(jid);
  if (at == rooms_.end() || at->second.room == nullptr) return;
  // Its archive is that of the room which stays.
  at->second.stored = false;
  Do(jid, at->second.room->Shutdown());
  if (rooms_.erase(jid) != 0) End(jid);
}

void MucHost::Shutdown() {
  const Turn turn(*this);
  shut_ = true;
  std::vector<std::string> names;
  for (const auto& [jid, hall] : rooms_) {
    if (hall.room != nullptr) names.push_back(jid);
  }
  for (const std::string& jid : names) Do(jid, rooms_.at(jid).room->Shutdown());
}

}  // namespace server
