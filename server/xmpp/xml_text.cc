#include "server/xmpp/xml_text.h"

namespace server {
namespace {

// What a parser would read as something else, or (XML 1.0 sections 2.11 and 3.3.3) as another white
// space.
std::string_view Escape(char c, bool attribute) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";  // for "]]>"
    case '\r':
      return "&#13;";
    case '\'':
      return attribute ? "&apos;" : "";
    case '\n':
      return attribute ? "&#10;" : "";
    case '\t':
      return attribute ? "&#9;" : "";
    default:
      return "";
  }
}

void Append(std::string& out, std::string_view text, bool attribute) {
  size_t plain = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view escape = Escape(text[i], attribute);
    if (escape.empty()) continue;
    out.append(text, plain, i - plain);
    out += escape;
    plain = i + 1;
  }
  out.append(text, plain);
}

}  // namespace

void AppendXmlContent(std::string& out, std::string_view text) { Append(out, text, false); }

void AppendXmlAttribute(std::string& out, std::string_view name, std::string_view value) {
  out += ' ';
  out += name;
  out += "='";
  Append(out, value, true);
  out += '\'';
}

}  // namespace server
