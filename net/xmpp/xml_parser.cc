#include "net/xmpp/xml_parser.h"

#include <dlfcn.h>

#include "net/base/check.h"

namespace net {
namespace {

// Cannot stand in any XML document, so no namespace name can contain it, not even as a reference.
constexpr char kSeparator = '\x0c';

using SetDeferral = XML_Bool (*)(XML_Parser, XML_Bool);

SetDeferral FindSetDeferral() {
  return reinterpret_cast<SetDeferral>(dlsym(RTLD_DEFAULT, "XML_SetReparseDeferralEnabled"));
}

}  // namespace

XmlParser MakeXmlParser() {
  static const SetDeferral set_deferral = FindSetDeferral();
  XmlParser parser(XML_ParserCreateNS("UTF-8", kSeparator));
  CHECK(parser != nullptr);
  if (set_deferral != nullptr) set_deferral(parser.get(), XML_FALSE);
  return parser;
}

XmlName SplitXmlName(const char* name) {
  std::string_view text(name);
  size_t at = text.find(kSeparator);
  if (at == std::string_view::npos) return {.space = {}, .local = text};
  return {.space = text.substr(0, at), .local = text.substr(at + 1)};
}

}  // namespace net
