// Homes that lose rooms, and homes that go to other nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/im/home_fixture.h"

namespace server {
namespace {

// The node of a room is gone, and nobody there can say so.
TEST(HomeRoomsTest, WhoIsInARoomThatIsGoneIsToldOnceAndNobodyElse) {
  const std::string service = "conference.a.example";
  const std::string den = "den@" + service, hall = "hall@" + service;
  World world(1, {}, {.services = {service}});
  for (const std::string name : {"alice", "bob"}) {
    world.Account(name);
    world.Connect(name + "/x");
    world.Send(name + "/x", "<presence/>");
    for (const std::string& room : {den, hall}) {
      world.Send(name + "/x", "<presence to='" + room + "/" + name +
                                  "'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    }
    while (world.Next(name + "/x")) {
    }
  }
  // Bob was put out of the den.
  world.Route(MakePresence(StanzaType::kUnavailable, *Jid::Parse(den + "/bob"),
                           *Jid::Parse("bob@a.example/x")));
  world.Run();
  EXPECT_TRUE(world.Next("bob/x").has_value());
  for (int i = 0; i < 2; ++i) {
    world.HomeOf("alice@a.example").RoomsLost({den, "yard@" + service});
    world.Run();
  }
  const std::string told = world.Next("alice/x").value_or("");
  EXPECT_THAT(told, testing::HasSubstr("from='" + den + "/alice'"));
  EXPECT_THAT(told, testing::HasSubstr("type='unavailable'"));
  EXPECT_THAT(told, testing::HasSubstr("<status code='110'/><status code='332'/>"));
  EXPECT_FALSE(world.Next("alice/x").has_value()) << "she is in the hall still";
  EXPECT_FALSE(world.Next("bob/x").has_value());
}

// What another node's home has of a user comes as it was there.
TEST(HomeMovesTest, AHomeThatIsTakenInIsTheOneThatWent) {
  World world(1);
  world.Account("alice");
  Home& home = world.HomeOf("alice@a.example");
  for (const std::string client : {"alice/a", "alice/b"}) {
    world.Connect(client);
    world.Send(client, "<presence><show>away</show><priority>3</priority></presence>");
  }
  world.Send("alice/b", "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
  world.Send("alice/b", "<presence to='bob@a.example/z'/>");
  while (world.Next("alice/a") || world.Next("alice/b")) {
  }
  ASSERT_TRUE(home.MayMove("alice@a.example"));
  const auto before = home.Sessions("alice@a.example");
  ASSERT_EQ(before.size(), 2U);
  EXPECT_EQ(before[1].directed, std::vector<std::string>{"bob@a.example/z"});
  EXPECT_TRUE(before[1].carbons && before[0].available);
  home.Drop("alice@a.example");
  world.Run();
  EXPECT_EQ(world.Closed("alice/a"), "") << "nobody is told";
  EXPECT_FALSE(world.Next("alice/b").has_value());
  bool taken = false;
  home.TakeIn(*Jid::Parse("alice@a.example"), before, [&](bool good) { taken = good; });
  world.Run();
  EXPECT_TRUE(taken);
  const auto after = home.Sessions("alice@a.example");
  ASSERT_EQ(after.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].resource, before[i].resource);
    EXPECT_EQ(after[i].presence, before[i].presence);
    EXPECT_EQ(after[i].directed, before[i].directed);
    EXPECT_EQ(after[i].priority, before[i].priority);
    EXPECT_EQ(after[i].carbons, before[i].carbons);
    EXPECT_EQ(after[i].available, before[i].available);
  }
  world.Send("alice/a", "<message to='alice@a.example/b' type='chat'><body>hi</body></message>");
  EXPECT_THAT(world.Next("alice/b").value_or(""), testing::HasSubstr("<body>hi</body>"));
  bool refused = false;
  home.TakeIn(*Jid::Parse("nobody@a.example"), before, [&](bool good) { refused = !good; });
  world.Run();
  EXPECT_TRUE(refused);
}

// An answer that is still to come is the old home's to give.
TEST(HomeMovesTest, WhoWaitsForAnAnswerKeepsTheHomeWhereItIs) {
  World world(1);
  world.Account("alice");
  world.Connect("alice/a");
  world.Send("alice/a", "<presence/>");
  Home& home = world.HomeOf("alice@a.example");
  EXPECT_TRUE(home.MayMove("alice@a.example"));
  world.store.stalled = true;
  world.Send("alice/a",
             "<iq type='set' id='r'><query xmlns='jabber:iq:roster'>"
             "<item jid='bob@a.example'/></query></iq>");
  EXPECT_FALSE(home.MayMove("alice@a.example"));
  world.store.stalled = false;
  world.Run();
  EXPECT_TRUE(home.MayMove("alice@a.example"));
  EXPECT_FALSE(home.MayMove("bob@a.example")) << "it is not at home here";
}

}  // namespace
}  // namespace server
