// Reads a query from the wire, with every step bounded (RFC 1035 §4, RFC 6891, RFC 9619).
//
// What an authoritative server needs of a query fits one struct: who asks what, and the EDNS
// options. The parser touches each byte of the packet at most once, follows no compression pointer
// and reads at most two additional records (OPT, TSIG), so that its cost is bounded by the name's
// 255 bytes and the OPT's options, whatever the header's counts promise. It allocates nothing and
// may run on any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "dns/wire/name.h"

namespace dns {

enum class Type : uint16_t {
  kA = 1,
  kNs = 2,
  kCname = 5,
  kSoa = 6,
  kPtr = 12,
  kHinfo = 13,
  kMx = 15,
  kTxt = 16,
  kAaaa = 28,
  kSrv = 33,
  kDname = 39,
  kOpt = 41,
  kDs = 43,
  kRrsig = 46,
  kNsec = 47,
  kDnskey = 48,
  kTlsa = 52,
  kCds = 59,
  kCdnskey = 60,
  kSvcb = 64,
  kHttps = 65,
  kNxname = 128,  // RFC 9824: stands only in the bitmap of a name that does not exist
  kTsig = 250,
  kIxfr = 251,
  kAxfr = 252,
  kMailb = 253,
  kMaila = 254,
  kAny = 255,
  kCaa = 257,
};

// "A", "SRV", "TYPE4711".
std::string TypeName(Type type);

enum class Rcode : uint16_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kYxDomain = 6,  // a DNAME made a name that is too long (RFC 6672 §2.2)
  kNotAuth = 9,
  kBadVers = 16,
  kBadCookie = 23,
};
constexpr size_t kRcodeCount = 24;
std::string_view RcodeName(Rcode rcode);

constexpr uint8_t kOpcodeNotify = 4;
constexpr uint8_t kOpcodeUpdate = 5;

constexpr uint16_t kClassIn = 1;
constexpr uint16_t kClassChaos = 3;
constexpr uint16_t kClassAny = 255;

constexpr size_t kHeaderBytes = 12;
// The largest question: a name, type and class.
constexpr size_t kQuestionBytesMax = kNameBytesMax + 4;
// More options than this in one OPT make the query malformed.
constexpr int kEdnsOptionsMax = 32;

enum class EdnsOption : uint16_t {
  kNsid = 3,
  kCookie = 10,
  kTcpKeepalive = 11,
  kPadding = 12,
  kExtendedError = 15,
};

struct Edns {
  bool present = false;
  bool dnssec_ok = false;   // DO
  bool compact_ok = false;  // CO, RFC 9824 §5
  bool wants_nsid = false;
  bool wants_keepalive = false;
  bool has_padding = false;
  uint8_t version = 0;
  uint16_t udp_bytes = 512;
  // The COOKIE option's data, in the packet: 8 bytes, or 16 to 40; empty when there was none.
  std::span<const uint8_t> cookie;
};

struct Query {
  uint16_t id = 0;
  uint16_t flags = 0;  // the header's second word, as it came
  uint16_t type = 0;
  uint16_t qclass = 0;
  uint8_t name_size = 0;  // with the root's zero byte; 0 when no question could be read
  uint64_t hash = 0;      // HashName of the lower-case name
  Edns edns;
  // IXFR: the serial that the asker has (RFC 1995 §3), where its SOA could be read.
  bool has_ixfr_serial = false;
  uint32_t ixfr_serial = 0;
  // The TSIG record's owner (the key's name) and what an error reply must echo.
  bool has_tsig = false;
  uint8_t tsig_key_size = 0;
  std::array<uint8_t, kNameBytesMax> tsig_key_bytes;
  std::span<const uint8_t> tsig_algorithm;
  // The name in lower case, followed by at least eight zero bytes.
  alignas(8) std::array<uint8_t, 272> name;

  bool recursion_desired() const { return (flags & 0x0100) != 0; }
  uint8_t opcode() const { return static_cast<uint8_t>(flags >> 11 & 0xf); }
  std::span<const uint8_t> tsig_key() const { return {tsig_key_bytes.data(), tsig_key_size}; }
  std::span<const uint8_t> lower_name() const { return {name.data(), name_size}; }
  size_t question_end() const {
    return name_size == 0 ? kHeaderBytes : kHeaderBytes + name_size + 4u;
  }
};

enum class ParseResult {
  kOk,
  kDrop,  // no answer at all: shorter than a header, or itself a response
  kFormErr,
  kNotImp,      // an opcode that is not QUERY
  kCookieOnly,  // no question but a COOKIE option: the asker wants a cookie (RFC 7873 §5.4)
};

// Reads `packet` into `query`. The spans in `query` point into `packet`. With kFormErr, name_size
// says whether the question was good (and may be echoed) or not. EDNS that was read before the
// mistake is kept.
ParseResult ParseQuery(std::span<const uint8_t> packet, Query& query);

// The bytes that a name takes at `at`, which may be the packet's end; a pointer ends it and is not
// followed. 0: none.
size_t NameBytes(ByteView packet, size_t at);

// The hash of a lower-case name that is followed by at least seven zero bytes.
inline uint64_t HashName(const uint8_t* padded, size_t size) {
  uint64_t hash = size * 0x9e3779b97f4a7c15u;
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word;
    __builtin_memcpy(&word, padded + i, 8);
    __uint128_t product = static_cast<__uint128_t>(word ^ hash) * 0xa0761d6478bd642fu;
    hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64) ^ i;
  }
  return hash;
}
// The same for a name anywhere.
uint64_t HashName(ByteView name);

inline uint16_t Get16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t Get32(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 |
         static_cast<uint32_t>(p[2]) << 8 | p[3];
}
inline void Put16(uint8_t* p, size_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
inline void Put32(uint8_t* p, uint32_t v) {
  Put16(p, v >> 16);
  Put16(p + 2, v & 0xffff);
}
inline void Append16(Bytes& out, size_t v) {
  out.push_back(static_cast<uint8_t>(v >> 8));
  out.push_back(static_cast<uint8_t>(v));
}
inline void Append32(Bytes& out, uint32_t v) {
  Append16(out, v >> 16);
  Append16(out, v & 0xffff);
}
inline void Append(Bytes& out, ByteView bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace dns
