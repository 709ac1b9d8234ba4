#include "server/c2s/xmpp_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <numeric>
#include <string>

#include "net/io/socket.h"
#include "server/c2s/share_out.h"
#include "tests/server/c2s/xmpp_world.h"

namespace server::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Message(std::string_view to, std::string_view text) {
  return "<message to='" + std::string(to) + "'><body>" + std::string(text) + "</body></message>";
}

std::string Attribute(std::string_view xml, std::string_view name) {
  const std::string begin = std::string(name) + "='";
  const size_t at = xml.find(begin);
  if (at == xml.npos) return "";
  const size_t from = at + begin.size();
  return std::string(xml.substr(from, xml.find('\'', from) - from));
}

class XmppServiceTest : public ::testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Workers, XmppServiceTest, ::testing::Values(1, 3));

TEST_P(XmppServiceTest, ClientsChatWhicheverWorkersTheyAreOn) {
  XmppWorld world(GetParam());
  std::vector<Client> romeos, juliets;
  for (int i = 0; i < 4; ++i) {
    romeos.push_back(world.LogIn("romeo", "r" + std::to_string(i)));
    juliets.push_back(world.LogIn("juliet", "j" + std::to_string(i)));
  }
  romeos[0].Say(Message("juliet@here", "hi"));
  for (Client& juliet : juliets) juliet.Until("<body>hi</body>");
  juliets[3].Say(Message("romeo@here", "who?"));
  for (Client& romeo : romeos) romeo.Until("<body>who?</body>");
  EXPECT_EQ(world.service->sessions(), 8U);
  EXPECT_THAT(world.Metrics(), HasSubstr("sm_node_sessions_count 8"));
  EXPECT_THAT(world.Metrics(), HasSubstr("mongooseim_c2s_unauthenticated 0"));
  world.service->Stop();
  for (Client& romeo : romeos) EXPECT_THAT(romeo.UntilEnd(), HasSubstr("<system-shutdown "));
}

// Without XEP-0198 the kernel is the last that we know of.
TEST_P(XmppServiceTest, WhatTheKernelDidNotTakeWhenAConnectionEndsIsLostAndToldSo) {
  constexpr int kMessages = 60;
  XmppWorld world(GetParam());
  Client romeo = world.LogIn("romeo", "r");
  Client juliet = world.LogIn("juliet", "j");
  const std::string text(200'000, 'x');
  for (int i = 0; i < kMessages; ++i) romeo.Say(Message("juliet@here", text));
  // She reads nothing: some of it does not fit into the kernel, nor into what waits for it.
  ASSERT_TRUE(world.Within([&] { return world.Ended(true) > 0; }));
  EXPECT_GT(world.Ended(false), 0);
  // All that was taken is there for her.
  const std::string heard = juliet.UntilEnd();
  int whole = 0;
  for (size_t at = 0; (at = heard.find("</message>", at)) != heard.npos; ++at) ++whole;
  EXPECT_TRUE(world.Within([&] { return world.Ended(false) >= whole; })) << whole;
}

TEST_P(XmppServiceTest, WhatTheKernelTakesIsToldToBeDelivered) {
  XmppWorld world(GetParam());
  Client romeo = world.LogIn("romeo", "r");
  Client juliet = world.LogIn("juliet", "j");
  for (int i = 0; i < 20; ++i) {
    romeo.Say(Message("juliet@here", "hi"));
    juliet.Until("<body>hi</body>");
  }
  ASSERT_TRUE(world.Within([&] { return world.Ended(false) == 20; }));
  romeo.Say(Message("juliet@here", "bye"));
  juliet.Until("bye");
  juliet.Say("</stream:stream>");
  juliet.UntilEnd();
  ASSERT_TRUE(world.Within([&] { return world.Ended(false) == 21; }));
  EXPECT_EQ(world.Ended(true), 0);
}

TEST_P(XmppServiceTest, AWrongPasswordIsToldAndCounted) {
  XmppWorld world(GetParam());
  Client client = world.Dial();
  client.Say(XmppWorld::kOpening);
  client.Until("</stream:features>");
  client.Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
             net::Base64Encode(std::string_view("\0romeo\0wrong", 12)) + "</auth>");
  client.Until("<not-authorized/>");
  EXPECT_THAT(world.Metrics(), HasSubstr("c2s_auth_failed_count{host_type=\"here\"} 1"));
}

