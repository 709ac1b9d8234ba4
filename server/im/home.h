// The home of the users that one worker has: their sessions' binding, their rosters, presence,
// messages, blocking, carbons and archive copies (RFC 6120 sections 7 and 10, RFC 6121, XEP-0160,
// 0191, 0280, 0313's copies, 0359).
//
//   home ── bind, dispatch by kind and address
//    ├ presence · roster · messages · carbons · blocking   one idea each
//    └ home_core   users, what goes out, tickets
//
// Pure: no sockets, no threads; time, randomness and the store are given. What goes out by the
// gates is called at the end of each call in, and a gate may call back from there.
//
// One thread: of its worker. It outlives none of what it is given.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/im/blocking.h"
#include "server/im/carbons.h"
#include "server/im/home_core.h"
#include "server/im/iq.h"
#include "server/im/messages.h"
#include "server/im/moved_session.h"
#include "server/im/ports.h"
#include "server/im/presence.h"
#include "server/im/roster.h"

namespace server {

class Home final : public HomeGate {
 public:
  Home(HomeOptions options, SessionGate& sessions, HomeGate& homes, StoreClient& store,
       const IqTable& handlers, const net::Clock& clock, std::function<int64_t()> unix_us,
       std::function<uint64_t()> random);

  void Bind(BindRequest request) override;
  void Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) override;
  void Changed(const SessionId& session, const Jid& user, SessionState state) override;
  void DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                     DeliveryEnd end) override;
  void Gone(const SessionId& session, const Jid& user) override;
  void Resume(const SessionId& next, const Jid& user, uint64_t tag) override;
  void Route(Parcel parcel) override;

  // Once a second or so: gives back what was kept for clients that do not ask for it, tries again
  // what the store did not take.
  void Tick();
  // Memory is short: what is kept for what may come next goes, users without sessions and rosters
  // that their clients have not asked for. They are read again when they are wanted.
  void Ease();
  // The account is no more, is at home elsewhere, or others changed what is stored of it: its
  // sessions end with `error` and it is read anew.
  void Expel(const Jid& user, net::StreamError error, const std::string& text);
  // Others, who did not know that it is at home here, may have stored messages for it.
  void Look(const Jid& user);
  // The node that these rooms were on is no more.
  void RoomsLost(const std::vector<std::string>& rooms);
  // It is in memory, or was changed a short while ago: what a login has read of it may be old.
  bool Knows(const std::string& bare) { return core_.Has(bare) || core_.MayBeStale(bare); }
  bool Has(const std::string& bare) const { return core_.Has(bare); }
  // It shall leave memory (HomeOptions::left), now or when nothing of it is under way any more.
  void Release(const std::string& bare);

  // --- To another node, and from one (home_moves.cc, server/c2s/far_side_moves.cc).
  // It has sessions, and nothing of it is under way here but deliveries.
  bool MayMove(const std::string& bare);
  // The store has not told yet what became of something that it was given or asked for.
  bool Busy() const { return core_.asked_store() > 0; }
  // `holds` of each of its sessions.
  bool EachSession(const std::string& bare,
                   const std::function<bool(const SessionAtHome& session)>& holds);
  // As they are to be known there: MovedSession::node is for who knows the nodes.
  std::vector<MovedSession> Sessions(const std::string& bare);
  // `done` at once or later, in the middle of the home's work; false: it is not taken.
  void TakeIn(const Jid& user, std::vector<MovedSession> sessions,
              std::move_only_function<void(bool taken)> done);
  // It is at home there: nobody is told of anything.
  void Drop(const std::string& bare);

  // --- Orders of operators (home_orders.cc), of users whose home this is. Answers come at once or
  // later, and not at all where the home ends before.
  //
  // As if the account asked its server: <query xmlns='jabber:iq:roster'/>, …
  void AskAs(const Jid& user, StanzaType type, std::string xml, IqCall::Answer answer);
  // A stanza of the account's, or of the session that `from` names; "" where it went out.
  using SentAs = std::move_only_function<void(std::string error_xml)>;
  void SendAs(const Jid& from, Stanza stanza, SentAs done);
  // Ends a session, or where `who` is bare all of the user's (<conflict/>: clients stay away);
  // which it was.
  std::vector<Jid> Kick(const Jid& who, const std::string& text);
  void ForEachSession(
      const std::function<void(const User& user, const HomeSession& session)>& visit) const;

  const HomeCounters& counters() const { return core_.counters; }
  size_t users() const { return core_.users(); }
  bool Awaits(uint64_t ticket) const { return core_.Awaits(ticket); }
  size_t tickets() const { return core_.tickets(); }  // deliveries whose end is awaited

 private:
  void BindTo(User& user, BindRequest request);
  std::string FreeResource(User& user);
  void End(User& user, HomeSession& session);
  void NoteLast(const User& user, std::string status);
  void Changed(const Jid& user, AccountChange change);
  void ReadArchivePrefs(User& user);
  std::shared_ptr<void> Asking(const std::string& bare);
  void Expel(User& user, net::StreamError error, const std::string& text);

  void Refuse(const HomeSession& session, const Parcel& parcel, std::string error_xml);
  bool MayGo(const User& user, const HomeSession& session, const Parcel& parcel);
  void SendMessage(User& user, HomeSession& session, Parcel message);
  void SendPresence(User& user, HomeSession& session, SentStanza sent);
  void SendIq(User& user, HomeSession& session, Parcel iq);

  void AskOwn(User& user, HomeSession& session, IqTarget target, Parcel iq);
  void Ask(IqTarget target, Parcel iq);
  IqCall::Answer AnswerTo(const Parcel& iq, SessionId session, const Jid& user);

  void RouteToServer(Parcel parcel);
  void RouteMessage(Parcel parcel);
  void RoutePresence(const Parcel& parcel);
  void RouteIq(Parcel parcel);

  HomeCore core_;
  const IqTable& handlers_;
  Carbons carbons_{core_};
  Presences presences_{core_};
  Rosters rosters_{core_, presences_};
  Blocking blocking_{core_, presences_};
  Messages messages_{core_, carbons_};

  // IQs of users' sessions that are not answered yet.
  std::unordered_map<std::string, uint32_t> asking_;
  struct KeptRoster {
    Jid user;
    net::Time until;
  };
  std::deque<KeptRoster> kept_rosters_;
};

// What the home answers itself, for the features that XEP-0030 tells of.
void AddHomeFeatures(IqTable& table, const HomeOptions& options);

}  // namespace server
