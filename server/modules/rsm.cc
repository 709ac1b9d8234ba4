#include "server/modules/rsm.h"

#include <charconv>
#include <limits>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

bool ReadNumber(const XmlElement& element, std::optional<uint32_t>& to) {
  const std::string text = element.Text();
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (to || text.empty() || error != std::errc() || end != text.data() + text.size() ||
      value > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    return false;
  }
  to = value;
  return true;
}

bool ReadId(const XmlElement& element, std::optional<std::string>& to) {
  std::string text = element.Text();
  if (to || text.size() > kRsmIdBytesMax) return false;
  to = std::move(text);
  return true;
}

void AppendNumber(std::string& out, std::string_view name, const std::optional<uint64_t>& number) {
  if (number) AppendXmlAttribute(out, name, std::to_string(*number));
}

}  // namespace

std::optional<RsmRequest> ReadRsm(const XmlElement& set) {
  RsmRequest request;
  if (!set) return request;
  for (XmlElement child = set.FirstChild(); child; child = child.Next()) {
    if (child.space() != kRsmSpace) continue;
    const std::string_view name = child.name();
    bool good = true;
    if (name == "max") {
      good = ReadNumber(child, request.max);
    } else if (name == "index") {
      good = ReadNumber(child, request.index);
    } else if (name == "before") {
      good = ReadId(child, request.before);
    } else if (name == "after") {
      good = ReadId(child, request.after);
    }
    if (!good) return std::nullopt;
  }
  return request;
}

void AppendRsm(std::string& out, const RsmResult& result) {
  out += "<set";
  AppendXmlAttribute(out, "xmlns", kRsmSpace);
  out += '>';
  if (!result.first.empty()) {
    out += "<first";
    AppendNumber(out, "index", result.index);
    out += '>';
    AppendXmlContent(out, result.first);
    out += "</first><last>";
    AppendXmlContent(out, result.last);
    out += "</last>";
  }
  if (result.count) ((out += "<count>") += std::to_string(*result.count)) += "</count>";
  out += "</set>";
}

}  // namespace server