TEST_P(XmppServiceTest, InTheClearNobodyLogsIn) {
  XmppWorld world(GetParam());
  Client client(world.service->addresses()[0], "");
  client.Say(XmppWorld::kOpening);
  EXPECT_THAT(client.Until("</stream:features>"), Not(HasSubstr("mechanism")));
}

// The client's connection breaks, many times; each time it comes to whichever worker. Nothing that
// was sent to it is lost, doubled or out of order.
TEST_P(XmppServiceTest, ASessionGoesOnWhereverItsClientComesBack) {
  XmppWorld world(GetParam());
  Client romeo = world.LogIn("romeo", "x");
  Client juliet = world.LogIn("juliet", "y");
  juliet.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const std::string previd = Attribute(juliet.Until("max='3600'/>"), "id");
  uint32_t handled = 0;
  int next = 0;
  for (int round = 0; round < 12; ++round) {
    romeo.Say(Message("juliet@here", std::to_string(next)));
    juliet.Until("<body>" + std::to_string(next++) + "</body>");
    ++handled;
    // This one is on its way to a connection that is gone, or half open.
    const bool cut = round % 2 == 0;
    Client old;
    if (cut) {
      juliet.Cut();
    } else {
      old = std::move(juliet);
    }
    romeo.Say(Message("juliet@here", std::to_string(next)));
    juliet = world.Authenticated("juliet");
    juliet.Say("<resume xmlns='urn:xmpp:sm:3' previd='" + previd + "' h='" +
               std::to_string(handled) + "'/>");
    juliet.Until("<resumed ");
    juliet.Until("<body>" + std::to_string(next++) + "</body>");
    ++handled;
    if (!cut) {
      EXPECT_THAT(old.UntilEnd(), HasSubstr("<conflict "));
    }
  }
  juliet.Say("<a xmlns='urn:xmpp:sm:3' h='" + std::to_string(handled) + "'/>");
  juliet.Say(Message("romeo@here", "all"));
  romeo.Until("<body>all</body>");
  juliet.Say("</stream:stream>");
  EXPECT_THAT(juliet.UntilEnd(), HasSubstr("</stream:stream>"));
  EXPECT_EQ(world.Ended(true), 0);
  // Romeo, who does not acknowledge, reads it before the kernel says that it took it.
  EXPECT_TRUE(world.Within([&] { return world.Ended(false) == 25; }));
  // With the kernel's choice of three, it was at home twelve times once in half a million.
  const bool moved = world.Metrics().find("mongooseim_c2s_moved_total 0") == std::string::npos;
  EXPECT_EQ(moved, GetParam() > 1);
  EXPECT_TRUE(world.Within([&] { return world.service->sessions() == 1; }));
  // It is gone for good.
  juliet = world.Authenticated("juliet");
  juliet.Say("<resume xmlns='urn:xmpp:sm:3' previd='" + previd + "' h='0'/>");
  EXPECT_THAT(juliet.Until("</failed>"), HasSubstr("<item-not-found "));
}

