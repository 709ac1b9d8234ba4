#include "server/xmpp/stream_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

using net::StreamError;
using testing::ElementsAre;

constexpr std::string_view kOpening =
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0' xml:lang='de'>";

class Told final : public StreamHost {
 public:
  std::vector<std::string> words;
  std::string stop_at;  // the name of the stanza behind which no more is read

  bool OnOpening(const StreamOpening& opening) override {
    words.push_back("opening " + std::string(opening.to) + " " + std::string(opening.version) +
                    " " + std::string(opening.lang) + " " + std::string(opening.content_space));
    return stop_at != "stream";
  }
  bool OnStanza(Stanza& stanza) override {
    std::string text;
    stanza.root().AppendTo(text, kClientSpace);
    words.push_back(text);
    return stanza.root().name() != stop_at;
  }
  void OnStreamEnd() override { words.push_back("end"); }
};

struct Stream {
  StreamLimits limits;
  Told told;
  StreamReader reader{&told, &limits};

  StreamReader::Fed Feed(std::string_view text) { return reader.Feed(text); }
  StreamError ErrorOf(std::string_view text) { return Feed(text).error; }
};

TEST(StreamReader, AnOpeningStanzasAndTheEndAreToldHoweverTheyAreCut) {
  const std::string text =
      std::string(kOpening) +
      " <message to='a@b' id='1'><body>x &lt; y</body></message>\n<presence/><iq type='get'>"
      "<query xmlns='jabber:iq:roster'/></iq></stream:stream>";
  const std::vector<std::string> words = {
      "opening example.org 1.0 de jabber:client",
      "<message to='a@b' id='1'><body>x &lt; y</body></message>", "<presence/>",
      "<iq type='get'><query xmlns='jabber:iq:roster'/></iq>", "end"};
  for (size_t piece : {text.size(), size_t{1}, size_t{2}, size_t{7}, size_t{64}}) {
    for (const bool rests : {false, true}) {
      Stream stream;
      for (size_t at = 0; at < text.size(); at += piece) {
        const auto fed = stream.Feed(std::string_view(text).substr(at, piece));
        ASSERT_EQ(fed.error, StreamError::kNone) << piece << " at " << at;
        if (rests) stream.reader.Rest();
      }
      EXPECT_EQ(stream.told.words, words) << piece << rests;
    }
  }
}

TEST(StreamReader, BetweenStanzasTheParserIsGivenBack) {
  Stream stream;
  stream.Feed(kOpening);
  EXPECT_FALSE(stream.reader.at_rest());
  stream.reader.Rest();
  EXPECT_TRUE(stream.reader.at_rest());
  stream.Feed("<message>");
  stream.reader.Rest();
  EXPECT_FALSE(stream.reader.at_rest()) << "a stanza is half read";
  EXPECT_EQ(stream.reader.partial(), 9U);
  stream.Feed("</message> ");
  EXPECT_EQ(stream.reader.partial(), 0U);
  stream.reader.Rest();
  EXPECT_TRUE(stream.reader.at_rest());
  stream.Feed("</stream:stream>");
  EXPECT_THAT(stream.told.words, ElementsAre(testing::_, "<message/>", "end"));
}

// The same that a parser reads, or it is a parser that reads it.
TEST(StreamReader, WhatIdleSessionsSayNeedsNoParser) {
  struct Case {
    std::string_view text;
    bool parser;
  };
  for (const Case& one :
       std::initializer_list<Case>{{" ", false},
                                   {"\r\n", false},
                                   {"<a xmlns='urn:xmpp:sm:3' h='1234567890'/>", false},
                                   {"<a h=\"7\" xmlns=\"urn:xmpp:sm:3\" />", false},
                                   {"<r xmlns='urn:xmpp:sm:3'/>", false},
                                   {"<r xmlns='urn:xmpp:sm:3' />", false},
                                   {"<r xmlns='urn:xmpp:sm:3'/> ", true},
                                   {"<r xmlns='urn:xmpp:sm:3'  />", true},
                                   {"<r xmlns='urn:xmpp:sm:3'></r>", true},
                                   {"<r xmlns='urn:xmpp:sm:3' h='1'/>", true},
                                   {"<r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3' h='1'/><message/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3' h='-1'/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3' h='&#49;'/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3'/>", true},
                                   {"<a xmlns='urn:xmpp:sm:2' h='1'/>", true},
                                   {"<a h='1'/>", true},
                                   {"<a x='urn:xmpp:sm:3' h='1'/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3' h='1", true},
                                   {"<a xmlns='urn:xmpp:sm:3' h='1'", true},
                                   {"<a xmlns=/>", true},
                                   {"<a xmlns='/>", true},
                                   {"<a =''/>", true},
                                   {"<a /", true},
                                   {"<a />", true},
                                   {"<a />/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3' h='1' h='1'/>", true},
                                   {"<a xmlns='urn:xmpp:sm:3'h='1'/>", true}}) {
    Stream awake;
    Stream resting;
    for (Stream* stream : {&awake, &resting}) stream->Feed(kOpening);
    resting.reader.Rest();
    const auto fed = awake.Feed(one.text);
    const auto told = resting.Feed(one.text);
    EXPECT_EQ(resting.told.words, awake.told.words) << one.text;
    EXPECT_EQ(told.error, fed.error) << one.text;
    EXPECT_EQ(told.consumed, fed.consumed) << one.text;
    EXPECT_EQ(resting.reader.at_rest(), !one.parser) << one.text;
    EXPECT_EQ(resting.reader.partial(), awake.reader.partial()) << one.text;
    if (fed.error != StreamError::kNone || awake.reader.partial() != 0) continue;
    for (Stream* stream : {&awake, &resting}) stream->Feed("<presence/>");
    EXPECT_EQ(resting.told.words, awake.told.words) << "behind " << one.text;
  }
}

