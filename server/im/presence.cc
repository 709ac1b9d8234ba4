#include "server/im/presence.h"

#include <algorithm>
#include <utility>

namespace server {

Parcel MakePresence(StanzaType type, Jid from, Jid to, std::shared_ptr<const std::string> content) {
  return {.kind = StanzaKind::kPresence,
          .type = type,
          .traits = {},
          .from = std::move(from),
          .to = std::move(to),
          .id = {},
          .lang = {},
          .content = std::move(content),
          .mark = {},
          .iq_name = {},
          .iq_space = {}};
}

namespace {

Parcel WithTo(const Parcel& parcel, Jid to) {
  Parcel copy = parcel;
  copy.to = std::move(to);
  copy.mark = {};
  return copy;
}

}  // namespace

// To all contacts that may see it, and to the user's own available sessions.
void Presences::Tell(const User& user, const HomeSession& session, const Parcel& told) {
  user.contacts.ForEach(user.jid.domain(), [&](const std::string& jid, const ContactState& state) {
    if (!state.from()) return;
    Jid contact = Jid::OfPrepared(jid);
    if (user.Blocks(contact)) return;
    core_.Route(WithTo(told, std::move(contact)));
  });
  for (const HomeSession& other : user.sessions) {
    if (other.available || other.id == session.id) core_.DeliverParcel(other, told);
  }
}

// Section 4.2.2: a session that comes sees the user's others.
void Presences::GreetFromOthers(User& user, const HomeSession& session) {
  for (const HomeSession& other : user.sessions) {
    if (other.id == session.id || !other.available) continue;
    core_.DeliverParcel(session, MakePresence(StanzaType::kAvailable, user.FullOf(other),
                                              user.FullOf(session), other.presence));
  }
}

// Section 4.3.1; from the full address, so that the answers come to who asks for them. A request
// that is not answered yet is made again: who has it or has granted it loses nothing by that, and
// what was lost on the way between two accounts is mended.
void Presences::AskContacts(const User& user, const Jid& full) {
  user.contacts.ForEach(user.jid.domain(), [&](const std::string& jid, const ContactState& state) {
    if (!state.to() && !state.ask) return;
    Jid contact = Jid::OfPrepared(jid);
    if (user.Blocks(contact)) return;
    if (state.ask) {
      core_.Route(MakePresence(StanzaType::kSubscribe, user.jid, std::move(contact)));
    } else {
      core_.Route(MakePresence(StanzaType::kProbe, full, std::move(contact)));
    }
  });
}

Presences::Change Presences::Broadcast(User& user, HomeSession& session, const SentStanza& sent) {
  if (sent.parcel.type == StanzaType::kUnavailable) {
    const bool was = session.available;
    GoUnavailable(user, session, sent.parcel.content, was);
    return was ? Change::kUnavailable : Change::kNone;
  }
  const bool initial = !session.available;
  session.available = true;
  session.priority = static_cast<int8_t>(sent.priority);
  session.presence = sent.parcel.content;
  Tell(user, session, WithTo(sent.parcel, user.jid));
  if (!initial) return Change::kNone;
  GreetFromOthers(user, session);
  AskContacts(user, sent.parcel.from);
  return Change::kAvailable;
}

void Presences::GoUnavailable(User& user, HomeSession& session,
                              std::shared_ptr<const std::string> content, bool itself) {
  const Parcel told =
      MakePresence(StanzaType::kUnavailable, user.FullOf(session), user.jid, std::move(content));
  const bool was = session.available;
  session.available = false;
  session.presence = nullptr;
  session.priority = 0;
  if (was) {
    user.contacts.ForEach(user.jid.domain(),
                          [&](const std::string& jid, const ContactState& state) {
                            if (!state.from()) return;
                            Jid contact = Jid::OfPrepared(jid);
                            if (user.Blocks(contact)) return;
                            core_.Route(WithTo(told, std::move(contact)));
                          });
    for (const HomeSession& other : user.sessions) {
      if (other.available || (itself && other.id == session.id)) core_.DeliverParcel(other, told);
    }
  }
  const auto directed = std::exchange(session.directed, nullptr);
  if (directed == nullptr) return;
  for (const std::string& address : *directed) {
    Jid to = Jid::OfPrepared(address);
    if (user.Blocks(to)) continue;
    const Jid bare = to.Bare();
    if (was && user.contacts.Find(bare.full(), user.jid.domain()).from()) continue;
    core_.Route(WithTo(told, std::move(to)));
  }
}

void Presences::End(User& user, HomeSession& session) {
  GoUnavailable(user, session, nullptr, false);
}

void Presences::Direct(User& user, HomeSession& session, Parcel parcel) {
  const std::string& to = parcel.to.full();
  if (parcel.type == StanzaType::kAvailable) {
    const Jid bare = parcel.to.Bare();
    const bool told_anyway =
        session.available && user.contacts.Find(bare.full(), user.jid.domain()).from();
    if (!told_anyway && bare != user.jid) {
      if (session.directed == nullptr) {
        session.directed = std::make_unique<std::vector<std::string>>();
      }
      auto& directed = *session.directed;
      if (std::ranges::find(directed, to) == directed.end()) {
        if (directed.size() >= core_.limits().directed) {
          return core_.Bounce(parcel, ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                                               "presence goes to too many already"));
        }
        directed.push_back(to);
      }
    }
  } else if (parcel.type == StanzaType::kUnavailable && session.directed != nullptr) {
    std::erase(*session.directed, to);
    if (session.directed->empty()) session.directed = nullptr;
  }
  core_.Settled(std::exchange(parcel.mark, {}));
  core_.Route(std::move(parcel));
}

