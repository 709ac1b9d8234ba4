#include "server/im/messages.h"

#include <algorithm>
#include <utility>

#include "server/im/message_bytes.h"
#include "server/im/message_rules.h"
#include "server/im/stamps.h"

namespace server {
namespace {

// Of the highest priority that is not negative.
std::vector<SessionId> MostAvailable(const User& user) {
  int best = 0;
  std::vector<SessionId> targets;
  for (const HomeSession& session : user.sessions) {
    if (!session.available || session.ending || session.priority < best) continue;
    if (session.priority > best) targets.clear();
    best = session.priority;
    targets.push_back(session.id);
  }
  return targets;
}

// The newest of them, whose connection is there if there is one.
HomeSession* ForOffline(User& user) {
  HomeSession* best = nullptr;
  for (const SessionId& id : MostAvailable(user)) {
    HomeSession* session = user.Find(id);
    if (best == nullptr || !session->detached || best->detached) best = session;
  }
  return best;
}

// Whether what comes for `targets` is to come behind what waits, in order: for one session that is
// getting that, and where nobody else would see it now.
bool ComesBehind(User& user, const std::vector<SessionId>& targets) {
  if (targets.size() != 1 || !user.Find(targets.front())->behind) return false;
  return std::ranges::none_of(user.sessions, [&](const HomeSession& other) {
    return other.carbons && other.id != targets.front();
  });
}

// It will get more of what waits, before what comes now.
void SetBehind(User& user) {
  HomeSession* session = ForOffline(user);
  if (session != nullptr && !session->detached) session->behind = true;
}

// No page is with a session, or none is to come behind it.
void NoneBehind(User& user) {
  for (HomeSession& session : user.sessions) session.behind = false;
}

ArchiveEntry EntryOf(const Parcel& message, const Jid& owner, const Jid& peer, uint64_t id,
                     bool outgoing) {
  ArchiveEntry entry{.owner = owner.full(),
                     .peer = std::string(peer.bare()),
                     .id = id,
                     .outgoing = outgoing,
                     .origin_id = message.id,
                     .xml = {},
                     .resource = std::string(peer.resource())};
  AppendParcel(entry.xml, message, {}, kClientSpace);
  return entry;
}

std::string StoreErrorXml(StoreError error) {
  if (error == StoreError::kConflict) {
    return ErrorXml(StanzaError::kServiceUnavailable, "too many messages wait already");
  }
  return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "the store does not answer");
}

}  // namespace

// On its way to sessions of one user, until one has it for good.
struct Messages::Held {
  Parcel message;
  Jid user;       // bare
  uint64_t id;    // in the archive, and the time that it came
  int live = 0;   // sessions that have it and took it not yet
  bool archived;  // the archive is to have it
  bool writing = false;
  bool durable = false;
  bool taken = false;
  bool tried = false;  // with a session, or with the store
  bool back = false;   // it was sent back
  bool settled = false;
  bool unarchived = false;     // among those that the archive is to have later
  bool archive_doubt = false;  // the archive may have it
  uint64_t doubtful = 0;       // what waits may have it, under this id
};

struct Messages::Waited {
  Jid user;
  std::vector<uint64_t> ids;  // in order
  std::vector<bool> taken;
  size_t open = 0;
};

// --- Sent.

void Messages::Send(User& user, const HomeSession& by, Parcel message) {
  std::string extra;
  const bool to_self = message.to.bare() == user.jid.full();
  if (!to_self && IsArchived(message) && core_.Archives(user, message.to)) {
    const uint64_t id = core_.NextArchiveId();
    extra = StanzaIdXml(user.jid.full(), id);
    ArchiveSent(EntryOf(message, user.jid, message.to, id, true));
  }
  if (IsCopied(message)) carbons_.Sent(user, by, message, extra);
  core_.Route(std::move(message));
}

void Messages::ArchiveSent(ArchiveEntry entry) {
  WriteBatch batch;
  batch.push_back(AddArchive{entry});
  core_.store().Write(
      std::move(batch),
      core_.InTurn<std::monostate>([this, entry = std::move(entry)](const auto& done) mutable {
        // An entry with its id is this one: it was written when nobody could tell.
        if (done || done.error() == StoreError::kConflict) return;
        if (MayArchiveLater(entry.xml.size())) unarchived_sent_.push_back(std::move(entry));
      }));
}

// --- For the user.

