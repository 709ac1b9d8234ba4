// Days of a few users over several nodes: letters and records are on their way as long as chance
// has it, nodes lose each other and come back or are killed, sessions come and go on any of them;
// then the books are opened. Seeds are printed; the same seed is the same day.
#include "server/c2s/far_side.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "net/base/random.h"
#include "server/c2s/moved_sessions.h"
#include "server/im/home.h"
#include "server/im/letter_dealer.h"
#include "tests/server/im/map_store.h"

namespace server {
namespace {

constexpr int kUsers = 4;
constexpr std::string_view kDomain = "a.example";

uint32_t Count(size_t size) { return static_cast<uint32_t>(size); }

std::string UserName(uint64_t i) { return "u" + std::to_string(i) + "@" + std::string(kDomain); }

// As a room writes it: others have the same content.
Parcel ChatOf(const std::string& from, const std::string& to, const std::string& id,
              std::shared_ptr<const std::string> content, SenderMark mark = {}) {
  return {.kind = StanzaKind::kMessage,
          .type = StanzaType::kChat,
          .traits = {.body = true},
          .from = Jid::Parse(from).value(),
          .to = Jid::Parse(to).value(),
          .id = id,
          .lang = {},
          .content = std::move(content),
          .mark = mark,
          .iq_name = {},
          .iq_space = {}};
}

struct Fate {
  std::string sender;  // session
  uint64_t number = 0;
  int taken = 0;
  int bounced = 0;
};

class Sim {
 public:
  // What a client knows, wherever its session is.
  struct Memory {
    uint32_t sent = 0;
    std::set<uint32_t> settled;
    int settled_twice = 0;
    uint32_t came_last = 0;                   // to its home, of its numbers
    std::map<std::string, uint64_t> last_of;  // by sender: the number that came last
    bool moved = false;
  };
  struct Client {
    SessionId id;
    int node = 0;
    Jid user;
    std::string full;  // "": not bound
    bool open = true;
    std::shared_ptr<Memory> memory = std::make_shared<Memory>();
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

  class Node final : public SessionGate, public HomeGate, public HomeDoor {
   public:
    Node(Sim& world, int number)
        : sim_(world),
          index(number),
          home_(
              {.domains = {std::string(kDomain)},
               .archive_ids = std::make_shared<ArchiveIds>(++world.openings),
               .limits = {},
               .may_stay = [this](const std::string& bare) { return far->MayStay(bare); },
               .left = [this](const std::string& bare, bool changed) { far->Left(bare, changed); }},
              *this, *this, world.store, world.handlers, world.clock,
              [&world] { return world.unix_us; }, [this] { return sim_.random.Next(); }) {
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
                          .leave = [this](const SessionId& id, const SessionId& next,
                                          const Jid&) { LeaveAt(id, next); },
                          .went = [this](NodeNumber node) { Went(node); },
                          .homes_lost =
                              [this](const std::vector<std::string>& homes) {
                                homes_lost.insert(homes_lost.end(), homes.begin(), homes.end());
                              },
                          .owed = [this](const SessionId& id, NodeNumber node) { Owe(id, node); }});
    }
    static std::string Name(int number) { return "n" + std::to_string(number) + "@host"; }

