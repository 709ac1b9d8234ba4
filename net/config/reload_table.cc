#include "net/config/reload_table.h"

namespace net {
namespace {

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// The name before `=`, without quotes; "" where the line is no key.
std::string_view KeyOf(std::string_view line) {
  if (line.empty() || line[0] == '#' || line[0] == '[') return "";
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) return "";
  std::string_view key = Trimmed(line.substr(0, equals));
  if (key.size() > 1 && (key[0] == '"' || key[0] == '\'')) key = key.substr(1, key.size() - 2);
  return key;
}

}  // namespace

int LineOfKey(std::string_view text, std::string_view path) {
  const size_t dot = path.rfind('.');
  const std::string_view section = dot == std::string_view::npos ? "" : path.substr(0, dot);
  const std::string_view key = dot == std::string_view::npos ? path : path.substr(dot + 1);
  bool inside = section.empty();
  int found = 0;
  int number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.starts_with('[')) {
      const size_t close = line.find(']');
      inside = Trimmed(line.substr(1, close == std::string_view::npos ? 0 : close - 1)) == section;
      if (inside) found = number;
    } else if (inside && KeyOf(line) == key) {
      return number;
    }
  }
  return found;
}

}  // namespace net
