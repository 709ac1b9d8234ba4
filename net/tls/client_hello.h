// Reads server name and ALPN out of a TLS ClientHello without taking part in the handshake, for
// listeners that pass TLS through to the node that the name chooses (RFC 8446 section 4.1.2,
// RFC 6066 section 3, RFC 7301). The caller keeps the raw bytes and forwards them once it knows
// where to.
//
// The hello may come in any pieces and split over records in any way. Bytes are looked at once;
// memory is bounded by kHelloBytesMax. An extension that is malformed inside counts as absent (the
// node's TLS will refuse it); a malformed frame around it is an error.
//
// Pure; any thread, one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace net {

enum class ClientHelloStatus : uint8_t {
  kNeedMore,
  kOk,         // complete; server_name() and alpn() hold what it says
  kNotTls,     // does not begin like TLS: another protocol, or SSLv2
  kMalformed,  // begins like TLS and then breaks its rules, or is above the limits
};
std::string_view ToString(ClientHelloStatus status);

class ClientHelloParser {
 public:
  // The handshake message; the longest seen in the wild has some 4 KB (post-quantum key shares and
  // a ticket with a certificate chain).
  static constexpr size_t kHelloBytesMax = 16 * 1024;
  // Raw bytes with all record headers: single bytes in records of their own are refused in time.
  static constexpr size_t kInputBytesMax = kHelloBytesMax + 4 * 1024;
  static constexpr size_t kAlpnMax = 16;

  // Takes the next bytes; what follows the hello is ignored. After anything but kNeedMore the
  // status stays.
  ClientHelloStatus Feed(std::span<const uint8_t> bytes);

  ClientHelloStatus status() const { return status_; }
  // In lower case, without a trailing dot; "" when there is none (or one that is no host name).
  const std::string& server_name() const { return server_name_; }
  // As offered, in the client's order, at most kAlpnMax.
  const std::vector<std::string>& alpn() const { return alpn_; }
  bool Offers(std::string_view protocol) const;
  // The highest version that it offers and we have heard of (0x0304: TLS 1.3); 0 before kOk.
  uint16_t version() const { return version_; }
  // Brings a ticket of an earlier connection: a pre-shared key (TLS 1.3) or a session ticket (TLS
  // 1.2). Whether it is taken is another matter.
  bool offers_resumption() const { return offers_resumption_; }

 private:
  ClientHelloStatus Header();
  ClientHelloStatus Body();
  bool ParseHello(std::span<const uint8_t> hello);
  void ParseServerName(std::span<const uint8_t> extension);
  void ParseAlpn(std::span<const uint8_t> extension);
  void ParseVersions(std::span<const uint8_t> extension);

  ClientHelloStatus status_ = ClientHelloStatus::kNeedMore;
  size_t input_bytes_ = 0;
  std::array<uint8_t, 5> header_{};
  size_t header_bytes_ = 0;
  size_t record_left_ = 0;
  std::vector<uint8_t> hello_;  // the handshake message, its 4-byte header included
  std::string server_name_;
  std::vector<std::string> alpn_;
  bool offers_resumption_ = false;
  uint16_t version_ = 0;
};

}  // namespace net
