// The worker itself: connections, the mailboxes, the way to homes.
#include "server/c2s/xmpp_worker.h"

#include <algorithm>
#include <utility>

#include "net/base/check.h"
#include "net/limit/source_table.h"
#include "server/c2s/sasl_channel.h"
#include "server/im/message_bytes.h"

namespace server {
namespace {

// What waits for a worker; above it whoever puts tries again in the next turn.
constexpr size_t kMailboxMax = size_t{1} << 20U;
// In line, with those that did not wait; who does is one of `unauthenticated_max`.
constexpr size_t kLoginsMax = 16'384;
constexpr net::Duration kTick = std::chrono::seconds(1);
constexpr net::Duration kMailAgain = std::chrono::milliseconds(1);

bool MaySendAway(Session& session) {
  const ClientStream& stream = session.stream();
  return stream.state() != ClientStream::State::kEnded && !stream.leaving();
}

}  // namespace

XmppWorker::XmppWorker(XmppShared& shared, net::EventLoop& loop, size_t index)
    : shared_(shared),
      loop_(loop),
      index_(index),
      hashing_(shared.hashing, loop),
      box_(loop, kMailboxMax,
           [this](std::vector<Item>& batch) {
             for (Item& item : batch) item(*this);
           }),
      out_(shared.options.workers),
      last_life_(static_cast<uint64_t>(shared.unix_us())),
      places_(shared.options.sessions_max),
      admission_(shared.options.login_cpu),
      jitter_(last_life_ + index) {
  const XmppOptions& options = shared.options;
  ground_.limits = options.limits;
  ground_.limits.bound.waiting_bytes = &shared.waiting_bytes;
  ground_.sasl = options.sasl;
  ground_.tls_need = options.tls_need;
  ground_.domains = options.domains;
  ground_.features = options.features;
  ground_.sign_up = options.sign_up;
  ground_.random = shared.random;
}

std::expected<std::unique_ptr<XmppWorker>, std::string> XmppWorker::Create(XmppShared& shared,
                                                                           net::EventLoop& loop,
                                                                           size_t index) {
  std::unique_ptr<XmppWorker> worker(new XmppWorker(shared, loop, index));
  auto conns = net::ConnWorker::Create(loop, shared.options.conn, shared.handshakes);
  if (!conns) return std::unexpected(conns.error());
  worker->conns_ = std::move(*conns);
  worker->conns_->SetTurnEnd([w = worker.get()] { w->OnTurnEnd(); });
  worker->store_ = shared.make_store(loop);
  worker->home_ = shared.make_home(
      {.worker = index,
       .loop = loop,
       .sessions = *worker,
       .homes = *worker,
       .store = *worker->store_,
       .domains = shared.options.domains,
       .aside = [w = worker.get()](net::Task work,
                                   net::Task done) { w->Aside(std::move(work), std::move(done)); },
       .may_stay = [w = worker.get()](const std::string& bare) { return w->far_->MayStay(bare); },
       .left = [w = worker.get()](const std::string& bare,
                                  bool changed) { w->far_->Left(bare, changed); },
       .took = [w = worker.get()](const std::string& bare) { w->far_->Took(bare); }});
  worker->ground_.features += worker->home_->StreamFeatures();
  worker->sign_up_ground_ = std::make_unique<ModuleGround>(
      ModuleGround{.store = *worker->store_,
                   .clock = shared.clock,
                   .unix_us = shared.unix_us,
                   .domains = shared.options.domains,
                   .aside = [w = worker.get()](net::Task work, net::Task done) {
                     w->Aside(std::move(work), std::move(done));
                   }});
  worker->far_ = std::make_unique<FarSide>(FarSide::Ground{
      .worker = static_cast<uint16_t>(index),
      .node = shared.node,
      .sessions = *worker,
      .homes = *worker,
      .home = *worker->home_,
      .clock = shared.clock,
      .deliver = [w = worker.get()](const SessionId& id, Delivery delivery,
                                    Origin from) { w->DeliverAt(id, std::move(delivery), from); },
      .crowded = [&shared](NodeNumber node) { return shared.crowded && shared.crowded(node); },
      .arrived =
          [w = worker.get()](const SessionId& id, NodeNumber from, std::string state) {
            auto parsed = BoundState::Parse(
                state, [w](const std::string& name) { return w->far_->NumberOf(name); });
            if (!parsed) return w->ArrivalFailed(id);
            w->OnArrived(id, from, std::move(*parsed));
          },
      .leave = [w = worker.get()](const SessionId& id, const SessionId& next, const Jid& user,
                                  NodeNumber home) { w->LeaveAt(id, {next, user, home}); },
      .went = [w = worker.get()](NodeNumber node) { w->OnWent(node); },
      .homes_lost =
          [w = worker.get()](std::vector<std::string> homes) { w->OnHomesLost(std::move(homes)); },
      .owed = [w = worker.get()](const SessionId& id, NodeNumber node) { w->Owe(id, node); }});
  worker->OnTick();
  return worker;
}

XmppWorker::~XmppWorker() {
  box_.Close();
  listeners_.clear();
  home_.reset();
  store_.reset();
  // The slab does not destroy what lives in it.
  places_.ForEach([this](uint32_t index, Place&) { places_.Free(index); });
}

void XmppWorker::Listen(net::UniqueFd socket, net::ConnListenerOptions options,
                        std::shared_ptr<net::ListenerCounts> counts) {
  listeners_.push_back(std::make_unique<net::ConnListener>(*conns_, std::move(socket),
                                                           std::move(options), std::move(counts),
                                                           static_cast<net::ConnAcceptor&>(*this)));
}

net::ConnHost* XmppWorker::OnAccepted(net::Conn& conn, net::Admission admission) {
  return Accept(conn, std::move(admission), nullptr);
}

net::ConnHost* XmppWorker::OnAnnounced(net::Conn& conn, net::Admission admission,
                                       const net::ProxyHeader& header) {
  SaslChannel channel = ChannelOf(header);
  return Accept(conn, std::move(admission),
                channel.secure ? std::make_unique<SaslChannel>(std::move(channel)) : nullptr);
}

net::ConnHost* XmppWorker::Accept(net::Conn& conn, net::Admission admission,
                                  std::unique_ptr<SaslChannel> behind) {
  if (stopping_) return nullptr;
  const uint32_t before = shared_.unauthenticated.fetch_add(1, std::memory_order_relaxed);
  if (before >= shared_.options.unauthenticated_max) {
    shared_.unauthenticated.fetch_sub(1, std::memory_order_relaxed);
    ClientCounters::Add(counters_.refused_unauthenticated);
    return nullptr;
  }
  auto* session = new Session(static_cast<SessionGround&>(*this), conn, std::move(admission),
                              ++last_serial_, std::move(behind));
  waiting_.emplace(session->serial(), session);
  return session;
}

Session* XmppWorker::Waiting(uint64_t serial) {
  const auto it = waiting_.find(serial);
  return it == waiting_.end() ? nullptr : it->second;
}

// It is bound, or over: it counts no longer among those that nobody knows.
void XmppWorker::Unwait(Session& session) {
  wishes_.erase(session.serial());
  if (waiting_.erase(session.serial()) == 0) return;
  shared_.unauthenticated.fetch_sub(1, std::memory_order_relaxed);
}

void XmppWorker::Forget(Session& session) {
  if (!draining_.empty()) std::ranges::replace(draining_, &session, static_cast<Session*>(nullptr));
  Unwait(session);
  std::erase(unsent_, &session);
  delete &session;
}

std::shared_ptr<const net::TlsServerContext> XmppWorker::TlsFor(std::string_view domain) const {
  const auto it = domain.empty() ? tls_.begin() : tls_.find(domain);
  return it == tls_.end() ? nullptr : it->second;
}

// --- What a login asks for.

void XmppWorker::Look(uint64_t serial, const Jid& user) {
  if (logins_.empty() && admission_.TryBegin(Now())) return Read(serial, user);
  // Those that have gone meanwhile are taken out when they are many.
  if (logins_.size() > kLoginsMax) {
    std::erase_if(logins_, [this](const Login& login) { return Waiting(login.serial) == nullptr; });
  }
  logins_.push_back({serial, user});
  ClientCounters::Add(counters_.logins_waited);
  AdmitLogins();
}

// Whoever has waited too long has been told so by its stream, and is not there any more.
void XmppWorker::AdmitLogins() {
  while (!logins_.empty()) {
    if (Waiting(logins_.front().serial) != nullptr) {
      if (!admission_.TryBegin(Now())) break;
      Read(logins_.front().serial, logins_.front().user);
    }
    logins_.pop_front();
  }
  counters_.logins_waiting.store(logins_.size(), std::memory_order_relaxed);
  if (logins_.empty() || std::exchange(admitting_, true)) return;
  loop_.After(admission_.Wait(Now()), [this, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired()) return;
    admitting_ = false;
    AdmitLogins();
  });
}

