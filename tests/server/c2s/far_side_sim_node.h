// A node of a simulated day: its deputy, its home and its clients' sessions, as a worker has them.
// What it tells other nodes is carried by tests/server/c2s/far_side_sim.h.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "net/base/random.h"
#include "server/c2s/door_of_home.h"
#include "server/c2s/far_side.h"
#include "server/c2s/home_losses.h"
#include "server/c2s/moved_sessions.h"
#include "server/im/home.h"
#include "server/im/passing_gate.h"
#include "tests/server/im/map_store.h"

namespace server {

inline constexpr int kUsers = 4;
inline constexpr std::string_view kDomain = "a.example";

struct Fate {
  std::string sender;  // session
  uint64_t number = 0;
  int taken = 0;
  int bounced = 0;
  int given = 0;  // by homes to sessions
};

// What a client knows, wherever its session is.
struct SimMemory {
  uint32_t sent = 0;
  std::set<uint32_t> settled;
  int settled_twice = 0;
  uint32_t came_last = 0;                   // to its home, of its numbers
  std::map<std::string, uint64_t> last_of;  // by sender: the number that came last
  bool moved = false;
};
struct SimClient {
  SessionId id;
  int node = 0;
  Jid user;
  std::string full;  // "": not bound
  bool open = true;
  std::shared_ptr<SimMemory> memory = std::make_shared<SimMemory>();
  uint64_t tag = 0;  // by which it is resumed
  net::StreamError closed = net::StreamError::kNone;
  // It was resumed here and its state has not come yet.
  bool arriving = false;
  bool left = false;  // it went on as another
  net::Time since{};
  std::vector<std::function<void()>> held;
  // It came from there with that unsettled; nothing: from a node that is gone.
  std::vector<std::pair<std::optional<NodeNumber>, std::set<uint32_t>>> debts;
  struct Untaken {
    uint64_t ticket;
    NodeNumber home;
    std::string message;  // its id
  };
  std::deque<Untaken> untaken;
};

// What all nodes of a day share.
struct SimWorld {
  explicit SimWorld(uint64_t seed) : random(seed) {}

  net::FastRandom random;
  net::ManualClock clock;
  MapStore store;
  IqTable handlers;
  int64_t unix_us = 1'800'000'000'000'000;
  std::map<std::string, Fate> fates;
  std::map<std::string, std::pair<std::shared_ptr<SimMemory>, uint32_t>> sent_by;
  uint64_t openings = 0;  // of the store: a node that was killed comes back with a new number
  uint64_t stamps = 0;
  uint64_t lives = 0;
  bool two_workers = false;  // sessions are on another one than their deputies
  int moved = 0;             // sessions that were resumed elsewhere
  int debts_lost = 0;
  int told_in_time = 0;  // by the node that they came from, since another went
  int disordered = 0;
  int slipped = 0;  // what a client sent came to its home behind what it sent later
};

class SimNode final : public SessionGate, public HomeGate, public DoorOfHome<HomeDoor> {
 public:
  SimNode(SimWorld& world, int number)
      : sim_(world),
        index(number),
        home_(
            {.domains = {std::string(kDomain)},
             .archive_ids = std::make_shared<ArchiveIds>(++world.openings),
             .limits = {},
             .may_stay = [this](const std::string& bare) { return far->MayStay(bare); },
             .left = [this](const std::string& bare, bool changed) { far->Left(bare, changed); }},
            *this, *this, world.store, world.handlers, world.clock,
            [&world] { return world.unix_us++; }, [this] { return sim_.random.Next(); }) {
    far = std::make_unique<FarSide>(
        FarSide::Ground{.worker = 0,
                        .node = Name(number),
                        .sessions = *this,
                        .homes = *this,
                        .home = *this,
                        .clock = world.clock,
                        .deliver = [this](const SessionId& id, Delivery d,
                                          Origin from) { DeliverAt(id, std::move(d), from); },
                        .crowded = [](NodeNumber) { return false; },
                        .arrived = [this](const SessionId& id, NodeNumber from,
                                          std::string state) { Arrived(id, from, state); },
                        .leave = [this](const SessionId& id, const SessionId& next, const Jid&,
                                        NodeNumber home) { LeaveAt(id, next, home); },
                        .went = [this](NodeNumber node) { Went(node); },
                        .homes_lost =
                            [this](const std::vector<std::string>& homes) {
                              homes_lost.insert(homes_lost.end(), homes.begin(), homes.end());
                            },
                        .owed =
                            [this](const SessionId& id, NodeNumber node) {
                              if (!sim_.two_workers) return Owe(id, node);
                              posted.push_back([this, id, node] { Owe(id, node); });
                            }});
  }
  static std::string Name(int number) { return "n" + std::to_string(number) + "@host"; }

