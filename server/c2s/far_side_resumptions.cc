// Sessions that are resumed elsewhere (XEP-0198): what is awaited of them, and what they send, as
// their homes and deputies see it.
#include <utility>

#include "server/c2s/far_side.h"

namespace server {

void FarSide::Resume(const SessionId& next, const Jid& user, uint64_t tag) {
  PutOffUnlessGiven(user.full());
  if (HoldBack(user.full(), [&] { return [=, this] { Resume(next, user, tag); }; })) return;
  const auto home_at = directory_.HomeOf(user.full(), Now());
  if (!home_at) return ground_.sessions.ResumeFailed(next);
  if (*home_at == 0) return home().Resume(next, user, tag);
  if (!Post(*home_at, ResumeLetter{next, user, tag})) return ground_.sessions.ResumeFailed(next);
  lodged_[next] = *home_at;
  peers_.at(*home_at).lodgers.insert_or_assign(next, user);
}

void FarSide::Moved(const SessionId& session, const SessionId& next, const Jid& user) {
  // Where it was it stays a guest until that says that it has left: it may have sent something.
  Peer* peer = Find(next.node);
  if (peer != nullptr) peer->guests.insert_or_assign(next, user);
  CountGuests();
  tickets_.Move(session, next);
  order_.Moved(session, next);
  if (moved_order_.size() >= kMovedMax) {
    moved_.erase(moved_order_.front().first);
    moved_order_.pop_front();
  }
  moved_.insert_or_assign(session, next);
  moved_order_.emplace_back(session, Now());
}

void FarSide::Move(const SessionId& session, const SessionId& next, const Jid& user) {
  Peer* peer = Find(session.node);
  if (peer != nullptr && peer->guests.contains(session)) peer->leaving[session] = next;
  Post(session.node, LeaveLetter{session, next, NameOf(next.node), user});
}

void FarSide::ResumeFailed(const SessionId& next) { Post(next.node, ResumeFailedLetter{next}); }

void FarSide::NeverCame(const SessionId& session, const Jid& user) {
  if (HoldBack(user.full(), [&] { return [=, this] { NeverCame(session, user); }; })) return;
  const auto lodged = lodged_.find(session);
  if (lodged == lodged_.end()) return LoseTickets(session, user);
  Post(lodged->second, DeliveryEndedLetter{session, user, 0, DeliveryEnd::kLost});
}

bool FarSide::SendSession(const SessionId& next, std::string state) {
  return Post(next.node, SessionLetter{next, std::move(state)});
}

// They were deliveries to a session of this node; now it is a guest.
void FarSide::AwaitTickets(const SessionId& next, const Jid& user,
                           const std::vector<uint64_t>& tickets) {
  SessionId at = next;  // it may have gone on meanwhile
  for (auto it = moved_.find(at); it != moved_.end(); it = moved_.find(at)) at = it->second;
  // Back on this node, or on its way: it tells by itself, or is gone without having come.
  const bool there = at.node == 0 || AtHome(at.node, at);
  for (const uint64_t ticket : tickets) {
    // Where it is now is told sooner than this worker, at times, and tells what it took.
    if (!ground_.home.Awaits(ticket)) continue;
    if (there) {
      tickets_.Add(ticket, at);
    } else {  // its node went, or it gave up meanwhile: nobody else will tell
      home().DeliveryEnded(at, user, ticket, DeliveryEnd::kLost);
    }
  }
}

void FarSide::LoseTickets(const SessionId& session, const Jid& user) {
  for (const uint64_t ticket : tickets_.TakeAll(session)) {
    home().DeliveryEnded(session, user, ticket, DeliveryEnd::kLost);
  }
}

void FarSide::OnLetter(NodeNumber node, const ResumeLetter& letter) {
  if (directory_.IsMine(letter.user.full()) && !Given(letter.user.full())) {
    PutOffUnlessGiven(letter.user.full());
    return home().Resume(letter.session, letter.user, letter.tag);
  }
  Post(node, ResumeFailedLetter{letter.session});
}

void FarSide::OnLetter(NodeNumber home, const LeaveLetter& letter) {
  SessionId next = letter.next;
  const auto node = NumberOf(letter.node);
  // Its client waits on a node that this one does not reach.
  if (!node) {
    return ground_.sessions.Close(letter.session, net::StreamError::kReset,
                                  "the session was resumed out of reach");
  }
  next.node = *node;
  ground_.leave(letter.session, next, letter.user, home);
}

void FarSide::OnLetter(NodeNumber node, SessionLetter letter) {
  ground_.arrived(letter.session, node, std::move(letter.state));
}

void FarSide::OnLetter(NodeNumber, const ResumeFailedLetter& letter) {
  ground_.sessions.ResumeFailed(letter.session);
}

}  // namespace server
