#include "net/tls/client_hello.h"

#include <algorithm>

#include "net/base/byte_reader.h"

namespace net {

namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHello = 1;
constexpr size_t kRecordBytesMax = 16'384;
constexpr uint16_t kServerNameExtension = 0;
constexpr uint16_t kAlpnExtension = 16;
constexpr uint16_t kSessionTicketExtension = 35;
constexpr uint16_t kPreSharedKeyExtension = 41;
constexpr uint16_t kSupportedVersionsExtension = 43;

bool IsHostNameByte(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

}  // namespace

std::string_view ToString(ClientHelloStatus status) {
  switch (status) {
    case ClientHelloStatus::kNeedMore:
      return "need more";
    case ClientHelloStatus::kOk:
      return "ok";
    case ClientHelloStatus::kNotTls:
      return "not TLS";
    case ClientHelloStatus::kMalformed:
      return "malformed";
  }
  return "?";
}

ClientHelloStatus ClientHelloParser::Feed(std::span<const uint8_t> bytes) {
  while (status_ == ClientHelloStatus::kNeedMore && !bytes.empty()) {
    if (++input_bytes_ > kInputBytesMax) return status_ = ClientHelloStatus::kMalformed;
    if (record_left_ == 0) {
      header_[header_bytes_++] = bytes[0];
      bytes = bytes.subspan(1);
      status_ = Header();
      continue;
    }
    size_t n = std::min({record_left_, bytes.size(), kHelloBytesMax + 4});
    input_bytes_ += n - 1;
    hello_.insert(hello_.end(), bytes.begin(), bytes.begin() + static_cast<long>(n));
    bytes = bytes.subspan(n);
    record_left_ -= n;
    status_ = Body();
  }
  return status_;
}

// A byte of a record header has come.
ClientHelloStatus ClientHelloParser::Header() {
  auto wrong = hello_.empty() ? ClientHelloStatus::kNotTls : ClientHelloStatus::kMalformed;
  if (header_[0] != kHandshakeRecord) return wrong;
  if (header_bytes_ >= 2 && header_[1] != 3) return wrong;
  if (header_bytes_ < header_.size()) return ClientHelloStatus::kNeedMore;
  header_bytes_ = 0;
  record_left_ = static_cast<size_t>(header_[3]) << 8 | header_[4];
  bool fits = record_left_ > 0 && record_left_ <= kRecordBytesMax;
  return fits ? ClientHelloStatus::kNeedMore : ClientHelloStatus::kMalformed;
}

// Bytes of the handshake message have come.
ClientHelloStatus ClientHelloParser::Body() {
  if (hello_[0] != kClientHello) return ClientHelloStatus::kMalformed;
  if (hello_.size() < 4) return ClientHelloStatus::kNeedMore;
  size_t length = static_cast<size_t>(hello_[1]) << 16 | static_cast<size_t>(hello_[2]) << 8 |
                  static_cast<size_t>(hello_[3]);
  if (length > kHelloBytesMax) return ClientHelloStatus::kMalformed;
  if (hello_.size() < 4 + length) return ClientHelloStatus::kNeedMore;
  bool good = ParseHello(std::span<const uint8_t>(hello_).subspan(4, length));
  if (!good) {
    server_name_.clear();
    alpn_.clear();
  }
  hello_ = {};
  return good ? ClientHelloStatus::kOk : ClientHelloStatus::kMalformed;
}

bool ClientHelloParser::ParseHello(std::span<const uint8_t> hello) {
  ByteReader reader(hello);
  size_t version = reader.Number(2);
  reader.Take(32);  // random
  std::span<const uint8_t> session_id = reader.Vector(1);
  std::span<const uint8_t> ciphers = reader.Vector(2);
  std::span<const uint8_t> compression = reader.Vector(1);
  if (!reader.ok() || version >> 8 != 3 || session_id.size() > 32 || ciphers.size() < 2 ||
      ciphers.size() % 2 != 0 || compression.empty()) {
    return false;
  }
  // Of TLS 1.3 the field says nothing (RFC 8446, 4.2.1).
  version_ = static_cast<uint16_t>(std::min<size_t>(version, 0x0303));
  if (reader.empty()) return true;  // extensions may be left out before TLS 1.3
  ByteReader extensions(reader.Vector(2));
  if (!reader.ok() || !reader.empty()) return false;
  bool seen_name = false;
  bool seen_alpn = false;
  while (!extensions.empty()) {
    size_t type = extensions.Number(2);
    std::span<const uint8_t> body = extensions.Vector(2);
    if (!extensions.ok()) return false;
    if (!body.empty() && (type == kPreSharedKeyExtension || type == kSessionTicketExtension)) {
      offers_resumption_ = true;
    }
    if (type == kSupportedVersionsExtension) ParseVersions(body);
    bool* seen = type == kServerNameExtension ? &seen_name
                 : type == kAlpnExtension     ? &seen_alpn
                                              : nullptr;
    if (seen == nullptr) continue;
    if (*seen) return false;  // twice: the node might believe the other one
    *seen = true;
    if (type == kServerNameExtension) {
      ParseServerName(body);
    } else {
      ParseAlpn(body);
    }
  }
  return true;
}

void ClientHelloParser::ParseServerName(std::span<const uint8_t> extension) {
  ByteReader reader(extension);
  ByteReader list(reader.Vector(2));
  if (!reader.ok() || !reader.empty() || list.Number(1) != 0) return;
  std::span<const uint8_t> name = list.Vector(2);
  if (!list.ok() || !list.empty()) return;
  if (!name.empty() && name.back() == '.') name = name.first(name.size() - 1);
  if (name.empty() || name.size() > 253 || !std::ranges::all_of(name, IsHostNameByte)) return;
  for (uint8_t c : name) {
    server_name_.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  }
}

void ClientHelloParser::ParseVersions(std::span<const uint8_t> extension) {
  ByteReader reader(extension);
  ByteReader list(reader.Vector(1));
  if (!reader.ok() || !reader.empty()) return;
  size_t highest = 0;
  while (!list.empty()) {
    const size_t version = list.Number(2);
    if (!list.ok()) return;
    if (version >= 0x0301 && version <= 0x0304) highest = std::max(highest, version);  // no GREASE
  }
  if (highest != 0) version_ = static_cast<uint16_t>(highest);
}

void ClientHelloParser::ParseAlpn(std::span<const uint8_t> extension) {
  ByteReader reader(extension);
  ByteReader list(reader.Vector(2));
  if (!reader.ok() || !reader.empty()) return;
  std::vector<std::string> names;
  while (!list.empty()) {
    std::span<const uint8_t> name = list.Vector(1);
    if (!list.ok() || name.empty()) return;
    if (names.size() < kAlpnMax) names.emplace_back(name.begin(), name.end());
  }
  alpn_ = std::move(names);
}

bool ClientHelloParser::Offers(std::string_view protocol) const {
  return std::ranges::find(alpn_, protocol) != alpn_.end();
}

}  // namespace net
