// Rooms of a worker: how they come and go, what is durable, what a fan-out is made of, bounds.
#include "server/muc/muc_host.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/server/muc/muc_world.h"

namespace server {
namespace {

constexpr char kRoom[] = "coven@rooms.a.example";
constexpr char kJoin[] = "<x xmlns='http://jabber.org/protocol/muc'/>";

class MucHostTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"alice", "bob", "carol"}) world_->Account(name);
    for (const char* client : {"alice/pc", "bob/desk", "carol/web"}) Online(client);
  }
  void Online(const std::string& client) {
    world_->Connect(client);
    world_->Send(client, "<presence/>");
    Drain(client);
  }
  std::vector<std::string> Drain(const std::string& client) {
    std::vector<std::string> all;
    while (auto next = world_->Next(client)) all.push_back(std::move(*next));
    return all;
  }
  std::string Text(const std::string& client) {
    std::string text;
    for (const std::string& one : Drain(client)) (text += one) += '\n';
    return text;
  }
  void Enter(const std::string& client, const std::string& nick) {
    world_->Send(client,
                 std::string("<presence to='") + kRoom + "/" + nick + "'>" + kJoin + "</presence>");
  }
  void Configure(const std::string& client, const std::string& fields) {
    world_->Send(client, std::string("<iq type='set' id='c' to='") + kRoom +
                             "'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                             "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
                             "http://jabber.org/protocol/muc#roomconfig</value></field>" +
                             fields + "</x></query></iq>");
  }
  static std::string Field(const std::string& name, const std::string& value) {
    return "<field var='muc#roomconfig_" + name + "'><value>" + value + "</value></field>";
  }
  void Say(const std::string& client, const std::string& body, const std::string& id = "m") {
    world_->Send(client, std::string("<message type='groupchat' id='") + id + "' to='" + kRoom +
                             "'><body>" + body + "</body></message>");
  }
  void Make(const std::string& fields = Field("persistentroom", "1")) {
    Enter("alice/pc", "first");
    Configure("alice/pc", fields);
    Drain("alice/pc");
  }

  std::unique_ptr<MucWorld> world_ = std::make_unique<MucWorld>();
};

TEST_F(MucHostTest, ARoomThatStaysIsThereAfterARestartWithAllThatItHad) {
  Make(Field("persistentroom", "1") + Field("roomname", "Dark &amp; cave") +
       Field("membersonly", "1"));
  world_->Send("alice/pc", std::string("<iq type='set' id='m' to='") + kRoom +
                               "'><query xmlns='http://jabber.org/protocol/muc#admin'>"
                               "<item affiliation='member' jid='bob@a.example' nick='hag'/>"
                               "<item affiliation='outcast' jid='carol@a.example'>"
                               "<reason>T</reason></item></query></iq>");
  world_->Send("alice/pc", std::string("<message type='groupchat' to='") + kRoom +
                               "'><subject>Fire</subject></message>");
  Say("alice/pc", "said before");
  const std::string before = Text("alice/pc");
  const size_t at = before.find("occupant-id");
  ASSERT_NE(at, std::string::npos);
  const std::string id = before.substr(before.find("id='", at), 48);

  world_->Restart();
  Enter("bob/desk", "hag");
  const std::string welcome = Text("bob/desk");
  EXPECT_NE(welcome.find("affiliation='member'"), std::string::npos) << welcome;
  EXPECT_NE(welcome.find("<body>said before</body>"), std::string::npos) << welcome;
  EXPECT_NE(welcome.find("<subject>Fire</subject>"), std::string::npos) << welcome;
  EXPECT_LT(welcome.find("said before"), welcome.find("<subject>"));
  // XEP-0421: occupants are who they were.
  EXPECT_NE(welcome.find(id), std::string::npos) << id << welcome;
  Enter("carol/web", "third");
  EXPECT_NE(Text("carol/web").find("<forbidden"), std::string::npos);
  const StoredRoom& stored = world_->store.rooms.at(kRoom);
  EXPECT_EQ(stored.name, "Dark & cave");
  EXPECT_EQ(stored.subject_by, "first");
}