TEST(StreamReader, AWordThatNeedsNoParserIsHeldByTheLimitsAndMayStop) {
  constexpr std::string_view kWord = "<a xmlns='urn:xmpp:sm:3' h='1'/>";
  Stream stream;
  stream.Feed(kOpening);
  stream.reader.Rest();
  stream.told.stop_at = "a";
  const auto fed = stream.Feed(kWord);
  EXPECT_TRUE(fed.stopped);
  EXPECT_EQ(fed.consumed, kWord.size());
  stream.reader.GoOn();
  EXPECT_EQ(stream.ErrorOf("<presence/>"), StreamError::kNone);
  Stream small;
  small.limits.stanza_bytes = kWord.size() - 1;
  small.Feed(kOpening);
  small.reader.Rest();
  EXPECT_EQ(small.ErrorOf(kWord), StreamError::kPolicyViolation);
}

TEST(StreamReader, PrefixesThatTheOpeningDeclaresHoldForAllThatFollows) {
  Stream stream;
  stream.Feed(
      "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' "
      "xmlns:r='urn:r'>");
  stream.reader.Rest();
  EXPECT_EQ(stream.ErrorOf("<message><r:x/></message>"), StreamError::kNone);
  stream.reader.Rest();
  EXPECT_EQ(stream.ErrorOf("</s:stream>"), StreamError::kNone);
  EXPECT_THAT(stream.told.words,
              ElementsAre(testing::_, "<message><x xmlns='urn:r'/></message>", "end"));
}

TEST(StreamReader, AStopLeavesWhatStandsBehindIt) {
  Stream stream;
  stream.told.stop_at = "auth";
  const std::string text = std::string(kOpening) + "<auth/><later/>";
  const auto fed = stream.Feed(text);
  EXPECT_TRUE(fed.stopped);
  EXPECT_EQ(text.substr(fed.consumed), "<later/>");
}

TEST(StreamReader, WhatXmppForbidsIsTheRfcsError) {
  const std::pair<std::string, StreamError> cases[] = {
      {"<stream xmlns='jabber:client'>", StreamError::kInvalidNamespace},
      {"<s:other xmlns:s='http://etherx.jabber.org/streams'>", StreamError::kBadFormat},
      {"<!DOCTYPE x><stream>", StreamError::kRestrictedXml},
      {"<!-- x -->", StreamError::kRestrictedXml},
      {"hello <a>", StreamError::kNotWellFormed},
      {"<?xml version='1.0' encoding='iso-8859-1'?><a>", StreamError::kUnsupportedEncoding},
      {std::string(kOpening) + "text", StreamError::kBadFormat},
      {std::string(kOpening) + "<a></b>", StreamError::kNotWellFormed},
      {std::string(kOpening) + "<a><!-- x --></a>", StreamError::kRestrictedXml},
      {std::string(kOpening) + "<a><?x y?></a>", StreamError::kRestrictedXml},
      {std::string(kOpening) + "<a>&lol;</a>", StreamError::kRestrictedXml},
      {std::string(kOpening) + "<u:a/>", StreamError::kNotWellFormed},
      {std::string(kOpening) + "<a b='1' b='2'/>", StreamError::kNotWellFormed},
      {std::string(kOpening) + "<a>\xc3(</a>", StreamError::kNotWellFormed},
      {std::string(kOpening) + std::string("<a>\0</a>", 8), StreamError::kNotWellFormed},
  };
  for (const auto& [text, error] : cases) {
    Stream stream;
    EXPECT_EQ(ToString(stream.ErrorOf(text)), ToString(error)) << text;
  }
}