    // --- SessionGate
    void Bound(const SessionId& id, const Jid& full) override {
      if (id.node != 0) return far->Bound(id, full);
      Client* client = Find(id);
      if (client == nullptr || !client->open) return Gone(id, full.Bare());
      client->full = full.full();
      Changed(id, full.Bare(), {.resumable = true, .resume_tag = client->tag});
    }
    void BindFailed(const SessionId& id, std::string error) override {
      if (id.node != 0) return far->BindFailed(id, std::move(error));
      if (Client* client = Find(id)) client->open = false;
    }
    void Deliver(const SessionId& id, Delivery delivery) override {
      if (id.node != 0) return far->Deliver(id, std::move(delivery));
      DeliverAt(id, std::move(delivery), {});
    }
    void DeliverAt(const SessionId& id, Delivery delivery, Origin from) {
      Client* client = Find(id);
      if (client != nullptr && client->arriving) {
        client->held.push_back([this, id, delivery, from] { DeliverAt(id, delivery, from); });
        return;
      }
      if (client == nullptr || !client->open || client->full.empty()) {
        if (delivery.ticket != 0) far->TicketLost(from, delivery.ticket);
        return;
      }
      std::string message;
      if (const auto stanza = ParseStanza(delivery.xml, kClientSpace)) {
        if (stanza->root().name() == "message") message = stanza->root().Attribute("id");
        if (stanza->root().Attribute("type") == "error") message.clear();
      }
      if (delivery.ticket == 0) return;
      client->untaken.push_back({delivery.ticket, delivery.home, message});
      if (sim_.random.Below(4) != 0) Take(*client);
    }
    void Take(Client& client) {
      auto taken = std::exchange(client.untaken, {});
      for (const auto& [ticket, home, message] : taken) {
        if (const auto it = sim_.fates.find(message); it != sim_.fates.end()) {
          ++it->second.taken;
          uint64_t& last = client.memory->last_of[it->second.sender];
          if (it->second.number <= last) ++sim_.disordered;
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
      Client* client = Find(mark.session);
      if (client == nullptr || client->left) return;
      if (!client->memory->settled.insert(mark.number).second) ++client->memory->settled_twice;
    }
    void Close(const SessionId& id, net::StreamError error, std::string text) override {
      if (id.node != 0) return far->Close(id, error, std::move(text));
      Client* client = Find(id);
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
      Client* client = Find(id);
      if (client == nullptr || !client->arriving) return;
      client->arriving = client->open = false;
      far->NeverCame(id, client->user);
      Gone(id, client->user);
      for (const auto& item : std::exchange(client->held, {})) item();
    }
    // The session's state is on its way as the day has it: what is not taken, by lines.
    void LeaveAt(const SessionId& id, const SessionId& next) {
      Client* client = Find(id);
      if (client == nullptr || !client->open || client->full.empty()) {
        if (client == nullptr || !client->arriving) return ResumeFailed(next);
        client->held.push_back([this, id, next] { LeaveAt(id, next); });
        return;
      }
      client->open = false;
      client->left = true;
      std::string state = client->full + "\n" + Debts(*client);
      left.Add(id, next, Unsettled(*client));
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
    static std::vector<uint32_t> Unsettled(const Client& client) {
      std::vector<uint32_t> unsettled;
      for (uint32_t n = 1; n <= client.memory->sent; ++n) {
        if (!client.memory->settled.contains(n)) unsettled.push_back(n);
      }
      return unsettled;
    }
    // Lines: a name, and what is to be heard by way of it; "-": of this node.
    std::string Debts(const Client& client) const {
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
    void ReadDebts(Client& client, NodeNumber from, std::istringstream& lines) {
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
    bool LostDebt(const Client& client) const {
      return std::ranges::any_of(client.debts, [&](const auto& debt) {
        return (!debt.first || far->NameOf(*debt.first).empty()) &&
               !std::ranges::includes(client.memory->settled, debt.second);
      });
    }
    void Owe(const SessionId& id, NodeNumber node) {
      Client* client = Find(id);
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
      Client* client = Find(id);
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
    void EndOf(Client& client) {
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
    bool Knows(const std::string& bare) override { return home_.Knows(bare); }
    bool Has(const std::string& bare) override { return home_.Has(bare); }
    void Release(const std::string& bare) override { home_.Release(bare); }
    bool Awaits(uint64_t ticket) override { return home_.Awaits(ticket); }
    bool MayMove(const std::string& bare) override { return home_.MayMove(bare); }
    std::vector<MovedSession> Sessions(const std::string& bare) override {
      return home_.Sessions(bare);
    }
    void TakeIn(const Jid& user, std::vector<MovedSession> sessions,
                std::move_only_function<void(bool)> done) override {
      home_.TakeIn(user, std::move(sessions), std::move(done));
    }
    void Drop(const std::string& bare) override { home_.Drop(bare); }
    void Look(const Jid& user) override { home_.Look(user); }
    void Expel(const Jid& user, net::StreamError error, const std::string& text) override {
      home_.Expel(user, error, text);
    }
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
    Client* Find(const SessionId& id) {
      const auto it = clients.find(id);
      return it == clients.end() ? nullptr : it->second.get();
    }

    Sim& sim_;
    const int index;
    std::unique_ptr<FarSide> far;
    std::map<SessionId, std::unique_ptr<Client>> clients;
    LeftSessions left;
    std::vector<std::string> homes_lost;       // of nodes that went
    std::deque<std::function<void()>> posted;  // between workers
    std::map<std::string, uint64_t> records;   // own homes: their stamps
    std::map<int, NodeNumber> numbers;         // of nodes that it is in a relation with
    NodeNumber last_number = 0;
    size_t home_users() const { return home_.users(); }

   private:
    // Looks at the order in which what one client sent comes to its home.
    class Door final : public HomeGate {
     public:
      Door(Sim& world, HomeGate& home) : sim_(world), home_(home) {}
      void Bind(BindRequest request) override { home_.Bind(std::move(request)); }
      void Arrive(const SessionId& id, const Jid& user, Stanza stanza, SenderMark mark) override {
        const auto sent = sim_.sent_by.find(std::string(stanza.root().Attribute("id")));
        if (sent != sim_.sent_by.end()) {
          const auto& [memory, number] = sent->second;
          if (number < memory->came_last) ++sim_.slipped;
          memory->came_last = std::max(memory->came_last, number);
        }
        home_.Arrive(id, user, std::move(stanza), mark);
      }
      void Changed(const SessionId& id, const Jid& user, SessionState state) override {
        home_.Changed(id, user, state);
      }
      void DeliveryEnded(const SessionId& id, const Jid& user, uint64_t ticket,
                         DeliveryEnd end) override {
        home_.DeliveryEnded(id, user, ticket, end);
      }
      void Gone(const SessionId& id, const Jid& user) override { home_.Gone(id, user); }
      void Resume(const SessionId& next, const Jid& user, uint64_t tag) override {
        home_.Resume(next, user, tag);
      }
      void Route(Parcel parcel) override { home_.Route(std::move(parcel)); }

     private:
      Sim& sim_;
      HomeGate& home_;
    };
    Home home_;
    Door door_{sim_, home_};
  };

  Sim(uint64_t seed, int count) : random(seed) {
    AddHomeFeatures(handlers, {});
    for (int i = 0; i < kUsers; ++i) store.users[UserName(static_cast<uint64_t>(i))];
    for (int i = 0; i < count; ++i) nodes.push_back(std::make_unique<Node>(*this, i));
    for (int a = 0; a < count; ++a) {
      for (int b = a + 1; b < count; ++b) Meet(a, b);
    }
  }

  // --- The network.
  struct Mail {
    std::vector<uint8_t> letters;  // or a record:
    HomeRecord home;
    uint64_t stamp = 0;
  };
  bool Related(int a, int b) const { return nodes[At(a)]->numbers.contains(b); }
  static size_t At(int i) { return static_cast<size_t>(i); }

  void Meet(int a, int b) {
    if (nodes[At(a)] == nullptr || nodes[At(b)] == nullptr || Related(a, b)) return;
    for (const auto& [me, other] : {std::pair(a, b), std::pair(b, a)}) {
      Node& node = *nodes[At(me)];
      node.numbers[other] = ++node.last_number;
      node.far->NodeUp(node.last_number, Node::Name(other), kLettersVersion);
      for (const auto& [bare, stamp] : nodes[At(other)]->records) {
        links[{other, me}].push_back({{}, {.bare = bare, .gone = false}, stamp});
      }
    }
  }
  void Part(int a, int b) {
    if (!Related(a, b)) return;
    links.erase({a, b});
    links.erase({b, a});
    const NodeNumber of_b = nodes[At(a)]->numbers.extract(b).mapped();
    const NodeNumber of_a = nodes[At(b)]->numbers.extract(a).mapped();
    nodes[At(a)]->far->NodeDown(of_b);
    nodes[At(b)]->far->NodeDown(of_a);
  }
  void Kill(int dead) {
    for (int other = 0; other < static_cast<int>(nodes.size()); ++other) {
      if (nodes[At(other)] == nullptr || other == dead || !Related(other, dead)) continue;
      links.erase({dead, other});
      links.erase({other, dead});
      const NodeNumber number = nodes[At(other)]->numbers.extract(dead).mapped();
      nodes[At(other)]->far->NodeDown(number);
    }
    for (auto& [id, client] : nodes[At(dead)]->clients) killed.push_back(std::move(client));
    nodes[At(dead)] = nullptr;
    nodes[At(dead)] = std::make_unique<Node>(*this, dead);
    for (int other = 0; other < static_cast<int>(nodes.size()); ++other) {
      if (other != dead) Meet(dead, other);
    }
  }
  // In order, as XmppService does it: its clients are closed, its homes go to other nodes or their
  // sessions end, and then it is gone; others hear of that when all is on its way.
  void Stop(int stops) {
    Node& node = *nodes[At(stops)];
    node.far->BeginStop();
    for (auto& [id, client] : node.clients) {
      if (client->open) node.EndOf(*client);
    }
    const auto some = [&] {
      for (int n = 0; n < 20; ++n) ArriveSome();
      store.Answer();
    };
    for (int i = 0; i < 30 && node.far->guests() > 0; ++i) {
      node.far->MoveHomes(FarSide::kMovesMax);
      some();
    }
    node.far->CloseGuests();
    for (int i = 0; i < 30 && node.far->guests() + node.far->routed() > 0; ++i) some();
    for (const auto& [other, number] : std::map(node.numbers)) {
      while (!links[{stops, other}].empty()) Arrive(stops, other);
    }
    node.far->Leave();
    while (store.Answer()) {
    }
    Kill(stops);
  }
  void Collect() {
    for (auto& node : nodes) {
      node->far->EndTurn();
      for (HomeRecord& home : node->far->TakeHomes()) {
        if (home.gone) {
          node->records.erase(home.bare);
        } else {
          node->records[home.bare] = ++stamps;
        }
        for (const auto& [other, number] : node->numbers) {
          links[{node->index, other}].push_back({{}, home, stamps});
        }
      }
      for (NodeMail& mail : node->far->TakeMail()) {
        for (const auto& [other, number] : node->numbers) {
          if (number != mail.node) continue;
          links[{node->index, other}].push_back({std::move(mail.letters), {}, 0});
          break;
        }
      }
    }
  }
  void Arrive(int from, int to) {
    auto& link = links[{from, to}];
    if (link.empty()) return;
    Mail mail = std::move(link.front());
    link.pop_front();
    Node& node = *nodes[At(to)];
    const NodeNumber number = node.numbers.at(from);
    if (!mail.letters.empty()) {
      LetterDealer dealer;
      const auto dealt = dealer.Deal(mail.letters, 1);
      EXPECT_EQ(dealt.taken, mail.letters.size());
      EXPECT_EQ(dealer.kept_bytes(), 0U) << "behind the mail";
      std::span<const uint8_t> rest = dealt.by_worker[0];
      while (const auto head = ReadLetterHead(rest)) {
        if (head->kind == LetterKind::kRouteShared) ++shared;
        node.far->OnMail(number, head->kind, rest.subspan(kLetterHeadBytes, head->size));
        rest = rest.subspan(kLetterHeadBytes + head->size);
      }
      return;
    }
    if (mail.home.gone) return node.far->Erased(mail.home.bare, number);
    node.far->Recorded(mail.home.bare, number, mail.stamp);
    const auto own = node.records.find(mail.home.bare);
    if (own == node.records.end() || own->second > mail.stamp) return;
    if (!node.far->Leaves(mail.home.bare)) ++met;  // else it is the one that it becomes
    node.records.erase(own);
    for (const auto& [other, peer] : node.numbers) {
      links[{to, other}].push_back({{}, {.bare = mail.home.bare, .gone = true}, 0});
    }
    node.far->LostHome(mail.home.bare);
  }
  void ArriveSome() {
    Collect();
    RunPosted(*nodes[random.Below(Count(nodes.size()))]);
    if (links.empty()) return;
    auto it = links.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random.Below(Count(links.size()))));
    Arrive(it->first.first, it->first.second);
    Collect();
  }
  static void RunPosted(Node& node) {
    for (const auto& item : std::exchange(node.posted, {})) item();
  }
  // `slow`: a link on which nothing arrives meanwhile.
  void Settle(bool posts = true, std::pair<int, int> slow = {-1, -1}) {
    int rounds = 0;
    for (bool any = true; any;) {
      if (++rounds > 1000) throw std::runtime_error("it never comes to rest");
      any = store.Answer();
      if (posts) {
        for (auto& node : nodes) RunPosted(*node);
      }
      Collect();
      for (int a = 0; a < static_cast<int>(nodes.size()); ++a) {
        for (int b = 0; b < static_cast<int>(nodes.size()); ++b) {
          if (slow == std::pair(a, b)) continue;
          while (a != b && Related(a, b) && !links[{a, b}].empty()) {
            any = true;
            Arrive(a, b);
            Collect();
          }
        }
      }
    }
  }
  void Pass(net::Duration time) {
    clock.Advance(time);
    unix_us += std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    for (auto& node : nodes) node->Tick();
  }

  // --- Clients.
  Client& Connect(int at, uint64_t user, const std::string& resource) {
    Node& node = *nodes[At(at)];
    auto client = std::make_unique<Client>(Client{.id = {.worker = 0, .place = 0, .life = ++lives},
                                                  .node = at,
                                                  .user = *Jid::Parse(UserName(user)),
                                                  .full = {},
                                                  .tag = lives,
                                                  .held = {},
                                                  .debts = {},
                                                  .untaken = {}});
    Client& made = *client;
    const BindRequest request{
        .session = made.id,
        .user = made.user,
        .resource = resource,
        .loaded = std::make_shared<const LoadedUser>(store.Read(made.user.full())),
        .address = {},
        .secure = true};
    node.clients[made.id] = std::move(client);
    node.Bind(request);
    return made;
  }
  void Say(Client& client, const std::string& xml, bool counted) {
    nodes[At(client.node)]->Arrive(client.id, client.user, *ParseStanza(xml, kClientSpace),
                                   {client.id, counted ? ++client.memory->sent : 0});
  }
  void Available(Client& client) { Say(client, "<presence xmlns='jabber:client'/>", true); }
  void Message(Client& client, uint64_t to) {
    const std::string id = "m" + std::to_string(fates.size());
    fates[id] = {.sender = client.full + std::to_string(client.id.life),
                 .number = fates.size() + 1};
    sent_by[id] = {client.memory, client.memory->sent + 1};
    Say(client,
        "<message xmlns='jabber:client' type='chat' id='" + id + "' to='" + UserName(to) +
            "'><body>x</body></message>",
        true);
  }
  // To some of the users, or all, with one content, as a room does it.
  void TellMany(Client& client, net::FastRandom& chance) {
    const auto content =
        std::make_shared<const std::string>("<body>" + std::string(80, 'x') + "</body>");
    for (uint64_t to = 0; to < kUsers; ++to) {
      for (uint32_t copies = chance.Below(4); copies > 0; --copies) {
        const std::string id = "m" + std::to_string(fates.size());
        fates[id] = {.sender = client.full + "of a room", .number = fates.size()};
        sent_by[id] = {client.memory, client.memory->sent + 1};
        nodes[At(client.node)]->Route(
            ChatOf(client.full, UserName(to), id, content, {client.id, ++client.memory->sent}));
      }
    }
  }
  // A client comes back, on whichever node, with the old connection still open or not.
  void Resume(const Client& before, int at) {
    auto client = std::make_unique<Client>(Client{.id = {.worker = 0, .place = 0, .life = ++lives},
                                                  .node = at,
                                                  .user = before.user,
                                                  .full = {},
                                                  .memory = before.memory,
                                                  .tag = before.tag,
                                                  .arriving = true,
                                                  .since = clock.Now(),
                                                  .held = {},
                                                  .debts = {},
                                                  .untaken = {}});
    client->memory->moved = true;
    const SessionId id = client->id;
    nodes[At(at)]->clients[id] = std::move(client);
    nodes[At(at)]->Resume(id, before.user, before.tag);
  }
  std::vector<Client*> Open() {
    std::vector<Client*> open;
    for (auto& node : nodes) {
      for (auto& [id, client] : node->clients) {
        if (client->open && !client->full.empty()) open.push_back(client.get());
      }
    }
    return open;
  }

  // One of the things that happen in a day.
  void Step(bool wild) {
    const int nodes_count = static_cast<int>(nodes.size());
    const int a = static_cast<int>(random.Below(Count(nodes.size())));
    const int b = static_cast<int>(random.Below(Count(nodes.size())));
    const auto open = Open();
    switch (random.Below(25)) {
      case 0: {
        // On a calm day nobody takes another's address.
        const uint64_t resource = wild ? random.Below(3) : lives;
        Client& client = Connect(a, random.Below(kUsers), "r" + std::to_string(resource));
        waiting.push_back(&client);
        break;
      }
      case 1:
      case 2:
        if (!open.empty()) Available(*open[random.Below(Count(open.size()))]);
        break;
      case 3:
        if (!open.empty()) {
          Client& client = *open[random.Below(Count(open.size()))];
          nodes[At(client.node)]->EndOf(client);
        }
        break;
      case 4:
        if (!open.empty()) {
          Client& client = *open[random.Below(Count(open.size()))];
          nodes[At(client.node)]->Take(client);
        }
        break;
      case 5:
        Pass(std::chrono::milliseconds(200));
        break;
      case 6:
        store.Answer();
        break;
      case 7:
        if (wild && random.Below(12) == 0 && a != b) Part(a, b);
        break;
      case 8:
        if (wild && a != b && !Related(a, b)) Meet(a, b);
        break;
      case 9:
        if (wild && random.Below(20) == 0 && nodes_count > 1) Kill(a);
        break;
      case 10:
      case 11:
      case 12:
        if (!open.empty()) Message(*open[random.Below(Count(open.size()))], random.Below(kUsers));
        break;
      case 13:
        if (!open.empty()) {
          const Client& client = *open[random.Below(Count(open.size()))];
          Resume(client, a);
          if (random.Below(3) == 0) Resume(client, b);
        }
        break;
      default:
        ArriveSome();
    }
    Collect();
  }
  // Everybody goes, all meet, and each user comes once more and takes all.
  void Evening() {
    for (int a = 0; a < static_cast<int>(nodes.size()); ++a) {
      for (int b = 0; b < static_cast<int>(nodes.size()); ++b) {
        if (a != b) Meet(a, b);
      }
    }
    Settle();
    for (int i = 0; i < 8; ++i) {
      for (Client* client : Open()) nodes[At(client->node)]->Take(*client);
      Settle();
      Pass(std::chrono::seconds(1));
    }
    Settle();
    // Who is still there has heard of all that it sent.
    for (const Client* client : Open()) {
      EXPECT_EQ(client->memory->settled.size(), client->memory->sent) << client->full;
    }
    for (Client* client : Open()) nodes[At(client->node)]->EndOf(*client);
    for (int i = 0; i < 20; ++i) {
      Settle();
      Pass(std::chrono::seconds(1));
    }
    Pass(std::chrono::minutes(11));
    Settle();
    for (const auto& node : nodes) {
      EXPECT_EQ(node->far->awaited(), 0U) << "of guests that are gone";
      EXPECT_EQ(node->far->in_order(), 0U) << "sessions wait for others that are gone";
      EXPECT_EQ(node->far->on_the_way(), 0U) << "homes that never came";
    }
    for (uint64_t user = 0; user < kUsers; ++user) {
      Client& last = Connect(static_cast<int>(random.Below(Count(nodes.size()))), user, "last");
      Settle();
      EXPECT_TRUE(last.open && !last.full.empty());
      Available(last);
      for (int i = 0; i < 3; ++i) {
        Settle();
        nodes[At(last.node)]->Take(last);
        Settle();
        Pass(std::chrono::seconds(1));
      }
    }
  }

  net::FastRandom random;
  net::ManualClock clock;
  MapStore store;
  IqTable handlers;
  int64_t unix_us = 1'800'000'000'000'000;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<std::unique_ptr<Client>> killed;
  std::vector<Client*> waiting;
  std::map<std::pair<int, int>, std::deque<Mail>> links;
  std::map<std::string, Fate> fates;
  std::map<std::string, std::pair<std::shared_ptr<Memory>, uint32_t>> sent_by;
  uint64_t openings = 0;  // of the store: a node that was killed comes back with a new number
  uint64_t stamps = 0;
  uint64_t lives = 0;
  int met = 0;
  int shared = 0;  // parcels that came with the number of their content
  int moved = 0;   // sessions that were resumed elsewhere
  int debts_lost = 0;
  int told_in_time = 0;  // by the node that they came from, since another went
  int disordered = 0;
  int slipped = 0;  // what a client sent came to its home behind what it sent later
};

bool Archived(const MapStore& store, const std::string& id) {
  for (const auto& [user, rows] : store.users) {
    for (const auto& [number, entry] : rows.archive) {
      if (!entry.outgoing && entry.origin_id == id) return true;
    }
  }
  return false;
}

// Every message that was settled was taken, waits no more, or went back; nobody has two homes.
void Check(Sim& sim, bool calm) {
  for (const auto& [id, fate] : sim.fates) {
    SCOPED_TRACE(id + " of " + fate.sender);
    const auto& [memory, number] = sim.sent_by.at(id);
    const bool settled = memory->settled.contains(number);
    const bool done = fate.taken > 0 || fate.bounced > 0;
    if (calm && (settled || !memory->moved)) {
      // What a client sent where it was, and then left where it is: nobody told it that it is safe.
      EXPECT_TRUE(done) << "lost";
    } else if (settled) {
      // A node that dies may have had it in the archive, and not told a session of it.
      EXPECT_TRUE(done || Archived(sim.store, id)) << "lost";
    }
    EXPECT_LE(fate.bounced, 1);
    if (calm) {
      EXPECT_FALSE(fate.taken > 0 && fate.bounced > 0) << "delivered, and sent back";
    }
  }
  std::map<std::string, int> homes;
  for (const auto& node : sim.nodes) {
    for (const auto& [bare, stamp] : node->records) ++homes[bare];
    EXPECT_EQ(node->far->lodgers(), [&] {
      size_t lodgers = 0;
      for (const auto& [id, client] : node->clients) {
        if (!client->open || node->records.contains(client->user.full())) continue;
        ++lodgers;
      }
      return lodgers;
    }());
    for (const auto& [id, client] : node->clients) {
      EXPECT_FALSE(client->arriving);
      EXPECT_EQ(client->memory->settled_twice, 0) << client->full;
      if (calm && client->open) {
        EXPECT_EQ(client->memory->settled.size(), client->memory->sent) << client->full;
      }
    }
  }
  for (const auto& [bare, count] : homes) EXPECT_EQ(count, 1) << bare;
  EXPECT_EQ(homes.size(), static_cast<size_t>(kUsers));
}

int OfEnvironment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}
// MONGOOSE_SIM_ROUNDS of them from MONGOOSE_SIM_SEED on, until one is wrong.
void EachSeed(const std::function<void(int seed)>& day) {
  const int first = OfEnvironment("MONGOOSE_SIM_SEED", 1);
  const int end = first + OfEnvironment("MONGOOSE_SIM_ROUNDS", 400);
  for (int seed = first; seed < end && !testing::Test::HasFailure(); ++seed) day(seed);
}

struct Totals {
  int messages = 0;
  int disordered = 0;
  int64_t doubled = 0;
  int moved = 0;
  uint64_t homes_moved = 0;
  int met = 0;
  int shared = 0;
  int debts_lost = 0;
  int told_in_time = 0;
};

// Whether the homes of some nodes go to others meanwhile.
enum class Homes { kStay, kMove };

void MoveSome(Sim& sim, net::FastRandom& random) {
  if (random.Below(4) != 0) return;
  sim.nodes[random.Below(Count(sim.nodes.size()))]->far->MoveHomes(random.Below(3));
  sim.Collect();
}

// Whether one content goes to many.
enum class Rooms { kNone, kSome };

void SaySome(Sim& sim, net::FastRandom& random) {
  const auto open = sim.Open();
  if (open.empty() || random.Below(8) != 0) return;
  sim.TellMany(*open[random.Below(Count(open.size()))], random);
}

void CalmDay(int seed, Totals& totals, Homes homes = Homes::kStay, Rooms rooms = Rooms::kNone) {
  SCOPED_TRACE("calm seed " + std::to_string(seed));
  Sim sim(static_cast<uint64_t>(seed), 1 + seed % 3 + 1);
  net::FastRandom random(static_cast<uint64_t>(seed));
  for (int i = 0; i < 400; ++i) {
    sim.Step(false);
    if (homes == Homes::kMove) MoveSome(sim, random);
    if (rooms == Rooms::kSome) SaySome(sim, random);
  }
  sim.Evening();
  Check(sim, true);
  EXPECT_EQ(sim.met, 0) << "two homes of one user";
  EXPECT_EQ(sim.slipped, 0);
  totals.disordered += sim.disordered;
  totals.doubled +=
      std::ranges::count_if(sim.fates, [](const auto& one) { return one.second.taken > 1; });
  totals.moved += sim.moved;
  for (const auto& node : sim.nodes) totals.homes_moved += node->far->counters().homes_moved;
  totals.messages += static_cast<int>(sim.fates.size());
  totals.shared += sim.shared;
  for (const auto& node : sim.nodes) EXPECT_EQ(node->far->counters().letters_malformed.load(), 0U);
}

void WildDay(int seed, Totals& totals, Homes homes = Homes::kStay, Rooms rooms = Rooms::kNone) {
  SCOPED_TRACE("wild seed " + std::to_string(seed));
  Sim sim(static_cast<uint64_t>(seed) + 1'000'000, 2 + seed % 3);
  net::FastRandom random(static_cast<uint64_t>(seed));
  for (int i = 0; i < 600; ++i) {
    sim.Step(true);
    if (homes == Homes::kMove) MoveSome(sim, random);
    if (rooms == Rooms::kSome) SaySome(sim, random);
  }
  sim.Evening();
  Check(sim, false);
  for (const auto& node : sim.nodes) totals.homes_moved += node->far->counters().homes_moved;
  totals.met += sim.met;
  totals.debts_lost += sim.debts_lost;
  totals.told_in_time += sim.told_in_time;
  totals.shared += sim.shared;
  for (const auto& node : sim.nodes) EXPECT_EQ(node->far->counters().letters_malformed.load(), 0U);
}

TEST(FarSideTest, OnCalmDaysEveryMessageArrivesOnceWhereverItsUserIs) {
  Totals totals;
  EachSeed([&](int seed) { CalmDay(seed, totals); });
  RecordProperty("messages", totals.messages);
  RecordProperty("disordered", totals.disordered);
  std::printf("%d messages, %d out of order; %d sessions moved\n", totals.messages,
              totals.disordered, totals.moved);
  EXPECT_GT(totals.moved, 0);
}

TEST(FarSideTest, OnWildDaysNothingThatWasCountedIsLostAndHomesFindTogether) {
  Totals totals;
  EachSeed([&](int seed) { WildDay(seed, totals); });
  EXPECT_GT(totals.met, 0);  // there were conflicts to be solved
  // And nodes that went with what moved sessions had under way.
  std::printf("%d met, %d + %d told that they would wait in vain\n", totals.met, totals.debts_lost,
              totals.told_in_time);
  EXPECT_GT(totals.debts_lost + totals.told_in_time, 0);
}

TEST(FarSideTest, OnCalmDaysEveryMessageArrivesOnceThoughHomesMove) {
  Totals totals;
  EachSeed([&](int seed) { CalmDay(seed, totals, Homes::kMove); });
  std::printf("%llu homes moved; of %d messages %d came out of order\n",
              static_cast<unsigned long long>(totals.homes_moved), totals.messages,
              totals.disordered);
  EXPECT_GT(totals.homes_moved, 0U);
}

TEST(FarSideTest, OnWildDaysNothingIsLostThoughHomesMove) {
  Totals totals;
  EachSeed([&](int seed) { WildDay(seed, totals, Homes::kMove); });
  EXPECT_GT(totals.homes_moved, 0U);
}

TEST(FarSideTest, OnCalmDaysWhatIsSaidToManyArrivesOnce) {
  Totals totals;
  EachSeed([&](int seed) { CalmDay(seed, totals, Homes::kMove, Rooms::kSome); });
  std::printf("%d messages, %d with the number of their content\n", totals.messages, totals.shared);
  EXPECT_GT(totals.shared, 0);
}

TEST(FarSideTest, OnWildDaysNothingIsLostOfWhatIsSaidToMany) {
  Totals totals;
  EachSeed([&](int seed) { WildDay(seed, totals, Homes::kMove, Rooms::kSome); });
  EXPECT_GT(totals.shared, 0);
}

// A session took what it had with it, and told of it before its old worker had told the home.
TEST(FarSideTest, WhatWasTakenBeforeItsHomeKnewWhereItWentIsNotAwaited) {
  Totals totals;
  CalmDay(716, totals);
}

// A home gave way to another while messages waited behind those that were read from the store.
TEST(FarSideTest, WhatWaitsBehindWhatIsReadGoesToTheHomeThatStays) {
  Totals totals;
  WildDay(520, totals);
}

// It took something, and the word of that was lost with a link that others did not lose.
TEST(FarSideTest, WhatNobodyTellsTheEndOfIsNotAwaitedForEver) {
  Totals totals;
  WildDay(4849, totals);
  WildDay(514, totals, Homes::kMove);
}

// The node that it came from lost one by which it was to hear, and the one that it is on did not.
TEST(FarSideTest, WhoWouldWaitInVainForWhatItSentIsTold) {
  Totals totals;
  WildDay(4442, totals);
  WildDay(142, totals, Homes::kMove);
}

// A node took a home and died before it had told all others.
TEST(FarSideTest, WhatIsHeldForAHomeThatWasLostIsLetGo) {
  Totals totals;
  WildDay(106, totals, Homes::kMove);
}

// The answer to a guest's claim came while the home was about to go.
TEST(FarSideTest, AClaimIsAnsweredOnceThoughTheHomeIsAboutToGo) {
  Totals totals;
  WildDay(1961, totals, Homes::kMove);
}

// It was still being read when its node went, and its user came and was at home here anew.
TEST(FarSideTest, AHomeThatComesTooLateTakesNothingAlong) {
  Totals totals;
  WildDay(1134, totals, Homes::kMove);
}

// A session was bound at its home behind the end of its node, and stayed there for ever.
TEST(FarSideTest, WhoIsBoundBehindTheEndOfItsNodeIsGone) {
  Totals totals;
  WildDay(3504, totals);
}

// Its home's worker hears what it had been sent only after it has moved once more.
TEST(FarSideTest, WhatIsAwaitedOfASessionThatMovedTwiceFollowsItAndIsLostWithItsLastNode) {
  Sim sim(1, 3);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  sim.Available(client);
  Sim::Client& sender = sim.Connect(0, 1, "s");
  sim.Settle();
  while (client.untaken.size() < 2) {
    sim.Message(sender, 0);
    sim.Settle();
  }
  const size_t waiting = client.untaken.size();
  sim.Resume(client, 1);
  sim.Settle(false);
  ASSERT_EQ(sim.Open().size(), 2U);
  const auto open = sim.Open();
  const auto second = std::ranges::find(open, 1, &Sim::Client::node);
  ASSERT_NE(second, open.end());
  sim.Resume(**second, 2);
  sim.Settle(false);
  Sim::RunPosted(*sim.nodes[0]);
  EXPECT_EQ(sim.nodes[0]->far->awaited(), waiting) << "of the session on the third node";
  sim.Kill(2);
  EXPECT_EQ(sim.nodes[0]->far->awaited(), 0U);
  sim.Evening();
  Check(sim, false);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
}

int Arriving(const Sim& sim, size_t node) {
  return static_cast<int>(std::ranges::count_if(
      sim.nodes[node]->clients, [](const auto& client) { return client.second->arriving; }));
}

// It is on its way back to the node of its home, before that has heard of what it had; and the node
// that it comes from dies with it.
TEST(FarSideTest, WhatIsAwaitedOfASessionThatDoesNotComeBackIsLostWithIt) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  sim.Available(client);
  Sim::Client& sender = sim.Connect(0, 1, "s");
  sim.Settle();
  while (client.untaken.size() < 2) {
    sim.Message(sender, 0);
    sim.Settle();
  }
  const size_t waiting = client.untaken.size();
  sim.Resume(client, 1);
  sim.Settle(false);
  const auto open = sim.Open();
  const auto second = std::ranges::find(open, 1, &Sim::Client::node);
  ASSERT_NE(second, open.end());
  sim.Resume(**second, 0);
  Sim::RunPosted(*sim.nodes[0]);
  EXPECT_EQ(sim.nodes[0]->far->awaited(), waiting) << "of the session that is on its way";
  EXPECT_EQ(Arriving(sim, 0), 1);
  sim.Kill(1);
  EXPECT_EQ(Arriving(sim, 0), 0) << "nobody else will say that it does not come";
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->far->awaited(), 0U);
  sim.Evening();
  Check(sim, false);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
}

TEST(FarSideTest, WhoComesBackIsToldAtOnceThatTheNodeOfItsHomeIsGone) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(1, 0, "r");
  sim.Settle();
  sim.Available(client);
  sim.Settle();
  sim.Resume(client, 0);
  EXPECT_EQ(Arriving(sim, 0), 1) << "the question is under way";
  sim.Kill(1);
  EXPECT_EQ(Arriving(sim, 0), 0);
  sim.Evening();
  Check(sim, false);
}

// As a node is taken out of service: its sessions have gone to others, and their homes go after
// them. Then it ends, and nobody notices.
TEST(FarSideTest, WhoseHomeHasMovedOutlivesTheNodeThatItWasOn) {
  Sim sim(1, 3);
  std::vector<Sim::Client*> clients;
  for (uint64_t user = 0; user < kUsers; ++user) {
    sim.Connect(0, user, "a");
    sim.Settle();
    // Of each user a session on each other node, at home on the first.
    for (int node = 1; node < 3; ++node) {
      clients.push_back(&sim.Connect(node, user, "r" + std::to_string(node)));
      sim.Settle();
      sim.Available(*clients.back());
    }
  }
  sim.Settle();
  for (Sim::Client* client : sim.Open()) {
    if (client->node == 0) sim.nodes[0]->EndOf(*client);
  }
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->records.size(), static_cast<size_t>(kUsers));
  const auto chat = [&] {
    for (Sim::Client* client : clients) {
      for (uint64_t to = 0; to < kUsers; ++to) sim.Message(*client, to);
    }
  };
  chat();
  for (int i = 0; i < 100 && !sim.nodes[0]->records.empty(); ++i) {
    sim.nodes[0]->far->MoveHomes(1);
    for (int n = 0; n < 30; ++n) sim.ArriveSome();
    if (i % 4 == 0) chat();
    for (Sim::Client* client : clients) sim.nodes[Sim::At(client->node)]->Take(*client);
    sim.store.Answer();
  }
  EXPECT_TRUE(sim.nodes[0]->records.empty()) << "at home where they were";
  EXPECT_EQ(sim.nodes[0]->far->counters().homes_moved.load(), static_cast<uint64_t>(kUsers));
  sim.Settle();
  for (int i = 0; i < 3; ++i) {
    for (Sim::Client* client : clients) sim.nodes[Sim::At(client->node)]->Take(*client);
    sim.Settle();
  }
  sim.Kill(0);
  sim.Settle();
  chat();
  for (const Sim::Client* client : clients) {
    EXPECT_TRUE(client->open) << client->full << " was closed";
  }
  sim.Evening();
  Check(sim, false);
  EXPECT_EQ(sim.met, 0);
  for (const auto& [id, fate] : sim.fates) EXPECT_GE(fate.taken, 1) << id;
}

// A node stops while what it gave to sessions elsewhere is acknowledged: nobody gets it once more.
TEST(FarSideTest, WhatASessionElsewhereTookIsNotGivenAgainBehindAStop) {
  for (uint64_t seed = 1; seed <= 200 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Sim sim(seed, 3);
    std::vector<Sim::Client*> clients;
    for (uint64_t user = 0; user < kUsers; ++user) {
      sim.Connect(0, user, "a");
      sim.Settle();
      clients.push_back(&sim.Connect(1 + static_cast<int>(user % 2), user, "r"));
      sim.Settle();
      sim.Available(*clients.back());
    }
    sim.Settle();
    for (int i = 0; i < 20; ++i) {
      for (uint64_t to = 0; to < kUsers; ++to) {
        if (sim.random.Below(3) == 0) sim.Message(*clients[sim.random.Below(kUsers)], to);
      }
      for (int n = 0; n < 10; ++n) sim.ArriveSome();
    }
    for (Sim::Client* client : clients) sim.nodes[Sim::At(client->node)]->Take(*client);
    sim.Stop(0);
    sim.Evening();
    Check(sim, false);
    for (const auto& [id, fate] : sim.fates) EXPECT_LE(fate.taken, 1) << id << " was doubled";
  }
}

// Rooms are found as users are: who was in one hears of it where it is.
TEST(FarSideTest, OfANodeThatIsGoneTheOthersKnowWhatWasAtHomeThere) {
  Sim sim(1, 3);
  for (int node = 0; node < 3; ++node) sim.Connect(node, static_cast<uint64_t>(node), "r");
  sim.Settle();
  sim.nodes[1]->far->Took("den@rooms.example");
  sim.Settle();
  sim.Kill(1);
  for (const int other : {0, 2}) {
    auto& lost = sim.nodes[Sim::At(other)]->homes_lost;
    std::ranges::sort(lost);
    EXPECT_EQ(lost, (std::vector<std::string>{"den@rooms.example", UserName(1)}));
  }
}

// A node of before would send on to where the home was.
TEST(FarSideTest, WhereOneNodeKnowsNothingOfThatHomesStay) {
  Sim sim(1, 2);
  sim.Connect(0, 0, "a");
  sim.Settle();
  Sim::Client& there = sim.Connect(1, 0, "r");
  sim.Settle();
  for (Sim::Client* client : sim.Open()) {
    if (client->node == 0) sim.nodes[0]->EndOf(*client);
  }
  sim.Settle();
  sim.nodes[0]->far->NodeUp(99, "older@host", kLettersWithMovingHomes - 1);
  sim.nodes[0]->far->MoveHomes(1);
  EXPECT_EQ(sim.nodes[0]->far->on_the_way(), 0U);
  EXPECT_EQ(sim.nodes[0]->far->counters().to_move.load(), 0U);
  sim.nodes[0]->far->NodeDown(99);
  sim.nodes[0]->far->MoveHomes(1);
  EXPECT_EQ(sim.nodes[0]->far->on_the_way(), 2U);
  sim.Settle();
  EXPECT_TRUE(there.open);
  EXPECT_TRUE(sim.nodes[0]->records.empty());
  EXPECT_EQ(sim.nodes[1]->far->lodgers(), 0U);
}

// --- Contents that go to a node once (server/c2s/far_side_contents.cc).

// User 0 is at home on the second of two nodes, and what the first has for it is looked at.
class ManyParcels : public testing::Test {
 protected:
  using Content = std::shared_ptr<const std::string>;
  static constexpr auto kRoom = "room@rooms.example/nick";