void XmppWorker::Read(uint64_t serial, const Jid& user) {
  store_->Load(std::string(user.bare()),
               [this, serial, alive = std::weak_ptr<int>(alive_)](auto loaded) {
                 if (alive.expired()) return;
                 Session* session = Waiting(serial);
                 if (session == nullptr) return;
                 const net::Duration before = ThreadCpu();
                 session->stream().Looked(std::move(loaded));
                 session->Arm();
                 OnLoginCpu(ThreadCpu() - before);
               });
}

void XmppWorker::Check(uint64_t serial, PasswordCheck check) {
  const auto spent = std::make_shared<net::Duration>(0);
  const auto answer = [this, serial, spent](bool right) {
    OnLoginCpu(*spent);
    Session* session = Waiting(serial);
    if (session == nullptr) return;
    session->stream().Checked(right);
    session->Arm();
  };
  const bool taken = hashing_.Run(
      [check = std::move(check), spent] {
        const net::Duration before = ThreadCpu();
        const bool right = check.Run();
        *spent = ThreadCpu() - before;
        return right;
      },
      answer);
  if (!taken) hashing_.Post([answer] { answer(false); });
}

// Where too many wait, it is done here: late, but done.
void XmppWorker::Aside(net::Task work, net::Task done) {
  const auto both =
      std::make_shared<std::pair<net::Task, net::Task>>(std::move(work), std::move(done));
  if (hashing_.Run([both] { both->first(); }, [both] { both->second(); })) return;
  both->first();
  hashing_.Post([both] { both->second(); });
}

