#include "server/im/stamps.h"

#include "server/xmpp/date_time.h"
#include "server/xmpp/xml_text.h"

namespace server {

std::string DelayXml(std::string_view from, int64_t unix_us) {
  std::string xml = "<delay xmlns='urn:xmpp:delay'";
  AppendXmlAttribute(xml, "from", from);
  AppendXmlAttribute(xml, "stamp", DateTimeText(unix_us));
  return xml += "/>";
}

std::string StanzaIdXml(std::string_view by, uint64_t id) {
  std::string xml = "<stanza-id xmlns='urn:xmpp:sid:0'";
  AppendXmlAttribute(xml, "by", by);
  AppendXmlAttribute(xml, "id", std::to_string(id));
  return xml += "/>";
}

}  // namespace server
