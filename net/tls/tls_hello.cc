#include "net/tls/tls_hello.h"

#include <algorithm>
#include <array>

#include "net/base/byte_reader.h"
#include "net/tls/context/tls_facts.h"

namespace net {

namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint8_t kClientHello = 1;
constexpr size_t kLegacyVersion = 0x0303;
constexpr uint16_t kTls13 = 0x0304;
constexpr size_t kX25519 = 29;
constexpr size_t kX25519Bytes = 32;
constexpr uint8_t kPskWithDhe = 1;
constexpr uint8_t kOcsp = 1;
// More extensions than anybody sends; each type may come once, and all are compared.
constexpr size_t kExtensionsMax = 64;

enum Extension : size_t {
  kServerName = 0,
  kMaxFragmentLength = 1,
  kStatusRequest = 5,
  kSupportedGroups = 10,
  kSignatureAlgorithms = 13,
  kUseSrtp = 14,
  kAlpnExtension = 16,
  kPreSharedKey = 41,
  kEarlyData = 42,
  kSupportedVersions = 43,
  kCookie = 44,
  kPskModes = 45,
  kCertificateAuthorities = 47,
  kPostHandshakeAuth = 49,
  kSignatureAlgorithmsCert = 50,
  kKeyShare = 51,
  kCryptoPro = 0xfde8,
};

// What is read of each; all others say nothing to a server that does not know them.
struct Found {
  Bytes shares = {};
  bool versions = false;
  bool psk_modes = false;
  bool psk_with_dhe = false;
  bool bad = false;       // malformed
  bool too_much = false;  // for OpenSSL
};

template <typename Range, typename Value>
bool Has(const Range& range, const Value& value) {
  return std::ranges::find(range, value) != std::ranges::end(range);
}

// The content of a list that fills its extension.
Bytes List(Bytes extension, size_t length_size, bool* bad) {
  ByteReader reader(extension);
  const Bytes list = reader.Vector(length_size);
  if (!reader.done() || list.empty()) *bad = true;
  return list;
}

Bytes Pairs(Bytes extension, size_t length_size, bool* bad) {
  const Bytes list = List(extension, length_size, bad);
  if (list.size() % 2 != 0) *bad = true;
  return list;
}

// RFC 6066 section 3: one host name.
std::string_view ServerName(Bytes extension, bool* bad) {
  ByteReader list(List(extension, 2, bad));
  const bool host_name = list.Number(1) == 0;
  const Bytes name = list.Vector(2);
  const std::string_view text(reinterpret_cast<const char*>(name.data()), name.size());
  if (!host_name || !list.done() || !IsTlsServerName(text)) *bad = true;
  return text;
}

Bytes Alpn(Bytes extension, bool* bad) {
  const Bytes list = List(extension, 2, bad);
  ByteReader names(list);
  while (!names.empty()) {
    if (names.Vector(1).empty()) *bad = true;
  }
  if (!names.ok()) *bad = true;
  return list;
}

// RFC 8446 section 4.2.8: the groups are in the client's order and each stands once.
Bytes X25519Share(Bytes extension, Found* all, bool* bad) {
  ByteReader outer(extension);
  all->shares = outer.Vector(2);
  ByteReader shares(all->shares);
  if (!outer.done()) *bad = true;
  Bytes found;
  while (!shares.empty()) {
    const size_t group = shares.Number(2);
    const Bytes share = shares.Vector(2);
    if (share.empty()) *bad = true;
    if (group != kX25519) continue;
    if (!found.empty() || share.size() != kX25519Bytes) *bad = true;
    found = share;
  }
  if (!shares.ok()) *bad = true;
  return found;
}

// Same section: a group with a share is listed among the groups, which may stand behind it.
bool SharesAreListed(Bytes list, Bytes groups) {
  ByteReader shares(list);
  while (!shares.empty()) {
    if (!TlsHello::Has(groups, static_cast<uint16_t>(shares.Number(2)))) return false;
    shares.Vector(2);
  }
  return true;
}

// RFC 6066 section 8. Nobody names responders or sends extensions for them.
bool WantsStaple(Bytes extension, Found* found) {
  constexpr std::array<uint8_t, 5> kUsual = {kOcsp, 0, 0, 0, 0};
  if (extension.empty()) found->bad = true;
  const bool wants = !extension.empty() && extension[0] == kOcsp;
  if (wants && !std::ranges::equal(extension, kUsual)) found->too_much = true;
  return wants;
}

// RFC 8446 section 4.2.11. `message` holds `extension`.
void PreSharedKeys(Bytes message, Bytes extension, TlsHello* hello, bool* bad) {
  ByteReader reader(extension);
  hello->identities = reader.Vector(2);
  hello->binders_at =
      static_cast<size_t>(hello->identities.data() - message.data()) + hello->identities.size();
  hello->binders = reader.Vector(2);
  if (!reader.done() || hello->identities.empty() || hello->binders.empty()) *bad = true;
  ByteReader identities(hello->identities);
  ByteReader binders(hello->binders);
  while (!identities.empty() && !binders.empty()) {
    const bool named = !identities.Vector(2).empty();
    identities.Take(4);  // obfuscated_ticket_age
    const size_t binder = binders.Vector(1).size();
    if (!named || binder < 32) *bad = true;
  }
  if (!identities.done() || !binders.done()) *bad = true;
}

void ReadExtension(Bytes message, size_t type, Bytes body, TlsHello* hello, Found* found) {
  switch (type) {
    case kServerName:
      hello->server_name = ServerName(body, &found->bad);
      break;
    case kSupportedGroups:
      hello->groups = Pairs(body, 2, &found->bad);
      break;
    case kSignatureAlgorithms:
      hello->schemes = Pairs(body, 2, &found->bad);
      break;
    case kAlpnExtension:
      hello->alpn = Alpn(body, &found->bad);
      break;
    case kSupportedVersions:
      found->versions = TlsHello::Has(Pairs(body, 1, &found->bad), kTls13);
      break;
    case kKeyShare:
      hello->x25519 = X25519Share(body, found, &found->bad);
      break;
    case kPskModes:
      found->psk_modes = true;
      found->psk_with_dhe = Has(List(body, 1, &found->bad), kPskWithDhe);
      break;
    case kPreSharedKey:
      PreSharedKeys(message, body, hello, &found->bad);
      break;
    case kStatusRequest:
      hello->wants_staple = WantsStaple(body, found);
      break;
    case kPostHandshakeAuth:
      if (!body.empty()) found->bad = true;
      break;
    case kUseSrtp:    // not over TCP
    case kCryptoPro:  // not of a client
      found->bad = true;
      break;
    case kMaxFragmentLength:
    case kEarlyData:
    case kCookie:
    case kCertificateAuthorities:
    case kSignatureAlgorithmsCert:
      found->too_much = true;
      break;
    default:
      break;
  }
}

}  // namespace

