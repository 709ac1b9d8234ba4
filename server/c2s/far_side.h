// A worker's dealings with other nodes: users who are at home there, sessions there of users who
// are at home here, and what is under way between them.
//
//   deputy of its users   Bind, Arrive, … Route: to the home here, or as a letter to where it is
//   guests                sessions of other nodes that are at home here
//   lodgers               sessions of this node whose home is on another
//   routed                messages that went to another node, kept until they are settled; those to
//                         an account that another node deals with now wait for them (route_order.h)
//   tickets               deliveries to guests whose end is awaited
//   moves                 sessions that were resumed elsewhere: their stanzas keep their order, and
//                         what is awaited of them follows
//
// When a node is no more of our side (NodeDown), what it had of ours ends at once: tickets as lost,
// so their messages go to other sessions or wait offline; guests as gone; lodgers with <reset/>, so
// that their clients come back and find the home that there is then; sessions that were to be
// resumed from there, or by a home there, as ones that cannot be; routed messages are routed anew.
// Whatever comes from it afterwards is of another number, and is not taken.
//
// Bounded: kRoutedMax messages to a node, kClaimsMax binds that wait, one content that a node
// shares among its parcels; a node for which too much waits gets no new messages, their senders are
// told.
//
// One thread: of its worker.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/c2s/client_counters.h"
#include "server/c2s/home_directory.h"
#include "server/c2s/moved_sessions.h"
#include "server/c2s/route_order.h"
#include "server/c2s/ticket_book.h"
#include "server/im/letters.h"
#include "server/im/moved_session.h"
#include "server/im/ports.h"

namespace server {

// A home with what it stands on, as far as this needs it.
class HomeDoor {
 public:
  virtual HomeGate& gate() = 0;
  // Something of the user is in memory, or was changed a short while ago.
  virtual bool Knows(const std::string& bare) = 0;
  // The user is in memory.
  virtual bool Has(const std::string& bare) = 0;
  // Forgets it as soon as nothing of it is under way; at once, most often.
  virtual void Release(const std::string& bare) = 0;
  // The end of that delivery is not known yet.
  virtual bool Awaits(uint64_t ticket) = 0;
  // Others stored something for it.
  virtual void Look(const Jid& user) = 0;
  virtual void Expel(const Jid& user, net::StreamError error, const std::string& text) = 0;
  // Home's of those names, of one that moves to another node.
  virtual bool MayMove(const std::string& bare) = 0;
  using Holds = std::function<bool(const SessionAtHome& session)>;
  virtual bool EachSession(const std::string& bare, const Holds& holds) = 0;
  virtual std::vector<MovedSession> Sessions(const std::string& bare) = 0;
  virtual void TakeIn(const Jid& user, std::vector<MovedSession> sessions,
                      std::move_only_function<void(bool taken)> done) = 0;
  virtual void Drop(const std::string& bare) = 0;

