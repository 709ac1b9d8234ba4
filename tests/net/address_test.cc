#include "net/base/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include <cstring>
#include <unordered_set>

namespace net {
namespace {

using ::testing::HasSubstr;

Address A(std::string_view text) {
  auto address = Address::Parse(text);
  EXPECT_TRUE(address) << text;
  return address.value_or(Address());
}

TEST(Address, WhatIsParsedPrintsTheSame) {
  for (auto text : {"192.0.2.1:5222", "0.0.0.0:0", "255.255.255.255:65535", "[::]:1", "[::1]:5222",
                    "[2001:db8::1]:443", "[::ffff:192.0.2.1]:80",
                    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"}) {
    EXPECT_EQ(A(text).ToString(), text);
  }
}

TEST(Address, ADefaultOneIsNoAddress) {
  Address none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.ToString(), "-");
  EXPECT_EQ(none.IpToString(), "-");
  EXPECT_TRUE(none.ip().empty());
  EXPECT_EQ(none.ToSocketName().size(), 0U);
  EXPECT_EQ(none.ToSocketName().family(), AF_UNSPEC);
  EXPECT_FALSE(none.IsUnspecified());
}

TEST(Address, SurvivesTheWayThroughSockaddr) {
  for (auto text : {"192.0.2.1:5222", "[2001:db8::1]:443"}) {
    SocketName name = A(text).ToSocketName();
    EXPECT_EQ(Address::FromSockaddr(name.get(), name.size()), A(text));
  }
  SocketName v4 = A("192.0.2.1:5222").ToSocketName();
  EXPECT_EQ(v4.family(), AF_INET);
  EXPECT_EQ(v4.size(), sizeof(sockaddr_in));
  sockaddr_in raw{};
  std::memcpy(&raw, v4.get(), sizeof(raw));
  EXPECT_EQ(ntohs(raw.sin_port), 5222);
  EXPECT_EQ(ntohl(raw.sin_addr.s_addr), 0xc0000201U);
}

TEST(Address, ForeignAndShortSockaddrsAreNoAddress) {
  SocketName name = A("[::1]:1").ToSocketName();
  EXPECT_FALSE(Address::FromSockaddr(name.get(), sizeof(sockaddr_in)));
  EXPECT_FALSE(Address::FromSockaddr(nullptr, 0));
  SocketName path = SocketName::Unix("/run/x");
  EXPECT_FALSE(Address::FromSockaddr(path.get(), path.size()));
}

TEST(Address, OnlyStrictFormsAreIps) {
  for (auto text :
       {"1.2.3", "01.2.3.4", "0x7f.0.0.1", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", "",
        ":::", "fe80::1%", "fe80::1%no-such-if", "::1%lo", "1.2.3.4%lo", "1::2::3", "12345::"}) {
    EXPECT_FALSE(Address::FromIp(text, 1)) << text;
  }
  EXPECT_FALSE(Address::FromIp(std::string_view("1.2.3.4\0x", 9), 1));
  EXPECT_FALSE(Address::FromIp(std::string(1000, '1'), 1));
}

TEST(Address, LinkLocalAddressesKeepTheirZone) {
  const Address zoned = A("[fe80::1%lo]:5222");
  EXPECT_EQ(zoned.zone(), if_nametoindex("lo"));
  EXPECT_EQ(zoned.ToString(), "[fe80::1%lo]:5222");
  EXPECT_EQ(zoned.IpToString(), "fe80::1%lo");
  EXPECT_EQ(Endpoint::Parse("[fe80::1%lo]:5222")->ToString(), "[fe80::1%lo]:5222");
  const SocketName name = zoned.ToSocketName();
  EXPECT_EQ(reinterpret_cast<const sockaddr_in6*>(name.get())->sin6_scope_id, zoned.zone());
  EXPECT_EQ(Address::FromSockaddr(name.get(), name.size()), zoned);
  EXPECT_NE(zoned, A("[fe80::1]:5222"));
  EXPECT_EQ(zoned.WithoutZone(), A("[fe80::1]:5222"));
  EXPECT_EQ(zoned.HashIp(7), A("[fe80::1]:5222").HashIp(7));
  EXPECT_TRUE(Cidr::Parse("fe80::/10")->Contains(zoned));
  // The kernel names an interface for other addresses, too, now and then: they have no zone.
  sockaddr_in6 global =
      *reinterpret_cast<const sockaddr_in6*>(A("[2001:db8::1]:1").ToSocketName().get());
  global.sin6_scope_id = 1;
  EXPECT_EQ(Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&global), sizeof global),
            A("[2001:db8::1]:1"));
}

TEST(Address, MappedAddressesUnmap) {
  EXPECT_EQ(A("[::ffff:192.0.2.1]:80").Unmapped(), A("192.0.2.1:80"));
  EXPECT_EQ(A("[2001:db8::1]:80").Unmapped(), A("[2001:db8::1]:80"));
  EXPECT_EQ(A("192.0.2.1:80").Unmapped(), A("192.0.2.1:80"));
}