void Messages::Arrive(User& user, Parcel message) {
  if (user.Blocks(message.from)) {
    // A room would take the error for its occupant's end: who blocks one that is there stays.
    if (message.type == StanzaType::kGroupchat) return core_.Settled(message.mark);
    return core_.Bounce(message, StanzaError::kServiceUnavailable);
  }
  // A carbon is this server's own to make (XEP-0280 section 11).
  if (message.traits.carbon) return core_.Settled(message.mark);
  if (user.offline_reading && user.waiting != nullptr) {
    if (user.waiting->messages.size() >= core_.limits().waiting) {
      return core_.Bounce(message, StoreErrorXml(StoreError::kBusy));
    }
    user.waiting->messages.push_back(std::move(message));
    return;
  }
  if (message.type == StanzaType::kError) return Error(user, message);
  if (message.to.is_bare()) return ToAccount(user, std::move(message));
  ToFull(user, std::move(message));
}

void Messages::Error(User& user, const Parcel& message) {
  if (!message.to.is_bare()) {
    if (const HomeSession* session = user.FindResource(message.to.resource())) {
      core_.DeliverParcel(*session, message);
      if (carbons_.AnswersCopied(message)) carbons_.Received(user, {{session->id}}, message, {});
    }
  }
  core_.Settled(message.mark);
}

void Messages::ToFull(User& user, Parcel message) {
  if (const HomeSession* session = user.FindResource(message.to.resource())) {
    return Deliver(user, std::move(message), {session->id});
  }
  switch (message.type) {
    case StanzaType::kChat:
      return ToAccount(user, std::move(message));
    case StanzaType::kHeadline:
      return core_.Settled(message.mark);
    default:
      return core_.BounceGone(message);
  }
}

void Messages::ToAccount(User& user, Parcel message) {
  if (message.type == StanzaType::kGroupchat) {
    return core_.Bounce(message, StanzaError::kServiceUnavailable);
  }
  if (message.type == StanzaType::kHeadline) {
    std::vector<SessionId> targets;
    for (const HomeSession& session : user.sessions) {
      if (session.available && !session.ending && session.priority >= 0)
        targets.push_back(session.id);
    }
    if (targets.empty()) return core_.Settled(message.mark);
    return Deliver(user, std::move(message), targets);
  }
  std::vector<SessionId> targets = MostAvailable(user);
  if (IsKeptOffline(message) && ComesBehind(user, targets)) targets.clear();
  Deliver(user, std::move(message), targets);
}

void Messages::Deliver(User& user, Parcel message, const std::vector<SessionId>& targets) {
  const bool missed = IsMissed(message);
  if (!missed) {
    for (const SessionId& target : targets) {
      core_.DeliverParcel(*user.Find(target), message);
    }
    if (!targets.empty() && IsCopiedIn(message)) carbons_.Received(user, targets, message, {});
    return core_.Settled(message.mark);
  }
  const bool archived = IsArchived(message) && core_.Archives(user, message.from);
  const auto held = std::make_shared<Held>(Held{.message = std::move(message),
                                                .user = user.jid,
                                                .id = core_.NextArchiveId(),
                                                .archived = archived});
  if (targets.empty()) return Keep(user, held);
  held->tried = true;
  const std::string extra = archived ? StanzaIdXml(user.jid.full(), held->id) : std::string();
  Handed(user, held, targets, extra);
  if (IsCopiedIn(held->message)) carbons_.Received(user, targets, held->message, extra);
  if (archived) Archive(held);
}

void Messages::Handed(const User& user, const std::shared_ptr<Held>& held,
                      const std::vector<SessionId>& targets, std::string_view extra) {
  for (const HomeSession& session : user.sessions) {
    if (std::ranges::find(targets, session.id) == targets.end()) continue;
    ++held->live;
    const uint64_t ticket = core_.NewTicket([this, held](DeliveryEnd end) { Ended(held, end); });
    core_.DeliverParcel(session, held->message, ticket, extra);
  }
}

void Messages::Archive(const std::shared_ptr<Held>& held) {
  held->writing = true;
  WriteBatch batch;
  batch.push_back(
      AddArchive{EntryOf(held->message, held->user, held->message.from, held->id, false)});
  core_.store().Write(std::move(batch),
                      core_.InTurn<std::monostate>([this, held](const auto& done) {
                        held->writing = false;
                        // An entry with its id is this one.
                        held->durable = done || done.error() == StoreError::kConflict;
                        if (held->durable) {
                          Settle(*held);
                        } else {
                          held->archive_doubt |= done.error() == StoreError::kUnknown;
                        }
                        // It was left untaken while the store was asked.
                        if (held->live == 0 && !held->taken) return GoesOn(held);
                        if (held->durable) return;
                        // Whose sender waits for it is held anyway, and must not wait for ever.
                        const size_t bytes = held->message.content_view().size();
                        if (held->settled && !MayArchiveLater(bytes)) return;
                        held->unarchived = true;
                        unarchived_.push_back(held);
                      }));
}