 protected:
  ~HomeDoor() = default;
};

// Letters for a node.
struct NodeMail {
  NodeNumber node = 0;
  std::vector<uint8_t> letters;
};
// A home that began or ended here, for all nodes.
struct HomeRecord {
  std::string bare;
  bool gone = false;
  uint64_t after = 0;  // the stamp of the record whose place it takes
};

// Who wants to hear of a delivery.
struct Origin {
  NodeNumber node = 0;
  uint16_t worker = 0;
};

// Written by the worker alone, read by anyone.
struct FarCounters {
  using Counter = ClientCounters::Counter;
  Counter letters_out{0};
  Counter letters_in{0};
  Counter letters_malformed{0};
  Counter rerouted{0};      // routed anew: their node went
  Counter refused{0};       // messages to a node for which too much waits
  Counter lodgers_lost{0};  // sessions ended since their home's node went
  Counter guests{0};        // now
  Counter homes_moved{0};   // to other nodes
  Counter moves_failed{0};  // put off, or lost where they went
  Counter to_move{0};       // now: guests whose homes may go to another node
  Counter held_refused{0};  // too much was held for a home on its way, or what went there
};

class FarSide {
 public:
  static constexpr size_t kRoutedMax = 50'000;  // a node
  static constexpr size_t kClaimsMax = 10'000;
  static constexpr size_t kKeptMax = 65'536;
  // Smaller contents are written with each parcel: what it takes to share one is as much.
  static constexpr size_t kSharedBytesMin = 64;
  static constexpr size_t kMovedMax = 65'536;
  static constexpr net::Duration kMovedTime = std::chrono::seconds(30);
  static constexpr net::Duration kClaimTime = std::chrono::seconds(5);
  static constexpr net::Duration kEmptyTime = std::chrono::seconds(60);
  // Of homes that move: at once, for one to come to rest, until it is tried again; and for who
  // holds what it has for one, until it hears where that is.
  static constexpr size_t kMovesMax = 64;
  static constexpr net::Duration kMoveTime = std::chrono::seconds(2);
  static constexpr net::Duration kMoveAgain = std::chrono::seconds(5);
  // One that could not go since a session of it moved or ended just then, or a node came up.
  static constexpr net::Duration kMoveSoon = std::chrono::milliseconds(200);
  static constexpr net::Duration kHoldTime = std::chrono::seconds(5);
  // Who took a home may be slow to read it: so often the others are told that it is on its way
  // still, until it is asked back. Who does not answer that either is as good as gone.
  static constexpr net::Duration kRenewTime = std::chrono::seconds(1);
  static constexpr net::Duration kGivenTime = std::chrono::seconds(15);
  static constexpr net::Duration kAskedBackTime = std::chrono::seconds(5);
  // Of what is held for one user: above either messages, requests and bindings are refused with
  // words, or the home stays, where that is up to this node. What would be lost without a word
  // (presence, steps of a subscription, answers) has kHeldWordless times as much. What its own
  // sessions send is held all the same: each has a bound of its own (BoundLimits::unsettled_max).
  static constexpr size_t kHeldMax = 4096;
  static constexpr size_t kHeldBytesMax = size_t{1} << 20U;
  static constexpr size_t kHeldWordless = 4;

  struct Ground {
    uint16_t worker = 0;
    std::string node;
    SessionGate& sessions;  // of the worker
    HomeGate& homes;        // the way to all homes
    HomeDoor& home;         // of the worker
    const net::Clock& clock;
    // Letters from another worker of another node, for a session here.
    std::function<void(const SessionId&, Delivery, Origin)> deliver;
    // Too much waits for that node.
    std::function<bool(NodeNumber)> crowded;
    // A session that was resumed here comes from its node.
    std::function<void(const SessionId&, NodeNumber from, std::string state)> arrived;
    // A session of this worker was resumed elsewhere; its home is on that node.
    std::function<void(const SessionId&, const SessionId& next, const Jid& user, NodeNumber home)>
        leave;
    // That node is gone.
    std::function<void(NodeNumber)> went;
    // Users and rooms that were at home on a node that is gone.
    std::function<void(std::vector<std::string>)> homes_lost;
    // What a session here has under way, it hears of by way of that node, which is not its home's
    // any more.
    std::function<void(const SessionId&, NodeNumber)> owed;
  };
  explicit FarSide(Ground ground);

  // --- The deputy of the users of this worker.
  void Bind(BindRequest request);
  void Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark);
  void Changed(const SessionId& session, const Jid& user, SessionState state);
  // `at`: the node whose home delivered it. Also behind Gone().
  void DeliveryEnded(NodeNumber at, const SessionId& session, const Jid& user, uint64_t ticket,
                     DeliveryEnd end);
  void Gone(const SessionId& session, const Jid& user);
  void Resume(const SessionId& next, const Jid& user, uint64_t tag);
  void Route(Parcel parcel) { Route(std::move(parcel), 0, Turn::kInOrder); }
  void Expel(const Jid& user, const std::string& text);
  // The node that deals with a user, or a room, now; "": this one.
  std::string NodeOf(const std::string& bare) const;

  // --- For sessions of other nodes.
  void Bound(const SessionId& session, const Jid& full);
  void BindFailed(const SessionId& session, std::string error_xml);
  void Deliver(const SessionId& session, Delivery delivery);
  void Settled(const SenderMark& mark);
  void Close(const SessionId& session, net::StreamError error, std::string text);
  void TicketLost(const Origin& from, uint64_t ticket);
  // At the home: what is awaited of `session` is awaited of `next`.
  void Moved(const SessionId& session, const SessionId& next, const Jid& user);
  void Move(const SessionId& session, const SessionId& next, const Jid& user);
  void ResumeFailed(const SessionId& next);
  // It never came there: what is awaited of it is lost.
  void NeverCame(const SessionId& session, const Jid& user);
  // By the names that all nodes know each other by; "" for one that went.
  std::string NameOf(NodeNumber node) const;
  std::optional<NodeNumber> NumberOf(const std::string& name) const;
  // The newest version of letters that it reads; 0 for one that went.
  uint8_t VersionOf(NodeNumber node) const;
  // From the place that it left, on the way to another node.
  // False: that node is not there, or it is too much.
  bool SendSession(const SessionId& next, std::string state);
  // Of homes of this node.
  void AwaitTickets(const SessionId& next, const Jid& user, const std::vector<uint64_t>& tickets);

