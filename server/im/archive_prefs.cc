#include "server/im/archive_prefs.h"

#include <algorithm>
#include <array>
#include <utility>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::array kDefaults = {
    std::pair(ArchiveDefault::kAlways, std::string_view("always")),
    std::pair(ArchiveDefault::kNever, std::string_view("never")),
    std::pair(ArchiveDefault::kRoster, std::string_view("roster")),
};

bool ReadList(const XmlElement& list, size_t room, std::vector<std::string>& to) {
  for (XmlElement child = list ? list.FirstChild() : list; child; child = child.Next()) {
    if (!child.Is("jid", kArchiveSpace)) continue;
    const auto jid = Jid::Parse(child.Text());
    if (!jid || to.size() == room) return false;
    to.push_back(jid->full());
  }
  std::ranges::sort(to);
  const auto [first, last] = std::ranges::unique(to);
  to.erase(first, last);
  return true;
}

void AppendList(std::string& out, std::string_view name, const std::vector<std::string>& jids) {
  (out += '<') += name;
  if (jids.empty()) {
    out += "/>";
    return;
  }
  out += '>';
  for (const std::string& jid : jids) {
    out += "<jid>";
    AppendXmlContent(out, jid);
    out += "</jid>";
  }
  ((out += "</") += name) += '>';
}

bool Has(const std::vector<std::string>& jids, std::string_view jid) {
  return std::ranges::binary_search(jids, jid, {},
                                    [](const std::string& one) { return std::string_view(one); });
}

}  // namespace

std::string_view ToString(ArchiveDefault value) {
  return std::ranges::find(kDefaults, value, [](const auto& one) { return one.first; })->second;
}

std::optional<ArchiveDefault> ParseArchiveDefault(std::string_view text) {
  for (const auto& [value, name] : kDefaults) {
    if (name == text) return value;
  }
  return std::nullopt;
}

std::optional<ArchivePrefs> ReadArchivePrefs(const XmlElement& prefs) {
  if (!prefs.Is("prefs", kArchiveSpace)) return std::nullopt;
  const auto by_default = ParseArchiveDefault(prefs.Attribute("default"));
  if (!by_default) return std::nullopt;
  ArchivePrefs read{.by_default = *by_default, .always = {}, .never = {}};
  if (!ReadList(prefs.Child("always", kArchiveSpace), kArchivePrefsJidsMax, read.always) ||
      !ReadList(prefs.Child("never", kArchiveSpace), kArchivePrefsJidsMax - read.always.size(),
                read.never)) {
    return std::nullopt;
  }
  return read;
}

std::optional<ArchivePrefs> ParseArchivePrefs(std::string_view xml, ArchiveDefault otherwise) {
  if (xml.empty()) return ArchivePrefs{.by_default = otherwise, .always = {}, .never = {}};
  const auto stanza = ParseStanza(xml, kClientSpace);
  return stanza ? ReadArchivePrefs(stanza->root()) : std::nullopt;
}

std::string ArchivePrefsXml(const ArchivePrefs& prefs) {
  std::string xml = "<prefs";
  AppendXmlAttribute(xml, "xmlns", kArchiveSpace);
  AppendXmlAttribute(xml, "default", ToString(prefs.by_default));
  xml += '>';
  AppendList(xml, "always", prefs.always);
  AppendList(xml, "never", prefs.never);
  return xml += "</prefs>";
}

bool WantsArchive(const ArchivePrefs& prefs, const Jid& peer, bool in_roster) {
  for (const std::string_view jid : {std::string_view(peer.full()), peer.bare()}) {
    if (Has(prefs.never, jid)) return false;
    if (Has(prefs.always, jid)) return true;
  }
  switch (prefs.by_default) {
    case ArchiveDefault::kAlways:
      return true;
    case ArchiveDefault::kNever:
      return false;
    case ArchiveDefault::kRoster:
      return in_roster;
  }
  return true;
}

}  // namespace server
