#include "server/im/home.h"

#include <algorithm>
#include <utility>

#include "server/im/account_view.h"
#include "server/im/stanza_parcel.h"

namespace server {
namespace {

// Ids of a session that moves again before it has left where it was.
constexpr size_t kBeforeMax = 4;

bool IsRequest(const Parcel& iq) {
  return iq.type == StanzaType::kGet || iq.type == StanzaType::kSet;
}

std::string StoreFailureXml(StoreError error) {
  if (error == StoreError::kAbsent) return ErrorXml(StanzaError::kServiceUnavailable);
  return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "the store does not answer");
}

bool AnyAvailable(const User& user) {
  return std::ranges::any_of(user.sessions,
                             [](const HomeSession& session) { return session.available; });
}

}  // namespace

void AddHomeFeatures(IqTable& table, const HomeOptions& options) {
  for (const std::string_view feature : {kRosterSpace, kBlockingSpace, kCarbonsSpace}) {
    table.Feature(IqTarget::kServer, feature);
  }
  if (options.offline) table.Feature(IqTarget::kServer, "msgoffline");
  if (options.archive) table.Feature(IqTarget::kAccount, "urn:xmpp:sid:0");
}

Home::Home(HomeOptions options, SessionGate& sessions, HomeGate& homes, StoreClient& store,
           const IqTable& handlers, const net::Clock& clock, std::function<int64_t()> unix_us,
           std::function<uint64_t()> random)
    : core_(std::move(options), sessions, homes, store, clock, std::move(unix_us),
            std::move(random)),
      handlers_(handlers) {
  core_.on_changed = [this](const Jid& user, AccountChange change) { Changed(user, change); };
}

// --- Binding (RFC 6120 section 7).

void Home::Bind(BindRequest request) {
  const HomeCore::Turn turn(core_);
  // None: it was read at another node, or may have changed since.
  if (request.loaded != nullptr) {
    if (!request.loaded->exists) {
      return core_.BindFailed(request.session, ErrorXml(StanzaError::kNotAuthorized));
    }
    if (User* user = core_.Adopt(request.user, request.loaded)) {
      return BindTo(*user, std::move(request));
    }
  }
  const Jid bare = request.user;
  core_.WithUser(bare, [this, request = std::move(request)](User* user, StoreError error) mutable {
    if (user == nullptr) return core_.BindFailed(request.session, StoreFailureXml(error));
    if (request.loaded != nullptr && user->roster_version == request.loaded->roster_version &&
        !user->busy) {
      user->loaded = request.loaded;
    }
    BindTo(*user, std::move(request));
  });
}

std::string Home::FreeResource(User& user) {
  static constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuv";
  std::string resource;
  do {
    resource.clear();
    uint64_t random = core_.random();
    for (int i = 0; i < 12; ++i, random >>= 5U) resource += kDigits[random & 31U];
  } while (user.FindResource(resource) != nullptr);
  return resource;
}

void Home::BindTo(User& user, BindRequest request) {
  if (request.resource.empty()) request.resource = FreeResource(user);
  const auto same = std::ranges::find(user.sessions, request.resource, &HomeSession::resource);
  if (same != user.sessions.end()) {
    // Section 7.7.2.2: the newer one stays.
    core_.Close(same->id, net::StreamError::kConflict, "bound again by another session");
    End(user, *same);
  }
  if (user.sessions.size() >= core_.limits().sessions) {
    // One whose connection is gone may have been forgotten by its client.
    const auto detached = std::ranges::find(user.sessions, true, [](const HomeSession& session) {
      return static_cast<bool>(session.detached);
    });
    if (detached == user.sessions.end()) {
      core_.BindFailed(request.session, ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                                                 "the account has as many sessions as it may"));
      return core_.Rest(user);
    }
    core_.Close(detached->id, net::StreamError::kPolicyViolation, "too many sessions");
    End(user, *detached);
  }
  HomeSession session;
  session.id = request.session;
  session.resource = std::move(request.resource);
  session.resumable = request.resumable;
  session.secure = request.secure;
  const Jid full = user.FullOf(session);
  user.sessions.reserve(user.sessions.size() + 1);
  user.sessions.push_back(std::move(session));
  if (user.loaded != nullptr) {
    kept_rosters_.push_back({user.jid, core_.clock().Now() + core_.limits().roster_kept});
  }
  core_.Bound(request.session, full);
}

void Home::Tick() {
  const HomeCore::Turn turn(core_);
  const net::Time now = core_.clock().Now();
  while (!kept_rosters_.empty() && kept_rosters_.front().until <= now) {
    if (User* user = core_.Find(kept_rosters_.front().user.full())) user->loaded = nullptr;
    kept_rosters_.pop_front();
  }
  core_.Tick();
  messages_.Tick();
  rosters_.Tick();
}

