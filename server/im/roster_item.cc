#include "server/im/roster_item.h"

#include <algorithm>
#include <utility>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr size_t kNameBytesMax = 1'023;
constexpr size_t kGroupsMax = 50;

std::string_view ToString(Subscription subscription) {
  switch (subscription) {
    case Subscription::kNone:
      return "none";
    case Subscription::kTo:
      return "to";
    case Subscription::kFrom:
      return "from";
    case Subscription::kBoth:
      return "both";
    case Subscription::kRemove:
      return "remove";
  }
  return "";
}

std::expected<std::vector<std::string>, StanzaError> ReadGroups(const XmlElement& item) {
  std::vector<std::string> groups;
  for (XmlElement child = item.FirstChild(); child; child = child.Next()) {
    if (!child.Is("group", kRosterSpace)) continue;
    std::string group = child.Text();
    if (group.empty() || group.size() > kNameBytesMax || groups.size() >= kGroupsMax) {
      return std::unexpected(StanzaError::kNotAcceptable);
    }
    if (std::ranges::find(groups, group) != groups.end()) {
      return std::unexpected(StanzaError::kBadRequest);
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace

std::expected<RosterOrder, StanzaError> ReadRosterOrder(const XmlElement& query) {
  const XmlElement item = query.FirstChild();
  if (!item.Is("item", kRosterSpace) || item.Next()) {
    return std::unexpected(StanzaError::kBadRequest);
  }
  const auto jid = Jid::Parse(item.Attribute("jid"));
  if (!jid) return std::unexpected(StanzaError::kBadRequest);
  RosterOrder order{.jid = jid->Bare(),
                    .name = std::string(item.Attribute("name")),
                    .groups = {},
                    .remove = item.Attribute("subscription") == "remove"};
  if (order.remove) return order;
  if (order.name.size() > kNameBytesMax) return std::unexpected(StanzaError::kNotAcceptable);
  auto groups = ReadGroups(item);
  if (!groups) return std::unexpected(groups.error());
  order.groups = std::move(*groups);
  return order;
}

void AppendRosterItem(std::string& out, const RosterItem& item) {
  out += "<item";
  AppendXmlAttribute(out, "jid", item.jid);
  if (!item.name.empty()) AppendXmlAttribute(out, "name", item.name);
  AppendXmlAttribute(out, "subscription", ToString(item.subscription));
  if (item.ask) out += " ask='subscribe'";
  if (item.approved) out += " approved='true'";
  if (item.groups.empty()) {
    out += "/>";
    return;
  }
  out += '>';
  for (const std::string& group : item.groups) {
    out += "<group>";
    AppendXmlContent(out, group);
    out += "</group>";
  }
  out += "</item>";
}

std::string RosterXml(uint64_t version, std::string_view items) {
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", kRosterSpace);
  AppendXmlAttribute(xml, "ver", std::to_string(version));
  ((xml += '>') += items) += "</query>";
  return xml;
}

}  // namespace server
