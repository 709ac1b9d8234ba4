// Constants and byte order of PROXY protocol v2's wire format; for proxy_decode.cc and
// proxy_encode.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace net::proxy_wire {

inline constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
inline constexpr uint8_t kVersion2 = 0x20;
inline constexpr uint8_t kLocal = 0x20;
inline constexpr uint8_t kProxy = 0x21;
inline constexpr uint8_t kUnspec = 0x00;
inline constexpr uint8_t kTcp4 = 0x11;
inline constexpr uint8_t kTcp6 = 0x21;
inline constexpr uint8_t kUnixStream = 0x31;
inline constexpr size_t kInetBytes = 12;
inline constexpr size_t kInet6Bytes = 36;
inline constexpr size_t kUnixBytes = 216;
inline constexpr size_t kTlvHeader = 3;
inline constexpr size_t kSslFixed = 5;  // client, verify

constexpr uint16_t Read16(const uint8_t* at) { return static_cast<uint16_t>((at[0] << 8) | at[1]); }
constexpr uint32_t Read32(const uint8_t* at) {
  return (uint32_t{Read16(at)} << 16) | Read16(at + 2);
}

}  // namespace net::proxy_wire
