#include "server/im/home_core.h"

#include <algorithm>
#include <utility>

#include "net/base/check.h"

namespace server {

HomeCore::HomeCore(HomeOptions options, SessionGate& sessions, HomeGate& homes, StoreClient& store,
                   const net::Clock& clock, std::function<int64_t()> unix_us,
                   std::function<uint64_t()> random)
    : options_(std::move(options)),
      names_(options_.domains),
      sessions_(sessions),
      homes_(homes),
      store_(store),
      clock_(clock),
      unix_us_(std::move(unix_us)),
      random_(std::move(random)) {
  names_.insert(names_.end(), options_.services.begin(), options_.services.end());
}

// --- Out.

void HomeCore::Send(Out out) {
  DCHECK(turns_ > 0);
  out_.push_back(std::move(out));
}

void HomeCore::Flush() {
  if (flushing_) return;  // further down on the stack; it takes what has come
  flushing_ = true;
  struct Visit {
    HomeCore& core;
    void operator()(DeliveryOut& out) {
      core.sessions_.Deliver(out.session, std::move(out.delivery));
    }
    void operator()(Parcel& parcel) { core.homes_.Route(std::move(parcel)); }
    void operator()(SenderMark& mark) { core.sessions_.Settled(mark); }
    void operator()(BoundOut& out) { core.sessions_.Bound(out.session, out.full); }
    void operator()(FailedOut& out) {
      core.sessions_.BindFailed(out.session, std::move(out.error));
    }
    void operator()(CloseOut& out) {
      core.sessions_.Close(out.session, out.error, std::move(out.text));
    }
    void operator()(MoveOut& out) { core.sessions_.Move(out.session, out.next, out.user); }
    void operator()(ResumeFailedOut& out) { core.sessions_.ResumeFailed(out.next); }
  };
  while (!out_.empty()) {
    Out out = std::move(out_.front());
    out_.pop_front();
    std::visit(Visit{*this}, out);
  }
  flushing_ = false;
}

void HomeCore::Deliver(const SessionId& session, Delivery delivery) {
  Send(DeliveryOut{session, std::move(delivery)});
}
void HomeCore::Bound(const SessionId& session, const Jid& full) { Send(BoundOut{session, full}); }
void HomeCore::BindFailed(const SessionId& session, std::string error_xml) {
  Send(FailedOut{session, std::move(error_xml)});
}
void HomeCore::Close(const SessionId& session, net::StreamError error, std::string text) {
  Send(CloseOut{session, error, std::move(text)});
}
void HomeCore::Move(const SessionId& session, const SessionId& next, const Jid& user) {
  Send(MoveOut{session, next, user});
}
void HomeCore::ResumeFailed(const SessionId& next) { Send(ResumeFailedOut{next}); }
void HomeCore::Settled(const SenderMark& mark) {
  if (mark) Send(mark);
}
void HomeCore::Route(Parcel parcel) { Send(std::move(parcel)); }

void HomeCore::Bounce(const Parcel& parcel, std::string error_xml) {
  if (parcel.type != StanzaType::kError && parcel.type != StanzaType::kResult) {
    ++counters.bounced;
    Route(ErrorFor(parcel, std::move(error_xml)));
  }
  Settled(parcel.mark);
}

void HomeCore::BounceGone(const Parcel& parcel) {
  if (parcel.type != StanzaType::kError && parcel.type != StanzaType::kResult) {
    ++counters.bounced;
    Parcel error = ErrorFor(parcel, ErrorXml(StanzaError::kServiceUnavailable));
    error.traits.no_session = true;
    Route(std::move(error));
  }
  Settled(parcel.mark);
}

void HomeCore::DeliverParcel(const HomeSession& session, const Parcel& parcel, uint64_t ticket,
                             std::string_view extra) {
  Delivery delivery;
  delivery.kind = parcel.kind;
  delivery.ticket = ticket;
  if (parcel.kind == StanzaKind::kPresence &&
      (parcel.type == StanzaType::kAvailable || parcel.type == StanzaType::kUnavailable)) {
    delivery.replaces = parcel.from.full();
  } else if (parcel.kind == StanzaKind::kMessage) {
    if (parcel.traits.chat_state) (delivery.replaces = "chat-state:") += parcel.from.bare();
    delivery.message_of_people = !parcel.traits.chat_state && parcel.type != StanzaType::kError;
  }
  AppendParcel(delivery.xml, parcel, extra);
  Deliver(session.id, std::move(delivery));
}

// --- Users.

User* HomeCore::Find(std::string_view bare) {
  const auto found = users_.find(bare);
  return found == users_.end() || (*found)->loading ? nullptr : found->get();
}

void HomeCore::WithUser(const Jid& bare, UserAction then) {
  const auto found = users_.find(std::string_view(bare.full()));
  if (found != users_.end() && !(*found)->loading) {
    then(found->get(), {});
    if (User* still = Find(bare.full())) Rest(*still);
    return;
  }
  if (found != users_.end()) {
    auto& load = (*found)->waiting->load;
    if (load.size() >= limits().waiting) return then(nullptr, StoreError::kBusy);
    load.push_back(std::move(then));
    return;
  }
  User& user = **users_.insert(std::make_unique<User>(bare)).first;
  user.loading = true;
  user.waiting = std::make_unique<User::Waiting>();
  user.waiting->load.push_back(std::move(then));
  // The store may refuse at once: nothing of the user is touched behind this.
  store_.Load(
      bare.full(),
      InTurn<LoadedUser>([this, bare = bare.full()](std::expected<LoadedUser, StoreError> result) {
        Loaded(bare, std::move(result));
      }));
}

void HomeCore::Loaded(const std::string& bare, std::expected<LoadedUser, StoreError> result) {
  const auto found = users_.find(std::string_view(bare));
  if (found == users_.end() || !(*found)->loading) return;
  User& user = **found;
  auto actions = std::move(user.waiting->load);
  user.loading = false;
  user.waiting = nullptr;
  if (!result || !result->exists) {
    const StoreError error = result ? StoreError::kAbsent : result.error();
    users_.erase(found);
    if (options_.left) options_.left(bare, false);
    for (UserAction& action : actions) action(nullptr, error);
    return;
  }
  Fill(user, *result);
  // The first of them is a bind or a message most often; each finds the user itself.
  for (UserAction& action : actions) action(Find(bare), StoreError::kAbsent);
  if (User* still = Find(bare)) Rest(*still);
}

void HomeCore::Fill(User& user, const LoadedUser& loaded) {
  user.contacts.Set(loaded.roster, user.jid.domain());
  user.blocked.Set(loaded.blocked);
  user.roster_version = loaded.roster_version;
  user.offline = loaded.offline;
  user.SetArchivePrefs(loaded.archive_prefs);
}

User* HomeCore::Adopt(const Jid& bare, const std::shared_ptr<const LoadedUser>& loaded) {
  if (User* user = Find(bare.full())) {
    // What is at home is newer than what a login has read, never older; but for messages that a
    // store in trouble kept though somebody took them: reading once for nothing is no harm.
    if (user->sessions.empty()) user->offline = std::max(user->offline, loaded->offline);
    if (user->roster_version == loaded->roster_version && !user->busy) user->loaded = loaded;
    return user;
  }
  if (users_.contains(std::string_view(bare.full())) || MayBeStale(bare.full())) return nullptr;
  User& user = **users_.insert(std::make_unique<User>(bare)).first;
  Fill(user, *loaded);
  user.loaded = loaded;
  return &user;
}

void HomeCore::BeginChange(User& user, UserAction action) {
  user.stale = true;
  BeginTurn(user, std::move(action));
}

void HomeCore::BeginTurn(User& user, UserAction action) {
  if (!user.busy) {
    user.busy = true;
    return action(&user, {});
  }
  if (user.waiting == nullptr) user.waiting = std::make_unique<User::Waiting>();
  if (user.waiting->turn.size() >= limits().waiting) return action(nullptr, StoreError::kBusy);
  user.waiting->turn.push_back(std::move(action));
}

void HomeCore::EndChange(std::string_view bare) {
  User* user = Find(bare);
  if (user == nullptr) return;
  user->busy = false;
  if (user->waiting == nullptr || user->waiting->turn.empty()) return Rest(*user);
  UserAction next = std::move(user->waiting->turn.front());
  user->waiting->turn.pop_front();
  user->busy = true;
  next(user, {});
}

void HomeCore::ReadBack(const Jid& bare, StoredAction then) {
  const auto shared = std::make_shared<StoredAction>(std::move(then));
  store_.Load(bare.full(), InTurn<LoadedUser>([this, bare, shared](const auto& stored) {
                if (stored) return (*shared)(*stored);
                unread_.emplace_back(bare, std::move(*shared));
              }));
}

void HomeCore::Tick() {
  for (auto& [bare, then] : std::exchange(unread_, {})) ReadBack(bare, std::move(then));
}

bool HomeCore::UnderWay(const User& user) {
  return user.loading || user.busy || user.keeping != 0 || user.offline_running ||
         user.doubts != 0 || user.offline_taken != nullptr || user.offline_reading ||
         (user.waiting != nullptr && (!user.waiting->load.empty() || !user.waiting->turn.empty() ||
                                      !user.waiting->messages.empty()));
}

void HomeCore::Rest(User& user) {
  if (!user.sessions.empty() || UnderWay(user)) return;
  if (options_.may_stay && !options_.may_stay(user.jid.full())) return Evict(user);
  user.loaded = nullptr;
  user.waiting = nullptr;
  user.idle_mark = ++idle_marks_;
  idle_.push_back({user.jid.full(), user.idle_mark});
  EvictIdle(limits().idle_users);
}

void HomeCore::EvictIdle(size_t most) {
  while (idle_.size() > most) {
    const Idle oldest = std::move(idle_.front());
    idle_.pop_front();
    const auto found = users_.find(std::string_view(oldest.bare));
    if (found != users_.end() && (*found)->idle_mark == oldest.mark &&
        (*found)->sessions.empty() && !UnderWay(**found)) {
      Evict(**found);
    }
  }
}

void HomeCore::Evict(User& user) {
  const std::string bare = user.jid.full();
  if (user.stale) {
    const net::Time until = clock_.Now() + limits().login_max;
    if (changed_order_.size() >= kChangedMax) {
      all_stale_until_ = until;
      changed_.clear();
      changed_order_.clear();
    }
    changed_[bare] = until;
    changed_order_.emplace_back(bare, until);
  }
  const bool changed = user.stale;
  users_.erase(users_.find(std::string_view(bare)));
  if (options_.left) options_.left(bare, changed);
}

void HomeCore::Forget(std::string_view bare) {
  User* user = Find(bare);
  if (user == nullptr) return;
  user->stale = true;
  // What waits for its turn is answered when the user is not to be found any more; messages that
  // wait behind others come anew, for whoever has the user then.
  const auto waiting = std::move(user->waiting);
  Evict(*user);
  if (waiting == nullptr) return;
  for (Parcel& message : waiting->messages) Route(std::move(message));
}

bool HomeCore::MayBeStale(const std::string& bare) {
  const net::Time now = clock_.Now();
  while (!changed_order_.empty() && changed_order_.front().second <= now) {
    const auto& [name, until] = changed_order_.front();
    const auto found = changed_.find(name);
    if (found != changed_.end() && found->second == until) changed_.erase(found);
    changed_order_.pop_front();
  }
  return now < all_stale_until_ || changed_.contains(bare);
}

// --- The rest.

bool HomeCore::IsOwn(std::string_view domain) const {
  return std::ranges::find(options_.domains, domain) != options_.domains.end();
}

bool HomeCore::Archives(const User& user, const Jid& peer) const {
  if (!options_.archive) return false;
  const bool known = user.archive_prefs != nullptr;
  if (!known && *options_.archive == ArchiveDefault::kAlways) return true;
  const bool in_roster = user.contacts.Find(peer.bare(), user.jid.domain()).listed();
  return WantsArchive(known ? *user.archive_prefs : ArchivePrefs{.by_default = *options_.archive},
                      peer, in_roster);
}

uint64_t HomeCore::NewTicket(TicketEnd end) {
  tickets_.emplace(++last_ticket_, std::move(end));
  return last_ticket_;
}

void HomeCore::EndTicket(uint64_t ticket, DeliveryEnd end) {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return;
  TicketEnd action = std::move(found->second);
  tickets_.erase(found);
  action(end);
}

}  // namespace server