void Presences::Arrive(User& user, const Parcel& parcel) {
  if (user.Blocks(parcel.from)) return;
  if (parcel.type == StanzaType::kProbe) return AnswerProbe(user, parcel);
  if (!parcel.to.is_bare()) {
    HomeSession* session = user.FindResource(parcel.to.resource());
    if (session == nullptr) return;
    // Who answers so is not there: nothing is withdrawn from it later (section 4.6.3). Nor from a
    // room that says that the session is in it no more, or under another name.
    const bool left = parcel.type == StanzaType::kUnavailable &&
                      std::ranges::find(core_.options().services, parcel.from.domain()) !=
                          core_.options().services.end();
    if ((parcel.type == StanzaType::kError || left) && session->directed != nullptr) {
      std::erase(*session->directed, parcel.from.full());
    }
    return core_.DeliverParcel(*session, parcel);
  }
  if (parcel.type == StanzaType::kError) return;
  for (const HomeSession& session : user.sessions) {
    if (session.available) core_.DeliverParcel(session, parcel);
  }
}

void Presences::RoomsLost(User& user, const std::unordered_set<std::string>& rooms) {
  static const auto kGone = std::make_shared<const std::string>(
      "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'/>"
      "<status code='110'/><status code='332'/></x>");
  for (HomeSession& session : user.sessions) {
    if (session.directed == nullptr) continue;
    std::erase_if(*session.directed, [&](const std::string& address) {
      const Jid there = Jid::OfPrepared(address);
      if (!rooms.contains(std::string(there.bare()))) return false;
      core_.DeliverParcel(
          session, MakePresence(StanzaType::kUnavailable, there, user.FullOf(session), kGone));
      return true;
    });
  }
}

void Presences::AnswerProbe(User& user, const Parcel& probe) {
  const Jid who = probe.from.Bare();
  if (who != user.jid && !user.contacts.Find(who.full(), user.jid.domain()).from()) {
    return;
  }
  for (const HomeSession& session : user.sessions) {
    if (!session.available) continue;
    if (!probe.to.is_bare() && probe.to.resource() != session.resource) continue;
    core_.Route(
        MakePresence(StanzaType::kAvailable, user.FullOf(session), probe.from, session.presence));
  }
}

void Presences::Show(const User& user, const Jid& contact) {
  if (user.Blocks(contact)) return;
  for (const HomeSession& session : user.sessions) {
    if (!session.available) continue;
    core_.Route(
        MakePresence(StanzaType::kAvailable, user.FullOf(session), contact, session.presence));
  }
}

void Presences::Hide(const User& user, const Jid& contact) {
  for (const HomeSession& session : user.sessions) {
    if (!session.available) continue;
    core_.Route(MakePresence(StanzaType::kUnavailable, user.FullOf(session), contact));
  }
}

void Presences::Probe(const User& user, const Jid& contact) {
  for (const HomeSession& session : user.sessions) {
    if (!session.available) continue;
    core_.Route(MakePresence(StanzaType::kProbe, user.FullOf(session), contact));
  }
}

}  // namespace server
