// Homes that go to other nodes, one by one, while their users' sessions stay where they are.
//
//   home's node       ──HomeLeaves──▶ every node   which holds back what it has for that user
//                     ◀──HomeHeld──                behind all that it had sent before
//                     ──HomeState──▶ the next one  when nothing is under way any more
//   the next one      ──HomeHere───▶ every node    which lets go of what it held, to there
//
// So nothing is on its way to the old home when it goes, nor from it: HomeHeld comes behind what
// its sessions were given before, and where they were given or sent something since, it is asked
// for once more. A home that does not come to rest within kMoveTime stays (HomeStays), and is tried
// again later: a session without a connection that was given something keeps it where it is.
//
// One that is given waits until the next one has read it. Meanwhile who holds is told to go on
// (HomeLeaves of round 0), every kRenewTime. What ends that: HomeHere; HomeRefused; the end of
// either node; after kGivenTime it is asked back (HomeStays), which is answered at once by one of
// the two; and who says nothing for kAskedBackTime more has lost it, and its sessions end.
//
// What its sessions have under way, and others settle by way of the old node, is a debt of theirs
// (SessionDebt): where that node goes before, they end.
#include <algorithm>
#include <utility>

#include "server/c2s/far_side.h"

namespace server {
namespace {

// Of one step.
constexpr size_t kLooksMax = 4096;

}  // namespace

bool FarSide::Given(std::string_view bare) const {
  if (leaving_.empty()) return false;
  const auto it = leaving_.find(std::string(bare));
  return it != leaving_.end() && it->second.given;
}

bool FarSide::WhenThere(const std::string& bare, Item item) {
  if (HoldsTooMuch(bare)) return false;
  if (!HoldBack(bare, [&] { return std::move(item); })) item();
  return true;
}

// Who is older would send on to where the home was.
bool FarSide::AllMove() const {
  return !left_ && !peers_.empty() && std::ranges::all_of(peers_, [](const auto& peer) {
    return peer.second.version >= kLettersWithMovingHomes;
  });
}

void FarSide::MoveHomes(size_t most) {
  CountGuests();
  TryMoves();
  if (!AllMove()) return;
  size_t looks = 0;
  const auto look = [&](auto first, auto last) {
    for (auto it = first; it != last && looks < kLooksMax; ++it, ++looks) {
      if (most == 0 || leaving_.size() >= kMovesMax) return;
      move_cursor_ = it->first;
      const std::string& bare = it->second.full();
      if (leaving_.contains(bare) || MovesLater(bare) || !MayLeave(bare)) continue;
      --most;
      BeginMove(bare, it->first.node);
    }
  };
  const SessionId from = move_cursor_;
  for (auto& [node, peer] : peers_) {
    if (node == from.node) look(peer.guests.upper_bound(from), peer.guests.end());
    if (node > from.node) look(peer.guests.begin(), peer.guests.end());
  }
  // Round once.
  for (auto& [node, peer] : peers_) {
    if (node < from.node) look(peer.guests.begin(), peer.guests.end());
    if (node == from.node) look(peer.guests.begin(), peer.guests.upper_bound(from));
  }
}

bool FarSide::MovesLater(const std::string& bare) const {
  const auto later = move_later_.find(bare);
  return later != move_later_.end() && later->second > Now();
}

void FarSide::CloseGuests() {
  PutOffMoves();
  std::vector<SessionId> guests;
  for (const auto& [node, peer] : peers_) {
    for (const auto& [session, user] : peer.guests) guests.push_back(session);
  }
  for (const SessionId& session : guests) {
    ground_.sessions.Close(session, net::StreamError::kReset,
                           "the node that the account was at home on stops");
  }
}

size_t FarSide::guests() const {
  size_t guests = 0;
  for (const auto& [node, peer] : peers_) guests += peer.guests.size();
  return guests;
}

// Its sessions are all elsewhere, and what they were given is about to be acknowledged.
bool FarSide::MayLeave(const std::string& bare) {
  if (!directory_.IsMine(bare) || holds_.contains(bare) || !ground_.home.MayMove(bare)) {
    return false;
  }
  return ground_.home.EachSession(bare, [this](const SessionAtHome& session) {
    return AtHome(session.id.node, session.id) && !order_.Waits(session.id) &&
           !(session.detached && tickets_.HasAny(session.id));
  });
}

void FarSide::BeginMove(const std::string& bare, NodeNumber to) {
  Leaving& leaving = leaving_[bare];
  leaving.to = to;
  leaving.since = Now();
  holds_[bare].since = Now();
  NextRound(bare, leaving);
}

void FarSide::NextRound(const std::string& bare, Leaving& leaving) {
  if (++last_round_ == 0) ++last_round_;
  leaving.round = last_round_;
  leaving.stirred = false;
  for (const auto& [node, peer] : peers_) {
    leaving.awaited.insert(node);
    Post(node, HomeLeavesLetter{Jid::OfPrepared(bare), leaving.round});
  }
}

void FarSide::Stir(const SessionId& session) {
  const auto peer = peers_.find(session.node);
  if (peer == peers_.end()) return;
  const auto guest = peer->second.guests.find(session);
  if (guest == peer->second.guests.end()) return;
  StirHome(guest->second.full());
}

// What goes out from here is behind it on each link before the home sends from elsewhere.
void FarSide::StirHome(const std::string& bare) {
  if (leaving_.empty()) return;
  const auto leaving = leaving_.find(bare);
  if (leaving != leaving_.end()) leaving->second.stirred = true;
}

void FarSide::TryMoves() {
  if (leaving_.empty()) return;
  std::vector<std::string> all;
  for (const auto& [bare, leaving] : leaving_) all.push_back(bare);
  for (const std::string& bare : all) TryMove(bare);
}

void FarSide::TryMove(const std::string& bare) {
  const auto it = leaving_.find(bare);
  if (it == leaving_.end() || it->second.given) return;
  Leaving& leaving = it->second;
  if (!directory_.IsMine(bare) || Now() - leaving.since > kMoveTime) return PutOffMove(bare);
  if (!leaving.awaited.empty() || !ground_.home.MayMove(bare)) return;
  const bool rests = ground_.home.EachSession(bare, [this](const SessionAtHome& session) {
    return AtHome(session.id.node, session.id) && !order_.Waits(session.id) &&
           !tickets_.HasAny(session.id);
  });
  if (!rests) return;
  if (!AllMove()) return PutOffMove(bare);
  if (leaving.stirred) return NextRound(bare, leaving);
  Give(bare, leaving);
}

void FarSide::Give(const std::string& bare, Leaving& leaving) {
  HomeStateLetter letter{.user = Jid::OfPrepared(bare), .sessions = ground_.home.Sessions(bare)};
  for (MovedSession& session : letter.sessions) {
    leaving.sessions.push_back(session.id);
    session.node = directory_.NameOf(session.id.node);
  }
  leaving.given = true;
  leaving.given_at = Now();
  leaving.renewed = leaving.since;  // who holds may have heard nothing since then
  if (!Post(leaving.to, letter)) PutOffMove(bare);
}

void FarSide::PutOffMove(std::string bare, net::Duration again) {
  leaving_.erase(bare);
  ClientCounters::Add(counters_.moves_failed);
  move_later_[bare] = Now() + again;
  for (const auto& [node, peer] : peers_) Post(node, HomeStaysLetter{Jid::OfPrepared(bare)});
  EndHold(bare);
}

// What is about to happen ends with a word that is held until the home has gone: neither would
// come.
void FarSide::PutOffUnlessGiven(const std::string& bare) {
  if (leaving_.contains(bare) && !Given(bare)) PutOffMove(bare, kMoveSoon);
}

// A session there lost something, so it ends. Who holds already, in whichever round, has the word
// of that as well.
void FarSide::LostAt(NodeNumber node, const std::string& bare) {
  const auto leaving = leaving_.find(bare);
  if (leaving != leaving_.end() && leaving->second.holding.contains(node)) PutOffUnlessGiven(bare);
}

void FarSide::PutOffMoves(net::Duration again) {
  std::vector<std::string> all;
  for (const auto& [bare, leaving] : leaving_) {
    if (!leaving.given) all.push_back(bare);
  }
  for (const std::string& bare : all) PutOffMove(bare, again);
}

void FarSide::RenewMoves() {
  const net::Time now = Now();
  std::vector<std::string> lost;
  for (auto& [bare, leaving] : leaving_) {
    if (!leaving.given) continue;
    const net::Duration waits = now - leaving.given_at;
    if (waits >= kGivenTime + kAskedBackTime) {
      lost.push_back(bare);
      continue;
    }
    const Jid user = Jid::OfPrepared(bare);
    if (waits >= kGivenTime && !std::exchange(leaving.asked_back, true)) {
      Post(leaving.to, HomeStaysLetter{user});
    }
    if (now - leaving.renewed < kRenewTime) continue;
    leaving.renewed = now;
    for (const auto& [node, peer] : peers_) Post(node, HomeLeavesLetter{user, 0});
  }
  for (const std::string& bare : lost) LoseMove(bare);
}

// It is at home there. Nobody is told, since for everybody it goes on.
void FarSide::FinishMove(const std::string& bare, NodeNumber to) {
  const auto leaving = leaving_.extract(bare);
  for (const SessionId& session : leaving.mapped().sessions) {
    if (Peer* peer = Find(session.node)) peer->guests.erase(session);
  }
  GiveUp(bare);
  directory_.Moved(bare, to, Now());
  ground_.home.Drop(bare);
  ClientCounters::Add(counters_.homes_moved);
  CountGuests();
  EndHold(bare);
}

// Who took it is gone, or says nothing, and may have told some of that: their sessions ended with
// it, and those of others do now.
void FarSide::LoseMove(const std::string& bare) {
  const auto leaving = leaving_.extract(bare);
  ground_.home.Expel(Jid::OfPrepared(bare), net::StreamError::kReset,
                     "the account's home was lost on its way");
  for (const SessionId& session : leaving.mapped().sessions) {
    if (Peer* peer = Find(session.node)) peer->guests.erase(session);
  }
  GiveUp(bare);
  ClientCounters::Add(counters_.moves_failed);
  CountGuests();
  for (const auto& [node, peer] : peers_) Post(node, HomeStaysLetter{Jid::OfPrepared(bare)});
  EndHold(bare);
}

FarSide::Hold* FarSide::HoldOf(std::string_view bare) {
  const auto it = holds_.find(std::string(bare));
  if (it == holds_.end()) return nullptr;
  if (it->second.by != 0 || Given(bare) || !it->second.full()) return &it->second;
  PutOffMove(it->first);
  return nullptr;
}

bool FarSide::HoldsTooMuch(std::string_view bare, size_t times) {
  const Hold* hold = holds_.empty() ? nullptr : HoldOf(bare);
  if (hold == nullptr || !hold->full(times)) return false;
  ClientCounters::Add(counters_.held_refused);
  return true;
}

// What was held goes to where the home is now.
void FarSide::EndHold(const std::string& bare) {
  auto hold = holds_.extract(bare);
  if (!hold) return;
  Run(hold.mapped());
}

void FarSide::Run(Hold& hold) {
  for (Item& item : hold.items) item();
}

void FarSide::EndLateHolds() {
  const net::Time now = Now();
  std::erase_if(move_later_, [now](const auto& one) { return one.second <= now; });
  std::vector<std::pair<std::string, NodeNumber>> late;
  for (const auto& [bare, hold] : holds_) {
    if (hold.by != 0 && now - hold.since >= kHoldTime) late.emplace_back(bare, hold.by);
  }
  // Where the home is, this node was not told, as by one that took it and died: its sessions are
  // nobody's.
  for (const auto& [bare, by] : late) {
    std::vector<SessionId> lost;
    if (const Peer* peer = Find(by)) {
      for (const auto& [session, user] : peer->lodgers) {
        if (user.full() == bare) lost.push_back(session);
      }
    }
    for (const SessionId& session : lost) {
      ClientCounters::Add(counters_.lodgers_lost);
      ground_.sessions.Close(session, net::StreamError::kReset, "the account's home was lost");
    }
    EndHold(bare);
  }
}

// Behind all else that its end means.
void FarSide::MovesWithout(NodeNumber node) {
  std::vector<std::string> over;
  for (auto& [bare, leaving] : leaving_) {
    leaving.awaited.erase(node);
    leaving.holding.erase(node);
    if (leaving.to == node) over.push_back(bare);
  }
  for (const std::string& bare : over) Given(bare) ? LoseMove(bare) : PutOffMove(bare);
}

std::vector<FarSide::Hold> FarSide::TakeHoldsBy(NodeNumber node) {
  std::vector<Hold> holds;
  for (auto it = holds_.begin(); it != holds_.end();) {
    if (it->second.by != node) {
      ++it;
      continue;
    }
    holds.push_back(std::move(it->second));
    it = holds_.erase(it);
  }
  return holds;
}

// --- Letters.

void FarSide::OnLetter(NodeNumber node, const HomeLeavesLetter& letter) {
  const std::string& bare = letter.user.full();
  if (letter.round == 0) {
    const auto hold = holds_.find(bare);
    if (hold != holds_.end() && hold->second.by == node) hold->second.since = Now();
    return;
  }
  if (directory_.IsMine(bare)) return;  // two homes met: one of them goes
  const auto [it, fresh] = holds_.try_emplace(bare);
  if (fresh) it->second.by = node;
  if (it->second.by != node) return;
  it->second.since = Now();
  Post(node, HomeHeldLetter{letter.user, letter.round});
}

void FarSide::OnLetter(NodeNumber node, const HomeHeldLetter& letter) {
  const auto it = leaving_.find(letter.user.full());
  if (it == leaving_.end() || it->second.round != letter.round) return;
  it->second.holding.insert(node);
  it->second.awaited.erase(node);
  TryMove(letter.user.full());
}

void FarSide::OnLetter(NodeNumber node, const HomeStaysLetter& letter) {
  const auto taking = taking_.find(letter.user.full());
  if (taking != taking_.end() && taking->second.from == node && !taking->second.refused) {
    taking->second.refused = true;
    Post(node, HomeRefusedLetter{letter.user});
  }
  const auto it = holds_.find(letter.user.full());
  if (it != holds_.end() && it->second.by == node) EndHold(letter.user.full());
}

void FarSide::OnLetter(NodeNumber node, const HomeRefusedLetter& letter) {
  const auto it = leaving_.find(letter.user.full());
  if (it != leaving_.end() && it->second.given && it->second.to == node) {
    PutOffMove(letter.user.full());
  }
}

void FarSide::OnLetter(NodeNumber node, HomeStateLetter letter) {
  const std::string& bare = letter.user.full();
  const auto hold = holds_.find(bare);
  bool fits = !stops_ && !left_ && hold != holds_.end() && hold->second.by == node;
  if (fits) ground_.home.Release(bare);
  fits = fits && !directory_.IsMine(bare) && !ground_.home.Has(bare) && !taking_.contains(bare);
  std::vector<SessionId> sessions;
  for (MovedSession& session : letter.sessions) {
    const auto at = directory_.Find(session.node);
    fits = fits && at.has_value();
    session.id.node = at.value_or(0);
    sessions.push_back(session.id);
  }
  if (!fits) {
    Post(node, HomeRefusedLetter{letter.user});
    return;
  }
  const Jid user = letter.user;
  taking_[bare] = {.from = node};
  ground_.home.TakeIn(user, std::move(letter.sessions),
                      [this, node, user, sessions = std::move(sessions)](bool taken) mutable {
                        if (taken) return taken_.push_back({node, user, std::move(sessions)});
                        const auto taking = taking_.extract(user.full());
                        if (!taking.mapped().refused) Post(node, HomeRefusedLetter{user});
                      });
}

// What was held calls the home, which is in the middle of its work when it takes one in.
void FarSide::EndTurn() {
  for (const Taken& one : std::exchange(taken_, {})) TakenIn(one.from, one.user, one.sessions);
  for (const std::string& bare : std::exchange(allowed_, {})) AllowAsked(bare);
}

void FarSide::TakenIn(NodeNumber from, const Jid& user, const std::vector<SessionId>& sessions) {
  const std::string& bare = user.full();
  const auto hold = holds_.find(bare);
  const bool refused = taking_.extract(bare).mapped().refused;
  // Its node went meanwhile, and its sessions ended with that; or nobody waits for it any more.
  if (refused || stops_ || left_ || hold == holds_.end() || hold->second.by != from) {
    if (!refused) Post(from, HomeRefusedLetter{user});
    if (!directory_.IsMine(bare)) return ground_.home.Drop(bare);
    // Others of the user came meanwhile, and made it at home here.
    for (const SessionId& session : sessions) home().Gone(session, user);
    return;
  }
  if (directory_.Take(bare)) {
    homes_out_.push_back({.bare = bare, .gone = false, .after = directory_.StampOf(bare)});
    fresh_.emplace_back(bare, Now());
  }
  std::map<NodeNumber, std::vector<SessionId>> of;
  std::vector<SessionId> gone;
  for (const SessionId& session : sessions) {
    of[session.node].push_back(session);
    if (session.node == 0) continue;
    if (Peer* peer = Find(session.node)) {
      peer->guests.insert_or_assign(session, user);
    } else {
      gone.push_back(session);
    }
  }
  CountGuests();
  for (const auto& [node, peer] : peers_) Post(node, HomeHereLetter{user, of[node]});
  AtHomeNow(user, of[0], 0);
  EndHold(bare);
  for (const SessionId& session : gone) GoneHome(session, user);
}

void FarSide::OnLetter(NodeNumber node, const HomeHereLetter& letter) {
  const std::string& bare = letter.user.full();
  const auto leaving = leaving_.find(bare);
  if (leaving != leaving_.end() && leaving->second.given) {
    // Another's, and two homes met: what the one that has it makes of that is heard of.
    return leaving->second.to == node ? FinishMove(bare, node) : void();
  }
  if (leaving != leaving_.end()) PutOffMove(bare);
  const auto hold = holds_.find(bare);
  if (directory_.IsMine(bare)) {  // two homes met
    if (hold != holds_.end() && hold->second.by != 0) EndHold(bare);
    return;
  }
  directory_.Moved(bare, node, Now());
  AtHomeNow(letter.user, letter.sessions, node);
  EndHold(bare);
}

// Sessions of this node.
void FarSide::AtHomeNow(const Jid& user, const std::vector<SessionId>& sessions, NodeNumber at) {
  for (const SessionId& session : sessions) {
    const auto lodged = lodged_.find(session);
    if (lodged == lodged_.end()) {  // it has ended where it was at home before
      if (at == 0) {
        GoneHome(session, user);
      } else {
        Post(at, GoneLetter{session, user});
      }
      continue;
    }
    const NodeNumber from = lodged->second;
    if (Peer* peer = Find(from)) peer->lodgers.erase(session);
    if (at == 0) {
      lodged_.erase(lodged);
    } else {
      lodged->second = at;
      peers_.at(at).lodgers.insert_or_assign(session, user);
    }
    ground_.owed(session, from);
  }
}

}  // namespace server