  ManyParcels() : sim_(1, 2) {
    there_ = &sim_.Connect(1, 0, "r");
    sim_.Settle();
    sim_.Available(*there_);
    sim_.Settle();
  }
  static Content OfBytes(size_t bytes, char letter = 'x') {
    const std::string_view ends = "<body></body>";
    return std::make_shared<const std::string>("<body>" + std::string(bytes - ends.size(), letter) +
                                               "</body>");
  }
  FarSide& from() { return *sim_.nodes[0]->far; }
  FarSide& to() { return *sim_.nodes[1]->far; }
  NodeNumber number(int of, int at) { return sim_.nodes[Sim::At(at)]->numbers.at(of); }

  void Route(const Content& content, int copies = 1) {
    for (; copies > 0; --copies) {
      const std::string id = "m" + std::to_string(sim_.fates.size());
      sim_.fates[id] = {.sender = "room", .number = sim_.fates.size() + 1};
      from().Route(ChatOf(kRoom, UserName(0), id, content));
    }
  }
  std::vector<uint8_t> TakeMail(NodeNumber node) {
    for (NodeMail& mail : from().TakeMail()) {
      if (mail.node == node) return std::move(mail.letters);
    }
    return {};
  }
  void Read(std::span<const uint8_t> letters) {
    while (const auto head = ReadLetterHead(letters)) {
      to().OnMail(number(0, 1), head->kind, letters.subspan(kLetterHeadBytes, head->size));
      letters = letters.subspan(kLetterHeadBytes + head->size);
    }
  }
  // Each came once, in order.
  void ExpectAllTaken() {
    sim_.Settle();
    sim_.nodes[1]->Take(*there_);
    sim_.Settle();
    for (const auto& [id, fate] : sim_.fates) EXPECT_EQ(fate.taken, 1) << id;
    EXPECT_EQ(sim_.disordered, 0);
    EXPECT_EQ(from().routed(), 0U) << "not settled";
    EXPECT_EQ(to().counters().letters_malformed.load(), 0U);
  }
  static size_t Times(std::span<const uint8_t> letters, const std::string& text) {
    size_t times = 0;
    for (auto rest = letters;; ++times) {
      const auto found = std::ranges::search(rest, text);
      if (found.empty()) return times;
      rest = rest.subspan(static_cast<size_t>(found.end() - rest.begin()));
    }
  }

