// DNS cookies that any server of a fleet can check (RFC 7873, RFC 9018): SipHash-2-4 over the
// client's cookie, its address and a timestamp, keyed by a secret that the fleet shares.
//
// Pure; any thread. Two secrets may be valid at once, so that the fleet can change them one server
// after the other: the first makes cookies, all check them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "net/base/address.h"

namespace dns {

using CookieSecret = std::array<uint8_t, 16>;

constexpr size_t kClientCookieBytes = 8;
constexpr size_t kServerCookieBytes = 16;
constexpr size_t kFullCookieBytes = kClientCookieBytes + kServerCookieBytes;
// RFC 9018 §4.3: how old a cookie may be, and how far in the future.
constexpr uint32_t kCookieAgeMax = 3600;
constexpr uint32_t kCookieFutureMax = 300;

// The server cookie for a client; `now` in seconds since 1970.
std::array<uint8_t, kServerCookieBytes> MakeServerCookie(const CookieSecret& secret,
                                                         std::span<const uint8_t> client_cookie,
                                                         const net::Address& client, uint32_t now);

// Is `cookie` (the option's data) one that we, or another server with the secret, made for this
// client, and still good?
bool IsValidCookie(const std::vector<CookieSecret>& secrets, std::span<const uint8_t> cookie,
                   const net::Address& client, uint32_t now);

}  // namespace dns
