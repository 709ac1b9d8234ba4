#include "server/xmpp/forwarded.h"

#include "server/xmpp/date_time.h"
#include "server/xmpp/stanza.h"
#include "server/xmpp/xml_text.h"

namespace server {

void AppendClientStanza(std::string& out, std::string_view stanza_xml) {
  const size_t name_end = stanza_xml.find_first_of(" />");
  const std::string_view tag = stanza_xml.substr(0, stanza_xml.find('>'));
  if (name_end == std::string_view::npos || tag.find(" xmlns='") != std::string_view::npos) {
    out += stanza_xml;  // "xmlns='" cannot stand in a value: apostrophes are escaped there
    return;
  }
  out += stanza_xml.substr(0, name_end);
  AppendXmlAttribute(out, "xmlns", kClientSpace);
  out += stanza_xml.substr(name_end);
}

void AppendForwarded(std::string& out, std::string_view stanza_xml, int64_t unix_us) {
  out += "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'";
  AppendXmlAttribute(out, "stamp", DateTimeText(unix_us));
  out += "/>";
  AppendClientStanza(out, stanza_xml);
  out += "</forwarded>";
}

}  // namespace server
