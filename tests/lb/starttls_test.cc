#include "lb/starttls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view kOpening =
    "<?xml version='1.0'?><stream:stream to='Example.ORG' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
constexpr std::string_view kStartTls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
constexpr std::string_view kProceed = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
constexpr std::string_view kFeatures =
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    "</stream:features>";

std::string Join(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (std::string_view part : parts) all += part;
  return all;
}

struct Dialogue {
  explicit Dialogue(StartTlsServerOptions with = {}) : options(std::move(with)) {}
  StartTlsStep Say(std::string_view bytes) {
    said.clear();
    return server.Feed(bytes, &said);
  }
  StartTlsServerOptions options;
  StartTlsServer server{&options, "id-1"};
  std::string said;
};

void ExpectError(StreamError error, std::string_view input, StartTlsServerOptions options = {}) {
  Dialogue d(std::move(options));
  EXPECT_EQ(d.Say(input), StartTlsStep::kClose) << input;
  EXPECT_EQ(d.server.error(), error) << input << ToString(d.server.error());
  EXPECT_THAT(d.said, StartsWith("<?xml version='1.0'?><stream:stream ")) << input;
  EXPECT_THAT(d.said, HasSubstr(Join({"<stream:error><", ToString(error),
                                      " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"})));
  EXPECT_THAT(d.said, EndsWith("</stream:error></stream:stream>"));
}

// --- server ---------------------------------------------------------------------------------

TEST(StartTlsServer, AnswersOffersAndProceeds) {
  Dialogue d;
  EXPECT_EQ(d.Say(kOpening), StartTlsStep::kNeedMore);
  EXPECT_EQ(d.said, Join({"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                          "xmlns:stream='http://etherx.jabber.org/streams' id='id-1' "
                          "from='example.org' version='1.0' xml:lang='en'>",
                          kFeatures}));
  EXPECT_EQ(d.server.domain(), "example.org");
  EXPECT_EQ(d.Say(kStartTls), StartTlsStep::kStartTls);
  EXPECT_EQ(d.said, kProceed);
}

TEST(StartTlsServer, AnySplitAndPipeliningGiveTheSameAnswer) {
  std::string all = Join({kOpening, "\n", kStartTls});
  std::string whole;
  StartTlsServerOptions options;
  StartTlsServer server(&options, "id-1");
  EXPECT_EQ(server.Feed(all, &whole), StartTlsStep::kStartTls);
  for (size_t piece : {1u, 2u, 7u, 50u}) {
    StartTlsServer split(&options, "id-1");
    std::string said;
    StartTlsStep step = StartTlsStep::kNeedMore;
    for (size_t at = 0; at < all.size(); at += piece) {
      ASSERT_EQ(step, StartTlsStep::kNeedMore) << at;
      step = split.Feed(std::string_view(all).substr(at, piece), &said);
    }
    EXPECT_EQ(step, StartTlsStep::kStartTls);
    EXPECT_EQ(said, whole);
  }
}

TEST(StartTlsServer, EveryTokenIsAnsweredAtItsLastByte) {
  // Expat's reparse deferral would hold the answer back.
  Dialogue d;
  for (char c : kOpening.substr(0, kOpening.size() - 1)) {
    ASSERT_EQ(d.Say({&c, 1}), StartTlsStep::kNeedMore);
    ASSERT_THAT(d.said, IsEmpty());
  }
  d.Say(">");
  EXPECT_THAT(d.said, EndsWith("</stream:features>"));
}

TEST(StartTlsServer, WhiteSpaceAndOtherSpellingsWork) {
  for (std::string_view opening :
       {"\r\n <stream:stream to='a.example' xmlns='jabber:client' version='1.0' "
        "xmlns:stream='http://etherx.jabber.org/streams'>",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<s:stream version='1.1' to='a.example' "
        "xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client'\n>"}) {
    Dialogue d;
    EXPECT_EQ(d.Say("\n"), StartTlsStep::kNeedMore);
    EXPECT_EQ(d.Say(opening), StartTlsStep::kNeedMore) << opening;
    EXPECT_EQ(d.server.domain(), "a.example");
    EXPECT_EQ(d.Say(" \n\t"), StartTlsStep::kNeedMore);
    EXPECT_EQ(d.Say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>\r\n"),
              StartTlsStep::kStartTls);
  }
}