  Sim sim_;
  Sim::Client* there_ = nullptr;
};

TEST_F(ManyParcels, WithOneContentTakeItAlongOnceAndInOrder) {
  const Content content = OfBytes(1000);
  Route(content, 100);
  const auto letters = TakeMail(number(1, 0));
  // The first has it with it, and once it is by itself.
  EXPECT_EQ(Times(letters, *content), 2U);
  EXPECT_LT(letters.size(), 2 * content->size() + 100 * 150);
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, OfSeveralContentsComeEachWithItsOwn) {
  const Content one = OfBytes(100, 'a'), two = OfBytes(100, 'b'), small = OfBytes(40);
  Route(one, 3);
  Route(small, 3);
  Route(one);
  Route(two, 3);
  Route(one, 3);
  const auto letters = TakeMail(number(1, 0));
  EXPECT_EQ(Times(letters, *one), 4U);
  EXPECT_EQ(Times(letters, *two), 2U);
  EXPECT_EQ(Times(letters, *small), 3U) << "it is not worth it";
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, WithContentsOfTheirOwnAreWrittenAsBefore) {
  for (int i = 0; i < 10; ++i) Route(OfBytes(100));  // equal, and not the same
  const auto letters = TakeMail(number(1, 0));
  EXPECT_EQ(Times(letters, *OfBytes(100)), 10U);
  for (auto rest = std::span(letters); const auto head = ReadLetterHead(rest);) {
    EXPECT_EQ(head->kind, LetterKind::kRoute);
    rest = rest.subspan(kLetterHeadBytes + head->size);
  }
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, ToANodeOfBeforeAreWhole) {
  from().NodeUp(number(1, 0), Sim::Node::Name(1), kLettersWithSharedContents - 1);
  const Content content = OfBytes(1000);
  Route(content, 10);
  const auto letters = TakeMail(number(1, 0));
  EXPECT_EQ(Times(letters, *content), 10U);
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, OfTheNextMailSayTheirContentAnew) {
  const Content content = OfBytes(1000);
  for (int mail = 0; mail < 3; ++mail) {
    Route(content, 3);
    const auto letters = TakeMail(number(1, 0));
    EXPECT_EQ(Times(letters, *content), 2U);
    Read(letters);
  }
  EXPECT_EQ(content.use_count(), 1 + 9) << "held by what is not settled alone";
  ExpectAllTaken();
  EXPECT_EQ(content.use_count(), 1);
}

// Of what another mail, or nobody, has said nothing is given to a parcel.
TEST_F(ManyParcels, WithANumberThatDoesNotCountAreDroppedAndCounted) {
  const auto heard = [this](std::initializer_list<Letter> letters) {
    std::vector<uint8_t> bytes;
    for (const Letter& letter : letters) AppendLetter(bytes, letter);
    Read(bytes);
    return to().counters().letters_malformed.load();
  };
  const auto parcel = [&](uint32_t content) {
    const std::string id = "m" + std::to_string(sim_.fates.size());
    sim_.fates[id] = {.sender = "room", .number = sim_.fates.size() + 1};
    return RouteLetter{
        .parcel = ChatOf(kRoom, UserName(0), id, nullptr), .hops = 1, .content = content};
  };
  const Content content = OfBytes(100);
  EXPECT_EQ(heard({parcel(7)}), 1U) << "nothing was said";
  EXPECT_EQ(heard({ContentLetter{7, {}, content}, parcel(7), parcel(8)}), 2U);
  EXPECT_EQ(heard({ContentLetter{8, {}, content}, parcel(7), parcel(8)}), 3U)
      << "it is another now";
  EXPECT_EQ(heard({ContentEndLetter{}, parcel(8)}), 4U) << "it is over";
  EXPECT_EQ(content.use_count(), 1);
  sim_.Settle();
  sim_.nodes[1]->Take(*there_);
  const auto taken = [this](int message) {
    return sim_.fates.at("m" + std::to_string(message)).taken;
  };
  EXPECT_EQ(taken(1) + taken(4), 2);
  EXPECT_EQ(taken(0) + taken(2) + taken(3) + taken(5), 0);
}

// At home on the first node, with sessions on others only: on these.
std::vector<Sim::Client*> GuestsAt(Sim& sim, uint64_t user, const std::vector<int>& nodes) {
  std::vector<Sim::Client*> guests;
  sim.Connect(0, user, "a");
  sim.Settle();
  for (const int node : nodes) {
    guests.push_back(&sim.Connect(node, user, "r" + std::to_string(node)));
    sim.Settle();
    sim.Available(*guests.back());
    sim.Settle();
  }
  for (Sim::Client* client : sim.Open()) {
    if (client->node == 0 && client->user == *Jid::Parse(UserName(user))) {
      sim.nodes[0]->EndOf(*client);
    }
  }
  sim.Settle();
  for (Sim::Client* client : guests) sim.nodes[Sim::At(client->node)]->Take(*client);
  sim.Settle();
  return guests;
}

// That a node holds back was said for a move that was put off: for the next one it says nothing.
TEST(FarSideTest, WhoHeldForAMoveThatWasPutOffIsAskedAgain) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  FarSide& far = *sim.nodes[0]->far;
  far.MoveHomes(1);
  sim.Collect();
  sim.Settle(true, {1, 0});  // its answer is on the way
  EXPECT_TRUE(far.Leaves(UserName(0)));
  sim.Pass(FarSide::kMoveTime + std::chrono::milliseconds(1));
  EXPECT_FALSE(far.Leaves(UserName(0)));
  sim.Settle(true, {1, 0});
  sim.Message(*guests[0], 1);
  sim.Collect();
  sim.Pass(FarSide::kMoveAgain);
  far.MoveHomes(1);
  sim.Collect();
  ASSERT_TRUE(far.Leaves(UserName(0)));
  sim.Arrive(1, 0);  // the answer, without what was sent behind it
  sim.Settle(true, {1, 0});
  sim.Settle();
  EXPECT_TRUE(guests[0]->open);
  EXPECT_EQ(guests[0]->memory->settled.size(), guests[0]->memory->sent);
  sim.Evening();
  Check(sim, false);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
}

