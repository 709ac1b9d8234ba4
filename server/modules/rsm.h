// Result set management (XEP-0059): which page of a long answer is wanted, and which it is.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kRsmSpace = "http://jabber.org/protocol/rsm";
inline constexpr size_t kRsmIdBytesMax = 256;

struct RsmRequest {
  std::optional<uint32_t> max;
  std::optional<std::string> before;  // "": the last page
  std::optional<std::string> after;
  std::optional<uint32_t> index;
};

// Of <set/>; where there is none, nothing is asked for. Nothing where a number is none (or
// negative, or above xs:int), an id is too long, or something stands twice.
std::optional<RsmRequest> ReadRsm(const XmlElement& set);

struct RsmResult {
  std::string first;  // "": an empty page
  std::string last;
  std::optional<uint64_t> index;  // of the first
  std::optional<uint64_t> count;
};
void AppendRsm(std::string& out, const RsmResult& result);

}  // namespace server
