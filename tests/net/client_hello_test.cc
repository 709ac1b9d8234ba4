#include "net/tls/client_hello.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <random>

#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// What OpenSSL sends.
Bytes RealHello(const std::string& sni, const std::string& alpn_wire) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  Bytes hello;
  {
    OpenSslPeer client(context, false);
    std::string name = sni;
    if (!name.empty()) {
      SSL_ctrl(client.ssl(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
    }
    if (!alpn_wire.empty()) {
      SSL_set_alpn_protos(client.ssl(), reinterpret_cast<const unsigned char*>(alpn_wire.data()),
                          static_cast<unsigned>(alpn_wire.size()));
    }
    client.Handshake();
    hello = client.Take();
  }
  SSL_CTX_free(context);
  return hello;
}

Bytes U16(size_t n) { return {static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)}; }
Bytes Prefixed(const Bytes& body) { return Cat({U16(body.size()), body}); }
Bytes Extension(uint16_t type, const Bytes& body) { return Cat({U16(type), Prefixed(body)}); }
Bytes NameExtension(const std::string& name) {
  return Extension(0, Prefixed(Cat({{0}, Prefixed(ToBytes(name))})));
}
Bytes Message(const Bytes& extensions) {
  Bytes body = Cat({{3, 3}, Bytes(32, 7), {0}, {0, 2, 0x13, 0x01}, {1, 0}, Prefixed(extensions)});
  return Cat({{1, 0}, U16(body.size()), body});
}
// The handshake message in records of at most `piece` bytes.
Bytes Records(const Bytes& message, size_t piece = 16'384) {
  Bytes wire;
  for (size_t at = 0; at < message.size(); at += piece) {
    size_t n = std::min(piece, message.size() - at);
    for (uint8_t byte : Cat({{22, 3, 1}, U16(n)})) wire.push_back(byte);
    wire.insert(wire.end(), message.begin() + static_cast<long>(at),
                message.begin() + static_cast<long>(at + n));
  }
  return wire;
}
ClientHelloStatus Parse(ClientHelloParser& parser, const Bytes& wire) { return parser.Feed(wire); }

TEST(ClientHello, NameAndProtocolsOfARealOne) {
  ClientHelloParser parser;
  Bytes wire = RealHello("Chat.Example.org", "\x0bxmpp-client\x02h2");
  ASSERT_EQ(Parse(parser, wire), ClientHelloStatus::kOk);
  EXPECT_EQ(parser.server_name(), "chat.example.org");
  EXPECT_THAT(parser.alpn(), ElementsAre("xmpp-client", "h2"));
  EXPECT_TRUE(parser.Offers("h2"));
  EXPECT_FALSE(parser.Offers("xmpp-server"));
  EXPECT_EQ(parser.version(), 0x0304);
  ClientHelloParser bare;
  ASSERT_EQ(Parse(bare, RealHello("", "")), ClientHelloStatus::kOk);
  EXPECT_EQ(bare.server_name(), "");
  EXPECT_THAT(bare.alpn(), IsEmpty());
}

TEST(ClientHello, AnySplitOverRecordsAndSegmentsGivesTheSame) {
  Bytes real = RealHello("chat.example.org", "\x0bxmpp-client");
  Bytes message(real.begin() + 5, real.end());
  std::mt19937 random(3);
  for (size_t piece : {1u, 2u, 3u, 7u, 40u, 100u, 1000u}) {
    Bytes wire = Records(message, piece);
    if (wire.size() > ClientHelloParser::kInputBytesMax) continue;
    for (int round = 0; round < 20; ++round) {
      ClientHelloParser parser;
      size_t at = 0;
      while (at < wire.size()) {
        size_t n = round == 0 ? 1 : 1 + random() % 90;
        n = std::min(n, wire.size() - at);
        ClientHelloStatus status = parser.Feed(std::span(wire).subspan(at, n));
        at += n;
        ASSERT_EQ(status, at < wire.size() ? ClientHelloStatus::kNeedMore : ClientHelloStatus::kOk);
      }
      EXPECT_EQ(parser.server_name(), "chat.example.org");
      EXPECT_THAT(parser.alpn(), ElementsAre("xmpp-client"));
    }
  }
}

TEST(ClientHello, WhatFollowsIsIgnored) {
  ClientHelloParser parser;
  Bytes wire = Cat({Records(Message(NameExtension("a.example"))), {20, 3, 3, 0, 1, 1}, {99}});
  EXPECT_EQ(Parse(parser, wire), ClientHelloStatus::kOk);
  EXPECT_EQ(parser.server_name(), "a.example");
  EXPECT_EQ(parser.Feed(Bytes{1, 2, 3}), ClientHelloStatus::kOk);
}

TEST(ClientHello, ANameLengthThatOverrunsIsNoName) {
  // attacks.md 5: a hello of 65 bytes whose name claims 0xffff.
  Bytes extension = Cat({{0, 0, 0, 7}, {0, 5, 0, 0xff, 0xff, 'a', 'b'}});
  Bytes wire = Records(Message(extension));
  ClientHelloParser parser;
  EXPECT_EQ(Parse(parser, wire), ClientHelloStatus::kOk);
  EXPECT_EQ(parser.server_name(), "");
  // The extension's own length claiming more than the hello has is a broken frame.
  Bytes overrun = Cat({{0, 0, 0xff, 0xff}, {0, 5, 0, 0, 2, 'a', 'b'}});
  ClientHelloParser second;
  EXPECT_EQ(Parse(second, Records(Message(overrun))), ClientHelloStatus::kMalformed);
  EXPECT_EQ(second.server_name(), "");
}