TEST(StartTlsServer, ServersOpenInTheirOwnNamespaceAndAreNamedBack) {
  StartTlsServerOptions s2s{.kind = StreamKind::kServer};
  Dialogue d(s2s);
  EXPECT_EQ(d.Say("<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
                  "xmlns:stream='http://etherx.jabber.org/streams' from='b.example' "
                  "to='a.example' version='1.0'>"),
            StartTlsStep::kNeedMore);
  EXPECT_THAT(d.said, HasSubstr("xmlns='jabber:server'"));
  EXPECT_THAT(d.said, HasSubstr("from='a.example' to='b.example'"));
  ExpectError(StreamError::kInvalidNamespace, kOpening, s2s);
}

TEST(StartTlsServer, BytesBehindStarttlsNeverReachTls) {
  // attacks.md 11, CVE-2014-3556.
  for (std::string_view smuggled :
       {std::string_view("\x16\x03\x01\x02\x00", 5), std::string_view("<auth/>"),
        std::string_view(" \n x"), std::string_view("\0", 1)}) {
    Dialogue d;
    d.Say(kOpening);
    EXPECT_EQ(d.Say(Join({kStartTls, smuggled})), StartTlsStep::kClose);
    EXPECT_EQ(d.server.error(), StreamError::kPolicyViolation);
    EXPECT_THAT(d.said, Not(HasSubstr("proceed")));
  }
}

TEST(StartTlsServer, WrongOpeningsGetTheirStreamError) {
  ExpectError(StreamError::kBadFormat,
              "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>");
  ExpectError(StreamError::kBadFormat, "<html>");
  ExpectError(StreamError::kInvalidNamespace, "<stream to='a' version='1.0'>");
  ExpectError(StreamError::kInvalidNamespace,
              "<stream:stream to='a' xmlns='jabber:client' version='1.0' xmlns:stream='wrong'>");
  ExpectError(StreamError::kInvalidNamespace,
              "<stream:stream to='a' xmlns='jabber:server' version='1.0' "
              "xmlns:stream='http://etherx.jabber.org/streams'>");
  ExpectError(StreamError::kInvalidNamespace,
              "<stream:stream to='a' version='1.0' "
              "xmlns:stream='http://etherx.jabber.org/streams'>");
  for (std::string_view version : {"", "version='0.9'", "version='x'", "version='1'"}) {
    ExpectError(StreamError::kUnsupportedVersion,
                Join({"<stream:stream to='a' xmlns='jabber:client' ", version,
                      " xmlns:stream='http://etherx.jabber.org/streams'>"}));
  }
  for (std::string_view to : {"", "user@a", "a/r", "a b", "a&lt;b", "a&#10;"}) {
    ExpectError(StreamError::kImproperAddressing,
                Join({"<stream:stream to='", to,
                      "' xmlns='jabber:client' version='1.0' "
                      "xmlns:stream='http://etherx.jabber.org/streams'>"}));
  }
  ExpectError(StreamError::kNotWellFormed, "GET / HTTP/1.1\r\n\r\n");
  ExpectError(StreamError::kNotWellFormed, "<stream:stream to='a'>");  // unbound prefix
  ExpectError(StreamError::kNotWellFormed, "<stream a='1' a='2'>");
  ExpectError(StreamError::kNotWellFormed, std::string_view("<\xff\xfe>", 4));
  ExpectError(StreamError::kUnsupportedEncoding, "<?xml version='1.0' encoding='utf-16'?><a>");
  ExpectError(StreamError::kRestrictedXml, "<!DOCTYPE a [<!ENTITY x 'y'>]><a>");
  ExpectError(StreamError::kRestrictedXml, "<!-- hello --><a>");
  ExpectError(StreamError::kRestrictedXml, "<?php x?><a>");
}

TEST(StartTlsServer, DomainsAreKnownOrRefused) {
  StartTlsServerOptions options{.serves = [](std::string_view d) { return d == "a.example"; }};
  ExpectError(StreamError::kHostUnknown, kOpening, options);
  std::string_view without_to =
      "<stream:stream xmlns='jabber:client' version='1.0' "
      "xmlns:stream='http://etherx.jabber.org/streams'>";
  ExpectError(StreamError::kHostUnknown, without_to);
  options.default_domain = "a.example";
  Dialogue d(options);
  EXPECT_EQ(d.Say(without_to), StartTlsStep::kNeedMore);
  EXPECT_EQ(d.server.domain(), "a.example");
  EXPECT_THAT(d.said, HasSubstr("from='a.example'"));
}

