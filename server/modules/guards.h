// What handlers have in common: who may ask, and how. Each wraps a handler and refuses by itself
// what that one is not for.
//
// Who may not even know whether an account exists is told what it would be told if it did not
// (RFC 6120 section 13.11): <service-unavailable/>.
#pragma once

#include <string>
#include <string_view>

#include "server/im/iq.h"

namespace server {

// A set is refused: <not-allowed/>.
IqHandler GetOnly(IqHandler handler);
// The account itself alone.
IqHandler OwnerOnly(IqHandler handler);
// Who may see the account's presence.
IqHandler SeenOnly(IqHandler handler, StanzaError refusal = StanzaError::kServiceUnavailable);
// Who asks is a session of ours, and `account()` its own; of the server's handlers, too.
bool AsksForItself(const IqCall& call);

// <name>text</name>
void AppendXmlElement(std::string& out, std::string_view name, std::string_view text);

}  // namespace server