TEST_F(MucHostTest, WhatTheStoreDoesNotTakeHasNotHappened) {
  Make();
  Enter("bob/desk", "second");
  Drain("alice/pc");
  Drain("bob/desk");
  world_->StoreIs("down");
  world_->Send("alice/pc", std::string("<iq type='set' id='b' to='") + kRoom +
                               "'><query xmlns='http://jabber.org/protocol/muc#admin'>"
                               "<item affiliation='outcast' jid='bob@a.example'/></query></iq>");
  EXPECT_NE(Text("alice/pc").find("<resource-constraint"), std::string::npos);
  EXPECT_TRUE(Drain("bob/desk").empty());
  // It is still in, and is heard: that the archive does not take it is no reason to be silent.
  Say("bob/desk", "here");
  EXPECT_NE(Text("alice/pc").find("<body>here</body>"), std::string::npos);
  EXPECT_EQ(world_->Count("bob/desk"), 3U);
  EXPECT_EQ(world_->Host(kRoom).counters().archive_failed, 1U);
  world_->StoreIs("up");
  world_->Restart();
  Enter("bob/desk", "second");
  EXPECT_EQ(Text("bob/desk").find("<forbidden"), std::string::npos);
}

TEST_F(MucHostTest, AMessageIsSettledWhenItIsDurable) {
  Make();
  world_->StoreIs("stalled");
  Say("alice/pc", "one");
  EXPECT_NE(Text("alice/pc").find("<body>one</body>"), std::string::npos);
  EXPECT_EQ(world_->Count("alice/pc"), 3U);
  world_->StoreIs("up");
  EXPECT_EQ(world_->Count("alice/pc"), 4U);
}

TEST_F(MucHostTest, StanzasForARoomThatIsBeingLoadedWaitInOrderAndABoundedNumber) {
  MucOptions options;
  options.waiting = 3;
  world_ = std::make_unique<MucWorld>(options);
  SetUp();
  world_->StoreIs("stalled");
  Enter("alice/pc", "first");
  for (int i = 0; i < 5; ++i) Say("alice/pc", "m" + std::to_string(i));
  EXPECT_NE(Text("alice/pc").find("<resource-constraint"), std::string::npos);
  world_->StoreIs("up");
  const std::string heard = Text("alice/pc");
  EXPECT_LT(heard.find("code='201'"), heard.find("<body>m0</body>"));
  EXPECT_LT(heard.find("<body>m0</body>"), heard.find("<body>m1</body>"));
  EXPECT_EQ(heard.find("<body>m2</body>"), std::string::npos);
}

TEST_F(MucHostTest, ATemporaryRoomLeavesNothingBehind) {
  Make({});
  Say("alice/pc", "secret");
  EXPECT_EQ(world_->store.users[kRoom].archive.size(), 1U);
  world_->Send("alice/pc", std::string("<presence type='unavailable' to='") + kRoom + "/first'/>");
  EXPECT_EQ(world_->rooms(), 0U);
  EXPECT_EQ(world_->directory.size(), 0U);
  EXPECT_TRUE(world_->store.users[kRoom].archive.empty());
}

TEST_F(MucHostTest, WhatAKilledNodeLeftOfATemporaryRoomIsNotTheNextOnes) {
  Make({});
  Say("alice/pc", "secret");
  world_->Restart();  // without a word
  Enter("bob/desk", "second");
  EXPECT_NE(Text("bob/desk").find("code='201'"), std::string::npos);
  EXPECT_TRUE(world_->store.users[kRoom].archive.empty());
}

TEST_F(MucHostTest, ARoomNobodyIsInLeavesMemoryAndComesBack) {
  Make();
  world_->Send("alice/pc", std::string("<presence type='unavailable' to='") + kRoom + "/first'/>");
  EXPECT_EQ(world_->rooms(), 1U);
  world_->clock.Advance(std::chrono::minutes(2));
  world_->TickRooms();
  EXPECT_EQ(world_->rooms(), 0U);
  Drain("alice/pc");
  Enter("alice/pc", "first");
  const std::string back = Text("alice/pc");
  EXPECT_NE(back.find("affiliation='owner'"), std::string::npos) << back;
  EXPECT_EQ(back.find("code='201'"), std::string::npos);
}