// Nobody waits for ever for what comes to where its home is not.
TEST(FarSideTest, WhoSendsToANodeThatItIsNotAtHomeOnEnds) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  std::vector<uint8_t> mail;
  ASSERT_TRUE(AppendLetter(
      mail, ArriveLetter{client.id, client.user,
                         *ParseStanza("<presence xmlns='jabber:client'/>", kClientSpace), 1}));
  sim.links[{0, 1}].push_back({std::move(mail), {}, 0});
  sim.Settle();
  EXPECT_EQ(client.closed, net::StreamError::kReset);
}

// It was not asked to hold anything back, nor whether it knows how to.
TEST(FarSideTest, WhenANodeComesUpHomesThatWereAboutToGoStay) {
  Sim sim(1, 2);
  GuestsAt(sim, 0, {1});
  FarSide& far = *sim.nodes[0]->far;
  for (const uint8_t version : {kLettersVersion, uint8_t{kLettersWithMovingHomes - 1}}) {
    SCOPED_TRACE(static_cast<int>(version));
    far.MoveHomes(1);
    EXPECT_EQ(far.on_the_way(), 2U);
    far.NodeUp(99, "new@host", version);
    EXPECT_EQ(far.on_the_way(), 0U);
    sim.Settle();
    EXPECT_EQ(sim.nodes[0]->records.size(), 1U);
    far.NodeDown(99);
    sim.Pass(FarSide::kMoveAgain);
  }
}

