// A home that goes to another node, as the homes of the two see it. What is under way stays behind,
// so it goes only when nothing is.
#include <algorithm>
#include <utility>

#include "server/im/home.h"

namespace server {

bool Home::MayMove(const std::string& bare) {
  const User* at = core_.Find(bare);
  return at != nullptr && !at->sessions.empty() && !HomeCore::UnderWay(*at) &&
         !asking_.contains(bare) && std::ranges::none_of(at->sessions, [](const HomeSession& one) {
           return one.ending || !one.before.empty();
         });
}

bool Home::EachSession(const std::string& bare,
                       const std::function<bool(const SessionAtHome&)>& holds) {
  const User* at = core_.Find(bare);
  return at == nullptr || std::ranges::all_of(at->sessions, holds);
}

std::vector<MovedSession> Home::Sessions(const std::string& bare) {
  std::vector<MovedSession> sessions;
  const User* at = core_.Find(bare);
  if (at == nullptr) return sessions;
  for (const HomeSession& one : at->sessions) {
    MovedSession& session = sessions.emplace_back(MovedSession{one});
    if (one.presence != nullptr) session.presence = *one.presence;
    if (one.directed != nullptr) session.directed = *one.directed;
  }
  return sessions;
}

void Home::TakeIn(const Jid& user, std::vector<MovedSession> sessions,
                  std::move_only_function<void(bool taken)> done) {
  const HomeCore::Turn turn(core_);
  core_.WithUser(user, [this, sessions = std::move(sessions), done = std::move(done)](
                           User* at, StoreError) mutable {
    if (at == nullptr || !at->sessions.empty()) return done(false);
    for (MovedSession& one : sessions) {
      HomeSession& session = at->sessions.emplace_back();
      if (one.presence) session.presence = std::make_shared<const std::string>(*one.presence);
      if (!one.directed.empty()) {
        session.directed = std::make_unique<std::vector<std::string>>(std::move(one.directed));
      }
      static_cast<SessionAtHome&>(session) = std::move(one);
    }
    // What the other has stored in its last moments, before what was held meanwhile.
    messages_.DeliverOffline(*at);
    done(true);
  });
}

void Home::Drop(const std::string& bare) {
  const HomeCore::Turn turn(core_);
  core_.Forget(bare);
}

// Keeps a user's home where it is until its last copy is gone.
std::shared_ptr<void> Home::Asking(const std::string& bare) {
  ++asking_[bare];
  return {nullptr, [this, alive = core_.alive(), bare](void*) {
            if (alive.expired()) return;
            const auto it = asking_.find(bare);
            if (--it->second == 0) asking_.erase(it);
          }};
}

}  // namespace server
