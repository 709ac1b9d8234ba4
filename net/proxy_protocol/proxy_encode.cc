#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "net/proxy_protocol/crc32c.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "net/proxy_protocol/proxy_wire.h"

namespace net {
namespace {

constexpr size_t kLengthMax = 65'535;

// Appends to a span and remembers when it did not fit; nothing is ever written behind the end.
class Writer {
 public:
  explicit Writer(std::span<uint8_t> out) : out_(out) {}

  void Byte(uint8_t value) {
    if (at_ < out_.size()) out_[at_] = value;
    ++at_;
  }
  void Be16(size_t value) {
    Byte(static_cast<uint8_t>(value >> 8));
    Byte(static_cast<uint8_t>(value));
  }
  void Be32(uint32_t value) {
    Be16(value >> 16);
    Be16(value & 0xffff);
  }
  void Bytes(std::span<const uint8_t> bytes) {
    if (at_ <= out_.size() && bytes.size() <= out_.size() - at_) {
      std::copy(bytes.begin(), bytes.end(), out_.begin() + static_cast<ptrdiff_t>(at_));
    }
    at_ += bytes.size();
  }
  void Text(std::string_view text) {
    Bytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void Zeros(size_t count) {
    for (size_t i = 0; i < count; ++i) Byte(0);
  }
  void Tlv(ProxyTlvType type, std::string_view value) {
    Byte(static_cast<uint8_t>(type));
    Be16(value.size());
    Text(value);
  }
  size_t size() const { return at_; }
  bool fits() const { return at_ <= out_.size(); }

 private:
  std::span<uint8_t> out_;
  size_t at_ = 0;
};

bool IsIp(const ProxyEndpoint& endpoint) {
  return endpoint.family == ProxyFamily::kInet || endpoint.family == ProxyFamily::kInet6;
}

ProxyEndpoint Mapped(const ProxyEndpoint& endpoint) {
  if (endpoint.family != ProxyFamily::kInet) return endpoint;
  ProxyEndpoint mapped;
  mapped.family = ProxyFamily::kInet6;
  mapped.port = endpoint.port;
  mapped.ip[10] = mapped.ip[11] = 0xff;
  std::copy_n(endpoint.ip.begin(), 4, mapped.ip.begin() + 12);
  return mapped;
}

void WriteV1Number(Writer& writer, uint16_t number) {
  char text[8];
  auto end = std::to_chars(text, text + sizeof text, number).ptr;
  writer.Text({text, static_cast<size_t>(end - text)});
}

void WriteV1Ip(Writer& writer, const ProxyEndpoint& endpoint) {
  char text[INET6_ADDRSTRLEN];
  int af = endpoint.family == ProxyFamily::kInet ? AF_INET : AF_INET6;
  inet_ntop(af, endpoint.ip.data(), text, sizeof text);
  writer.Text(text);
}

// The family byte both endpoints can be written under; endpoints are changed to fit.
uint8_t CommonFamily(ProxyEndpoint& source, ProxyEndpoint& destination) {
  if (source.family == ProxyFamily::kUnix && destination.family == ProxyFamily::kUnix) {
    return proxy_wire::kUnixStream;
  }
  if (!IsIp(source) || !IsIp(destination)) return proxy_wire::kUnspec;
  if (source.family != destination.family) {
    source = Mapped(source);
    destination = Mapped(destination);
  }
  return source.family == ProxyFamily::kInet ? proxy_wire::kTcp4 : proxy_wire::kTcp6;
}

void WriteAddresses(Writer& writer, uint8_t family, const ProxyEndpoint& source,
                    const ProxyEndpoint& destination) {
  if (family == proxy_wire::kUnspec) return;
  if (family == proxy_wire::kUnixStream) {
    for (const ProxyEndpoint* endpoint : {&source, &destination}) {
      writer.Text(endpoint->path);
      writer.Zeros(kProxyUnixPathMax - endpoint->path.size());
    }
    return;
  }
  size_t size = family == proxy_wire::kTcp4 ? 4 : 16;
  writer.Bytes(std::span(source.ip).first(size));
  writer.Bytes(std::span(destination.ip).first(size));
  writer.Be16(source.port);
  writer.Be16(destination.port);
}

size_t TlvBytes(std::string_view value) {
  return value.empty() ? 0 : proxy_wire::kTlvHeader + value.size();
}

size_t SslValueBytes(const ProxySsl& ssl) {
  return proxy_wire::kSslFixed + TlvBytes(ssl.version) + TlvBytes(ssl.cn) + TlvBytes(ssl.cipher) +
         TlvBytes(ssl.sig_alg) + TlvBytes(ssl.key_alg);
}

size_t AllTlvBytes(const ProxyTlvsOut& tlvs) {
  size_t bytes = TlvBytes(tlvs.alpn) + TlvBytes(tlvs.authority) + TlvBytes(tlvs.unique_id) +
                 TlvBytes(tlvs.netns);
  if (tlvs.ssl != nullptr) bytes += proxy_wire::kTlvHeader + SslValueBytes(*tlvs.ssl);
  for (const ProxyTlv& tlv : tlvs.more) bytes += proxy_wire::kTlvHeader + tlv.value.size();
  if (tlvs.crc32c) bytes += proxy_wire::kTlvHeader + 4;
  return bytes;
}

void WriteSsl(Writer& writer, const ProxySsl& ssl) {
  writer.Byte(static_cast<uint8_t>(ProxyTlvType::kSsl));
  writer.Be16(SslValueBytes(ssl));
  writer.Byte(ssl.client);
  writer.Be32(ssl.verify);
  for (auto [type, value] : {std::pair{ProxyTlvType::kSslVersion, ssl.version},
                             {ProxyTlvType::kSslCn, ssl.cn},
                             {ProxyTlvType::kSslCipher, ssl.cipher},
                             {ProxyTlvType::kSslSigAlg, ssl.sig_alg},
                             {ProxyTlvType::kSslKeyAlg, ssl.key_alg}}) {
    if (!value.empty()) writer.Tlv(type, value);
  }
}

void WriteTlvs(Writer& writer, const ProxyTlvsOut& tlvs) {
  for (auto [type, value] : {std::pair{ProxyTlvType::kAlpn, tlvs.alpn},
                             {ProxyTlvType::kAuthority, tlvs.authority},
                             {ProxyTlvType::kUniqueId, tlvs.unique_id}}) {
    if (!value.empty()) writer.Tlv(type, value);
  }
  if (tlvs.ssl != nullptr) WriteSsl(writer, *tlvs.ssl);
  if (!tlvs.netns.empty()) writer.Tlv(ProxyTlvType::kNetns, tlvs.netns);
  for (const ProxyTlv& tlv : tlvs.more) {
    writer.Byte(tlv.type);
    writer.Be16(tlv.value.size());
    writer.Bytes(tlv.value);
  }
  if (tlvs.crc32c) writer.Tlv(ProxyTlvType::kCrc32c, std::string_view("\0\0\0\0", 4));
}

std::expected<size_t, ProxyEncodeError> Finish(const Writer& writer) {
  if (!writer.fits()) return std::unexpected(ProxyEncodeError::kNoSpace);
  return writer.size();
}

void WriteFixed(Writer& writer, uint8_t command, uint8_t family, size_t length) {
  writer.Text(proxy_wire::kSignature);
  writer.Byte(command);
  writer.Byte(family);
  writer.Be16(length);
}

}  // namespace

std::expected<size_t, ProxyEncodeError> EncodeProxyV1(const ProxyEndpoint& source,
                                                      const ProxyEndpoint& destination,
                                                      std::span<uint8_t> out) {
  ProxyEndpoint from = source;
  ProxyEndpoint to = destination;
  uint8_t family = CommonFamily(from, to);
  Writer writer(out);
  if (family != proxy_wire::kTcp4 && family != proxy_wire::kTcp6) {
    writer.Text("PROXY UNKNOWN\r\n");
    return Finish(writer);
  }
  writer.Text(family == proxy_wire::kTcp4 ? "PROXY TCP4 " : "PROXY TCP6 ");
  WriteV1Ip(writer, from);
  writer.Byte(' ');
  WriteV1Ip(writer, to);
  writer.Byte(' ');
  WriteV1Number(writer, from.port);
  writer.Byte(' ');
  WriteV1Number(writer, to.port);
  writer.Text("\r\n");
  return Finish(writer);
}

std::expected<size_t, ProxyEncodeError> EncodeProxyV2(const ProxyEndpoint& source,
                                                      const ProxyEndpoint& destination,
                                                      const ProxyTlvsOut& tlvs,
                                                      std::span<uint8_t> out) {
  ProxyEndpoint from = source;
  ProxyEndpoint to = destination;
  uint8_t family = CommonFamily(from, to);
  size_t addresses = 0;
  switch (family) {
    case proxy_wire::kTcp4:
      addresses = proxy_wire::kInetBytes;
      break;
    case proxy_wire::kTcp6:
      addresses = proxy_wire::kInet6Bytes;
      break;
    case proxy_wire::kUnixStream:
      addresses = proxy_wire::kUnixBytes;
      break;
    default:
      break;
  }
  if (from.path.size() > kProxyUnixPathMax || to.path.size() > kProxyUnixPathMax) {
    return std::unexpected(ProxyEncodeError::kPathTooLong);
  }
  // Every length field is checked before the first byte is written: a length that wrapped round
  // would let the TLVs spill into the stream.
  size_t length = addresses + AllTlvBytes(tlvs);
  if (length > kLengthMax || tlvs.unique_id.size() > kProxyUniqueIdMax) {
    return std::unexpected(ProxyEncodeError::kTooLong);
  }
  if (kProxyV2Fixed + length > out.size()) return std::unexpected(ProxyEncodeError::kNoSpace);
  Writer writer(out);
  WriteFixed(writer, proxy_wire::kProxy, family, length);
  WriteAddresses(writer, family, from, to);
  WriteTlvs(writer, tlvs);
  if (tlvs.crc32c) {
    Crc32c crc;
    crc.Add(out.first(writer.size()));
    Writer(out.subspan(writer.size() - 4, 4)).Be32(crc.value());
  }
  return Finish(writer);
}

std::expected<size_t, ProxyEncodeError> EncodeProxyV2Local(std::span<uint8_t> out) {
  Writer writer(out);
  WriteFixed(writer, proxy_wire::kLocal, proxy_wire::kUnspec, 0);
  return Finish(writer);
}

std::expected<size_t, ProxyEncodeError> EncodeProxyV2LocalCheck(std::span<uint8_t> out) {
  Writer writer(out);
  WriteFixed(writer, proxy_wire::kLocal, proxy_wire::kUnspec, proxy_wire::kTlvHeader);
  writer.Tlv(ProxyTlvType::kNoop, "");
  return Finish(writer);
}

std::string_view ProxyEncodeErrorName(ProxyEncodeError error) {
  switch (error) {
    case ProxyEncodeError::kNoSpace:
      return "no space";
    case ProxyEncodeError::kTooLong:
      return "too long";
    case ProxyEncodeError::kPathTooLong:
      return "Unix path too long";
  }
  return "unknown";
}

ProxyEndpoint ProxyEndpoint::FromSockaddr(const sockaddr* address, size_t length) {
  ProxyEndpoint endpoint;
  if (address == nullptr || length < sizeof(sa_family_t)) return endpoint;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in;
    std::memcpy(&in, address, sizeof in);
    endpoint.family = ProxyFamily::kInet;
    std::memcpy(endpoint.ip.data(), &in.sin_addr, 4);
    endpoint.port = ntohs(in.sin_port);
  } else if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in6;
    std::memcpy(&in6, address, sizeof in6);
    endpoint.family = ProxyFamily::kInet6;
    std::memcpy(endpoint.ip.data(), &in6.sin6_addr, 16);
    endpoint.port = ntohs(in6.sin6_port);
  } else if (address->sa_family == AF_UNIX) {
    endpoint.family = ProxyFamily::kUnix;
    constexpr size_t kBefore = offsetof(sockaddr_un, sun_path);
    size_t path = length > kBefore ? length - kBefore : 0;
    const char* text = reinterpret_cast<const char*>(address) + kBefore;
    bool abstract = path > 0 && text[0] == '\0';
    endpoint.path = {text, abstract ? path : strnlen(text, path)};
  }
  return endpoint;
}