bool Messages::MayArchiveLater(size_t bytes) {
  if (unarchived_bytes_ + bytes > core_.limits().unarchived_bytes ||
      unarchived_.size() + unarchived_sent_.size() >= core_.limits().unkept) {
    ++core_.counters.archive_failed;
    return false;
  }
  unarchived_bytes_ += bytes;
  return true;
}

void Messages::ArchiveAgain() {
  unarchived_bytes_ = 0;
  for (ArchiveEntry& entry : std::exchange(unarchived_sent_, {})) ArchiveSent(std::move(entry));
  for (const auto& held : std::exchange(unarchived_, {})) {
    held->unarchived = false;
    // What went back is nobody's; what waits meanwhile has its entry with it.
    const bool with_a_session = held->live > 0 || held->taken;
    if (with_a_session && !held->durable && !held->writing && !held->back) Archive(held);
  }
}

void Messages::Ended(const std::shared_ptr<Held>& held, DeliveryEnd end) {
  --held->live;
  if (end == DeliveryEnd::kTaken) {
    held->taken = true;
    return Settle(*held);
  }
  if (held->taken || held->live > 0 || held->writing) return;
  GoesOn(held);
}

// No session has it any more: as if it came now, for the account.
void Messages::GoesOn(const std::shared_ptr<Held>& held) {
  ++core_.counters.rerouted;
  core_.WithUser(held->user, [this, held](User* user, StoreError error) {
    if (user == nullptr) return NotKept(held, error);
    const auto targets = MostAvailable(*user);
    if (targets.empty() || MemoryIsShort()) return Keep(*user, held);
    std::string extra = DelayXml(user->jid.domain(), static_cast<int64_t>(held->id >> 8U));
    if (held->archived) extra += StanzaIdXml(user->jid.full(), held->id);
    Handed(*user, held, targets, extra);
    // It was to be archived with those that wait.
    if (held->archived && !held->durable && !held->writing && !held->unarchived) Archive(held);
  });
}

void Messages::Keep(User& user, const std::shared_ptr<Held>& held) {
  if (held->archive_doubt) return FindArchived(held);
  if (!core_.options().offline && held->durable) return;  // it is with the archive
  if (!core_.options().offline || !IsKeptOffline(held->message)) {
    return GiveBack(*held, ErrorXml(ErrorType::kWait, StanzaError::kRecipientUnavailable));
  }
  const auto us = static_cast<int64_t>(held->id >> 8U);
  const int64_t expires = core_.limits().offline_expires_s;
  // They leave the store by their ids: one that comes here late stands behind those that came
  // meanwhile.
  const uint64_t id = std::exchange(held->tried, true) ? core_.NextArchiveId() : held->id;
  OfflineEntry entry{.owner = user.jid.full(),
                     .id = id,
                     .expires_s = expires == 0 ? 0 : us / 1'000'000 + expires,
                     .from = held->message.from.full(),
                     .xml = {}};
  std::string extra = DelayXml(user.jid.domain(), us);
  if (held->archived) extra += StanzaIdXml(user.jid.full(), held->id);
  AppendParcel(entry.xml, held->message, extra);
  WriteBatch batch;
  if (held->archived && !held->durable) {
    batch.push_back(
        AddArchive{EntryOf(held->message, held->user, held->message.from, held->id, false)});
  }
  batch.push_back(AddOffline{.entry = std::move(entry), .most = core_.limits().offline_messages});
  user.stale = true;
  ++user.keeping;  // it stays at home until it is known what became of it
  core_.store().Write(std::move(batch),
                      core_.InTurn<std::monostate>([this, held, id](const auto& done) {
                        if (done) {
                          Kept(held);
                        } else if (done.error() == StoreError::kUnknown) {
                          Doubt(held, id);
                        } else {
                          NotKept(held, done.error());
                        }
                        User* at = core_.Find(held->user.full());
                        if (at == nullptr) return;
                        if (at->keeping > 0) --at->keeping;
                        core_.Rest(*at);
                      }));
}

