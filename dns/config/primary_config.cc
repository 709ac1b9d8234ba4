#include "dns/config/primary_config.h"

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "dns/serve/zone_copy.h"
#include "dns/zone/digest.h"

namespace dns {
namespace {

constexpr size_t kNotifyNetworksMax = 64;
// Keys that say what stands in a zone: of a secondary, its primary says it.
constexpr const char* kOwnContent[] = {"file", "records", "ns", "ttl", "soa", "pool"};

// A file's name of a zone's: whatever is not a letter of host names is written as %XX.
std::string FileNameOf(const Name& apex) {
  std::string name;
  for (char c : apex.ToString()) {
    bool plain =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    constexpr char kHex[] = "0123456789ABCDEF";
    auto byte = static_cast<uint8_t>(c);
    if (plain) {
      name += c;
    } else {
      name += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return name + "transfer";  // the name ends in a dot
}

void ReadCopy(const Name& apex, PrimaryConfig& out, std::vector<std::string>& warnings) {
  auto copy = ReadZoneCopy(out.copy, apex, out.size_max);
  if (!copy) {
    warnings.push_back(copy.error() + "; it is transferred again");
    return;
  }
  if (copy->zone == nullptr) return;
  out.data = copy->zone;
  out.content = ContentDigest(*copy->zone);
  // A clock that went back makes nothing younger than now.
  out.age = std::chrono::seconds(std::max<int64_t>(0, time(nullptr) - copy->confirmed_at));
}

}  // namespace

bool PrimaryConfig::MayNotify(const net::Address& client, const Name* signed_with) const {
  bool from = std::ranges::any_of(notify_from,
                                  [&](const net::Cidr& cidr) { return cidr.Contains(client); });
  return from && (!key || (signed_with != nullptr && *signed_with == *key));
}

bool PrimaryConfig::SamePrimary(const PrimaryConfig& other) const {
  return addresses == other.addresses && copy == other.copy;
}

std::optional<PrimaryConfig> ReadPrimary(const net::TomlSection& section, const Name& apex,
                                         const TsigKeys* keys, const std::string& config_path,
                                         const std::string& state_folder,
                                         std::vector<std::string>& warnings) {
  PrimaryConfig out;
  for (const std::string& text : section.Strings("primary", kPrimariesMax)) {
    auto address = net::Address::Parse(text);
    auto ip = address ? std::nullopt : net::Address::FromIp(text, 53);
    if (address || ip) {
      out.addresses.push_back(address ? *address : *ip);
    } else {
      section.Error("primary", "has '" + text.substr(0, 60) + "', which is not an address",
                    "write \"192.0.2.1\" or \"[2001:db8::1]:53\"");
    }
  }
  if (!section.Has("primary")) return std::nullopt;
  if (out.addresses.empty()) section.Error("primary", "is empty", "name the zone's primaries");
  for (const char* key : kOwnContent) {
    if (section.Has(key)) {
      section.Error(key, "stands in a zone that is had from a primary, which says its records",
                    "remove it, or remove primary");
    }
  }
  std::string key = section.String("primary_key");
  if (!key.empty()) {
    out.key = Name::FromText(key, Name()).value_or(Name());
    if (keys == nullptr || keys->Find(out.key->wire()) == nullptr) {
      section.Error("primary_key",
                    "names the key '" + key + "', which is in none of tsig.key_files",
                    "add its file to [tsig] key_files");
    }
  }
  out.notify_from = section.Networks("notify_from", kNotifyNetworksMax);
  for (const net::Address& address : out.addresses) {
    auto own = net::Cidr::Parse(address.WithoutZone().IpToString());
    if (own) out.notify_from.push_back(*own);
  }
  std::string source = section.String("primary_source");
  if (!source.empty()) {
    out.source = net::Address::FromIp(source, 0);
    if (!out.source) section.Error("primary_source", "is not an IP address", "e.g. \"192.0.2.53\"");
  }
  out.size_max = static_cast<size_t>(
      section.Bytes("size_max", 1 << 30, {.min = 64 << 10, .max = int64_t{64} << 30}));
  std::filesystem::path copy = section.String("copy");
  if (copy.empty() && !state_folder.empty()) {
    copy = std::filesystem::path(state_folder) / FileNameOf(apex);
  }
  if (copy.empty()) {
    section.Error("copy", "is missing, and there is no server.state_file beside which it would lie",
                  "set server.state_file, or copy to the file that keeps the zone");
    return out;
  }
  out.copy = (std::filesystem::path(config_path).parent_path() / copy).string();
  ReadCopy(apex, out, warnings);
  return out;
}

}  // namespace dns
