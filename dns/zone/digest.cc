#include "dns/zone/digest.h"

#include "net/base/siphash.h"

namespace dns {
namespace {

// Two contents with one digest would keep one serial; nobody chooses contents against us.
constexpr net::SipKey kDigestKey{0x6d6f6e676f6f7365, 0x2d64696765737473};

}  // namespace

uint64_t FoldDigest(uint64_t digest, ByteView bytes) {
  net::SipKey key = kDigestKey;
  key.k0 ^= digest;
  return net::SipHash<1, 3>(key, bytes);
}

uint64_t FoldDigest(uint64_t digest, const Rrset& set) {
  Bytes head(set.owner.wire().begin(), set.owner.wire().end());
  Append16(head, static_cast<uint16_t>(set.type));
  Append32(head, set.ttl);
  digest = FoldDigest(digest, head);
  for (Bytes rdata : set.rdatas) {
    if (set.type == Type::kSoa) SetSoaSerial(rdata, 0);
    digest = FoldDigest(digest, rdata);
  }
  return digest;
}

uint64_t ContentDigest(const Zone& zone) {
  uint64_t digest = 0;
  for (const auto& [name, sets] : zone.names) {
    for (const auto& [type, set] : sets) digest = FoldDigest(digest, set);
  }
  return digest;
}

}  // namespace dns
