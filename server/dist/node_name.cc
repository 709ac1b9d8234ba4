#include "server/dist/node_name.h"

#include <algorithm>

namespace server {
namespace {

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool IsAliveName(std::string_view text) {
  return !text.empty() && text.size() < kNodeNameBytesMax &&
         std::ranges::all_of(
             text, [](char c) { return IsAlnum(c) || c == '_' || c == '-' || c == '.'; });
}

bool IsNodeHost(std::string_view text) {
  return !text.empty() && text.size() < kNodeNameBytesMax &&
         std::ranges::all_of(
             text,
             [](char c) { return IsAlnum(c) || c == '_' || c == '-' || c == '.' || c == ':'; });
}

bool IsNodeName(std::string_view text) {
  const NodeName name = SplitNodeName(text);
  return text.size() <= kNodeNameBytesMax && IsAliveName(name.alive) && IsNodeHost(name.host);
}

NodeName SplitNodeName(std::string_view node) {
  const size_t at = node.find('@');
  if (at == std::string_view::npos) return {};
  return {node.substr(0, at), node.substr(at + 1)};
}

bool IsNodePattern(std::string_view text) {
  const NodeName name = SplitNodeName(text);
  return text.size() <= kNodeNameBytesMax && (name.alive == "*" || IsAliveName(name.alive)) &&
         (name.host == "*" || IsNodeHost(name.host));
}

bool MatchesNode(std::string_view pattern, std::string_view node) {
  const NodeName wanted = SplitNodeName(pattern);
  const NodeName name = SplitNodeName(node);
  return (wanted.alive == "*" || wanted.alive == name.alive) &&
         (wanted.host == "*" || wanted.host == name.host);
}

std::string QuotedNodeName(std::string_view node) {
  const bool bare =
      !node.empty() && node[0] >= 'a' && node[0] <= 'z' &&
      std::ranges::all_of(node, [](char c) { return IsAlnum(c) || c == '_' || c == '@'; });
  if (bare) return std::string(node);
  std::string out = "'";
  // Of orders, which may name anything.
  for (char c : node) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + '\'';
}

}  // namespace server
