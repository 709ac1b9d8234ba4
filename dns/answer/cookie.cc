#include "dns/answer/cookie.h"

#include <algorithm>

#include "dns/wire/wire.h"
#include "net/base/siphash.h"

namespace dns {
namespace {

net::SipKey SipKeyOf(const CookieSecret& secret) {
  const std::span<const uint8_t> bytes(secret);
  return {net::LoadLittle(bytes.first(8)), net::LoadLittle(bytes.last(8))};
}

// The hash over client cookie, version, reserved bytes and timestamp (the first 16 bytes of a full
// cookie) and the client's address (RFC 9018 §4.4).
std::array<uint8_t, 8> CookieHash(const CookieSecret& secret, std::span<const uint8_t> cookie,
                                  const net::Address& client) {
  std::array<uint8_t, 16 + 16> input{};
  std::copy_n(cookie.begin(), 16, input.begin());
  auto ip = client.ip();
  std::ranges::copy(ip, input.begin() + 16);
  uint64_t hash = net::SipHash<2, 4>(SipKeyOf(secret), std::span(input).first(16 + ip.size()));
  std::array<uint8_t, 8> out;
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<uint8_t>(hash >> 8 * i);
  return out;
}

}  // namespace

std::array<uint8_t, kServerCookieBytes> MakeServerCookie(const CookieSecret& secret,
                                                         std::span<const uint8_t> client_cookie,
                                                         const net::Address& client, uint32_t now) {
  std::array<uint8_t, kFullCookieBytes> cookie{};
  std::copy_n(client_cookie.begin(), kClientCookieBytes, cookie.begin());
  cookie[8] = 1;  // version, then three reserved bytes
  Put32(cookie.data() + 12, now);
  std::ranges::copy(CookieHash(secret, cookie, client), cookie.begin() + 16);
  std::array<uint8_t, kServerCookieBytes> out;
  std::copy_n(cookie.begin() + 8, kServerCookieBytes, out.begin());
  return out;
}

bool IsValidCookie(const std::vector<CookieSecret>& secrets, std::span<const uint8_t> cookie,
                   const net::Address& client, uint32_t now) {
  if (cookie.size() != kFullCookieBytes || cookie[8] != 1) return false;
  uint32_t made = Get32(cookie.data() + 12);
  auto age = static_cast<int32_t>(now - made);  // serial arithmetic: survives 2106
  if (age > static_cast<int32_t>(kCookieAgeMax) || age < -static_cast<int32_t>(kCookieFutureMax)) {
    return false;
  }
  for (const CookieSecret& secret : secrets) {
    auto expected = CookieHash(secret, cookie, client);
    uint8_t difference = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      difference = static_cast<uint8_t>(difference | (expected[i] ^ cookie[16 + i]));
    }
    if (difference == 0) return true;
  }
  return false;
}

}  // namespace dns
