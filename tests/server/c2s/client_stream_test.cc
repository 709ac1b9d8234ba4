#include "server/c2s/client_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/c2s/stream_world.h"

namespace server {
namespace {

using test::kOpening;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;
using State = ClientStream::State;

class ClientStreamTest : public ::testing::Test, public test::StreamWorld {
 protected:
  static std::string Error(std::string_view condition) {
    return "<stream:error><" + std::string(condition) +
           " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>";
  }
  // Who was refused is read on.
  void Later() {
    now += std::chrono::milliseconds(100);
    stream->OnDue();
  }
};

TEST_F(ClientStreamTest, InTheClearThereIsTlsAndNothingElse) {
  EXPECT_EQ(Say(kOpening),
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' "
            "id='0102030405060708090a0b0c0d0e0f10' from='here' version='1.0' xml:lang='en'>"
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>"
            "</starttls></stream:features>");
  EXPECT_EQ(Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>="
                "</auth>"),
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>");
  EXPECT_EQ(Say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>[tls here]");
}

TEST_F(ClientStreamTest, NothingMayStandBehindStartTls) {
  Say(kOpening);
  EXPECT_THAT(Say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><auth/>"),
              StartsWith(Error("policy-violation")));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, ThereIsNoStartTlsOverTls) {
  Connect({.secure = true});
  EXPECT_THAT(Say(kOpening), Not(HasSubstr("starttls")));
  EXPECT_EQ(Say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>");
  EXPECT_TRUE(over);
}

struct Refused {
  std::string bytes;
  std::string condition;
};
class RefusedOpenings : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedOpenings, EndWithTheRfcsError) {
  test::StreamWorld world;
  const std::string said = world.Say(GetParam().bytes);
  EXPECT_THAT(said, HasSubstr("<stream:error><" + GetParam().condition + " xmlns="));
  EXPECT_THAT(said, StartsWith("<?xml version='1.0'?><stream:stream "));
  EXPECT_THAT(said, EndsWith("</stream:error></stream:stream>"));
  EXPECT_EQ(said.find("<stream:stream"), said.rfind("<stream:stream"));
  EXPECT_TRUE(world.over);
}

constexpr std::string_view kSpaces =
    " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ";
std::string Opening(std::string_view attributes) {
  return "<stream:stream" + std::string(kSpaces) + std::string(attributes) + ">";
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedOpenings,
    ::testing::Values(Refused{Opening("to='nowhere' version='1.0'"), "host-unknown"},
                      Refused{Opening("version='1.0'"), "host-unknown"},  // of two
                      Refused{Opening("to='here'"), "unsupported-version"},
                      Refused{Opening("to='here' version='0.9'"), "unsupported-version"},
                      Refused{Opening("to='here' version='one'"), "unsupported-version"},
                      Refused{"<stream:stream xmlns='jabber:server' to='here' version='1.0' "
                              "xmlns:stream='http://etherx.jabber.org/streams'>",
                              "invalid-namespace"},
                      Refused{"<stream:stream xmlns='jabber:client' to='here' version='1.0' "
                              "xmlns:stream='http://example.org'>",
                              "invalid-namespace"},
                      Refused{"<stream:streams" + std::string(kSpaces) + "to='here' version='1.0'>",
                              "bad-format"},
                      Refused{"GET / HTTP/1.1\r\n\r\n", "not-well-formed"},
                      Refused{"<!DOCTYPE x>", "restricted-xml"},
                      Refused{Opening("to='here' version='1.0'") + "<!-- -->", "restricted-xml"},
                      Refused{Opening("to='here' version='1.0'") + "<message/>", "not-authorized"},
                      Refused{Opening("to='here' version='1.0'") + "text", "bad-format"},
                      Refused{Opening("x='" + std::string(5'000, 'x') + "'"), "policy-violation"},
                      Refused{
                          Opening("to='here' version='1.0'") + "<auth>" + std::string(17'000, 'x'),
                          "policy-violation"}));

TEST_F(ClientStreamTest, VersionsThatAreCompatibleAndNamesThatArePreparedAreTaken) {
  EXPECT_THAT(Say(Opening("to='HERE' version='1.7' from='Romeo@Here'")),
              HasSubstr("from='here' to='romeo@here' version='1.0'"));
}

std::string Register(std::string_view user) {
  return "<iq type='set' id='r2'><query xmlns='jabber:iq:register'><username>" + std::string(user) +
         "</username><password>long enough</password></query></iq>";
}
constexpr std::string_view kRegisterFeature =
    "<register xmlns='http://jabber.org/features/iq-register'/>";

TEST_F(ClientStreamTest, WhereItIsWantedAnAccountIsMadeBeforeTheLogin) {
  ground.sign_up.enabled = true;
  EXPECT_THAT(Say(kOpening), Not(HasSubstr(kRegisterFeature))) << "in the clear";
  Connect({.secure = true});
  EXPECT_THAT(Say(kOpening), HasSubstr(kRegisterFeature));
  EXPECT_THAT(Say("<iq type='get' id='r1'><query xmlns='jabber:iq:register'/></iq>"),
              StartsWith("<iq type='result' id='r1' from='here'><query xmlns='jabber:iq:register'>"
                         "<instructions>"));
  EXPECT_EQ(Say(Register("Mercutio")), "<iq type='result' id='r2' from='here'/>");
  EXPECT_THAT(signed_up, ElementsAre("mercutio@here"));
  sign_up_error = ErrorXml(StanzaError::kConflict);
  EXPECT_THAT(Say(Register("romeo")), HasSubstr("type='error' id='r2' from='here'><error"));
  EXPECT_THAT(Say(Plain("romeo", "juliet")), StartsWith("<success"));
  EXPECT_THAT(Say(kOpening), Not(HasSubstr(kRegisterFeature)));
}

TEST_F(ClientStreamTest, WhereItIsNotWantedItIsNotTaken) {
  Connect({.secure = true});
  EXPECT_THAT(Say(kOpening), Not(HasSubstr(kRegisterFeature)));
  EXPECT_THAT(Say(Register("mercutio")), StartsWith(Error("not-authorized")));
  EXPECT_THAT(signed_up, IsEmpty());
}

TEST_F(ClientStreamTest, AccountsAreMadeOverTlsAloneAndAFewOnAStream) {
  ground.sign_up.enabled = true;
  ground.tls_need = TlsNeed::kOptional;
  Connect({});
  Say(kOpening);
  EXPECT_THAT(Say(Register("mercutio")), StartsWith(Error("not-authorized")));
  over = false;
  Connect({.secure = true});
  Say(kOpening);
  sign_up_error = ErrorXml(StanzaError::kConflict);
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Say(Register("x")), HasSubstr("<conflict"));
  EXPECT_THAT(Say(Register("x")), StartsWith(Error("policy-violation")));
}

TEST_F(ClientStreamTest, TheStreamsLanguageIsThatOfStanzasWithoutOne) {
  constexpr std::string_view kGerman =
      "<stream:stream to='here' xmlns='jabber:client' xml:lang='de' "
      "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  Say(kGerman);
  Say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
  Say("<message to='a@here'><body>x</body></message>"
      "<message to='a@here' xml:lang='fr'/><message to='a@here' xml:lang=''/>");
  ASSERT_EQ(arrived.size(), 3U);
  EXPECT_EQ(arrived[0].first, "<message to='a@here' xml:lang='de'><body>x</body></message>");
  EXPECT_EQ(arrived[1].first, "<message to='a@here' xml:lang='fr'/>");
  EXPECT_EQ(arrived[2].first, "<message to='a@here' xml:lang=''/>");
}

TEST_F(ClientStreamTest, ShortOfMemoryNobodyBindsAndWithoutAnyNobodyComesIn) {
  ground.pressure = MemoryPressure::kShort;
  Connect({.secure = true});
  Say(kOpening);
  EXPECT_THAT(Say(Plain("romeo", "juliet")), StartsWith("<success"));
  Say(kOpening);
  EXPECT_THAT(Say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
              StartsWith("<iq type='error' id='b'><error type='wait'><resource-constraint"));
  ground.pressure = MemoryPressure::kFull;
  Connect({.secure = true});
  EXPECT_THAT(Say(kOpening), HasSubstr(Error("resource-constraint")));
  EXPECT_EQ(ground.counters.bindings_shed, 1U);
  EXPECT_EQ(ground.counters.streams_shed, 1U);
}

TEST_F(ClientStreamTest, WithoutMemoryWhatIsNewGoesBackAndTheRestIsTaken) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  ground.pressure = MemoryPressure::kFull;
  EXPECT_EQ(Say("<message to='a@here' id='1'/>"), "") << "it is short, and nothing waits for him";
  ground.pressure = MemoryPressure::kOut;
  const std::string refused = Say("<message to='a@here' id='2'><body>text</body></message>");
  EXPECT_THAT(refused, StartsWith("<message type='error' id='2' from='a@here' to='romeo@here/x'>"
                                  "<error type='wait'><resource-constraint"));
  EXPECT_THAT(refused, Not(HasSubstr("text</body>")));
  EXPECT_TRUE(held) << "it is read on later";
  Later();
  EXPECT_FALSE(held);
  EXPECT_THAT(Say("<iq type='get' id='3'><query xmlns='jabber:iq:roster'/></iq>"),
              StartsWith("<iq type='error' id='3' from='romeo@here' to='romeo@here/x'>"));
  Later();
  EXPECT_EQ(Say("<message type='error' to='a@here'/>"), "") << "an error has no answer";
  Later();
  EXPECT_EQ(Say("<presence/><iq type='result' id='4'/>"), "");
  std::vector<std::string> names;
  for (const auto& [xml, number] : arrived) names.push_back(xml.substr(0, xml.find(' ')));
  EXPECT_THAT(names, ElementsAre("<message", "<presence/>", "<iq"));
  EXPECT_EQ(ground.counters.stanzas_shed, 3U);
  // What went back is done with, as the client counts; the first of all is under way.
  stream->Settled(1);
  EXPECT_THAT(Say("<r xmlns='urn:xmpp:sm:3'/>"), HasSubstr("h='6'"));
}

// Who is long, does not acknowledge or does not read is refused before the others are.
TEST_F(ClientStreamTest, WhereMemoryIsNearlyOutShortWordsOfGoodClientsAreTaken) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  ground.pressure = MemoryPressure::kFull;
  const std::string little = "<message to='a@here' id='1'><body>hi</body></message>";
  EXPECT_THAT(Say("<message to='a@here'><body>" + std::string(2'048, 'x') + "</body></message>"),
              HasSubstr("<resource-constraint"));
  Later();
  EXPECT_EQ(Say(little), "");
  queued = 2'048;
  EXPECT_THAT(Say(little), HasSubstr("<resource-constraint"));
  Later();
  queued = 0;
  stream->Deliver({.xml = std::string(2'048, ' '), .kind = StanzaKind::kMessage});
  written.clear();
  EXPECT_THAT(Say(little), HasSubstr("<resource-constraint"));
  Later();
  Say("<a xmlns='urn:xmpp:sm:3' h='4'/>");
  EXPECT_EQ(Say(little), "");
}

// An answer of the stream's own is bounded as all that waits is.
TEST_F(ClientStreamTest, WhoAsksAndNeitherReadsNorAcknowledgesIsEnded) {
  std::atomic<uint64_t> waiting{0};
  ground.limits.bound.unacked_bytes_max = 100'000;
  ground.limits.bound.waiting_bytes = &waiting;
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const std::string session = "<iq type='set' id='" + std::string(9'000, 'i') +
                              "'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
  for (int i = 0; i < 11; ++i) {
    EXPECT_THAT(Say(session), StartsWith("<iq type='result'")) << i;
  }
  EXPECT_GT(waiting, 99'000U);
  EXPECT_THAT(Say(session), HasSubstr(Error("policy-violation")));
  EXPECT_TRUE(over);
  ASSERT_NE(parted, nullptr);
  std::vector<TicketEnd> ended;
  parted->Lose(ended);
  EXPECT_EQ(waiting, 0U);
}

TEST_F(ClientStreamTest, ManySmallAnswersAreBoundedByTheirNumber) {
  ground.limits.bound.unacked_max = 20;
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  std::string heard;
  for (int i = 0; i < 21 && !over; ++i) {
    heard = Say("<iq type='set'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    EXPECT_EQ(over, i == 20);
  }
  EXPECT_THAT(heard, HasSubstr(Error("policy-violation")));
}

TEST_F(ClientStreamTest, AnswersForWantOfMemoryAreBoundedAsWell) {
  ground.limits.bound.unacked_max = 20;
  ground.pressure = MemoryPressure::kEnough;
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  ground.pressure = MemoryPressure::kOut;
  for (int i = 0; i < 20; ++i) {
    Say("<message to='a@here'/>");
    Later();
  }
  EXPECT_FALSE(over);
  EXPECT_THAT(Say("<message to='a@here'/>"), HasSubstr(Error("policy-violation")));
}

TEST_F(ClientStreamTest, WhatHostsCountIsTheirOwn) {
  LogIn();
  Say("<message to='a@here'/><message to='a@here'/><presence/>");
  stream->Deliver({.xml = "<message/>", .kind = StanzaKind::kMessage});
  EXPECT_EQ(ground.counters.hosts[0].bound, 1U);
  EXPECT_EQ(ground.counters.hosts[0].in[0], 2U);
  EXPECT_EQ(ground.counters.hosts[0].in[1], 1U);
  EXPECT_EQ(ground.counters.hosts[0].out[0], 1U);
  EXPECT_EQ(ground.counters.hosts[1].in[0], 0U);
}

TEST(ClientGround, KeepsNoEndOfLanguages) {
  ClientGround ground;
  EXPECT_EQ(ground.LangNumber("en"), 1);
  EXPECT_EQ(ground.LangNumber("de-CH"), 2);
  EXPECT_EQ(ground.LangNumber("en"), 1);
  EXPECT_EQ(ground.LangNumber("e n"), 0);
  EXPECT_EQ(ground.LangNumber(std::string(36, 'x')), 0);
  for (int i = 0; i < 300; ++i) ground.LangNumber("x-" + std::to_string(i));
  EXPECT_EQ(ground.langs.size(), ClientGround::kLangsMax);
  EXPECT_EQ(ground.LangNumber("tlh"), 0);
  EXPECT_EQ(ground.LangNumber("en"), 1);
}

TEST_F(ClientStreamTest, ALoginIsTwoStreamsAndABinding) {
  Connect({.secure = true});
  EXPECT_THAT(Say(kOpening), HasSubstr("<mechanism>PLAIN</mechanism>"));
  EXPECT_EQ(Say(Plain("romeo", "juliet")), "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
  EXPECT_FALSE(stream->unauthenticated());
  const std::string features = Say(kOpening);
  EXPECT_THAT(features, HasSubstr("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"));
  EXPECT_THAT(features, HasSubstr("<sm xmlns='urn:xmpp:sm:3'/>"));
  EXPECT_THAT(features, Not(HasSubstr("mechanism")));
  EXPECT_EQ(Say("<iq type='set' id='&lt;1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
            "<iq type='result' id='&lt;1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            "<jid>romeo@here/made</jid></bind></iq>");
  EXPECT_EQ(Say("<iq type='set' id='s'><session "
                "xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"),
            "<iq type='result' id='s' to='romeo@here/made'/>");
  EXPECT_EQ(Say("<message to='juliet@here'><body>hi</body></message>"), "");
  EXPECT_THAT(arrived, ElementsAre(Pair("<message to='juliet@here'><body>hi</body></message>", 0)));
}

TEST_F(ClientStreamTest, ScramRestartsInTheSameBuffer) {
  ground.tls_need = TlsNeed::kOptional;
  Say(kOpening);
  const std::string first = "n=romeo,r=abc";
  Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>" +
      net::Base64Encode("n,," + first) + "</auth>");
  EXPECT_THAT(looked, ElementsAre("romeo@here"));
  // A wrong proof of the right size.
  EXPECT_EQ(Say("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" +
                net::Base64Encode("c=biws,r=abcservernonce,p=" +
                                  net::Base64Encode(std::string(20, 'x'))) +
                "</response>"),
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
  EXPECT_THAT(guesses, ElementsAre("romeo@here"));
}

TEST_F(ClientStreamTest, FailuresAreFewAndTold) {
  Connect({.secure = true});
  Say(kOpening);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Say(Plain("romeo", "wrong")),
              "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
  }
  EXPECT_THAT(Say(Plain("nobody", "juliet")),
              StartsWith("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/>"
                         "</failure>" +
                         Error("policy-violation")));
  EXPECT_THAT(guesses, ElementsAre("romeo@here", "romeo@here", "nobody@here"));
}

// As slixmpp does it, which knows tls-unique alone.
TEST_F(ClientStreamTest, AClientMayFindAMechanismThatBothCan) {
  Connect({.secure = true, .bindings = {.exporter = "x"}});
  Say(kOpening);
  for (const char* mechanism : {"SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
                                "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"}) {
    const bool plus = std::string_view(mechanism).ends_with("PLUS");
    EXPECT_THAT(
        Say(std::string("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='") + mechanism +
            "'>" + net::Base64Encode(plus ? "p=tls-unique,,n=romeo,r=abc" : "y,,n=romeo,r=abc") +
            "</auth>"),
        HasSubstr("<failure"));
  }
  EXPECT_THAT(Say(Plain("romeo", "juliet")), StartsWith("<success"));
  EXPECT_THAT(guesses, IsEmpty());
}

TEST_F(ClientStreamTest, WhoGuessedTooOftenIsNotEvenLookedFor) {
  Connect({.secure = true});
  Say(kOpening);
  may_try = false;
  EXPECT_THAT(Say(Plain("romeo", "juliet")), HasSubstr("<temporary-auth-failure/>"));
  EXPECT_THAT(looked, IsEmpty());
  may_try = true;
  store_down = true;
  EXPECT_THAT(Say(Plain("romeo", "juliet")), HasSubstr("<temporary-auth-failure/>"));
  EXPECT_THAT(guesses, IsEmpty());
}

TEST_F(ClientStreamTest, AbortEndsTheExchangeAndAnotherMayBegin) {
  Connect({.secure = true});
  Say(kOpening);
  Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>");
  EXPECT_THAT(Say("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), HasSubstr("<aborted/>"));
  EXPECT_THAT(Say(Plain("romeo", "juliet")), StartsWith("<success"));
}

TEST_F(ClientStreamTest, WhatIsSaidBeforeTheAnswerIsSaidByNobody) {
  Connect({.secure = true});
  Say(kOpening);
  EXPECT_THAT(Say(Plain("romeo", "juliet") + "<message/>"), HasSubstr("<stream:error>"));
  EXPECT_THAT(arrived, IsEmpty());
}

TEST_F(ClientStreamTest, WhileItWaitsTheClientIsNotRead) {
  Connect({.secure = true});
  Say(kOpening);
  stream->Receive(Plain("romeo", "juliet"));
  EXPECT_TRUE(held);
  Answers();
  EXPECT_FALSE(held);
}

TEST_F(ClientStreamTest, BeforeTheBindingNothingElseIsTaken) {
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  Say(kOpening);
  EXPECT_THAT(Say("<message/>"), HasSubstr(Error("not-authorized")));
}

TEST_F(ClientStreamTest, AnAccountOfOneHostHasNoStreamToAnother) {
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  EXPECT_THAT(Say(Opening("to='there' version='1.0'")), HasSubstr(Error("not-authorized")));
}

TEST_F(ClientStreamTest, ARefusedResourceMayBeFollowedByAnother) {
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  Say(kOpening);
  bind_error = "<error type='wait'><resource-constraint/></error>";
  EXPECT_EQ(Say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
            "<iq type='error' id='b'><error type='wait'><resource-constraint/></error></iq>");
  bind_error.clear();
  EXPECT_THAT(Say("<iq type='set' id='c'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
              HasSubstr("<jid>"));
}

TEST_F(ClientStreamTest, ALoginHasItsTime) {
  EXPECT_EQ(stream->Due(), std::chrono::seconds(30));
  Say(kOpening);
  now += std::chrono::seconds(30);
  stream->OnDue();
  EXPECT_THAT(Answers(), StartsWith(Error("connection-timeout")));
}

TEST_F(ClientStreamTest, NobodySpeaksForOthers) {
  LogIn();
  Say("<message from='romeo@here' to='a@b'/><message from='Romeo@here/x' to='a@b'/>");
  EXPECT_EQ(arrived.size(), 2U);
  EXPECT_THAT(Say("<message from='juliet@here' to='a@b'/>"), StartsWith(Error("invalid-from")));
  EXPECT_EQ(arrived.size(), 2U);
}

TEST_F(ClientStreamTest, WhatIsNoStanzaEndsTheStream) {
  LogIn();
  EXPECT_THAT(Say("<foo/>"), StartsWith(Error("unsupported-stanza-type")));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, AClosingIsAnswered) {
  LogIn();
  EXPECT_EQ(Say("<message to='a@b'/></stream:stream>"), "</stream:stream>");
  EXPECT_EQ(arrived.size(), 1U);
  EXPECT_EQ(stream->state(), State::kEnded);
}

TEST_F(ClientStreamTest, ManagementCountsWhatIsSettled) {
  LogIn();
  EXPECT_THAT(Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>"),
              ::testing::MatchesRegex("<enabled xmlns='urn:xmpp:sm:3' id='[0-9a-f]{32}-0-7' "
                                      "resume='true' max='3600'/>"));
  EXPECT_EQ(states, "ar");
  Say("<presence/><message to='a@b'/><iq type='get' id='1'><x/></iq>");
  ASSERT_EQ(arrived.size(), 3U);
  EXPECT_EQ(arrived[0].second, 0U);
  EXPECT_EQ(arrived[1].second, 2U);
  EXPECT_EQ(Say("<r xmlns='urn:xmpp:sm:3'/>"), "");
  EXPECT_EQ(stream->Due(), std::chrono::seconds(1));
  now += std::chrono::seconds(1);
  stream->OnDue();
  EXPECT_EQ(Answers(), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
  stream->Settled(2);
  EXPECT_EQ(Answers(), "<a xmlns='urn:xmpp:sm:3' h='3'/>");
  EXPECT_THAT(Say("<enable xmlns='urn:xmpp:sm:3'/>"), HasSubstr("unexpected-request"));
}

TEST_F(ClientStreamTest, MoreThanWasSentCannotBeAcknowledged) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  stream->Deliver({.xml = "<message/>", .ticket = 4});
  EXPECT_EQ(Answers(), "<message/><r xmlns='urn:xmpp:sm:3'/>");
  Say("<a xmlns='urn:xmpp:sm:3' h='1'/>");
  EXPECT_THAT(delivered, ElementsAre(TicketEnd{4}));
  EXPECT_THAT(Say("<a xmlns='urn:xmpp:sm:3' h='2'/>"),
              HasSubstr("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='2' send-count='1'/>"));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, WhoIsSentAwayAcknowledgesWhatItHasFirst) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  stream->Deliver({.xml = "<message id='1'/>", .ticket = 4});
  Answers();
  stream->SendAway("why");
  EXPECT_TRUE(stream->leaving());
  EXPECT_EQ(Answers(), "");  // it is asked already
  stream->Deliver({.xml = "<message id='2'/>", .ticket = 5});
  EXPECT_EQ(Answers(), "");
  EXPECT_EQ(stream->Due(), ground.limits.farewell);
  // It is not told that this is handled, and says it again elsewhere.
  const std::string last = Say("<message to='a@b'/><a xmlns='urn:xmpp:sm:3' h='1'/>");
  EXPECT_EQ(arrived.size(), 0U);
  // What came since goes another way at once.
  EXPECT_THAT(delivered, ElementsAre(TicketEnd{4}, TicketEnd{5, DeliveryEnd::kLost}));
  EXPECT_THAT(last, ::testing::StartsWith(
                        "<a xmlns='urn:xmpp:sm:3' h='0'/><stream:error><system-shutdown"));
  EXPECT_THAT(last, HasSubstr(">why<"));
}

// Else it would say it again elsewhere, and its peer would have it twice.
TEST_F(ClientStreamTest, WhoIsSentAwayIsToldFirstWhatBecameOfWhatItSaid) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  Say("<message to='a@b'/>");
  stream->Deliver({.xml = "<message id='1'/>", .ticket = 4});
  Answers();
  stream->SendAway();
  Say("<a xmlns='urn:xmpp:sm:3' h='1'/>");
  EXPECT_FALSE(over);
  // Another that leaves, too, waits for what becomes of this.
  stream->Deliver({.xml = "<message id='2'/>", .ticket = 5});
  EXPECT_THAT(delivered, ElementsAre(TicketEnd{4}, TicketEnd{5, DeliveryEnd::kLost}));
  EXPECT_EQ(Answers(), "");
  stream->Settled(1);
  EXPECT_FALSE(over) << "not within what settled it";
  EXPECT_LE(stream->Due(), std::chrono::milliseconds(1));
  now += std::chrono::milliseconds(1);
  stream->OnDue();
  EXPECT_THAT(Answers(), ::testing::StartsWith(
                             "<a xmlns='urn:xmpp:sm:3' h='1'/><stream:error><system-shutdown"));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, WhoIsSentAwayAndSaysNothingGoesWhenItsTimeIsOver) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  stream->Deliver({.xml = "<message id='1'/>", .ticket = 4});
  Answers();
  stream->SendAway();
  stream->SendAway();
  now += ground.limits.farewell;
  stream->OnDue();
  EXPECT_THAT(Answers(), HasSubstr("<system-shutdown"));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, WhoHasAcknowledgedAllIsSentAwayAtOnce) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  stream->SendAway();
  EXPECT_THAT(Answers(), HasSubstr("<system-shutdown"));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, ASessionGoesOnOnAnotherStream) {
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  stream->Deliver({.xml = "<message>1</message>", .ticket = 1});
  stream->Deliver({.xml = "<message>2</message>", .ticket = 2});
  Answers();
  Say("<message to='a@b'/>");
  parted = stream->TakeSession();
  const std::string key = ResumeKey{parted->secret(), 0, 7}.ToString();
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  Say(kOpening);
  EXPECT_EQ(Say("<resume xmlns='urn:xmpp:sm:3' previd='" + key + "' h='1'/>"),
            "<resumed xmlns='urn:xmpp:sm:3' previd='" + key +
                "' h='0'/><message>2</message><r xmlns='urn:xmpp:sm:3'/>");
  EXPECT_THAT(delivered, ElementsAre(TicketEnd{1}));
  EXPECT_EQ(stream->state(), State::kBound);
  // It says again what h does not cover; that is under way, and goes out once.
  EXPECT_EQ(arrived.size(), 1U);
  EXPECT_EQ(Say("<message to='a@b'/>"), "");
  EXPECT_EQ(arrived.size(), 1U);
  stream->Settled(1);
  EXPECT_EQ(Say("<r xmlns='urn:xmpp:sm:3'/>"), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
  Say("<message to='a@b'/>");
  EXPECT_EQ(arrived.size(), 2U);
}

TEST_F(ClientStreamTest, WhatCannotBeResumedMayBeBound) {
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  Say(kOpening);
  EXPECT_EQ(Say("<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>"),
            "<failed xmlns='urn:xmpp:sm:3' h='12'><item-not-found "
            "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
  EXPECT_THAT(Say("<resume xmlns='urn:xmpp:sm:3' previd='x' h='-1'/>"), HasSubstr("bad-request"));
  EXPECT_THAT(Say("<iq type='set' id='c'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
              HasSubstr("<jid>"));
}

// Each of them asks all workers and other nodes.
TEST_F(ClientStreamTest, WhoTriesToResumeAgainAndAgainIsClosed) {
  Connect({.secure = true});
  Say(kOpening);
  Say(Plain("romeo", "juliet"));
  Say(kOpening);
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(Say("<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>"), HasSubstr("<item-not-"));
  }
  EXPECT_THAT(Say("<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>"),
              HasSubstr("<policy-violation "));
  EXPECT_EQ(stream->state(), State::kEnded);
}

TEST_F(ClientStreamTest, WhoSaysTooMuchIsReadMoreSlowly) {
  ground.limits.stanzas_per_s = 2;
  ground.limits.stanza_burst = std::chrono::seconds(1);
  LogIn();
  std::string many;
  for (int i = 0; i < 6; ++i) many += "<message to='a@b'/>";
  Say(many);
  EXPECT_EQ(arrived.size(), 3U);  // the burst, and the one that was too much
  EXPECT_TRUE(held);
  for (int i = 0; i < 10 && held; ++i) {
    now += stream->Due();
    stream->OnDue();
  }
  EXPECT_EQ(arrived.size(), 6U);
  EXPECT_FALSE(held);
}

TEST_F(ClientStreamTest, WhoHasTooMuchUnsettledIsNotRead) {
  ground.limits.bound.unsettled_max = 2;
  LogIn();
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  Say("<message to='a@b'/><message to='a@b'/><message to='a@b'/><message to='a@b'/>");
  EXPECT_EQ(arrived.size(), 3U);
  EXPECT_TRUE(held);
  stream->Settled(1);
  EXPECT_EQ(arrived.size(), 4U);
  stream->Settled(2);
  EXPECT_FALSE(held);
}

TEST_F(ClientStreamTest, WhoSaysNothingIsAskedAndThenGivenUp) {
  LogIn();
  now += stream->Due();
  stream->OnDue();
  EXPECT_EQ(Answers(),
            "<iq type='get' id='node-ping' from='here' to='romeo@here/x'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>");
  Say("<iq type='result' id='node-ping' to='here'/>");
  EXPECT_THAT(arrived, IsEmpty());
  now += stream->Due();
  stream->OnDue();
  now += stream->Due();
  stream->OnDue();
  EXPECT_TRUE(stream->dead());
  EXPECT_NE(parted, nullptr);
}

TEST_F(ClientStreamTest, AWhiteSpaceKeepsItAlive) {
  LogIn();
  now += std::chrono::seconds(299);
  Say(" ");
  EXPECT_EQ(stream->Due(), ground.limits.idle_ping);
}

TEST_F(ClientStreamTest, AnInactiveClientIsSparedUntilItLooks) {
  LogIn();
  Say("<inactive xmlns='urn:xmpp:csi:0'/>");
  EXPECT_EQ(states, "i-");
  stream->Deliver({.xml = "<presence/>", .kind = StanzaKind::kPresence, .replaces = "a"});
  EXPECT_EQ(Answers(), "");
  EXPECT_EQ(Say("<active xmlns='urn:xmpp:csi:0'/>"), "<presence/>");
}

// Section 6.4.6: behind <success/> the client opens a new stream; it may know that it will.
TEST_F(ClientStreamTest, AClientThatDoesNotWaitForTheEndOfSaslIsServedAllTheSame) {
  const std::string bind =
      "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
      "<resource>x</resource></bind></iq>";
  const std::string ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
  const std::string input = std::string(kOpening) + Plain("romeo", "juliet") + "\n" +
                            std::string(kOpening) + bind +
                            "<enable xmlns='urn:xmpp:sm:3' resume='true'/>" + ping;
  for (size_t piece = 1; piece < input.size() + 1; piece = piece * 5 / 3 + 1) {
    StreamWorld world;
    world.Connect({.secure = true});
    // None of it waits for an answer.
    for (size_t at = 0; at < input.size(); at += piece) {
      world.stream->Receive(std::string_view(input).substr(at, piece));
    }
    const std::string said = world.Answers();
    EXPECT_EQ(world.stream->state(), State::kBound) << piece << ": " << said;
    EXPECT_THAT(said, HasSubstr("<enabled xmlns='urn:xmpp:sm:3'")) << piece;
    EXPECT_THAT(world.arrived, ElementsAre(Pair(HasSubstr("id='p'"), 0))) << piece;
    EXPECT_FALSE(world.held) << piece;
  }
}

// As go-xmpp writes.
TEST_F(ClientStreamTest, AnEndOfLineBehindSaslIsNoPartOfTheNextStream) {
  for (const bool at_once : {true, false}) {
    Connect({.secure = true});
    Say(kOpening);
    if (at_once) {
      Say(Plain("romeo", "juliet") + "\n");
    } else {
      Say(Plain("romeo", "juliet"));
      Say("\n");
    }
    EXPECT_THAT(Say(kOpening), HasSubstr("<bind xmlns=")) << at_once;
  }
}

TEST_F(ClientStreamTest, WhoIsNotLetInIsReadByTheOldParserStill) {
  Connect({.secure = true});
  Say(kOpening);
  // Another try, behind one that fails.
  const std::string said = Say(Plain("romeo", "wrong") + Plain("romeo", "juliet"));
  EXPECT_THAT(said, HasSubstr("<not-authorized/>"));
  EXPECT_THAT(said, EndsWith("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"));
  // An opening behind one that fails is none.
  Connect({.secure = true});
  Say(kOpening);
  EXPECT_THAT(Say(Plain("romeo", "wrong") + std::string(kOpening)), HasSubstr("<stream:error>"));
  EXPECT_TRUE(over);
}

TEST_F(ClientStreamTest, WhatIsKeptWhileItWaitsIsBounded) {
  Connect({.secure = true});
  Say(kOpening);
  stream->Receive(Plain("romeo", "juliet"));
  const std::string much(10'000, ' ');
  for (int i = 0; i < 6; ++i) stream->Receive(much);
  EXPECT_NE(stream->state(), State::kEnded);
  stream->Receive(much);
  EXPECT_EQ(stream->state(), State::kEnded);
  EXPECT_THAT(Answers(), HasSubstr(Error("policy-violation")));
}

TEST_F(ClientStreamTest, CutAnywhereItSaysTheSame) {
  ground.tls_need = TlsNeed::kOptional;
  const std::string input = std::string(kOpening) +
                            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>" +
                            "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" +
                            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
  const auto play = [&](size_t piece) {
    StreamWorld world;
    world.ground.tls_need = TlsNeed::kOptional;
    std::string said;
    for (size_t at = 0; at < input.size(); at += piece) {
      said += world.Say(std::string_view(input).substr(at, piece));
    }
    return said;
  };
  const std::string whole = play(input.size());
  EXPECT_THAT(whole, EndsWith("[tls here]"));
  for (size_t piece = 1; piece < 40; ++piece) EXPECT_EQ(play(piece), whole);
}

}  // namespace
}  // namespace server
