// A HomeDoor, or more, of whoever has a home: each call goes to it.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/c2s/far_side.h"
#include "server/im/home.h"

namespace server {

template <typename Door>
class DoorOfHome : public Door {
 public:
  bool Knows(const std::string& bare) override { return behind().Knows(bare); }
  bool Has(const std::string& bare) override { return behind().Has(bare); }
  void Release(const std::string& bare) override { behind().Release(bare); }
  bool Awaits(uint64_t ticket) override { return behind().Awaits(ticket); }
  void Look(const Jid& user) override { behind().Look(user); }
  void Expel(const Jid& user, net::StreamError error, const std::string& text) override {
    behind().Expel(user, error, text);
  }
  bool MayMove(const std::string& bare) override { return behind().MayMove(bare); }
  bool EachSession(const std::string& bare, const HomeDoor::Holds& holds) override {
    return behind().EachSession(bare, holds);
  }
  std::vector<MovedSession> Sessions(const std::string& bare) override {
    return behind().Sessions(bare);
  }
  void TakeIn(const Jid& user, std::vector<MovedSession> sessions,
              std::move_only_function<void(bool taken)> done) override {
    behind().TakeIn(user, std::move(sessions), std::move(done));
  }
  void Drop(const std::string& bare) override { behind().Drop(bare); }

 protected:
  ~DoorOfHome() = default;

 private:
  virtual Home& behind() = 0;
};

}  // namespace server