TEST_F(MucHostTest, WhereMemoryIsShortAnEmptyRoomLeavesItAtOnce) {
  Make();
  world_->clock.Advance(std::chrono::seconds(2));
  world_->EaseRooms();
  EXPECT_EQ(world_->rooms(), 1U) << "somebody is in";
  world_->Send("alice/pc", std::string("<presence type='unavailable' to='") + kRoom + "/first'/>");
  world_->clock.Advance(std::chrono::seconds(2));
  world_->TickRooms();
  EXPECT_EQ(world_->rooms(), 1U);
  world_->EaseRooms();
  EXPECT_EQ(world_->rooms(), 0U);
}

TEST_F(MucHostTest, AServiceHasSoManyRoomsAndNoMore) {
  MucOptions options;
  options.rooms_max = 1;
  world_ = std::make_unique<MucWorld>(options);
  SetUp();
  Make();
  world_->Send("bob/desk",
               std::string("<presence to='other@rooms.a.example/x'>") + kJoin + "</presence>");
  EXPECT_NE(Text("bob/desk").find("<resource-constraint"), std::string::npos);
  EXPECT_EQ(world_->directory.size(), 1U);
}

TEST_F(MucHostTest, WhereOperatorsMakeRoomsNobodyElseDoes) {
  MucOptions options;
  options.anyone_creates = false;
  world_ = std::make_unique<MucWorld>(options);
  SetUp();
  Enter("alice/pc", "first");
  EXPECT_NE(Text("alice/pc").find("<not-allowed"), std::string::npos);
  EXPECT_EQ(world_->rooms(), 0U);
}

TEST_F(MucHostTest, AllAreToldWhenTheServiceEnds) {
  Make();
  Enter("bob/desk", "second");
  Drain("bob/desk");
  world_->ShutRooms();
  EXPECT_NE(Text("bob/desk").find("code='332'"), std::string::npos);
  Enter("bob/desk", "second");
  EXPECT_NE(Text("bob/desk").find("type='error'"), std::string::npos);
}

// What a node of a thousand occupants pays for: one content, and an address for each.
TEST_F(MucHostTest, AMessageToAllIsOneContent) {
  Make();
  Enter("bob/desk", "second");
  Enter("carol/web", "third");
  std::set<const std::string*> contents;
  size_t copies = 0;
  world_->on_routed = [&](const Parcel& parcel) {
    if (parcel.type != StanzaType::kGroupchat || parcel.to.is_bare()) return;
    contents.insert(parcel.content.get());
    ++copies;
  };
  Say("alice/pc", "to all");
  EXPECT_EQ(copies, 3U);
  EXPECT_EQ(contents.size(), 1U);
}

TEST_F(MucHostTest, ARoomSaysOneStanzaForAllThatGetTheSame) {
  RoomGround ground{.limits = {},
                    .unix_us = [] { return int64_t{1}; },
                    .random = [random = uint64_t{0}]() mutable { return ++random; },
                    .next_id = [id = uint64_t{256}]() mutable { return ++id; }};
  Room room(*Jid::Parse(kRoom), ground, {}, "secret");
  const auto join = [&](int number) {
    Parcel presence = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable,
                                 *Jid::Parse("u" + std::to_string(number) + "@a.example/r"), kJoin);
    presence.to = *Jid::Parse(std::string(kRoom) + "/n" + std::to_string(number));
    return number == 0 ? room.Create(presence, false) : room.Arrive(presence);
  };
  for (int i = 0; i < 1'000; ++i) join(i);
  ASSERT_EQ(room.occupants(), 1'000U);
  Parcel message = RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat,
                              *Jid::Parse("u7@a.example/r"), "<body>hi</body>");
  message.to = *Jid::Parse(kRoom);
  message.traits.body = true;
  const RoomOutputs out = room.Arrive(message);
  ASSERT_EQ(out.stanzas.size(), 1U);
  EXPECT_EQ(out.stanzas[0].to.size(), 1'000U);
  EXPECT_EQ(out.copies.size(), 1U);
  // Presence: to those who see addresses, to those who do not, to itself.
  Parcel away = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable,
                           *Jid::Parse("u7@a.example/r"), "<show>away</show>");
  away.to = *Jid::Parse(std::string(kRoom) + "/n7");
  EXPECT_EQ(room.Arrive(away).stanzas.size(), 3U);
}