ProxyEndpoint ProxyEndpoint::FromAddress(const Address& address) {
  ProxyEndpoint endpoint;
  std::span<const uint8_t> ip = address.ip();
  if (ip.empty()) return endpoint;
  endpoint.family = ip.size() == 4 ? ProxyFamily::kInet : ProxyFamily::kInet6;
  std::copy(ip.begin(), ip.end(), endpoint.ip.begin());
  endpoint.port = address.port();
  return endpoint;
}

Address ProxyEndpoint::ToAddress() const {
  if (family == ProxyFamily::kInet6) return Address::V6(ip, port);
  if (family == ProxyFamily::kInet) return Address::V4({ip[0], ip[1], ip[2], ip[3]}, port);
  return {};
}

std::string ProxyEndpoint::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  switch (family) {
    case ProxyFamily::kUnspec:
      return "unknown";
    case ProxyFamily::kInet:
      inet_ntop(AF_INET, ip.data(), text, sizeof text);
      return std::string(text) + ":" + std::to_string(port);
    case ProxyFamily::kInet6:
      inet_ntop(AF_INET6, ip.data(), text, sizeof text);
      return "[" + std::string(text) + "]:" + std::to_string(port);
    case ProxyFamily::kUnix: {
      std::string shown(path);
      std::replace(shown.begin(), shown.end(), '\0', '@');
      return "unix:" + shown;
    }
  }
  return "unknown";
}

}  // namespace net