bool XmppWorker::MayTry(const Jid& user, const net::Address& peer) {
  return shared_.sasl_limits.MayTry(user.bare(), peer, Now());
}

void XmppWorker::OnGuess(const Jid* user, const net::Address& peer) {
  shared_.sasl_limits.OnGuess(user == nullptr ? std::string_view() : user->bare(), peer, Now());
}

void XmppWorker::SignUp(uint64_t serial, SignUpRequest request, const net::Address& peer) {
  auto answer = [this, serial, alive = std::weak_ptr<int>(alive_)](const std::string& error) {
    if (alive.expired()) return;
    Session* session = Waiting(serial);
    if (session == nullptr) return;
    session->stream().SignedUp(error);
    session->Arm();
  };
  const net::SourceKey source = net::SourceKeyOf(peer, 64);
  const std::string_view who(reinterpret_cast<const char*>(source.data()), source.size());
  if (!shared_.sign_ups.Take(who, Now())) {
    return answer(ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                           "too many accounts from there: try again later"));
  }
  server::SignUp(*sign_up_ground_, std::move(request), std::move(answer));
}

// --- Mail.

void XmppWorker::Post(size_t worker, Item item) { out_[worker].push_back(std::move(item)); }

// What it tells may have more sent.
void XmppWorker::TellSent() {
  for (Session* session : std::exchange(unsent_, {})) {
    if (session->TellSent()) unsent_.push_back(session);
  }
}

