#include "dns/answer/cookie.h"

#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::Ip;

Bytes Hex(std::string_view text) {
  Bytes out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    out.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

CookieSecret Secret(std::string_view text) {
  CookieSecret secret;
  std::ranges::copy(Hex(text), secret.begin());
  return secret;
}

// RFC 9018 appendix A.1 to A.4: what a client gets from a server at a time.
TEST(CookieTest, MakesTheCookiesOfRfc9018) {
  struct Case {
    std::string_view secret, client_cookie, address, server_cookie;
    uint32_t time;
  };
  for (const Case& c : {
           Case{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100",
                "010000005cf79f111f8130c3eee29480", 1559731985},
           Case{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100",
                "010000005cf7a871d4a564a1442aca77", 1559734385},
           Case{"e5e973e5a6b2a43f48e7dc849e37bfcf", "fc93fc62807ddb86", "203.0.113.203",
                "010000005cf7a9acf73a7810aca2381e", 1559734700},
           Case{"445536bcd2513298075a5d379663c962", "22681ab97d52c298",
                "2001:db8:220:1:59de:d0f4:8769:82b8", "010000005cf7c609a6bb79d16625507a",
                1559741961},
       }) {
    auto made = MakeServerCookie(Secret(c.secret), Hex(c.client_cookie), Ip(c.address), c.time);
    EXPECT_EQ(Bytes(made.begin(), made.end()), Hex(c.server_cookie)) << c.address;
    Bytes full = Hex(c.client_cookie);
    Append(full, made);
    EXPECT_TRUE(IsValidCookie({Secret(c.secret)}, full, Ip(c.address), c.time));
  }
}

// RFC 9018 appendix A.3: the reserved bytes are part of what was hashed.
TEST(CookieTest, AcceptsReservedBytesOfOtherServers) {
  EXPECT_TRUE(IsValidCookie({Secret("e5e973e5a6b2a43f48e7dc849e37bfcf")},
                            Hex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"),
                            Ip("203.0.113.203"), 1559727985));
}

TEST(CookieTest, IsGoodForOneAddressOneHourAndAnySecretInRotation) {
  CookieSecret old_secret = {1}, new_secret = {2};
  Bytes cookie(8, 9);
  Append(cookie, MakeServerCookie(old_secret, cookie, Ip("192.0.2.1"), 100'000));
  auto valid = [&](const char* address, uint32_t now) {
    return IsValidCookie({new_secret, old_secret}, cookie, Ip(address), now);
  };
  EXPECT_TRUE(valid("192.0.2.1", 100'000));
  EXPECT_TRUE(valid("192.0.2.1", 103'600));
  EXPECT_FALSE(valid("192.0.2.1", 103'601));
  EXPECT_TRUE(valid("192.0.2.1", 99'700));
  EXPECT_FALSE(valid("192.0.2.1", 99'699));
  EXPECT_FALSE(valid("192.0.2.2", 100'000));
  EXPECT_FALSE(IsValidCookie({new_secret}, cookie, Ip("192.0.2.1"), 100'000));
  EXPECT_FALSE(IsValidCookie({old_secret}, ByteView(cookie).first(8), Ip("192.0.2.1"), 100'000));
}

}  // namespace
}  // namespace dns
