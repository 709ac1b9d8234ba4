#include "server/c2s/stream_management.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "server/c2s/bound_session.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SettledCount, CountsTheRunFromTheFirstOn) {
  SettledCount count;
  for (uint32_t i = 1; i <= 5; ++i) EXPECT_EQ(count.Receive().serial, i);
  EXPECT_FALSE(count.Settle(3));
  EXPECT_FALSE(count.Settle(2));
  EXPECT_EQ(count.settled(), 0U);
  EXPECT_TRUE(count.Settle(1));
  EXPECT_EQ(count.settled(), 3U);
  EXPECT_FALSE(count.Settle(2));  // again
  EXPECT_FALSE(count.Settle(6));  // never came
  EXPECT_FALSE(count.Settle(5));
  EXPECT_TRUE(count.Settle(4));
  EXPECT_EQ(count.open(), 0U);
}

TEST(SettledCount, IsTheLowestThatIsMissingInAnyOrder) {
  std::mt19937 random(1);
  SettledCount count;
  std::set<uint32_t> open;
  for (int step = 0; step < 20'000; ++step) {
    if (open.empty() || (open.size() < 100 && random() % 2 == 0)) {
      open.insert(count.Receive().serial);
    } else {
      auto it = open.begin();
      std::advance(it, random() % open.size());
      const uint32_t number = *it;
      open.erase(it);
      count.Settle(number);
    }
    const uint32_t expected = open.empty() ? count.received() : *open.begin() - 1;
    ASSERT_EQ(count.settled(), expected);
  }
}

// <resumed h='1'/> is told, and the client says again what is behind it.
TEST(SettledCount, WhatIsSaidAgainIsDoneOnceAndCountsWhenItIsSaid) {
  SettledCount count;
  for (const uint64_t content : {10U, 20U, 30U, 40U}) count.Receive(content);
  count.Settle(1);
  count.Settle(3);
  count.Restart();
  EXPECT_EQ(count.settled(), 1U);
  EXPECT_EQ(count.received(), 1U);
  EXPECT_EQ(count.under_way(), 3U);
  EXPECT_FALSE(count.Settle(2));  // not said yet
  EXPECT_TRUE(count.Receive(20).again);
  EXPECT_EQ(count.settled(), 2U);
  EXPECT_TRUE(count.Receive(30).again);
  EXPECT_EQ(count.settled(), 3U);
  EXPECT_TRUE(count.Receive(40).again);
  EXPECT_EQ(count.received(), 4U);
  EXPECT_EQ(count.open(), 1U);
  EXPECT_EQ(count.Receive(40).serial, 5U);  // the same words once more are another stanza
  EXPECT_TRUE(count.Settle(4));
  EXPECT_TRUE(count.Settle(5));
  EXPECT_EQ(count.settled(), 5U);
}

// One that does not keep what it has sent goes on with something else, and counts from `h`.
TEST(SettledCount, WhatIsSaidInsteadCountsAndTheRestIsForgotten) {
  SettledCount count;
  for (const uint64_t content : {10U, 20U, 30U}) count.Receive(content);
  count.Settle(1);
  count.Restart();
  EXPECT_EQ(count.Receive(50).serial, 4U);
  EXPECT_EQ(count.received(), 2U);
  EXPECT_FALSE(count.Settle(2));
  EXPECT_FALSE(count.Settle(3));
  EXPECT_EQ(count.settled(), 1U);
  EXPECT_TRUE(count.Settle(4));
  EXPECT_EQ(count.settled(), 2U);
  EXPECT_EQ(count.under_way(), 0U);
}

Delivery Message(std::string text, uint64_t ticket = 0) {
  return {.xml = "<message><body>" + text + "</body></message>",
          .ticket = ticket,
          .message_of_people = true};
}