void XmppWorker::OnTurnEnd() {
  ground_.pressure = shared_.pressure.load(std::memory_order_relaxed);
  TellSent();
  far_->EndTurn();
  bool again = false;
  for (size_t worker = 0; worker < slots_.size(); ++worker) {
    std::vector<Item>& items = out_[worker];
    if (items.empty()) continue;
    switch (slots_[worker].AddAll(&items)) {
      case Box::Put::kTaken:
        break;
      case Box::Put::kFull:
        again = true;
        break;
      case Box::Put::kClosed:
        items.clear();
        break;
    }
  }
  if (again) loop_.After(kMailAgain, [] {});
  if (!records_.empty() && shared_.on_sessions) {
    shared_.on_sessions(std::exchange(records_, {}));
  }
  records_.clear();
  if (auto homes = far_->TakeHomes(); !homes.empty() && shared_.on_homes) {
    shared_.on_homes(std::move(homes));
  }
  if (auto mail = far_->TakeMail(); !mail.empty() && shared_.to_nodes) {
    shared_.to_nodes(std::move(mail));
  }
  if (on_empty_ && conns_->size() == 0) std::exchange(on_empty_, nullptr)();
}

void XmppWorker::OnTick() {
  admission_.Measure();
  counters_.login_cost_ns.store(static_cast<uint64_t>(admission_.cost().count()),
                                std::memory_order_relaxed);
  EvictParked();
  EndArrivals();
  home_->Tick();
  far_->Tick();
  loop_.After(kTick, [this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) OnTick();
  });
}

// --- HomeGate: to the worker that is the user's deputy, which knows where its home is.

size_t XmppWorker::HomeOf(std::string_view bare) const { return HomeHash(bare) % out_.size(); }

void XmppWorker::Bind(BindRequest request) {
  const size_t worker = HomeOf(request.user.bare());
  if (worker == index_) return far_->Bind(std::move(request));
  Post(worker,
       [request = std::move(request)](XmppWorker& w) mutable { w.far_->Bind(std::move(request)); });
}

void XmppWorker::Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) {
  // A turn may bring more than there is memory for: the next stanza of it is told.
  ground_.pressure = shared_.pressure.load(std::memory_order_relaxed);
  const size_t worker = HomeOf(user.bare());
  if (worker == index_) return far_->Arrive(session, user, std::move(stanza), mark);
  // It is heavy, and the other worker may be slow.
  CountedBytes counted(stanza.size());
  Post(worker,
       [session, user, stanza = std::move(stanza), mark, counted = std::move(counted)](
           XmppWorker& w) mutable { w.far_->Arrive(session, user, std::move(stanza), mark); });
}

void XmppWorker::Changed(const SessionId& session, const Jid& user, SessionState state) {
  const size_t worker = HomeOf(user.bare());
  if (worker == index_) return far_->Changed(session, user, state);
  Post(worker, [=](XmppWorker& w) { w.far_->Changed(session, user, state); });
}

void XmppWorker::DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                               DeliveryEnd end) {
  EndDelivery(session, user, {.ticket = ticket, .end = end});
}

void XmppWorker::EndDelivery(const SessionId& session, const Jid& user, const TicketEnd& one) {
  const size_t worker = HomeOf(user.bare());
  if (worker == index_) {
    return far_->DeliveryEnded(one.home, session, user, one.ticket, one.end);
  }
  Post(worker,
       [=](XmppWorker& w) { w.far_->DeliveryEnded(one.home, session, user, one.ticket, one.end); });
}

void XmppWorker::Gone(const SessionId& session, const Jid& user) {
  const size_t worker = HomeOf(user.bare());
  if (worker == index_) return far_->Gone(session, user);
  Post(worker, [=](XmppWorker& w) { w.far_->Gone(session, user); });
}