// What it had been sent is sent anew before what was held back behind that.
TEST(FarSideTest, WhatWasHeldForANodeThatIsGoneComesBehindWhatItHadBeenSent) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {2});
  Sim::Client& sender = sim.Connect(1, 1, "s");
  sim.Settle();
  sim.nodes[0]->far->MoveHomes(1);
  sim.Message(sender, 0);  // on its way when it is asked to hold
  sim.Collect();
  sim.Settle(true, {1, 0});
  sim.Message(sender, 0);
  sim.Settle(true, {1, 0});
  EXPECT_EQ(sim.nodes[1]->far->on_the_way(), 1U);
  sim.Kill(0);
  sim.Evening();
  Check(sim, false);
  EXPECT_EQ(sim.disordered, 0);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
}

// By way of the old home, and then of the new one.
TEST(FarSideTest, WhatAUserSendsWhileItsHomeMovesKeepsItsOrder) {
  Sim sim(1, 4);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  Sim::Client& receiver = sim.Connect(3, 1, "x");
  sim.Settle();
  sim.Available(receiver);
  sim.Settle();
  sim.nodes[0]->far->MoveHomes(1);
  sim.Message(*guests[1], 1);
  // Slow, from here on, is the way from the old home to the receiver: it holds, and says so.
  sim.Collect();
  sim.Arrive(0, 3);
  for (int i = 0; i < 4; ++i) {
    sim.Settle(true, {0, 3});
    sim.Pass(std::chrono::milliseconds(100));
  }
  sim.Message(*guests[1], 1);
  sim.Settle(true, {0, 3});
  sim.Settle();
  sim.Pass(std::chrono::milliseconds(100));
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->far->counters().homes_moved.load(), 1U);
  sim.Evening();
  Check(sim, false);
  EXPECT_EQ(sim.disordered, 0);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
}

