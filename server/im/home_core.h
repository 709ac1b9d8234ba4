// What all parts of a home stand on: who is at home, what goes out, what must be durable.
//
// Nothing that goes out is called while the home is in the middle of something: it waits in a queue
// until the outermost Turn ends, so that a gate may call the home back from within its own call.
// Users are never held across such a call or across the store's answer: they are found again by
// name.
//
// One thread: of the home's worker.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "net/base/clock.h"
#include "server/im/archive_ids.h"
#include "server/im/iq.h"
#include "server/im/ports.h"
#include "server/im/user.h"

namespace server {

struct HomeLimits {
  uint32_t sessions = 10;             // a user
  uint32_t roster_items = 2'000;      // a user; requests that wait count
  uint32_t blocked = 1'000;           // addresses a user
  uint32_t offline_messages = 1'000;  // a user
  int64_t offline_expires_s = 0;      // 0: never
  uint32_t directed = 500;            // a session: those who have its presence out of order
  uint32_t waiting = 256;             // of a user: what waits for the store
  uint32_t unkept = 10'000;           // a home: archived, to wait offline when the store is back
  size_t unarchived_bytes = size_t{32} << 20U;  // a home: to be archived when the store is back
  uint32_t idle_users = 4'096;                  // without a session, kept for what comes next
  // A login that read its user longer ago than this is over: what was changed since is known as
  // long.
  net::Duration login_max = std::chrono::minutes(2);
  // How long the roster of a login is kept for a client that has not asked for it.
  net::Duration roster_kept = std::chrono::seconds(30);
};

struct HomeOptions {
  std::vector<std::string> domains;         // prepared
  std::vector<std::string> services;        // beside them: domains of rooms, which are no home's
  std::shared_ptr<ArchiveIds> archive_ids;  // of the process
  // What is archived of accounts that have not said what they want (XEP-0441); none: there are no
  // archives.
  std::optional<ArchiveDefault> archive = ArchiveDefault::kAlways;
  bool offline = true;  // messages wait for who is away (XEP-0160); else they go back
  HomeLimits limits;
  // A user without sessions, of whom nothing is under way: may it stay in memory for what comes
  // next? Behind it, of users who leave: whether something of theirs was changed here. Both are
  // called in the middle of the home's work, and must not call it.
  std::function<bool(const std::string& bare)> may_stay = nullptr;
  std::function<void(const std::string& bare, bool changed)> left = nullptr;
};

// What a home lost or refused, for metrics.
struct HomeCounters {
  uint64_t archive_failed = 0;  // copies of delivered messages that the store did not take
  uint64_t offline_stored = 0;
  uint64_t offline_failed = 0;  // in the archive alone
  uint64_t bounced = 0;
  uint64_t rerouted = 0;
};

class HomeCore {
 public:
  HomeCore(HomeOptions options, SessionGate& sessions, HomeGate& homes, StoreClient& store,
           const net::Clock& clock, std::function<int64_t()> unix_us,
           std::function<uint64_t()> random);
  HomeCore(const HomeCore&) = delete;
  HomeCore& operator=(const HomeCore&) = delete;

  class Turn {
   public:
    explicit Turn(HomeCore& core) : core_(core) { ++core_.turns_; }
    ~Turn() {
      if (--core_.turns_ == 0) core_.Flush();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    HomeCore& core_;
  };

  // --- Out.
  void Deliver(const SessionId& session, Delivery delivery);
  void Bound(const SessionId& session, const Jid& full);
  void BindFailed(const SessionId& session, std::string error_xml);
  void Close(const SessionId& session, net::StreamError error, std::string text);
  void Move(const SessionId& session, const SessionId& next, const Jid& user);
  void ResumeFailed(const SessionId& next);
  void Settled(const SenderMark& mark);
  void Route(Parcel parcel);
  // The error goes to the sender unless the parcel is of a kind that none is sent for, and its
  // sender's count goes on.
  void Bounce(const Parcel& parcel, std::string error_xml);
  void Bounce(const Parcel& parcel, StanzaError error) { Bounce(parcel, ErrorXml(error)); }
  // service-unavailable, because the session or the account that it is for is no more.
  void BounceGone(const Parcel& parcel);
  // The parcel as it is, to one session.
  void DeliverParcel(const HomeSession& session, const Parcel& parcel, uint64_t ticket = 0,
                     std::string_view extra = {});