TEST_F(MucHostTest, AFullRoomTakesNobodyButKeepsItsBounds) {
  RoomGround ground{.limits = {.occupants = 3, .affiliations = 4, .history = 2},
                    .unix_us = [] { return int64_t{1}; },
                    .random = [random = uint64_t{0}]() mutable { return ++random; },
                    .next_id = [id = uint64_t{256}]() mutable { return ++id; }};
  Room room(*Jid::Parse(kRoom), ground, {}, "secret");
  for (int i = 0; i < 5; ++i) {
    Parcel presence = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable,
                                 *Jid::Parse("u" + std::to_string(i) + "@a.example/r"), kJoin);
    presence.to = *Jid::Parse(std::string(kRoom) + "/n" + std::to_string(i));
    const RoomOutputs out = i == 0 ? room.Create(presence, false) : room.Arrive(presence);
    EXPECT_EQ(out.stanzas.at(0).stanza.type == StanzaType::kError, i >= 3);
  }
  EXPECT_EQ(room.occupants(), 3U);
  std::string items;
  for (int i = 0; i < 5; ++i) {
    items += "<item affiliation='member' jid='m" + std::to_string(i) + "@a.example'/>";
  }
  Parcel iq =
      RoomStanza(StanzaKind::kIq, StanzaType::kSet, *Jid::Parse("u0@a.example/r"),
                 "<query xmlns='http://jabber.org/protocol/muc#admin'>" + items + "</query>", "i");
  iq.to = *Jid::Parse(kRoom);
  const RoomOutputs refused = room.Arrive(iq);
  EXPECT_NE(refused.stanzas.at(0).stanza.content_view().find("resource-constraint"),
            std::string_view::npos);
  EXPECT_EQ(room.AffiliationOf("m0@a.example"), Affiliation::kNone);
}

TEST_F(MucHostTest, TheArchiveOfARoomIsAskedForByThoseWhoMayEnter) {
  Make(Field("persistentroom", "1") + Field("membersonly", "1"));
  Say("alice/pc", "kept");
  Drain("alice/pc");
  const std::string query = std::string("<iq type='set' id='q' to='") + kRoom +
                            "'><query xmlns='urn:xmpp:mam:2' queryid='x'/></iq>";
  world_->Send("bob/desk", query);
  EXPECT_NE(Text("bob/desk").find("<forbidden"), std::string::npos);
  world_->Send("alice/pc", query);
  const auto got = Drain("alice/pc");
  ASSERT_EQ(got.size(), 2U);
  EXPECT_NE(got[0].find("queryid='x'"), std::string::npos) << got[0];
  EXPECT_NE(got[0].find("from='coven@rooms.a.example/first'"), std::string::npos) << got[0];
  EXPECT_NE(got[0].find("<body>kept</body>"), std::string::npos) << got[0];
  EXPECT_NE(got[1].find("<fin"), std::string::npos) << got[1];
}

