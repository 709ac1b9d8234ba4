#include "server/c2s/far_side.h"

#include "server/im/message_bytes.h"

namespace server {
namespace {

// Lodgers of a node that went have ended by then.
constexpr net::Duration kWentTime = std::chrono::minutes(10);

}  // namespace

FarSide::FarSide(Ground ground) : ground_(std::move(ground)), directory_(ground_.node) {}

FarSide::Peer* FarSide::Find(NodeNumber node) {
  const auto it = peers_.find(node);
  return it == peers_.end() ? nullptr : &it->second;
}

bool FarSide::Post(NodeNumber node, const Letter& letter) {
  Peer* peer = Find(node);
  if (peer == nullptr || !AppendLetter(peer->out, letter)) return false;
  ClientCounters::Add(counters_.letters_out);
  return true;
}

void FarSide::CountGuests() {
  counters_.guests.store(guests(), std::memory_order_relaxed);
  counters_.to_move.store(AllMove() ? guests() : 0, std::memory_order_relaxed);
}

// --- Homes that begin and end.

void FarSide::TakeHome(const std::string& bare) {
  if (!directory_.Take(bare)) return;
  homes_out_.push_back({.bare = bare, .gone = false});
  fresh_.emplace_back(bare, Now());
}

void FarSide::GiveUp(const std::string& bare) {
  if (directory_.GiveUp(bare)) homes_out_.push_back({.bare = bare, .gone = true});
}

bool FarSide::MayStay(const std::string& bare) {
  GiveUp(bare);
  if (directory_.alone()) return true;
  return directory_.Where(bare, Now()) == 0;
}

void FarSide::Left(const std::string& bare, bool changed) {
  GiveUp(bare);
  if (const auto asked = asked_.find(bare); asked != asked_.end()) {
    if (!std::exchange(asked->second.allowed, true)) allowed_.push_back(bare);
    return;
  }
  if (changed) LookAt(bare);
}

// Its home read the store before this was there. Where no home is known there may be one on the
// other side of a split: it is told when it is seen.
void FarSide::LookAt(const std::string& bare) {
  const auto home = directory_.HomeOf(bare, Now());
  if (home && *home != 0) {
    Post(*home, LookLetter{Jid::OfPrepared(bare)});
  } else if (!home) {
    KeepInMind(bare);
  }
}

void FarSide::KeepInMind(const std::string& bare) {
  if (kept_.size() < kKeptMax) kept_.insert(bare);
}

void FarSide::LostHome(const std::string& bare) {
  const auto other = directory_.RecordedAt(bare);
  if (Given(bare)) {
    // The other's is the one that it became, most often before that says so by letter.
    const NodeNumber to = leaving_.at(bare).to;
    return other == to ? FinishMove(bare, to) : LoseMove(bare);
  }
  if (leaving_.contains(bare)) PutOffMove(bare);
  // The other went meanwhile: this one is the only one, and says so again.
  if (!other && directory_.IsMine(bare)) {
    homes_out_.push_back({.bare = bare, .gone = false});
    return;
  }
  if (!directory_.GiveUp(bare)) return;
  ground_.home.Expel(Jid::OfPrepared(bare), net::StreamError::kReset,
                     "the account is at home on another node");
}

// --- Binding.

void FarSide::Bind(BindRequest request) {
  const std::string& bare = request.user.full();
  if (request.session.node == 0 || Given(bare)) {
    if (HoldsTooMuch(bare)) return FailBind(request.session, request.user, BusyXml());
    const auto again = [&] {
      return [this, request = std::move(request)]() mutable { Bind(std::move(request)); };
    };
    if (HoldBack(bare, again)) return;
  }
  const net::Time now = Now();
  if (const auto home = directory_.HomeOf(bare, now)) {
    if (*home == 0) return BindHere(std::move(request));
    return BindThere(*home, std::move(request));
  }
  if (const auto it = claims_.find(bare); it != claims_.end()) {
    if (it->second.waiting.size() >= kClaimsMax) {
      return FailBind(request.session, request.user, BusyXml());
    }
    it->second.waiting.push_back(std::move(request));
    return;
  }
  const NodeNumber warden = directory_.WardenOf(bare);
  if (warden != 0 && claims_.size() < kClaimsMax && Post(warden, ClaimLetter{request.user})) {
    Claim& claim = claims_[bare];
    claim.warden = warden;
    claim.since = now;
    claim.waiting.push_back(std::move(request));
    return;
  }
  if (directory_.Touched(bare, now)) request.loaded = nullptr;
  TakeHome(bare);
  BindHere(std::move(request));
}

void FarSide::BindHere(BindRequest request) {
  if (const NodeNumber node = request.session.node; node != 0) {
    Peer* peer = Find(node);
    if (peer == nullptr) return;  // it went while its session waited
    peer->guests.insert_or_assign(request.session, request.user);
  }
  home().Bind(std::move(request));
}

void FarSide::BindThere(NodeNumber node, BindRequest request) {
  const SessionId session = request.session;
  // Its node knows where to turn to by the time that it tries again.
  if (session.node != 0) return FailBind(session, request.user, BusyXml(), true);
  const Jid user = request.user;
  request.loaded = nullptr;
  if (!Post(node, std::move(request))) return FailBind(session, user, BusyXml());
  lodged_[session] = node;
  peers_.at(node).lodgers.insert_or_assign(session, user);
}

void FarSide::FailBind(const SessionId& session, const Jid& user, std::string error_xml,
                       bool not_home) {
  if (session.node == 0) return ground_.sessions.BindFailed(session, std::move(error_xml));
  Post(session.node, BindFailedLetter{session, user, std::move(error_xml), not_home});
}

// --- Sessions of this node, to their homes.

void FarSide::Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) {
  const size_t bytes = stanza.size();
  const auto again = [&] {
    return [this, session, user, stanza = std::move(stanza), mark,
            counted = CountedBytes(bytes)]() mutable {
      Arrive(session, user, std::move(stanza), mark);
    };
  };
  if (HoldBack(user.full(), again, bytes)) return;
  const auto lodged = lodged_.find(session);
  if (lodged == lodged_.end()) return ArriveHome(session, user, std::move(stanza), mark);
  Post(lodged->second, ArriveLetter{session, user, std::move(stanza), mark.number});
}

