// Stanza forwarding (XEP-0297): a stanza that was kept, with the time of then (XEP-0203).
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace server {

// <forwarded/> of a stanza written for the default namespace jabber:client, as stores keep them.
void AppendForwarded(std::string& out, std::string_view stanza_xml, int64_t unix_us);
// The stanza alone, where jabber:client is not the default.
void AppendClientStanza(std::string& out, std::string_view stanza_xml);

}  // namespace server