TEST_F(MucHostTest, ARetractedMessageIsNowhereAnyMore) {
  Make();
  Say("alice/pc", "shameful", "bad");
  const std::string said = Text("alice/pc");
  const size_t at = said.find("id='", said.find("<stanza-id")) + 4;
  const std::string id = said.substr(at, said.find('\'', at) - at);
  Enter("bob/desk", "second");
  Drain("bob/desk");
  world_->Send("bob/desk", std::string("<iq type='set' id='r' to='") + kRoom +
                               "'><moderate xmlns='urn:xmpp:message-moderate:1' id='" + id +
                               "'><retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>");
  EXPECT_NE(Text("bob/desk").find("<forbidden"), std::string::npos);
  Drain("alice/pc");
  world_->Send("alice/pc", std::string("<iq type='set' id='r' to='") + kRoom +
                               "'><moderate xmlns='urn:xmpp:message-moderate:1' id='" + id +
                               "'><retract xmlns='urn:xmpp:message-retract:1'/>"
                               "<reason>Rude</reason></moderate></iq>");
  const std::string told = Text("bob/desk");
  EXPECT_NE(told.find("<retract xmlns='urn:xmpp:message-retract:1' id='" + id + "'><moderated"),
            std::string::npos)
      << told;
  EXPECT_NE(told.find("by='coven@rooms.a.example/first'"), std::string::npos) << told;
  // A retraction of something that is not there.
  Drain("alice/pc");
  world_->Send("alice/pc", std::string("<iq type='set' id='r' to='") + kRoom +
                               "'><moderate xmlns='urn:xmpp:message-moderate:1' id='77'>"
                               "<retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>");
  EXPECT_NE(Text("alice/pc").find("<item-not-found"), std::string::npos);
  const auto& archive = world_->store.users[kRoom].archive;
  ASSERT_EQ(archive.size(), 2U);
  EXPECT_EQ(archive.begin()->second.xml.find("shameful"), std::string::npos);
  EXPECT_NE(archive.begin()->second.xml.find("<retracted"), std::string::npos);
  for (const bool restarted : {false, true}) {
    if (restarted) world_->Restart();
    Enter("carol/web", "third");
    EXPECT_EQ(Text("carol/web").find("shameful"), std::string::npos);
    world_->Send("carol/web",
                 std::string("<presence type='unavailable' to='") + kRoom + "/third'/>");
    Drain("carol/web");
  }
}

TEST_F(MucHostTest, ListedRoomsAreFoundInMemoryAndInTheStore) {
  Make(Field("persistentroom", "1") + Field("roomname", "Cave"));
  for (const char* hidden : {"hid", "locked"}) {
    world_->Send("bob/desk", std::string("<presence to='") + hidden + "@rooms.a.example/x'>" +
                                 kJoin + "</presence>");
  }
  StoredRoom stored = world_->store.rooms.at(kRoom);
  stored.jid = "attic@rooms.a.example";
  stored.name = "Attic";
  world_->store.rooms[stored.jid] = stored;
  stored.jid = "zoo@rooms.a.example";
  stored.listed = false;
  world_->store.rooms[stored.jid] = stored;
  const auto list = [&](const std::string& set) {
    Drain("carol/web");
    world_->Send("carol/web",
                 "<iq type='get' id='l' to='rooms.a.example'>"
                 "<query xmlns='http://jabber.org/protocol/disco#items'>" +
                     set + "</query></iq>");
    return Text("carol/web");
  };
  const std::string all = list("");
  EXPECT_NE(all.find("<item jid='attic@rooms.a.example' name='Attic'/>"
                     "<item jid='coven@rooms.a.example' name='Cave'/><set"),
            std::string::npos)
      << all;
  const std::string first = list("<set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set>");
  EXPECT_NE(first.find("attic"), std::string::npos);
  EXPECT_EQ(first.find("coven"), std::string::npos);
  const std::string next = list(
      "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max>"
      "<after>attic@rooms.a.example</after></set>");
  EXPECT_NE(next.find("coven"), std::string::npos);
}

// Hidden in the store and live meanwhile: pages go on behind what is not told.
TEST_F(MucHostTest, APageOfRoomsThatAreNotToldIsNotTheEnd) {
  Make();
  const StoredRoom model = world_->store.rooms.at(kRoom);
  for (int i = 0; i < 5; ++i) {
    StoredRoom room = model;
    room.jid = "r" + std::to_string(i) + "@rooms.a.example";
    world_->store.rooms[room.jid] = room;
    // Live, and hidden since.
    if (i < 4) {
      ASSERT_TRUE(world_->directory.Add(room.jid, {.name = {}, .listed = false}, 100));
    }
  }
  world_->Send("carol/web",
               "<iq type='get' id='l' to='rooms.a.example'>"
               "<query xmlns='http://jabber.org/protocol/disco#items'>"
               "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max>"
               "<after>coven@rooms.a.example</after></set></query></iq>");
  EXPECT_NE(Text("carol/web").find("r4@rooms.a.example"), std::string::npos);
}

// --- Orders of operators.

