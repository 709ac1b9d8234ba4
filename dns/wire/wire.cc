#include "dns/wire/wire.h"

#include <algorithm>

namespace dns {
namespace {

// Turns the letters of eight bytes to lower case. Length bytes are below 64 and stay as they are.
uint64_t Lower8(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  uint64_t low7 = word & (0x7f * kOnes);
  uint64_t from_a = low7 + (0x80 - 'A') * kOnes;       // high bit: >= 'A'
  uint64_t above_z = low7 + (0x80 - 'Z' - 1) * kOnes;  // high bit: > 'Z'
  uint64_t upper = from_a & ~above_z & ~word & (0x80 * kOnes);
  return word | upper >> 2;
}

// The size of the uncompressed name at `at`, with its zero; 0 when it is not one.
size_t NameSize(ByteView packet, size_t at) {
  size_t i = at;
  while (true) {
    if (i >= packet.size()) return 0;
    uint8_t length = packet[i];
    if (length == 0) break;
    if (length > kLabelBytesMax) return 0;  // a pointer, or an unknown label type
    i += length + 1u;
    if (i - at >= kNameBytesMax) return 0;
  }
  return i + 1 - at;
}

bool ParseQuestion(ByteView packet, Query& query) {
  size_t size = NameSize(packet, kHeaderBytes);
  if (size == 0 || packet.size() - kHeaderBytes - size < 4) return false;
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = 0;
    __builtin_memcpy(&word, packet.data() + kHeaderBytes + i, std::min<size_t>(8, size - i));
    word = Lower8(word);
    __builtin_memcpy(query.name.data() + i, &word, 8);
  }
  // One word of zeros more, so that the hash of each suffix finds its padding (answer.cc).
  uint64_t zero = 0;
  __builtin_memcpy(query.name.data() + (size + 7) / 8 * 8, &zero, 8);
  query.hash = HashName(query.name.data(), size);
  const uint8_t* end = packet.data() + kHeaderBytes + size;
  query.type = Get16(end);
  query.qclass = Get16(end + 2);
  query.name_size = static_cast<uint8_t>(size);
  return true;
}

bool ParseOptions(ByteView rdata, Edns& edns) {
  int options = 0;
  while (!rdata.empty()) {
    if (rdata.size() < 4 || ++options > kEdnsOptionsMax) return false;
    size_t size = Get16(rdata.data() + 2);
    if (rdata.size() - 4 < size) return false;
    ByteView data = rdata.subspan(4, size);
    switch (static_cast<EdnsOption>(Get16(rdata.data()))) {
      case EdnsOption::kNsid:
        edns.wants_nsid = true;
        break;
      case EdnsOption::kCookie:
        // RFC 7873 §5.2.2: other sizes are a format error. Only the first COOKIE counts.
        if (size != 8 && (size < 16 || size > 40)) return false;
        if (edns.cookie.empty()) edns.cookie = data;
        break;
      case EdnsOption::kTcpKeepalive:
        edns.wants_keepalive = true;
        break;
      case EdnsOption::kPadding:
        edns.has_padding = true;
        break;
      default:
        break;
    }
    rdata = rdata.subspan(4 + size);
  }
  return true;
}

bool ParseOpt(const uint8_t* fixed, ByteView rdata, Edns& edns) {
  edns.present = true;
  edns.udp_bytes = std::max<uint16_t>(512, Get16(fixed + 2));
  edns.version = fixed[5];
  edns.dnssec_ok = (fixed[6] & 0x80) != 0;
  edns.compact_ok = (fixed[6] & 0x40) != 0;
  // The options of a version that we do not know may be anything.
  return edns.version != 0 || ParseOptions(rdata, edns);
}

// The key's name in full. It may end in a pointer into the question's name, which has none; any
// other pointer is refused.
bool ReadTsigKey(ByteView packet, size_t at, Query& query) {
  size_t labels = 0;
  while (packet[at + labels] != 0 && packet[at + labels] < 0xc0) labels += packet[at + labels] + 1u;
  ByteView tail = packet.subspan(at + labels, 1);
  if (packet[at + labels] >= 0xc0) {
    size_t target = Get16(packet.data() + at + labels) & 0x3fffu;
    size_t end = kHeaderBytes + query.name_size;
    size_t label = kHeaderBytes;
    while (label < target && label < end) label += packet[label] + 1u;
    if (label != target || target >= end) return false;
    tail = packet.subspan(target, end - target);
  }
  if (labels + tail.size() > kNameBytesMax) return false;
  std::copy_n(packet.data() + at, labels, query.tsig_key_bytes.begin());
  std::ranges::copy(tail, query.tsig_key_bytes.begin() + static_cast<std::ptrdiff_t>(labels));
  query.tsig_key_size = static_cast<uint8_t>(labels + tail.size());
  return true;
}

// The records behind the question: an OPT and a TSIG at most, TSIG last, and nothing behind them.
bool ParseAdditional(ByteView packet, size_t at, size_t count, Query& query) {
  for (size_t i = 0; i < count; ++i) {
    size_t owner = NameBytes(packet, at);
    if (owner == 0 || packet.size() - at - owner < 10) return false;
    const uint8_t* fixed = packet.data() + at + owner;
    size_t rdata_size = Get16(fixed + 8);
    if (packet.size() - at - owner - 10 < rdata_size) return false;
    ByteView rdata(fixed + 10, rdata_size);
    Type type = static_cast<Type>(Get16(fixed));
    if (type == Type::kOpt) {
      if (owner != 1 || query.edns.present || !ParseOpt(fixed, rdata, query.edns)) return false;
    } else if (type == Type::kTsig) {
      if (i + 1 != count) return false;  // RFC 8945 §5.1: TSIG is the last record
      size_t algorithm = NameSize(rdata, 0);
      if (algorithm == 0 || rdata.size() - algorithm < 10) return false;
      if (!ReadTsigKey(packet, at, query)) return false;
      query.has_tsig = true;
      query.tsig_algorithm = rdata.first(algorithm);
    } else {
      return false;
    }
    at += owner + 10 + rdata_size;
  }
  return at == packet.size();
}

// An IXFR query carries the SOA that the asker has (RFC 1995 §3): of it only the serial counts, the
// first of the five numbers that end its data. The size of the record, or 0.
size_t ReadIxfrSoa(ByteView packet, size_t at, Query& query) {
  constexpr size_t kNumbers = 20;
  size_t owner = NameBytes(packet, at);
  if (owner == 0 || packet.size() - at - owner < 10) return 0;
  const uint8_t* fixed = packet.data() + at + owner;
  size_t rdata = Get16(fixed + 8);
  size_t size = owner + 10 + rdata;
  if (size > packet.size() - at) return 0;
  if (static_cast<Type>(Get16(fixed)) == Type::kSoa && rdata >= kNumbers + 2) {
    query.has_ixfr_serial = true;
    query.ixfr_serial = Get32(packet.data() + at + size - kNumbers);
  }
  return size;
}

// RFC 7873 §5.4: whoever wants nothing but a cookie asks no question.
ParseResult ParseWithoutQuestion(ByteView packet, Query& query) {
  const uint8_t* p = packet.data();
  query.type = 0;
  query.qclass = 0;
  if (Get16(p + 6) != 0 || Get16(p + 8) != 0 || Get16(p + 10) != 1) return ParseResult::kFormErr;
  bool good = ParseAdditional(packet, kHeaderBytes, 1, query) && !query.edns.cookie.empty();
  return good ? ParseResult::kCookieOnly : ParseResult::kFormErr;
}

}  // namespace

