#include "server/im/parcel.h"

#include "server/xmpp/xml_text.h"

namespace server {

std::string_view ToString(StanzaKind kind) {
  switch (kind) {
    case StanzaKind::kMessage:
      return "message";
    case StanzaKind::kPresence:
      return "presence";
    case StanzaKind::kIq:
      return "iq";
  }
  return "";
}

std::string_view ToString(StanzaType type) {
  switch (type) {
    case StanzaType::kAvailable:
    case StanzaType::kNormal:
      return "";
    case StanzaType::kUnavailable:
      return "unavailable";
    case StanzaType::kSubscribe:
      return "subscribe";
    case StanzaType::kSubscribed:
      return "subscribed";
    case StanzaType::kUnsubscribe:
      return "unsubscribe";
    case StanzaType::kUnsubscribed:
      return "unsubscribed";
    case StanzaType::kProbe:
      return "probe";
    case StanzaType::kChat:
      return "chat";
    case StanzaType::kGroupchat:
      return "groupchat";
    case StanzaType::kHeadline:
      return "headline";
    case StanzaType::kGet:
      return "get";
    case StanzaType::kSet:
      return "set";
    case StanzaType::kResult:
      return "result";
    case StanzaType::kError:
      return "error";
  }
  return "";
}

void AppendParcelTo(std::string& out, const Parcel& parcel, std::string_view to,
                    std::string_view extra, std::string_view space) {
  const std::string_view name = ToString(parcel.kind);
  const std::string_view type = ToString(parcel.type);
  const std::string_view content = parcel.content_view();
  out.reserve(out.size() + content.size() + extra.size() + 160);
  (out += '<') += name;
  if (!space.empty()) AppendXmlAttribute(out, "xmlns", space);
  if (!parcel.from.full().empty()) AppendXmlAttribute(out, "from", parcel.from.full());
  if (!to.empty()) AppendXmlAttribute(out, "to", to);
  if (!type.empty()) AppendXmlAttribute(out, "type", type);
  if (!parcel.id.empty()) AppendXmlAttribute(out, "id", parcel.id);
  if (!parcel.lang.empty()) AppendXmlAttribute(out, "xml:lang", parcel.lang);
  if (content.empty() && extra.empty()) {
    out += "/>";
    return;
  }
  (((((out += '>') += content) += extra) += "</") += name) += '>';
}

void AppendParcel(std::string& out, const Parcel& parcel, std::string_view extra,
                  std::string_view space) {
  AppendParcelTo(out, parcel, parcel.to.full(), extra, space);
}

}  // namespace server
