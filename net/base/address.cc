#include "net/base/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "net/base/check.h"
#include "net/base/text.h"

namespace net {
namespace {

constexpr std::string_view kEndpointRemedy =
    "write ADDRESS:PORT, as in \"192.0.2.1:5222\" or \"[2001:db8::1]:5222\"";

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

std::unexpected<AddressError> Wrong(std::string what, std::string_view remedy) {
  return std::unexpected(AddressError{std::move(what), std::string(remedy)});
}

struct Split {
  std::string_view host;
  std::string_view port;
  bool bracketed = false;
};

std::expected<Split, AddressError> SplitHostPort(std::string_view text) {
  if (text.empty()) return Wrong("is empty", kEndpointRemedy);
  if (text.front() == '[') {
    size_t close = text.find(']');
    if (close == std::string_view::npos) {
      return Wrong("is " + Quoted(text) + ", which lacks a closing bracket", kEndpointRemedy);
    }
    if (close + 1 >= text.size() || text[close + 1] != ':') {
      return Wrong("is " + Quoted(text) + ", which has no port", kEndpointRemedy);
    }
    return Split{text.substr(1, close - 1), text.substr(close + 2), true};
  }
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return Wrong("is " + Quoted(text) + ", which has no port", kEndpointRemedy);
  }
  std::string_view host = text.substr(0, colon);
  if (host.find(':') != std::string_view::npos) {
    return Wrong("is " + Quoted(text) + ", where the port cannot be told from the address",
                 "write an IPv6 address in brackets, as in \"[2001:db8::1]:5222\"");
  }
  if (host.empty() || host == "*") {
    return Wrong("is " + Quoted(text) + ", which has no address",
                 "write \"0.0.0.0:" + std::string(text.substr(colon + 1)) +
                     "\" for all of IPv4, \"[::]:" + std::string(text.substr(colon + 1)) +
                     "\" for all of IPv6");
  }
  return Split{host, text.substr(colon + 1)};
}

// Digits and dots only: meant as an IPv4 address, so that 300.1.1.1 is not taken for a host.
bool LooksLikeIpv4(std::string_view host) {
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// The interfaces that zones have named so far: an Address has room for a place among them. Never
// shrinks; beyond its size a zone is dropped. Any thread.
class Zones {
 public:
  uint8_t PlaceOf(uint32_t interface) {
    if (interface == 0) return 0;
    for (size_t place = 1; place < interfaces_.size(); ++place) {
      uint32_t there = 0;
      // Empty until now, or another's; in the second case `there` says whose.
      if (interfaces_[place].compare_exchange_strong(there, interface) || there == interface) {
        return static_cast<uint8_t>(place);
      }
    }
    return 0;
  }
  uint32_t InterfaceAt(uint8_t place) const { return interfaces_[place].load(); }

 private:
  std::array<std::atomic<uint32_t>, 256> interfaces_{};
};
constinit Zones zones;

// `text` with the zone behind it; as it is where the interface has gone.
void AppendZone(uint32_t interface, std::span<char, Address::kTextMax> text) {
  std::array<char, IF_NAMESIZE> name{};
  if (if_indextoname(interface, name.data()) == nullptr) return;
  const size_t length = std::strlen(text.data());
  const size_t more = std::strlen(name.data());
  if (length + 1 + more + 1 > text.size()) return;
  text[length] = '%';
  std::copy_n(name.data(), more + 1, text.data() + length + 1);
}

uint64_t Mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

void ClearBitsAfter(std::span<uint8_t> bytes, unsigned bits) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    unsigned first = static_cast<unsigned>(i) * 8;
    if (first >= bits) {
      bytes[i] = 0;
    } else if (first + 8 > bits) {
      bytes[i] = static_cast<uint8_t>(bytes[i] & (0xff00U >> (bits - first)));
    }
  }
}

}  // namespace

std::string_view ToString(AddressFamily family) {
  switch (family) {
    case AddressFamily::kNone:
      return "none";
    case AddressFamily::kIpv4:
      return "ipv4";
    case AddressFamily::kIpv6:
      return "ipv6";
  }
  return "?";
}

Address Address::V4(std::array<uint8_t, 4> ip, uint16_t port) {
  Address out;
  std::ranges::copy(ip, out.ip_.begin());
  out.port_ = port;
  out.family_ = AddressFamily::kIpv4;
  return out;
}

