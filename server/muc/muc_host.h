// The rooms of one worker, and the service that they are of (XEP-0045): rooms come into memory
// when somebody writes to them, from the store or new, and leave it when nobody is in them.
//
// A room's worker is the one that the hash of its address names, as a user's is; stanzas for it
// come by HomeGate::Route() as those for users do, and go out by it. What is for the service itself
// is answered where it comes from.
//
// Nothing goes out in the middle of something: it waits until the outermost Turn ends, so a gate
// may call back from there (see HomeCore).
//
// Messages are settled (XEP-0198) when the archive has them, or when they were handed on where
// there is no archive. A change of a room that stays is durable before it happens.
//
// One thread: of its worker. It outlives none of what it is given.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "net/base/clock.h"
#include "server/im/archive_ids.h"
#include "server/im/iq.h"
#include "server/im/passing_gate.h"
#include "server/im/ports.h"
#include "server/modules/archive_request.h"
#include "server/muc/room.h"
#include "server/muc/room_directory.h"

namespace server {

struct MucOptions {
  std::vector<std::string> services;  // domains, prepared; none: there are no rooms
  bool anyone_creates = true;         // else nobody but operators
  bool lock_new = true;               // until its owner has configured it (section 10.1.3)
  uint32_t rooms_max = 50'000;        // of a service, in memory
  uint32_t waiting = 256;             // stanzas of a room that is being loaded
  RoomLimits limits;
  RoomConfig defaults;  // of new rooms, which are never persistent before somebody says so
  ArchiveLimits archive;
  net::Duration idle = std::chrono::minutes(1);  // that an empty room stays in memory
};

struct MucCounters {
  uint64_t archive_failed = 0;  // messages that the store did not take
  uint64_t refused = 0;         // stanzas, for lack of the store or of room
};

class MucHost {
 public:
  // `ids`: of archives, the process's.
  MucHost(MucOptions options, std::shared_ptr<ArchiveIds> ids, RoomDirectory& directory,
          SessionGate& sessions, HomeGate& homes, StoreClient& store, const net::Clock& clock,
          std::function<int64_t()> unix_us, std::function<uint64_t()> random);
  ~MucHost();
  MucHost(const MucHost&) = delete;
  MucHost& operator=(const MucHost&) = delete;

  bool Serves(std::string_view domain) const;
  void Route(Parcel parcel);
  // For whoever keeps account of which rooms are here, in memory; in the middle of the work:
  // nothing calls back.
  void OnRooms(std::function<void(const std::string& jid)> begun,
               std::function<void(const std::string& jid)> ended) {
    on_begin_ = std::move(begun);
    on_end_ = std::move(ended);
  }
  bool Has(const std::string& jid) const { return rooms_.contains(jid); }
  // It goes on elsewhere: all are told to go (status 332), and nothing of it is taken out of the
  // store.
  void Close(const std::string& jid);

  // --- Orders of operators (muc_orders.cc). Whoever gives one hears what came of it, at once or
  // later, and not at all where the host ends before.
  using Ordered = std::move_only_function<void(StanzaType type, const std::string& content)>;
  // As an owner of the room would ask it who moderates (Room::Order).
  void Ask(const Jid& room, StanzaType type, std::string xml, Ordered ordered);
  // A room of `owner`'s that is open at once. One that is there is as it is, where the owner is
  // that, else <conflict/>. Persistent where it `stays`; else it goes with its last occupant, or
  // when nobody has come.
  void Make(const Jid& room, const Jid& owner, bool stays, Ordered ordered);
  // Null where it is not in memory.
  const Room* Peek(const std::string& jid) const;
  template <typename Visit>
  void ForEachRoom(Visit visit) const {
    for (const auto& [jid, hall] : rooms_) {
      if (hall.room != nullptr) visit(*hall.room);
    }
  }

  // Once a second or so: forgets rooms that nobody is in.
  void Tick() { Forget(options_.idle); }
  // Memory is short: empty rooms need not wait for their minute.
  void Ease() { Forget(std::chrono::seconds(1)); }
  // All are told to go (status 332); nobody comes back.
  void Shutdown();

  const MucCounters& counters() const { return counters_; }
  size_t rooms() const { return rooms_.size(); }

