#include "net/base/text.h"

#include <array>
#include <cstdint>
#include <cstdio>

namespace net {
namespace {

constexpr uint32_t kInvalid = 0xffffffff;

struct CodePoint {
  uint32_t value = kInvalid;
  size_t size = 1;  // bytes taken; 1 for a byte that is no UTF-8
};

// The first code point of a text that is not empty. Refuses overlong forms, surrogates and values
// above U+10FFFF, as RFC 3629 does.
CodePoint Decode(std::string_view text) {
  auto byte = [&text](size_t i) { return static_cast<unsigned char>(text[i]); };
  uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return {};
  uint32_t value = first & (0xffU >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3fU);
  }
  constexpr std::array<uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
  return {value, size};
}

bool IsControl(uint32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); }

// Marks that reorder what follows, and line separators: what is shown is not what is there.
bool IsDeceptive(uint32_t c) {
  return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e ||
         c == 0x200f || c == 0x2028 || c == 0x2029;
}

template <typename... Args>
void AppendFormatted(std::string& out, const char* format, Args... args) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), format, args...);
  out += text.data();
}

void AppendEscape(std::string& out, uint32_t c) {
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  AppendFormatted(out, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
}

}  // namespace

void AppendPrintable(std::string& out, std::string_view text, size_t bytes_max) {
  size_t at = 0;
  while (at < text.size()) {
    if (at >= bytes_max) {
      out += "...";
      return;
    }
    CodePoint c = Decode(text.substr(at));
    if (c.value == kInvalid) {
      AppendEscape(out, static_cast<unsigned char>(text[at]));
    } else if (IsControl(c.value) || IsDeceptive(c.value)) {
      AppendEscape(out, c.value);
    } else {
      if (c.value == '\\' || c.value == '"') out += '\\';
      out += text.substr(at, c.size);
    }
    at += c.size;
  }
}

std::string Printable(std::string_view text, size_t bytes_max) {
  std::string out;
  AppendPrintable(out, text, bytes_max);
  return out;
}

std::string Quoted(std::string_view text, size_t bytes_max) {
  return "'" + Printable(text, bytes_max) + "'";
}

void AppendMarkup(std::string& out, std::string_view text) {
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&apos;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
}

std::string EscapeMarkup(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  AppendMarkup(out, text);
  return out;
}

void AppendJsonString(std::string& out, std::string_view text, size_t bytes_max) {
  out += '"';
  size_t at = 0;
  while (at < text.size()) {
    if (at >= bytes_max) {
      out += "...";
      break;
    }
    CodePoint c = Decode(text.substr(at));
    if (c.value == kInvalid) {
      out += "\\ufffd";
    } else if (c.value == '\\' || c.value == '"') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (IsControl(c.value) || IsDeceptive(c.value)) {
      AppendFormatted(out, "\\u%04x", c.value);
    } else {
      out += text.substr(at, c.size);
    }
    at += c.size;
  }
  out += '"';
}

}  // namespace net