class MucOrders : public MucHostTest {
 protected:
  // What came of it: "" for a result, else the error's XML.
  std::string Ask(StanzaType type, const std::string& xml) {
    std::string heard = "nothing";
    world_->Host(kRoom).Ask(*Jid::Parse(kRoom), type, xml,
                            [&heard](StanzaType ended, const std::string& content) {
                              heard = ended == StanzaType::kResult ? "" : content;
                            });
    world_->Run();
    return heard;
  }
  std::string Make(const char* owner, bool stays) {
    std::string heard = "nothing";
    world_->Host(kRoom).Make(*Jid::Parse(kRoom), *Jid::Parse(owner), stays,
                             [&heard](StanzaType ended, const std::string& content) {
                               heard = ended == StanzaType::kResult ? "" : content;
                             });
    world_->Run();
    return heard;
  }
  static std::string Admin(const std::string& item) {
    return "<query xmlns='http://jabber.org/protocol/muc#admin'>" + item + "</query>";
  }
  const Room* Peek() { return world_->Host(kRoom).Peek(kRoom); }
};

TEST_F(MucOrders, OfARoomThatIsNotThereHearsSo) {
  EXPECT_TRUE(
      Ask(StanzaType::kSet, Admin("<item nick='first' role='none'/>")).contains("item-not-found"));
  EXPECT_TRUE(Ask(StanzaType::kSet, "<query").contains("bad-request"));
  EXPECT_EQ(world_->rooms(), 0U);
}

TEST_F(MucOrders, DoWhatOwnersAndModeratorsMayAndAreNobodysInTheRoom) {
  MucHostTest::Make("");
  Enter("bob/desk", "second");
  Drain("alice/pc");
  Drain("bob/desk");
  EXPECT_EQ(
      Ask(StanzaType::kSet, Admin("<item nick='second' role='none'><reason>r</reason></item>")),
      "");
  const std::string gone = Text("bob/desk");
  EXPECT_TRUE(gone.contains("<reason>r</reason>")) << gone;
  EXPECT_FALSE(gone.contains("<actor")) << gone;
  EXPECT_EQ(Ask(StanzaType::kSet, Admin("<item jid='bob@a.example' affiliation='outcast'/>")), "");
  EXPECT_EQ(Peek()->AffiliationOf("bob@a.example"), Affiliation::kOutcast);
  // A room is never without an owner, whoever orders it.
  EXPECT_TRUE(Ask(StanzaType::kSet, Admin("<item jid='alice@a.example' affiliation='none'/>"))
                  .contains("conflict"));
  // Who gives orders is no owner of the room's when they are over, and its address is nobody's.
  EXPECT_EQ(Peek()->AffiliationOf(kRoom), Affiliation::kNone);
  EXPECT_EQ(Peek()->occupants(), 1U);
}

TEST_F(MucOrders, MakeARoomThatWaitsForItsOwnerAndGoesWithIt) {
  EXPECT_EQ(Make("alice@a.example", false), "");
  ASSERT_NE(Peek(), nullptr);
  EXPECT_FALSE(Peek()->locked());
  EXPECT_EQ(Make("alice@a.example", false), "") << "it is hers already";
  EXPECT_TRUE(Make("bob@a.example", false).contains("conflict"));
  Enter("alice/pc", "first");
  EXPECT_TRUE(Text("alice/pc").contains("affiliation='owner'"));
  world_->Send("alice/pc", std::string("<presence type='unavailable' to='") + kRoom + "/first'/>");
  world_->Run();
  EXPECT_EQ(world_->rooms(), 0U);
}

TEST_F(MucOrders, ForWhomNobodyComesItGoesAgainAndAPersistentOneStays) {
  EXPECT_EQ(Make("alice@a.example", false), "");
  world_->clock.Advance(std::chrono::minutes(2));
  world_->TickRooms();
  EXPECT_EQ(world_->rooms(), 0U);
  EXPECT_TRUE(Ask(StanzaType::kGet, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
                  .contains("item-not-found"));
  EXPECT_EQ(Make("alice@a.example", true), "");
  world_->Restart();
  EXPECT_EQ(Ask(StanzaType::kGet, "<query xmlns='http://jabber.org/protocol/disco#info'/>"), "");
  EXPECT_EQ(Peek()->AffiliationOf("alice@a.example"), Affiliation::kOwner);
  EXPECT_TRUE(Peek()->config().persistent);
}

}  // namespace
}  // namespace server
