// A ClientHello as the server's side of a handshake needs it (RFC 8446 section 4.1.2): views into
// the message, read strictly. Whatever is not plain is refused with its reason, and the caller
// gives the hello to OpenSSL, which knows the rest of TLS and the right alert; so nothing here has
// to be lenient.
//
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

namespace net {

// Why a handshake is left to OpenSSL.
enum class TlsDecline : uint8_t {
  kOff,         // configured
  kNotPlain,    // the hello is not the only message of one whole record
  kMalformed,   // breaks a rule; OpenSSL finds the alert
  kVersion,     // no TLS 1.3 on one of the two sides
  kExtension,   // asks for what only OpenSSL does: early data, a cookie, short fragments
  kSuite,       // no cipher suite in common
  kGroup,       // no X25519 key share
  kSignature,   // no certificate for its signature algorithms
  kSite,        // an unknown name, or a site that asks for client certificates
  kAlpn,        // no protocol in common
  kStaple,      // asks for an OCSP response, and there is one
  kNoResources  // OpenSSL refused a primitive
};
inline constexpr size_t kTlsDeclineValues = 12;
std::string_view ToString(TlsDecline reason);

// Spans are the contents of the extensions' lists, without the lengths before them.
struct TlsHello {
  std::span<const uint8_t> session_id = {};  // to be echoed; up to 32 bytes
  std::span<const uint8_t> suites = {};      // pairs of bytes, as the groups and schemes
  std::span<const uint8_t> groups = {};
  std::span<const uint8_t> schemes = {};
  std::span<const uint8_t> x25519 = {};  // 32 bytes
  std::string_view server_name = {};     // printable; "" for none
  std::span<const uint8_t> alpn = {};    // ProtocolName list, well-formed; empty for none
  bool wants_staple = false;

  // Pre-shared keys, offered with the (EC)DHE mode; empty for none.
  std::span<const uint8_t> identities = {};
  std::span<const uint8_t> binders = {};
  size_t binders_at = 0;  // where the binders' list, its length included, begins in the message

  // Whether a list of pairs has this one.
  static bool Has(std::span<const uint8_t> pairs, uint16_t value);
};

// `message`: the whole handshake message with its header of four bytes.
std::expected<TlsHello, TlsDecline> ParseTlsHello(std::span<const uint8_t> message);

}  // namespace net
