// Homes that go to other nodes.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "tests/server/c2s/far_side_sim.h"

namespace server {
namespace {

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

// Who is sent to was there: the node that stops has it stored, or leaves it to others, not both.
TEST(FarSideTest, WhatANodeThatStopsHasStoredIsNotStoredByAnother) {
  constexpr uint64_t kSenders = 2;
  for (uint64_t seed = 1; seed <= 200 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Sim sim(seed, 3);
    std::vector<Sim::Client*> senders;
    for (uint64_t user = 0; user < kUsers; ++user) {
      const bool sends = user < kSenders;
      Sim::Client& client = sim.Connect(sends ? 1 + static_cast<int>(user) : 0, user, "r");
      sim.Settle();
      sim.Available(client);
      if (sends) senders.push_back(&client);
    }
    sim.Settle();
    sim.busy = [&] {
      const uint64_t to = kSenders + sim.random.Below(kUsers - kSenders);
      sim.Message(*senders[sim.random.Below(kSenders)], to);
    };
    for (int i = 0; i < 20; ++i) sim.busy();
    sim.Stop(0);
    sim.busy = nullptr;
    sim.Settle();
    for (uint64_t user = kSenders; user < kUsers; ++user) {
      Sim::Client& late = sim.Connect(1, user, "late");
      sim.Settle();
      sim.Available(late);
      sim.Settle();
      sim.nodes[1]->Take(late);
    }
    sim.Evening();
    for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
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
  EveningBringsEachOnce(sim);
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
  EveningBringsEachOnce(sim);
  EXPECT_EQ(sim.disordered, 0);
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
  EveningBringsEachOnce(sim);
  EXPECT_EQ(sim.disordered, 0);
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

// --- What is held has a bound.

Parcel ChatTo(uint64_t user, const std::string& id, size_t bytes) {
  return ChatOf(
      "den@rooms.example/x", UserName(user), id,
      std::make_shared<const std::string>("<body>" + std::string(bytes, 'x') + "</body>"));
}

TEST(FarSideTest, AHomeForWhichTooMuchIsHeldBeforeItGoesStays) {
  for (const size_t bytes : {size_t{10}, FarSide::kHeldBytesMax / 8}) {
    SCOPED_TRACE(bytes);
    Sim sim(1, 2);
    const auto guests = GuestsAt(sim, 0, {1});
    FarSide& far = *sim.nodes[0]->far;
    far.MoveHomes(1);
    EXPECT_TRUE(far.Leaves(UserName(0)));
    size_t said = 0;
    while (far.Leaves(UserName(0)) && said < 2 * FarSide::kHeldMax) {
      const std::string id = "m" + std::to_string(said++);
      sim.fates[id] = {.sender = "room", .number = said};
      far.Route(ChatTo(0, id, bytes));
    }
    EXPECT_LE(said, bytes == 10 ? FarSide::kHeldMax + 1 : 9U);
    EXPECT_EQ(far.on_the_way(), 0U);
    EXPECT_EQ(far.counters().moves_failed.load(), 1U);
    sim.Settle();
    sim.nodes[1]->Take(*guests[0]);
    sim.Settle();
    EXPECT_EQ(sim.disordered, 0);
    for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 1) << id;
  }
}

TEST(FarSideTest, WhereTooMuchIsHeldForAnotherNodesHomeMessagesGoBack) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1});
  sim.Connect(2, 1, "s");
  sim.Settle();
  sim.nodes[0]->far->MoveHomes(1);
  sim.Collect();
  sim.Arrive(0, 2);
  FarSide& far = *sim.nodes[2]->far;
  ASSERT_EQ(far.on_the_way(), 1U);
  for (size_t i = 0; i < FarSide::kHeldMax + 10; ++i) {
    const std::string id = "m" + std::to_string(i);
    sim.fates[id] = {.sender = "room", .number = i + 1};
    Parcel parcel = ChatTo(0, id, 10);
    parcel.from = *Jid::Parse(UserName(1));
    sim.nodes[2]->Route(std::move(parcel));
  }
  EXPECT_EQ(far.counters().held_refused.load(), 10U);
  const Sim::Client& late = sim.Connect(2, 0, "late");
  EXPECT_FALSE(late.open) << "it is told that it is too much";
  sim.Settle();
  sim.nodes[1]->Take(*guests[0]);
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->far->counters().homes_moved.load(), 1U);
  EXPECT_EQ(std::ranges::count_if(sim.fates, [](const auto& one) { return one.second.taken == 1; }),
            static_cast<int>(FarSide::kHeldMax));
  EXPECT_EQ(
      std::ranges::count_if(sim.fates, [](const auto& one) { return one.second.bounced == 1; }),
      10);
}

// --- Who takes a home is slow to read it.