void FarSide::Changed(const SessionId& session, const Jid& user, SessionState state) {
  const auto again = [&] { return [=, this] { Changed(session, user, state); }; };
  if (HoldBack(user.full(), again)) return;
  const auto lodged = lodged_.find(session);
  if (lodged == lodged_.end()) return home().Changed(session, user, state);
  Post(lodged->second, ChangedLetter{session, user, state});
}

void FarSide::DeliveryEnded(NodeNumber at, const SessionId& session, const Jid& user,
                            uint64_t ticket, DeliveryEnd end) {
  if (at == 0) {
    tickets_.Take(ticket);  // of a guest that became a session of this node
    return home().DeliveryEnded(session, user, ticket, end);
  }
  // Of a node that went: nobody waits for it.
  Post(at, DeliveryEndedLetter{session, user, ticket, end});
}

void FarSide::Gone(const SessionId& session, const Jid& user) {
  if (HoldBack(user.full(), [&] { return [=, this] { Gone(session, user); }; })) return;
  const auto lodged = lodged_.extract(session);
  if (!lodged) return GoneHome(session, user);
  Post(lodged.mapped(), GoneLetter{session, user});
  if (Peer* peer = Find(lodged.mapped())) peer->lodgers.erase(session);
}

// --- To the home here: of a session that moved, behind all that it sent where it was.

void FarSide::ArriveHome(const SessionId& session, const Jid& user, Stanza stanza,
                         SenderMark mark) {
  StirHome(user.full());
  if (!order_.Waits(session)) return home().Arrive(session, user, std::move(stanza), mark);
  order_.Run(session, [this, session, user, stanza = std::move(stanza), mark]() mutable {
    home().Arrive(session, user, std::move(stanza), mark);
  });
}