TEST(Address, KnowsLoopbackAndUnspecified) {
  EXPECT_TRUE(A("127.9.9.9:1").IsLoopback());
  EXPECT_TRUE(A("[::1]:1").IsLoopback());
  EXPECT_TRUE(A("[::ffff:127.0.0.1]:1").IsLoopback());
  EXPECT_FALSE(A("128.0.0.1:1").IsLoopback());
  EXPECT_FALSE(A("[::2]:1").IsLoopback());
  EXPECT_TRUE(A("0.0.0.0:1").IsUnspecified());
  EXPECT_TRUE(A("[::]:1").IsUnspecified());
  EXPECT_FALSE(A("[::1]:1").IsUnspecified());
}

TEST(Address, NetworkKeepsThePrefixAndDropsThePort) {
  EXPECT_EQ(A("[2001:db8:1:2:3:4:5:6]:99").Network(32, 64), A("[2001:db8:1:2::]:0"));
  EXPECT_EQ(A("[2001:db8:1:2ff:3:4:5:6]:99").Network(32, 60), A("[2001:db8:1:2f0::]:0"));
  EXPECT_EQ(A("192.0.2.255:99").Network(32, 64), A("192.0.2.255:0"));
  EXPECT_EQ(A("192.0.2.255:99").Network(25, 64), A("192.0.2.128:0"));
  EXPECT_EQ(A("192.0.2.255:99").Network(0, 64), A("0.0.0.0:0"));
  EXPECT_EQ(A("192.0.2.255:99").Network(500, 500), A("192.0.2.255:0"));
}

TEST(Address, HashesDifferBySeedAndSpread) {
  EXPECT_EQ(A("192.0.2.1:1").HashIp(7), A("192.0.2.1:2").HashIp(7));  // the port is no part of it
  EXPECT_NE(A("192.0.2.1:1").HashIp(7), A("192.0.2.1:1").HashIp(8));
  std::unordered_set<uint64_t> low_bits;
  for (int i = 0; i < 4096; ++i) {
    auto third = static_cast<uint8_t>(i >> 8);
    auto fourth = static_cast<uint8_t>(i);
    low_bits.insert(Address::V4({10, 0, third, fourth}, 0).HashIp(1) & 0xffff);
  }
  // 4096 balls into 65536 bins leave about 3970 bins occupied.
  EXPECT_GT(low_bits.size(), 3900U);
}

TEST(Endpoint, ReadsAddressesHostsAndPaths) {
  auto ip = Endpoint::Parse("[::1]:5222");
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->kind, Endpoint::Kind::kIp);
  EXPECT_EQ(ip->port, 5222);
  EXPECT_EQ(ip->ToString(), "[::1]:5222");
  auto host = Endpoint::Parse("xmpp_1.example.org:5222");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->kind, Endpoint::Kind::kHost);
  EXPECT_EQ(host->name, "xmpp_1.example.org");
  EXPECT_EQ(host->ToString(), "xmpp_1.example.org:5222");
  auto path = Endpoint::Parse("unix:/run/x.sock");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->kind, Endpoint::Kind::kUnix);
  EXPECT_EQ(path->ToString(), "unix:/run/x.sock");
  EXPECT_EQ(path->ToSocketName().size(), offsetof(sockaddr_un, sun_path) + 12);
  auto abstract = Endpoint::Parse("unix:@mongoose");
  ASSERT_TRUE(abstract);
  SocketName name = abstract->ToSocketName();
  EXPECT_EQ(name.size(), offsetof(sockaddr_un, sun_path) + 9);
  EXPECT_EQ(name.get()->sa_data[0], '\0');
}

struct BadEndpoint {
  std::string text;
  std::string what;
  std::string remedy;
};

