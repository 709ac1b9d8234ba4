#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "net/proxy_protocol/crc32c.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "net/proxy_protocol/proxy_wire.h"

namespace net {
namespace {

using Status = ProxyDecoded::Status;

constexpr std::string_view kV1Start = "PROXY ";

ProxyDecoded Reject(ProxyReject why) { return {Status::kReject, why, 0}; }
ProxyDecoded NeedMore(size_t size) { return {Status::kNeedMore, ProxyReject::kNone, size}; }

std::string_view Text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool BeginsAs(std::span<const uint8_t> bytes, std::string_view start) {
  size_t common = std::min(bytes.size(), start.size());
  return Text(bytes.first(common)) == start.substr(0, common);
}

// --- Version 1 --------------------------------------------------------------------------------

std::string_view NextWord(std::string_view& line) {
  size_t space = line.find(' ');
  std::string_view word = line.substr(0, space);
  line = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
  return word;
}

bool ParsePort(std::string_view word, uint16_t& port) {
  if (word.empty() || word.size() > 5 || (word.size() > 1 && word[0] == '0')) return false;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), port);
  return error == std::errc() && end == word.data() + word.size();
}

bool ParseIp(std::string_view word, ProxyFamily family, ProxyEndpoint& endpoint) {
  char text[INET6_ADDRSTRLEN + 1];
  if (word.empty() || word.size() >= sizeof text) return false;
  if (word.find('\0') != std::string_view::npos) return false;
  std::memcpy(text, word.data(), word.size());
  text[word.size()] = '\0';
  endpoint.family = family;
  int af = family == ProxyFamily::kInet ? AF_INET : AF_INET6;
  return inet_pton(af, text, endpoint.ip.data()) == 1;
}

bool ParseV1Line(std::string_view line, ProxyHeader& header) {
  std::string_view protocol = NextWord(line);
  header.version = ProxyVersion::kV1;
  if (protocol == "UNKNOWN") {  // what follows is to be ignored
    header.local = true;
    return true;
  }
  ProxyFamily family;
  if (protocol == "TCP4") {
    family = ProxyFamily::kInet;
  } else if (protocol == "TCP6") {
    family = ProxyFamily::kInet6;
  } else {
    return false;
  }
  // Exactly four words with one space between them: a fifth would be left in `line`, a second space
  // makes an empty word.
  std::string_view source = NextWord(line);
  std::string_view destination = NextWord(line);
  std::string_view source_port = NextWord(line);
  std::string_view destination_port = line;
  return ParseIp(source, family, header.source) &&
         ParseIp(destination, family, header.destination) &&
         ParsePort(source_port, header.source.port) &&
         ParsePort(destination_port, header.destination.port);
}

ProxyDecoded DecodeV1(std::span<const uint8_t> bytes, ProxyHeader& out) {
  std::string_view seen = Text(bytes.first(std::min(bytes.size(), kProxyV1Max)));
  size_t end = seen.find('\n');
  if (end == std::string_view::npos) {
    return seen.size() == kProxyV1Max ? Reject(ProxyReject::kTooLong) : NeedMore(0);
  }
  if (seen[end - 1] != '\r') return Reject(ProxyReject::kLine);
  ProxyHeader header;
  if (!ParseV1Line(seen.substr(kV1Start.size(), end - 1 - kV1Start.size()), header)) {
    return Reject(ProxyReject::kLine);
  }
  out = header;
  return {Status::kHeader, ProxyReject::kNone, end + 1};
}

// --- Version 2 --------------------------------------------------------------------------------

// Walks TLVs that lie back to back and fill `bytes` exactly.
class TlvWalk {
 public:
  explicit TlvWalk(std::span<const uint8_t> bytes) : left_(bytes) {}
  bool done() const { return left_.empty(); }
  ProxyReject Next(ProxyTlv& tlv) {
    if (left_.size() < proxy_wire::kTlvHeader) return ProxyReject::kTlvStray;
    size_t length = proxy_wire::Read16(left_.data() + 1);
    if (length > left_.size() - proxy_wire::kTlvHeader) return ProxyReject::kTlvOverrun;
    tlv = {left_[0], left_.subspan(proxy_wire::kTlvHeader, length)};
    left_ = left_.subspan(proxy_wire::kTlvHeader + length);
    return ProxyReject::kNone;
  }

 private:
  std::span<const uint8_t> left_;
};