void Home::Ease() {
  const HomeCore::Turn turn(core_);
  for (const KeptRoster& kept : std::exchange(kept_rosters_, {})) {
    if (User* user = core_.Find(kept.user.full())) user->loaded = nullptr;
  }
  core_.EvictIdle(0);
}

void Home::Changed(const SessionId& session, const Jid& user, SessionState state) {
  const HomeCore::Turn turn(core_);
  User* at = core_.Find(user.full());
  HomeSession* changed = at == nullptr ? nullptr : at->Find(session);
  if (changed == nullptr) return;
  changed->resumable = state.resumable;
  changed->detached = state.detached;
  if (state.detached) changed->behind = false;
  changed->resume_tag = state.resume_tag;
}

// Behind all that was delivered to the session where it was: its end there is told in that order.
void Home::Resume(const SessionId& next, const Jid& user, uint64_t tag) {
  const HomeCore::Turn turn(core_);
  User* at = core_.Find(user.full());
  if (at != nullptr && tag != 0) {
    for (HomeSession& session : at->sessions) {
      if (session.resume_tag != tag || session.ending) continue;
      // So many are still to say their last: what they had sent would be nobody's.
      if (session.before.size() >= kBeforeMax) break;
      const SessionId before = std::exchange(session.id, next);
      session.before.push_back(before);
      session.behind = false;  // what it has is on its way from there, for as long as that takes
      return core_.Move(before, next, user);
    }
  }
  core_.ResumeFailed(next);
}

void Home::DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                         DeliveryEnd end) {
  const HomeCore::Turn turn(core_);
  if (end == DeliveryEnd::kLost) {
    User* at = core_.Find(user.full());
    if (HomeSession* ending = at == nullptr ? nullptr : at->Find(session)) ending->ending = true;
  }
  core_.EndTicket(ticket, end);
}

void Home::Gone(const SessionId& session, const Jid& user) {
  const HomeCore::Turn turn(core_);
  User* at = core_.Find(user.full());
  HomeSession* gone = at == nullptr ? nullptr : at->FindSender(session);
  if (gone == nullptr) return;
  // Where it was, it is no more: nothing comes from there.
  if (gone->id != session) {
    std::erase(gone->before, session);
    return;
  }
  End(*at, *gone);
  core_.Rest(*at);
}

void Home::End(User& user, HomeSession& session) {
  const bool was = session.available;
  presences_.End(user, session);
  std::erase_if(user.sessions,
                [id = session.id](const HomeSession& other) { return other.id == id; });
  if (was && !AnyAvailable(user)) NoteLast(user, {});
}

// XEP-0012: when the user was last here, and what they said then.
void Home::NoteLast(const User& user, std::string status) {
  WriteBatch batch;
  batch.push_back(
      PutLast{.user = user.jid.full(),
              .last = {.seconds = core_.unix_us() / 1'000'000, .status = std::move(status)}});
  core_.store().Write(std::move(batch), [](const auto&) {});
}

void Home::Changed(const Jid& user, AccountChange change) {
  User* at = core_.Find(user.full());
  if (at == nullptr) return;
  if (change == AccountChange::kArchivePrefs) return ReadArchivePrefs(*at);
  if (change != AccountChange::kRemoved) return;
  rosters_.RemoveAll(*at);
  Expel(*at, net::StreamError::kNotAuthorized, "the account was removed");
}

void Home::ReadArchivePrefs(User& user) {
  core_.store().ArchivePrefs(user.jid.full(),
                             core_.InTurn<std::string>([this, bare = user.jid](const auto& xml) {
                               User* at = core_.Find(bare.full());
                               if (at != nullptr && xml) at->SetArchivePrefs(*xml);
                             }));
}

void Home::Expel(const Jid& user, net::StreamError error, const std::string& text) {
  const HomeCore::Turn turn(core_);
  User* at = core_.Find(user.full());
  if (at == nullptr) return;
  Expel(*at, error, text);
}

void Home::Look(const Jid& user) {
  const HomeCore::Turn turn(core_);
  if (User* at = core_.Find(user.full())) messages_.Look(*at);
}

void Home::RoomsLost(const std::vector<std::string>& rooms) {
  const HomeCore::Turn turn(core_);
  const std::unordered_set<std::string> names(rooms.begin(), rooms.end());
  core_.ForEachUser([&](User& user) { presences_.RoomsLost(user, names); });
}

void Home::Release(const std::string& bare) {
  const HomeCore::Turn turn(core_);
  if (User* at = core_.Find(bare)) core_.Rest(*at);
}

