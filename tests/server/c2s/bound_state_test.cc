#include "server/c2s/bound_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/im/letters.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNow = 1'700'000'000'000'000;

// As the node that it leaves numbers them, and as the one to which it comes does.
std::string NameThere(uint16_t node) {
  return std::vector<std::string>{"there", "home", "elsewhere"}.at(node);
}
std::optional<uint16_t> NumberHere(const std::string& name) {
  if (name == "home") return 0;
  if (name == "there") return 7;
  return std::nullopt;
}

class BoundStateTest : public ::testing::Test {
 protected:
  Delivery Message(const std::string& text, uint64_t ticket, uint16_t home) {
    return {.xml = "<message><body>" + text + "</body></message>",
            .ticket = ticket,
            .home = home,
            .message_of_people = true};
  }
  std::unique_ptr<BoundSession> Arrive(const std::string& bytes) {
    auto state = BoundState::Parse(bytes, NumberHere);
    if (!state) return nullptr;
    return std::make_unique<BoundSession>(SessionId{.worker = 1, .place = 2, .life = 3},
                                          std::move(*state), &limits);
  }

  BoundLimits limits;
  BoundSession session{{.worker = 4, .place = 5, .life = 6}, *Jid::Parse("romeo@here/r"), &limits};
  BoundSession::Out out;
};

// What it had sent elsewhere and is not settled is heard of by way of that node, and no longer than
// that: a session whose debts are paid outlives all nodes that it was on.
TEST_F(BoundStateTest, ADebtEndsWithTheLastThatItIsAbout) {
  session.Manage("0123456789abcdef");
  for (const uint64_t content : {10U, 20U}) session.Receive(content, out);
  session.Owed(2);
  const auto gone = [](uint16_t node) { return node == 2; };
  const auto nobody = [](uint16_t) { return false; };
  EXPECT_TRUE(session.LostDebt(gone));
  EXPECT_FALSE(session.LostDebt(nobody));
  session.Settle(1, out);
  EXPECT_TRUE(session.LostDebt(gone));
  session.Receive(30, out);  // this is said here
  session.Settle(2, out);
  EXPECT_FALSE(session.LostDebt(gone));
}

TEST_F(BoundStateTest, DebtsGoAlongByTheNamesOfNodes) {
  session.Manage("0123456789abcdef");
  session.Receive(10, out);
  session.Owed(1);  // "home": there it hears of it without going anywhere
  session.Owed(2);  // "elsewhere", which is not known there
  const auto nobody = [](uint16_t) { return false; };
  const auto came = Arrive(session.Take().ToBytes(NameThere, kLettersVersion));
  ASSERT_NE(came, nullptr);
  EXPECT_TRUE(came->LostDebt(nobody)) << "nobody will tell it";
  came->Settle(1, out);
  EXPECT_FALSE(came->LostDebt(nobody));

  BoundSession other{{.worker = 4, .place = 5, .life = 7}, *Jid::Parse("romeo@here/s"), &limits};
  other.Manage("0123456789abcdef");
  other.Receive(10, out);
  other.Owed(1);
  const auto there = Arrive(other.Take().ToBytes(NameThere, kLettersVersion));
  ASSERT_NE(there, nullptr);
  EXPECT_FALSE(there->LostDebt([](uint16_t) { return true; }));
}

// A node of before the debts takes nothing behind the last flag.
TEST_F(BoundStateTest, WhoReadsAnOlderVersionGetsTheSessionWithoutItsDebts) {
  const auto state = [this](bool debts) {
    BoundSession one{{.worker = 4, .place = 5, .life = 6}, *Jid::Parse("romeo@here/r"), &limits};
    one.Manage("0123456789abcdef");
    one.Receive(10, out);
    if (debts) one.Owed(2);
    return one.Take();
  };
  const std::string old = state(true).ToBytes(NameThere, kLettersWithDebts - 1);
  EXPECT_EQ(old, state(false).ToBytes(NameThere, kLettersVersion));
  EXPECT_GT(state(true).ToBytes(NameThere, kLettersWithDebts).size(), old.size());
  const auto came = Arrive(old);
  ASSERT_NE(came, nullptr);
  EXPECT_EQ(came->unsettled(), 1U);
  EXPECT_FALSE(came->LostDebt([](uint16_t) { return true; }));
}