void FarSide::GoneHome(const SessionId& session, const Jid& user) {
  StirHome(user.full());
  // Nothing more goes there meanwhile.
  if (order_.Waits(session)) home().DeliveryEnded(session, user, 0, DeliveryEnd::kLost);
  // One that came from elsewhere has told all before its end, and what it was given where it was is
  // awaited by its turn; of a guest that was bound there the last words may follow.
  const bool moved = session.node == 0 || order_.Waits(session);
  order_.Run(session, [this, session, user, moved] {
    if (Peer* peer = Find(session.node)) {
      peer->guests.erase(session);
      peer->leaving.erase(session);
    }
    if (moved) LoseTickets(session, user);
    if (tickets_.HasAny(session)) silent_.push_back({session, user, Now()});
    home().Gone(session, user);
    order_.Ended(session);
  });
}

// --- Operators, and where users are.

void FarSide::Expel(const Jid& user, const std::string& text) {
  for (const auto& [node, peer] : peers_) Post(node, ExpelLetter{user, text});
  ExpelHere(user, text);
}

// Of one that is being read it is for the sessions that come with it.
void FarSide::ExpelHere(const Jid& user, const std::string& text) {
  const auto later = [&] { return [this, user, text] { ExpelHere(user, text); }; };
  if (taking_.contains(user.full()) && HoldBack(user.full(), later)) return;
  ground_.home.Expel(user, net::StreamError::kNotAuthorized, text);
}

std::string FarSide::NodeOf(const std::string& bare) const {
  const NodeNumber node = directory_.Where(bare, Now());
  return node == 0 ? std::string() : NameOf(node);
}

// --- What homes have for sessions of other nodes.

void FarSide::Bound(const SessionId& session, const Jid& full) {
  if (!leaving_.empty()) Stir(session);
  if (Post(session.node, BoundLetter{session, full})) return;
  home().Gone(session, full.Bare());  // its node went while its user was read
}

void FarSide::BindFailed(const SessionId& session, std::string error_xml) {
  Peer* peer = Find(session.node);
  if (peer == nullptr) return;
  const auto guest = peer->guests.extract(session);
  if (guest) FailBind(session, guest.mapped(), std::move(error_xml));
}

void FarSide::Deliver(const SessionId& session, Delivery delivery) {
  const uint64_t ticket = delivery.ticket;
  if (!leaving_.empty()) Stir(session);
  if (Post(session.node, DeliverLetter{session, ground_.worker, std::move(delivery)})) {
    if (ticket != 0) tickets_.Add(ticket, session);
    return;
  }
  if (ticket == 0) return;
  // It is lost for that session, so that its home looks for another one.
  const Peer* peer = Find(session.node);
  if (peer == nullptr || !peer->guests.contains(session)) {
    return TicketLost({.node = 0, .worker = ground_.worker}, ticket);
  }
  home().DeliveryEnded(session, peer->guests.at(session), ticket, DeliveryEnd::kLost);
}

void FarSide::Settled(const SenderMark& mark) {
  Post(mark.session.node, SettledLetter{mark.session, mark.number});
}

void FarSide::Close(const SessionId& session, net::StreamError error, std::string text) {
  Post(session.node, CloseLetter{session, error, std::move(text)});
}

// There is no such session, and no more is known of the delivery than its ticket.
void FarSide::TicketLost(const Origin& from, uint64_t ticket) {
  if (from.node != 0) {
    Post(from.node, TicketLostLetter{from.worker, ticket});
    return;
  }
  home().DeliveryEnded({}, Jid::OfPrepared("invalid"), ticket, DeliveryEnd::kLost);
}

std::string FarSide::NameOf(NodeNumber node) const {
  if (node != 0 && !peers_.contains(node)) return {};
  return directory_.NameOf(node);
}

std::optional<NodeNumber> FarSide::NumberOf(const std::string& name) const {
  return directory_.Find(name);
}

uint8_t FarSide::VersionOf(NodeNumber node) const {
  const auto it = peers_.find(node);
  return it == peers_.end() ? 0 : it->second.version;
}

// --- From the node's thread.

