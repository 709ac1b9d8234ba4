#include "dns/zone/digest.h"

#include <algorithm>
#include <array>

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
  std::array<uint8_t, kNameBytesMax + 6> head;
  size_t size = set.owner.size();
  std::ranges::copy(set.owner.wire(), head.begin());
  Put16(head.data() + size, static_cast<uint16_t>(set.type));
  Put32(head.data() + size + 2, set.ttl);
  digest = FoldDigest(digest, ByteView(head).first(size + 6));
  for (const Bytes& rdata : set.rdatas) {
    if (set.type != Type::kSoa) {
      digest = FoldDigest(digest, rdata);
      continue;
    }
    Bytes soa = rdata;
    SetSoaSerial(soa, 0);
    digest = FoldDigest(digest, soa);
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
