// A thread's share of a node's XMPP: its connections and their sessions, the home of its users, and
// the way to those of the other workers.
//
//   Session ─┐                                 ┌─ Session
//            ├─ XmppWorker ◀──mailboxes──▶ XmppWorker
//   home ────┘                                 └─ home
//
// It is the gate of both sides (server/im/ports.h): what is for this worker is called at once, what
// is for another goes in one batch a turn. Order holds between each pair of workers.
//
// Places. A bound session has a place on the worker where it was bound, for its whole life: its
// SessionId names it, and its home knows no other. Its connection may meanwhile be
//   kHere    on this worker,
//   kParked  gone, and may come back (XEP-0198),
//   kAway    on another worker, where it was resumed; then what comes for it is sent on.
// A session that moves is asked for and given back through its place; while it is on its way what
// comes for it waits there, so its order holds.
//
// Thread: its loop's. Made by XmppService, and ended by it: BeginStop(), then Close().
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/base/random.h"
#include "net/base/slab.h"
#include "net/conn/conn_listener.h"
#include "net/conn/conn_worker.h"
#include "net/io/blocking_pool.h"
#include "net/io/mailbox.h"
#include "server/c2s/bound_state.h"
#include "server/c2s/client_stream.h"
#include "server/c2s/far_side.h"
#include "server/c2s/heaviest.h"
#include "server/c2s/login_admission.h"
#include "server/c2s/sasl_limits.h"
#include "server/c2s/session.h"
#include "server/im/ports.h"
#include "server/modules/rate_table.h"
#include "server/store/store.h"

namespace server {

class Home;
class MucHost;
class StoreKeeper;

// What a home is made with; all outlive it.
struct HomeGround {
  size_t worker;
  net::EventLoop& loop;
  SessionGate& sessions;
  HomeGate& homes;
  StoreClient& store;
  const std::vector<std::string>& domains;
  // Work that takes milliseconds, on another thread; then `done` on this one.
  std::function<void(net::Task work, net::Task done)> aside;
  // HomeOptions' of those names.
  std::function<bool(const std::string& bare)> may_stay;
  std::function<void(const std::string& bare, bool changed)> left;
  // A room is here from now on, until `left`.
  std::function<void(const std::string& bare)> took;
};
// A home, with what it stands on.
struct HomeBox : HomeDoor {
  virtual ~HomeBox() = default;
  virtual void Tick() {}                    // once a second
  virtual void Ease() {}                    // the node is short of memory: what is idle goes
  virtual Home* home() { return nullptr; }  // for operators' orders
  virtual MucHost* rooms() { return nullptr; }
  virtual void RoomsLost(const std::vector<std::string>&) {}  // their node is gone
  virtual StoreKeeper* keeper() { return nullptr; }           // of the worker that keeps house
  // The store has not told yet what became of something.
  virtual bool Busy() const { return false; }
  // What it has to say in stream features, written XML.
  virtual std::string StreamFeatures() { return {}; }
  virtual void BeginStop() {}  // its worker stops; sessions end behind this
  bool Knows(const std::string&) override { return false; }
  bool Has(const std::string&) override { return false; }
  void Release(const std::string&) override {}
  bool Awaits(uint64_t) override { return true; }
  void Look(const Jid&) override {}
  void Expel(const Jid&, net::StreamError, const std::string&) override {}
  bool MayMove(const std::string&) override { return false; }
  bool EachSession(const std::string&, const Holds&) override { return true; }
  std::vector<MovedSession> Sessions(const std::string&) override { return {}; }
  void TakeIn(const Jid&, std::vector<MovedSession>,
              std::move_only_function<void(bool)> done) override {
    done(false);
  }
  void Drop(const std::string&) override {}
};
using MakeHome = std::function<std::unique_ptr<HomeBox>(const HomeGround& ground)>;
using MakeStore = std::function<std::unique_ptr<StoreClient>(net::EventLoop& loop)>;

// A bound session as the whole cluster knows it.
struct SessionRecord {
  bool gone = false;
  SessionId id;
  std::string full;
};

// Server contexts by domain: who names no host gets the certificate of the domain it speaks to.
using TlsByDomain =
    std::map<std::string, std::shared_ptr<const net::TlsServerContext>, std::less<>>;

struct XmppOptions {
  size_t workers = 1;
  std::vector<std::string> domains;
  std::vector<std::string> services;  // of rooms, which have a node as users have a home
  ClientLimits limits;
  SaslPolicy sasl;
  TlsNeed tls_need = TlsNeed::kRequired;
  std::string features;
  net::ConnOptions conn;                // of each worker
  uint32_t unauthenticated_max = 4096;  // of all
  uint32_t sessions_max = 1'000'000;    // of each worker; with those that may come back
  // Of sessions without a connection, on each worker: above it the oldest go.
  size_t parked_bytes_max = size_t{256} << 20U;
  SaslLimits::Options sasl_limits;
  SignUpOptions sign_up;
  double login_cpu = 0.8;  // of a worker's processor, for logins; what is above waits
};

// What all workers share. Outlives them.
struct XmppShared {
  XmppShared(XmppOptions o, const net::Clock& c, const net::HashKey& key)
      : options(std::move(o)),
        clock(c),
        sasl_limits(options.sasl_limits, key),
        sign_ups(options.sign_up.per_address_and_hour, key, c.Now()),
        hashing({.name = "password", .threads = 2, .waiting_max = 4096}) {}

