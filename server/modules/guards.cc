#include "server/modules/guards.h"

#include <utility>

#include "server/xmpp/xml_text.h"

namespace server {

IqHandler GetOnly(IqHandler handler) {
  return [handler = std::move(handler)](IqCall call) {
    if (call.is_set()) return call.Error(StanzaError::kNotAllowed);
    handler(std::move(call));
  };
}

IqHandler OwnerOnly(IqHandler handler) {
  return [handler = std::move(handler)](IqCall call) {
    if (!call.own()) return call.Error(StanzaError::kServiceUnavailable);
    handler(std::move(call));
  };
}

IqHandler SeenOnly(IqHandler handler, StanzaError refusal) {
  return [handler = std::move(handler), refusal](IqCall call) {
    if (!call.own()) {
      const Jid asker = call.request().from.Bare();
      if (call.account().Blocks(asker)) return call.Error(StanzaError::kServiceUnavailable);
      if (!call.account().SeenBy(asker)) return call.Error(refusal);
    }
    handler(std::move(call));
  };
}

bool AsksForItself(const IqCall& call) {
  if (!call.session()) return false;  // strangers have a view, too, of an account that is not ours
  return call.target() == IqTarget::kAccount ||
         call.account().user().full() == call.request().from.bare();
}

void AppendXmlElement(std::string& out, std::string_view name, std::string_view text) {
  ((out += '<') += name) += '>';
  AppendXmlContent(out, text);
  ((out += "</") += name) += '>';
}

}  // namespace server