// It told one that the home is with it, and died before it told the others.
TEST(FarSideTest, AHomeThatWasLostOnItsWayIsNowhere) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  sim.nodes[0]->far->MoveHomes(1);
  sim.Collect();
  for (const int node : {1, 2}) {
    sim.Arrive(0, node);
    sim.Collect();
    sim.Arrive(node, 0);
    sim.Collect();
  }
  for (int i = 0; i < 10; ++i) sim.Settle(true, {1, 0});
  EXPECT_TRUE(sim.nodes[1]->records.contains(UserName(0)));
  EXPECT_TRUE(sim.nodes[0]->far->Leaves(UserName(0)));
  sim.Kill(1);
  EXPECT_FALSE(guests[1]->open) << "it was at home there";
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->far->guests(), 0U);
  EXPECT_TRUE(sim.nodes[0]->records.empty());
  EXPECT_EQ(sim.nodes[0]->far->on_the_way() + sim.nodes[2]->far->on_the_way(), 0U);
  sim.Evening();
  Check(sim, false);
}

// The other of two homes went before this one was told that it has to go.
TEST(FarSideTest, AHomeWithoutAnotherStays) {
  Sim sim(1, 2);
  Sim::Client& client = sim.Connect(0, 0, "r");
  sim.Settle();
  sim.nodes[0]->records.clear();  // the record was taken away for another's
  sim.nodes[0]->far->LostHome(UserName(0));
  sim.Settle();
  EXPECT_TRUE(client.open);
  EXPECT_TRUE(sim.nodes[0]->records.contains(UserName(0)));
  sim.Evening();
  Check(sim, false);
}