TEST_F(BoundStateTest, ASessionGoesOnWhereItLeft) {
  session.Manage("0123456789abcdef");
  for (const uint64_t content : {10U, 20U, 30U}) session.Receive(content, out);
  session.Settle(1, out);
  session.Settle(3, out);
  session.OnAsked(out);
  ASSERT_TRUE(session.Deliver(Message("one", 1, 1), kNow, true, out));
  ASSERT_TRUE(session.Deliver(Message("two", 2, 0), kNow, true, out));
  ASSERT_TRUE(session.Deliver(Message("three", 3, 2), kNow, false, out));
  session.SetActive(false, false, out);
  ASSERT_TRUE(session.Deliver(
      {.xml = "<presence/>", .kind = StanzaKind::kPresence, .replaces = "a"}, kNow, false, out));
  const uint64_t tag = session.State(true).resume_tag;
  EXPECT_NE(tag, 0U);

  const std::string bytes = session.Take().ToBytes(NameThere, kLettersVersion);
  std::vector<TicketEnd> ended;
  session.Lose(ended);
  EXPECT_THAT(ended, ElementsAre());  // it is another's now

  const auto came = Arrive(bytes);
  ASSERT_NE(came, nullptr);
  EXPECT_EQ(came->full().full(), "romeo@here/r");
  EXPECT_EQ(came->State(true).resume_tag, tag);
  EXPECT_FALSE(came->active());
  EXPECT_EQ(came->settled(), 1U);
  EXPECT_EQ(came->unsettled(), 2U);

  out.Clear();
  ASSERT_TRUE(came->Resume(1, "here", out));
  EXPECT_THAT(out.ended, ElementsAre(TicketEnd{1, DeliveryEnd::kTaken, 0}));
  EXPECT_EQ(out.xml.find("one"), out.xml.npos);
  EXPECT_THAT(out.xml, HasSubstr("two"));
  EXPECT_THAT(out.xml, HasSubstr("2023-11-14T22:13:20.000Z"));
  EXPECT_LT(out.xml.find("two"), out.xml.find("three"));
  EXPECT_LT(out.xml.find("three"), out.xml.find("<presence/>"));
  out.Clear();
  EXPECT_TRUE(came->Receive(20, out).again);
  EXPECT_TRUE(came->Receive(30, out).again);
  came->Settle(2, out);
  EXPECT_EQ(came->settled(), 3U);
  ASSERT_TRUE(came->Acknowledge(4, out));
  // The home of the third is not known here: nobody is told.
  EXPECT_THAT(out.ended, ElementsAre(TicketEnd{2, DeliveryEnd::kTaken, 7}));
}

// What all sessions wait with is known without asking them, whatever becomes of one.
TEST_F(BoundStateTest, WhatItWaitsWithIsInTheSumOfAll) {
  std::atomic<uint64_t> waiting{0};
  limits.waiting_bytes = &waiting;
  limits.unacked_max = 3;
  const std::string one = Message("one", 1, 0).xml;
  {
    BoundSession first{{.life = 1}, *Jid::Parse("romeo@here/a"), &limits};
    first.Manage("0123456789abcdef");
    ASSERT_TRUE(first.Deliver(Message("one", 1, 0), kNow, true, out));
    first.SetActive(false, true, out);
    ASSERT_TRUE(first.Deliver({.xml = "<presence/>", .replaces = "a"}, kNow, true, out));
    ASSERT_TRUE(first.Deliver({.xml = "<presence />", .replaces = "a"}, kNow, true, out));
    EXPECT_EQ(waiting, one.size() + 12);
    BoundSession second({.life = 2}, first.Take(), &limits);
    EXPECT_EQ(waiting, one.size() + 12) << "it has moved";
    ASSERT_TRUE(second.Acknowledge(1, out));
    EXPECT_EQ(waiting, 12U);
    ASSERT_TRUE(second.Say("<iq/>", kNow, out));
    EXPECT_EQ(waiting, 17U);
    ASSERT_TRUE(second.Say("<iq/>", kNow, out));
    EXPECT_FALSE(second.Say("<iq/>", kNow, out) && second.Say("<iq/>", kNow, out));
    std::vector<TicketEnd> ended;
    second.Lose(ended);
    EXPECT_EQ(waiting, 0U);
    ASSERT_TRUE(second.Say("<iq/>", kNow, out));
    EXPECT_EQ(waiting, 5U);
  }
  EXPECT_EQ(waiting, 0U);
}

TEST_F(BoundStateTest, SaysWhoseEndsAreAwaited) {
  session.Manage("0123456789abcdef");
  ASSERT_TRUE(session.Deliver(Message("one", 11, 0), kNow, true, out));
  ASSERT_TRUE(session.Deliver(Message("two", 0, 0), kNow, true, out));
  ASSERT_TRUE(session.Deliver(Message("of a home elsewhere", 11, 1), kNow, true, out));
  session.SetActive(false, true, out);
  ASSERT_TRUE(
      session.Deliver({.xml = "<presence/>", .replaces = "a", .ticket = 12}, kNow, true, out));
  EXPECT_THAT(session.Take().Tickets(), ElementsAre(11, 12));
}

TEST_F(BoundStateTest, WhatIsCutOffOrMoreIsNoSession) {
  session.Manage("0123456789abcdef");
  session.Receive(0, out);
  ASSERT_TRUE(session.Deliver(Message("one", 1, 0), kNow, true, out));
  const std::string bytes = session.Take().ToBytes(NameThere, kLettersVersion);
  EXPECT_NE(Arrive(bytes), nullptr);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(Arrive(bytes.substr(0, size)), nullptr) << size;
  }
  EXPECT_EQ(Arrive(bytes + '\0'), nullptr);
}

}  // namespace
}  // namespace server
