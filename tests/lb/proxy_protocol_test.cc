#include "net/proxy_protocol/proxy_protocol.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <vector>

#include "net/base/random.h"
#include "net/proxy_protocol/crc32c.h"

namespace lb {
namespace {

using Bytes = std::vector<uint8_t>;
using Status = net::ProxyDecoded::Status;

Bytes Hex(std::string_view hex) {
  Bytes out;
  int high = -1;
  for (char c : hex) {
    if (c == ' ') continue;
    int value = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = value;
    } else {
      out.push_back(static_cast<uint8_t>(high * 16 + value));
      high = -1;
    }
  }
  return out;
}

Bytes Raw(std::string_view text) { return {text.begin(), text.end()}; }

net::ProxyEndpoint Ip(const char* text, uint16_t port) {
  net::ProxyEndpoint endpoint;
  endpoint.family = net::ProxyFamily::kInet;
  if (inet_pton(AF_INET, text, endpoint.ip.data()) != 1) {
    endpoint.family = net::ProxyFamily::kInet6;
    EXPECT_EQ(inet_pton(AF_INET6, text, endpoint.ip.data()), 1);
  }
  endpoint.port = port;
  return endpoint;
}

net::ProxyEndpoint Path(std::string_view path) {
  net::ProxyEndpoint endpoint;
  endpoint.family = net::ProxyFamily::kUnix;
  endpoint.path = path;
  return endpoint;
}

net::ProxyDecoded Decode(const Bytes& bytes, net::ProxyHeader& header,
                         net::ProxyDecodeOptions options = {}) {
  return net::DecodeProxyHeader(bytes, header, options);
}

net::ProxyReject RejectOf(const Bytes& bytes, net::ProxyDecodeOptions options = {}) {
  net::ProxyHeader header;
  net::ProxyDecoded decoded = Decode(bytes, header, options);
  EXPECT_EQ(decoded.status, Status::kReject);
  return decoded.reject;
}

Bytes EncodeV2(const net::ProxyEndpoint& source, const net::ProxyEndpoint& destination,
               const net::ProxyTlvsOut& tlvs = {}) {
  Bytes out(4'096);
  auto size = net::EncodeProxyV2(source, destination, tlvs, out);
  EXPECT_TRUE(size.has_value());
  out.resize(size.value_or(0));
  return out;
}

std::string EncodeV1(const net::ProxyEndpoint& source, const net::ProxyEndpoint& destination) {
  Bytes out(net::kProxyV1Max);
  auto size = net::EncodeProxyV1(source, destination, out);
  EXPECT_TRUE(size.has_value());
  return {out.begin(), out.begin() + static_cast<ptrdiff_t>(size.value_or(0))};
}

const std::string kSignatureHex = "0d0a0d0a 000d0a51 5549540a";

// Every proper prefix wants more, so a header may come in any pieces.
void ExpectIncremental(const Bytes& whole) {
  for (size_t n = 0; n < whole.size(); ++n) {
    net::ProxyHeader header;
    Bytes prefix(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
    net::ProxyDecoded decoded = Decode(prefix, header);
    ASSERT_EQ(decoded.status, Status::kNeedMore) << n;
    ASSERT_TRUE(decoded.size == 0 || (decoded.size > n && decoded.size <= whole.size())) << n;
  }
  net::ProxyHeader header;
  net::ProxyDecoded decoded = Decode(whole, header);
  ASSERT_EQ(decoded.status, Status::kHeader);
  ASSERT_EQ(decoded.size, whole.size());
}

TEST(Crc32cTest, HasTheStandardCheckValue) {
  net::Crc32c crc;
  crc.Add(Raw("123456789"));
  EXPECT_EQ(crc.value(), 0xe3069283U);
}

TEST(ProxyV1Test, EncodesByteExactly) {
  EXPECT_EQ(EncodeV1(Ip("192.168.0.1", 56324), Ip("192.168.0.11", 443)),
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
  EXPECT_EQ(EncodeV1(Ip("2001:db8::1", 65535), Ip("::1", 1)),
            "PROXY TCP6 2001:db8::1 ::1 65535 1\r\n");
  EXPECT_EQ(EncodeV1(Ip("192.0.2.1", 5), Ip("2001:db8::2", 5222)),
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5 5222\r\n");
  EXPECT_EQ(EncodeV1(Path("/run/a"), Path("/run/b")), "PROXY UNKNOWN\r\n");
}

TEST(ProxyV1Test, EncodeFailsCleanlyWithoutSpace) {
  Bytes out(20, 0xaa);
  auto size =
      net::EncodeProxyV1(Ip("192.168.0.1", 1), Ip("192.168.0.2", 2), std::span(out).first(10));
  ASSERT_FALSE(size.has_value());
  EXPECT_EQ(size.error(), net::ProxyEncodeError::kNoSpace);
  for (size_t i = 10; i < 20; ++i) EXPECT_EQ(out[i], 0xaa);
}

TEST(ProxyV1Test, DecodesInAnyPieces) {
  Bytes line = Raw("PROXY TCP4 255.255.255.255 192.0.2.9 65535 0\r\n");
  ExpectIncremental(line);
  ExpectIncremental(Raw("PROXY UNKNOWN\r\n"));
  ExpectIncremental(Raw("PROXY TCP6 ffff::1 2001:db8:0:0:0:0:0:2 1 2\r\n"));
  net::ProxyHeader header;
  ASSERT_EQ(Decode(line, header).status, Status::kHeader);
  EXPECT_EQ(header.version, net::ProxyVersion::kV1);
  EXPECT_FALSE(header.local);
  EXPECT_EQ(header.source, Ip("255.255.255.255", 65535));
  EXPECT_EQ(header.destination, Ip("192.0.2.9", 0));
}

TEST(ProxyV1Test, PayloadInTheSameReceiveIsLeftAlone) {
  net::ProxyHeader header;
  net::ProxyDecoded decoded =
      Decode(Raw("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n<?xml version='1.0'?>"), header);
  ASSERT_EQ(decoded.status, Status::kHeader);
  EXPECT_EQ(decoded.size, 34u);
}

TEST(ProxyV1Test, UnknownIsLocalWhateverFollows) {
  net::ProxyHeader header;
  ASSERT_EQ(Decode(Raw("PROXY UNKNOWN ffff::1 gar bage \x01\r\n"), header).status, Status::kHeader);
  EXPECT_TRUE(header.local);
}

TEST(ProxyV1Test, RejectsWhatIsNotExactlyALine) {
  for (const char* line : {
           "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n",        // no CR
           "PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",        // a port is missing
           "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n",    // one too many
           "PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",     // two spaces
           "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n",     // trailing space
           "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",     // leading zero
           "PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n",  // no port
           "PROXY TCP4 10.0.0.1 10.0.0.2 -1 2\r\n",     // no port
           "PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n",     // no port
           "PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n",    // no address
           "PROXY TCP4 ::1 ::2 1 2\r\n",                // other family
           "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n",      // other family
           "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",      // other protocol
           "PROXY \r\n",                                // nothing
           "PROXY TCP4\r\n",                            // nothing
           "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\r\n",    // CR in the port
           "PROXY TCP6 1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7 ::1 1 2\r\n",
       }) {
    EXPECT_EQ(RejectOf(Raw(line)), net::ProxyReject::kLine) << line;
  }
  EXPECT_EQ(RejectOf(Raw("GET / HTTP/1.1\r\n")), net::ProxyReject::kNotProxy);
  EXPECT_EQ(RejectOf(Raw("PROXYTCP4")), net::ProxyReject::kNotProxy);
  EXPECT_EQ(RejectOf(Raw("<")), net::ProxyReject::kNotProxy);
}

TEST(ProxyV1Test, ALineWithoutEndIsBounded) {
  std::string line = "PROXY UNKNOWN ";
  line.append(net::kProxyV1Max - line.size() - 1, 'x');
  net::ProxyHeader header;
  EXPECT_EQ(Decode(Raw(line), header).status, Status::kNeedMore);
  EXPECT_EQ(RejectOf(Raw(line + "x")), net::ProxyReject::kTooLong);
  EXPECT_EQ(RejectOf(Raw(line + "xxxx\r\n")), net::ProxyReject::kTooLong);
}

TEST(ProxyV2Test, EncodesByteExactly) {
  EXPECT_EQ(EncodeV2(Ip("192.0.2.1", 0x1234), Ip("198.51.100.7", 5222)),
            Hex(kSignatureHex + "21 11 000c c0000201 c6336407 1234 1466"));
  EXPECT_EQ(EncodeV2(Ip("2001:db8::1", 1), Ip("::1", 2)),
            Hex(kSignatureHex +
                "21 21 0024 20010db8000000000000000000000001 00000000000000000000000000000001"
                "0001 0002"));
  EXPECT_EQ(EncodeV2(Ip("192.0.2.1", 1), Ip("::1", 2)),  // mixed: both as IPv6
            Hex(kSignatureHex +
                "21 21 0024 00000000000000000000ffffc0000201 00000000000000000000000000000001"
                "0001 0002"));
  EXPECT_EQ(EncodeV2({}, {}), Hex(kSignatureHex + "21 00 0000"));
  Bytes local(16);
  ASSERT_EQ(net::EncodeProxyV2Local(local), 16u);
  EXPECT_EQ(local, Hex(kSignatureHex + "20 00 0000"));
}

TEST(ProxyV2Test, ChecksSendALocalHeaderWithANoop) {
  Bytes local(net::kProxyV2LocalCheckBytes);
  ASSERT_EQ(net::EncodeProxyV2LocalCheck(local), local.size());
  EXPECT_EQ(local, Hex(kSignatureHex + "20 00 0003 040000"));
  net::ProxyHeader header;
  ASSERT_EQ(Decode(local, header).status, Status::kHeader);
  EXPECT_TRUE(header.local);
}

TEST(ProxyV2Test, EncodesUnixPathsByteExactly) {
  Bytes expected = Hex(kSignatureHex + "21 31 00d8");
  Bytes addresses(216);
  std::memcpy(addresses.data(), "/run/c", 6);
  std::memcpy(addresses.data() + 108, "/run/lb.sock", 12);
  expected.insert(expected.end(), addresses.begin(), addresses.end());
  EXPECT_EQ(EncodeV2(Path("/run/c"), Path("/run/lb.sock")), expected);
  net::ProxyHeader header;
  ASSERT_EQ(Decode(expected, header).status, Status::kHeader);
  EXPECT_EQ(header.source.path, "/run/c");
  EXPECT_EQ(header.destination.path, "/run/lb.sock");
  std::string full(108, 'p');
  ASSERT_EQ(Decode(EncodeV2(Path(full), Path("")), header).status, Status::kHeader);
  EXPECT_EQ(header.source.path.size(), 108u);
}

TEST(ProxyV2Test, EncodesTlvsByteExactly) {
  net::ProxySsl ssl;
  ssl.client = 0x05;
  ssl.verify = 0x01020304;
  ssl.version = "TLSv1.3";
  ssl.cn = "a";
  Bytes binding = {0xde, 0xad};
  net::ProxyTlv custom{0xe0, binding};
  net::ProxyTlvsOut tlvs;
  tlvs.alpn = "xmpp-client";
  tlvs.authority = "im.example";
  tlvs.unique_id = "id7";
  tlvs.netns = "ns";
  tlvs.ssl = &ssl;
  tlvs.more = {&custom, 1};
  EXPECT_EQ(EncodeV2(Ip("10.0.0.1", 1), Ip("10.0.0.2", 2), tlvs),
            Hex(kSignatureHex + "21 11 004d 0a000001 0a000002 0001 0002"
                                "01 000b 786d70702d636c69656e74"
                                "02 000a 696d2e6578616d706c65"
                                "05 0003 696437"
                                "20 0013 05 01020304 21 0007 544c5376312e33 22 0001 61"
                                "30 0002 6e73"
                                "e0 0002 dead"));
}

TEST(ProxyV2Test, EncodesChecksumByteExactly) {
  net::ProxyTlvsOut tlvs;
  tlvs.crc32c = true;
  Bytes encoded = EncodeV2(Ip("192.0.2.1", 1000), Ip("192.0.2.2", 5222), tlvs);
  Bytes expected = Hex(kSignatureHex + "21 11 0013 c0000201 c0000202 03e8 1466 03 0004 00000000");
  // Bit by bit, as the polynomial says, to hold the table against.
  uint32_t crc = 0xffffffffU;
  for (uint8_t byte : expected) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
  }
  crc = ~crc;
  for (int i = 0; i < 4; ++i) {
    expected[expected.size() - 4 + static_cast<size_t>(i)] =
        static_cast<uint8_t>(crc >> (24 - 8 * i));
  }
  EXPECT_EQ(encoded, expected);
}

TEST(ProxyV2Test, DecodesAllTlvsInAnyPieces) {
  net::ProxySsl ssl;
  ssl.client = net::ProxySsl::kClientSsl | net::ProxySsl::kClientCertConn;
  ssl.verify = 0;
  ssl.version = "TLSv1.3";
  ssl.cn = "juliet@im.example";
  ssl.cipher = "TLS_AES_128_GCM_SHA256";
  ssl.sig_alg = "SHA256";
  ssl.key_alg = "EC256";
  Bytes exporter(32, 0x42);
  net::ProxyTlv custom[] = {{0xe0, exporter}, {0x04, {}}};
  net::ProxyTlvsOut tlvs;
  tlvs.alpn = "xmpp-client";
  tlvs.authority = "im.example";
  tlvs.unique_id = std::string_view("\x00\x01\xff", 3);
  tlvs.netns = "blue";
  tlvs.ssl = &ssl;
  tlvs.more = custom;
  tlvs.crc32c = true;
  Bytes whole = EncodeV2(Ip("2001:db8::7", 40000), Ip("2001:db8::1", 5222), tlvs);
  ExpectIncremental(whole);
  net::ProxyHeader header;
  ASSERT_EQ(Decode(whole, header).status, Status::kHeader);
  EXPECT_EQ(header.source, Ip("2001:db8::7", 40000));
  EXPECT_EQ(header.destination, Ip("2001:db8::1", 5222));
  EXPECT_EQ(header.alpn, "xmpp-client");
  EXPECT_EQ(header.authority, "im.example");
  EXPECT_EQ(header.unique_id, tlvs.unique_id);
  EXPECT_EQ(header.netns, "blue");
  EXPECT_TRUE(header.checksummed);
  ASSERT_TRUE(header.ssl.has_value());
  EXPECT_EQ(header.ssl->client, ssl.client);
  EXPECT_EQ(header.ssl->verify, 0u);
  EXPECT_EQ(header.ssl->version, ssl.version);
  EXPECT_EQ(header.ssl->cn, ssl.cn);
  EXPECT_EQ(header.ssl->cipher, ssl.cipher);
  EXPECT_EQ(header.ssl->sig_alg, ssl.sig_alg);
  EXPECT_EQ(header.ssl->key_alg, ssl.key_alg);
  ASSERT_EQ(header.tlv_count, 8u);
  EXPECT_EQ(header.tlvs[5].type, 0xe0);
  EXPECT_EQ(header.tlvs[5].text(), std::string(32, 0x42));
}

TEST(ProxyV2Test, EveryFlippedBitFailsTheChecksumOrTheSyntax) {
  net::ProxyTlvsOut tlvs;
  tlvs.crc32c = true;
  tlvs.unique_id = "abcdef";
  Bytes whole = EncodeV2(Ip("192.0.2.1", 1), Ip("192.0.2.2", 2), tlvs);
  size_t rejected = 0;
  for (size_t bit = 16 * 8; bit < whole.size() * 8; ++bit) {
    Bytes bad = whole;
    bad[bit / 8] = static_cast<uint8_t>(bad[bit / 8] ^ (1 << (bit % 8)));
    net::ProxyHeader header;
    net::ProxyDecoded decoded = Decode(bad, header);
    // A checksum whose type byte was changed is no checksum any more; nobody can tell.
    if (decoded.status == Status::kHeader) {
      EXPECT_FALSE(header.checksummed) << bit;
    } else {
      ++rejected;
    }
  }
  EXPECT_GE(rejected, (whole.size() - 16) * 8 - 8);
}

// attacks.md 1
TEST(ProxyV2Test, PayloadInTheSameReceiveIsNeverParsedAsTlv) {
  Bytes whole = EncodeV2(Ip("192.0.2.1", 1), Ip("192.0.2.2", 2));
  size_t size = whole.size();
  Bytes payload = Hex("02 0005 6576696c2e");  // would be an AUTHORITY
  whole.insert(whole.end(), payload.begin(), payload.end());
  net::ProxyHeader header;
  net::ProxyDecoded decoded = Decode(whole, header);
  ASSERT_EQ(decoded.status, Status::kHeader);
  EXPECT_EQ(decoded.size, size);
  EXPECT_EQ(header.tlv_count, 0u);
  EXPECT_TRUE(header.authority.empty());
}

TEST(ProxyV2Test, ATlvThatOverrunsTheHeaderIsRejectedEvenWithPayloadToCoverIt) {
  Bytes whole = Hex(kSignatureHex + "21 11 0010 0a000001 0a000002 0001 0002 02 0005 61");
  Bytes payload = Raw("payload that would fill the TLV");
  whole.insert(whole.end(), payload.begin(), payload.end());
  EXPECT_EQ(RejectOf(whole), net::ProxyReject::kTlvOverrun);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 11 000f 0a000001 0a000002 0001 0002 02 ffff")),
            net::ProxyReject::kTlvOverrun);
}

TEST(ProxyV2Test, StrayBytesBehindTheTlvsAreRejected) {
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 11 000d 0a000001 0a000002 0001 0002 04")),
            net::ProxyReject::kTlvStray);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 11 000e 0a000001 0a000002 0001 0002 0400")),
            net::ProxyReject::kTlvStray);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 11 0011 0a000001 0a000002 0001 0002 04 0000 0400")),
            net::ProxyReject::kTlvStray);
}