size_t OnTheWay(const Sim& sim) {
  size_t count = 0;
  for (const auto& node : sim.nodes) count += node->far->on_the_way();
  return count;
}
void PassSeconds(Sim& sim, int seconds, std::pair<int, int> slow = {-1, -1}) {
  for (int i = 0; i < 2 * seconds; ++i) {
    sim.Pass(std::chrono::milliseconds(500));
    sim.Settle(true, slow);
  }
}

TEST(FarSideTest, WhileAHomeIsReadWhereItGoesNobodyTakesItForLost) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  Sim::Client& sender = sim.Connect(2, 1, "s");
  sim.Settle();
  sim.store.stalled = true;
  sim.nodes[0]->far->MoveHomes(1);
  PassSeconds(sim, 1);
  sim.Message(sender, 0);
  PassSeconds(sim, 11);
  EXPECT_TRUE(sim.nodes[0]->far->Leaves(UserName(0)));
  EXPECT_TRUE(guests[0]->open && guests[1]->open);
  sim.store.stalled = false;
  sim.Settle();
  EXPECT_EQ(sim.nodes[0]->far->counters().homes_moved.load(), 1U);
  EXPECT_EQ(OnTheWay(sim), 0U);
  EXPECT_TRUE(guests[0]->open && guests[1]->open);
  sim.Evening();
  Check(sim, false);
  for (const auto& [id, fate] : sim.fates) EXPECT_EQ(fate.taken, 2) << id << " by both";
}

TEST(FarSideTest, AHomeThatIsNotReadForTooLongIsAskedBackAndMayGoLater) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1});
  FarSide& far = *sim.nodes[0]->far;
  sim.store.stalled = true;
  far.MoveHomes(1);
  PassSeconds(sim, 17);
  EXPECT_FALSE(far.Leaves(UserName(0)));
  EXPECT_EQ(OnTheWay(sim), 0U);
  EXPECT_TRUE(guests[0]->open);
  // Once more, while the first time is being read still.
  PassSeconds(sim, 6);
  far.MoveHomes(1);
  PassSeconds(sim, 1);
  EXPECT_EQ(far.counters().homes_moved.load(), 0U);
  sim.store.stalled = false;
  PassSeconds(sim, 6);
  EXPECT_TRUE(sim.nodes[0]->records.contains(UserName(0)));
  EXPECT_EQ(sim.nodes[1]->home_users(), 0U) << "it was let go";
  far.MoveHomes(1);
  sim.Settle();
  EXPECT_EQ(far.counters().homes_moved.load(), 1U);
  EXPECT_TRUE(guests[0]->open);
  sim.Evening();
  Check(sim, false);
}

TEST(FarSideTest, WhoTookAHomeAndNeverAnswersHasLostIt) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  FarSide& far = *sim.nodes[0]->far;
  far.MoveHomes(1);
  sim.Collect();
  for (const int node : {1, 2}) {
    sim.Arrive(0, node);
    sim.Collect();
    sim.Arrive(node, 0);
    sim.Collect();
  }
  sim.Settle(true, {1, 0});
  ASSERT_TRUE(far.Leaves(UserName(0)));
  PassSeconds(sim, 19, {1, 0});
  EXPECT_TRUE(far.Leaves(UserName(0)));
  PassSeconds(sim, 2, {1, 0});
  EXPECT_FALSE(far.Leaves(UserName(0)));
  EXPECT_EQ(far.on_the_way(), 0U);
  sim.Settle();
  sim.Evening();
  Check(sim, false);
}

// --- Orders about a user whose home is on its way.

TEST(FarSideTest, AnOrderForAHomeThatIsOnItsWayIsDoneWhereItIsThen) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  FarSide& far = *sim.nodes[0]->far;
  std::vector<std::string> at;
  const auto order = [&] { at.push_back(far.NodeOf(UserName(0))); };
  EXPECT_TRUE(far.WhenThere(UserName(0), order));
  EXPECT_EQ(at, (std::vector<std::string>{""})) << "nothing is under way";
  far.MoveHomes(1);
  EXPECT_FALSE(far.Given(UserName(0))) << "it is here, and may be put off";
  sim.store.stalled = true;
  sim.Settle();
  ASSERT_TRUE(far.Given(UserName(0)));
  EXPECT_TRUE(far.WhenThere(UserName(0), order));
  EXPECT_EQ(at.size(), 1U);
  sim.store.stalled = false;
  sim.Settle();
  EXPECT_EQ(at, (std::vector<std::string>{"", Sim::Node::Name(1)}));
}

TEST(FarSideTest, AnOrderForAHomeThatWasNotTakenIsDoneWhereItStays) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  FarSide& far = *sim.nodes[0]->far;
  far.MoveHomes(1);
  sim.store.stalled = true;
  sim.Settle();
  ASSERT_TRUE(far.Given(UserName(0)));
  bool done = false;
  EXPECT_TRUE(far.WhenThere(UserName(0), [&] { done = far.NodeOf(UserName(0)).empty(); }));
  sim.store.stalled = false;
  sim.store.fails = StoreError::kDown;
  sim.Settle();
  sim.store.fails = std::nullopt;
  EXPECT_TRUE(done);
  EXPECT_TRUE(sim.nodes[0]->records.contains(UserName(0)));
}

