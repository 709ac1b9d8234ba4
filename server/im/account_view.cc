#include "server/im/account_view.h"

#include <utility>

namespace server {
namespace {

class View final : public AccountView {
 public:
  View(HomeCore& core, Jid user) : core_(core), alive_(core.alive()), user_(std::move(user)) {}

  const Jid& user() const override { return user_; }

  bool SeenBy(const Jid& other) const override {
    if (other.bare() == user_.full()) return true;
    const User* user = Find();
    return user != nullptr && user->contacts.Find(other.bare(), user_.domain()).from();
  }
  bool Blocks(const Jid& other) const override {
    const User* user = Find();
    return user != nullptr && user->Blocks(other);
  }
  size_t sessions() const override {
    const User* user = Find();
    return user == nullptr ? 0 : user->sessions.size();
  }
  size_t available() const override {
    const User* user = Find();
    size_t count = 0;
    if (user == nullptr) return count;
    for (const HomeSession& session : user->sessions) count += session.available ? 1 : 0;
    return count;
  }
  void ForEachSession(const std::function<void(const SessionView&)>& visit) const override {
    const User* user = Find();
    if (user == nullptr) return;
    for (const HomeSession& session : user->sessions) {
      const Jid full = user->FullOf(session);
      visit({.id = session.id,
             .full = full,
             .available = session.available,
             .priority = session.priority,
             .interested = session.interested,
             .secure = session.secure});
    }
  }
  void Push(const SessionId& session, std::string xml) override {
    User* user = Find();
    if (user == nullptr || user->Find(session) == nullptr) return;
    Delivery delivery;
    delivery.kind = StanzaKind::kIq;
    delivery.xml = std::move(xml);
    const HomeCore::Turn turn(core_);
    core_.Deliver(session, std::move(delivery));
  }

  void Changed(AccountChange change) override {
    if (alive_.expired() || !core_.on_changed) return;
    const HomeCore::Turn turn(core_);
    core_.on_changed(user_, change);
  }

 private:
  User* Find() const { return alive_.expired() ? nullptr : core_.Find(user_.full()); }

  HomeCore& core_;
  std::weak_ptr<int> alive_;
  const Jid user_;
};

}  // namespace

std::shared_ptr<AccountView> MakeAccountView(HomeCore& core, const Jid& user) {
  return std::make_shared<View>(core, user);
}

}  // namespace server
