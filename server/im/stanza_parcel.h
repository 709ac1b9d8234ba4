// A client's stanza as the parcel that goes on: its sender's true address, its addressee's
// prepared, its type told, its content written once, and what of it decides where it goes
// (MessageTraits).
//
// What a client may not say is left out of the content: the wrappers of carbons (XEP-0280 section
// 11), a <stanza-id/> or <delay/> in the name of this server or of one of its accounts (XEP-0359
// section 4, XEP-0203 section 4).
//
// Pure; thread-safe.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "server/im/iq.h"
#include "server/im/parcel.h"
#include "server/xmpp/stanza.h"

namespace server {

struct SentStanza {
  Parcel parcel;
  bool addressed = false;  // else `to` is the sender's own bare address
  int priority = 0;        // of presence (RFC 6121 section 4.7.2.3)
  std::string status;      // of presence: the first <status/>
  // What is wrong with it; the parcel then serves for the answer alone.
  std::optional<StanzaError> error;
};

// `from`: full, of the session. `domains`: of this server.
SentStanza ReadSentStanza(const Stanza& stanza, const Jid& from, SenderMark mark,
                          std::span<const std::string> domains);

}  // namespace server