TEST(FarSideTest, ANodeThatStopsTakesNoHomes) {
  Sim sim(1, 2);
  const auto guests = GuestsAt(sim, 0, {1});
  FarSide& far = *sim.nodes[0]->far;
  sim.nodes[1]->far->BeginStop();
  far.MoveHomes(1);
  sim.Settle();
  EXPECT_EQ(far.counters().homes_moved.load(), 0U);
  EXPECT_EQ(far.on_the_way() + sim.nodes[1]->far->on_the_way(), 0U);
  EXPECT_TRUE(sim.nodes[0]->records.contains(UserName(0)));
  EXPECT_TRUE(guests[0]->open);
}

TEST(FarSideTest, AHomeWhoseSessionsAreToldToEndIsNotGivenAway) {
  Sim sim(1, 2);
  const auto guests = GuestsAt(sim, 0, {1});
  FarSide& far = *sim.nodes[0]->far;
  far.MoveHomes(1);
  far.CloseGuests();
  EXPECT_EQ(far.on_the_way(), 0U);
  sim.Settle();
  EXPECT_EQ(guests[0]->closed, net::StreamError::kReset);
  EXPECT_EQ(far.counters().homes_moved.load(), 0U);
  EXPECT_EQ(far.guests(), 0U);
}

// Two homes of a user met: what was held for one that moved is for the one that is here.
TEST(FarSideTest, WhatIsHeldWhereTheUserIsAtHomeMeanwhileIsLetGo) {
  Sim sim(1, 3);
  GuestsAt(sim, 0, {1});
  sim.nodes[0]->far->MoveHomes(1);
  sim.Collect();
  sim.Arrive(0, 2);
  EXPECT_EQ(sim.nodes[2]->far->on_the_way(), 1U);
  sim.nodes[2]->far->Took(UserName(0));
  std::vector<uint8_t> mail;
  ASSERT_TRUE(AppendLetter(mail, HomeHereLetter{*Jid::Parse(UserName(0)), {}}));
  sim.nodes[2]->far->OnMail(sim.nodes[2]->numbers.at(1), LetterKind::kHomeHere,
                            std::span(mail).subspan(kLetterHeadBytes));
  EXPECT_EQ(sim.nodes[2]->far->on_the_way(), 0U);
}

}  // namespace
}  // namespace server