void Home::Expel(User& user, net::StreamError error, const std::string& text) {
  while (!user.sessions.empty()) {
    HomeSession& session = user.sessions.front();
    core_.Close(session.id, error, text);
    presences_.End(user, session);
    user.sessions.erase(user.sessions.begin());
  }
  core_.Forget(user.jid.full());
}

// --- From sessions.

void Home::Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) {
  const HomeCore::Turn turn(core_);
  User* at = core_.Find(user.full());
  HomeSession* sender = at == nullptr ? nullptr : at->FindSender(session);
  if (sender == nullptr) return;  // ended with <conflict/> meanwhile
  SentStanza sent = ReadSentStanza(stanza, at->FullOf(*sender), mark, core_.names());
  if (sent.error) return Refuse(*sender, sent.parcel, ErrorXml(*sent.error));
  switch (sent.parcel.kind) {
    case StanzaKind::kMessage:
      return SendMessage(*at, *sender, std::move(sent.parcel));
    case StanzaKind::kPresence:
      return SendPresence(*at, *sender, std::move(sent));
    case StanzaKind::kIq:
      return SendIq(*at, *sender, std::move(sent.parcel));
  }
}

// To the session itself: the way over Route() would be shut by the user's own blocking list.
void Home::Refuse(const HomeSession& session, const Parcel& parcel, std::string error_xml) {
  if (parcel.type != StanzaType::kError && parcel.type != StanzaType::kResult) {
    ++core_.counters.bounced;
    core_.DeliverParcel(session, ErrorFor(parcel, std::move(error_xml)));
  }
  core_.Settled(parcel.mark);
}

// Whether it may go where it is to go; refused else.
bool Home::MayGo(const User& user, const HomeSession& session, const Parcel& parcel) {
  if (user.Blocks(parcel.to)) {
    Refuse(session, parcel, BlockedByYouXml());
    return false;
  }
  if (std::ranges::find(core_.names(), parcel.to.domain()) == core_.names().end()) {
    Refuse(session, parcel, ErrorXml(StanzaError::kRemoteServerNotFound));
    return false;
  }
  return true;
}

void Home::SendMessage(User& user, HomeSession& session, Parcel message) {
  if (MayGo(user, session, message)) messages_.Send(user, session, std::move(message));
}

void Home::SendPresence(User& user, HomeSession& session, SentStanza sent) {
  Parcel& parcel = sent.parcel;
  const bool broadcast =
      parcel.type == StanzaType::kAvailable || parcel.type == StanzaType::kUnavailable;
  if (!sent.addressed) {
    if (!broadcast) return Refuse(session, parcel, ErrorXml(StanzaError::kBadRequest));
    core_.Settled(std::exchange(parcel.mark, {}));
    const SessionId id = session.id;
    const auto change = presences_.Broadcast(user, session, sent);
    if (change == Presences::Change::kAvailable) rosters_.TellRequests(user, id);
    if (parcel.type == StanzaType::kAvailable) messages_.DeliverOffline(user);
    if (change == Presences::Change::kUnavailable && !AnyAvailable(user)) {
      NoteLast(user, sent.status);
    }
    return;
  }
  if (!MayGo(user, session, parcel)) return;
  if (IsSubscriptionType(parcel.type)) return rosters_.Send(user, std::move(parcel));
  presences_.Direct(user, session, std::move(parcel));
}

void Home::SendIq(User& user, HomeSession& session, Parcel iq) {
  if (!MayGo(user, session, iq)) return;
  core_.Settled(std::exchange(iq.mark, {}));
  const bool own = iq.to == user.jid;
  const bool server = iq.to.is_domain() && core_.IsOwn(iq.to.domain());
  if (!own && !server) return core_.Route(std::move(iq));
  if (!IsRequest(iq)) return;  // to what the server asked; nobody waits for it
  AskOwn(user, session, server ? IqTarget::kServer : IqTarget::kAccount, std::move(iq));
}

// --- IQ that the home or its handlers answer.

IqCall::Answer Home::AnswerTo(const Parcel& iq, SessionId session, const Jid& user) {
  Parcel answer = iq;
  answer.from = iq.to;
  answer.to = iq.from;
  answer.content = nullptr;
  answer.lang.clear();
  answer.iq_name.clear();
  answer.iq_space.clear();
  auto asking = session ? Asking(user.full()) : nullptr;
  return [this, alive = core_.alive(), answer = std::move(answer), session, bare = user.full(),
          asking = std::move(asking)](StanzaType type, std::string content) mutable {
    if (alive.expired()) return;
    const HomeCore::Turn turn(core_);
    answer.type = type;
    if (!content.empty()) {
      answer.content = std::make_shared<const std::string>(std::move(content));
    }
    if (!session) return core_.Route(std::move(answer));
    const User* at = core_.Find(bare);
    if (at == nullptr) return;
    for (const HomeSession& asked : at->sessions) {
      if (asked.id == session) return core_.DeliverParcel(asked, answer);
    }
  };
}

