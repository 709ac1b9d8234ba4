// A domain name in wire form, lower-case: labels with their length bytes and the root's zero.
//
// Names are built when zones are read, compiled or signed. The query path never makes one: it works
// on the bytes of the packet (wire.h). A Name is a value; it holds at most 255 bytes (RFC 1035
// §3.1).
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dns {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;

constexpr size_t kNameBytesMax = 255;
constexpr size_t kLabelBytesMax = 63;

class Name {
 public:
  Name() : wire_(1, '\0') {}  // the root

  // Presentation form (RFC 1035 §5.1: \. and \DDD escapes). Without a final dot it is relative to
  // `origin`; "@" is the origin. The error says what is wrong in words for an operator.
  static std::expected<Name, std::string> FromText(std::string_view text, const Name& origin = {});
  // An uncompressed name that fills `wire` exactly; nothing when it does not.
  static std::optional<Name> FromWire(ByteView wire);

  ByteView wire() const { return {reinterpret_cast<const uint8_t*>(wire_.data()), wire_.size()}; }
  size_t size() const { return wire_.size(); }
  bool is_root() const { return wire_.size() == 1; }
  bool is_wildcard() const { return wire_.size() > 2 && wire_[0] == 1 && wire_[1] == '*'; }
  // Labels without the root's.
  size_t label_count() const;

  // The name without its first label. The root has no parent: asking for it is a bug.
  Name Parent() const;
  // `label` in front of this name; nothing when that would be longer than a name may be.
  std::optional<Name> Child(std::string_view label) const;
  // True for the ancestor itself and for everything below it.
  bool IsWithin(const Name& ancestor) const;

  // With the final dot, special bytes escaped: safe to print, and to read again.
  std::string ToString() const;

  friend bool operator==(const Name& a, const Name& b) { return a.wire_ == b.wire_; }
  // DNSSEC's canonical order (RFC 4034 §6.1): labels compared from the right.
  friend std::strong_ordering operator<=>(const Name& a, const Name& b);

 private:
  explicit Name(std::string wire) : wire_(std::move(wire)) {}

  std::string wire_;
};

// Prints a wire-form name from bytes that are known to be well-formed. See Name::ToString.
std::string NameToText(ByteView wire);

}  // namespace dns
