// A user's roster (RFC 6121 section 2, versions as in section 2.6) and the subscriptions that live
// in it (section 3), with pre-approval (section 3.4).
//
// One change of a user at a time: read what the store alone has (names, groups), written, then told
// to the user's sessions and to the contact. What the store does not take has not happened.
//
// A request of somebody who is no item is kept as a row with Subscription::kRemove, which no client
// sees in the roster; it is told again whenever a session becomes available (section 3.1.3).
//
// One thread, of the home.
#pragma once

#include <deque>
#include <functional>

#include "server/im/home_core.h"
#include "server/im/presence.h"
#include "server/im/roster_item.h"

namespace server {

class Rosters {
 public:
  Rosters(HomeCore& core, Presences& presences) : core_(core), presences_(presences) {}

  // Of one of the user's sessions: get, set, remove.
  void Handle(User& user, HomeSession& session, IqCall call);
  // A session of the user's sends one of the four stanzas.
  void Send(User& user, Parcel parcel);
  // For the user.
  void Arrive(const Parcel& parcel);
  // Once a second or so.
  void Tick();
  // A session became available: it hears who waits for an answer.
  void TellRequests(User& user, const SessionId& session);
  // The account is no more: its contacts see all subscriptions end (XEP-0077 section 3.2).
  void RemoveAll(const User& user);

 private:
  using ItemAction = std::move_only_function<void(User& user, RosterItem item)>;
  using Failure = std::move_only_function<void(StoreError error)>;
  using Success = std::move_only_function<void(User& user)>;

  void Get(User& user, IqCall call);
  void Set(User& user, RosterOrder order, IqCall call);
  void Remove(User& user, const RosterOrder& order, IqCall call);
  void Outbound(User& user, const Parcel& parcel, const Jid& sender);
  void Inbound(User& user, const Parcel& parcel);
  void Again(const Parcel& parcel);

  // The item as the store has it, or a new one; within a change.
  void ReadItem(User& user, const Jid& contact, Failure failure, ItemAction then);
  // Writes what became of it and ends the change; `then` where it is done, before the push.
  void WriteItem(User& user, RosterItem item, const ContactState& next, Failure failure,
                 Success then);
  void EndSubscriptions(const User& user, const Jid& contact, const ContactState& state);
  void Push(const User& user, const RosterItem& item);
  void ToInterested(const User& user, const Parcel& parcel);

  HomeCore& core_;
  Presences& presences_;
  uint64_t pushes_ = 0;
  std::deque<Parcel> again_;  // what came and the store did not take
};

}  // namespace server