// The account is removed while its home is read where it goes.
TEST(FarSideTest, WhoIsExpelledWhileItsHomeIsOnItsWayIsGoneEverywhere) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  FarSide& far = *sim.nodes[0]->far;
  sim.store.stalled = true;
  far.MoveHomes(1);
  sim.Settle();
  ASSERT_TRUE(far.Given(UserName(0)));
  // By the third node, whose word the sessions' nodes hear before that of the old home.
  sim.nodes[2]->far->Expel(*Jid::Parse(UserName(0)), "the account was removed");
  sim.Settle(true, {2, 0});
  sim.store.stalled = false;
  sim.Settle(true, {2, 0});
  sim.Settle();
  for (const Sim::Client* guest : guests) {
    EXPECT_EQ(guest->closed, net::StreamError::kNotAuthorized) << guest->full;
  }
  for (const auto& node : sim.nodes) EXPECT_TRUE(node->records.empty());
  EXPECT_EQ(OnTheWay(sim), 0U);
}

// --- What cannot come to rest while the home is about to go.

TEST(FarSideTest, AHomeWhoseSessionIsResumedStaysAtOnceAndGoesSoonAfterwards) {
  for (const int at : {0, 2}) {
    SCOPED_TRACE(at);
    Sim sim(1, 3);
    const auto guests = GuestsAt(sim, 0, {1});
    FarSide& far = *sim.nodes[0]->far;
    far.MoveHomes(1);
    sim.Collect();
    if (at == 0) {
      sim.Resume(*guests[0], at);
    } else {  // on its way before that node is told
      sim.Arrive(0, 1);
      sim.Resume(*guests[0], at);
      sim.Collect();
      sim.Arrive(2, 0);
    }
    EXPECT_FALSE(far.Leaves(UserName(0)));
    sim.Settle();
    ASSERT_EQ(sim.Open().size(), 1U);
    Sim::Client& client = *sim.Open().front();
    EXPECT_EQ(client.node, at) << "without a wait";
    EXPECT_EQ(OnTheWay(sim), 0U);
    sim.Pass(FarSide::kMoveSoon);
    far.MoveHomes(1);
    sim.Settle();
    EXPECT_EQ(far.counters().homes_moved.load(), at == 0 ? 0U : 1U);
    EXPECT_TRUE(client.open);
    sim.Evening();
    Check(sim, false);
  }
}

// Its end is held where it was, until the home has gone; and the home waits for it.
TEST(FarSideTest, AHomeWhoseSessionLosesSomethingStaysAtOnceAndGoesSoonAfterwards) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  Sim::Client& sender = sim.Connect(0, 1, "s");
  sim.Settle();
  while (guests[0]->untaken.empty()) {
    sim.Message(sender, 0);
    sim.Settle();
  }
  FarSide& far = *sim.nodes[0]->far;
  far.MoveHomes(1);
  sim.Settle();
  ASSERT_TRUE(far.Leaves(UserName(0))) << "what it was given is not taken";
  sim.nodes[1]->EndOf(*guests[0]);
  sim.Settle();
  EXPECT_EQ(OnTheWay(sim), 0U);
  EXPECT_EQ(far.counters().moves_failed.load(), 1U);
  sim.nodes[2]->Take(*guests[1]);
  sim.Settle();
  sim.Pass(FarSide::kMoveSoon);
  far.MoveHomes(1);
  sim.Settle();
  EXPECT_EQ(far.counters().homes_moved.load(), 1U);
  EXPECT_TRUE(sim.nodes[2]->records.contains(UserName(0)));
  EXPECT_TRUE(guests[1]->open);
  sim.Evening();
  Check(sim, false);
}

// The same of one that was not there any more when it was given that.
TEST(FarSideTest, AHomeThatGaveSomethingToASessionThatIsNoMoreStaysAtOnce) {
  Sim sim(1, 3);
  const auto guests = GuestsAt(sim, 0, {1, 2});
  Sim::Client& sender = sim.Connect(2, 1, "s");
  sim.Settle();
  FarSide& far = *sim.nodes[0]->far;
  far.MoveHomes(1);
  sim.Collect();
  sim.Arrive(0, 1);  // it holds
  sim.nodes[1]->EndOf(*guests[0]);
  sim.Message(sender, 0);  // on its way before the other holds
  sim.Collect();
  while (!sim.links[{2, 0}].empty()) sim.Arrive(2, 0);
  sim.Settle(true, {0, 2});
  EXPECT_FALSE(far.Leaves(UserName(0)));
  sim.Settle();
  EXPECT_EQ(OnTheWay(sim), 0U);
  EveningBringsEachOnce(sim);
}

}  // namespace
}  // namespace server
