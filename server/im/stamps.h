// The marks that a server puts on messages: when it had them (XEP-0203), how its archive calls them
// (XEP-0359).
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace server {

std::string DelayXml(std::string_view from, int64_t unix_us);
std::string StanzaIdXml(std::string_view by, uint64_t id);

}  // namespace server