TEST_P(XmppServiceTest, OfTwoThatResumeOneSessionOneHasIt) {
  XmppWorld world(GetParam());
  Client juliet = world.LogIn("juliet", "y");
  juliet.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const std::string previd = Attribute(juliet.Until("max='3600'/>"), "id");
  juliet.Cut();
  Client romeo = world.Authenticated("romeo");
  romeo.Say("<resume xmlns='urn:xmpp:sm:3' previd='" + previd + "' h='0'/>");
  romeo.Until("<item-not-found ");  // another's
  std::vector<Client> both;
  for (int i = 0; i < 2; ++i) both.push_back(world.Authenticated("juliet"));
  for (Client& one : both) {
    one.Say("<resume xmlns='urn:xmpp:sm:3' previd='" + previd + "' h='0'/>");
  }
  // The other is refused, or has it taken away.
  std::string all;
  for (Client& one : both) {
    one.Say("</stream:stream>");
    all += one.UntilEnd();
  }
  const bool refused = all.find("<item-not-found ") != std::string::npos;
  const bool taken = all.find("<conflict ") != std::string::npos;
  const bool after = all.find("<resumed ") != all.rfind("<resumed ");
  EXPECT_TRUE(refused || taken || after) << all;
  EXPECT_TRUE(world.Within([&] { return world.service->sessions() == 0; }));
}

TEST(XmppService, SessionsThatNobodyWantsGoWhenMemoryIsShort) {
  XmppWorld world(1, [](XmppSetup& setup) { setup.options.parked_bytes_max = 1; });
  Client juliet = world.LogIn("juliet", "y");
  juliet.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const std::string previd = Attribute(juliet.Until("max='3600'/>"), "id");
  juliet.Cut();
  EXPECT_TRUE(world.Within([&] { return world.service->sessions() == 0; }));
  juliet = world.Authenticated("juliet");
  juliet.Say("<resume xmlns='urn:xmpp:sm:3' previd='" + previd + "' h='0'/>");
  EXPECT_THAT(juliet.Until("</failed>"), HasSubstr(" h='0'"));
  EXPECT_THAT(world.Metrics(), HasSubstr("mongooseim_c2s_detached_evicted_total 1"));
}