 private:
  class Turn {
   public:
    explicit Turn(MucHost& host) : host_(host) { ++host_.turns_; }
    ~Turn() {
      if (--host_.turns_ == 0) host_.Flush();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    MucHost& host_;
  };
  class View;  // of a room, as handlers of archives see accounts
  struct Hall {
    std::unique_ptr<Room> room;  // null: it is being looked for
    std::deque<Parcel> waiting;
    uint64_t life = 0;     // another room of this name is another
    uint32_t pending = 0;  // changes that are on their way to the store
    bool stored = false;   // the archive may have something of it
    bool held = false;     // made for who has not come yet
    net::Time idle_since{};
  };

  // muc_host.cc
  void Flush();
  void Forget(net::Duration idle);
  bool Begin(const std::string& jid, RoomDirectory::Room entry);  // false: there are too many
  void End(const std::string& jid);
  void Send(RoomOut out);
  void Bounce(const Parcel& parcel, std::string error_xml);
  void Load(const std::string& jid);
  void Loaded(const std::string& jid, std::expected<StoredRoom, StoreError> stored);
  void Ready(const std::string& jid, std::unique_ptr<Room> room);
  void Missing(const std::string& jid);
  void Failed(const std::string& jid, StoreError error);
  bool MayCreate(const Parcel& presence);
  void RefuseMissing(const Parcel& parcel);
  void Give(const std::string& jid, const Parcel& parcel);
  void AnswerArchive(const Room& room, const Parcel& iq);
  void Do(const std::string& jid, RoomOutputs outputs);
  void Copy(RoomOutputs::Copy copy);
  void Change(const std::string& jid, RoomOutputs::Change change);
  void Changed(const std::string& jid, uint64_t life, RoomOutputs::Change change,
               std::expected<std::monostate, StoreError> done);
  void Look(const std::string& jid);

  bool MakeRoom(const std::string& jid);  // false: there are too many

  // muc_orders.cc
  struct Order {
    Ordered ordered;
    std::optional<Jid> owner;  // of a room that is to be made
  };
  void PutOrder(const Jid& room, StanzaType type, std::string xml, Order order);
  Order* OrderOf(const Parcel& parcel);
  void Obey(const std::string& jid, Room& room, const Parcel& parcel, const Order& order);
  bool TakeAnswer(const RoomOut& out);

  // muc_service.cc
  void Service(const Parcel& parcel);
  void ServiceInfo(const Parcel& iq);
  void ServiceItems(const Parcel& iq, const XmlElement& query);
  void ListFrom(const Parcel& iq, const std::string& after, uint32_t most);
  void TellItems(const Parcel& iq, const std::string& after, uint32_t most,
                 std::vector<RoomName> stored);
  void AnswerIq(const Parcel& iq, std::string content);

  // The store's answer comes to `then` in a turn, and not at all when the host is gone.
  template <typename T, typename Then>
  StoreClient::Done<T> InTurn(Then then) {
    return [this, alive = std::weak_ptr<int>(alive_),
            then = std::move(then)](std::expected<T, StoreError> result) mutable {
      if (alive.expired()) return;
      const Turn turn(*this);
      then(std::move(result));
    };
  }

  const MucOptions options_;
  RoomDirectory& directory_;
  SessionGate& sessions_;
  HomeGate& homes_;
  StoreClient& store_;
  const net::Clock& clock_;
  RoomGround ground_;
  ModuleGround modules_;
  MucCounters counters_;
  std::function<void(const std::string& jid)> on_begin_;
  std::function<void(const std::string& jid)> on_end_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  int turns_ = 0;
  bool flushing_ = false;
  bool shut_ = false;
  std::deque<std::variant<RoomOut, SenderMark>> out_;
  std::unordered_map<std::string, Hall> rooms_;  // by bare address
  uint64_t lives_ = 0;
  std::unordered_map<std::string, Order> orders_;  // not answered, by id
  uint64_t last_order_ = 0;
};

// The home of a worker's users and its rooms behind one gate: Route() goes where the address says.
class MucGate final : public PassingGate {
 public:
  MucGate(HomeGate& home, MucHost& rooms) : PassingGate(home), rooms_(rooms) {}

  void Route(Parcel parcel) override {
    if (rooms_.Serves(parcel.to.domain())) return rooms_.Route(std::move(parcel));
    PassingGate::Route(std::move(parcel));
  }

 private:
  MucHost& rooms_;
};

}  // namespace server