TEST(ClientHello, SixtyFiveBytesInAllWithALengthOfAllOnes) {
  Bytes body = Cat({{3, 3}, Bytes(32, 7), {0}, {0, 2, 0x13, 0x01}, {1, 0}});
  Bytes name = {0, 0, 0, 9, 0, 7, 0, 0xff, 0xff, 'a', 'b', 'c', 'd'};  // 13 bytes
  body = Cat({body, Prefixed(name)});
  Bytes wire = Records(Cat({{1, 0}, U16(body.size()), body}));
  ASSERT_EQ(wire.size(), 65u);
  ClientHelloParser parser;
  EXPECT_EQ(Parse(parser, wire), ClientHelloStatus::kOk);
  EXPECT_EQ(parser.server_name(), "");
}

TEST(ClientHello, NamesThatAreNoHostNamesAreNone) {
  for (const std::string& name :
       {std::string("a\0b.example", 11), std::string("a b"), std::string("evil\r\nx"),
        std::string("."), std::string(254, 'a'), std::string("ex\xc3\xa4mple")}) {
    ClientHelloParser parser;
    EXPECT_EQ(Parse(parser, Records(Message(NameExtension(name)))), ClientHelloStatus::kOk);
    EXPECT_EQ(parser.server_name(), "") << name;
  }
  ClientHelloParser dotted;
  Parse(dotted, Records(Message(NameExtension("a.example."))));
  EXPECT_EQ(dotted.server_name(), "a.example");
}

TEST(ClientHello, OtherProtocolsAreNotTls) {
  for (const char* text : {"GET / HTTP/1.1", "<?xml version='1.0'?>", "SSH-2.0-x", "PROXY TCP4"}) {
    ClientHelloParser parser;
    EXPECT_EQ(Parse(parser, ToBytes(text)), ClientHelloStatus::kNotTls) << text;
  }
  ClientHelloParser sslv2;
  EXPECT_EQ(Parse(sslv2, {0x80, 0x2e, 1, 0, 2}), ClientHelloStatus::kNotTls);
  ClientHelloParser version;
  EXPECT_EQ(Parse(version, {22, 2, 0}), ClientHelloStatus::kNotTls);
}

TEST(ClientHello, BrokenFramesAreMalformed) {
  auto status = [](const Bytes& wire) {
    ClientHelloParser parser;
    return parser.Feed(wire);
  };
  constexpr auto kMalformed = ClientHelloStatus::kMalformed;
  Bytes good = Message(NameExtension("a.example"));
  EXPECT_EQ(status({22, 3, 1, 0, 0}), kMalformed);                 // empty record
  EXPECT_EQ(status({22, 3, 1, 0x40, 0x01}), kMalformed);           // record above 2^14
  EXPECT_EQ(status({22, 3, 1, 0, 9, 2}), kMalformed);              // ServerHello
  EXPECT_EQ(status({22, 3, 1, 0, 9, 1, 0, 0x40, 1}), kMalformed);  // hello above 16 KiB
  Bytes halves = Records(good, good.size() / 2 + 1);
  halves[5 + good.size() / 2 + 1] = 23;  // another record type in between
  EXPECT_EQ(status(halves), kMalformed);
  EXPECT_EQ(status(Records(Message(Cat({NameExtension("a.example"), NameExtension("b.example")})))),
            kMalformed);
  Bytes short_random = {1, 0, 0, 10, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(status(Records(short_random)), kMalformed);
  Bytes trailing = Cat({good, {0}});
  trailing[3] = static_cast<uint8_t>(trailing[3] + 1);
  EXPECT_EQ(status(Records(trailing)), kMalformed);
}

TEST(ClientHello, InputIsBounded) {
  // One byte a record: the overhead runs into the limit long before the hello is complete.
  Bytes message(ClientHelloParser::kHelloBytesMax, 0);
  message[0] = 1;
  message[2] = 0x3f;
  ClientHelloParser parser;
  Bytes wire = Records(message, 1);
  size_t at = 0;
  while (at < wire.size() &&
         parser.Feed(std::span(wire).subspan(at, 1)) == ClientHelloStatus::kNeedMore) {
    ++at;
  }
  EXPECT_EQ(at, ClientHelloParser::kInputBytesMax);
  EXPECT_EQ(parser.status(), ClientHelloStatus::kMalformed);
}

TEST(ClientHello, ALargeOneWithinTheLimitsIsFine) {
  Bytes padding = Extension(21, Bytes(15'000));
  ClientHelloParser parser;
  EXPECT_EQ(Parse(parser, Records(Message(Cat({padding, NameExtension("a.example")})), 4000)),
            ClientHelloStatus::kOk);
  EXPECT_EQ(parser.server_name(), "a.example");
}

}  // namespace
}  // namespace net