TEST(StreamReader, LimitsAreHeldInPiecesAndAtOnce) {
  Stream large;
  large.limits.stanza_bytes = 1'000;
  large.Feed(kOpening);
  EXPECT_EQ(large.ErrorOf("<message>" + std::string(980, 'x') + "</message>"), StreamError::kNone);
  EXPECT_EQ(large.ErrorOf("<message>" + std::string(1'000, 'x') + "</message>"),
            StreamError::kPolicyViolation);
  Stream attribute;  // a token that the parser keeps for itself
  attribute.limits.stanza_bytes = 1'000;
  attribute.Feed(kOpening);
  attribute.Feed("<message to='");
  size_t fed = 0;
  while (attribute.ErrorOf("aaaaaaaaaa") == StreamError::kNone) ASSERT_LT(fed += 10, 1'100U);
  Stream opening;
  opening.limits.opening_bytes = 300;
  EXPECT_EQ(opening.ErrorOf("<stream:stream a='" + std::string(400, 'x')),
            StreamError::kPolicyViolation);
  Stream deep;
  deep.limits.depth = 10;
  deep.Feed(kOpening);
  std::string nested;
  for (int i = 0; i < 10; ++i) nested += "<a>";
  EXPECT_EQ(deep.ErrorOf(nested), StreamError::kNone);
  EXPECT_EQ(deep.ErrorOf("<a>"), StreamError::kPolicyViolation);
  Stream spaces;  // white space alone is no stanza that grows
  spaces.limits.stanza_bytes = 100;
  spaces.Feed(kOpening);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(spaces.ErrorOf("          "), StreamError::kNone);
    spaces.reader.Rest();
  }
}

// Text that XML treats in special ways, namespaces, attributes with them: what was read is written
// so that it reads the same.
TEST(Stanza, WhatIsReadWritesToWhatReadsTheSame) {
  std::mt19937 random(7);
  const std::string_view texts[] = {
      "a", "<", ">", "&", "'", "\"", "\n", "\r", "\t", "]]>", " ", "\xc3\xa9", "\xf0\x9f\x98\x80"};
  const std::string_view spaces[] = {"jabber:client", "urn:a", "urn:b", ""};
  for (int round = 0; round < 2'000; ++round) {
    const auto text = [&] {
      std::string made;
      for (auto i = random() % 5; i > 0; --i) made += texts[random() % std::size(texts)];
      return made;
    };
    std::string xml;
    const auto element = [&](auto& self, int depth) -> void {
      xml += "<e";
      AppendXmlAttribute(xml, "xmlns", spaces[random() % std::size(spaces)]);
      if (random() % 2 == 0) AppendXmlAttribute(xml, "a", text());
      if (random() % 3 == 0) AppendXmlAttribute(xml, "xml:lang", text());
      if (random() % 3 == 0) {
        AppendXmlAttribute(xml, "xmlns:p", "urn:p");
        AppendXmlAttribute(xml, "p:a", text());
      }
      xml += '>';
      for (auto i = random() % 4; depth < 4 && i > 0; --i) {
        AppendXmlContent(xml, text());
        self(self, depth + 1);
      }
      AppendXmlContent(xml, text());
      xml += "</e>";
    };
    element(element, 0);
    const auto first = ParseStanza(xml, kClientSpace);
    ASSERT_TRUE(first) << xml;
    std::string once;
    first->root().AppendTo(once, kClientSpace);
    const auto second = ParseStanza(once, kClientSpace);
    ASSERT_TRUE(second) << once;
    std::string twice;
    second->root().AppendTo(twice, kClientSpace);
    ASSERT_EQ(once, twice) << xml;
    ASSERT_EQ(first->root().Text(), second->root().Text());
    ASSERT_EQ(first->root().Attribute("a"), second->root().Attribute("a"));
    ASSERT_EQ(first->root().lang(), second->root().lang());
  }
}

TEST(Stanza, ItIsSentOnWithOtherAddresses) {
  const auto stanza = ParseStanza(
      "<message from='forged@x' to='b' type='chat'><body>hi</body></message>", kClientSpace);
  ASSERT_TRUE(stanza);
  std::string out;
  stanza->AppendTo(out, kClientSpace, {.from = "a@x/r"}, "<delay xmlns='urn:xmpp:delay'/>");
  EXPECT_EQ(out,
            "<message to='b' type='chat' from='a@x/r'><body>hi</body>"
            "<delay xmlns='urn:xmpp:delay'/></message>");
  out.clear();
  stanza->AppendTo(out, "", {.from = "", .to = "c'd"});
  EXPECT_EQ(out,
            "<message xmlns='jabber:client' type='chat' to='c&apos;d'><body>hi</body></message>");
}

TEST(Stanza, NothingStandsBesideTheOneElement) {
  EXPECT_TRUE(ParseStanza("<a/>", ""));
  for (const std::string_view xml :
       {"", "x", "<a/><b/>", "<a/>x", "<a>", "</r><r><a/>", "<!--x--><a/>"}) {
    EXPECT_FALSE(ParseStanza(xml, "")) << xml;
  }
}

}  // namespace
}  // namespace server
