#include "server/config/module_config.h"

#include <algorithm>
#include <string_view>

#include "server/xmpp/jid.h"

namespace server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr int64_t kCountMax = 1'000'000;
constexpr net::Duration kAgeMax = hours(24) * 365 * 100;
constexpr size_t kAddressesMax = 16;    // of one purpose (XEP-0157)
constexpr size_t kReservedMax = 1'000;  // names that nobody gets
constexpr double kRateMax = 1e6;

uint32_t Count(const net::TomlSection& section, std::string_view key, uint32_t fallback,
               int64_t most = kCountMax) {
  return static_cast<uint32_t>(section.Int(key, fallback, {.min = 1, .max = most}));
}

size_t Bytes(const net::TomlSection& section, std::string_view key, size_t fallback) {
  return static_cast<size_t>(
      section.Bytes(key, static_cast<int64_t>(fallback), {.min = 1'024, .max = 16 << 20U}));
}

// A rate that cannot be "none": nobody should do it without an end.
double Limited(const net::TomlSection& section, std::string_view key, double fallback) {
  const double rate = section.Rate(key, fallback, kRateMax);
  if (rate > 0) return rate;
  section.Error(key, "is no limit", "write how many, as \"3/h\"");
  return fallback;
}

void ReadArchive(const net::TomlSection& section, ModulesConfig::Archive& archive) {
  archive.enabled = section.Bool("enabled", archive.enabled);
  archive.page = Count(section, "page", archive.page, 1'000);
  archive.page_max = Count(section, "page_max", archive.page_max, 1'000);
  if (archive.page > archive.page_max) {
    section.Error("page", "is more than page_max", "make it smaller, or page_max larger");
  }
  archive.prefs = section.Bool("prefs", archive.prefs);
  archive.by_default = section.Enum<uint8_t>("default", archive.by_default,
                                             {{"always", 0}, {"never", 1}, {"roster", 2}});
  archive.keep = section.Time("keep", archive.keep, minutes(0), kAgeMax);
  archive.keep_most =
      static_cast<uint64_t>(section.Int("keep_most", 0, {.min = 0, .max = 1'000'000'000}));
  archive.clean_every =
      section.Time("clean_every", archive.clean_every, std::chrono::seconds(1), hours(24 * 7));
}

// URIs: what stands before the ':' is a scheme.
std::vector<std::string> Addresses(const net::TomlSection& section, std::string_view key) {
  auto addresses = section.Strings(key, kAddressesMax);
  for (const std::string& address : addresses) {
    const size_t colon = address.find(':');
    if (colon != address.npos && colon > 0 && colon + 1 < address.size()) continue;
    section.Error(key, "'" + address + "' is no address",
                  "write \"mailto:…\", \"xmpp:…\" or \"https:…\"");
  }
  return addresses;
}

void ReadContact(const net::TomlSection& section, ModulesConfig::Contact& contact) {
  contact.abuse = Addresses(section, "abuse");
  contact.admin = Addresses(section, "admin");
  contact.feedback = Addresses(section, "feedback");
  contact.sales = Addresses(section, "sales");
  contact.security = Addresses(section, "security");
  contact.status = Addresses(section, "status");
  contact.support = Addresses(section, "support");
}

void ReadRegistration(const net::TomlSection& section, ModulesConfig::Registration& to) {
  to.sign_up = section.Bool("sign_up", to.sign_up);
  to.sign_ups_per_address = Limited(section, "sign_ups_per_address", to.sign_ups_per_address);
  if (section.Has("reserved")) {
    to.reserved = section.Strings("reserved", kReservedMax);
    for (std::string& name : to.reserved) {
      auto prepared = PrepareLocal(name);
      if (!prepared) section.Error("reserved", "'" + name + "' is no name", "take it out");
      name = prepared.value_or(name);
    }
  }
  to.instructions = section.String("instructions", to.instructions);
  to.password_change = section.Bool("password_change", to.password_change);
  to.password_changes = Limited(section, "password_changes", to.password_changes);
  to.removal = section.Bool("removal", to.removal);
  to.password_bytes_min = Count(section, "password_bytes_min", to.password_bytes_min, 128);
}

bool Enabled(const net::TomlSection& section) { return section.Bool("enabled", true); }

}  // namespace

void ReadLimits(const net::TomlSection& section, LimitsConfig& limits) {
  limits.sessions = Count(section, "sessions", limits.sessions, 1'000);
  limits.roster_items = Count(section, "roster_items", limits.roster_items);
  limits.blocked = Count(section, "blocked", limits.blocked);
  limits.directed_presence = Count(section, "directed_presence", limits.directed_presence);
  if (section.String("memory", "auto") != "auto") {
    limits.memory = static_cast<uint64_t>(
        section.Bytes("memory", 0, {.min = 16 << 20U, .max = int64_t{1} << 50U}));
  }
  limits.login_cpu = section.Float("login_cpu", limits.login_cpu, 0.01, 1.0);
}

void ReadModules(const net::TomlSection& section, ModulesConfig& modules) {
  ReadArchive(section.Section("archive"), modules.archive);
  ReadContact(section.Section("contact"), modules.contact);
  const net::TomlSection disco = section.Section("disco");
  modules.disco.enabled = Enabled(disco);
  modules.disco.name = disco.String("name", modules.disco.name);
  const net::TomlSection offline = section.Section("offline");
  modules.offline.enabled = Enabled(offline);
  modules.offline.messages_max = Count(offline, "messages_max", modules.offline.messages_max);
  modules.offline.expires = offline.Time("expires", modules.offline.expires, minutes(0), kAgeMax);
  const net::TomlSection storage = section.Section("private");
  modules.private_storage.enabled = Enabled(storage);
  modules.private_storage.elements_max =
      Count(storage, "elements_max", modules.private_storage.elements_max);
  modules.private_storage.element_bytes_max =
      Bytes(storage, "element_bytes_max", modules.private_storage.element_bytes_max);
  ReadRegistration(section.Section("registration"), modules.registration);
  const net::TomlSection vcard = section.Section("vcard");
  modules.vcard.enabled = Enabled(vcard);
  modules.vcard.bytes_max = Bytes(vcard, "bytes_max", modules.vcard.bytes_max);
  const net::TomlSection version = section.Section("version");
  modules.version.enabled = Enabled(version);
  modules.version.show_os = version.Bool("show_os", modules.version.show_os);
  modules.last = Enabled(section.Section("last"));
  modules.ping = Enabled(section.Section("ping"));
  modules.time = Enabled(section.Section("time"));
}

}  // namespace server