  // --- SessionGate
  void Bound(const SessionId& id, const Jid& full) override {
    if (id.node != 0) return far->Bound(id, full);
    SimClient* client = Find(id);
    if (client == nullptr || !client->open) return Gone(id, full.Bare());
    client->full = full.full();
    Changed(id, full.Bare(), {.resumable = true, .resume_tag = client->tag});
  }
  void BindFailed(const SessionId& id, std::string error) override {
    if (id.node != 0) return far->BindFailed(id, std::move(error));
    if (SimClient* client = Find(id)) client->open = false;
  }
  void Deliver(const SessionId& id, Delivery delivery) override {
    if (const auto it = sim_.fates.find(MessageIn(delivery)); it != sim_.fates.end()) {
      ++it->second.given;
    }
    if (id.node != 0) return far->Deliver(id, std::move(delivery));
    DeliverAt(id, std::move(delivery), {});
  }
  // The id of a message that is no error; "": it is something else.
  static std::string MessageIn(const Delivery& delivery) {
    const auto stanza = ParseStanza(delivery.xml, kClientSpace);
    const bool message =
        stanza && stanza->root().name() == "message" && stanza->root().Attribute("type") != "error";
    return message ? std::string(stanza->root().Attribute("id")) : "";
  }
  void DeliverAt(const SessionId& id, Delivery delivery, Origin from) {
    SimClient* client = Find(id);
    if (client != nullptr && client->arriving) {
      client->held.push_back([this, id, delivery, from] { DeliverAt(id, delivery, from); });
      return;
    }
    if (client == nullptr || !client->open || client->full.empty()) {
      if (delivery.ticket != 0) far->TicketLost(from, delivery.ticket);
      return;
    }
    const std::string message = MessageIn(delivery);
    if (delivery.ticket == 0) return;
    client->untaken.push_back({delivery.ticket, delivery.home, message});
    if (sim_.random.Below(4) != 0) Take(*client);
  }
  void Take(SimClient& client) {
    auto taken = std::exchange(client.untaken, {});
    for (const auto& [ticket, home, message] : taken) {
      if (const auto it = sim_.fates.find(message); it != sim_.fates.end()) {
        ++it->second.taken;
        uint64_t& last = client.memory->last_of[it->second.sender];
        // What a session had and did not take comes behind what others had meanwhile.
        if (it->second.number <= last && it->second.given == 1) ++sim_.disordered;
        last = std::max(last, it->second.number);
      }
      far->DeliveryEnded(home, client.id, client.user, ticket, DeliveryEnd::kTaken);
    }
  }
  void Settled(const SenderMark& mark) override {
    if (!mark) return;
    if (mark.session.node != 0) return far->Settled(mark);
    if (far->SettledRouted(mark)) return;
    if (const auto next = left.Settle(mark.session, mark.number)) {
      return Settled({*next, mark.number});
    }
    SimClient* client = Find(mark.session);
    if (client == nullptr || client->left) return;
    if (!client->memory->settled.insert(mark.number).second) ++client->memory->settled_twice;
  }
  void Close(const SessionId& id, net::StreamError error, std::string text) override {
    if (id.node != 0) return far->Close(id, error, std::move(text));
    SimClient* client = Find(id);
    if (client != nullptr && client->left) {
      if (const auto next = left.Next(id)) Close(*next, error, text);
    }
    if (client == nullptr || !client->open) return;
    if (client->arriving) {
      client->held.push_back([this, id, error, text] { Close(id, error, text); });
      return;
    }
    client->closed = error;
    EndOf(*client);
  }
  void Move(const SessionId& id, const SessionId& next, const Jid& user) override {
    far->Moved(id, next, user);
    if (id.node != 0) return far->Move(id, next, user);
    LeaveAt(id, next);
  }
  void ResumeFailed(const SessionId& id) override {
    if (id.node != 0) return far->ResumeFailed(id);
    SimClient* client = Find(id);
    if (client == nullptr || !client->arriving) return;
    client->arriving = client->open = false;
    far->NeverCame(id, client->user);
    Gone(id, client->user);
    for (const auto& item : std::exchange(client->held, {})) item();
  }
  // The session's state is on its way as the day has it: what is not taken, by lines.
  void LeaveAt(const SessionId& id, const SessionId& next, NodeNumber home_at = 0) {
    SimClient* client = Find(id);
    if (client == nullptr || !client->open || client->full.empty()) {
      if (client == nullptr || !client->arriving) return ResumeFailed(next);
      client->held.push_back([this, id, next, home_at] { LeaveAt(id, next, home_at); });
      return;
    }
    client->open = false;
    client->left = true;
    std::string state = client->full + "\n" + Debts(*client);
    left.Add(id, next, Unsettled(*client), Ways(*client, home_at));
    std::vector<uint64_t> tickets;
    for (const auto& [ticket, home, message] : std::exchange(client->untaken, {})) {
      state += std::to_string(ticket) + " " + far->NameOf(home) + " " + message + "\n";
      if (home == 0) tickets.push_back(ticket);
    }
    if (next.node == 0) {
      tickets.clear();  // of its own still
      Arrived(next, 0, state);
    } else if (!far->SendSession(next, state)) {
      far->ResumeFailed(next);
    }
    // The home is on another worker.
    posted.push_back([this, id, next, user = client->user, tickets] {
      far->AwaitTickets(next, user, tickets);
      Gone(id, user);
    });
  }
  static std::vector<uint32_t> Unsettled(const SimClient& client) {
    std::vector<uint32_t> unsettled;
    for (uint32_t n = 1; n <= client.memory->sent; ++n) {
      if (!client.memory->settled.contains(n)) unsettled.push_back(n);
    }
    return unsettled;
  }
  static std::vector<uint16_t> Ways(const SimClient& client, NodeNumber home) {
    std::vector<uint16_t> ways;
    if (home != 0) ways.push_back(home);
    for (const auto& [node, owed] : client.debts) {
      if (node && !std::ranges::includes(client.memory->settled, owed)) ways.push_back(*node);
    }
    return ways;
  }
  // Lines: a name, and what is to be heard by way of it; "-": of this node.
  std::string Debts(const SimClient& client) const {
    std::string lines = "-";
    for (const uint32_t number : Unsettled(client)) lines += " " + std::to_string(number);
    lines += "\n";
    for (const auto& [node, owed] : client.debts) {
      const std::string name = node ? far->NameOf(*node) : "";
      lines += "debt " + (name.empty() ? "?" : name);
      for (const uint32_t number : owed) lines += " " + std::to_string(number);
      lines += "\n";
    }
    return lines + "\n";
  }
  void ReadDebts(SimClient& client, NodeNumber from, std::istringstream& lines) {
    for (std::string line; std::getline(lines, line) && !line.empty();) {
      std::istringstream words(line);
      std::string word;
      words >> word;
      std::optional<NodeNumber> node = from;
      if (word == "debt") {
        words >> word;
        node = far->NumberOf(word);
      }
      std::set<uint32_t> owed;
      for (uint32_t number = 0; words >> number;) owed.insert(number);
      if (node != NodeNumber{0}) client.debts.emplace_back(node, owed);
    }
  }
  bool LostDebt(const SimClient& client) const {
    return std::ranges::any_of(client.debts, [&](const auto& debt) {
      return (!debt.first || far->NameOf(*debt.first).empty()) &&
             !std::ranges::includes(client.memory->settled, debt.second);
    });
  }
  void Owe(const SessionId& id, NodeNumber node) {
    SimClient* client = Find(id);
    if (const auto next = left.Owe(id, node); next && far->NameOf(node).empty()) {
      Close(*next, net::StreamError::kReset, "it would not hear of what it sent");
    }
    if (client == nullptr || !client->open) return;
    if (client->arriving) {
      client->held.push_back([this, id, node] { Owe(id, node); });
      return;
    }
    const auto unsettled = Unsettled(*client);
    client->debts.emplace_back(node, std::set<uint32_t>(unsettled.begin(), unsettled.end()));
    if (LostDebt(*client)) Close(id, net::StreamError::kReset, "its node is gone");
  }
  void Went(NodeNumber node) {
    for (const SessionId& next : left.NodeDown(node)) {
      Close(next, net::StreamError::kReset, "it would not hear of what it sent");
      ++sim_.told_in_time;
    }
    std::vector<SessionId> lost;
    for (const auto& [id, client] : clients) {
      if (client->open && LostDebt(*client)) lost.push_back(id);
    }
    sim_.debts_lost += static_cast<int>(lost.size());
    for (const SessionId& id : lost) Close(id, net::StreamError::kReset, "its node is gone");
  }
  void Arrived(const SessionId& id, NodeNumber from, const std::string& state) {
    SimClient* client = Find(id);
    if (client == nullptr || !client->arriving) return;
    client->arriving = false;
    std::istringstream lines(state);
    std::getline(lines, client->full);
    ReadDebts(*client, from, lines);
    for (std::string line; std::getline(lines, line);) {
      const size_t name = line.find(' '), message = line.find(' ', name + 1);
      const auto home = far->NumberOf(line.substr(name + 1, message - name - 1));
      if (!home) continue;
      client->untaken.push_back({std::stoull(line), *home, line.substr(message + 1)});
    }
    ++sim_.moved;
    if (LostDebt(*client)) Close(id, net::StreamError::kReset, "its node is gone");
    for (const auto& item : std::exchange(client->held, {})) item();
  }
  void EndOf(SimClient& client) {
    client.open = false;
    if (client.full.empty()) return;  // Bound() finds nobody
    const auto untaken = std::exchange(client.untaken, {});
    // The last words of a stream: their end is known when its home has heard of its own.
    const bool late = sim_.random.Below(2) == 0;
    if (late) Gone(client.id, client.user);
    for (const auto& [ticket, home, message] : untaken) {
      far->DeliveryEnded(home, client.id, client.user, ticket, DeliveryEnd::kLost);
    }
    if (!late) Gone(client.id, client.user);
  }