ProxyReject ParseSsl(std::span<const uint8_t> value, ProxySsl& ssl) {
  if (value.size() < proxy_wire::kSslFixed) return ProxyReject::kTlvLength;
  ssl.client = value[0];
  ssl.verify = proxy_wire::Read32(value.data() + 1);
  for (TlvWalk walk(value.subspan(proxy_wire::kSslFixed)); !walk.done();) {
    ProxyTlv sub;
    if (ProxyReject reject = walk.Next(sub); reject != ProxyReject::kNone) return reject;
    switch (static_cast<ProxyTlvType>(sub.type)) {
      case ProxyTlvType::kSslVersion:
        ssl.version = sub.text();
        break;
      case ProxyTlvType::kSslCn:
        ssl.cn = sub.text();
        break;
      case ProxyTlvType::kSslCipher:
        ssl.cipher = sub.text();
        break;
      case ProxyTlvType::kSslSigAlg:
        ssl.sig_alg = sub.text();
        break;
      case ProxyTlvType::kSslKeyAlg:
        ssl.key_alg = sub.text();
        break;
      default:
        break;
    }
  }
  return ProxyReject::kNone;
}

// The checksum over the whole header, its own four bytes taken as zero.
ProxyReject VerifyChecksum(std::span<const uint8_t> whole, std::span<const uint8_t> field) {
  if (field.size() != 4) return ProxyReject::kTlvLength;
  auto before = static_cast<size_t>(field.data() - whole.data());
  Crc32c crc;
  crc.Add(whole.first(before));
  for (int i = 0; i < 4; ++i) crc.Add(uint8_t{0});
  crc.Add(whole.subspan(before + 4));
  return crc.value() == proxy_wire::Read32(field.data()) ? ProxyReject::kNone
                                                         : ProxyReject::kChecksum;
}

ProxyReject TakeTlv(std::span<const uint8_t> whole, const ProxyTlv& tlv, ProxyHeader& header) {
  switch (static_cast<ProxyTlvType>(tlv.type)) {
    case ProxyTlvType::kAlpn:
      header.alpn = tlv.text();
      break;
    case ProxyTlvType::kAuthority:
      header.authority = tlv.text();
      break;
    case ProxyTlvType::kNetns:
      header.netns = tlv.text();
      break;
    case ProxyTlvType::kUniqueId:
      if (tlv.value.size() > kProxyUniqueIdMax) return ProxyReject::kTlvLength;
      header.unique_id = tlv.text();
      break;
    case ProxyTlvType::kCrc32c:
      if (header.checksummed) return ProxyReject::kTlvDuplicate;
      header.checksummed = true;
      return VerifyChecksum(whole, tlv.value);
    case ProxyTlvType::kSsl:
      if (header.ssl) return ProxyReject::kTlvDuplicate;
      return ParseSsl(tlv.value, header.ssl.emplace());
    default:
      break;
  }
  return ProxyReject::kNone;
}

ProxyReject ParseTlvs(std::span<const uint8_t> whole, std::span<const uint8_t> bytes,
                      ProxyHeader& header) {
  for (TlvWalk walk(bytes); !walk.done();) {
    ProxyTlv tlv;
    if (ProxyReject reject = walk.Next(tlv); reject != ProxyReject::kNone) return reject;
    if (header.tlv_count == kProxyTlvsMax) return ProxyReject::kTlvCount;
    header.tlvs[header.tlv_count++] = tlv;
    ProxyReject reject = TakeTlv(whole, tlv, header);
    if (reject != ProxyReject::kNone) return reject;
  }
  return ProxyReject::kNone;
}

std::string_view UnixPath(std::span<const uint8_t> field) {
  std::string_view path = Text(field);
  // A leading NUL is Linux's abstract namespace: its name ends with the padding.
  size_t end = path.empty() ? 0 : path.find('\0', path[0] == '\0' ? 1 : 0);
  return path.substr(0, end);
}

// Returns the bytes the addresses take, or 0 where the family is not known.
size_t AddressBytes(uint8_t family_byte) {
  switch (family_byte) {
    case proxy_wire::kTcp4:
      return proxy_wire::kInetBytes;
    case proxy_wire::kTcp6:
      return proxy_wire::kInet6Bytes;
    case proxy_wire::kUnixStream:
      return proxy_wire::kUnixBytes;
    default:
      return 0;
  }
}