void Messages::Kept(const std::shared_ptr<Held>& held) {
  held->durable = true;
  ++core_.counters.offline_stored;
  Settle(*held);
  User* at = core_.Find(held->user.full());
  if (at == nullptr) return;
  ++at->offline;
  DeliverOffline(*at);  // a session came meanwhile
}

void Messages::Look(User& user) {
  user.offline = std::max(user.offline, 1U);
  DeliverOffline(user);
}

// Who is there gets it whatever the store says: it was to come behind others, or they came
// meanwhile. What the archive has, its sender counts already: it is tried again while the store is
// away.
void Messages::NotKept(const std::shared_ptr<Held>& held, StoreError error) {
  const User* at = error == StoreError::kAbsent ? nullptr : core_.Find(held->user.full());
  if (at != nullptr && !MostAvailable(*at).empty()) return GoesOn(held);
  if (!held->durable) return GiveBack(*held, StoreErrorXml(error));
  if (error == StoreError::kAbsent || error == StoreError::kConflict) return;
  PutOff(held);
}

// Above the bound the oldest goes: it is in the archive, or its sender is told.
void Messages::PutOff(const std::shared_ptr<Held>& held) {
  unkept_.push_back(held);
  if (unkept_.size() <= core_.limits().unkept) return;
  const std::shared_ptr<Held> oldest = std::move(unkept_.front());
  unkept_.pop_front();
  ++core_.counters.offline_failed;
  GiveBack(*oldest, StoreErrorXml(StoreError::kUnknown));
  if (oldest->doubtful == 0) return;
  EndDoubt(*oldest);
  User* at = core_.Find(oldest->user.full());
  if (at == nullptr) return;
  DeliverOffline(*at);
  core_.Rest(*at);
}

void Messages::Doubt(const std::shared_ptr<Held>& held, uint64_t offline_id) {
  held->doubtful = offline_id;
  if (User* at = core_.Find(held->user.full())) ++at->doubts;
  PutOff(held);
}

void Messages::EndDoubt(Held& held) {
  held.doubtful = 0;
  User* at = core_.Find(held.user.full());
  if (at != nullptr && at->doubts > 0) --at->doubts;
}

// What was written with it in one batch, an entry of the archive, is there as it is.
void Messages::FindOut(const std::shared_ptr<Held>& held) {
  core_.store().Offline(held->user.full(), held->doubtful - 1, 1,
                        core_.InTurn<OfflinePage>([this, held](const auto& read) {
                          if (!read) return PutOff(held);
                          const uint64_t id = held->doubtful;
                          EndDoubt(*held);
                          const auto& found = read->entries;
                          if (!found.empty() && found.front().id == id) return Kept(held);
                          GoesOn(held);
                          User* at = core_.Find(held->user.full());
                          if (at != nullptr) DeliverOffline(*at);
                        }));
}

void Messages::FindArchived(const std::shared_ptr<Held>& held) {
  ArchiveQuery query{.owner = held->user.full()};
  query.start_us = query.end_us = static_cast<int64_t>(held->id >> 8U);
  core_.store().Archive(std::move(query), core_.InTurn<ArchivePage>([this, held](const auto& page) {
    if (!page) return PutOff(held);
    held->archive_doubt = false;
    if (std::ranges::find(page->entries, held->id, &ArchiveEntry::id) != page->entries.end()) {
      held->durable = true;
      Settle(*held);
    }
    GoesOn(held);
  }));
}

void Messages::Tick() {
  ArchiveAgain();
  for (const auto& held : std::exchange(unkept_, {})) {
    held->doubtful != 0 ? FindOut(held) : GoesOn(held);
  }
  for (const std::string& bare : std::exchange(unserved_, {})) {
    User* user = core_.Find(bare);
    if (user != nullptr && !user->offline_running) RemoveTaken(*user);
  }
}

void Messages::Settle(Held& held) {
  if (!std::exchange(held.settled, true)) core_.Settled(held.message.mark);
}

void Messages::GiveBack(Held& held, std::string error_xml) {
  if (std::exchange(held.settled, true)) return;
  held.back = true;
  core_.Bounce(held.message, std::move(error_xml));
}

void Messages::ArriveIq(const HomeSession& session, const Parcel& iq) {
  uint64_t ticket = 0;
  if (iq.type == StanzaType::kGet || iq.type == StanzaType::kSet) {
    ticket = core_.NewTicket([this, iq](DeliveryEnd end) {
      if (end == DeliveryEnd::kLost) core_.BounceGone(iq);
    });
  }
  core_.DeliverParcel(session, iq, ticket);
}

