// Addresses as values.
//
//   Address   an IPv4 or IPv6 address with a port, in 20 bytes: what connections, tables and nodes
//             hold. Trivially copyable, comparable, hashable.
//   Endpoint  what people write in a configuration: "192.0.2.1:5222", "[2001:db8::1]:5222",
//             "xmpp1.example.org:5222" or "unix:/run/x.sock" ("unix:@name" for an abstract one).
//   Cidr      "192.0.2.0/24", "2001:db8::/32", or one address.
//
// Nothing here resolves host names or speaks to anybody. Thread-safe, as values are.
//
// A link-local IPv6 address may have a zone, the interface that it is on: "fe80::1%eth0". It is
// part of the address for comparisons and sockets, and none of its bits for hashes and networks. A
// zone is looked up in the system's table of interfaces when it is parsed and when it is printed.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace net {

// What is wrong with a text, and what to write instead; both fit net::ConfigError.
struct AddressError {
  std::string what;
  std::string remedy;
};

enum class AddressFamily : uint8_t { kNone, kIpv4, kIpv6 };
std::string_view ToString(AddressFamily family);

class SocketName;

class Address {
 public:
  // "[ffff:...:255.255.255.255]:65535" with room to spare.
  static constexpr size_t kTextMax = 64;

  constexpr Address() = default;  // family kNone: no address
  static Address V4(std::array<uint8_t, 4> ip, uint16_t port);
  static Address V6(const std::array<uint8_t, 16>& ip, uint16_t port);
  // "192.0.2.1", "2001:db8::1" or "fe80::1%eth0", without brackets or port. Strict: no octal, no
  // short forms. nullopt for a zone that is no interface here, or of an address that has none.
  static std::optional<Address> FromIp(std::string_view ip, uint16_t port);
  // "192.0.2.1:5222" or "[2001:db8::1]:5222". Port 0 is allowed ("any free one" when binding).
  static std::expected<Address, AddressError> Parse(std::string_view text);
  // nullopt: another family, or too short.
  static std::optional<Address> FromSockaddr(const sockaddr* name, socklen_t size);

  AddressFamily family() const { return family_; }
  explicit operator bool() const { return family_ != AddressFamily::kNone; }
  uint16_t port() const { return port_; }
  Address WithPort(uint16_t port) const;
  bool IsLinkLocal() const;  // fe80::/10, which alone has zones
  uint32_t zone() const;     // the interface's number; 0 = none
  Address WithoutZone() const;
  // 4 or 16 bytes in network order; none without an address.
  std::span<const uint8_t> ip() const;

  bool IsLoopback() const;
  bool IsUnspecified() const;  // 0.0.0.0 or ::
  // ::ffff:192.0.2.1, as an IPv6 socket shows an IPv4 peer, becomes 192.0.2.1; others stay.
  Address Unmapped() const;
  // All but the first bits set to zero, the port too: the key under which one subscriber's
  // addresses are counted together. Bits above the family's are the whole address.
  Address Network(unsigned bits_v4, unsigned bits_v6) const;

  // Of the address without its port. Seed it with a secret where peers choose the keys.
  uint64_t HashIp(uint64_t seed) const;

  SocketName ToSocketName() const;

  std::string IpToString() const;  // "192.0.2.1", "2001:db8::1"
  std::string ToString() const;    // "192.0.2.1:5222", "[2001:db8::1]:5222"; "-" without an address
  // The same without allocation.
  std::string_view FormatIp(std::span<char, kTextMax> out) const;
  std::string_view Format(std::span<char, kTextMax> out) const;

  auto operator<=>(const Address&) const = default;

 private:
  std::array<uint8_t, 16> ip_{};  // IPv4 in the first four
  uint16_t port_ = 0;             // host order
  AddressFamily family_ = AddressFamily::kNone;
  uint8_t zone_ = 0;  // its place in a table of the process; 0 = none
};
static_assert(sizeof(Address) == 20);

// A sockaddr of exactly the families we use, with its size; what bind, connect and their io_uring
// twins take. The kernel reads it while a connect is in flight: keep it alive until the completion.
class SocketName {
 public:
  SocketName() = default;
  static SocketName Unix(std::string_view path);  // CHECKs the length: Endpoint has judged it

  const sockaddr* get() const;
  socklen_t size() const { return size_; }
  int family() const;

 private:
  friend class Address;
  union {
    sockaddr any_;
    sockaddr_in v4_;
    sockaddr_in6 v6_;
    sockaddr_un unix_;
  } name_{};
  socklen_t size_ = 0;
};

// Longest path of a Unix socket that has its NUL.
inline constexpr size_t kUnixPathMax = sizeof(sockaddr_un{}.sun_path) - 1;

struct Endpoint {
  enum class Kind : uint8_t { kIp, kHost, kUnix };

  Kind kind = Kind::kIp;
  Address address;    // kIp
  std::string name;   // kHost: the host; kUnix: the path, "@..." for an abstract one
  uint16_t port = 0;  // kIp and kHost

  static std::expected<Endpoint, AddressError> Parse(std::string_view text);
  std::string ToString() const;  // what Parse reads
  // CHECKs that the kind is not kHost, which must be resolved first.
  SocketName ToSocketName() const;

  bool operator==(const Endpoint&) const = default;
};

// RFC 1123 host names, plus the underscore that container platforms put into theirs; a dot at the
// end is allowed. Not an address.
bool IsHostName(std::string_view text);

class Cidr {
 public:
  Cidr() = default;  // contains nothing
  // "192.0.2.0/24", "2001:db8::/32"; without a slash, the one address. Bits that are set behind
  // the prefix are an error, since they show a mistake.
  static std::expected<Cidr, AddressError> Parse(std::string_view text);

  // Sees through mapped addresses: ::ffff:192.0.2.1 is in 192.0.2.0/24.
  bool Contains(const Address& address) const;
  std::string ToString() const;

  bool operator==(const Cidr&) const = default;

 private:
  Address network_;
  uint8_t bits_ = 0;
};

}  // namespace net

template <>
struct std::hash<net::Address> {
  size_t operator()(const net::Address& address) const noexcept {
    return static_cast<size_t>(address.HashIp(address.port()));
  }
};