void XmppWorker::Resume(const SessionId& next, const Jid& user, uint64_t tag) {
  const size_t worker = HomeOf(user.bare());
  if (worker == index_) return far_->Resume(next, user, tag);
  Post(worker, [=](XmppWorker& w) { w.far_->Resume(next, user, tag); });
}

void XmppWorker::Route(Parcel parcel) {
  // The server itself is dealt with where it comes from.
  if (parcel.to.local().empty()) return home_->gate().Route(std::move(parcel));
  const size_t worker = HomeOf(parcel.to.bare());
  if (worker != index_) {
    return Post(worker, [parcel = std::move(parcel)](XmppWorker& w) mutable {
      w.Route(std::move(parcel));
    });
  }
  // Rooms, and whoever is not ours, are of no home.
  if (!IsOwn(parcel.to.domain())) return home_->gate().Route(std::move(parcel));
  far_->Route(std::move(parcel));
}

bool XmppWorker::IsOwn(std::string_view domain) const {
  const std::vector<std::string>& services = shared_.options.services;
  return std::ranges::find(ground_.domains, domain) != ground_.domains.end() ||
         std::ranges::find(services, domain) != services.end();
}

// Who is in a room is known to the homes of its occupants, on all workers.
void XmppWorker::OnHomesLost(std::vector<std::string> homes) {
  const std::vector<std::string>& services = shared_.options.services;
  std::erase_if(homes, [&](const std::string& bare) {
    const std::string domain = bare.substr(bare.find('@') + 1);
    return std::ranges::find(services, domain) == services.end();
  });
  if (homes.empty()) return;
  const auto rooms = std::make_shared<const std::vector<std::string>>(std::move(homes));
  for (size_t worker = 0; worker < out_.size(); ++worker) {
    Post(worker, [rooms](XmppWorker& w) { w.home_->RoomsLost(*rooms); });
  }
}

void XmppWorker::Expel(const Jid& user, const std::string& text) {
  if (HomeOf(user.bare()) == index_) far_->Expel(user, text);
}

void XmppWorker::TellDelivered(const SessionId& session, const Jid& user,
                               std::span<const TicketEnd> ended) {
  if (ended.empty()) return;
  const Jid bare = user.Bare();
  for (const TicketEnd& one : ended) EndDelivery(session, bare, one);
}

// --- The end.

void XmppWorker::Drain(double per_s) {
  const bool begun = drain_per_s_ > 0 || shed_left_ > 0;
  drain_per_s_ = per_s;
  listeners_.clear();
  if (begun) return;
  loop_.CancelTimer(std::exchange(drain_step_, {}));
  DrainSome();
}

void XmppWorker::EndDrain() {
  loop_.CancelTimer(std::exchange(drain_step_, {}));
  drain_per_s_ = drain_left_ = 0;
  shed_left_ = 0;
  counters_.to_shed.store(0, std::memory_order_relaxed);
  draining_.clear();
}

void XmppWorker::Shed(uint64_t count, double per_s) {
  const bool begun = drain_per_s_ > 0 || shed_left_ > 0;
  shed_left_ = count;
  shed_per_s_ = per_s;
  counters_.to_shed.store(shed_left_, std::memory_order_relaxed);
  if (begun || count == 0) return;
  loop_.CancelTimer(std::exchange(drain_step_, {}));
  DrainSome();
}

uint64_t XmppWorker::Attached() {
  uint64_t attached = 0;
  places_.ForEach(
      [&](uint32_t, Place& place) { attached += place.state == PlaceState::kHere ? 1 : 0; });
  for (const auto& [id, foreign] : foreign_) attached += foreign.session != nullptr ? 1 : 0;
  return attached;
}