TEST(ProxyV2Test, MalformedTlvsAreRejected) {
  const std::string start = kSignatureHex + "21 11 00";
  const std::string addresses = " 0a000001 0a000002 0001 0002 ";
  // A checksum of three bytes, a wrong one, two of them.
  EXPECT_EQ(RejectOf(Hex(start + "12" + addresses + "03 0003 000000")),
            net::ProxyReject::kTlvLength);
  EXPECT_EQ(RejectOf(Hex(start + "13" + addresses + "03 0004 00000000")),
            net::ProxyReject::kChecksum);
  // TLS information too short, its part overrunning it, twice.
  EXPECT_EQ(RejectOf(Hex(start + "13" + addresses + "20 0004 01000000")),
            net::ProxyReject::kTlvLength);
  EXPECT_EQ(RejectOf(Hex(start + "18" + addresses + "20 0009 0100000000 21 0002 41")),
            net::ProxyReject::kTlvOverrun);
  EXPECT_EQ(RejectOf(Hex(start + "1c" + addresses + "20 0005 0100000000 20 0005 0100000000")),
            net::ProxyReject::kTlvDuplicate);
  Bytes id = Hex(kSignatureHex + "21 11 0090" + addresses + "05 0081");
  id.resize(id.size() + 129, 0x41);
  EXPECT_EQ(RejectOf(id), net::ProxyReject::kTlvLength);
  Bytes many = Hex(kSignatureHex + "21 11 006f" + addresses);
  for (int i = 0; i < 33; ++i) many.insert(many.end(), {0x04, 0, 0});
  EXPECT_EQ(RejectOf(many), net::ProxyReject::kTlvCount);
}