TEST(UnackedQueue, TellsWhatBecameOfEach) {
  UnackedQueue queue;
  for (uint64_t i = 1; i <= 4; ++i) queue.Push(Message("x", i), 0);
  std::vector<TicketEnd> ended;
  EXPECT_TRUE(queue.Acknowledge(2, ended));
  EXPECT_THAT(ended, ElementsAre(TicketEnd{1, DeliveryEnd::kTaken}, TicketEnd{2}));
  ended.clear();
  EXPECT_TRUE(queue.Acknowledge(1, ended));   // late: nothing new
  EXPECT_FALSE(queue.Acknowledge(5, ended));  // never sent
  EXPECT_THAT(ended, IsEmpty());
  EXPECT_EQ(queue.size(), 2U);
  queue.Lose(ended);
  EXPECT_THAT(ended,
              ElementsAre(TicketEnd{3, DeliveryEnd::kLost}, TicketEnd{4, DeliveryEnd::kLost}));
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(UnackedQueue, LongRunsKeepTheirOrderAndTheirBytes) {
  UnackedQueue queue;
  std::vector<TicketEnd> ended;
  uint64_t next = 1;
  for (uint32_t round = 1; round <= 200; ++round) {
    for (int i = 0; i < 7; ++i) queue.Push(Message("x", next++), 0);
    ASSERT_TRUE(queue.Acknowledge(round * 6, ended));
    ASSERT_EQ(queue.size(), round);
    size_t bytes = 0;
    queue.ForEach([&](const UnackedQueue::Item& item) { bytes += item.delivery.xml.size(); });
    ASSERT_EQ(queue.bytes(), bytes);
  }
  for (uint64_t i = 0; i < ended.size(); ++i) ASSERT_EQ(ended[i].ticket, i + 1);
}

TEST(ResumeKey, IsReadAsItWasWrittenAndNothingElseIs) {
  const ResumeKey key{
      .secret = std::string("\x00\x01\xff 0123456789ab", 16), .worker = 3, .place = 70'000};
  const std::string text = key.ToString();
  const auto read = ResumeKey::Parse(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->worker, 3U);
  EXPECT_EQ(read->place, 70'000U);
  EXPECT_TRUE(read->SameSecret(key.secret));
  EXPECT_FALSE(read->SameSecret(""));
  for (size_t i = 0; i < text.size(); ++i)
    EXPECT_FALSE(ResumeKey::Parse(text.substr(0, i)) && i < text.rfind('-') + 1);
  EXPECT_FALSE(ResumeKey::Parse(text + " "));
  EXPECT_FALSE(ResumeKey::Parse(""));
  EXPECT_FALSE(ResumeKey{}.SameSecret(""));
}

class BoundSessionTest : public ::testing::Test {
 protected:
  std::string Take() {
    std::string xml = std::move(out.xml);
    out.xml.clear();
    return xml;
  }
  BoundLimits limits{.unacked_bytes_max = 1000, .held_max = 3};
  BoundSession session{SessionId{.worker = 1, .place = 2, .life = 3},
                       Jid::Parse("romeo@here/x").value(), &limits};
  BoundSession::Out out;
};

TEST_F(BoundSessionTest, WithoutManagementWhatIsWrittenIsTaken) {
  EXPECT_TRUE(session.Deliver(Message("hi", 7), 0, true, out));
  EXPECT_EQ(Take(), "<message><body>hi</body></message>");
  EXPECT_THAT(out.ended, ElementsAre(TicketEnd{7, DeliveryEnd::kTaken}));
  EXPECT_EQ(session.Receive(0, out).serial, 0U);
}

TEST_F(BoundSessionTest, WhatIsNotAcknowledgedIsAskedForOnceAndSentAgain) {
  session.Manage("0123456789abcdef");
  ASSERT_TRUE(session.Deliver(Message("one", 1), 1'700'000'000'123'000, true, out));
  ASSERT_TRUE(session.Deliver(Message("two", 2), 1'700'000'001'000'000, true, out));
  EXPECT_EQ(Take(),
            "<message><body>one</body></message><r xmlns='urn:xmpp:sm:3'/>"
            "<message><body>two</body></message>");
  EXPECT_THAT(out.ended, IsEmpty());
  ASSERT_TRUE(session.Deliver(Message("three", 3), 1'700'000'002'000'000, false, out));  // detached
  EXPECT_EQ(Take(), "");
  EXPECT_TRUE(session.Resume(1, "here", out));
  EXPECT_EQ(Take(),
            "<message><body>two</body><delay xmlns='urn:xmpp:delay' from='here' "
            "stamp='2023-11-14T22:13:21.000Z'/></message>"
            "<message><body>three</body><delay xmlns='urn:xmpp:delay' from='here' "
            "stamp='2023-11-14T22:13:22.000Z'/></message><r xmlns='urn:xmpp:sm:3'/>");
  EXPECT_THAT(out.ended, ElementsAre(TicketEnd{1}));
  EXPECT_FALSE(session.Acknowledge(4, out));
  EXPECT_TRUE(session.Acknowledge(3, out));
  EXPECT_EQ(session.waiting_bytes(), 0U);
}

TEST_F(BoundSessionTest, TooMuchThatIsNotAcknowledgedIsSaid) {
  session.Manage("");
  EXPECT_TRUE(session.Deliver(Message(std::string(900, 'x')), 0, true, out));
  EXPECT_FALSE(session.Deliver(Message(std::string(100, 'x')), 0, true, out));
}

TEST_F(BoundSessionTest, AnswersCountWhatIsSettledAndNothingElse) {
  session.Manage("");
  for (int i = 0; i < 3; ++i) session.Receive(0, out);
  session.Settle(1, out);
  session.OnAsked(out);
  EXPECT_EQ(Take(), "");  // 2 and 3 are under way
  session.AnswerNow(out);
  EXPECT_EQ(Take(), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
  session.Settle(3, out);
  EXPECT_EQ(Take(), "");
  session.Settle(2, out);  // on its own: the question was not answered in full
  EXPECT_EQ(Take(), "<a xmlns='urn:xmpp:sm:3' h='3'/>");
  session.Receive(0, out);
  session.Settle(4, out);
  EXPECT_EQ(Take(), "");  // nobody asked
  session.OnAsked(out);
  EXPECT_EQ(Take(), "<a xmlns='urn:xmpp:sm:3' h='4'/>");
}

Delivery Presence(std::string from, std::string show, uint64_t ticket = 0) {
  return {.xml = "<presence from='" + from + "'>" + show + "</presence>",
          .kind = StanzaKind::kPresence,
          .replaces = from,
          .ticket = ticket};
}

TEST_F(BoundSessionTest, PresenceWaitsForAnInactiveClientAndTheLastOfEachIsTold) {
  session.SetActive(false, true, out);
  ASSERT_TRUE(session.Deliver(Presence("a", "1", 5), 0, true, out));
  ASSERT_TRUE(session.Deliver(Presence("b", "1"), 0, true, out));
  ASSERT_TRUE(session.Deliver(Presence("a", "2", 6), 0, true, out));
  EXPECT_EQ(Take(), "");
  EXPECT_THAT(out.ended, ElementsAre(TicketEnd{5}));
  ASSERT_TRUE(session.Deliver(Message("hi"), 0, true, out));
  EXPECT_EQ(Take(),
            "<presence from='a'>2</presence><presence from='b'>1</presence>"
            "<message><body>hi</body></message>");
  ASSERT_TRUE(session.Deliver(Presence("a", "3"), 0, true, out));
  session.SetActive(true, true, out);
  EXPECT_EQ(Take(), "<presence from='a'>3</presence>");
  ASSERT_TRUE(session.Deliver(Presence("a", "4"), 0, true, out));
  EXPECT_EQ(Take(), "<presence from='a'>4</presence>");
}

TEST_F(BoundSessionTest, WhatWaitsIsBounded) {
  session.SetActive(false, true, out);
  for (const char* who : {"a", "b", "c"})
    ASSERT_TRUE(session.Deliver(Presence(who, ""), 0, true, out));
  EXPECT_EQ(Take(), "");
  ASSERT_TRUE(session.Deliver(Presence("d", ""), 0, true, out));
  EXPECT_THAT(Take(), HasSubstr("<presence from='d'>"));
}

TEST_F(BoundSessionTest, WhatWaitsOutlivesTheConnectionAndIsLostWithTheSession) {
  session.Manage("0123456789abcdef");
  session.SetActive(false, true, out);
  ASSERT_TRUE(session.Deliver(Presence("a", "1", 9), 0, true, out));
  ASSERT_TRUE(session.Deliver(Message("hi", 10), 0, false, out));
  std::vector<TicketEnd> ended;
  session.Lose(ended);
  EXPECT_THAT(ended,
              ElementsAre(TicketEnd{9, DeliveryEnd::kLost}, TicketEnd{10, DeliveryEnd::kLost}));
}

}  // namespace
}  // namespace server