  // --- HomeGate
  void Bind(BindRequest request) override { far->Bind(std::move(request)); }
  void Arrive(const SessionId& id, const Jid& user, Stanza stanza, SenderMark mark) override {
    far->Arrive(id, user, std::move(stanza), mark);
  }
  void Changed(const SessionId& id, const Jid& user, SessionState state) override {
    far->Changed(id, user, state);
  }
  void DeliveryEnded(const SessionId& id, const Jid& user, uint64_t ticket,
                     DeliveryEnd end) override {
    far->DeliveryEnded(0, id, user, ticket, end);
  }
  void Gone(const SessionId& id, const Jid& user) override { far->Gone(id, user); }
  void Resume(const SessionId& next, const Jid& user, uint64_t tag) override {
    far->Resume(next, user, tag);
  }
  void Route(Parcel parcel) override {
    // It goes back, whether or not somebody is there still.
    if (parcel.type == StanzaType::kError && sim_.fates.contains(parcel.id)) {
      ++sim_.fates[parcel.id].bounced;
    }
    far->Route(std::move(parcel));
  }

  // --- HomeDoor
  HomeGate& gate() override { return door_; }
  void Tick() {
    home_.Tick();
    far->Tick();
    std::vector<SessionId> late;
    for (const auto& [id, client] : clients) {
      if (client->arriving && sim_.clock.Now() - client->since > std::chrono::seconds(5)) {
        late.push_back(id);
      }
    }
    for (const SessionId& id : late) ResumeFailed(id);
  }
  SimClient* Find(const SessionId& id) {
    const auto it = clients.find(id);
    return it == clients.end() ? nullptr : it->second.get();
  }

