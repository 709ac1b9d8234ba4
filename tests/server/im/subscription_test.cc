// RFC 6121 appendix A, row by row, played over homes: the state is put into the store, the stanza
// is sent or comes, and what the other side gets and the store then has is compared.
#include "server/im/subscription.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "tests/server/im/world.h"

namespace server {
namespace {

// As the appendix names them.
constexpr std::array<std::string_view, kSubscriptionStates> kNames = {"None",
                                                                      "None + Pending Out",
                                                                      "None + Pending In",
                                                                      "None + Pending Out+In",
                                                                      "To",
                                                                      "To + Pending In",
                                                                      "From",
                                                                      "From + Pending Out",
                                                                      "Both"};

SubscriptionState Named(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<SubscriptionState>(i);
  }
  ADD_FAILURE() << name;
  return SubscriptionState::kNone;
}

struct Row {
  std::string_view state;
  bool passes;  // MUST route, MUST deliver
  std::string_view next;
};
using Table = std::array<Row, kSubscriptionStates>;

// A.2.1
constexpr Table kSentSubscribe = {{
    {"None", true, "None + Pending Out"},
    {"None + Pending Out", true, "None + Pending Out"},
    {"None + Pending In", true, "None + Pending Out+In"},
    {"None + Pending Out+In", true, "None + Pending Out+In"},
    {"To", true, "To"},
    {"To + Pending In", true, "To + Pending In"},
    {"From", true, "From + Pending Out"},
    {"From + Pending Out", true, "From + Pending Out"},
    {"Both", true, "Both"},
}};
// A.2.2
constexpr Table kSentUnsubscribe = {{
    {"None", true, "None"},
    {"None + Pending Out", true, "None"},
    {"None + Pending In", true, "None + Pending In"},
    {"None + Pending Out+In", true, "None + Pending In"},
    {"To", true, "None"},
    {"To + Pending In", true, "None + Pending In"},
    {"From", true, "From"},
    {"From + Pending Out", true, "From"},
    {"Both", true, "From"},
}};
// A.2.3
constexpr Table kSentSubscribed = {{
    {"None", false, "None"},
    {"None + Pending Out", false, "None + Pending Out"},
    {"None + Pending In", true, "From"},
    {"None + Pending Out+In", true, "From + Pending Out"},
    {"To", false, "To"},
    {"To + Pending In", true, "Both"},
    {"From", false, "From"},
    {"From + Pending Out", false, "From + Pending Out"},
    {"Both", false, "Both"},
}};
// A.2.4
constexpr Table kSentUnsubscribed = {{
    {"None", false, "None"},
    {"None + Pending Out", false, "None + Pending Out"},
    {"None + Pending In", true, "None"},
    {"None + Pending Out+In", true, "None + Pending Out"},
    {"To", false, "To"},
    {"To + Pending In", true, "To"},
    {"From", true, "None"},
    {"From + Pending Out", true, "None + Pending Out"},
    {"Both", true, "To"},
}};
// A.3.1
constexpr Table kGotSubscribe = {{
    {"None", true, "None + Pending In"},
    {"None + Pending Out", true, "None + Pending Out+In"},
    {"None + Pending In", false, "None + Pending In"},
    {"None + Pending Out+In", false, "None + Pending Out+In"},
    {"To", true, "To + Pending In"},
    {"To + Pending In", false, "To + Pending In"},
    {"From", false, "From"},
    {"From + Pending Out", false, "From + Pending Out"},
    {"Both", false, "Both"},
}};
// A.3.2
constexpr Table kGotUnsubscribe = {{
    {"None", false, "None"},
    {"None + Pending Out", false, "None + Pending Out"},
    {"None + Pending In", true, "None"},
    {"None + Pending Out+In", true, "None + Pending Out"},
    {"To", false, "To"},
    {"To + Pending In", true, "To"},
    {"From", true, "None"},
    {"From + Pending Out", true, "None + Pending Out"},
    {"Both", true, "To"},
}};
// A.3.3
constexpr Table kGotSubscribed = {{
    {"None", false, "None"},
    {"None + Pending Out", true, "To"},
    {"None + Pending In", false, "None + Pending In"},
    {"None + Pending Out+In", true, "To + Pending In"},
    {"To", false, "To"},
    {"To + Pending In", false, "To + Pending In"},
    {"From", false, "From"},
    {"From + Pending Out", true, "Both"},
    {"Both", false, "Both"},
}};
// A.3.4
constexpr Table kGotUnsubscribed = {{
    {"None", false, "None"},
    {"None + Pending Out", true, "None"},
    {"None + Pending In", false, "None + Pending In"},
    {"None + Pending Out+In", true, "None + Pending In"},
    {"To", true, "None"},
    {"To + Pending In", true, "None + Pending In"},
    {"From", false, "From"},
    {"From + Pending Out", true, "From"},
    {"Both", true, "From"},
}};

void PutState(World& world, const std::string& user, const std::string& contact,
              SubscriptionState state) {
  ContactState none;
  none.subscription = Subscription::kNone;
  const ContactState is = WithState(none, state);
  RosterItem item;
  item.jid = contact;
  item.name = "a name";
  item.subscription = is.subscription;
  item.ask = is.ask;
  item.pending_in = is.pending_in;
  item.version = 1;
  world.store.users[user].version = 1;
  world.store.users[user].roster[contact] = item;
}

std::string_view StateInStore(World& world, const std::string& user, const std::string& contact) {
  auto& roster = world.store.users[user].roster;
  const auto found = roster.find(contact);
  if (found == roster.end()) return "no item";
  EXPECT_EQ(found->second.name, "a name");
  return kNames[static_cast<size_t>(StateOf(ContactOf(found->second)))];
}

bool Got(World& world, const std::string& client, std::string_view type) {
  bool got = false;
  while (const auto next = world.Next(client)) {
    got |= next->starts_with("<presence") &&
           next->find("type='" + std::string(type) + "'") != std::string::npos;
  }
  return got;
}

// bob's server routes; that is seen at alice's, for whom each of the four passes in some state.
void WalkSent(std::string_view type, const Table& table, SubscriptionState sees) {
  for (const Row& row : table) {
    SCOPED_TRACE(std::string(type) + " in " + std::string(row.state));
    World world;
    world.Account("alice");
    world.Account("bob");
    PutState(world, "bob@a.example", "alice@a.example", Named(row.state));
    PutState(world, "alice@a.example", "bob@a.example", sees);
    world.Connect("bob/desk");
    world.Connect("alice/phone");
    // A request of hers would be made again at her coming; who has the roster hears the rest all the
    // same.
    if (type == "subscribe") world.Send("alice/phone", "<presence/>");
    world.Send("alice/phone", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    while (world.Next("alice/phone")) {
    }
    world.Send("bob/desk",
               "<presence to='alice@a.example/phone' type='" + std::string(type) + "'/>");
    EXPECT_EQ(Got(world, "alice/phone", type), row.passes);
    EXPECT_EQ(StateInStore(world, "bob@a.example", "alice@a.example"), row.next);
  }
}

void WalkGot(std::string_view type, const Table& table, SubscriptionState sends) {
  for (const Row& row : table) {
    SCOPED_TRACE(std::string(type) + " in " + std::string(row.state));
    World world;
    world.Account("alice");
    world.Account("bob");
    PutState(world, "bob@a.example", "alice@a.example", sends);
    PutState(world, "alice@a.example", "bob@a.example", Named(row.state));
    world.Connect("bob/desk");
    world.Connect("alice/phone");
    if (type == "subscribe") world.Send("alice/phone", "<presence/>");
    world.Send("alice/phone", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    while (world.Next("alice/phone")) {
    }
    world.Send("bob/desk", "<presence to='alice@a.example' type='" + std::string(type) + "'/>");
    EXPECT_EQ(Got(world, "alice/phone", type), row.passes);
    EXPECT_EQ(StateInStore(world, "alice@a.example", "bob@a.example"), row.next);
  }
}

using enum SubscriptionState;

TEST(AppendixA, SentSubscribe) { WalkSent("subscribe", kSentSubscribe, kNone); }
TEST(AppendixA, SentUnsubscribe) { WalkSent("unsubscribe", kSentUnsubscribe, kBoth); }
TEST(AppendixA, SentUnsubscribed) { WalkSent("unsubscribed", kSentUnsubscribed, kBoth); }

// Where it is not routed it is pre-approval (section 3.4), which leaves the state as it is.
TEST(AppendixA, SentSubscribed) { WalkSent("subscribed", kSentSubscribed, kNoneOut); }

// bob is in a state where his server routes the stanza.
TEST(AppendixA, GotSubscribe) { WalkGot("subscribe", kGotSubscribe, kNone); }
TEST(AppendixA, GotUnsubscribe) { WalkGot("unsubscribe", kGotUnsubscribe, kBoth); }
TEST(AppendixA, GotSubscribed) { WalkGot("subscribed", kGotSubscribed, kNoneIn); }
TEST(AppendixA, GotUnsubscribed) { WalkGot("unsubscribed", kGotUnsubscribed, kBoth); }

TEST(AppendixA, StatesAreToldApart) {
  ContactState item;
  item.subscription = Subscription::kNone;
  for (size_t i = 0; i < kSubscriptionStates; ++i) {
    const auto state = static_cast<SubscriptionState>(i);
    EXPECT_EQ(StateOf(WithState(item, state)), state) << kNames[i];
  }
}

TEST(AppendixA, RequestAloneMakesNoItem) {
  const ContactState nobody;
  EXPECT_FALSE(WithState(nobody, kNoneIn).listed());
  EXPECT_TRUE(WithState(nobody, kNoneIn).pending_in);
  EXPECT_TRUE(WithState(WithState(nobody, kNoneIn), kFrom).listed());
  EXPECT_EQ(WithState(WithState(nobody, kNoneIn), kNone), nobody);
}

}  // namespace
}  // namespace server
