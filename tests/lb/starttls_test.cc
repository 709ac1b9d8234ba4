#include "net/xmpp/starttls.h"

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
  explicit Dialogue(net::StartTlsServerOptions with = {}) : options(std::move(with)) {}
  net::StartTlsStep Say(std::string_view bytes) {
    said.clear();
    return server.Feed(bytes, &said);
  }
  net::StartTlsServerOptions options;
  net::StartTlsServer server{&options, "id-1"};
  std::string said;
};

void ExpectError(net::StreamError error, std::string_view input,
                 net::StartTlsServerOptions options = {}) {
  Dialogue d(std::move(options));
  EXPECT_EQ(d.Say(input), net::StartTlsStep::kClose) << input;
  EXPECT_EQ(d.server.error(), error) << input << ToString(d.server.error());
  EXPECT_THAT(d.said, StartsWith("<?xml version='1.0'?><stream:stream ")) << input;
  EXPECT_THAT(d.said, HasSubstr(Join({"<stream:error><", ToString(error),
                                      " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"})));
  EXPECT_THAT(d.said, EndsWith("</stream:error></stream:stream>"));
}

// --- server ---------------------------------------------------------------------------------

TEST(StartTlsServer, AnswersOffersAndProceeds) {
  Dialogue d;
  EXPECT_EQ(d.Say(kOpening), net::StartTlsStep::kNeedMore);
  EXPECT_EQ(d.said, Join({"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                          "xmlns:stream='http://etherx.jabber.org/streams' id='id-1' "
                          "from='example.org' version='1.0' xml:lang='en'>",
                          kFeatures}));
  EXPECT_EQ(d.server.domain(), "example.org");
  EXPECT_EQ(d.Say(kStartTls), net::StartTlsStep::kStartTls);
  EXPECT_EQ(d.said, kProceed);
}

TEST(StartTlsServer, AnySplitAndPipeliningGiveTheSameAnswer) {
  std::string all = Join({kOpening, "\n", kStartTls});
  std::string whole;
  net::StartTlsServerOptions options;
  net::StartTlsServer server(&options, "id-1");
  EXPECT_EQ(server.Feed(all, &whole), net::StartTlsStep::kStartTls);
  for (size_t piece : {1u, 2u, 7u, 50u}) {
    net::StartTlsServer split(&options, "id-1");
    std::string said;
    net::StartTlsStep step = net::StartTlsStep::kNeedMore;
    for (size_t at = 0; at < all.size(); at += piece) {
      ASSERT_EQ(step, net::StartTlsStep::kNeedMore) << at;
      step = split.Feed(std::string_view(all).substr(at, piece), &said);
    }
    EXPECT_EQ(step, net::StartTlsStep::kStartTls);
    EXPECT_EQ(said, whole);
  }
}

TEST(StartTlsServer, EveryTokenIsAnsweredAtItsLastByte) {
  // Expat's reparse deferral would hold the answer back.
  Dialogue d;
  for (char c : kOpening.substr(0, kOpening.size() - 1)) {
    ASSERT_EQ(d.Say({&c, 1}), net::StartTlsStep::kNeedMore);
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
    EXPECT_EQ(d.Say("\n"), net::StartTlsStep::kNeedMore);
    EXPECT_EQ(d.Say(opening), net::StartTlsStep::kNeedMore) << opening;
    EXPECT_EQ(d.server.domain(), "a.example");
    EXPECT_EQ(d.Say(" \n\t"), net::StartTlsStep::kNeedMore);
    EXPECT_EQ(d.Say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>\r\n"),
              net::StartTlsStep::kStartTls);
  }
}

TEST(StartTlsServer, ServersOpenInTheirOwnNamespaceAndAreNamedBack) {
  net::StartTlsServerOptions s2s{.kind = net::StreamKind::kServer};
  Dialogue d(s2s);
  EXPECT_EQ(d.Say("<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
                  "xmlns:stream='http://etherx.jabber.org/streams' from='b.example' "
                  "to='a.example' version='1.0'>"),
            net::StartTlsStep::kNeedMore);
  EXPECT_THAT(d.said, HasSubstr("xmlns='jabber:server'"));
  EXPECT_THAT(d.said, HasSubstr("from='a.example' to='b.example'"));
  ExpectError(net::StreamError::kInvalidNamespace, kOpening, s2s);
}