  // --- Users.
  User* Find(std::string_view bare);
  // The user, read from the store where it is not at home; `then` at once or later, once.
  void WithUser(const Jid& bare, UserAction then);
  // A user whose data came with a login; nothing where it must be read again.
  User* Adopt(const Jid& bare, const std::shared_ptr<const LoadedUser>& loaded);
  // One at a time: `action` runs when no other change of the user is on its way, and ends with
  // EndChange(). kBusy where too many wait.
  void BeginChange(User& user, UserAction action);
  // The same for who only reads: behind the changes that were asked for before.
  void BeginTurn(User& user, UserAction action);
  void EndChange(std::string_view bare);
  // The store cannot say whether it has the change that is under way (kUnknown): `then` hears what
  // is stored as soon as that can be read, and ends the change.
  using StoredAction = std::move_only_function<void(const LoadedUser& stored)>;
  void ReadBack(const Jid& bare, StoredAction then);
  // Nobody needs it now; it may be forgotten.
  void Rest(User& user);
  void Forget(std::string_view bare);
  // Something of it waits for the store, or for its turn.
  static bool UnderWay(const User& user);
  // Of users of whom nothing is under way so many stay, those that were wanted last.
  void EvictIdle(size_t most);
  bool Has(std::string_view bare) const { return users_.contains(bare); }
  // What a login has read of it may be old.
  bool MayBeStale(const std::string& bare);
  size_t users() const { return users_.size(); }
  // Users stay while they are visited.
  template <typename Visit>
  void ForEachUser(Visit visit) {
    for (const auto& user : users_) {
      if (!user->loading) visit(*user);
    }
  }
  template <typename Visit>
  void ForEachUser(Visit visit) const {
    for (const auto& user : users_) {
      if (!user->loading) visit(std::as_const(*user));
    }
  }
  // Once a second or so: what could not be read back is tried again.
  void Tick();

  // The store's answer comes to `then` in a turn, and not at all when the home is gone.
  template <typename T, typename Then>
  StoreClient::Done<T> InTurn(Then then) {
    ++asked_store_;
    return [this, alive = std::weak_ptr<int>(alive_),
            then = std::move(then)](std::expected<T, StoreError> result) mutable {
      if (alive.expired()) return;
      --asked_store_;
      Turn turn(*this);
      then(std::move(result));
    };
  }
  std::weak_ptr<int> alive() const { return alive_; }
  // Answers of the store that InTurn() waits for.
  size_t asked_store() const { return asked_store_; }

  bool IsOwn(std::string_view domain) const;  // its users are at home here
  // This server speaks in the names of these alone.
  const std::vector<std::string>& names() const { return names_; }
  // Whether the archive of `user` is to have messages with `peer`.
  bool Archives(const User& user, const Jid& peer) const;
  uint64_t NextArchiveId() { return options_.archive_ids->Next(unix_us_()); }
  int64_t unix_us() const { return unix_us_(); }
  uint64_t random() { return random_(); }
  const HomeLimits& limits() const { return options_.limits; }
  const HomeOptions& options() const { return options_; }
  StoreClient& store() { return store_; }
  const net::Clock& clock() const { return clock_; }

  // Called once for a delivery that asked for it.
  using TicketEnd = std::move_only_function<void(DeliveryEnd end)>;
  uint64_t NewTicket(TicketEnd end);
  void EndTicket(uint64_t ticket, DeliveryEnd end);
  bool Awaits(uint64_t ticket) const { return tickets_.contains(ticket); }
  size_t tickets() const { return tickets_.size(); }

  HomeCounters counters;
  // A handler changed what is stored of a user, whom the home may not know.
  std::function<void(const Jid& user, AccountChange change)> on_changed;

 private:
  struct BoundOut {
    SessionId session;
    Jid full;
  };
  struct FailedOut {
    SessionId session;
    std::string error;
  };
  struct CloseOut {
    SessionId session;
    net::StreamError error;
    std::string text;
  };
  struct MoveOut {
    SessionId session;
    SessionId next;
    Jid user;
  };
  struct ResumeFailedOut {
    SessionId next;
  };
  struct DeliveryOut {
    SessionId session;
    Delivery delivery;
  };
  using Out = std::variant<DeliveryOut, Parcel, SenderMark, BoundOut, FailedOut, CloseOut, MoveOut,
                           ResumeFailedOut>;

  struct UserHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
    size_t operator()(const std::unique_ptr<User>& user) const {
      return (*this)(std::string_view(user->jid.full()));
    }
  };
  struct UserEqual {
    using is_transparent = void;
    static std::string_view Name(const std::unique_ptr<User>& user) { return user->jid.full(); }
    static std::string_view Name(std::string_view name) { return name; }
    bool operator()(const auto& a, const auto& b) const { return Name(a) == Name(b); }
  };

  void Flush();
  void Send(Out out);
  void Loaded(const std::string& bare, std::expected<LoadedUser, StoreError> result);
  void Fill(User& user, const LoadedUser& loaded);
  void Evict(User& user);

  HomeOptions options_;
  std::vector<std::string> names_;  // domains and services
  SessionGate& sessions_;
  HomeGate& homes_;
  StoreClient& store_;
  const net::Clock& clock_;
  std::function<int64_t()> unix_us_;
  std::function<uint64_t()> random_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);

  size_t asked_store_ = 0;
  int turns_ = 0;
  bool flushing_ = false;
  std::deque<Out> out_;

  std::unordered_set<std::unique_ptr<User>, UserHash, UserEqual> users_;
  struct Idle {
    std::string bare;
    uint64_t mark;
  };
  std::deque<Idle> idle_;
  uint64_t idle_marks_ = 0;

  // Users that were changed and have left since: logins that read them before must not count.
  static constexpr size_t kChangedMax = 65'536;
  std::unordered_map<std::string, net::Time> changed_;
  std::deque<std::pair<std::string, net::Time>> changed_order_;
  net::Time all_stale_until_{};

  // One a user at most, whose change waits for it.
  std::vector<std::pair<Jid, StoredAction>> unread_;

  std::unordered_map<uint64_t, TicketEnd> tickets_;
  uint64_t last_ticket_ = 0;
};

}  // namespace server
