// Presence (RFC 6121 section 4): what a session says of itself and who is told, by its roster or by
// name; what probes are answered; how it ends. Nobody who is blocked is told anything (XEP-0191).
//
// A probe for a user without a session is not answered: section 4.3.2 would have <unavailable/> go
// back, which is what who asks believes already, at the price of reading each contact that is away
// at each login. Nor, then, is one of somebody who may not know: an <unsubscribed/> from those
// alone who are online would tell just that.
//
// One thread, of the home.
#pragma once

#include <string>
#include <unordered_set>

#include "server/im/home_core.h"
#include "server/im/stanza_parcel.h"

namespace server {

class Presences {
 public:
  explicit Presences(HomeCore& core) : core_(core) {}

  enum class Change : uint8_t { kNone, kAvailable, kUnavailable };
  // Without `to`. What it changed of the session: it became available, or unavailable.
  Change Broadcast(User& user, HomeSession& session, const SentStanza& sent);
  // To somebody (section 4.6), an error, or a probe.
  void Direct(User& user, HomeSession& session, Parcel parcel);
  // The session is no more, and is still in the user's list.
  void End(User& user, HomeSession& session);

  // These rooms are no more where they were: the user's sessions that are in them are told what
  // the rooms cannot tell them any more (XEP-0045 section 7.14's words, and status 332).
  void RoomsLost(User& user, const std::unordered_set<std::string>& rooms);
  // For the user, from elsewhere: available, unavailable, error, probe.
  void Arrive(User& user, const Parcel& parcel);

  // `contact` (bare) may see the user from now on, or no longer.
  void Show(const User& user, const Jid& contact);
  void Hide(const User& user, const Jid& contact);
  void Probe(const User& user, const Jid& contact);  // for all of the user's available sessions

 private:
  void Tell(const User& user, const HomeSession& session, const Parcel& told);
  void GreetFromOthers(User& user, const HomeSession& session);
  void AskContacts(const User& user, const Jid& full);
  void GoUnavailable(User& user, HomeSession& session, std::shared_ptr<const std::string> content,
                     bool itself);
  void AnswerProbe(User& user, const Parcel& probe);

  HomeCore& core_;
};

// From a session of ours, or of an account.
Parcel MakePresence(StanzaType type, Jid from, Jid to,
                    std::shared_ptr<const std::string> content = nullptr);

}  // namespace server