TEST(StartTlsServer, BytesBehindStarttlsNeverReachTls) {
  // attacks.md 11, CVE-2014-3556.
  for (std::string_view smuggled :
       {std::string_view("\x16\x03\x01\x02\x00", 5), std::string_view("<auth/>"),
        std::string_view(" \n x"), std::string_view("\0", 1)}) {
    Dialogue d;
    d.Say(kOpening);
    EXPECT_EQ(d.Say(Join({kStartTls, smuggled})), net::StartTlsStep::kClose);
    EXPECT_EQ(d.server.error(), net::StreamError::kPolicyViolation);
    EXPECT_THAT(d.said, Not(HasSubstr("proceed")));
  }
}

TEST(StartTlsServer, WrongOpeningsGetTheirStreamError) {
  ExpectError(net::StreamError::kBadFormat,
              "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>");
  ExpectError(net::StreamError::kBadFormat, "<html>");
  ExpectError(net::StreamError::kInvalidNamespace, "<stream to='a' version='1.0'>");
  ExpectError(net::StreamError::kInvalidNamespace,
              "<stream:stream to='a' xmlns='jabber:client' version='1.0' xmlns:stream='wrong'>");
  ExpectError(net::StreamError::kInvalidNamespace,
              "<stream:stream to='a' xmlns='jabber:server' version='1.0' "
              "xmlns:stream='http://etherx.jabber.org/streams'>");
  ExpectError(net::StreamError::kInvalidNamespace,
              "<stream:stream to='a' version='1.0' "
              "xmlns:stream='http://etherx.jabber.org/streams'>");
  for (std::string_view version : {"", "version='0.9'", "version='x'", "version='1'"}) {
    ExpectError(net::StreamError::kUnsupportedVersion,
                Join({"<stream:stream to='a' xmlns='jabber:client' ", version,
                      " xmlns:stream='http://etherx.jabber.org/streams'>"}));
  }
  for (std::string_view to : {"", "user@a", "a/r", "a b", "a&lt;b", "a&#10;"}) {
    ExpectError(net::StreamError::kImproperAddressing,
                Join({"<stream:stream to='", to,
                      "' xmlns='jabber:client' version='1.0' "
                      "xmlns:stream='http://etherx.jabber.org/streams'>"}));
  }
  ExpectError(net::StreamError::kNotWellFormed, "GET / HTTP/1.1\r\n\r\n");
  ExpectError(net::StreamError::kNotWellFormed, "<stream:stream to='a'>");  // unbound prefix
  ExpectError(net::StreamError::kNotWellFormed, "<stream a='1' a='2'>");
  ExpectError(net::StreamError::kNotWellFormed, std::string_view("<\xff\xfe>", 4));
  ExpectError(net::StreamError::kUnsupportedEncoding, "<?xml version='1.0' encoding='utf-16'?><a>");
  ExpectError(net::StreamError::kRestrictedXml, "<!DOCTYPE a [<!ENTITY x 'y'>]><a>");
  ExpectError(net::StreamError::kRestrictedXml, "<!-- hello --><a>");
  ExpectError(net::StreamError::kRestrictedXml, "<?php x?><a>");
}

TEST(StartTlsServer, DomainsAreKnownOrRefused) {
  net::StartTlsServerOptions options{.serves = [](std::string_view d) { return d == "a.example"; }};
  ExpectError(net::StreamError::kHostUnknown, kOpening, options);
  std::string_view without_to =
      "<stream:stream xmlns='jabber:client' version='1.0' "
      "xmlns:stream='http://etherx.jabber.org/streams'>";
  ExpectError(net::StreamError::kHostUnknown, without_to);
  options.default_domain = "a.example";
  Dialogue d(options);
  EXPECT_EQ(d.Say(without_to), net::StartTlsStep::kNeedMore);
  EXPECT_EQ(d.server.domain(), "a.example");
  EXPECT_THAT(d.said, HasSubstr("from='a.example'"));
}

