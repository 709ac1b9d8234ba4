#include "bench/load/xmpp/xml_view.h"

namespace bench {
namespace {

constexpr std::size_t kNpos = std::string_view::npos;
constexpr std::string_view kSpace = " \t\r\n";

// Where a tag <name …> begins at or behind `from`.
std::size_t FindTag(std::string_view element, std::string_view name, std::size_t from) {
  for (std::size_t at = element.find('<', from); at != kNpos; at = element.find('<', at + 1)) {
    const std::string_view rest = element.substr(at + 1);
    if (!rest.starts_with(name) || rest.size() == name.size()) continue;
    if (std::string_view(" \t\r\n/>").find(rest[name.size()]) != kNpos) return at;
  }
  return kNpos;
}

// The text that follows the tag at `at`.
std::string_view TextBehindTag(std::string_view element, std::size_t at) {
  const std::size_t end = element.find('>', at);
  if (end == kNpos || element[end - 1] == '/') return {};
  const std::size_t stop = element.find('<', end);
  return element.substr(end + 1, stop == kNpos ? kNpos : stop - end - 1);
}

}  // namespace

std::string_view LocalName(std::string_view element) {
  if (!element.starts_with('<')) return {};
  element.remove_prefix(1);
  element = element.substr(0, element.find_first_of(" \t\r\n/>"));
  const std::size_t colon = element.find(':');
  return colon == kNpos ? element : element.substr(colon + 1);
}

std::string_view Attribute(std::string_view element, std::string_view name) {
  std::size_t pos = element.find_first_of(" \t\r\n/>");
  while (pos != kNpos) {
    pos = element.find_first_not_of(kSpace, pos);
    if (pos == kNpos || element[pos] == '>' || element[pos] == '/') return {};
    const std::size_t equals = element.find('=', pos);
    if (equals == kNpos) return {};
    const std::size_t open = element.find_first_of("'\"", equals);
    if (open == kNpos) return {};
    const std::size_t close = element.find(element[open], open + 1);
    if (close == kNpos) return {};
    std::string_view key = element.substr(pos, equals - pos);
    key = key.substr(0, key.find_first_of(kSpace));
    if (key == name) return element.substr(open + 1, close - open - 1);
    pos = close + 1;
  }
  return {};
}

std::string_view ChildText(std::string_view element, std::string_view child) {
  const std::size_t at = FindTag(element, child, 1);
  return at == kNpos ? std::string_view() : TextBehindTag(element, at);
}

std::string_view OwnText(std::string_view element) { return TextBehindTag(element, 0); }

std::string ErrorReason(std::string_view element) {
  const std::size_t error = FindTag(element, "error", 1);
  const std::size_t at = error == kNpos ? kNpos : element.find('<', error + 1);
  if (at == kNpos) return "no reason";
  std::string reason(LocalName(element.substr(at)));
  const std::string_view text = ChildText(element.substr(error), "text");
  if (!text.empty()) reason.append(": ").append(text);
  return reason;
}

bool Contains(std::string_view element, std::string_view text) {
  return element.find(text) != kNpos;
}

bool HasChildWithText(std::string_view element, std::string_view child, std::string_view value) {
  for (std::size_t at = FindTag(element, child, 1); at != kNpos;
       at = FindTag(element, child, at + 1)) {
    if (TextBehindTag(element, at) == value) return true;
  }
  return false;
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
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
  return out;
}

}  // namespace bench