  // --- From the node's thread.
  // `version`: of letters, the newest that both speak.
  void NodeUp(NodeNumber node, const std::string& name, uint8_t version);
  void NodeDown(NodeNumber node);
  void Recorded(const std::string& bare, NodeNumber node, uint64_t stamp);
  void Erased(const std::string& bare, NodeNumber node);
  // Another node's home of that user stays.
  void LostHome(const std::string& bare);
  void OnMail(NodeNumber node, LetterKind kind, std::span<const uint8_t> body);

  // --- Homes that go to other nodes (far_side_moves.cc).
  // So many more begin to, of users whose sessions are all elsewhere; those that began go on.
  void MoveHomes(size_t most);
  // The node is about to stop: no home comes here any more.
  void BeginStop() { stops_ = true; }
  // What other nodes say to users here from now on is left to them: they say it elsewhere when this
  // one is gone. What was taken before is to be settled until then.
  void TakeNoMore() { takes_no_more_ = true; }
  // Those that cannot end where they are, and say what they have taken before that.
  void CloseGuests();
  size_t guests() const;
  // Messages that went to other nodes, whose end is awaited.
  size_t routed() const { return routed_.size() + route_order_.waiting(); }
  bool Leaves(const std::string& bare) const { return leaving_.contains(bare); }
  // It was at home here and is on its way: nothing is to be done to what is left of it.
  bool Given(std::string_view bare) const;
  // `item` runs when it is known where that home is (NodeOf). False: too much is held for it.
  using Item = std::move_only_function<void()>;
  bool WhenThere(const std::string& bare, Item item);
  // Homes that are on their way, and users for whom something is held meanwhile.
  size_t on_the_way() const { return leaving_.size() + holds_.size(); }

  // --- From the home, in the middle of its work: nothing calls it back.
  // The user has no session: may it stay in memory?
  bool MayStay(const std::string& bare);
  void Left(const std::string& bare, bool changed);
  // Something that is found as users are began here: a room.
  void Took(const std::string& bare) { TakeHome(bare); }

  // A message of ours that is settled elsewhere. False: no such mark.
  bool SettledRouted(const SenderMark& mark);
  void Tick();
  // No node is there any more.
  void Leave();

  // At the end of a turn: before what is to go out is taken.
  void EndTurn();
  // What is to go out, at the end of a turn.
  std::vector<NodeMail> TakeMail();
  std::vector<HomeRecord> TakeHomes() { return std::exchange(homes_out_, {}); }
  const FarCounters& counters() const { return counters_; }
  size_t lodgers() const { return lodged_.size(); }
  // Deliveries to guests whose end is awaited.
  size_t awaited() const { return tickets_.size(); }
  // Sessions whose stanzas wait for those of where they were.
  size_t in_order() const { return order_.size(); }

 private:
  struct Peer {
    uint8_t version = kLettersVersion;
    std::map<SessionId, Jid> guests;
    std::map<SessionId, Jid> lodgers;
    // Guests that were told to leave, and as whom they are awaited.
    std::map<SessionId, SessionId> leaving;
    size_t routed = 0;
    std::vector<uint8_t> out;
    // Of the mail in `out`.
    struct {
      std::shared_ptr<const std::string> content;  // of the parcel before
      uint32_t number = 0;                         // by which the node knows it; 0: it does not
      bool any = false;                            // it knows one of this mail
    } shared = {};
    ContentLetter heard = {};  // of the mail that is read
  };
  struct Claim {
    std::vector<BindRequest> waiting;
    NodeNumber warden = 0;
    net::Time since{};
  };
  struct Routed {
    NodeNumber node;
    Parcel parcel;
  };
  struct Silent {
    SessionId session;
    Jid user;
    net::Time since;
  };
  struct Leaving {
    NodeNumber to = 0;
    uint32_t round = 0;
    std::set<NodeNumber> awaited;  // who has not said that it holds what it has, in this round
    std::set<NodeNumber> holding;  // who said so in any round
    net::Time since{};
    bool stirred = false;  // its sessions were given or sent something since the round began
    bool given = false;
    net::Time given_at{};
    net::Time renewed{};
    bool asked_back = false;
    std::vector<SessionId> sessions = {};
  };
  static constexpr size_t kItemBytes = 128;  // about: one with nothing in it
  static bool TooMuch(size_t items, size_t bytes, size_t times) {
    return items >= times * kHeldMax || bytes >= times * kHeldBytesMax;
  }
  struct Hold {
    NodeNumber by = 0;  // 0: this node, for its own home
    net::Time since{};
    std::vector<Item> items = {};
    size_t bytes = 0;
    bool full(size_t times = 1) const { return TooMuch(items.size(), bytes, times); }
    void Add(Item item, size_t more) {
      items.push_back(std::move(item));
      bytes += more + kItemBytes;
    }
  };
  struct Asked {
    NodeNumber by = 0;
    net::Time since{};
    bool allowed = false;  // at the end of this turn
    Hold hold;             // what comes for the account until then
  };