Address Address::V6(const std::array<uint8_t, 16>& ip, uint16_t port) {
  Address out;
  out.ip_ = ip;
  out.port_ = port;
  out.family_ = AddressFamily::kIpv6;
  return out;
}

std::optional<Address> Address::FromIp(std::string_view ip, uint16_t port) {
  std::array<char, kTextMax> text{};  // inet_pton wants a NUL
  if (ip.size() >= text.size() || ip.find('\0') != std::string_view::npos) return std::nullopt;
  std::ranges::copy(ip, text.begin());
  std::array<uint8_t, 4> v4{};
  if (inet_pton(AF_INET, text.data(), v4.data()) == 1) return V4(v4, port);
  char* const percent = std::ranges::find(text, '%');
  uint32_t interface = 0;
  if (percent != text.end()) {
    interface = if_nametoindex(percent + 1);
    if (interface == 0) return std::nullopt;
    *percent = '\0';
  }
  std::array<uint8_t, 16> v6{};
  if (inet_pton(AF_INET6, text.data(), v6.data()) != 1) return std::nullopt;
  Address out = V6(v6, port);
  if (interface != 0 && !out.IsLinkLocal()) return std::nullopt;
  out.zone_ = zones.PlaceOf(interface);
  return out;
}

std::expected<Address, AddressError> Address::Parse(std::string_view text) {
  auto endpoint = Endpoint::Parse(text);
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  if (endpoint->kind != Endpoint::Kind::kIp) {
    return Wrong("is " + Quoted(text) + ", which is not an IP address with a port",
                 kEndpointRemedy);
  }
  return endpoint->address;
}

std::optional<Address> Address::FromSockaddr(const sockaddr* name, socklen_t size) {
  if (name == nullptr || size < sizeof(sa_family_t)) return std::nullopt;
  if (name->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, name, sizeof(in));
    std::array<uint8_t, 4> ip{};
    std::memcpy(ip.data(), &in.sin_addr, ip.size());
    return V4(ip, ntohs(in.sin_port));
  }
  if (name->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, name, sizeof(in));
    std::array<uint8_t, 16> ip{};
    std::memcpy(ip.data(), &in.sin6_addr, ip.size());
    Address out = V6(ip, ntohs(in.sin6_port));
    if (in.sin6_scope_id != 0 && out.IsLinkLocal()) out.zone_ = zones.PlaceOf(in.sin6_scope_id);
    return out;
  }
  return std::nullopt;
}

Address Address::WithPort(uint16_t port) const {
  Address out = *this;
  out.port_ = port;
  return out;
}

bool Address::IsLinkLocal() const {
  return family_ == AddressFamily::kIpv6 && ip_[0] == 0xfe && (ip_[1] & 0xc0U) == 0x80;
}

uint32_t Address::zone() const { return zone_ == 0 ? 0 : zones.InterfaceAt(zone_); }

Address Address::WithoutZone() const {
  Address out = *this;
  out.zone_ = 0;
  return out;
}

std::span<const uint8_t> Address::ip() const {
  switch (family_) {
    case AddressFamily::kIpv4:
      return std::span(ip_).first(4);
    case AddressFamily::kIpv6:
      return ip_;
    case AddressFamily::kNone:
      break;
  }
  return {};
}

bool Address::IsLoopback() const {
  Address plain = Unmapped();
  if (plain.family_ == AddressFamily::kIpv4) return plain.ip_[0] == 127;
  std::array<uint8_t, 16> one{};
  one[15] = 1;
  return plain.family_ == AddressFamily::kIpv6 && plain.ip_ == one;
}

bool Address::IsUnspecified() const {
  return family_ != AddressFamily::kNone && ip_ == std::array<uint8_t, 16>{};
}

Address Address::Unmapped() const {
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (family_ != AddressFamily::kIpv6 || !std::equal(kMapped.begin(), kMapped.end(), ip_.begin())) {
    return *this;
  }
  return V4({ip_[12], ip_[13], ip_[14], ip_[15]}, port_);
}

Address Address::Network(unsigned bits_v4, unsigned bits_v6) const {
  Address out = *this;
  out.port_ = 0;
  if (family_ == AddressFamily::kIpv4) ClearBitsAfter(std::span(out.ip_).first(4), bits_v4);
  if (family_ == AddressFamily::kIpv6) ClearBitsAfter(out.ip_, bits_v6);
  return out;
}

