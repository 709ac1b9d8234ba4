// Names of nodes: "mongooseim@localhost". Pure.
#pragma once

#include <string>
#include <string_view>

namespace server {

// An atom's worth, and what one byte of the handshake's old forms counted to.
inline constexpr size_t kNodeNameBytesMax = 255;

struct NodeName {
  std::string_view alive;  // "mongooseim"
  std::string_view host;   // "localhost"
};

// Erlang's rule for the first part: letters, digits, '_' and '-'; dots, which some take into
// theirs, are let through. The second: what host names and addresses are made of.
bool IsAliveName(std::string_view text);
bool IsNodeHost(std::string_view text);
bool IsNodeName(std::string_view text);
// Parts of a name; empty ones where there is no '@'.
NodeName SplitNodeName(std::string_view node);
// A name in which either part, or both, may be "*": "mongooseim@*", "*@10.0.0.7".
bool IsNodePattern(std::string_view text);
bool MatchesNode(std::string_view pattern, std::string_view node);
// As ~p writes it: in quotes where it holds a hyphen or the like.
std::string QuotedNodeName(std::string_view node);

}  // namespace server
