// An account as handlers see it, with what they did to it.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/im/iq.h"

namespace server {

class AccountFake final : public AccountView {
 public:
  explicit AccountFake(std::string_view bare) : user_(Jid::Parse(bare).value()) {}

  std::set<std::string> seen_by;
  std::set<std::string> blocked;
  bool secure = true;
  std::vector<std::string> pushed;
  std::vector<AccountChange> changes;

  // A session of its own; `available` as by presence.
  SessionId Bind(std::string_view resource, bool is_available) {
    const SessionId id{.worker = 0, .place = 0, .life = sessions_.size() + 1};
    sessions_.push_back({id, user_.With(resource).value(), is_available});
    return id;
  }

  const Jid& user() const override { return user_; }
  bool SeenBy(const Jid& other) const override {
    return other == user_ || seen_by.contains(other.full());
  }
  bool Blocks(const Jid& other) const override { return blocked.contains(other.full()); }
  size_t sessions() const override { return sessions_.size(); }
  size_t available() const override {
    size_t count = 0;
    for (const Session& one : sessions_) count += one.available ? 1U : 0U;
    return count;
  }
  void ForEachSession(const std::function<void(const SessionView&)>& visit) const override {
    for (const Session& one : sessions_) {
      visit({.id = one.id,
             .full = one.full,
             .available = one.available,
             .priority = 0,
             .interested = true,
             .secure = secure});
    }
  }
  void Push(const SessionId&, std::string xml) override { pushed.push_back(std::move(xml)); }
  void Changed(AccountChange change) override { changes.push_back(change); }

 private:
  struct Session {
    SessionId id;
    Jid full;
    bool available;
  };
  const Jid user_;
  std::vector<Session> sessions_;
};

}  // namespace server
