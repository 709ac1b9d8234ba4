// A roster's items as clients write and read them (RFC 6121 section 2.1).
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "server/im/iq.h"
#include "server/store/store.h"
#include "server/xmpp/jid.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kRosterSpace = "jabber:iq:roster";

struct RosterOrder {  // of a client: a roster set
  Jid jid;            // bare
  std::string name;
  std::vector<std::string> groups;
  bool remove = false;
};

// Section 2.3.3 says which error answers what.
std::expected<RosterOrder, StanzaError> ReadRosterOrder(const XmlElement& query);

void AppendRosterItem(std::string& out, const RosterItem& item);
// <query xmlns='jabber:iq:roster' ver='…'>items</query>
std::string RosterXml(uint64_t version, std::string_view items);

}  // namespace server