// attacks.md 2
TEST(ProxyV2Test, LocalIsAcceptedAndItsBlockDiscarded) {
  net::ProxyHeader header;
  Bytes bare = Hex(kSignatureHex + "20 00 0000");
  ASSERT_EQ(Decode(bare, header).status, Status::kHeader);
  EXPECT_TRUE(header.local);
  // Whatever stands in the block, and whatever family is named.
  Bytes block = Hex(kSignatureHex + "20 77 0005 ffffffffff");
  block.push_back('<');
  net::ProxyDecoded decoded = Decode(block, header);
  ASSERT_EQ(decoded.status, Status::kHeader);
  EXPECT_EQ(decoded.size, 21u);
  EXPECT_TRUE(header.local);
  EXPECT_EQ(header.source.family, net::ProxyFamily::kUnspec);
}

TEST(ProxyV2Test, UnspecifiedFamilyCountsAsLocal) {
  net::ProxyHeader header;
  ASSERT_EQ(Decode(Hex(kSignatureHex + "21 00 0002 abcd"), header).status, Status::kHeader);
  EXPECT_TRUE(header.local);
}

// attacks.md 3: no socket is involved, so a host without IPv6 decodes it like any other.
TEST(ProxyV2Test, Ipv6IsDecodedWithoutAskingTheHost) {
  net::ProxyHeader header;
  ASSERT_EQ(Decode(EncodeV2(Ip("2001:db8::1", 9), Ip("fe80::2", 10)), header).status,
            Status::kHeader);
  EXPECT_EQ(header.source.ToString(), "[2001:db8::1]:9");
}