TEST(StartTlsServer, NothingButStarttlsIsAcceptedBeforeTls) {
  for (std::string_view stanza :
       {"<iq type='get' id='1'/>", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<starttls/>", "<compress xmlns='http://jabber.org/protocol/compress'/>"}) {
    ExpectError(StreamError::kPolicyViolation, Join({kOpening, stanza}));
  }
  ExpectError(StreamError::kBadFormat, Join({kOpening, "hello"}));
  ExpectError(StreamError::kBadFormat,
              Join({kOpening, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><x/>"}));
  ExpectError(StreamError::kRestrictedXml, Join({kOpening, "&bomb;"}));
  ExpectError(StreamError::kRestrictedXml, Join({kOpening, "<!-- x -->"}));
}

TEST(StartTlsServer, EchoedValuesCannotBreakOut) {
  Dialogue d;
  d.Say(
      "<stream:stream to='a.example' from='&apos;/&gt;&lt;evil&amp;' xmlns='jabber:client' "
      "version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>");
  EXPECT_THAT(d.said, HasSubstr("to='&apos;/&gt;&lt;evil&amp;'"));
}

TEST(StartTlsServer, SizeAndTimeAreLimited) {
  std::string blanks(9000, ' ');
  ExpectError(StreamError::kPolicyViolation, Join({kOpening, blanks}));
  ExpectError(StreamError::kPolicyViolation, Join({"<stream:stream to='", std::string(9000, 'a')}));
  Dialogue slow;
  slow.Say("<stream:str");
  slow.said.clear();
  EXPECT_EQ(slow.server.OnTimeout(&slow.said), StartTlsStep::kClose);
  EXPECT_THAT(slow.said, HasSubstr("<policy-violation"));
  Dialogue tiny;  // one byte at a time does not get around it
  StartTlsStep step = StartTlsStep::kNeedMore;
  size_t fed = 0;
  tiny.Say(kOpening);
  while (step == StartTlsStep::kNeedMore && ++fed < 20'000) step = tiny.Say(" ");
  EXPECT_EQ(fed + kOpening.size(), kStartTlsBytesMax + 1);
}

TEST(StartTlsServer, AClosedStreamIsClosedBack) {
  Dialogue d;
  d.Say(kOpening);
  EXPECT_EQ(d.Say("</stream:stream>"), StartTlsStep::kClose);
  EXPECT_EQ(d.said, "</stream:stream>");
  EXPECT_EQ(d.server.error(), StreamError::kNone);
}

TEST(StartTlsServer, DirectTlsIsClosedWithoutXml) {
  Dialogue d;
  EXPECT_EQ(d.Say(std::string_view("\x16\x03\x01\x02\x00\x01", 6)), StartTlsStep::kClose);
  EXPECT_THAT(d.said, IsEmpty());
  EXPECT_EQ(d.server.error_text(), "direct TLS on a STARTTLS port");
}

// --- client ---------------------------------------------------------------------------------

constexpr std::string_view kNodeOpening =
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='x' from='a.example' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

struct Asking {
  explicit Asking(StreamKind kind = StreamKind::kClient)
      : client({.kind = kind, .to = "a.example"}) {
    client.Start(&said);
  }
  StartTlsStep Hear(std::string_view bytes) {
    said.clear();
    return client.Feed(bytes, &said);
  }
  StartTlsClient client;
  std::string said;
};

void ExpectClientError(StartTlsClientError error, std::string_view input) {
  Asking a;
  EXPECT_EQ(a.Hear(input), StartTlsStep::kClose) << input;
  EXPECT_EQ(a.client.error(), error) << input << " " << ToString(a.client.error());
}

TEST(StartTlsClient, AsksAndStartsAfterProceed) {
  Asking a;
  EXPECT_EQ(a.said,
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>");
  EXPECT_EQ(a.Hear(kNodeOpening), StartTlsStep::kNeedMore);
  EXPECT_THAT(a.said, IsEmpty());
  EXPECT_EQ(a.Hear("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
                   "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN"
                   "</mechanism></mechanisms></stream:features>"),
            StartTlsStep::kNeedMore);
  EXPECT_EQ(a.said, kStartTls);
  EXPECT_EQ(a.Hear(kProceed), StartTlsStep::kStartTls);
}

TEST(StartTlsClient, BothEndsUnderstandEachOtherByteByByte) {
  for (StreamKind kind : {StreamKind::kClient, StreamKind::kServer}) {
    StartTlsServerOptions options{.kind = kind};
    StartTlsServer server(&options, "id");
    StartTlsClient client({.kind = kind, .to = "a.example", .from = "b.example"});
    std::string to_server;
    std::string to_client;
    client.Start(&to_server);
    StartTlsStep server_step = StartTlsStep::kNeedMore;
    StartTlsStep client_step = StartTlsStep::kNeedMore;
    while (!to_server.empty() || !to_client.empty()) {
      if (!to_server.empty()) {
        std::string byte = to_server.substr(0, 1);
        to_server.erase(0, 1);
        server_step = server.Feed(byte, &to_client);
        ASSERT_NE(server_step, StartTlsStep::kClose);
      } else {
        std::string byte = to_client.substr(0, 1);
        to_client.erase(0, 1);
        client_step = client.Feed(byte, &to_server);
        ASSERT_NE(client_step, StartTlsStep::kClose) << ToString(client.error());
      }
    }
    EXPECT_EQ(server_step, StartTlsStep::kStartTls);
    EXPECT_EQ(client_step, StartTlsStep::kStartTls);
  }
}

TEST(StartTlsClient, PlaintextBehindProceedClosesTheConnection) {
  // attacks.md 10 and 11.
  for (std::string_view early : {std::string_view("<success/>"), std::string_view("\x16\x03\x03"),
                                 std::string_view("\0", 1)}) {
    Asking a;
    a.Hear(Join({kNodeOpening, kFeatures}));
    EXPECT_EQ(a.Hear(Join({kProceed, early})), StartTlsStep::kClose);
    EXPECT_EQ(a.client.error(), StartTlsClientError::kEarlyBytes);
  }
  Asking blank;
  blank.Hear(Join({kNodeOpening, kFeatures}));
  EXPECT_EQ(blank.Hear(Join({kProceed, "\n"})), StartTlsStep::kStartTls);
}

TEST(StartTlsClient, AnythingElseEndsItWithTheReason) {
  ExpectClientError(StartTlsClientError::kNotXmpp, "HTTP/1.1 400 Bad Request\r\n");
  ExpectClientError(StartTlsClientError::kNotXmpp, "<html>");
  ExpectClientError(StartTlsClientError::kNotXmpp,
                    "<stream:stream xmlns='jabber:server' version='1.0' "
                    "xmlns:stream='http://etherx.jabber.org/streams'>");
  ExpectClientError(StartTlsClientError::kNotOffered,
                    Join({kNodeOpening, "<stream:features><bind/></stream:features>"}));
  ExpectClientError(StartTlsClientError::kUnexpected, Join({kNodeOpening, "<message/>"}));
  ExpectClientError(StartTlsClientError::kUnexpected, Join({kNodeOpening, kProceed}));
  ExpectClientError(
      StartTlsClientError::kRefused,
      Join({kNodeOpening, kFeatures, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"}));
  ExpectClientError(StartTlsClientError::kClosed, Join({kNodeOpening, "</stream:stream>"}));
  ExpectClientError(StartTlsClientError::kTooLong, Join({kNodeOpening, std::string(9000, ' ')}));
  Asking a;
  EXPECT_EQ(a.Hear(Join({kNodeOpening,
                         "<stream:error><host-unknown "
                         "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"})),
            StartTlsStep::kClose);
  EXPECT_EQ(a.client.error(), StartTlsClientError::kStreamError);
  EXPECT_EQ(a.client.condition(), "host-unknown");
  Asking slow;
  EXPECT_EQ(slow.client.OnTimeout(), StartTlsStep::kClose);
  EXPECT_EQ(slow.client.error(), StartTlsClientError::kTimeout);
}

}  // namespace
}  // namespace lb