TEST(StartTlsServer, NothingButStarttlsIsAcceptedBeforeTls) {
  for (std::string_view stanza :
       {"<iq type='get' id='1'/>", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<starttls/>", "<compress xmlns='http://jabber.org/protocol/compress'/>"}) {
    ExpectError(net::StreamError::kPolicyViolation, Join({kOpening, stanza}));
  }
  ExpectError(net::StreamError::kBadFormat, Join({kOpening, "hello"}));
  ExpectError(net::StreamError::kBadFormat,
              Join({kOpening, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><x/>"}));
  ExpectError(net::StreamError::kRestrictedXml, Join({kOpening, "&bomb;"}));
  ExpectError(net::StreamError::kRestrictedXml, Join({kOpening, "<!-- x -->"}));
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
  ExpectError(net::StreamError::kPolicyViolation, Join({kOpening, blanks}));
  ExpectError(net::StreamError::kPolicyViolation,
              Join({"<stream:stream to='", std::string(9000, 'a')}));
  Dialogue slow;
  slow.Say("<stream:str");
  slow.said.clear();
  EXPECT_EQ(slow.server.OnTimeout(&slow.said), net::StartTlsStep::kClose);
  EXPECT_THAT(slow.said, HasSubstr("<policy-violation"));
  Dialogue tiny;  // one byte at a time does not get around it
  net::StartTlsStep step = net::StartTlsStep::kNeedMore;
  size_t fed = 0;
  tiny.Say(kOpening);
  while (step == net::StartTlsStep::kNeedMore && ++fed < 20'000) step = tiny.Say(" ");
  EXPECT_EQ(fed + kOpening.size(), net::kStartTlsBytesMax + 1);
}

TEST(StartTlsServer, AClosedStreamIsClosedBack) {
  Dialogue d;
  d.Say(kOpening);
  EXPECT_EQ(d.Say("</stream:stream>"), net::StartTlsStep::kClose);
  EXPECT_EQ(d.said, "</stream:stream>");
  EXPECT_EQ(d.server.error(), net::StreamError::kNone);
}

TEST(StartTlsServer, DirectTlsIsClosedWithoutXml) {
  Dialogue d;
  EXPECT_EQ(d.Say(std::string_view("\x16\x03\x01\x02\x00\x01", 6)), net::StartTlsStep::kClose);
  EXPECT_THAT(d.said, IsEmpty());
  EXPECT_EQ(d.server.error_text(), "direct TLS on a STARTTLS port");
}

// --- client ---------------------------------------------------------------------------------

constexpr std::string_view kNodeOpening =
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='x' from='a.example' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

struct Asking {
  explicit Asking(net::StreamKind kind = net::StreamKind::kClient)
      : client({.kind = kind, .to = "a.example"}) {
    client.Start(&said);
  }
  net::StartTlsStep Hear(std::string_view bytes) {
    said.clear();
    return client.Feed(bytes, &said);
  }
  net::StartTlsClient client;
  std::string said;
};

void ExpectClientError(net::StartTlsClientError error, std::string_view input) {
  Asking a;
  EXPECT_EQ(a.Hear(input), net::StartTlsStep::kClose) << input;
  EXPECT_EQ(a.client.error(), error) << input << " " << ToString(a.client.error());
}

TEST(StartTlsClient, AsksAndStartsAfterProceed) {
  Asking a;
  EXPECT_EQ(a.said,
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>");
  EXPECT_EQ(a.Hear(kNodeOpening), net::StartTlsStep::kNeedMore);
  EXPECT_THAT(a.said, IsEmpty());
  EXPECT_EQ(a.Hear("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
                   "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN"
                   "</mechanism></mechanisms></stream:features>"),
            net::StartTlsStep::kNeedMore);
  EXPECT_EQ(a.said, kStartTls);
  EXPECT_EQ(a.Hear(kProceed), net::StartTlsStep::kStartTls);
}

TEST(StartTlsClient, BothEndsUnderstandEachOtherByteByByte) {
  for (net::StreamKind kind : {net::StreamKind::kClient, net::StreamKind::kServer}) {
    net::StartTlsServerOptions options{.kind = kind};
    net::StartTlsServer server(&options, "id");
    net::StartTlsClient client({.kind = kind, .to = "a.example", .from = "b.example"});
    std::string to_server;
    std::string to_client;
    client.Start(&to_server);
    net::StartTlsStep server_step = net::StartTlsStep::kNeedMore;
    net::StartTlsStep client_step = net::StartTlsStep::kNeedMore;
    while (!to_server.empty() || !to_client.empty()) {
      if (!to_server.empty()) {
        std::string byte = to_server.substr(0, 1);
        to_server.erase(0, 1);
        server_step = server.Feed(byte, &to_client);
        ASSERT_NE(server_step, net::StartTlsStep::kClose);
      } else {
        std::string byte = to_client.substr(0, 1);
        to_client.erase(0, 1);
        client_step = client.Feed(byte, &to_server);
        ASSERT_NE(client_step, net::StartTlsStep::kClose) << ToString(client.error());
      }
    }
    EXPECT_EQ(server_step, net::StartTlsStep::kStartTls);
    EXPECT_EQ(client_step, net::StartTlsStep::kStartTls);
  }
}

TEST(StartTlsClient, PlaintextBehindProceedClosesTheConnection) {
  // attacks.md 10 and 11.
  for (std::string_view early : {std::string_view("<success/>"), std::string_view("\x16\x03\x03"),
                                 std::string_view("\0", 1)}) {
    Asking a;
    a.Hear(Join({kNodeOpening, kFeatures}));
    EXPECT_EQ(a.Hear(Join({kProceed, early})), net::StartTlsStep::kClose);
    EXPECT_EQ(a.client.error(), net::StartTlsClientError::kEarlyBytes);
  }
  Asking blank;
  blank.Hear(Join({kNodeOpening, kFeatures}));
  EXPECT_EQ(blank.Hear(Join({kProceed, "\n"})), net::StartTlsStep::kStartTls);
}

TEST(StartTlsClient, AnythingElseEndsItWithTheReason) {
  ExpectClientError(net::StartTlsClientError::kNotXmpp, "HTTP/1.1 400 Bad Request\r\n");
  ExpectClientError(net::StartTlsClientError::kNotXmpp, "<html>");
  ExpectClientError(net::StartTlsClientError::kNotXmpp,
                    "<stream:stream xmlns='jabber:server' version='1.0' "
                    "xmlns:stream='http://etherx.jabber.org/streams'>");
  ExpectClientError(net::StartTlsClientError::kNotOffered,
                    Join({kNodeOpening, "<stream:features><bind/></stream:features>"}));
  ExpectClientError(net::StartTlsClientError::kUnexpected, Join({kNodeOpening, "<message/>"}));
  ExpectClientError(net::StartTlsClientError::kUnexpected, Join({kNodeOpening, kProceed}));
  ExpectClientError(
      net::StartTlsClientError::kRefused,
      Join({kNodeOpening, kFeatures, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"}));
  ExpectClientError(net::StartTlsClientError::kClosed, Join({kNodeOpening, "</stream:stream>"}));
  ExpectClientError(net::StartTlsClientError::kTooLong,
                    Join({kNodeOpening, std::string(9000, ' ')}));
  Asking a;
  EXPECT_EQ(a.Hear(Join({kNodeOpening,
                         "<stream:error><host-unknown "
                         "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"})),
            net::StartTlsStep::kClose);
  EXPECT_EQ(a.client.error(), net::StartTlsClientError::kStreamError);
  EXPECT_EQ(a.client.condition(), "host-unknown");
  Asking slow;
  EXPECT_EQ(slow.client.OnTimeout(), net::StartTlsStep::kClose);
  EXPECT_EQ(slow.client.error(), net::StartTlsClientError::kTimeout);
}

}  // namespace
}  // namespace lb