// attacks.md 4
TEST(ProxyV2Test, OversizeOutgoingTlvsFailAndSpillNothing) {
  std::string huge(65'520, 'a');
  net::ProxyTlvsOut tlvs;
  tlvs.authority = huge;  // with the addresses and its own header: 65,535
  Bytes out(200'000, 0xaa);
  auto size = net::EncodeProxyV2(Ip("10.0.0.1", 1), Ip("10.0.0.2", 2), tlvs, out);
  ASSERT_TRUE(size.has_value());
  EXPECT_EQ(*size, 16u + 65'535u);

  std::fill(out.begin(), out.end(), uint8_t{0xaa});
  huge.push_back('a');
  tlvs.authority = huge;
  size = net::EncodeProxyV2(Ip("10.0.0.1", 1), Ip("10.0.0.2", 2), tlvs, out);
  ASSERT_FALSE(size.has_value());
  EXPECT_EQ(size.error(), net::ProxyEncodeError::kTooLong);
  EXPECT_EQ(std::count(out.begin(), out.end(), uint8_t{0xaa}), 200'000);

  net::ProxySsl ssl;
  std::string cn(65'536, 'c');  // a sub-TLV whose length would wrap to 0
  ssl.cn = cn;
  net::ProxyTlvsOut wrapped;
  wrapped.ssl = &ssl;
  EXPECT_EQ(net::EncodeProxyV2(Ip("10.0.0.1", 1), Ip("10.0.0.2", 2), wrapped, out).error(),
            net::ProxyEncodeError::kTooLong);

  net::ProxyTlvsOut fits;
  fits.authority = "im.example";
  EXPECT_EQ(net::EncodeProxyV2(Ip("10.0.0.1", 1), Ip("10.0.0.2", 2), fits, std::span(out).first(40))
                .error(),
            net::ProxyEncodeError::kNoSpace);
  EXPECT_EQ(std::count(out.begin(), out.end(), uint8_t{0xaa}), 200'000);

  std::string id(129, 'i');
  net::ProxyTlvsOut long_id;
  long_id.unique_id = id;
  EXPECT_EQ(net::EncodeProxyV2(Ip("10.0.0.1", 1), Ip("10.0.0.2", 2), long_id, out).error(),
            net::ProxyEncodeError::kTooLong);
  std::string path(109, 'p');
  EXPECT_EQ(net::EncodeProxyV2(Path(path), Path("/b"), {}, out).error(),
            net::ProxyEncodeError::kPathTooLong);
}

TEST(ProxyV2Test, RejectsWhatItDoesNotKnowBeforeTheRestComes) {
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "11 11 000c")), net::ProxyReject::kVersion);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "22 11 000c")), net::ProxyReject::kCommand);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 12 000c")), net::ProxyReject::kFamily);  // a datagram
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 41 000c")), net::ProxyReject::kFamily);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 11 000b")), net::ProxyReject::kShort);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 21 000c")), net::ProxyReject::kShort);
  EXPECT_EQ(RejectOf(Hex(kSignatureHex + "21 11 ffff")), net::ProxyReject::kTooLong);
  EXPECT_EQ(RejectOf(Hex("0d0a0d0a 000d0a51 55495400")), net::ProxyReject::kNotProxy);
}