void FarSide::NodeUp(NodeNumber node, const std::string& name, uint8_t version) {
  if (left_) return;
  // It was not asked to hold back what it has for those that are about to go.
  PutOffMoves(kMoveSoon);
  directory_.NodeUp(node, name);
  peers_[node].version = version;
  // It may have a home for them, of which this node will hear, and what is said meanwhile goes
  // there all the same.
  for (const std::string& bare : kept_) {
    if (directory_.WardenOf(bare) == node) Post(node, LookLetter{Jid::OfPrepared(bare)});
  }
}

void FarSide::NodeDown(NodeNumber node) {
  auto went = peers_.extract(node);
  if (!went) return;
  auto homes = directory_.NodeDown(node, Now());
  went_.emplace_back(node, Now());
  const Peer& peer = went.mapped();
  // None of them takes what another has lost.
  for (const auto& [session, user] : peer.guests) {
    home().DeliveryEnded(session, user, 0, DeliveryEnd::kLost);
  }
  for (const auto& [ticket, session] : tickets_.TakeNode(node)) {
    const auto guest = peer.guests.find(session);
    const Jid user = guest == peer.guests.end() ? Jid::OfPrepared("invalid") : guest->second;
    home().DeliveryEnded(session, user, ticket, DeliveryEnd::kLost);
  }
  for (const auto& [session, user] : peer.guests) {
    order_.Release(session);  // what waits for its turn has come whole
    GoneHome(session, user);
  }
  // They stay in lodged_ until they are gone: what they had of that home is nobody's.
  for (const auto& [session, user] : peer.lodgers) {
    ClientCounters::Add(counters_.lodgers_lost);
    ground_.sessions.ResumeFailed(session);  // if it waits to be: nobody else will tell
    ground_.sessions.Close(session, net::StreamError::kReset,
                           "the node that the account was at home on is gone");
  }
  for (const auto& [session, next] : peer.leaving) ground_.sessions.ResumeFailed(next);
  std::vector<Hold> unasked;
  for (auto it = asked_.begin(); it != asked_.end();) {
    if (it->second.by != node) {
      ++it;
      continue;
    }
    unasked.push_back(std::move(it->second.hold));
    it = asked_.erase(it);
  }
  std::vector<Claim> unanswered;
  std::erase_if(claims_, [&](auto& claim) {
    if (claim.second.warden != node) return false;
    unanswered.push_back(std::move(claim.second));
    return true;
  });
  for (Claim& claim : unanswered) {
    for (BindRequest& request : claim.waiting) Bind(std::move(request));
  }
  // What was held back for it comes behind what it had been sent before.
  std::vector<Hold> held = TakeHoldsBy(node);
  std::vector<Parcel> again;
  std::vector<Parcel> behind;
  std::erase_if(routed_, [&](auto& routed) {
    if (routed.second.node != node) return false;
    for (Parcel& next : route_order_.Settled(std::string(routed.second.parcel.to.bare()))) {
      behind.push_back(std::move(next));
    }
    again.push_back(std::move(routed.second.parcel));
    return true;
  });
  ClientCounters::Add(counters_.rerouted, again.size());
  RouteNow(std::move(again));
  RouteNow(std::move(behind));
  MovesWithout(node);
  for (Hold& hold : held) Run(hold);
  for (Hold& hold : unasked) Run(hold);
  ground_.went(node);
  // Of a node that stops, nobody is lost but itself.
  if (!left_) ground_.homes_lost(std::move(homes));
}

void FarSide::Recorded(const std::string& bare, NodeNumber node, uint64_t stamp) {
  directory_.Recorded(bare, node, stamp);
  if (directory_.IsMine(bare)) return;  // two homes met: one of them will go
  // What was kept for the user here, while its home was not seen, is in the store: before any
  // letter that follows, so that order holds.
  if (kept_.erase(bare) != 0 || ground_.home.Knows(bare)) LookAt(bare);
  if (ground_.home.Has(bare)) ground_.home.Release(bare);
}

void FarSide::Erased(const std::string& bare, NodeNumber node) {
  directory_.Erased(bare, node, Now());
}

