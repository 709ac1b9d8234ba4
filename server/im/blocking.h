// The blocking command (XEP-0191): the list, what changes it, and what contacts see of that.
//
// One thread, of the home.
#pragma once

#include <string>
#include <vector>

#include "server/im/home_core.h"
#include "server/im/presence.h"

namespace server {

inline constexpr std::string_view kBlockingSpace = "urn:xmpp:blocking";

// What goes back to who sends to somebody whom they block themselves (section 3.5).
std::string BlockedByYouXml();

class Blocking {
 public:
  Blocking(HomeCore& core, Presences& presences) : core_(core), presences_(presences) {}

  // <blocklist/>, <block/>, <unblock/> of one of the user's sessions.
  void Handle(User& user, HomeSession& session, IqCall call);

 private:
  struct Order {
    std::vector<std::string> addresses;  // empty: all that there are (unblock)
    bool block = true;
  };
  void Change(User& user, Order order, IqCall call);
  void Apply(User& user, const Order& order);
  static bool IsDone(const Order& order, const std::vector<std::string>& blocked);
  void ForVisible(const User& user, const std::vector<std::string>& addresses, bool block);
  void Push(const User& user, const Order& order);

  HomeCore& core_;
  Presences& presences_;
  uint64_t pushes_ = 0;
};

}  // namespace server
