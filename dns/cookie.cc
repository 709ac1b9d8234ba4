#include "dns/cookie.h"

#include <algorithm>
#include <bit>

#include "dns/wire.h"

namespace dns {
namespace {

uint64_t GetLittle64(const uint8_t* p, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= uint64_t{p[i]} << 8 * i;
  return value;
}

struct SipState {
  uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Take(uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
};

}  // namespace

uint64_t SipHash24(const CookieSecret& key, std::span<const uint8_t> data) {
  uint64_t k0 = GetLittle64(key.data(), 8);
  uint64_t k1 = GetLittle64(key.data() + 8, 8);
  SipState s{k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
             k1 ^ 0x7465646279746573u};
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) s.Take(GetLittle64(data.data() + i, 8));
  s.Take(uint64_t{data.size()} << 56 | GetLittle64(data.data() + i, data.size() - i));
  s.v2 ^= 0xff;
  for (int round = 0; round < 4; ++round) s.Round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

namespace {

// The hash over client cookie, version, reserved bytes and timestamp (the first 16 bytes of a full
// cookie) and the client's address (RFC 9018 §4.4).
std::array<uint8_t, 8> CookieHash(const CookieSecret& secret, std::span<const uint8_t> cookie,
                                  const net::Address& client) {
  std::array<uint8_t, 16 + 16> input{};
  std::copy_n(cookie.begin(), 16, input.begin());
  auto ip = client.ip();
  std::ranges::copy(ip, input.begin() + 16);
  uint64_t hash = SipHash24(secret, std::span(input).first(16 + ip.size()));
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