void FarSide::Tick() {
  const net::Time now = Now();
  directory_.Tick(now);
  CountGuests();
  TryMoves();
  RenewMoves();
  EndLateHolds();
  RouteNow(route_order_.TakeLate(now, kHoldTime));
  while (!moved_order_.empty() && now - moved_order_.front().second >= kMovedTime) {
    moved_.erase(moved_order_.front().first);
    moved_order_.pop_front();
  }
  // The last words of those are lost with a node that they had been on, or by way of.
  while (!silent_.empty() && now - silent_.front().since >= kMovedTime) {
    const Silent one = std::move(silent_.front());
    silent_.pop_front();
    LoseTickets(one.session, one.user);
  }
  while (!fresh_.empty() && now - fresh_.front().second >= kEmptyTime) {
    if (!ground_.home.Has(fresh_.front().first)) GiveUp(fresh_.front().first);
    fresh_.pop_front();
  }
  while (!went_.empty() && now - went_.front().second >= kWentTime) {
    std::erase_if(lodged_,
                  [node = went_.front().first](const auto& one) { return one.second == node; });
    went_.pop_front();
  }
  std::vector<std::string> late;
  for (const auto& [bare, asked] : asked_) {
    if (now - asked.since >= kClaimTime) late.push_back(bare);
  }
  for (const std::string& bare : late) AllowAsked(bare);
  late.clear();
  for (const auto& [bare, claim] : claims_) {
    if (now - claim.since >= kClaimTime) late.push_back(bare);
  }
  // Nobody answers; whoever is at home there too gives way to this one, or this to that.
  for (const std::string& bare : late) {
    OnLetter(0, ClaimedLetter{Jid::OfPrepared(bare), {}, true});
  }
}

void FarSide::Leave() {
  left_ = true;
  std::vector<NodeNumber> nodes;
  for (const auto& [node, peer] : peers_) nodes.push_back(node);
  for (const NodeNumber node : nodes) NodeDown(node);
}

// --- Letters.

void FarSide::OnMail(NodeNumber node, LetterKind kind, std::span<const uint8_t> body) {
  if (Find(node) == nullptr) return;
  ClientCounters::Add(counters_.letters_in);
  auto letter = ReadLetter(kind, body, node);
  if (!letter) {
    ClientCounters::Add(counters_.letters_malformed);
    return;
  }
  std::visit([&](auto& one) { OnLetter(node, std::move(one)); }, *letter);
}

bool FarSide::AtHome(NodeNumber node, const SessionId& session) {
  const Peer* peer = Find(node);
  return peer != nullptr && peer->guests.contains(session);
}

void FarSide::OnLetter(NodeNumber, BindRequest letter) { Bind(std::move(letter)); }

void FarSide::OnLetter(NodeNumber node, ArriveLetter letter) {
  // Nobody would hear of it: better an end than to wait for one for ever.
  if (!AtHome(node, letter.session)) {
    Post(node, CloseLetter{letter.session, net::StreamError::kReset,
                           "the account is not at home where the session had it"});
    return;
  }
  ArriveHome(letter.session, letter.user, std::move(letter.stanza),
             {.session = letter.session, .number = letter.number});
}

void FarSide::OnLetter(NodeNumber node, const ChangedLetter& letter) {
  if (AtHome(node, letter.session)) home().Changed(letter.session, letter.user, letter.state);
}

void FarSide::OnLetter(NodeNumber node, const DeliveryEndedLetter& letter) {
  if (letter.ticket == 0) return LoseTickets(letter.session, letter.user);
  // Of one that has ended its home knows no more; of one that this does not know yet, it does.
  tickets_.Take(letter.ticket);
  home().DeliveryEnded(letter.session, letter.user, letter.ticket, letter.end);
  if (leaving_.empty()) return;
  if (letter.end == DeliveryEnd::kLost) LostAt(node, letter.user.full());
  TryMove(letter.user.full());
}

void FarSide::OnLetter(NodeNumber node, const GoneLetter& letter) {
  if (!AtHome(node, letter.session)) return;
  GoneHome(letter.session, letter.user);
}

