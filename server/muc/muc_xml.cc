#include "server/muc/muc_xml.h"

#include <algorithm>
#include <array>

#include "server/modules/guards.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

// Our own writer wrote the content, so a namespace stands there as it is spelled.
constexpr std::array kMayHaveToGo = {kMucSpace, kOccupantIdSpace,
                                     std::string_view("urn:xmpp:sid:0"),
                                     std::string_view("urn:xmpp:delay")};

bool IsOfRoom(const XmlElement& child, std::string_view room) {
  if (child.name() == "x") return child.space() == kMucSpace || child.space() == kMucUserSpace;
  if (child.Is("occupant-id", kOccupantIdSpace)) return true;
  std::string_view by;
  if (child.Is("stanza-id", "urn:xmpp:sid:0")) by = child.Attribute("by");
  if (child.Is("delay", "urn:xmpp:delay")) by = child.Attribute("from");
  if (by.empty()) return false;
  const auto jid = Jid::Parse(by);
  return jid && jid->bare() == room;
}

}  // namespace

void AppendItem(std::string& out, const MucItem& item) {
  out += "<item";
  AppendXmlAttribute(out, "affiliation", ToString(item.affiliation));
  AppendXmlAttribute(out, "role", ToString(item.role));
  if (!item.jid.empty()) AppendXmlAttribute(out, "jid", item.jid);
  if (!item.nick.empty()) AppendXmlAttribute(out, "nick", item.nick);
  if (item.actor.empty() && item.reason.empty()) {
    out += "/>";
    return;
  }
  out += '>';
  if (!item.actor.empty()) {
    out += "<actor";
    AppendXmlAttribute(out, "nick", item.actor);
    out += "/>";
  }
  if (!item.reason.empty()) AppendXmlElement(out, "reason", item.reason);
  out += "</item>";
}

void AppendStatus(std::string& out, MucStatus status) {
  out += "<status";
  AppendXmlAttribute(out, "code", std::to_string(static_cast<int>(status)));
  out += "/>";
}

std::string MucUserXml(std::string_view inner) {
  std::string xml = "<x";
  AppendXmlAttribute(xml, "xmlns", kMucUserSpace);
  return ((xml += '>') += inner) += "</x>";
}

std::string OccupantIdXml(std::string_view id) {
  std::string xml = "<occupant-id";
  AppendXmlAttribute(xml, "xmlns", kOccupantIdSpace);
  AppendXmlAttribute(xml, "id", id);
  return xml += "/>";
}

std::optional<Stanza> ReadContent(std::string_view content) {
  std::string wrapped = "<message";
  AppendXmlAttribute(wrapped, "xmlns", kClientSpace);
  ((wrapped += '>') += content) += "</message>";
  return ParseStanza(wrapped, kClientSpace);
}

XmlElement ChildOf(const std::optional<Stanza>& content, std::string_view name,
                   std::string_view space) {
  return content ? content->root().Child(name, space) : XmlElement();
}

std::shared_ptr<const std::string> CleanContent(const std::shared_ptr<const std::string>& content,
                                                std::string_view room) {
  if (content == nullptr || std::ranges::none_of(kMayHaveToGo, [&](std::string_view space) {
        return content->contains(space);
      })) {
    return content;
  }
  const auto read = ReadContent(*content);
  if (!read) return nullptr;
  std::string clean;
  for (XmlElement child = read->root().FirstChild(); child; child = child.Next()) {
    if (!IsOfRoom(child, room)) child.AppendTo(clean, kClientSpace);
  }
  if (clean.empty()) return nullptr;
  return std::make_shared<const std::string>(std::move(clean));
}

}  // namespace server