TEST(Endpoint, EachMistakeHasItsOwnWords) {
  const std::string remedy =
      "write ADDRESS:PORT, as in \"192.0.2.1:5222\" or \"[2001:db8::1]:5222\"";
  std::vector<BadEndpoint> cases = {
      {"", "is empty", remedy},
      {"localhost", "is 'localhost', which has no port", remedy},
      {"[::1]", "is '[::1]', which has no port", remedy},
      {"[::1", "is '[::1', which lacks a closing bracket", remedy},
      {"::1:5222", "is '::1:5222', where the port cannot be told from the address",
       "write an IPv6 address in brackets, as in \"[2001:db8::1]:5222\""},
      {":5222", "is ':5222', which has no address",
       "write \"0.0.0.0:5222\" for all of IPv4, \"[::]:5222\" for all of IPv6"},
      {"*:5222", "is '*:5222', which has no address",
       "write \"0.0.0.0:5222\" for all of IPv4, \"[::]:5222\" for all of IPv6"},
      {"1.2.3.4:70000", "has the port '70000', which is not a number up to 65535", remedy},
      {"1.2.3.4:", "has the port '', which is not a number up to 65535", remedy},
      {"1.2.3.4:x", "has the port 'x', which is not a number up to 65535", remedy},
      {"[1.2.3.4]:1", "is '[1.2.3.4]:1', with an IPv4 address in brackets", remedy},
      {"[fe80::1%no0]:1", "is '[fe80::1%no0]:1', whose zone is no interface of this machine",
       "write a link-local address with its interface, as in \"[fe80::1%eth0]:5222\""},
      {"[fe80::1::%lo]:1", "is '[fe80::1::%lo]:1', which holds no IPv6 address", remedy},
      {"300.1.1.1:1", "is '300.1.1.1:1', which holds no IPv4 address", remedy},
      {"a b:1", "is 'a b:1', which holds neither an address nor a host name", remedy},
      {"-a.example:1", "is '-a.example:1', which holds neither an address nor a host name", remedy},
      {"unix:x.sock", "is 'unix:x.sock', which has no absolute path",
       "write \"unix:/run/NAME.sock\", or \"unix:@NAME\" for an abstract socket"},
      {"unix:/" + std::string(107, 'x'),
       "has a path of 108 bytes, which is above the largest allowed, 107", "choose a shorter path"},
  };
  for (const BadEndpoint& bad : cases) {
    auto endpoint = Endpoint::Parse(bad.text);
    ASSERT_FALSE(endpoint) << bad.text;
    EXPECT_EQ(endpoint.error().what, bad.what);
    EXPECT_EQ(endpoint.error().remedy, bad.remedy);
  }
}

TEST(Endpoint, AddressParseRefusesNames) {
  auto address = Address::Parse("localhost:80");
  ASSERT_FALSE(address);
  EXPECT_EQ(address.error().what, "is 'localhost:80', which is not an IP address with a port");
}

TEST(HostName, FollowsTheRulesOfLabels) {
  EXPECT_TRUE(IsHostName("a"));
  EXPECT_TRUE(IsHostName("xmpp-1.example.org."));
  EXPECT_TRUE(IsHostName("_xmpp-server._tcp.example"));
  EXPECT_TRUE(IsHostName(std::string(63, 'a')));
  EXPECT_FALSE(IsHostName(std::string(64, 'a')));
  for (auto bad : {"", ".", "a..b", ".a", "a-", "a-.b", "1.2.3.4", "a/b", "a\nb", "é"}) {
    EXPECT_FALSE(IsHostName(bad)) << bad;
  }
  std::string long_name;
  for (int i = 0; i < 64; ++i) long_name += "abc.";
  EXPECT_FALSE(IsHostName(long_name));
}

TEST(Cidr, ContainsItsAddressesAndNoOthers) {
  Cidr v4 = Cidr::Parse("192.0.2.0/24").value();
  EXPECT_TRUE(v4.Contains(A("192.0.2.77:9")));
  EXPECT_TRUE(v4.Contains(A("[::ffff:192.0.2.77]:9")));
  EXPECT_FALSE(v4.Contains(A("192.0.3.1:9")));
  EXPECT_FALSE(v4.Contains(A("[2001:db8::1]:9")));
  EXPECT_FALSE(v4.Contains(Address()));
  Cidr v6 = Cidr::Parse("2001:db8::/33").value();
  EXPECT_TRUE(v6.Contains(A("[2001:db8:7fff::1]:9")));
  EXPECT_FALSE(v6.Contains(A("[2001:db8:8000::1]:9")));
  EXPECT_TRUE(Cidr::Parse("10.1.2.3").value().Contains(A("10.1.2.3:1")));
  EXPECT_FALSE(Cidr::Parse("10.1.2.3").value().Contains(A("10.1.2.4:1")));
  EXPECT_TRUE(Cidr::Parse("0.0.0.0/0").value().Contains(A("10.1.2.4:1")));
  EXPECT_FALSE(Cidr::Parse("0.0.0.0/0").value().Contains(A("[2001:db8::]:1")));
  EXPECT_FALSE(Cidr().Contains(A("10.1.2.3:1")));
}

TEST(Cidr, MistakesAreNamed) {
  EXPECT_EQ(Cidr::Parse("192.0.2.1/24").error().remedy,
            "write \"192.0.2.0/24\" for the network, or the address alone");
  EXPECT_EQ(Cidr::Parse("192.0.2.0/33").error().what,
            "has the prefix length '33', which is not a number up to 32");
  EXPECT_EQ(Cidr::Parse("192.0.2.0/").error().what,
            "has the prefix length '', which is not a number up to 32");
  EXPECT_THAT(Cidr::Parse("lan").error().what, HasSubstr("which holds no IP address"));
}

TEST(Cidr, PrintsWhatItReads) {
  for (auto text : {"192.0.2.0/24", "2001:db8::/32", "::/0"}) {
    EXPECT_EQ(Cidr::Parse(text).value().ToString(), text);
  }
}

}  // namespace
}  // namespace net
