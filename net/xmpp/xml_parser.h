// Expat as a stream needs it: namespaces, UTF-8, and every token as soon as it is complete.
//
// Expat 2.6, and Debian's 2.5.0 since its +deb12u2, holds the last token of what it was fed back
// until more bytes come (reparse deferral), and a stream that waits for an answer would hang. It is
// turned off here, wherever the library that the process runs with has it: neither the header at
// build time nor the version can tell. The deferral is a defence against quadratic work, so whoever
// feeds a parser bounds the bytes (CVE-2023-52425).
//
// One thread at a time.
#pragma once

#include <expat.h>

#include <memory>
#include <string_view>

namespace net {

struct FreeXmlParser {
  void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
};
using XmlParser = std::unique_ptr<XML_ParserStruct, FreeXmlParser>;

// Never null: like operator new, no memory is no program.
XmlParser MakeXmlParser();

struct XmlName {
  std::string_view space;  // the namespace's name, or empty
  std::string_view local;
};

// `name` as such a parser gives it to its handlers; the views are into it.
XmlName SplitXmlName(const char* name);

}  // namespace net