  const XmppOptions options;
  const net::Clock& clock;
  std::function<int64_t()> unix_us;
  std::function<void(std::span<uint8_t>)> random;  // thread-safe
  MakeStore make_store;
  MakeHome make_home;
  // Thread-safe, in order of each worker.
  std::function<void(std::vector<SessionRecord> changed)> on_sessions;
  // --- Of a cluster; each may be missing. Thread-safe, in order of each worker.
  std::string node;  // its name
  std::function<void(std::vector<HomeRecord> changed)> on_homes;
  std::function<void(std::vector<NodeMail> mail)> to_nodes;
  std::function<bool(NodeNumber node)> crowded;
  SaslLimits sasl_limits;
  RateTable sign_ups;  // by address
  net::BlockingPool hashing;
  std::atomic<uint32_t> unauthenticated{0};
  std::atomic<MemoryPressure> pressure{MemoryPressure::kEnough};
  std::atomic<uint64_t> waiting_bytes{0};  // what bound sessions wait with
  std::shared_ptr<std::atomic<uint32_t>> handshakes = std::make_shared<std::atomic<uint32_t>>(0);
};

// Beside those of its streams. Written by the worker alone.
struct WorkerCounters {
  using Counter = std::atomic<uint64_t>;
  Counter sessions{0};  // bound, with or without a connection
  Counter parked{0};
  Counter parked_bytes{0};
  Counter parked_expired{0};
  Counter parked_evicted{0};
  Counter moved{0};  // resumed on another worker
  Counter refused_unauthenticated{0};
  Counter logins_waiting{0};
  Counter logins_waited{0};  // since the start
  Counter login_cost_ns{0};  // of one, lately
  Counter drained{0};
  Counter drained_resumable{0};  // of them: their sessions wait to be resumed elsewhere
  Counter to_shed{0};            // now
  Counter heavy_ended{0};        // for want of memory: they waited with much
  Counter parked_ended{0};       // for want of memory
};

class XmppWorker final : public SessionGate,
                         public HomeGate,
                         private SessionGround,
                         private net::ConnAcceptor {
 public:
  using Item = std::move_only_function<void(XmppWorker& worker)>;
  using Box = net::Mailbox<Item>;

  static std::expected<std::unique_ptr<XmppWorker>, std::string> Create(XmppShared& shared,
                                                                        net::EventLoop& loop,
                                                                        size_t index);
  ~XmppWorker();

  // --- By the service, on the thread.
  Box::Slot slot() const { return box_.slot(); }
  void Connect(std::vector<Box::Slot> slots) { slots_ = std::move(slots); }
  void UseTls(TlsByDomain tls) { tls_ = std::move(tls); }
  void Listen(net::UniqueFd socket, net::ConnListenerOptions options,
              std::shared_ptr<net::ListenerCounts> counts);
  // What the node's thread has: nodes that come and go, records of other nodes' homes, letters.
  FarSide& far() { return *far_; }
  void Leave() { far_->Leave(); }
  // On each worker; the one that has the user tells its sessions.
  void Expel(const Jid& user, const std::string& text);
  // No new ones; all are told, what they had not is given back to their homes.
  void BeginStop(std::function<void()> empty);
  bool Close(net::Duration limit);
  // No new ones either; who is there goes, so many a second: first whose session may come back
  // elsewhere, of these first who has said nothing for the longest.
  void Drain(double per_s);
  // So many of those that are there go, in the same order and at that rate; others may come.
  void Shed(uint64_t count, double per_s);
  // For want of memory (session_shedding.cc). Of what sessions wait with here, the heaviest, and
  // behind them those without a connection, as far as `bytes` go.
  std::vector<HeavySession> Heaviest(uint64_t bytes);
  // They end, but for those that have gone elsewhere meanwhile: what they had goes another way.
  void EndForMemory(const std::vector<HeavySession>& sessions);
  // What is kept for nobody in particular leaves memory: homes of users who are away, empty rooms.
  void Ease() { home_->Ease(); }
  // Who is there stays; listeners are opened anew by who says so.
  void EndDrain();
  // Sessions whose connection is here.
  uint64_t Attached();
  const ClientCounters& counters() const { return ground_.counters; }
  const WorkerCounters& worker_counters() const { return counters_; }
  const net::ConnStats& conn_stats() const { return conns_->conn_stats(); }
  StoreClient& store() { return *store_; }
  int64_t unix_us() const { return shared_.unix_us(); }
  HomeBox& home_box() { return *home_; }
  void Aside(net::Task work, net::Task done);
  // The sessions that were bound here, for operators.
  struct SessionSight {
    const Jid& full;
    int64_t bound_us;
    const net::Address* peer = nullptr;  // of the connection, where it is here now
    bool secure = false;
  };
  // What those whose connection, or memory, is here hold.
  uint64_t SessionBytes() {
    uint64_t bytes = 0;
    places_.ForEach([&](uint32_t, Place& place) {
      bytes += sizeof(Place);
      const BoundSession* bound = place.parked.get();
      if (place.state == PlaceState::kHere) {
        bytes += sizeof(Session);
        bound = place.here->stream().session();
      }
      if (bound != nullptr) bytes += bound->MemoryBytes();
    });
    return bytes;
  }
  template <typename Visit>
  void ForEachSession(Visit visit) {
    places_.ForEach([&](uint32_t, Place& place) {
      const auto since = static_cast<int64_t>(place.life);
      if (place.state == PlaceState::kHere) {
        const Session& session = *place.here;
        const BoundSession* bound = place.here->stream().session();
        if (bound != nullptr)
          visit(SessionSight{bound->full(), since, &session.peer(), session.secure()});
      } else if (place.state == PlaceState::kParked) {
        visit(SessionSight{place.parked->full(), since});
      } else if (place.state == PlaceState::kAway) {
        visit(SessionSight{place.away->full, since});
      }
    });
  }
  std::shared_ptr<const net::TlsServerContext> TlsFor(std::string_view domain) const override;

  // --- SessionGate
  void Bound(const SessionId& session, const Jid& full) override;
  void BindFailed(const SessionId& session, std::string error_xml) override;
  void Deliver(const SessionId& session, Delivery delivery) override;
  void Settled(const SenderMark& mark) override;
  void Close(const SessionId& session, net::StreamError error, std::string text) override;
  void Move(const SessionId& session, const SessionId& next, const Jid& user) override;
  void ResumeFailed(const SessionId& next) override;

  // --- HomeGate
  void Bind(BindRequest request) override;
  void Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) override;
  void Changed(const SessionId& session, const Jid& user, SessionState state) override;
  void DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                     DeliveryEnd end) override;
  void Gone(const SessionId& session, const Jid& user) override;
  void Resume(const SessionId& next, const Jid& user, uint64_t tag) override;
  void Route(Parcel parcel) override;

 private:
  enum class PlaceState : uint8_t { kBinding, kArriving, kHere, kParked, kAway };
  struct Pending {  // who wants to resume it
    size_t worker;
    uint64_t serial;
    uint32_t h;
  };
  struct Leaving {  // where it is wanted
    SessionId next;
    Jid user;
    NodeNumber home = 0;  // who asked for it
  };
  // What came for a session that is on its way, bounded as what it may have unacknowledged.
  struct Held {
    std::vector<Item> items;
    size_t deliveries = 0;
    size_t bytes = 0;
    // False: it is too much, and nothing was kept.
    bool Add(const BoundLimits& limits, const Delivery& delivery) {
      ++deliveries;
      bytes += delivery.xml.size();
      return deliveries <= limits.unacked_max && bytes <= limits.unacked_bytes_max;
    }
  };
  struct Away {
    size_t worker;
    std::string secret;
    Jid full;
    bool moving = false;  // asked for; what comes meanwhile is held
    bool over = false;    // that was too much: the session ends
    std::optional<Pending> pending;
    std::optional<Leaving> leaving;
    Held held;
  };
  // A session on its way to a place: resumed here, it was elsewhere.
  struct Arrival {
    Jid user;
    uint32_t h = 0;
    net::Time since{};
    Held held;  // what came before it
  };
  // What a client that wants to resume has shown, while it is looked for.
  struct Wish {
    Jid user;
    uint64_t tag;
    uint32_t h;
  };
  struct Place {
    uint64_t life = 0;
    PlaceState state = PlaceState::kBinding;
    Session* here = nullptr;  // kBinding: null when the connection has gone meanwhile
    std::unique_ptr<BoundSession> parked;
    net::Time parked_at{};
    std::unique_ptr<Away> away;
    std::unique_ptr<Arrival> arrival;
  };
  // A session of another worker's place that has, or had, its connection here.
  struct Foreign {
    Session* session = nullptr;
    std::unique_ptr<BoundSession> limbo;  // without: on its way back
  };
  struct ParkedRef {
    uint32_t place;
    uint64_t life;
    net::Time since;
  };
  struct Tombstone {
    std::string secret;
    std::string user;
    uint32_t h;
  };

  XmppWorker(XmppShared& shared, net::EventLoop& loop, size_t index);

  // --- SessionGround
  ClientGround& ground() override { return ground_; }
  net::Time Now() const override { return loop_.now(); }
  int64_t UnixUs() const override { return shared_.unix_us(); }
  void Look(uint64_t serial, const Jid& user) override;
  void Check(uint64_t serial, PasswordCheck check) override;
  bool MayTry(const Jid& user, const net::Address& peer) override;
  void OnGuess(const Jid* user, const net::Address& peer) override;
  void SignUp(uint64_t serial, SignUpRequest request, const net::Address& peer) override;
  void OnLoginCpu(net::Duration spent) override { admission_.Spent(spent); }
  void BindSession(Session& session, const Jid& user, std::string resource,
                   std::shared_ptr<const LoadedUser> loaded) override;
  void ResumeSession(Session& session, const Jid& user, std::string_view previd,
                     uint32_t h) override;
  HomeGate& homes() override { return *this; }
  void TellDelivered(const SessionId& session, const Jid& user,
                     std::span<const TicketEnd> ended) override;
  void AwaitSent(Session& session) override { unsent_.push_back(&session); }
  void Park(Session& session, std::unique_ptr<BoundSession> bound) override;
  void EndSession(Session& session, std::unique_ptr<BoundSession> bound) override;
  void Forget(Session& session) override;

  // --- net::ConnAcceptor
  net::ConnHost* OnAccepted(net::Conn& conn, net::Admission admission) override;
  net::ConnHost* OnAnnounced(net::Conn& conn, net::Admission admission,
                             const net::ProxyHeader& header) override;
  net::ConnHost* Accept(net::Conn& conn, net::Admission admission,
                        std::unique_ptr<SaslChannel> behind);

  // xmpp_worker.cc
  void Post(size_t worker, Item item);
  void OnTurnEnd();
  void TellSent();
  void EndDelivery(const SessionId& session, const Jid& user, const TicketEnd& one);
  void OnTick();
  void Read(uint64_t serial, const Jid& user);
  void AdmitLogins();
  void DrainSome();
  void MoveSomeHomes(double seconds);
  void DrainOne(Session& session);
  void FillDraining();
  size_t HomeOf(std::string_view bare) const;
  bool IsOwn(std::string_view domain) const;
  Session* Waiting(uint64_t serial);
  void Unwait(Session& session);

  // session_places.cc
  Place* Find(const SessionId& id);
  void Free(const SessionId& id);
  void DeliverAt(const SessionId& id, Delivery delivery, Origin from);
  void DeliverForeign(const SessionId& id, Delivery delivery, Origin from);
  void LoseTicket(uint64_t ticket, Origin from);
  void SettleAt(const SessionId& id, uint32_t number);
  void CloseAt(const SessionId& id, net::StreamError error, const std::string& text);
  void ParkBound(std::unique_ptr<BoundSession> bound);
  void PutParked(Place& place, std::unique_ptr<BoundSession> bound);
  // Its place gets another state, or is freed, before anybody else hears of it.
  std::unique_ptr<BoundSession> TakeParked(Place& place);
  void EndWithout(const SessionId& id);
  void EvictParked();
  void FinishBound(std::unique_ptr<BoundSession> bound);
  void TryResume(const ResumeKey& key, const Jid& user, const Pending& by);
  void Give(const SessionId& id, std::unique_ptr<BoundSession> bound, const Pending& by);
  void ReceiveForeign(std::unique_ptr<BoundSession> bound, uint64_t serial, uint32_t h);
  void RefuseResume(const Pending& by, std::optional<uint32_t> h);
  void StartArrival(Session& session, const Wish& wish);
  void OnArrived(const SessionId& id, NodeNumber from, BoundState state);
  void ArrivalFailed(const SessionId& id);
  void NeverCame(const SessionId& id, const Jid& user);
  void EndArrivals();
  void LeaveAt(const SessionId& id, const Leaving& leaving);
  void GiveAway(const SessionId& id, std::unique_ptr<BoundSession> bound, const Leaving& leaving);
  void OnWent(NodeNumber node);
  void OnHomesLost(std::vector<std::string> homes);
  void Owe(const SessionId& id, NodeNumber node);
  void OweAt(const SessionId& id, NodeNumber node);
  bool LostDebt(const BoundSession& bound) const;
  void CloseForDebt(const SessionId& id);
  void OnParting(const SessionId& id);
  void OnTakeBack(const SessionId& id);
  void OnReturned(const SessionId& id, std::unique_ptr<BoundSession> bound);
  void OnAwayEnded(const SessionId& id);
  void Record(bool gone, const SessionId& id, const Jid& full);

  XmppShared& shared_;
  net::EventLoop& loop_;
  const size_t index_;
  ClientGround ground_;
  WorkerCounters counters_;
  std::unique_ptr<net::ConnWorker> conns_;
  std::unique_ptr<StoreClient> store_;
  std::unique_ptr<ModuleGround> sign_up_ground_;
  std::unique_ptr<HomeBox> home_;
  std::unique_ptr<FarSide> far_;
  net::BlockingPool::Client hashing_;
  Box box_;
  std::vector<Box::Slot> slots_;
  std::vector<std::vector<Item>> out_;  // by worker
  TlsByDomain tls_;
  std::vector<std::unique_ptr<net::ConnListener>> listeners_;
  std::unordered_map<uint64_t, Session*> waiting_;  // not bound; by serial
  std::vector<Session*> unsent_;                    // TellSent() is due
  uint64_t last_serial_ = 0;
  uint64_t last_life_;
  net::Slab<Place> places_;
  std::map<SessionId, Foreign> foreign_;
  std::deque<ParkedRef> parked_;  // oldest first; with stale ones
  size_t parked_live_ = 0;
  size_t parked_bytes_ = 0;
  std::deque<Tombstone> tombstones_;
  std::unordered_map<uint64_t, Wish> wishes_;  // by serial
  std::deque<SessionId> arriving_;             // oldest first; with some that have arrived
  LeftSessions left_;
  std::vector<SessionRecord> records_;
  struct Login {
    uint64_t serial;
    Jid user;
  };
  LoginAdmission admission_;
  std::deque<Login> logins_;  // that wait, in line
  bool admitting_ = false;    // a timer is set for them
  double drain_per_s_ = 0;
  double shed_per_s_ = 0;
  uint64_t shed_left_ = 0;  // of those that are to go while the node stays in service
  double drain_left_ = 0;   // of the next step's
  double moves_left_ = 0;   // of homes
  net::EventLoop::TimerId drain_step_{};
  std::vector<Session*> draining_;  // the next last; may be gone
  net::FastRandom jitter_;
  std::function<void()> on_empty_;
  bool stopping_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace server
