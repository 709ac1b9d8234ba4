// Days of a few users over several nodes: letters and records are on their way as long as chance
// has it, nodes lose each other and come back or are killed, sessions come and go on any of them;
// then the books are opened. The same seed is the same day.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "net/base/random.h"
#include "server/im/letter_dealer.h"
#include "tests/server/c2s/far_side_sim_node.h"

namespace server {

inline uint32_t Count(size_t size) { return static_cast<uint32_t>(size); }

inline std::string UserName(uint64_t i) {
  return "u" + std::to_string(i) + "@" + std::string(kDomain);
}

// As a room writes it: others have the same content.
inline Parcel ChatOf(const std::string& from, const std::string& to, const std::string& id,
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

class Sim : public SimWorld {
 public:
  using Client = SimClient;
  using Node = SimNode;

  Sim(uint64_t seed, int count) : SimWorld(seed) {
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
      node.others[other] = {};
      if (!late) Reach(me, other);
      for (const auto& [bare, stamp] : nodes[At(other)]->records) {
        links[{other, me}].push_back({{}, {.bare = bare, .gone = false}, stamp});
      }
    }
  }
  // The relation with it has begun: its deputy hears of it.
  void Reach(int me, int other) {
    Node& node = *nodes[At(me)];
    if (std::exchange(node.others.at(other).reached, true)) return;
    const NodeNumber number = node.numbers.at(other);
    node.far->NodeUp(number, Node::Name(other), kLettersVersion);
    for (const auto& [bare, stamp] : node.others.at(other).records) {
      node.far->Recorded(bare, number, stamp);
    }
    JudgeLosses(node);
  }
  void ReachAll() {
    for (const auto& node : nodes) {
      for (const auto& [other, number] : node->numbers) Reach(node->index, other);
    }
  }
  void JudgeLosses(Node& node) {
    const auto owner_of = [&](const std::string& bare) {
      if (node.records.contains(bare)) return HomeLosses::Owner::kThisNode;
      for (const auto& [other, known] : node.others) {
        if (!known.records.contains(bare)) continue;
        return known.reached ? HomeLosses::Owner::kReached : HomeLosses::Owner::kUnreached;
      }
      return HomeLosses::Owner::kNobody;
    };
    for (const std::string& bare : node.losses.Judge(owner_of)) node.far->LostHome(bare);
  }
  void Part(int a, int b) {
    if (!Related(a, b)) return;
    nodes[At(a)]->others.erase(b);
    nodes[At(b)]->others.erase(a);
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
      nodes[At(other)]->others.erase(dead);
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
      if (busy) busy();
      for (int n = 0; n < 20; ++n) ArriveSome();
      store.Answer();
    };
    for (int i = 0; i < 30 && node.far->guests() > 0; ++i) {
      node.far->MoveHomes(FarSide::kMovesMax);
      some();
    }
    node.far->CloseGuests();
    for (int i = 0; i < 30 && node.far->guests() + node.far->routed() > 0; ++i) some();
    node.far->TakeNoMore();
    for (int i = 0; i < 30 && node.store_busy(); ++i) some();
    // Until its last words are there, more comes.
    if (busy) busy();
    for (int n = 0; n < 20; ++n) ArriveSome();
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
      Reach(to, from);  // nothing is sent before a relation
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
    Node::Other& other = node.others.at(from);
    if (mail.home.gone) {
      other.records.erase(mail.home.bare);
      if (other.reached) node.far->Erased(mail.home.bare, number);
      return JudgeLosses(node);
    }
    other.records[mail.home.bare] = mail.stamp;
    if (other.reached) node.far->Recorded(mail.home.bare, number, mail.stamp);
    const auto own = node.records.find(mail.home.bare);
    if (own == node.records.end() || own->second > mail.stamp) return;
    if (!node.far->Leaves(mail.home.bare)) ++met;  // else it is the one that it becomes
    node.records.erase(own);
    for (const auto& [all, peer] : node.numbers) {
      links[{to, all}].push_back({{}, {.bare = mail.home.bare, .gone = true}, 0});
    }
    node.losses.Add(mail.home.bare);
    JudgeLosses(node);
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
    for (auto& node : nodes) {
      JudgeLosses(*node);
      node->Tick();
    }
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
    ReachAll();
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

  std::vector<std::unique_ptr<Node>> nodes;
  std::function<void()> busy;  // meanwhile
  std::vector<std::unique_ptr<Client>> killed;
  std::vector<Client*> waiting;
  std::map<std::pair<int, int>, std::deque<Mail>> links;
  bool late = false;  // nodes that meet know each other's records for a while before they speak
  int met = 0;
  int shared = 0;  // parcels that came with the number of their content
};

inline bool Archived(const MapStore& store, const std::string& id) {
  for (const auto& [user, rows] : store.users) {
    for (const auto& [number, entry] : rows.archive) {
      if (!entry.outgoing && entry.origin_id == id) return true;
    }
  }
  return false;
}

// Every message that was settled was taken, waits no more, or went back; nobody has two homes.
inline void Check(Sim& sim, bool calm) {
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

// The day ends, and each message was taken, once.
inline void EveningBringsEachOnce(Sim& sim) {
  sim.Evening();
  Check(sim, false);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
}

// At home on the first node, with sessions on others only: on these.
inline std::vector<Sim::Client*> GuestsAt(Sim& sim, uint64_t user, const std::vector<int>& nodes) {
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

}  // namespace server