TEST(ProxyDecodeTest, OptionsChooseVersionsAndBound) {
  Bytes v1 = Raw("PROXY UNKNOWN\r\n");
  Bytes v2 = Hex(kSignatureHex + "20 00 0000");
  EXPECT_EQ(RejectOf(v1, {.v1 = false}), net::ProxyReject::kVersion);
  EXPECT_EQ(RejectOf(v2, {.v2 = false}), net::ProxyReject::kVersion);
  Bytes with_tlv = Hex(kSignatureHex + "21 11 0013 0a000001 0a000002 0001 0002 04 0004 00000000");
  net::ProxyHeader header;
  EXPECT_EQ(Decode(with_tlv, header, {.header_max = 35}).status, Status::kHeader);
  EXPECT_EQ(RejectOf(with_tlv, {.header_max = 34}), net::ProxyReject::kTooLong);
}

TEST(ProxyDecodeTest, RandomBytesBehindTheSignatureNeverEscapeTheHeader) {
  net::FastRandom random(3);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = Hex(kSignatureHex + "21 11 00");
    uint32_t length = 12 + random.Below(60);
    bytes.push_back(static_cast<uint8_t>(length));
    for (uint32_t i = 0; i < length; ++i) {
      // Small numbers often, so that TLVs have a chance to be right.
      uint64_t r = random.Next();
      bytes.push_back(static_cast<uint8_t>((r & 1) != 0 ? 0 : (r >> 8) % ((r & 2) != 0 ? 8 : 256)));
    }
    net::ProxyHeader header;
    net::ProxyDecoded decoded = Decode(bytes, header);
    ASSERT_NE(decoded.status, Status::kNeedMore);
    for (size_t i = 0; decoded.status == Status::kHeader && i < header.tlv_count; ++i) {
      ASSERT_GE(header.tlvs[i].value.data(), bytes.data() + 28);
      ASSERT_LE(header.tlvs[i].value.data() + header.tlvs[i].value.size(),
                bytes.data() + bytes.size());
    }
  }
}