// --- What waited (XEP-0160).

void Messages::DeliverOffline(User& user) {
  // What is on its way into the store is there before it is read.
  const bool none = user.offline == 0 && user.keeping == 0;
  if (user.offline_taken != nullptr && !none) SetBehind(user);  // it will be read
  if (user.offline_running || user.offline_taken != nullptr) return;
  NoneBehind(user);  // what comes while it is read waits for that, and else for nothing
  if (none || user.doubts != 0 || MostAvailable(user).empty()) return;
  user.offline = 0;  // one that is stored from here on may not be read
  user.offline_running = true;
  user.offline_reading = true;
  if (user.waiting == nullptr) user.waiting = std::make_unique<User::Waiting>();
  const std::string bare = user.jid.full();
  core_.store().Offline(
      bare, 0, core_.limits().offline_messages,
      core_.InTurn<OfflinePage>([this, bare](auto read) { OfflineRead(bare, std::move(read)); }));
}

void Messages::OfflineRead(const std::string& bare, std::expected<OfflinePage, StoreError> read) {
  User* user = core_.Find(bare);
  if (user == nullptr) return;
  user->offline_reading = false;
  HomeSession* session = ForOffline(*user);
  if (!read || read->entries.empty() || session == nullptr || user->doubts != 0) {
    user->offline_running = false;
    if (!read || !read->entries.empty()) ++user->offline;
    if (!read) unserved_.push_back(bare);
    return ReleaseWaiting(*user);
  }
  const auto waited = std::make_shared<Waited>(Waited{.user = user->jid, .ids = {}, .taken = {}});
  waited->taken.resize(read->entries.size());
  waited->open = read->entries.size();
  for (size_t i = 0; i < read->entries.size(); ++i) {
    OfflineEntry& entry = read->entries[i];
    waited->ids.push_back(entry.id);
    Delivery delivery;
    delivery.xml = std::move(entry.xml);
    delivery.kind = StanzaKind::kMessage;
    delivery.message_of_people = true;
    delivery.ticket =
        core_.NewTicket([this, waited, i](DeliveryEnd end) { OfflineEnded(waited, i, end); });
    core_.Deliver(session->id, std::move(delivery));
  }
  if (!read->complete) ++user->offline;
  if (!read->complete) SetBehind(*user);
  ReleaseWaiting(*user);
}

void Messages::ReleaseWaiting(User& user) {
  if (user.waiting != nullptr) {
    auto messages = std::exchange(user.waiting->messages, {});
    for (Parcel& message : messages) Arrive(user, std::move(message));
  }
  core_.Rest(user);
}

// Those that were taken leave the store when the end of all is known.
void Messages::OfflineEnded(const std::shared_ptr<Waited>& waited, size_t index, DeliveryEnd end) {
  waited->taken[index] = end == DeliveryEnd::kTaken;
  if (--waited->open > 0) return;
  std::vector<uint64_t> taken;
  for (size_t i = 0; i < waited->ids.size(); ++i) {
    if (waited->taken[i]) taken.push_back(waited->ids[i]);
  }
  User* user = core_.Find(waited->user.full());
  if (user == nullptr) return;
  user->offline_running = false;
  user->offline += static_cast<uint32_t>(waited->ids.size() - taken.size());
  // None are read while some wait to leave: there is no other list.
  if (!taken.empty()) {
    user->offline_taken = std::make_unique<std::vector<uint64_t>>(std::move(taken));
  }
  RemoveTaken(*user);
}

// Until they have left the store no more are read.
void Messages::RemoveTaken(User& user) {
  if (user.offline_taken == nullptr) {
    DeliverOffline(user);
    return core_.Rest(user);
  }
  user.stale = true;
  user.offline_running = true;
  WriteBatch batch;
  batch.push_back(RemoveOffline{.user = user.jid.full(), .ids = *user.offline_taken});
  core_.store().Write(
      std::move(batch),
      core_.InTurn<std::monostate>([this, bare = user.jid.full()](const auto& done) {
        User* at = core_.Find(bare);
        if (at == nullptr) return;
        at->offline_running = false;
        if (!done) {
          NoneBehind(*at);  // nobody waits for a store that is away
          return unserved_.push_back(bare);
        }
        at->offline_taken.reset();
        RemoveTaken(*at);
      }));
}

}  // namespace server