void FarSide::OnLetter(NodeNumber node, BindFailedLetter letter) {
  if (letter.not_home) directory_.Erased(letter.user.full(), node, Now());
  lodged_.erase(letter.session);
  peers_.at(node).lodgers.erase(letter.session);
  ground_.sessions.BindFailed(letter.session, std::move(letter.error));
}

void FarSide::OnLetter(NodeNumber node, const ClaimLetter& letter) {
  const std::string& bare = letter.user.full();
  const net::Time now = Now();
  const auto home = directory_.HomeOf(bare, now);
  if (home && *home != node) {
    Post(node, ClaimedLetter{letter.user, directory_.NameOf(*home), false});
    return;
  }
  const bool changed = ground_.home.Knows(bare) || directory_.Touched(bare, now);
  directory_.Grant(bare, node, now);
  ground_.home.Release(bare);
  if (!ground_.home.Has(bare)) return Allow(node, bare, changed);
  Asked& asked = asked_[bare];
  asked.by = node;
  asked.since = now;
}

// What came for the account meanwhile is behind that on the link.
void FarSide::AllowAsked(const std::string& bare) {
  auto asked = asked_.extract(bare);
  if (!asked) return;
  Allow(asked.mapped().by, bare, true);
  Run(asked.mapped().hold);
}

void FarSide::Allow(NodeNumber node, const std::string& bare, bool changed) {
  Post(node, ClaimedLetter{Jid::OfPrepared(bare), directory_.NameOf(node), changed});
}

void FarSide::OnLetter(NodeNumber, const ClaimedLetter& letter) {
  const std::string& bare = letter.user.full();
  auto claim = claims_.extract(bare);
  if (!claim) return;
  const auto node = directory_.Find(letter.node);
  const bool ours = !node || *node == 0;
  if (ours) TakeHome(bare);
  for (BindRequest& request : claim.mapped().waiting) {
    // Its home is on the way to another node.
    if (request.session.node == 0 && holds_.contains(bare)) {
      Bind(std::move(request));
      continue;
    }
    if (!ours) {
      BindThere(*node, std::move(request));
      continue;
    }
    if (letter.changed) request.loaded = nullptr;
    BindHere(std::move(request));
  }
}

void FarSide::OnLetter(NodeNumber, const ExpelLetter& letter) {
  ExpelHere(letter.user, letter.text);
}

void FarSide::OnLetter(NodeNumber, const LookLetter& letter) {
  const std::string& bare = letter.user.full();
  if (!directory_.IsMine(bare)) return;
  // It has read the store already, or is about to.
  if (Given(bare) && HoldBack(bare, [&] { return [this, bare] { LookAt(bare); }; })) return;
  ground_.home.Look(letter.user);
}

void FarSide::OnLetter(NodeNumber, const BoundLetter& letter) {
  ground_.sessions.Bound(letter.session, letter.full);
}

void FarSide::OnLetter(NodeNumber node, DeliverLetter letter) {
  letter.delivery.home = node;
  ground_.deliver(letter.session, std::move(letter.delivery),
                  {.node = node, .worker = letter.from});
}

void FarSide::OnLetter(NodeNumber, const SettledLetter& letter) {
  ground_.sessions.Settled({.session = letter.session, .number = letter.number});
}

void FarSide::OnLetter(NodeNumber, CloseLetter letter) {
  ground_.sessions.Close(letter.session, letter.error, std::move(letter.text));
}

void FarSide::OnLetter(NodeNumber node, const TicketLostLetter& letter) {
  const Peer& peer = peers_.at(node);
  const auto session = tickets_.Take(letter.ticket);
  if (!session) return;
  const auto guest = peer.guests.find(*session);
  const Jid user = guest == peer.guests.end() ? Jid::OfPrepared("invalid") : guest->second;
  home().DeliveryEnded(*session, user, letter.ticket, DeliveryEnd::kLost);
  if (!leaving_.empty()) LostAt(node, user.full());
}

}  // namespace server