uint64_t Address::HashIp(uint64_t seed) const {
  uint64_t high = 0;
  uint64_t low = 0;
  std::memcpy(&high, ip_.data(), 8);
  std::memcpy(&low, ip_.data() + 8, 8);
  // Two rounds of a 64x64→128 multiply, as in wyhash; the seed enters both.
  uint64_t first = Mix(high ^ seed ^ 0x9e3779b97f4a7c15U, low ^ 0xe7037ed1a0b428dbU);
  return Mix(first ^ seed, 0x8ebc6af09c88c6e3U ^ static_cast<uint64_t>(family_));
}

SocketName Address::ToSocketName() const {
  SocketName out;
  if (family_ == AddressFamily::kIpv4) {
    out.name_.v4_ = {};
    out.name_.v4_.sin_family = AF_INET;
    out.name_.v4_.sin_port = htons(port_);
    std::memcpy(&out.name_.v4_.sin_addr, ip_.data(), 4);
    out.size_ = sizeof(sockaddr_in);
  } else if (family_ == AddressFamily::kIpv6) {
    out.name_.v6_ = {};
    out.name_.v6_.sin6_family = AF_INET6;
    out.name_.v6_.sin6_port = htons(port_);
    std::memcpy(&out.name_.v6_.sin6_addr, ip_.data(), 16);
    out.name_.v6_.sin6_scope_id = zone();
    out.size_ = sizeof(sockaddr_in6);
  }
  return out;
}

std::string_view Address::FormatIp(std::span<char, kTextMax> out) const {
  int family = family_ == AddressFamily::kIpv4 ? AF_INET : AF_INET6;
  if (family_ == AddressFamily::kNone ||
      inet_ntop(family, ip_.data(), out.data(), static_cast<socklen_t>(out.size())) == nullptr) {
    return "-";
  }
  if (zone_ != 0) AppendZone(zone(), out);
  return out.data();
}

std::string_view Address::Format(std::span<char, kTextMax> out) const {
  if (family_ == AddressFamily::kNone) return "-";
  std::array<char, kTextMax> text{};
  std::string_view ip = FormatIp(text);
  char* at = out.data();
  bool brackets = family_ == AddressFamily::kIpv6;
  if (brackets) *at++ = '[';
  at = std::ranges::copy(ip, at).out;
  if (brackets) *at++ = ']';
  *at++ = ':';
  at = std::to_chars(at, out.data() + out.size(), port_).ptr;
  return {out.data(), static_cast<size_t>(at - out.data())};
}

std::string Address::IpToString() const {
  std::array<char, kTextMax> text{};
  return std::string(FormatIp(text));
}

std::string Address::ToString() const {
  std::array<char, kTextMax> text{};
  return std::string(Format(text));
}

SocketName SocketName::Unix(std::string_view path) {
  CHECK(!path.empty() && path.size() <= kUnixPathMax);
  SocketName out;
  out.name_.unix_ = {};
  out.name_.unix_.sun_family = AF_UNIX;
  std::ranges::copy(path, std::begin(out.name_.unix_.sun_path));
  size_t size = offsetof(sockaddr_un, sun_path) + path.size();
  if (path.front() == '@') {
    out.name_.unix_.sun_path[0] = '\0';  // abstract: the size ends the name
  } else {
    ++size;  // a path ends with its NUL
  }
  out.size_ = static_cast<socklen_t>(size);
  return out;
}

const sockaddr* SocketName::get() const { return &name_.any_; }

int SocketName::family() const { return size_ == 0 ? AF_UNSPEC : name_.any_.sa_family; }