  net::Time Now() const { return ground_.clock.Now(); }
  HomeGate& home() { return ground_.home.gate(); }
  Peer* Find(NodeNumber node);
  bool Post(NodeNumber node, const Letter& letter);
  // far_side_routes.cc
  // Whether it is behind all that was said to the account before, or that is seen to.
  enum class Turn : uint8_t { kInOrder, kNow };
  void Route(Parcel parcel, uint8_t hops, Turn turn);
  bool WaitsForOthers(Parcel& parcel, const std::string& bare, NodeNumber node);
  void RouteNow(std::vector<Parcel> parcels);
  void Refuse(const Parcel& parcel);      // too much waits for its node
  void RefuseHeld(const Parcel& parcel);  // too much is held for its account
  void SendBack(const Parcel& parcel);
  static std::string BusyXml();
  // far_side_contents.cc
  bool PostRoute(NodeNumber node, RouteLetter letter);
  uint32_t ShareContent(NodeNumber node, const Parcel& parcel);
  void FailBind(const SessionId& session, const Jid& user, std::string error_xml,
                bool not_home = false);
  void BindHere(BindRequest request);
  void BindThere(NodeNumber node, BindRequest request);
  void TakeHome(const std::string& bare);
  void GiveUp(const std::string& bare);
  void ExpelHere(const Jid& user, const std::string& text);
  void LookAt(const std::string& bare);
  void KeepInMind(const std::string& bare);
  void Allow(NodeNumber node, const std::string& bare, bool changed);
  void AllowAsked(const std::string& bare);
  void CountGuests();
  void LoseTickets(const SessionId& session, const Jid& user);
  void ArriveHome(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark);
  void GoneHome(const SessionId& session, const Jid& user);
  bool AtHome(NodeNumber node, const SessionId& session);
  // far_side_moves.cc
  bool HoldBack(std::string_view bare, auto&& make, size_t bytes = 0) {
    Hold* hold = holds_.empty() ? nullptr : HoldOf(bare);
    if (hold == nullptr) return false;
    hold->Add(make(), bytes);
    return true;
  }
  // Of one that is too much the home stays, if it may.
  Hold* HoldOf(std::string_view bare);
  // It takes nothing that may be refused.
  bool HoldsTooMuch(std::string_view bare, size_t times = 1);
  bool AllMove() const;
  bool MayLeave(const std::string& bare);
  void BeginMove(const std::string& bare, NodeNumber to);
  void NextRound(const std::string& bare, Leaving& leaving);
  void TryMoves();
  void TryMove(const std::string& bare);
  void Give(const std::string& bare, Leaving& leaving);
  void PutOffMove(std::string bare, net::Duration again = kMoveAgain);
  void PutOffUnlessGiven(const std::string& bare);
  bool MovesLater(const std::string& bare) const;
  void LostAt(NodeNumber node, const std::string& bare);
  void RenewMoves();
  // Of all that were not given away yet.
  void PutOffMoves(net::Duration again = kMoveAgain);
  void FinishMove(const std::string& bare, NodeNumber to);
  void LoseMove(const std::string& bare);
  void Stir(const SessionId& session);
  void StirHome(const std::string& bare);
  void TakenIn(NodeNumber from, const Jid& user, const std::vector<SessionId>& sessions);
  void AtHomeNow(const Jid& user, const std::vector<SessionId>& sessions, NodeNumber at);
  void EndHold(const std::string& bare);
  void MovesWithout(NodeNumber node);
  std::vector<Hold> TakeHoldsBy(NodeNumber node);
  static void Run(Hold& hold);
  void EndLateHolds();
  void OnLetter(NodeNumber node, const HomeLeavesLetter& letter);
  void OnLetter(NodeNumber node, const HomeHeldLetter& letter);
  void OnLetter(NodeNumber node, HomeStateLetter letter);
  void OnLetter(NodeNumber node, const HomeHereLetter& letter);
  void OnLetter(NodeNumber node, const HomeStaysLetter& letter);
  void OnLetter(NodeNumber node, const HomeRefusedLetter& letter);
  // Letters of a node, each by its kind.
  void OnLetter(NodeNumber node, BindRequest letter);
  void OnLetter(NodeNumber node, ArriveLetter letter);
  void OnLetter(NodeNumber node, const ChangedLetter& letter);
  void OnLetter(NodeNumber node, const DeliveryEndedLetter& letter);
  void OnLetter(NodeNumber node, const GoneLetter& letter);
  void OnLetter(NodeNumber node, RouteLetter letter);
  void OnLetter(NodeNumber node, ContentLetter letter);
  void OnLetter(NodeNumber node, const ContentEndLetter& letter);
  void OnLetter(NodeNumber node, BindFailedLetter letter);
  void OnLetter(NodeNumber node, const ClaimLetter& letter);
  void OnLetter(NodeNumber node, const ClaimedLetter& letter);
  void OnLetter(NodeNumber node, const ExpelLetter& letter);
  void OnLetter(NodeNumber node, const LookLetter& letter);
  void OnLetter(NodeNumber node, const ResumeLetter& letter);
  void OnLetter(NodeNumber node, const LeaveLetter& letter);
  void OnLetter(NodeNumber node, SessionLetter letter);
  void OnLetter(NodeNumber node, const ResumeFailedLetter& letter);
  void OnLetter(NodeNumber node, const BoundLetter& letter);
  void OnLetter(NodeNumber node, DeliverLetter letter);
  void OnLetter(NodeNumber node, const SettledLetter& letter);
  void OnLetter(NodeNumber node, CloseLetter letter);
  void OnLetter(NodeNumber node, const TicketLostLetter& letter);