// It asks for what the stream answers itself, and neither reads nor acknowledges.
TEST(XmppService, WhatAStreamSaysItselfIsBoundedToo) {
  XmppWorld world(1,
                  [](XmppSetup& setup) { setup.options.limits.bound.unacked_bytes_max = 200'000; });
  Client juliet = world.LogIn("juliet", "y");
  juliet.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  juliet.Until("max='3600'/>");
  const std::string session = "<iq type='set' id='" + std::string(10'000, 'i') +
                              "'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
  for (int i = 0; i < 25; ++i) juliet.Say(session);
  EXPECT_THAT(juliet.UntilEnd(), HasSubstr("<policy-violation "));
  EXPECT_TRUE(world.Within([&] { return world.service->sessions() == 0; }));
  EXPECT_EQ(world.service->waiting_bytes(), 0U);
}

// One who does not acknowledge, one who does not read, one whose connection broke, and one who does
// all that it should: the heaviest go first, and only as far as it must be.
TEST_P(XmppServiceTest, WithoutMemoryTheHeaviestEndAndNothingOfTheirsIsLost) {
  XmppWorld world(GetParam());
  Client romeo = world.LogIn("romeo", "r");
  Client heavy = world.LogIn("juliet", "heavy");
  heavy.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  heavy.Until("max='3600'/>");
  const std::string text(30'000, 'x');
  constexpr int kMessages = 20;
  for (int i = 0; i < kMessages; ++i) {
    romeo.Say(Message("juliet@here", text));
    heavy.Until("</message>");
  }
  EXPECT_GE(world.service->waiting_bytes(), kMessages * text.size());
  Client light = world.LogIn("juliet", "light");
  light.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  light.Until("max='3600'/>");
  romeo.Say(Message("juliet@here", "little"));
  light.Until("<body>little</body>");

  std::promise<XmppService::Ordered> told;
  world.service->EndHeaviest(1, [&](XmppService::Ordered ordered) { told.set_value(ordered); });
  const XmppService::Ordered ordered = told.get_future().get();
  EXPECT_EQ(ordered.sessions, 1U);
  EXPECT_GE(ordered.bytes, kMessages * text.size());
  const std::string last = heavy.UntilEnd();
  EXPECT_THAT(last, HasSubstr("<resource-constraint "));
  EXPECT_THAT(last, HasSubstr("</stream:stream>"));
  EXPECT_TRUE(world.Within([&] { return world.Ended(true) == kMessages + 1; }));
  EXPECT_EQ(world.service->memory_shed().heavy, 1U);
  EXPECT_LT(world.service->waiting_bytes(), 1'000U);

  // Nobody waits with much: all may ask for more, and nobody ends.
  std::promise<XmppService::Ordered> none;
  world.service->EndHeaviest(1 << 30, [&](XmppService::Ordered o) { none.set_value(o); });
  EXPECT_EQ(none.get_future().get().sessions, 0U);
  romeo.Say(Message("juliet@here", "still there"));
  light.Until("<body>still there</body>");

  // One without a connection is worth it, be it as light as it may.
  light.Cut();
  ASSERT_TRUE(world.Within([&] { return world.service->detached() == 1; }));
  world.service->EndHeaviest(1, [](XmppService::Ordered) {});
  EXPECT_TRUE(world.Within([&] { return world.service->memory_shed().detached == 1; }));
  EXPECT_TRUE(world.Within([&] { return world.service->sessions() == 1; }));
}

// What nobody reads does not stay for as long as a last word may take.
TEST_P(XmppServiceTest, WithoutMemoryWhatIsQueuedForWhoDoesNotReadIsGivenUp) {
  constexpr int kEach = 100'000;
  constexpr int kQueued = 5 * kEach;
  XmppWorld world(GetParam(),
                  [](XmppSetup& setup) { setup.options.conn.linger = std::chrono::minutes(5); });
  Client romeo = world.LogIn("romeo", "r");
  Client juliet = world.LogIn("juliet", "deaf");
  const std::string text(kEach, 'x');
  // One at a time, which romeo knows to be there by what he writes to himself behind it, until the
  // kernel takes no more: so much waits, and none of it went while all workers had turns.
  int sent = 0;
  const auto say = [&](std::string_view to, std::string_view body) {
    romeo.Say(Message(to, body));
    ++sent;
  };
  ASSERT_TRUE(world.Within([&] {
    const uint64_t before = world.service->output_bytes();
    if (before < kQueued) say("juliet@here", text);
    const std::string turn = "turn " + std::to_string(sent);
    say("romeo@here", turn);
    romeo.Until(turn + "</body></message>");
    std::promise<void> all;
    world.service->EndHeaviest(0, [&](XmppService::Ordered) { all.set_value(); });
    all.get_future().wait();
    return before >= kQueued && world.service->output_bytes() == before;
  }));
  world.service->EndHeaviest(1, [](XmppService::Ordered) {});
  EXPECT_TRUE(world.Within([&] { return world.service->output_bytes() == 0; }));
  // What was queued comes back; what was said last may find nobody there any more.
  const int whole = kQueued / kEach - 1;
  EXPECT_TRUE(world.Within([&] { return world.Ended(true) >= whole; })) << world.Ended(true);
  EXPECT_LE(world.Ended(true) + world.Ended(false), sent);
}

TEST(XmppService, WhatItHasGoesBackWhenItStops) {
  XmppWorld world(2);
  Client juliet = world.LogIn("juliet", "y");
  juliet.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  juliet.Until("max='3600'/>");
  Client romeo = world.LogIn("romeo", "x");
  romeo.Say(Message("juliet@here", "1"));
  juliet.Until("<body>1</body>");
  juliet.Cut();
  romeo.Say("<presence/>");
  std::map<std::string, SessionId> bound;
  {
    std::lock_guard lock(world.mutex);
    bound = world.bound;
  }
  EXPECT_TRUE(bound.contains("juliet@here/y"));
  std::vector<FewWords*> homes = std::exchange(world.homes, {});
  world.service->Stop();
  EXPECT_TRUE(world.bound.empty());
}

// One that ends is told to the others, which wait for their clients too, and end next.
TEST_P(XmppServiceTest, SessionsWithoutAConnectionHearOfEachOtherWhileTheyStop) {
  constexpr size_t kSessions = 6;
  XmppWorld world(GetParam());
  for (FewWords* home : world.homes) home->tells_gone = true;
  for (size_t i = 0; i < kSessions; ++i) {
    Client juliet = world.LogIn("juliet", "j" + std::to_string(i));
    juliet.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    juliet.Until("max='3600'/>");
  }
  ASSERT_TRUE(world.Within([&] { return world.service->detached() == kSessions; }));
  world.service->Stop();
  EXPECT_TRUE(world.bound.empty());
}

TEST(ShareOut, AllOfItIsGivenAndNobodyHasMoreThanItsWeight) {
  const std::vector<uint64_t> sixteen(16, 1000);
  const std::vector<uint64_t> eight = ShareOut(8, sixteen);
  EXPECT_EQ(std::accumulate(eight.begin(), eight.end(), uint64_t{0}), 8U);
  EXPECT_EQ(*std::ranges::max_element(eight), 1U);
  EXPECT_EQ(ShareOut(0, sixteen), std::vector<uint64_t>(16, 0));
  EXPECT_EQ(ShareOut(7, std::vector<uint64_t>{}), std::vector<uint64_t>{});
  EXPECT_EQ(ShareOut(7, std::vector<uint64_t>{0, 0}), (std::vector<uint64_t>{0, 0}));
  const std::vector<uint64_t> weights = {3, 0, 1, 5, 2};
  for (uint64_t count = 0; count < 15; ++count) {
    const std::vector<uint64_t> shares = ShareOut(count, weights);
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), uint64_t{0}),
              std::min<uint64_t>(count, 11));
    for (size_t i = 0; i < weights.size(); ++i) EXPECT_LE(shares[i], weights[i]) << count;
  }
}

TEST_P(XmppServiceTest, AsManyAreShedAsWereToBe) {
  XmppWorld world(GetParam());
  std::vector<Client> clients;
  for (int i = 0; i < 9; ++i) clients.push_back(world.LogIn("juliet", std::to_string(i)));
  for (uint64_t round = 1; round <= 4; ++round) {
    world.service->Shed(2, 50);
    // It is known at once how many are to go.
    const XmppService::Shedding now = world.service->shedding();
    EXPECT_GE(now.left + now.drained, 2 * round);
    ASSERT_TRUE(world.Within([&] { return world.service->shedding().left == 0; }));
    EXPECT_EQ(world.service->shedding().drained, 2 * round);
  }
}

// Its stream has ended while it was in line; its connection waits for its client to close too.
TEST(XmppService, WhoHasEndedIsNoneOfThoseThatAreShed) {
  XmppWorld world(1, [](XmppSetup& setup) { setup.options.conn.linger = std::chrono::minutes(1); });
  Client idlest = world.LogIn("juliet", "i");
  idlest.Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const std::string previd = Attribute(idlest.Until("max='3600'/>"), "id");
  Client plain = world.LogIn("romeo", "p");
  world.service->Shed(1, 1e-6);  // they are in line, and it does not move yet
  Client again = world.Authenticated("juliet");
  again.Say("<resume xmlns='urn:xmpp:sm:3' previd='" + previd + "' h='0'/>");
  again.Until("<resumed ");
  ASSERT_EQ(world.service->shedding().left, 1U);
  world.service->Shed(1, 100);
  ASSERT_TRUE(world.Within([&] { return world.service->shedding().left == 0; }));
  EXPECT_EQ(world.service->shedding().drained, 1U);
  plain.Until("<system-shutdown ");
}

// An address that another has taken meanwhile: the node does what it says.
TEST_P(XmppServiceTest, ADrainThatCannotBeEndedGoesOn) {
  XmppWorld world(GetParam());
  std::vector<Client> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(world.LogIn("juliet", std::to_string(i)));
  world.service->Drain(3);
  const net::SocketName name = world.service->addresses().back().ToSocketName();
  net::UniqueFd taken;
  ASSERT_TRUE(world.Within([&] {
    auto socket = net::Listen(name.get(), name.size(), {});
    if (socket) taken = std::move(*socket);
    return taken.get() >= 0;
  }));
  EXPECT_FALSE(world.service->EndDrain().empty());
  ASSERT_TRUE(world.Within([&] { return world.service->shedding().drained == 6; }));
  // Not even where it could have listened.
  const net::SocketName free = world.service->addresses().front().ToSocketName();
  const net::UniqueFd refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_NE(connect(refused.get(), free.get(), free.size()), 0);
  taken.Reset();
  EXPECT_TRUE(world.service->EndDrain().empty());
  world.LogIn("juliet", "again");
}

TEST(XmppService, WhoFailsTooOftenIsNotTried) {
  XmppWorld world(1, [](XmppSetup& setup) {
    setup.options.sasl_limits = {.account_per_s = 0.05, .burst = std::chrono::minutes(1)};
  });
  std::string said;
  for (int i = 0; i < 5; ++i) {
    Client client = world.Dial();
    client.Say(XmppWorld::kOpening);
    client.Until("</stream:features>");
    client.Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
               net::Base64Encode(std::string_view("\0romeo\0wrong", 12)) + "</auth>");
    said += client.Until("</failure>");
  }
  EXPECT_THAT(said, HasSubstr("<temporary-auth-failure/>"));
  EXPECT_THAT(said, HasSubstr("<not-authorized/>"));
  world.LogIn("juliet", "y");  // others are
}

// What comes for a session that is still on its way is bounded as what it may leave unacknowledged.
TEST_P(XmppServiceTest, ASessionForWhichTooMuchComesBeforeItIsThereDoesNotCome) {
  constexpr int kFits = 10;
  XmppWorld world(GetParam(),
                  [](XmppSetup& setup) { setup.options.limits.bound.unacked_max = kFits; });
  for (FewWords* home : world.homes) home->resumes = true;
  Client at_home = world.LogIn("juliet", "j");
  Client juliet = world.Authenticated("juliet");
  Client romeo = world.LogIn("romeo", "r");
  const net::Time before = world.clock.Now();
  juliet.Say("<resume xmlns='urn:xmpp:sm:3' h='0' previd='" + std::string(32, 'a') + "-9-9'/>");
  const auto resumed = [&] {
    int sum = 0;
    for (const FewWords* home : world.homes) sum += home->resumed;
    return sum;
  };
  ASSERT_TRUE(world.Within([&] { return resumed() == 1; }));
  for (int i = 0; i <= kFits; ++i) romeo.Say(Message("juliet@here", "hi"));
  EXPECT_THAT(juliet.Until("</failed>"), HasSubstr("<item-not-found "));
  EXPECT_TRUE(world.Within([&] { return world.Ended(true) == kFits + 1; })) << world.Ended(true);
  // Else it would have waited for as long as a session may take (5 s).
  EXPECT_LT(world.clock.Now() - before, std::chrono::seconds(4));
}

// A session that came from one node with something under way goes on to another: what it has with
// it there.
size_t DebtsToldTo(uint8_t version) {
  constexpr NodeNumber kFrom = 1, kTo = 2;
  std::mutex mutex;
  std::vector<uint8_t> told;
  XmppWorld world(1, [&](XmppSetup& setup) {
    setup.node = "mongooseim@here";
    setup.to_nodes = [&](std::vector<NodeMail> mail) {
      const std::lock_guard lock(mutex);
      for (const NodeMail& one : mail) {
        if (one.node == kTo) told.insert(told.end(), one.letters.begin(), one.letters.end());
      }
    };
  });
  world.homes.front()->resumes = true;
  Client at_home = world.LogIn("juliet", "j");
  world.service->OnWorker([version](XmppWorker& w) {
    w.far().NodeUp(kFrom, "mongooseim@from", kLettersVersion);
    w.far().NodeUp(kTo, "mongooseim@to", version);
  });
  Client juliet = world.Authenticated("juliet");
  juliet.Say("<resume xmlns='urn:xmpp:sm:3' h='0' previd='" + std::string(32, 'a') + "-9-9'/>");
  if (!world.Within([&] { return world.homes.front()->resumed == 1; })) return SIZE_MAX;
  const SessionId id = world.homes.front()->resumed_as;

  const BoundLimits limits;
  BoundSession::Out out;
  BoundSession before({.worker = 0, .place = 1, .life = 1}, *Jid::Parse("juliet@here/k"), &limits);
  before.Manage(std::string(16, 'a'));
  before.Receive(10, out);
  std::vector<uint8_t> letter;
  AppendLetter(letter, SessionLetter{id, before.Take().ToBytes([](uint16_t) { return ""; },
                                                               kLettersVersion)});
  world.service->OnWorker([letter](XmppWorker& w) {
    w.far().OnMail(kFrom, LetterKind::kSession, std::span(letter).subspan(kLetterHeadBytes));
  });
  juliet.Until("<resumed ");
  world.service->OnWorker([id](XmppWorker& w) {
    w.Move(id, {.worker = 0, .node = kTo, .place = 7, .life = 7}, *Jid::Parse("juliet@here"));
  });
  size_t debts = SIZE_MAX;
  const auto read = [&] {
    const std::lock_guard lock(mutex);
    std::span<const uint8_t> rest = told;
    for (auto head = ReadLetterHead(rest); head; head = ReadLetterHead(rest)) {
      rest = rest.subspan(kLetterHeadBytes);
      const auto one = ReadLetter(head->kind, rest.first(head->size), kFrom);
      rest = rest.subspan(head->size);
      if (!one || !std::holds_alternative<SessionLetter>(*one)) continue;
      const auto state = BoundState::Parse(std::get<SessionLetter>(*one).state,
                                           [](const std::string&) { return 3; });
      if (state) debts = state->debts.size();
    }
    return debts != SIZE_MAX;
  };
  EXPECT_TRUE(world.Within(read));
  return debts;
}

TEST(XmppService, ASessionThatMovesTakesItsDebtsWithItToWhoReadsThemAlone) {
  EXPECT_EQ(DebtsToldTo(kLettersVersion), 1U);
  EXPECT_EQ(DebtsToldTo(1), 0U) << "it would not be read there, and end";
}

// Letters of other nodes come by the node's thread; what a home has for a session, of its worker. A
// worker that is busy takes both in the order in which they came.
TEST(XmppService, WhatTheNodeHasForAWorkerStandsInLineWithWhatOtherWorkersHave) {
  XmppWorld world(2);
  XmppService& service = *world.service;
  std::string to = "a@elsewhere";
  while (HomeHash(to) % 2 != 0) to.insert(0, "a");
  const auto route = [&](size_t by, const std::string& id) {
    service.OnWorker(by, [to, id](XmppWorker& w) {
      w.Route({.from = *Jid::Parse("romeo@here"), .to = *Jid::Parse(to), .id = id});
    });
  };
  const auto turn_of = [&](size_t worker) {
    std::promise<void> done;
    service.OnWorker(worker, [&](XmppWorker&) { done.set_value(); });
    done.get_future().wait();
  };
  std::promise<void> busy, go_on;
  service.OnWorker(0, [&, until = go_on.get_future()](XmppWorker&) {
    busy.set_value();
    until.wait();
  });
  busy.get_future().wait();
  route(1, "one");
  for (int i = 0; i < 3; ++i) turn_of(1);  // it has put that into the other's mailbox
  route(0, "two");
  route(1, "three");
  for (int i = 0; i < 3; ++i) turn_of(1);
  go_on.set_value();
  std::vector<std::string> routed;
  ASSERT_TRUE(world.Within([&] {
    std::promise<void> seen;
    service.OnWorker(0, [&](XmppWorker& w) {
      routed = dynamic_cast<FewWords&>(w.home_box()).routed;
      seen.set_value();
    });
    seen.get_future().wait();
    return routed.size() == 3;
  }));
  EXPECT_LT(std::ranges::find(routed, "two"), std::ranges::find(routed, "three"));
}

}  // namespace
}  // namespace server::test