void ParseAddresses(uint8_t family_byte, const uint8_t* at, ProxyHeader& header) {
  if (family_byte == proxy_wire::kUnixStream) {
    header.source.family = header.destination.family = ProxyFamily::kUnix;
    header.source.path = UnixPath({at, kProxyUnixPathMax});
    header.destination.path = UnixPath({at + kProxyUnixPathMax, kProxyUnixPathMax});
    return;
  }
  bool inet = family_byte == proxy_wire::kTcp4;
  size_t size = inet ? 4 : 16;
  header.source.family = header.destination.family =
      inet ? ProxyFamily::kInet : ProxyFamily::kInet6;
  std::copy_n(at, size, header.source.ip.begin());
  std::copy_n(at + size, size, header.destination.ip.begin());
  header.source.port = proxy_wire::Read16(at + 2 * size);
  header.destination.port = proxy_wire::Read16(at + 2 * size + 2);
}

ProxyDecoded DecodeV2(std::span<const uint8_t> bytes, ProxyHeader& out, size_t header_max) {
  if (bytes.size() < kProxyV2Fixed) return NeedMore(kProxyV2Fixed);
  uint8_t version_command = bytes[12];
  uint8_t family = bytes[13];
  size_t size = kProxyV2Fixed + proxy_wire::Read16(bytes.data() + 14);
  if ((version_command & 0xf0) != proxy_wire::kVersion2) return Reject(ProxyReject::kVersion);
  if (version_command != proxy_wire::kLocal && version_command != proxy_wire::kProxy) {
    return Reject(ProxyReject::kCommand);
  }
  if (size > header_max) return Reject(ProxyReject::kTooLong);
  bool local = version_command == proxy_wire::kLocal || family == proxy_wire::kUnspec;
  size_t addresses = AddressBytes(family);
  if (!local && addresses == 0) return Reject(ProxyReject::kFamily);
  if (!local && size < kProxyV2Fixed + addresses) return Reject(ProxyReject::kShort);
  if (bytes.size() < size) return NeedMore(size);

  ProxyHeader header;
  header.version = ProxyVersion::kV2;
  header.local = local;
  // LOCAL and UNSPEC: the receiver discards the block whatever it holds.
  if (!local) {
    auto whole = bytes.first(size);
    ParseAddresses(family, bytes.data() + kProxyV2Fixed, header);
    auto reject = ParseTlvs(whole, whole.subspan(kProxyV2Fixed + addresses), header);
    if (reject != ProxyReject::kNone) return Reject(reject);
  }
  out = header;
  return {Status::kHeader, ProxyReject::kNone, size};
}

}  // namespace

ProxyDecoded DecodeProxyHeader(std::span<const uint8_t> bytes, ProxyHeader& header,
                               const ProxyDecodeOptions& options) {
  if (bytes.empty()) return NeedMore(0);
  if (BeginsAs(bytes, proxy_wire::kSignature)) {
    if (!options.v2) return Reject(ProxyReject::kVersion);
    return DecodeV2(bytes, header, options.header_max);
  }
  if (BeginsAs(bytes, kV1Start)) {
    if (!options.v1) return Reject(ProxyReject::kVersion);
    return DecodeV1(bytes, header);
  }
  return Reject(ProxyReject::kNotProxy);
}

std::string_view ProxyRejectName(ProxyReject reject) {
  switch (reject) {
    case ProxyReject::kNone:
      return "none";
    case ProxyReject::kNotProxy:
      return "no PROXY header";
    case ProxyReject::kVersion:
      return "version not accepted";
    case ProxyReject::kCommand:
      return "unknown command";
    case ProxyReject::kFamily:
      return "unknown address family";
    case ProxyReject::kTooLong:
      return "header too long";
    case ProxyReject::kShort:
      return "header too short for its addresses";
    case ProxyReject::kLine:
      return "malformed line";
    case ProxyReject::kTlvOverrun:
      return "TLV overruns the header";
    case ProxyReject::kTlvStray:
      return "stray bytes after the TLVs";
    case ProxyReject::kTlvLength:
      return "TLV of a wrong length";
    case ProxyReject::kTlvDuplicate:
      return "TLV given twice";
    case ProxyReject::kTlvCount:
      return "too many TLVs";
    case ProxyReject::kChecksum:
      return "wrong checksum";
  }
  return "unknown";
}

}  // namespace net