  const Ground ground_;
  HomeDirectory directory_;
  std::map<NodeNumber, Peer> peers_;
  TicketBook tickets_;  // of guests
  MoveOrder order_;     // of sessions that are at home here
  // Where guests went on; what is told of them later follows. Oldest first, with its time.
  std::map<SessionId, SessionId> moved_;
  std::deque<std::pair<SessionId, net::Time>> moved_order_;
  std::deque<Silent> silent_;  // guests that are gone, whose last words may follow; oldest first
  std::map<SessionId, NodeNumber> lodged_;         // of all peers' lodgers
  std::unordered_map<std::string, Claim> claims_;  // ours, not answered
  std::unordered_map<std::string, Asked> asked_;   // others', while something is under way here
  std::deque<std::pair<std::string, net::Time>> fresh_;  // homes that began: is anybody there?
  std::vector<HomeRecord> homes_out_;
  std::map<uint64_t, Routed> routed_;
  RouteOrder route_order_;
  uint64_t last_routed_ = 0;
  uint32_t last_content_ = 0;
  std::unordered_set<std::string>
      kept_;  // users for whom something may have been stored while no home was seen
  std::deque<std::pair<NodeNumber, net::Time>> went_;  // their lodgers' ends are on the way
  std::map<std::string, Leaving> leaving_;             // homes of ours
  uint32_t last_round_ = 0;
  std::unordered_map<std::string, Hold> holds_;
  std::unordered_map<std::string, net::Time> move_later_;
  struct Taken {
    NodeNumber from;
    Jid user;
    std::vector<SessionId> sessions;
  };
  std::vector<Taken> taken_;          // homes that came, in this turn
  std::vector<std::string> allowed_;  // whose homes may begin elsewhere, likewise
  struct Taking {
    NodeNumber from = 0;
    bool refused = false;  // meanwhile, in answer to who asked it back
  };
  std::unordered_map<std::string, Taking> taking_;  // homes that are being read
  SessionId move_cursor_;                           // the guest that was looked at last
  bool stops_ = false;
  bool takes_no_more_ = false;
  bool left_ = false;
  FarCounters counters_;
};

}  // namespace server