std::expected<Endpoint, AddressError> Endpoint::Parse(std::string_view text) {
  constexpr std::string_view kUnixPrefix = "unix:";
  if (text.starts_with(kUnixPrefix)) {
    std::string_view path = text.substr(kUnixPrefix.size());
    if (path.size() < 2 || (path.front() != '/' && path.front() != '@')) {
      return Wrong("is " + Quoted(text) + ", which has no absolute path",
                   "write \"unix:/run/NAME.sock\", or \"unix:@NAME\" for an abstract socket");
    }
    if (path.size() > kUnixPathMax) {
      return Wrong("has a path of " + std::to_string(path.size()) +
                       " bytes, which is above the largest allowed, " +
                       std::to_string(kUnixPathMax),
                   "choose a shorter path");
    }
    if (path.find('\0') != std::string_view::npos) return Wrong("holds a NUL character", "");
    return Endpoint{.kind = Kind::kUnix, .address = {}, .name = std::string(path), .port = 0};
  }
  auto split = SplitHostPort(text);
  if (!split) return std::unexpected(std::move(split.error()));
  auto port = ParsePort(split->port);
  if (!port) {
    return Wrong("has the port " + Quoted(split->port) + ", which is not a number up to 65535",
                 kEndpointRemedy);
  }
  if (auto ip = Address::FromIp(split->host, *port)) {
    bool v6 = ip->family() == AddressFamily::kIpv6;
    if (v6 == split->bracketed) {
      return Endpoint{.kind = Kind::kIp, .address = *ip, .name = "", .port = *port};
    }
    return Wrong("is " + Quoted(text) + ", with an IPv4 address in brackets", kEndpointRemedy);
  }
  const size_t percent = split->host.find('%');
  if (split->bracketed && percent != std::string_view::npos &&
      Address::FromIp(split->host.substr(0, percent), 0)) {
    return Wrong("is " + Quoted(text) + ", whose zone is no interface of this machine",
                 "write a link-local address with its interface, as in \"[fe80::1%eth0]:5222\"");
  }
  if (split->bracketed) {
    return Wrong("is " + Quoted(text) + ", which holds no IPv6 address", kEndpointRemedy);
  }
  if (LooksLikeIpv4(split->host)) {
    return Wrong("is " + Quoted(text) + ", which holds no IPv4 address", kEndpointRemedy);
  }
  if (!IsHostName(split->host)) {
    return Wrong("is " + Quoted(text) + ", which holds neither an address nor a host name",
                 kEndpointRemedy);
  }
  return Endpoint{
      .kind = Kind::kHost, .address = {}, .name = std::string(split->host), .port = *port};
}

std::string Endpoint::ToString() const {
  switch (kind) {
    case Kind::kIp:
      return address.ToString();
    case Kind::kHost:
      return name + ":" + std::to_string(port);
    case Kind::kUnix:
      return "unix:" + name;
  }
  return "?";
}

SocketName Endpoint::ToSocketName() const {
  CHECK(kind != Kind::kHost);
  return kind == Kind::kUnix ? SocketName::Unix(name) : address.ToSocketName();
}

bool IsHostName(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > 253 || LooksLikeIpv4(text)) return false;
  size_t label = 0;  // its length so far
  char before = '.';
  for (char c : text) {
    bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c == '.') {
      if (label == 0 || before == '-') return false;
      label = 0;
    } else {
      if (!word && c != '-' && c != '_') return false;
      if (c == '-' && label == 0) return false;
      if (++label > 63) return false;
    }
    before = c;
  }
  return label > 0 && before != '-';
}

std::expected<Cidr, AddressError> Cidr::Parse(std::string_view text) {
  constexpr std::string_view kRemedy =
      "write ADDRESS/BITS, as in \"192.0.2.0/24\" or \"2001:db8::/32\"";
  size_t slash = text.find('/');
  auto ip = Address::FromIp(text.substr(0, slash), 0);
  if (!ip) return Wrong("is " + Quoted(text) + ", which holds no IP address", kRemedy);
  unsigned bits_max = static_cast<unsigned>(ip->ip().size()) * 8;
  unsigned bits = bits_max;
  if (slash != std::string_view::npos) {
    std::string_view number = text.substr(slash + 1);
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), bits);
    bool whole = error == std::errc() && end == number.data() + number.size();
    if (!whole || number.empty() || bits > bits_max) {
      return Wrong("has the prefix length " + Quoted(number) + ", which is not a number up to " +
                       std::to_string(bits_max),
                   kRemedy);
    }
  }
  Cidr out;
  out.network_ = ip->Network(bits, bits);
  out.bits_ = static_cast<uint8_t>(bits);
  if (out.network_ != *ip) {
    return Wrong("is " + Quoted(text) + ", which has bits set behind its prefix",
                 "write \"" + out.ToString() + "\" for the network, or the address alone");
  }
  return out;
}

bool Cidr::Contains(const Address& address) const {
  if (!network_) return false;
  Address plain = network_.Unmapped() == network_ ? address.Unmapped() : address;
  if (plain.family() != network_.family()) return false;
  const Address cut = plain.Network(bits_, bits_);
  return cut == network_ || cut.WithoutZone() == network_;  // without a zone: of any
}

std::string Cidr::ToString() const {
  return network_ ? network_.IpToString() + "/" + std::to_string(bits_) : "none";
}

}  // namespace net