size_t NameBytes(ByteView packet, size_t at) {
  size_t i = at;
  while (i < packet.size() && i - at < kNameBytesMax) {
    uint8_t length = packet[i];
    if (length == 0) return i + 1 - at;
    if (length >= 0xc0) return i + 2 <= packet.size() ? i + 2 - at : 0;
    if (length > kLabelBytesMax) return 0;
    i += 1u + length;
  }
  return 0;
}

ParseResult ParseQuery(ByteView packet, Query& query) {
  query.name_size = 0;
  query.edns = {};
  query.has_tsig = false;
  query.has_ixfr_serial = false;
  if (packet.size() < kHeaderBytes) return ParseResult::kDrop;
  const uint8_t* p = packet.data();
  query.id = Get16(p);
  query.flags = Get16(p + 2);
  if ((query.flags & 0x8000) != 0) return ParseResult::kDrop;
  if (query.opcode() != 0) return ParseResult::kNotImp;
  if (Get16(p + 4) == 0) return ParseWithoutQuestion(packet, query);
  if (Get16(p + 4) != 1) return ParseResult::kFormErr;
  if (!ParseQuestion(packet, query)) return ParseResult::kFormErr;
  size_t answers = Get16(p + 6);
  size_t authorities = Get16(p + 8);
  size_t additional = Get16(p + 10);
  if (answers != 0 || additional > 2) return ParseResult::kFormErr;
  size_t at = query.question_end();
  if (authorities != 0) {
    if (authorities != 1 || query.type != static_cast<uint16_t>(Type::kIxfr)) {
      return ParseResult::kFormErr;
    }
    size_t soa = ReadIxfrSoa(packet, at, query);
    if (soa == 0) return ParseResult::kFormErr;
    at += soa;
  }
  return ParseAdditional(packet, at, additional, query) ? ParseResult::kOk : ParseResult::kFormErr;
}