TEST(ProxyEndpointTest, IsAnAddressBothWays) {
  for (const char* text : {"192.0.2.1:5222", "[2001:db8::1]:1"}) {
    net::Address address = *net::Address::Parse(text);
    EXPECT_EQ(net::ProxyEndpoint::FromAddress(address).ToAddress(), address);
    EXPECT_EQ(net::ProxyEndpoint::FromAddress(address).ToString(), text);
  }
  EXPECT_FALSE(Path("/run/x").ToAddress());
  EXPECT_EQ(net::ProxyEndpoint::FromAddress({}).family, net::ProxyFamily::kUnspec);
}

TEST(ProxyEndpointTest, ReadsSocketAddresses) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(5222);
  in.sin_addr.s_addr = htonl(0xc0000201);
  EXPECT_EQ(net::ProxyEndpoint::FromSockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in),
            Ip("192.0.2.1", 5222));
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::strcpy(un.sun_path, "/run/x.sock");
  auto path = net::ProxyEndpoint::FromSockaddr(reinterpret_cast<sockaddr*>(&un), sizeof un);
  EXPECT_EQ(path.ToString(), "unix:/run/x.sock");
  auto unnamed =
      net::ProxyEndpoint::FromSockaddr(reinterpret_cast<sockaddr*>(&un), sizeof(sa_family_t));
  EXPECT_EQ(unnamed.ToString(), "unix:");
  EXPECT_EQ(net::ProxyEndpoint::FromSockaddr(nullptr, 0).ToString(), "unknown");
}

}  // namespace
}  // namespace lb
