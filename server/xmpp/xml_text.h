// Text as XML: escapes for content and for attributes in single quotes, so that what a parser reads
// back is what was written, white space included.
//
// Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace server {

void AppendXmlContent(std::string& out, std::string_view text);
// ` name='value'`.
void AppendXmlAttribute(std::string& out, std::string_view name, std::string_view value);

}  // namespace server
