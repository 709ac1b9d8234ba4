#include "dns/wire/name.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "net/base/ascii.h"
#include "net/base/check.h"

namespace dns {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// One character of a label at `text[i]`, which moves behind it.
std::expected<char, std::string> Unescape(std::string_view text, size_t& i) {
  if (text[i] != '\\') return text[i++];
  if (i + 1 >= text.size()) return std::unexpected("ends in a lone backslash");
  if (!IsDigit(text[i + 1])) {
    i += 2;
    return text[i - 1];
  }
  if (i + 3 >= text.size() || !IsDigit(text[i + 2]) || !IsDigit(text[i + 3])) {
    return std::unexpected("has a backslash that three digits should follow");
  }
  int value = (text[i + 1] - '0') * 100 + (text[i + 2] - '0') * 10 + (text[i + 3] - '0');
  if (value > 255) return std::unexpected("has an escape above \\255");
  i += 4;
  return static_cast<char>(value);
}

// The wire form of a name without escapes; nothing where there is one, or a mistake.
std::optional<std::string> PlainText(std::string_view text, std::string_view origin) {
  if (text.size() > kNameBytesMax) return std::nullopt;
  bool absolute = text.back() == '.';
  if (absolute) {
    text.remove_suffix(1);
    origin = std::string_view("", 1);
  }
  size_t size = 1 + text.size() + origin.size();
  if (text.empty() || size > kNameBytesMax) return std::nullopt;
  std::string wire;
  wire.reserve(size);
  wire.push_back('\0');
  size_t length_at = 0;
  auto end_label = [&] {
    size_t length = wire.size() - length_at - 1;
    wire[length_at] = static_cast<char>(length);
    return length != 0 && length <= kLabelBytesMax;
  };
  for (char c : text) {
    if (c == '\\') return std::nullopt;
    if (c == '.') {
      if (!end_label()) return std::nullopt;
      length_at = wire.size();
      wire.push_back('\0');
    } else {
      wire.push_back(net::AsciiLower(c));
    }
  }
  if (!end_label()) return std::nullopt;
  wire += origin;
  return wire;
}

// Where the labels of a well-formed name begin.
size_t LabelStarts(ByteView wire, std::array<uint8_t, 128>& starts) {
  size_t count = 0;
  for (size_t i = 0; wire[i] != 0; i += wire[i] + 1u) starts[count++] = static_cast<uint8_t>(i);
  return count;
}

}  // namespace

std::expected<Name, std::string> Name::FromText(std::string_view text, const Name& origin) {
  if (text.empty()) return std::unexpected("is empty; write '.' for the root or '@' for the zone");
  if (text == "@") return origin;
  if (text == ".") return Name();
  if (auto plain = PlainText(text, origin.wire_)) return Name(std::move(*plain));
  std::string wire;
  std::string label;
  size_t i = 0;
  auto end_label = [&]() -> bool {
    if (label.empty() || label.size() > kLabelBytesMax) return false;
    wire.push_back(static_cast<char>(label.size()));
    wire += label;
    label.clear();
    return true;
  };
  bool absolute = false;
  while (i < text.size()) {
    if (text[i] == '.') {
      if (!end_label()) return std::unexpected("has a label that is empty or above 63 bytes");
      ++i;
      absolute = i == text.size();
      continue;
    }
    auto c = Unescape(text, i);
    if (!c) return std::unexpected(c.error());
    label.push_back(net::AsciiLower(*c));
  }
  if (!absolute && !end_label()) {
    return std::unexpected("has a label that is empty or above 63 bytes");
  }
  if (absolute) {
    wire.push_back('\0');
  } else {
    wire += origin.wire_;
  }
  if (wire.size() > kNameBytesMax) return std::unexpected("is longer than 255 bytes");
  return Name(std::move(wire));
}

std::optional<Name> Name::FromWire(ByteView wire) {
  if (wire.empty() || wire.size() > kNameBytesMax) return std::nullopt;
  size_t i = 0;
  while (wire[i] != 0) {
    if (wire[i] > kLabelBytesMax || i + wire[i] + 1u >= wire.size()) return std::nullopt;
    i += wire[i] + 1u;
  }
  if (i + 1 != wire.size()) return std::nullopt;
  std::string lower(wire.size(), '\0');
  std::transform(wire.begin(), wire.end(), lower.begin(),
                 [](uint8_t b) { return net::AsciiLower(static_cast<char>(b)); });
  return Name(std::move(lower));
}

size_t Name::label_count() const {
  std::array<uint8_t, 128> starts;
  return LabelStarts(wire(), starts);
}

Name Name::Parent() const {
  CHECK(!is_root());
  return Name(wire_.substr(static_cast<uint8_t>(wire_[0]) + 1u));
}