std::string_view ToString(TlsDecline reason) {
  switch (reason) {
    case TlsDecline::kOff:
      return "off";
    case TlsDecline::kNotPlain:
      return "not_plain";
    case TlsDecline::kMalformed:
      return "malformed";
    case TlsDecline::kVersion:
      return "version";
    case TlsDecline::kExtension:
      return "extension";
    case TlsDecline::kSuite:
      return "suite";
    case TlsDecline::kGroup:
      return "group";
    case TlsDecline::kSignature:
      return "signature";
    case TlsDecline::kSite:
      return "site";
    case TlsDecline::kAlpn:
      return "alpn";
    case TlsDecline::kStaple:
      return "staple";
    case TlsDecline::kNoResources:
      return "no_resources";
  }
  return "?";
}

bool TlsHello::Has(Bytes pairs, uint16_t value) {
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    if ((pairs[i] << 8 | pairs[i + 1]) == value) return true;
  }
  return false;
}

std::expected<TlsHello, TlsDecline> ParseTlsHello(Bytes message) {
  ByteReader reader(message);
  const bool is_hello = reader.Number(1) == kClientHello;
  ByteReader body(reader.Vector(3));
  if (!is_hello || !reader.done()) return std::unexpected(TlsDecline::kMalformed);

  TlsHello hello;
  const size_t version = body.Number(2);
  body.Take(32);  // random
  hello.session_id = body.Vector(1);
  hello.suites = body.Vector(2);
  const Bytes compression = body.Vector(1);
  if (!body.ok() || hello.session_id.size() > 32 || hello.suites.empty() ||
      hello.suites.size() % 2 != 0) {
    return std::unexpected(TlsDecline::kMalformed);
  }
  // Above TLS 1.2 this field stands still, and the only compression is none.
  if (version != kLegacyVersion || body.empty()) return std::unexpected(TlsDecline::kVersion);
  ByteReader extensions(body.Vector(2));
  if (!body.done()) return std::unexpected(TlsDecline::kMalformed);

  Found found;
  std::array<uint16_t, kExtensionsMax> seen;
  size_t count = 0;
  while (!extensions.empty()) {
    const size_t type = extensions.Number(2);
    const Bytes content = extensions.Vector(2);
    if (!extensions.ok() || count == kExtensionsMax || Has(std::span(seen).first(count), type) ||
        (type == kPreSharedKey && !extensions.empty())) {  // it must be the last
      return std::unexpected(TlsDecline::kMalformed);
    }
    seen[count++] = static_cast<uint16_t>(type);
    ReadExtension(message, type, content, &hello, &found);
  }
  if (!found.versions) return std::unexpected(TlsDecline::kVersion);
  // A key without its mode is no offer at all (RFC 8446 section 4.2.9).
  if (!hello.identities.empty() && !found.psk_modes) found.bad = true;
  if (!SharesAreListed(found.shares, hello.groups)) found.bad = true;
  if (found.bad || compression.size() != 1 || compression[0] != 0) {
    return std::unexpected(TlsDecline::kMalformed);
  }
  if (found.too_much) return std::unexpected(TlsDecline::kExtension);
  if (hello.x25519.empty()) return std::unexpected(TlsDecline::kGroup);
  if (!found.psk_with_dhe) hello.identities = hello.binders = {};
  return hello;
}

}  // namespace net