uint64_t HashName(ByteView name) {
  alignas(8) std::array<uint8_t, 264> padded{};
  std::copy_n(name.begin(), std::min<size_t>(name.size(), kNameBytesMax), padded.begin());
  return HashName(padded.data(), name.size());
}

std::string TypeName(Type type) {
  switch (type) {
    case Type::kA:
      return "A";
    case Type::kNs:
      return "NS";
    case Type::kCname:
      return "CNAME";
    case Type::kSoa:
      return "SOA";
    case Type::kPtr:
      return "PTR";
    case Type::kHinfo:
      return "HINFO";
    case Type::kMx:
      return "MX";
    case Type::kTxt:
      return "TXT";
    case Type::kAaaa:
      return "AAAA";
    case Type::kSrv:
      return "SRV";
    case Type::kDname:
      return "DNAME";
    case Type::kOpt:
      return "OPT";
    case Type::kDs:
      return "DS";
    case Type::kRrsig:
      return "RRSIG";
    case Type::kNsec:
      return "NSEC";
    case Type::kDnskey:
      return "DNSKEY";
    case Type::kTlsa:
      return "TLSA";
    case Type::kCds:
      return "CDS";
    case Type::kCdnskey:
      return "CDNSKEY";
    case Type::kSvcb:
      return "SVCB";
    case Type::kHttps:
      return "HTTPS";
    case Type::kNxname:
      return "NXNAME";
    case Type::kTsig:
      return "TSIG";
    case Type::kIxfr:
      return "IXFR";
    case Type::kAxfr:
      return "AXFR";
    case Type::kMailb:
      return "MAILB";
    case Type::kMaila:
      return "MAILA";
    case Type::kAny:
      return "ANY";
    case Type::kCaa:
      return "CAA";
  }
  return "TYPE" + std::to_string(static_cast<uint16_t>(type));
}

std::string_view RcodeName(Rcode rcode) {
  switch (rcode) {
    case Rcode::kNoError:
      return "NOERROR";
    case Rcode::kFormErr:
      return "FORMERR";
    case Rcode::kServFail:
      return "SERVFAIL";
    case Rcode::kNxDomain:
      return "NXDOMAIN";
    case Rcode::kNotImp:
      return "NOTIMP";
    case Rcode::kRefused:
      return "REFUSED";
    case Rcode::kYxDomain:
      return "YXDOMAIN";
    case Rcode::kNotAuth:
      return "NOTAUTH";
    case Rcode::kBadVers:
      return "BADVERS";
    case Rcode::kBadCookie:
      return "BADCOOKIE";
  }
  return "UNKNOWN";
}

}  // namespace dns