// The last goes first: who may resume its session, of these who has said nothing for the longest.
void XmppWorker::FillDraining() {
  const auto add = [this](Session* session) {
    if (session != nullptr && MaySendAway(*session)) draining_.push_back(session);
  };
  // A node that stays in service has no quarrel with who is about to log in.
  if (drain_per_s_ > 0) {
    for (const auto& [serial, session] : waiting_) add(session);
  }
  places_.ForEach([&](uint32_t, Place& place) {
    if (place.state == PlaceState::kHere) add(place.here);
  });
  for (const auto& [id, foreign] : foreign_) add(foreign.session);
  const auto later = [](Session* session) {
    const BoundSession* bound = session->stream().session();
    return std::pair(bound == nullptr || bound->resumable(),
                     -session->stream().heard().time_since_epoch());
  };
  std::ranges::sort(draining_, {}, later);
}

void XmppWorker::DrainOne(Session& session) {
  ClientCounters::Add(counters_.drained);
  const BoundSession* bound = session.stream().session();
  if (bound != nullptr && bound->resumable()) {
    ClientCounters::Add(counters_.drained_resumable);
    return session.Cut();
  }
  session.SendAway("the node is taken out of service");
}

// Of whose sessions are elsewhere, as those are that went before; at the pace of the drain.
void XmppWorker::MoveSomeHomes(double seconds) {
  moves_left_ = std::min(moves_left_ + drain_per_s_ * seconds, double{FarSide::kMovesMax});
  const auto now = static_cast<size_t>(moves_left_);
  moves_left_ -= static_cast<double>(now);
  far_->MoveHomes(now);
}

// Not in step with other nodes, nor with its own clients' timers.
void XmppWorker::DrainSome() {
  constexpr net::Duration kStep = std::chrono::milliseconds(100);
  const bool all = drain_per_s_ > 0;
  if (stopping_ || (!all && shed_left_ == 0)) {
    draining_.clear();
    return;
  }
  std::erase(draining_, nullptr);
  if (draining_.empty()) FillDraining();
  const double per_s = all ? drain_per_s_ : shed_per_s_;
  drain_left_ += per_s * net::Seconds(kStep) * (0.5 + jitter_.Below(1024) / 1024.0);
  while (drain_left_ >= 1 && !draining_.empty() && (all || shed_left_ > 0)) {
    Session* session = draining_.back();
    draining_.pop_back();
    // Gone meanwhile, or about to be: it is none of those that are sent away.
    if (session == nullptr || !MaySendAway(*session)) continue;
    drain_left_ -= 1;
    if (!all) --shed_left_;
    DrainOne(*session);
  }
  if (all) MoveSomeHomes(net::Seconds(kStep));
  if (!all && draining_.empty()) shed_left_ = 0;  // nobody is left to go
  counters_.to_shed.store(all ? 0 : shed_left_, std::memory_order_relaxed);
  drain_left_ = std::min(drain_left_, std::max(per_s, 1.0));
  drain_step_ = loop_.After(kStep, [this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) DrainSome();
  });
}

void XmppWorker::BeginStop(std::function<void()> empty) {
  stopping_ = true;
  listeners_.clear();
  home_->BeginStop();
  far_->BeginStop();
  std::vector<Session*> all;
  for (const auto& [serial, session] : waiting_) all.push_back(session);
  // Each that ends is told to others of them: none is taken out of its place before its turn.
  std::vector<SessionId> without;
  places_.ForEach([&](uint32_t index, Place& place) {
    if (place.state == PlaceState::kHere) all.push_back(place.here);
    if (place.state != PlaceState::kParked) return;
    without.push_back(
        {.worker = static_cast<uint16_t>(index_), .place = index, .life = place.life});
  });
  for (const auto& [id, foreign] : foreign_) {
    if (foreign.session != nullptr) {
      all.push_back(foreign.session);
    } else {
      without.push_back(id);
    }
  }
  for (const SessionId& id : without) EndWithout(id);
  for (Session* session : all) session->SendAway({});
  on_empty_ = std::move(empty);
  // The end of this turn looks whether there is anybody left.
}

bool XmppWorker::Close(net::Duration limit) {
  box_.Close();
  return conns_->Close(net::EndReason::kDrained, limit).has_value();
}

}  // namespace server
