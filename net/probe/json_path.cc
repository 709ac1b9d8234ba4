#include "net/probe/json_path.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace net {
namespace {

using nlohmann::json;

const json* Child(const json& parent, std::string_view segment) {
  if (parent.is_object()) {
    auto found = parent.find(segment);
    return found == parent.end() ? nullptr : &*found;
  }
  if (!parent.is_array()) return nullptr;
  size_t index = 0;
  const char* last = segment.data() + segment.size();
  auto [end, error] = std::from_chars(segment.data(), last, index);
  if (error != std::errc() || end != last || index >= parent.size()) return nullptr;
  return &parent[index];
}

}  // namespace

bool JsonNestingBounded(std::string_view body) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kJsonNestingMax) return false;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return true;
}

std::expected<std::string, std::string> JsonValueAt(std::string_view body, std::string_view path) {
  if (body.size() > kJsonPathBodyMax) return std::unexpected("the answer is too large");
  if (!JsonNestingBounded(body)) return std::unexpected("the answer nests too deeply");
  json document = json::parse(body.begin(), body.end(), nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return std::unexpected("the answer is not JSON");
  const json* at = &document;
  std::string_view left = path;
  while (!left.empty()) {
    size_t dot = left.find('.');
    std::string_view segment = left.substr(0, dot);
    const json* child = Child(*at, segment);
    if (child == nullptr) {
      auto done = static_cast<size_t>(left.data() - path.data());
      std::string parent =
          done == 0 ? "the answer" : "'" + std::string(path.substr(0, done - 1)) + "'";
      return std::unexpected("no '" + std::string(segment) + "' in " + parent);
    }
    at = child;
    left = dot == std::string_view::npos ? std::string_view() : left.substr(dot + 1);
  }
  if (at->is_string()) return at->get_ref<const std::string&>();
  if (at->is_structured()) return std::unexpected("'" + std::string(path) + "' is no plain value");
  return at->dump();
}

}  // namespace net
