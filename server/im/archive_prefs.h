// What an account wants kept in its archive (XEP-0441): with whom always, with whom never, and what
// holds for all others.
//
// A value. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/xmpp/jid.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kArchiveSpace = "urn:xmpp:mam:2";
inline constexpr size_t kArchivePrefsJidsMax = 256;  // of both lists

enum class ArchiveDefault : uint8_t { kAlways, kNever, kRoster };
std::string_view ToString(ArchiveDefault value);
std::optional<ArchiveDefault> ParseArchiveDefault(std::string_view text);

struct ArchivePrefs {
  ArchiveDefault by_default = ArchiveDefault::kAlways;
  std::vector<std::string> always;  // prepared, sorted
  std::vector<std::string> never;

  friend bool operator==(const ArchivePrefs&, const ArchivePrefs&) = default;
};

// Of <prefs/>. Nothing where `default` is none of the three, an address is none, or there are more
// than kArchivePrefsJidsMax.
std::optional<ArchivePrefs> ReadArchivePrefs(const XmlElement& prefs);
// As the store keeps them; "" reads as `otherwise`.
std::optional<ArchivePrefs> ParseArchivePrefs(std::string_view xml, ArchiveDefault otherwise);
std::string ArchivePrefsXml(const ArchivePrefs& prefs);

// Whether a message with `peer` (as it stands in the stanza's from or to) is to be kept. A full
// address counts before a bare one; one that stands in both lists is not kept.
bool WantsArchive(const ArchivePrefs& prefs, const Jid& peer, bool in_roster);

}  // namespace server
