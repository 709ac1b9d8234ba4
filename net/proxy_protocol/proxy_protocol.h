// The PROXY protocol (HAProxy's proxy-protocol.txt), versions 1 and 2, in both directions.
//
// Pure: bytes in, values out. Nothing is copied or allocated; a decoded header points into the
// bytes it was decoded from. Any thread.
//
// Decoding looks at the first bytes of a connection, as many as have come:
//   kNeedMore  wait for more (at least up to `size` bytes in all, where that is known)
//   kHeader    the header takes the first `size` bytes; whatever follows is payload, never read
//   here kReject    close; `reject` says why
// The cost of a call is bounded by what a header may be long, and a header that comes byte by byte
// costs a constant for each byte (v2) or at most 107 (v1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/base/address.h"

namespace net {

inline constexpr size_t kProxyV1Max = 107;        // with CR LF
inline constexpr size_t kProxyV2Fixed = 16;       // before addresses and TLVs
inline constexpr size_t kProxyHeaderMax = 4'096;  // default bound for what is accepted
inline constexpr size_t kProxyTlvsMax = 32;
inline constexpr size_t kProxyUniqueIdMax = 128;
inline constexpr size_t kProxyUnixPathMax = 108;

enum class ProxyVersion : uint8_t { kV1, kV2 };
enum class ProxyFamily : uint8_t { kUnspec, kInet, kInet6, kUnix };

enum class ProxyTlvType : uint8_t {
  kAlpn = 0x01,
  kAuthority = 0x02,
  kCrc32c = 0x03,
  kNoop = 0x04,
  kUniqueId = 0x05,
  kSsl = 0x20,
  kSslVersion = 0x21,
  kSslCn = 0x22,
  kSslCipher = 0x23,
  kSslSigAlg = 0x24,
  kSslKeyAlg = 0x25,
  kNetns = 0x30,
  kCustomFirst = 0xe0,  // 0xe0..0xef: for applications
  kCustomLast = 0xef,
};

struct ProxyEndpoint {
  ProxyFamily family = ProxyFamily::kUnspec;
  std::array<uint8_t, 16> ip{};  // the first 4 for kInet; network order
  uint16_t port = 0;             // host order
  std::string_view path;         // kUnix; points to the caller's bytes

  // `address` must outlive the endpoint if it is AF_UNIX.
  static ProxyEndpoint FromSockaddr(const sockaddr* address, size_t length);
  static ProxyEndpoint FromAddress(const Address& address);
  Address ToAddress() const;     // none for a Unix path or an unknown one
  std::string ToString() const;  // "192.0.2.1:5222", "[2001:db8::1]:5222", "unix:/run/x", "unknown"
  friend bool operator==(const ProxyEndpoint&, const ProxyEndpoint&) = default;
};

struct ProxyTlv {
  uint8_t type = 0;
  std::span<const uint8_t> value;

  std::string_view text() const {
    return {reinterpret_cast<const char*>(value.data()), value.size()};
  }
};

// PP2_TYPE_SSL.
struct ProxySsl {
  static constexpr uint8_t kClientSsl = 0x01;       // the client came over TLS
  static constexpr uint8_t kClientCertConn = 0x02;  // with a certificate, on this connection
  static constexpr uint8_t kClientCertSess = 0x04;  // with a certificate, in this TLS session

  uint8_t client = 0;
  uint32_t verify = 0;  // 0: the certificate was verified, or none was presented
  std::string_view version;
  std::string_view cn;
  std::string_view cipher;
  std::string_view sig_alg;
  std::string_view key_alg;
};

struct ProxyHeader {
  ProxyVersion version = ProxyVersion::kV2;
  // LOCAL (v2) or UNKNOWN: the connection speaks for itself (a health check of a balancer, or an
  // address that cannot be told); the socket's own addresses hold.
  bool local = false;
  ProxyEndpoint source;
  ProxyEndpoint destination;
  std::string_view alpn;
  std::string_view authority;
  std::string_view unique_id;
  std::string_view netns;
  bool checksummed = false;  // a CRC32C was there, and right
  std::optional<ProxySsl> ssl;
  size_t tlv_count = 0;
  std::array<ProxyTlv, kProxyTlvsMax> tlvs;  // all of them, in order, also those named above
};

enum class ProxyReject : uint8_t {
  kNone,
  kNotProxy,      // the first bytes are no PROXY header
  kVersion,       // a version that is not accepted here or unknown
  kCommand,       // neither LOCAL nor PROXY
  kFamily,        // an unknown family, or no stream
  kTooLong,       // above the bound
  kShort,         // too short for its addresses
  kLine,          // v1: malformed line
  kTlvOverrun,    // a TLV reaches behind the header's end
  kTlvStray,      // bytes behind the last TLV
  kTlvLength,     // a TLV of the wrong length
  kTlvDuplicate,  // a TLV that may come once came twice
  kTlvCount,      // more than kProxyTlvsMax
  kChecksum,
};
std::string_view ProxyRejectName(ProxyReject reject);

struct ProxyDecodeOptions {
  bool v1 = true;
  bool v2 = true;
  size_t header_max = kProxyHeaderMax;
};

struct ProxyDecoded {
  enum class Status : uint8_t { kNeedMore, kHeader, kReject };

  Status status = Status::kNeedMore;
  ProxyReject reject = ProxyReject::kNone;
  size_t size = 0;
};

// Writes `header` only for kHeader.
ProxyDecoded DecodeProxyHeader(std::span<const uint8_t> bytes, ProxyHeader& header,
                               const ProxyDecodeOptions& options = {});

// What is sent to a node.
struct ProxyTlvsOut {
  std::string_view alpn;
  std::string_view authority;
  std::string_view unique_id;
  std::string_view netns;
  const ProxySsl* ssl = nullptr;
  std::span<const ProxyTlv> more;  // e.g. channel bindings, 0xe0..
  bool crc32c = false;
};

enum class ProxyEncodeError : uint8_t {
  kNoSpace,      // `out` is too small
  kTooLong,      // a TLV or the whole is above 65,535 bytes, or unique_id above its bound
  kPathTooLong,  // a Unix path above 108 bytes
};
std::string_view ProxyEncodeErrorName(ProxyEncodeError error);

// All return the bytes written. On an error `out` holds nothing that may be sent.
// Endpoints of different IP families are both written as IPv6 (the IPv4 one mapped).
std::expected<size_t, ProxyEncodeError> EncodeProxyV1(const ProxyEndpoint& source,
                                                      const ProxyEndpoint& destination,
                                                      std::span<uint8_t> out);
std::expected<size_t, ProxyEncodeError> EncodeProxyV2(const ProxyEndpoint& source,
                                                      const ProxyEndpoint& destination,
                                                      const ProxyTlvsOut& tlvs,
                                                      std::span<uint8_t> out);
// A connection of our own (2.2). The shortest form there is.
std::expected<size_t, ProxyEncodeError> EncodeProxyV2Local(std::span<uint8_t> out);
// For health checks, only to nodes that take it: with a NOOP TLV behind the header, since there are
// servers (ejabberd's) that read a length of 0 as "all that there is" and swallow what follows.
inline constexpr size_t kProxyV2LocalCheckBytes = 19;
std::expected<size_t, ProxyEncodeError> EncodeProxyV2LocalCheck(std::span<uint8_t> out);

}  // namespace net