void Home::AskOwn(User& user, HomeSession& session, IqTarget target, Parcel iq) {
  auto answer = AnswerTo(iq, session.id, user.jid);
  const IqHandler* handler = handlers_.Find(target, iq.iq_name, iq.iq_space);
  IqCall call(std::move(iq), target, session.id, MakeAccountView(core_, user.jid),
              std::move(answer));
  if (target == IqTarget::kAccount) {
    const std::string_view space = call.request().iq_space;
    if (space == kRosterSpace) return rosters_.Handle(user, session, std::move(call));
    if (space == kBlockingSpace) return blocking_.Handle(user, session, std::move(call));
    if (space == kCarbonsSpace && call.is_set()) {
      if (Carbons::Set(session, call.request().iq_name)) return call.Result();
      return call.Error(StanzaError::kBadRequest);
    }
  }
  if (handler == nullptr) return call.Error(StanzaError::kServiceUnavailable);
  (*handler)(std::move(call));
}

void Home::Ask(IqTarget target, Parcel iq) {
  const IqHandler* handler = handlers_.Find(target, iq.iq_name, iq.iq_space);
  if (handler == nullptr) return core_.Bounce(iq, StanzaError::kServiceUnavailable);
  const Jid whose = target == IqTarget::kServer ? iq.from.Bare() : iq.to;
  auto answer = AnswerTo(iq, {}, whose);
  (*handler)(IqCall(std::move(iq), target, {}, MakeAccountView(core_, whose), std::move(answer)));
}

// --- For users and the server.

void Home::Route(Parcel parcel) {
  const HomeCore::Turn turn(core_);
  if (!core_.IsOwn(parcel.to.domain())) {
    // Contacts of before may be elsewhere; nobody waits for what presence says of that.
    if (parcel.kind == StanzaKind::kPresence) return core_.Settled(parcel.mark);
    return core_.Bounce(parcel, StanzaError::kRemoteServerNotFound);
  }
  if (parcel.to.local().empty()) return RouteToServer(std::move(parcel));
  switch (parcel.kind) {
    case StanzaKind::kMessage:
      return RouteMessage(std::move(parcel));
    case StanzaKind::kPresence:
      return RoutePresence(parcel);
    case StanzaKind::kIq:
      return RouteIq(std::move(parcel));
  }
}

void Home::RouteToServer(Parcel parcel) {
  if (parcel.kind == StanzaKind::kPresence) return core_.Settled(parcel.mark);
  if (parcel.kind == StanzaKind::kIq && IsRequest(parcel) && parcel.to.is_bare()) {
    return Ask(IqTarget::kServer, std::move(parcel));
  }
  core_.Bounce(parcel, StanzaError::kServiceUnavailable);
}

void Home::RouteMessage(Parcel parcel) {
  const Jid bare = parcel.to.Bare();
  if (User* user = core_.Find(bare.full())) {
    messages_.Arrive(*user, std::move(parcel));
    if (User* still = core_.Find(bare.full())) core_.Rest(*still);
    return;
  }
  core_.WithUser(bare, [this, parcel = std::move(parcel)](User* user, StoreError error) mutable {
    if (user == nullptr && error == StoreError::kAbsent) return core_.BounceGone(parcel);
    if (user == nullptr) return core_.Bounce(parcel, StoreFailureXml(error));
    messages_.Arrive(*user, std::move(parcel));
  });
}

void Home::RoutePresence(const Parcel& parcel) {
  if (IsSubscriptionType(parcel.type)) return rosters_.Arrive(parcel);
  User* user = core_.Find(parcel.to.bare());
  if (user != nullptr) presences_.Arrive(*user, parcel);
}

void Home::RouteIq(Parcel parcel) {
  if (!parcel.to.is_bare()) {
    User* user = core_.Find(parcel.to.bare());
    const HomeSession* session =
        user == nullptr ? nullptr : user->FindResource(parcel.to.resource());
    if (session == nullptr) return core_.BounceGone(parcel);
    if (user->Blocks(parcel.from)) {
      return core_.Bounce(parcel, StanzaError::kServiceUnavailable);
    }
    return messages_.ArriveIq(*session, parcel);
  }
  if (!IsRequest(parcel)) return;
  const Jid bare = parcel.to;
  core_.WithUser(bare, [this, parcel = std::move(parcel)](User* user, StoreError error) mutable {
    if (user == nullptr) return core_.Bounce(parcel, StoreFailureXml(error));
    if (user->Blocks(parcel.from)) {
      return core_.Bounce(parcel, StanzaError::kServiceUnavailable);
    }
    Ask(IqTarget::kAccount, std::move(parcel));
  });
}

}  // namespace server
