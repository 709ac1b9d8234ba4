// The part of a zone's configuration that says from whom it is had: the zone is then a secondary of
// other primaries, and its records are theirs alone.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/tsig/tsig_key.h"
#include "dns/zone/zone.h"
#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/config/toml_reader.h"

namespace dns {

constexpr size_t kPrimariesMax = 8;

struct PrimaryConfig {
  std::vector<net::Address> addresses;  // asked one after the other
  std::optional<Name> key;              // signs what is asked, and must sign what is told
  std::vector<net::Cidr> notify_from;   // who may tell of changes
  std::optional<net::Address> source;   // the address that we ask from
  std::string copy;                     // the file that a restart serves from
  size_t size_max = 0;                  // bytes of memory
  // What the copy held when the configuration was read; null: nothing.
  std::shared_ptr<const Zone> data;
  uint64_t content = 0;  // digest
  net::Duration age{};   // since the primary confirmed it

  // `signed_with`: the key of a request whose signature was good, or null.
  bool MayNotify(const net::Address& client, const Name* signed_with) const;
  // Is what was had from `other` had from the same place?
  bool SamePrimary(const PrimaryConfig& other) const;
};

// Nothing where the zone is not had from anybody. Reads the copy; what is wrong with that is a
// warning, since the primary has it all. `state_folder`: where copies lie by default, "": nowhere.
std::optional<PrimaryConfig> ReadPrimary(const net::TomlSection& section, const Name& apex,
                                         const TsigKeys* keys, const std::string& config_path,
                                         const std::string& state_folder,
                                         std::vector<std::string>& warnings);

}  // namespace dns