  SimWorld& sim_;
  const int index;
  std::unique_ptr<FarSide> far;
  std::map<SessionId, std::unique_ptr<SimClient>> clients;
  LeftSessions left;
  HomeLosses losses;
  std::vector<std::string> homes_lost;       // of nodes that went
  std::deque<std::function<void()>> posted;  // between workers
  std::map<std::string, uint64_t> records;   // own homes: their stamps
  std::map<int, NodeNumber> numbers;         // of nodes that it is in a relation with
  // Records of those, and whether its deputy knows that the node is there.
  struct Other {
    std::map<std::string, uint64_t> records;
    bool reached = false;
  };
  std::map<int, Other> others;
  NodeNumber last_number = 0;
  size_t home_users() const { return home_.users(); }
  bool store_busy() const { return home_.Busy(); }

 private:
  Home& behind() override { return home_; }
  // Looks at the order in which what one client sent comes to its home.
  class Door final : public PassingGate {
   public:
    Door(SimWorld& world, HomeGate& home) : PassingGate(home), sim_(world) {}
    void Arrive(const SessionId& id, const Jid& user, Stanza stanza, SenderMark mark) override {
      const auto sent = sim_.sent_by.find(std::string(stanza.root().Attribute("id")));
      if (sent != sim_.sent_by.end()) {
        const auto& [memory, number] = sent->second;
        if (number < memory->came_last) ++sim_.slipped;
        memory->came_last = std::max(memory->came_last, number);
      }
      PassingGate::Arrive(id, user, std::move(stanza), mark);
    }

   private:
    SimWorld& sim_;
  };
  Home home_;
  Door door_{sim_, home_};
};

}  // namespace server