std::optional<Name> Name::Child(std::string_view label) const {
  if (label.empty() || label.size() > kLabelBytesMax) return std::nullopt;
  if (wire_.size() + label.size() + 1 > kNameBytesMax) return std::nullopt;
  std::string wire(1, static_cast<char>(label.size()));
  for (char c : label) wire.push_back(net::AsciiLower(c));
  return Name(wire + wire_);
}

bool Name::IsWithin(const Name& ancestor) const {
  if (ancestor.size() > size()) return false;
  if (wire_.compare(size() - ancestor.size(), std::string::npos, ancestor.wire_) != 0) return false;
  // The match must begin where a label begins.
  size_t i = 0;
  while (i < size() - ancestor.size()) i += static_cast<uint8_t>(wire_[i]) + 1u;
  return i == size() - ancestor.size();
}

std::string Name::ToString() const { return NameToText(wire()); }

namespace {

// Label by label from the right.
std::strong_ordering CompareLabels(ByteView a, ByteView b) {
  std::array<uint8_t, 128> a_starts;
  std::array<uint8_t, 128> b_starts;
  size_t a_count = LabelStarts(a, a_starts);
  size_t b_count = LabelStarts(b, b_starts);
  for (size_t i = 1; i <= std::min(a_count, b_count); ++i) {
    size_t a_at = a_starts[a_count - i];
    size_t b_at = b_starts[b_count - i];
    ByteView a_label = a.subspan(a_at + 1, a[a_at]);
    ByteView b_label = b.subspan(b_at + 1, b[b_at]);
    auto order = std::lexicographical_compare_three_way(a_label.begin(), a_label.end(),
                                                        b_label.begin(), b_label.end());
    if (order != 0) return order;
  }
  return a_count <=> b_count;
}

// How many bytes at their ends are the same.
size_t CommonEnd(ByteView a, ByteView b) {
  size_t most = std::min(a.size(), b.size());
  size_t same = 0;
  for (; same + 8 <= most; same += 8) {
    uint64_t a_word;
    uint64_t b_word;
    std::memcpy(&a_word, a.data() + a.size() - same - 8, 8);
    std::memcpy(&b_word, b.data() + b.size() - same - 8, 8);
    if (a_word != b_word) {
      static_assert(std::endian::native == std::endian::little);
      return same + static_cast<size_t>(std::countl_zero(a_word ^ b_word)) / 8;
    }
  }
  while (same < most && a[a.size() - same - 1] == b[b.size() - same - 1]) ++same;
  return same;
}

// The last label of `name` that does not lie in its last `same` bytes as a whole.
ByteView LabelBefore(ByteView name, size_t same) {
  size_t at = 0;
  while (name.size() - (at + name[at] + 1u) > same) at += name[at] + 1u;
  return name.subspan(at + 1, name[at]);
}

}  // namespace

// A zone of a million names is put in order by this. Names of a zone end alike, so only the label
// that makes the difference is looked at.
std::strong_ordering operator<=>(const Name& a, const Name& b) {
  ByteView a_wire = a.wire();
  ByteView b_wire = b.wire();
  size_t same = CommonEnd(a_wire, b_wire);
  if (same == a_wire.size() || same == b_wire.size()) {
    if (a_wire.size() == b_wire.size()) return std::strong_ordering::equal;
    return CompareLabels(a_wire, b_wire);
  }
  ByteView a_label = LabelBefore(a_wire, same);
  ByteView b_label = LabelBefore(b_wire, same);
  // Where the labels of one begin elsewhere in what both have, the bytes alike mean nothing.
  if (a_wire.data() + a_wire.size() - (a_label.data() + a_label.size()) !=
      b_wire.data() + b_wire.size() - (b_label.data() + b_label.size())) {
    return CompareLabels(a_wire, b_wire);
  }
  size_t least = std::min(a_label.size(), b_label.size());
  int order = std::memcmp(a_label.data(), b_label.data(), least);
  return order != 0 ? order <=> 0 : a_label.size() <=> b_label.size();
}

std::string NameToText(ByteView wire) {
  if (wire.size() <= 1) return ".";
  std::string text;
  for (size_t i = 0; i < wire.size() && wire[i] != 0; i += wire[i] + 1u) {
    for (size_t j = i + 1; j <= i + wire[i] && j < wire.size(); ++j) {
      char c = static_cast<char>(wire[j]);
      bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c) || c == '-' ||
                   c == '_' || c == '*' || c == '/';
      if (plain) {
        text.push_back(c);
      } else if (c > ' ' && c < 0x7f) {
        text += {'\\', c};
      } else {
        uint8_t b = wire[j];
        text += {'\\', static_cast<char>('0' + b / 100), static_cast<char>('0' + b / 10 % 10),
                 static_cast<char>('0' + b % 10)};
      }
    }
    text.push_back('.');
  }
  return text;
}

}  // namespace dns
